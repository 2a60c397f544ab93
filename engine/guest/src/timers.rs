//! Time of the log, and timers: the native half of `boot/js/timer.js`.
//!
//! The host keeps the deadlines and says which timer is due; which promise or handler that is, the JavaScript half knows.

use crate::abi::{MAX_TIMERS, Output};
use crate::objects::inspect;
use crate::runtime::{self, type_error};
use crate::{outputs, places};
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction, js_string};
use std::cell::{Cell, RefCell};

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    /// The object that contracts get as `timer`, and the function that a due timer is told to.
    static TIMER: RefCell<Option<(JsObject, JsObject)>> = const { RefCell::new(None) };
}

const POWERS: [(&str, NativeFunctionPointer); 4] =
    [("now", now), ("setTimer", set_timer), ("cancelTimer", cancel_timer), ("warn", warn)];

/// Adds the native functions that `boot/js/timer.js` is built on.
pub fn powers(object: &JsObject, context: &mut Context) -> JsResult<()> {
    for (name, function) in POWERS {
        let function = NativeFunction::from_fn_ptr(function).to_js_function(context.realm());
        object.create_data_property(JsString::from(name), function, context)?;
    }
    object.create_data_property(js_string!("maxTimers"), MAX_TIMERS as f64, context).map(drop)
}

/// Keeps what `boot/js/timer.js` made.
pub fn install(made: &JsObject, context: &mut Context) -> JsResult<()> {
    let timer = made.get(js_string!("timer"), context)?.as_object();
    let wake = made.get(js_string!("wake"), context)?.as_callable();
    let parts = timer.zip(wake).ok_or_else(|| type_error("timer.js makes a timer and a function"))?;
    TIMER.with(|slot| *slot.borrow_mut() = Some(parts));
    Ok(())
}

/// Notes the time of the log, in ms since the Unix epoch.
pub fn set_now(now_ms: u64) {
    NOW_MS.with(|now| now.set(now_ms));
}

/// The time of the log, in ms since the Unix epoch.
pub fn now_ms() -> u64 {
    NOW_MS.with(Cell::get)
}

/// The endowment `timer`.
pub fn endowment() -> JsResult<JsObject> {
    let timer = TIMER.with(|slot| slot.borrow().as_ref().map(|(timer, _)| timer.clone()));
    timer.ok_or_else(|| type_error("timers are not ready yet"))
}

/// A timer is due. With `failure`, what it set off was rolled back for that reason.
pub fn wake(timer: u64, failure: Option<String>, context: &mut Context) -> JsResult<()> {
    let Some(wake) = TIMER.with(|slot| slot.borrow().as_ref().map(|(_, wake)| wake.clone())) else { return Ok(()) };
    let failure = failure.map_or_else(JsValue::undefined, |reason| JsString::from(reason.as_str()).into());
    match wake.call(&JsValue::undefined(), &[(timer as f64).into(), failure], context) {
        Err(error) if error.as_engine().is_none() => {
            let place = places::suffix(places::of(&error));
            let reason = runtime::thrown(error, context)?;
            let text = inspect::text(&reason, context);
            runtime::log(runtime::ERROR, &format!("a timer failed: {text}{place}"));
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

fn now(_: &JsValue, _: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    Ok(JsValue::from(NOW_MS.with(Cell::get) as f64))
}

/// `setTimer(number, atMs)`
fn set_timer(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let timer = args.get_or_undefined(0).to_length(context)?;
    let at_ms = args.get_or_undefined(1).to_length(context)?;
    outputs::say(Output::SetTimer { timer, at_ms })?;
    Ok(JsValue::undefined())
}

/// `cancelTimer(number)`
fn cancel_timer(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let timer = args.get_or_undefined(0).to_length(context)?;
    outputs::say(Output::CancelTimer { timer })?;
    Ok(JsValue::undefined())
}

fn warn(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    runtime::log(runtime::WARN, &inspect::line(args, context));
    Ok(JsValue::undefined())
}

//! Cancelling calls: the caller says that it no longer wants an answer, and the callee may hear of it.
//!
//! A cancellation is a word, not an act: the callee settles the result as it likes, or goes on as if nothing had been said. Only the
//! vat that sent a call can cancel it, and only the method that the call ran hears of that.

use crate::abi::{Output, Slot};
use crate::objects::promise;
use crate::outputs;
use crate::tables::{self, Listener};
use boa_engine::object::FunctionObjectBuilder;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction};
use std::cell::Cell;

thread_local! {
    /// The result of the call of another vat whose method runs now, up to its first `await`.
    static RUNNING: Cell<Option<Slot>> = const { Cell::new(None) };
}

/// Adds `E.cancel` and `E.whenCancelled`.
pub fn install(e: &JsObject, context: &mut Context) -> JsResult<()> {
    let functions = [
        ("cancel", 1, NativeFunction::from_fn_ptr(cancel)),
        ("whenCancelled", 0, NativeFunction::from_fn_ptr(when_cancelled)),
    ];
    for (name, length, native) in functions {
        let function = FunctionObjectBuilder::new(context.realm(), native);
        let function = function.name(JsString::from(name)).length(length).build();
        e.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(())
}

/// Runs `action` as the call of another vat that has this result.
pub fn during<T>(result: Option<Slot>, action: impl FnOnce() -> T) -> T {
    RUNNING.with(|running| running.set(result));
    let outcome = action();
    RUNNING.with(|running| running.set(None));
    outcome
}

/// `E.cancel(promise)`: says to the vat that a call went to that its answer, which is this promise, is not wanted any more. Does nothing if
/// the promise is not the answer to a call of this vat, or has settled.
fn cancel(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let promise = promise::as_promise(args.get_or_undefined(0)).map(JsObject::from);
    if let Some(result @ Slot::VatPromise(_)) = promise.as_ref().and_then(tables::remote_slot) {
        outputs::say(Output::Cancel { result })?;
    }
    Ok(JsValue::undefined())
}

/// `E.whenCancelled()`: a promise that is fulfilled if the caller cancels the call that runs now. It must be asked for before the method's
/// first `await`. For calls from within this vat, and without an answer, it stays pending.
fn when_cancelled(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let running = RUNNING.with(Cell::get);
    if let Some(known) = running.and_then(|result| tables::listener(result, |listener| listener.promise.clone())) {
        return Ok(known.into());
    }
    let (promise, functions) = JsPromise::new_pending(context);
    let promise = JsObject::from(promise);
    if let Some(result) = running {
        tables::add_listener(result, Listener { promise: promise.clone(), heard: functions.resolve });
    }
    Ok(promise.into())
}

/// The caller of the call with this result has cancelled it.
pub fn cancelled(result: Slot, context: &mut Context) -> JsResult<()> {
    match tables::listener(result, |listener| listener.heard.clone()) {
        Some(heard) => heard.call(&JsValue::undefined(), &[], context).map(drop),
        None => Ok(()),
    }
}

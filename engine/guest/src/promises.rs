//! Promises at the border: those that others decide, those that this guest decides, and which were rejected unheard.

use crate::abi::{CapData, Output, Resolution, Slot};
use crate::runtime::{self, native};
use crate::tables::{self, ByIdentity, RemotePromise, Settled};
use crate::{harden, inspect, marshal, unmarshal, vow};
use boa_engine::builtins::promise::OperationType;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::job::PromiseJob;
use boa_engine::object::builtins::JsPromise;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsArgs, JsError, JsObject, JsResult, JsValue, js_string};
use std::cell::RefCell;

/// Promises that were rejected in this delivery and have no listener, in the order of their rejections.
#[derive(Default)]
struct Unhandled {
    /// `None` where a listener came later.
    order: Vec<Option<JsObject>>,
    places: ByIdentity<usize>,
}

thread_local! {
    static UNHANDLED: RefCell<Unhandled> = RefCell::default();
}

/// Whether `promise` is a promise and nothing else: what it does is what the language says.
pub fn is_plain(promise: &JsPromise, context: &Context) -> bool {
    let object: JsObject = promise.clone().into();
    let prototype = context.intrinsics().constructors().promise().prototype();
    let own = !object.borrow().shape().keys().is_empty()
        || object.borrow().properties().index_property_keys().next().is_some();
    !own && object.prototype().is_some_and(|found| JsObject::equals(&found, &prototype))
}

/// A promise for `value` that is just a promise. No code of anybody's runs before the next turn, whatever `value` is.
pub fn plain(value: &JsValue, context: &mut Context) -> JsResult<JsPromise> {
    if let Some(promise) = as_promise(value) {
        return Ok(if is_plain(&promise, context) { promise } else { promise.react(None, None, context) });
    }
    let Some(object) = value.as_object() else { return Ok(JsPromise::settled(Ok(value.clone()), context)) };
    let (promise, functions) = JsPromise::new_pending(context);
    if reads_quietly(&object, &js_string!("then").into()) {
        functions.resolve.call(&JsValue::undefined(), std::slice::from_ref(value), context)?;
    } else {
        let value = value.clone();
        let job = PromiseJob::new(move |context| functions.resolve.call(&JsValue::undefined(), &[value], context));
        context.enqueue_job(job.into());
    }
    Ok(promise)
}

/// Whether reading `key` of `object` runs no code.
fn reads_quietly(object: &JsObject, key: &PropertyKey) -> bool {
    let mut holder = Some(object.clone());
    while let Some(object) = holder {
        if object.is::<Proxy>() {
            return false;
        }
        let found = object.borrow().properties().get(key);
        if let Some(found) = found {
            return found.is_data_descriptor();
        }
        holder = object.prototype();
    }
    true
}

/// The promise that `value` is, or that the vow that it is stands for.
pub fn as_promise(value: &JsValue) -> Option<JsPromise> {
    let object = value.as_object()?;
    if let Some(promise) = vow::inner_promise(&object) {
        return JsPromise::from_object(promise).ok();
    }
    JsPromise::from_object(object).ok()
}

/// A new pending promise that others decide, known under `slot`.
pub fn new_remote(slot: Slot, context: &mut Context) -> JsObject {
    let (promise, functions) = JsPromise::new_pending(context);
    let promise: JsObject = promise.into();
    harden::seal(&promise, context).expect("a fresh promise can be frozen");
    let entry = RemotePromise { promise: promise.clone(), resolve: functions.resolve, reject: functions.reject };
    tables::add_remote(slot, entry);
    promise
}

/// Delivers settlements of promises that others decide.
pub fn settle(settlements: Vec<(Slot, Resolution)>, context: &mut Context) -> JsResult<()> {
    // All are read before any is applied: one may speak of another of the same batch.
    let mut read = Vec::with_capacity(settlements.len());
    for (slot, resolution) in settlements {
        let (fulfilled, data) = match &resolution {
            Resolution::Fulfilled(data) => (true, data),
            Resolution::Rejected(data) => (false, data),
        };
        let weight = data.body.len();
        match unmarshal::value(data, context) {
            Ok(value) => read.push((slot, fulfilled, value, weight)),
            Err(error) => read.push((slot, false, runtime::thrown(error, context)?, weight)),
        }
    }
    for (slot, fulfilled, value, weight) in read {
        if let Some(entry) = tables::take_remote(slot) {
            let how = if fulfilled { Settled::Fulfilled(value.clone()) } else { Settled::Rejected(value.clone()) };
            tables::remember(slot, how, weight);
            let function = if fulfilled { entry.resolve } else { entry.reject };
            function.call(&JsValue::undefined(), &[value], context)?;
        }
    }
    Ok(())
}

/// Tells the host of `promise` under `slot` once it settles.
pub fn observe(promise: &JsPromise, slot: Slot, context: &mut Context) {
    let object: JsObject = promise.clone().into();
    tables::add_own(slot, &object);
    let fulfilled = native(context, move |_, args, context| {
        announce(slot, Settled::Fulfilled(args.get_or_undefined(0).clone()), context)
    });
    let rejected = native(context, move |_, args, context| {
        announce(slot, Settled::Rejected(args.get_or_undefined(0).clone()), context)
    });
    promise.react(Some(fulfilled), Some(rejected), context);
}

fn announce(slot: Slot, how: Settled, context: &mut Context) -> JsResult<JsValue> {
    settled(slot, how, context)?;
    Ok(JsValue::undefined())
}

/// Tells the host that a promise that this guest decides has settled, and keeps the answer for late messages.
pub fn settled(slot: Slot, how: Settled, context: &mut Context) -> JsResult<()> {
    let (resolution, how) = match how {
        Settled::Fulfilled(value) => match marshal::result(&value, slot, context) {
            Ok(data) => {
                let kept = as_told(value, &data, context)?;
                (Resolution::Fulfilled(data), Settled::Fulfilled(kept))
            }
            Err(error) => {
                let reason = runtime::thrown(error, context)?;
                (Resolution::Rejected(marshal::reason(&reason, slot, context)?), Settled::Rejected(reason))
            }
        },
        Settled::Rejected(reason) => {
            (Resolution::Rejected(marshal::reason(&reason, slot, context)?), Settled::Rejected(reason))
        }
    };
    let (Resolution::Fulfilled(data) | Resolution::Rejected(data)) = &resolution;
    tables::settle_own(slot, how, data.body.len());
    tables::output(Output::Settle { promise: slot, resolution })
}

/// The value that others were told: a copy of what may still change here, since it will be read as what it was.
fn as_told(value: JsValue, data: &CapData<Slot>, context: &mut Context) -> JsResult<JsValue> {
    match value.as_object() {
        Some(object) if !object.is_hardened() => unmarshal::value(data, context),
        _ => Ok(value),
    }
}

/// Settles `slot` with what a call gave: now if it is plain, later if it is a promise.
pub fn settle_with(slot: Option<Slot>, outcome: Result<JsValue, JsError>, context: &mut Context) -> JsResult<()> {
    let outcome = match outcome {
        Ok(value) => Ok(value),
        Err(error) => Err(runtime::thrown(error, context)?),
    };
    let Some(slot) = slot else {
        if let Err(reason) = outcome {
            runtime::log(runtime::WARN, &format!("a one-way message failed: {}", inspect::text(&reason, context)));
        }
        return Ok(());
    };
    match outcome {
        Err(reason) => settled(slot, Settled::Rejected(reason), context),
        Ok(value) => match as_promise(&value) {
            Some(promise) => {
                observe(&promise, slot, context);
                Ok(())
            }
            None if is_thenable(&value, context)? => {
                let promise = plain(&value, context)?;
                observe(&promise, slot, context);
                Ok(())
            }
            None => settled(slot, Settled::Fulfilled(value), context),
        },
    }
}

fn is_thenable(value: &JsValue, context: &mut Context) -> JsResult<bool> {
    let Some(object) = value.as_object() else { return Ok(false) };
    match object.get(js_string!("then"), context) {
        Ok(then) => Ok(then.is_callable()),
        Err(error) if error.as_engine().is_some() => Err(error),
        // It cannot be followed; whether it passes is for the marshaller to say.
        Err(_) => Ok(false),
    }
}

/// The interpreter tells of a promise that was rejected with no listener, or that got its first one after that.
pub fn track_rejection(promise: &JsObject, operation: OperationType) {
    UNHANDLED.with(|unhandled| {
        let mut unhandled = unhandled.borrow_mut();
        match operation {
            OperationType::Reject => {
                let place = unhandled.order.len();
                unhandled.order.push(Some(promise.clone()));
                unhandled.places.insert(promise.clone(), place);
            }
            OperationType::Handle => {
                if let Some(place) = unhandled.places.remove(promise) {
                    unhandled.order[place] = None;
                }
            }
        }
    });
}

/// Logs the rejections of this delivery that nobody listens to. Runs no JavaScript: nothing may be queued any more.
pub fn report_unhandled(context: &Context) {
    use boa_engine::builtins::promise::PromiseState;
    for object in UNHANDLED.take().order.into_iter().flatten() {
        if let Ok(promise) = JsPromise::from_object(object)
            && let PromiseState::Rejected(reason) = promise.state()
        {
            runtime::log(runtime::WARN, &format!("unhandled rejection: {}", inspect::text(&reason, context)));
        }
    }
}

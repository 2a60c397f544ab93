//! Promises as the language has them, looked at and made without running anybody's code.

use super::sender::answers_itself;
use super::vow;
use crate::abi::Slot;
use crate::tables;
use boa_engine::job::PromiseJob;
use boa_engine::object::builtins::JsPromise;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsObject, JsResult, JsValue, js_string};

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
    let promise = JsPromise::new_by_host(false, context);
    if reads_quietly(&object, &js_string!("then").into()) {
        promise.resolve_by_host(value, context)?;
    } else {
        let (value, promise) = (value.clone(), promise.clone());
        let job = PromiseJob::new(move |context| {
            promise.resolve_by_host(&value, context)?;
            Ok(JsValue::undefined())
        });
        context.enqueue_job(job.into());
    }
    Ok(promise)
}

/// Whether reading `key` of `object` runs no code.
fn reads_quietly(object: &JsObject, key: &PropertyKey) -> bool {
    let mut holder = Some(object.clone());
    while let Some(object) = holder {
        if answers_itself(&object) {
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
pub fn new_remote(slot: Slot, context: &mut Context) -> JsPromise {
    let promise = JsPromise::new_by_host(true, context);
    tables::add_remote(slot, promise.clone());
    promise
}

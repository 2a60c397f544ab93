//! Vows as objects that the runtime recognises; what they do is in `boot/js/runtime.js`.
//!
//! A vow stands for a promise and belongs to a flow. It is an object of its own kind here so that it can be passed in
//! messages and sent to like the promise.

use boa_engine::{Finalize, JsData, JsObject, JsValue, Trace};

/// What a vow holds.
#[derive(Debug, Trace, Finalize, JsData)]
pub struct Vow {
    pub promise: JsObject,
    /// The queue of operations that it belongs to, an object of `boot/js/runtime.js`.
    pub flow: JsValue,
}

/// The promise that a vow stands for.
pub fn inner_promise(object: &JsObject) -> Option<JsObject> {
    object.downcast_ref::<Vow>().map(|vow| vow.promise.clone())
}

//! The native half of `js/swingset.js`: what `buildRootObject` of a SwingSet vat is called with.

use crate::runtime::type_error;
use boa_engine::object::builtins::JsArray;
use boa_engine::{Context, JsObject, JsResult, JsString, JsValue};
use std::cell::RefCell;

thread_local! {
    static ARGUMENTS: RefCell<Option<JsObject>> = const { RefCell::new(None) };
}

/// Keeps the function that `js/swingset.js` made.
pub fn install(function: JsValue) {
    ARGUMENTS.with(|slot| *slot.borrow_mut() = function.as_object());
}

/// `vatPowers`, `vatParameters` and `baggage`, of what a default export would get.
pub fn arguments(argv: JsValue, endowments: &[String], context: &mut Context) -> JsResult<Vec<JsValue>> {
    let function = ARGUMENTS.with(|slot| slot.borrow().clone());
    let function = function.ok_or_else(|| type_error("swingset.js is not ready yet"))?;
    let names = endowments.iter().map(|name| JsValue::from(JsString::from(name.as_str())));
    let names = JsArray::from_iter(names, context);
    let list = function.call(&JsValue::undefined(), &[argv, names.into()], context)?;
    let list = JsArray::from_object(list.as_object().ok_or_else(|| type_error("swingset.js gives an array"))?)?;
    (0..3).map(|index| list.at(index, context)).collect()
}

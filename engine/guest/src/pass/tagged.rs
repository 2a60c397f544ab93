//! Tagged data, as `makeTagged` of `@endo/pass-style` makes it: a hardened object with the property `payload`, the tag as its
//! `Symbol.toStringTag`, and `'tagged'` under the registered symbol `passStyle`. What a package of its own made in this form passes as well.

use crate::objects::marks::pass_style;
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{Context, JsObject, JsResult, JsString, JsSymbol, JsValue, js_string};

/// Tag and payload of a plain object that is tagged data; `None` if it is not.
pub fn parts(object: &JsObject) -> Option<(JsString, JsValue)> {
    let payload_key = PropertyKey::from(js_string!("payload"));
    let tag_key = PropertyKey::from(JsSymbol::to_string_tag());
    let style_key = pass_style()?;
    let object = object.borrow();
    let value = |key: &PropertyKey| object.properties().get(key).and_then(|found| found.value().cloned());
    if value(&style_key)?.as_string()? != js_string!("tagged") {
        return None;
    }
    let enumerable = object.properties().get(&payload_key)?.enumerable() == Some(true);
    let parts = (value(&tag_key)?.as_string()?, value(&payload_key)?);
    let nothing_else = object.shape().keys().len() == 3 && object.properties().index_property_keys().next().is_none();
    (enumerable && nothing_else).then_some(parts)
}

/// Tagged data that has come in; `payload` is hardened.
pub fn make(tag: &str, payload: JsValue, context: &mut Context) -> JsResult<JsObject> {
    let object = JsObject::with_object_proto(context.intrinsics());
    let property = |value: JsValue, enumerable: bool| {
        PropertyDescriptor::builder().value(value).writable(false).enumerable(enumerable).configurable(false)
    };
    if let Some(key) = pass_style() {
        object.define_property_or_throw(key, property(js_string!("tagged").into(), false), context)?;
    }
    let tag = property(JsString::from(tag).into(), false);
    object.define_property_or_throw(PropertyKey::from(JsSymbol::to_string_tag()), tag, context)?;
    object.define_property_or_throw(js_string!("payload"), property(payload, true), context)?;
    Ok(object)
}

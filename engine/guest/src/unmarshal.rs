//! From [`Value`] to JavaScript: fresh copies of data, and for each slot the one object that it has always been.

use crate::abi::{CapData, Slot, Value};
use crate::runtime::type_error;
use crate::{harden, promises, tables};
use boa_engine::object::builtins::{JsArray, JsPromise, JsUint8Array};
use boa_engine::property::PropertyKey;
use boa_engine::value::JsValue;
use boa_engine::{Context, JsBigInt, JsError, JsNativeError, JsObject, JsResult, JsString, js_string};

/// Makes the value; a fresh copy, not frozen.
pub fn value(data: &CapData<Slot>, context: &mut Context) -> JsResult<JsValue> {
    let tree = data.value().map_err(|error| type_error(format!("malformed data: {error:?}")))?;
    build(tree, &data.slots, context)
}

/// Makes the arguments of a call.
pub fn args(data: &CapData<Slot>, context: &mut Context) -> JsResult<Vec<JsValue>> {
    let tree = data.value().map_err(|error| type_error(format!("malformed arguments: {error:?}")))?;
    let Value::Array(items) = tree else {
        return Err(type_error("malformed arguments: not an array"));
    };
    items.into_iter().map(|item| build(item, &data.slots, context)).collect()
}

fn build(value: Value, slots: &[Slot], context: &mut Context) -> JsResult<JsValue> {
    Ok(match value {
        Value::Undefined => JsValue::undefined(),
        Value::Null => JsValue::null(),
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => number.into(),
        Value::String(text) => JsString::from(text.as_str()).into(),
        Value::BigInt(digits) => match JsBigInt::from_string_radix(&digits, 10) {
            Some(number) => number.into(),
            None => return Err(type_error("malformed bigint")),
        },
        Value::Symbol(key) => symbol(&key, context)?,
        Value::Array(items) => {
            let items = items.into_iter().map(|item| build(item, slots, context));
            let items = items.collect::<JsResult<Vec<JsValue>>>()?;
            JsArray::from_iter(items, context).into()
        }
        Value::Record(fields) => {
            let object = JsObject::with_object_proto(context.intrinsics());
            for (name, field) in fields {
                let field = build(field, slots, context)?;
                object.create_data_property(PropertyKey::from(JsString::from(name.as_str())), field, context)?;
            }
            object.into()
        }
        Value::Error { name, message } => error(&name, message, context)?,
        Value::Slot(index) => slot(slots[index as usize], None, context)?,
        Value::Named(index, name) => slot(slots[index as usize], Some(&name), context)?,
        Value::Bytes(bytes) => JsUint8Array::from_iter(bytes, context)?.into(),
        Value::Tagged(tag, _) => return Err(type_error(format!("tagged data ({tag}) is not known here"))),
    })
}

fn symbol(key: &str, context: &mut Context) -> JsResult<JsValue> {
    if !tables::admits_symbol(key) {
        return Err(type_error(
            "a symbol with a key of more than 256 bytes, or more symbols than messages may bring to a vat",
        ));
    }
    let constructor = context.intrinsics().constructors().symbol().constructor();
    let make = constructor.get(js_string!("for"), context)?;
    match make.as_callable() {
        Some(make) => make.call(&constructor.into(), &[JsString::from(key).into()], context),
        None => Err(type_error("Symbol.for is missing")),
    }
}

/// An error of the named kind; a name that is not a built-in one becomes an own property.
fn error(name: &str, message: String, context: &mut Context) -> JsResult<JsValue> {
    let native = match name {
        "TypeError" => JsNativeError::typ(),
        "RangeError" => JsNativeError::range(),
        "ReferenceError" => JsNativeError::reference(),
        "SyntaxError" => JsNativeError::syntax(),
        "EvalError" => JsNativeError::eval(),
        "URIError" => JsNativeError::uri(),
        _ => JsNativeError::error(),
    };
    let plain = native.is_error() && name != "Error";
    let error = JsError::from(native.with_message(message)).into_opaque(context)?;
    if plain && let Some(object) = error.as_object() {
        let descriptor = boa_engine::property::PropertyDescriptor::builder()
            .value(JsString::from(name))
            .writable(true)
            .enumerable(false)
            .configurable(true);
        object.define_property_or_throw(js_string!("name"), descriptor, context)?;
    }
    Ok(error)
}

/// The object that `slot` has always been. If it is new here, `name` is what is said of it.
pub fn slot(slot: Slot, name: Option<&str>, context: &mut Context) -> JsResult<JsValue> {
    match slot {
        Slot::VatObject(0) => Ok(tables::root().unwrap_or_default()),
        Slot::VatObject(id) => match tables::exported(id) {
            Some(object) => Ok(object.into()),
            None => Err(type_error(format!("this vat has no object {id}"))),
        },
        Slot::HostObject(id) => match tables::presence(id) {
            Some(presence) => Ok(presence.into()),
            None => Ok(harden::new_presence(id, name, context)?.into()),
        },
        Slot::VatPromise(_) | Slot::HostPromise(_) => promise(slot, context),
    }
}

fn promise(slot: Slot, context: &mut Context) -> JsResult<JsValue> {
    if let Some(promise) = tables::remote_promise(slot).or_else(|| tables::own_promise(slot)) {
        return Ok(promise.into());
    }
    match tables::settled(slot) {
        Some(tables::Settled::Fulfilled(value)) => Ok(JsPromise::resolve(value, context)?.into()),
        Some(tables::Settled::Rejected(reason)) => Ok(JsPromise::reject(JsError::from_opaque(reason), context)?.into()),
        None if matches!(slot, Slot::HostPromise(_)) => Ok(promises::new_remote(slot, context).into()),
        None => {
            let error = JsNativeError::error().with_message("this promise was settled long ago");
            Ok(JsPromise::reject(JsError::from(error), context)?.into())
        }
    }
}

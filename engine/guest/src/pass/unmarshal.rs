//! From [`Value`] to JavaScript: fresh copies of data, and for each slot the one object that it has always been.
//!
//! What comes in is hardened all through: two objects that share an argument cannot change it under each other.

use super::{symbols, tagged};
use crate::abi::{CapData, Slot, Value};
use crate::objects::{harden, lost, presence, promise};
use crate::runtime::type_error;
use crate::tables;
use boa_engine::object::builtins::{AlignedVec, JsArray, JsArrayBuffer, JsPromise, JsUint8Array};
use boa_engine::property::PropertyKey;
use boa_engine::value::JsValue;
use boa_engine::{Context, JsBigInt, JsError, JsNativeError, JsObject, JsResult, JsString, js_string};

/// Makes the value.
pub fn value(data: &CapData<Slot>, context: &mut Context) -> JsResult<JsValue> {
    let tree = data.value().map_err(|error| type_error(format!("malformed data: {error:?}")))?;
    build(tree, &data.slots, context)
}

/// Makes a record to which further properties can be added; what is in it is hardened.
pub fn open_record(data: &CapData<Slot>, context: &mut Context) -> JsResult<JsObject> {
    let tree = data.value().map_err(|error| type_error(format!("malformed data: {error:?}")))?;
    match tree {
        Value::Record(fields) => record(fields, &data.slots, context),
        _ => Err(type_error("a record is needed")),
    }
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
        Value::Symbol(key) => symbols::from_key(&key, context)?,
        Value::Array(items) => {
            let items = items.into_iter().map(|item| build(item, slots, context));
            let items = items.collect::<JsResult<Vec<JsValue>>>()?;
            sealed(JsArray::from_iter(items, context).into(), context)?
        }
        Value::Record(fields) => sealed(record(fields, slots, context)?, context)?,
        Value::Error { name, message } => hardened(error(&name, message, context)?, context)?,
        Value::Slot(index) => hardened(slot(slots[index as usize], None, context)?, context)?,
        Value::Named(index, name) => hardened(slot(slots[index as usize], Some(&name), context)?, context)?,
        Value::Bytes(bytes) => {
            let buffer = JsArrayBuffer::from_byte_block(AlignedVec::from_slice(64, &bytes), context)?;
            buffer.make_immutable();
            hardened(JsUint8Array::from_array_buffer(buffer, context)?.into(), context)?
        }
        Value::Tagged(tag, payload) => {
            let payload = build(*payload, slots, context)?;
            sealed(tagged::make(&tag, payload, context)?, context)?
        }
    })
}

/// A fresh copy in which everything is hardened already.
fn sealed(object: JsObject, context: &mut Context) -> JsResult<JsValue> {
    harden::seal(&object, context)?;
    Ok(object.into())
}

/// Something that may have been there before.
fn hardened(value: JsValue, context: &mut Context) -> JsResult<JsValue> {
    if let Some(object) = value.as_object() {
        harden::harden(&object, context)?;
    }
    Ok(value)
}

fn record(fields: Vec<(String, Value)>, slots: &[Slot], context: &mut Context) -> JsResult<JsObject> {
    let object = JsObject::with_object_proto(context.intrinsics());
    for (name, field) in fields {
        let field = build(field, slots, context)?;
        object.create_data_property(PropertyKey::from(JsString::from(name.as_str())), field, context)?;
    }
    Ok(object)
}

/// An error of the named kind; a name that is not a built-in one becomes an own property.
pub fn error(name: &str, message: String, context: &mut Context) -> JsResult<JsValue> {
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
        Slot::VatObject(0) => match tables::root() {
            Some(root) => Ok(root),
            None => Ok(inherited(0, context)?.map_or_else(JsValue::undefined, JsValue::from)),
        },
        Slot::VatObject(id) => own(id, context),
        Slot::HostObject(id) => match tables::presence(id) {
            Some(presence) => Ok(presence.into()),
            None => Ok(presence::new_presence(id, name, context)?.into()),
        },
        Slot::VatPromise(_) | Slot::HostPromise(_) => promised(slot, context),
    }
}

/// An object of this vat. Of what an upgrade ended there is a stand-in.
fn own(id: u64, context: &mut Context) -> JsResult<JsValue> {
    if let Some(object) = tables::exported(id) {
        return Ok(object.into());
    }
    if let Some(object) = inherited(id, context)? {
        return Ok(object.into());
    }
    if !tables::is_of_before(id) {
        return Err(type_error(format!("this vat has no object {id}")));
    }
    let lost = lost::new_lost(context)?;
    tables::export_as(id, &lost);
    Ok(lost.into())
}

/// The object that had this number before the upgrade that this heap begins with, if it was handed over.
fn inherited(id: u64, context: &mut Context) -> JsResult<Option<JsObject>> {
    let Some(heir) = tables::heir() else { return Ok(None) };
    let found = heir.call(&JsValue::undefined(), &[(id as f64).into()], context)?;
    Ok(found.as_object())
}

fn promised(slot: Slot, context: &mut Context) -> JsResult<JsValue> {
    if let Some(promise) = tables::remote_promise(slot).map(JsObject::from).or_else(|| tables::own_promise(slot)) {
        return Ok(promise.into());
    }
    match tables::settled(slot) {
        Some(tables::Settled::Fulfilled(value)) => Ok(JsPromise::settled(Ok(value), context).into()),
        Some(tables::Settled::Rejected(reason)) => Ok(JsPromise::settled(Err(reason), context).into()),
        // One of before an upgrade is another vat's by now.
        None if matches!(slot, Slot::HostPromise(_)) || tables::is_promise_of_before(slot) => {
            Ok(promise::new_remote(slot, context).into())
        }
        None => {
            let error = JsNativeError::error().with_message("this promise was settled long ago");
            Ok(JsPromise::reject(JsError::from(error), context)?.into())
        }
    }
}

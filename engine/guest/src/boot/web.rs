//! The native functions that `js/web.js` is built on, and what `Math.random` and `Date.now` give while the vat starts.

use crate::objects::inspect;
use crate::runtime::{self, type_error};
use crate::timers;
use boa_engine::builtins::error::Error as JsErrorData;
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::object::builtins::{
    AlignedVec, JsArray, JsArrayBuffer, JsDataView, JsDate, JsMap, JsRegExp, JsSet, JsTypedArray, JsUint8Array,
};
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction, js_string};
use std::cell::Cell;

thread_local! {
    /// The state of what `Math.random` gives while the vat starts; none at any other time.
    static DRAWS: Cell<Option<u64>> = const { Cell::new(None) };
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// By name.
const POWERS: [(&str, NativeFunctionPointer); 5] =
    [("kindOf", kind_of), ("line", line), ("random", random), ("utf8Encode", utf8_encode), ("utf8Decode", utf8_decode)];

/// Adds those functions.
pub fn powers(object: &JsObject, context: &mut Context) -> JsResult<()> {
    for (name, function) in POWERS {
        let function = super::function(name, 0, function, context);
        object.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(())
}

/// The vat starts: packages draw numbers while they are loaded, to tell their own things apart. They get what is the same on all replicas.
pub fn begin_start() {
    // Not zero, which is the one state that gives nothing else.
    DRAWS.with(|draws| draws.set(Some(runtime::seed() | 1)));
}

/// The vat has started: from here on a program that asks for a random number might mean it.
pub fn end_start() {
    DRAWS.with(|draws| draws.set(None));
}

/// The log's time while the vat starts, in ms since the Unix epoch.
pub fn time_of_start() -> Option<u64> {
    DRAWS.with(Cell::get).map(|_| timers::now_ms())
}

/// `Math.random()`
fn random(_: &JsValue, _: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let Some(mut state) = DRAWS.with(Cell::get) else {
        return Err(type_error(
            "Math.random: a vat has no random numbers, since its replicas must agree on all they do: let a caller or argv give them",
        ));
    };
    if !TOLD.with(|told| told.replace(true)) {
        let text = "Math.random was called while the vat started: what it gives then is no secret, and it throws later";
        runtime::log(runtime::WARN, text);
    }
    // Xorshift: as good as telling things apart needs.
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    DRAWS.with(|draws| draws.set(Some(state)));
    Ok(((state >> 11) as f64 / (1u64 << 53) as f64).into())
}

/// `kindOf(object)`: as what it can be copied.
fn kind_of(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let Some(object) = args.get_or_undefined(0).as_object() else { return Ok(js_string!("primitive").into()) };
    let kind = if object.is_array() {
        js_string!("array")
    } else if object.is_callable() {
        js_string!("function")
    } else if object.is_ordinary() {
        js_string!("ordinary")
    } else if object.is::<JsErrorData>() {
        js_string!("error")
    } else if JsArrayBuffer::from_object(object.clone()).is_ok() {
        js_string!("buffer")
    } else if JsTypedArray::from_object(object.clone()).is_ok() {
        js_string!("typed")
    } else if JsDataView::from_object(object.clone()).is_ok() {
        js_string!("view")
    } else if JsMap::from_object(object.clone()).is_ok() {
        js_string!("map")
    } else if JsSet::from_object(object.clone()).is_ok() {
        js_string!("set")
    } else if JsDate::from_object(object.clone()).is_ok() {
        js_string!("date")
    } else if JsRegExp::from_object(object.clone()).is_ok() {
        js_string!("regexp")
    } else {
        js_string!("other")
    };
    Ok(kind.into())
}

/// `line(value)`: the value as text for people.
fn line(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    Ok(JsString::from(inspect::text(args.get_or_undefined(0), context)).into())
}

/// `utf8Encode(text)`: a new `Uint8Array`; a lone surrogate becomes U+FFFD.
fn utf8_encode(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let text = args.get_or_undefined(0).as_string().ok_or_else(|| type_error("a text is needed"))?;
    let bytes = text.to_std_string_lossy();
    let buffer = JsArrayBuffer::from_byte_block(AlignedVec::from_slice(64, bytes.as_bytes()), context)?;
    Ok(JsUint8Array::from_array_buffer(buffer, context)?.into())
}

/// `utf8Decode(bytes, stream)`: the text, how many bytes it is of, and whether all of them were right. If it is a `stream`, a letter that the end cuts
/// in two is left for later.
fn utf8_decode(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let object = args.get_or_undefined(0).as_object().ok_or_else(|| type_error("bytes are needed"))?;
    let bytes = JsUint8Array::from_object(object)?.to_vec(context)?;
    let (text, used, valid) = decoded(&bytes, args.get_or_undefined(1).to_boolean());
    let parts = [JsString::from(text).into(), (used as f64).into(), valid.into()];
    Ok(JsArray::from_iter(parts, context).into())
}

fn decoded(bytes: &[u8], stream: bool) -> (String, usize, bool) {
    let (mut text, mut used, mut valid) = (String::with_capacity(bytes.len()), 0, true);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        used += chunk.valid().len();
        if chunk.invalid().is_empty() {
            continue;
        }
        let at_end = used + chunk.invalid().len() == bytes.len();
        // The library says of the last letter only that it does not end.
        let unfinished = at_end && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if unfinished && stream {
            break;
        }
        used += chunk.invalid().len();
        text.push(char::REPLACEMENT_CHARACTER);
        valid = false;
    }
    (text, used, valid)
}

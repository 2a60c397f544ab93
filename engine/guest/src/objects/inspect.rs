//! Values as text, for the log: bounded, deterministic, and without running any JavaScript, so that it may be used when no more
//! jobs are run.

use super::presence::{self, Presence};
use super::sender::{Sender, answers_itself};
use boa_engine::builtins::error::Error as JsErrorData;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsObject, JsString, JsValue, JsVariant, js_string};

/// Objects deeper than this are abbreviated.
const MAX_DEPTH: usize = 4;
/// Entries of one object or array after which the rest is abbreviated.
const MAX_ENTRIES: usize = 64;
/// Prototypes that are searched for a property.
const MAX_PROTOTYPES: usize = 16;
/// Length of the whole text, in bytes, after which the rest is abbreviated.
const MAX_BYTES: usize = 8 * 1024;

/// One value; a string stands for itself.
pub fn text(value: &JsValue, context: &Context) -> String {
    if let Some(text) = value.as_string() {
        return text.to_std_string_escaped();
    }
    let mut out = String::new();
    write(value, 0, &mut out, context);
    out
}

/// What a value that was passed by copy is, in a word or as itself.
pub fn kind(value: &JsValue, context: &Context) -> String {
    match value.as_object() {
        Some(_) => "data, which was passed as a copy".to_owned(),
        None => text(value, context),
    }
}

/// The arguments of a `console` function, separated by spaces.
pub fn line(values: &[JsValue], context: &Context) -> String {
    values.iter().map(|value| text(value, context)).collect::<Vec<_>>().join(" ")
}

fn write(value: &JsValue, depth: usize, out: &mut String, context: &Context) {
    if out.len() > MAX_BYTES {
        return;
    }
    match value.variant() {
        JsVariant::Undefined => out.push_str("undefined"),
        JsVariant::Null => out.push_str("null"),
        JsVariant::Boolean(flag) => out.push_str(if flag { "true" } else { "false" }),
        JsVariant::String(text) => match text.to_std_string() {
            Ok(text) => out.push_str(&format!("{text:?}")),
            // A lone surrogate is written as the escape that the language has for it.
            Err(_) => out.push_str(&format!("\"{}\"", text.to_std_string_escaped())),
        },
        JsVariant::BigInt(number) => {
            out.push_str(&number.to_string_radix(10));
            out.push('n');
        }
        JsVariant::Symbol(symbol) => out.push_str(&symbol.descriptive_string().to_std_string_escaped()),
        JsVariant::Integer32(_) | JsVariant::Float64(_) => out.push_str(&value.display().to_string()),
        JsVariant::Object(object) => write_object(&object, depth, out, context),
    }
}

fn write_object(object: &JsObject, depth: usize, out: &mut String, context: &Context) {
    if let Some(remote) = object.downcast_ref::<Presence>() {
        match presence::interface_name(object) {
            Some(name) => out.push_str(&format!("[Alleged: {name}]")),
            None => out.push_str(&format!("[Presence {}]", remote.id)),
        }
    } else if object.is::<Sender>() {
        out.push_str("[E]");
    } else if object.is::<Proxy>() {
        out.push_str("[Proxy]");
    } else if object.is::<JsErrorData>() {
        let (name, message) = error_parts(object, context);
        let (name, message) = (name.to_std_string_escaped(), message.to_std_string_escaped());
        out.push_str(&if message.is_empty() { name } else { format!("{name}: {message}") });
    } else if object.is_callable() {
        let name = own(object, &js_string!("name").into())
            .and_then(|name| name.as_string())
            .map(|name| name.to_std_string_escaped())
            .unwrap_or_default();
        out.push_str(&format!("[Function {name}]"));
    } else if boa_engine::object::builtins::JsPromise::from_object(object.clone()).is_ok() {
        out.push_str("[Promise]");
    } else if depth >= MAX_DEPTH {
        out.push_str("[…]");
    } else if object.is_array() {
        write_entries(object, depth, "[", "]", out, context);
    } else {
        let tag = find(object, &boa_engine::JsSymbol::to_string_tag().into());
        let tag = tag.and_then(|tag| tag.as_string()).map(|tag| tag.to_std_string_escaped());
        if let Some(tag) = tag {
            out.push_str(&format!("[{tag}]"));
        } else {
            write_entries(object, depth, "{ ", " }", out, context);
        }
    }
}

fn write_entries(object: &JsObject, depth: usize, open: &str, close: &str, out: &mut String, context: &Context) {
    let array = object.is_array();
    let keys: Vec<PropertyKey> = {
        let borrowed = object.borrow();
        let properties = borrowed.properties();
        let indices = properties.index_property_keys().map(PropertyKey::from);
        indices.chain(borrowed.shape().keys()).take(MAX_ENTRIES + 2).collect()
    };
    let start = out.len();
    out.push_str(open);
    let mut written = 0usize;
    for key in keys {
        if array && matches!(key, PropertyKey::String(_)) {
            continue;
        }
        let Some(value) = own(object, &key) else { continue };
        if written > 0 {
            out.push_str(", ");
        }
        if written >= MAX_ENTRIES || out.len() > MAX_BYTES {
            out.push('…');
            break;
        }
        if !array {
            out.push_str(&format!("{key}: "));
        }
        write(&value, depth + 1, out, context);
        written += 1;
    }
    if written == 0 {
        out.truncate(start + 1);
        out.push_str(close.trim_start());
    } else {
        out.push_str(close);
    }
}

/// The value of an own data property.
fn own(object: &JsObject, key: &PropertyKey) -> Option<JsValue> {
    object.borrow().properties().get(key).and_then(|found| found.value().cloned())
}

/// Name and message of an error, own or inherited. Accessors are not run: those that lockdown leaves on the prototypes of the
/// language's errors stand for what was there before, those of a guest for nothing.
pub fn error_parts(error: &JsObject, context: &Context) -> (JsString, JsString) {
    let name = error_part(error, &js_string!("name").into(), context);
    let message = error_part(error, &js_string!("message").into(), context);
    (if name.is_empty() { js_string!("Error") } else { name }, message)
}

fn error_part(error: &JsObject, key: &PropertyKey, context: &Context) -> JsString {
    let mut holder = Some(error.clone());
    for _ in 0..MAX_PROTOTYPES {
        let Some(object) = holder else { break };
        if answers_itself(&object) {
            break;
        }
        let found = object.borrow().properties().get(key);
        if let Some(found) = found {
            let text = found.value().and_then(JsValue::as_string);
            return text.unwrap_or_else(|| JsString::from(original_part(&object, key, context)));
        }
        holder = object.prototype();
    }
    JsString::default()
}

/// What the language has under `key` of a prototype of errors; nothing for any other object.
fn original_part(prototype: &JsObject, key: &PropertyKey, context: &Context) -> &'static str {
    if *key != PropertyKey::from(js_string!("name")) {
        return "";
    }
    let constructors = context.intrinsics().constructors();
    let errors = [
        (constructors.type_error(), "TypeError"),
        (constructors.range_error(), "RangeError"),
        (constructors.reference_error(), "ReferenceError"),
        (constructors.syntax_error(), "SyntaxError"),
        (constructors.eval_error(), "EvalError"),
        (constructors.uri_error(), "URIError"),
        (constructors.aggregate_error(), "AggregateError"),
    ];
    let found = errors.iter().find(|(constructor, _)| JsObject::equals(prototype, &constructor.prototype()));
    found.map_or("", |(_, name)| *name)
}

/// The value of a data property, own or inherited.
fn find(object: &JsObject, key: &PropertyKey) -> Option<JsValue> {
    let mut holder = Some(object.clone());
    for _ in 0..MAX_PROTOTYPES {
        let object = holder?;
        if answers_itself(&object) {
            return None;
        }
        if let Some(value) = own(&object, key) {
            return Some(value);
        }
        holder = object.prototype();
    }
    None
}

//! Doing something to a target: what inbound calls and local sends come to when it is their turn.

use super::handled;
use crate::abi::{Method, Slot};
use crate::objects::far::Interface;
use crate::objects::sender::answers_itself;
use crate::objects::{base, inspect, lost};
use crate::pass::marshal;
use crate::pass::style::{self, Style};
use crate::pass::unmarshal;
use crate::runtime::type_error;
use crate::tables;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, Finalize, JsError, JsObject, JsResult, JsString, JsSymbol, JsValue, Trace, js_string};
use std::fmt;

/// What is done to a target, with the name as the interpreter has it.
#[derive(Clone, Debug, Trace, Finalize)]
pub enum Verb {
    Call(JsString),
    Apply,
    Get(JsString),
}

/// Letters of a method's name that are shown in lines for the host.
const MAX_SHOWN_NAME: usize = 64;

impl fmt::Display for Verb {
    /// For lines for the host: a name that others chose is shown as it is if it looks like one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, name) = match self {
            Verb::Call(name) => ("", name),
            Verb::Apply => return f.write_str("the call of a function"),
            Verb::Get(name) => ("get ", name),
        };
        let name: String = name.to_std_string_escaped().chars().take(MAX_SHOWN_NAME).collect();
        if !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "_$@".contains(letter)) {
            write!(f, "{before}{name}")
        } else {
            write!(f, "{before}{name:?}")
        }
    }
}

impl From<Method> for Verb {
    fn from(method: Method) -> Self {
        match method {
            Method::Call(name) => Verb::Call(JsString::from(name.as_str())),
            Method::Apply => Verb::Apply,
            Method::Get(name) => Verb::Get(JsString::from(name.as_str())),
        }
    }
}

/// Who does something to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Trace, Finalize)]
#[boa_gc(empty_trace)]
pub enum Reach {
    /// The vat itself, which holds the target.
    Here,
    /// Another vat, which holds a reference to the target, or the promise under this slot: of all that the promise may be fulfilled with it
    /// reaches only what the answer gives it.
    Outside(Slot),
}

/// How many method names a complaint lists.
const MAX_NAMES: usize = 32;

/// Does `verb` to what a promise was fulfilled with. Another vat reaches no more of it than the answer gave: it calls what passed by
/// reference, and reads what was copied. If the answer was rejected, so is this, with the very reason.
pub fn invoke_settled(
    value: &JsValue,
    verb: &Verb,
    args: &[JsValue],
    reach: Reach,
    context: &mut Context,
) -> JsResult<JsValue> {
    let Reach::Outside(slot) = reach else { return invoke(value, verb, args, reach, context) };
    let kept;
    let mut value = value;
    if let Slot::VatPromise(_) | Slot::HostPromise(_) = slot {
        match tables::settled(slot) {
            // As it was when the answer was given: a list may have changed since.
            Some(tables::Settled::Fulfilled(answer)) => {
                kept = answer;
                value = &kept;
            }
            Some(tables::Settled::Rejected(reason)) => return Err(JsError::from_opaque(reason)),
            None => return Err(type_error(format!("this vat does not know {slot:?}, or it was settled long ago"))),
        }
    }
    let Some(object) = value.as_object() else { return read_copy(value, verb, context) };
    match style::of(&object, context).map_err(|refusal| refusal.at(".result"))? {
        Style::Reference(_) => invoke(value, verb, args, reach, context),
        Style::Remotable if object.is_hardened() => invoke(value, verb, args, reach, context),
        Style::Remotable => Err(marshal::not_hardened(&object, ".result")),
        Style::Error => {
            let (name, message) = inspect::error_parts(&object, context);
            match verb {
                Verb::Get(key) if *key == js_string!("name") => Ok(name.into()),
                Verb::Get(key) if *key == js_string!("message") => Ok(message.into()),
                Verb::Get(_) => Ok(JsValue::undefined()),
                Verb::Call(_) | Verb::Apply => read_copy(value, verb, context),
            }
        }
        Style::Array(_) | Style::Bytes | Style::Record(_) | Style::Tagged(..) | Style::Promise(_) => {
            read_copy(value, verb, context)
        }
    }
}

/// Does `verb` to something that was passed by copy: its own data can be read, and that is all.
fn read_copy(target: &JsValue, verb: &Verb, context: &mut Context) -> JsResult<JsValue> {
    match verb {
        Verb::Get(name) if !target.is_null_or_undefined() => {
            let object = target.to_object(context)?;
            let key = PropertyKey::from(name.clone());
            if object.has_own_property(key.clone(), context)? {
                object.get(key, context)
            } else {
                Ok(JsValue::undefined())
            }
        }
        Verb::Get(name) => Err(nothing_to_get(target, name, context)),
        Verb::Call(name) => {
            let name = name.to_std_string_escaped();
            let what = inspect::kind(target, context);
            Err(type_error(format!("target has no method {name:?}, it is {what}")))
        }
        Verb::Apply => Err(type_error(format!("target is not a function, it is {}", inspect::kind(target, context)))),
    }
}

fn nothing_to_get(target: &JsValue, name: &JsString, context: &Context) -> JsError {
    let name = name.to_std_string_escaped();
    type_error(format!("cannot get {name:?} of a target that is {}", inspect::text(target, context)))
}

/// The method that `Symbol.asyncIterator` names, as it is written in messages.
const ASYNC_ITERATOR: &str = "@@asyncIterator";

/// How a method that a symbol names is called in messages. Other symbols than this one ask what a value is, and name no methods.
pub fn name_of_symbol(symbol: &JsSymbol) -> Option<JsString> {
    (*symbol == JsSymbol::async_iterator()).then(|| JsString::from(ASYNC_ITERATOR))
}

/// The symbol that a method name in a message stands for, if it stands for one.
pub fn symbol_of(name: &JsString) -> Option<JsSymbol> {
    (*name == ASYNC_ITERATOR).then(JsSymbol::async_iterator)
}

/// The property that a method name in a message stands for.
fn key_of(name: &JsString) -> PropertyKey {
    symbol_of(name).map_or_else(|| name.clone().into(), PropertyKey::from)
}

/// Does `verb` to `target` now.
pub fn invoke(
    target: &JsValue,
    verb: &Verb,
    args: &[JsValue],
    reach: Reach,
    context: &mut Context,
) -> JsResult<JsValue> {
    if let Some(answer) = handled::invoke_presence(target, verb, args, context)? {
        return Ok(answer);
    }
    if lost::is_lost(target) {
        let error = unmarshal::error("VatError", lost::ENDED.to_owned(), context)?;
        return Err(JsError::from_opaque(error));
    }
    match verb {
        Verb::Call(name) => match find_method(target, name, reach, context)? {
            Some(function) => function.call(target, args, context),
            None => Err(no_method(target, name, context)),
        },
        Verb::Apply => match target.as_callable() {
            Some(function) => function.call(&JsValue::undefined(), args, context),
            None => Err(type_error(format!("target is not a function, it is {}", inspect::text(target, context)))),
        },
        Verb::Get(name) => get(target, name, reach, context),
    }
}

/// A property that the target offers.
fn get(target: &JsValue, name: &JsString, reach: Reach, context: &mut Context) -> JsResult<JsValue> {
    if target.is_null_or_undefined() {
        return Err(nothing_to_get(target, name, context));
    }
    let object = target.to_object(context)?;
    if !is_offered(&object, &PropertyKey::from(name.clone()), reach, context)? {
        return Ok(JsValue::undefined());
    }
    object.get(name.clone(), context)
}

fn find_method(target: &JsValue, name: &JsString, reach: Reach, context: &mut Context) -> JsResult<Option<JsObject>> {
    if target.is_null_or_undefined() {
        return Ok(None);
    }
    let object = target.to_object(context)?;
    let key = key_of(name);
    if !is_offered(&object, &key, reach, context)? {
        return Ok(None);
    }
    Ok(object.get(key, context)?.as_callable())
}

/// Whether `key` is something that the target itself offers. Not offered are the members of the language's own prototypes, which
/// would let a caller change a list or a map that it was only to read, nor an inherited `constructor`: whoever holds an
/// instance of a class need not be able to make another. To other vats nothing of the language's own objects is offered; within the vat some is.
fn is_offered(object: &JsObject, key: &PropertyKey, reach: Reach, context: &mut Context) -> JsResult<bool> {
    if *key == PropertyKey::from(js_string!("constructor")) {
        return object.has_own_property(key.clone(), context);
    }
    let mut holder = object.clone();
    loop {
        if answers_itself(&holder) {
            return holder.has_property(key.clone(), context);
        }
        if holder.has_own_property(key.clone(), context)? {
            return Ok(true);
        }
        match holder.prototype() {
            Some(next) if !is_base(&next, context) && (reach == Reach::Here || !base::has(&next)) => holder = next,
            _ => return Ok(false),
        }
    }
}

/// Whether `object` is a prototype of the language, of which nothing is anybody's method, also within the vat. Those of strings and
/// numbers are left out: what they can do changes nothing.
fn is_base(object: &JsObject, context: &Context) -> bool {
    let constructors = context.intrinsics().constructors();
    let bases = [
        constructors.object(),
        constructors.function(),
        constructors.array(),
        constructors.typed_array(),
        constructors.array_buffer(),
        constructors.data_view(),
        constructors.map(),
        constructors.set(),
        constructors.weak_map(),
        constructors.weak_set(),
        constructors.promise(),
        constructors.iterator(),
        constructors.date(),
        constructors.regexp(),
    ];
    bases.iter().any(|base| JsObject::equals(object, &base.prototype()))
}

fn no_method(target: &JsValue, name: &JsString, context: &mut Context) -> JsError {
    let name = name.to_std_string_escaped();
    let Some(object) = target.as_object() else {
        return type_error(format!("target has no method {name:?}, it is {}", inspect::text(target, context)));
    };
    let names = match method_names(&object, context) {
        Ok(names) => names,
        Err(error) => return error,
    };
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    type_error(format!("target has no method {name:?}, has [{}]", names.join(",")))
}

fn method_names(object: &JsObject, context: &mut Context) -> JsResult<Vec<String>> {
    let mut names = Vec::new();
    let mut holder = Some(object.clone());
    while let Some(object) = holder {
        if answers_itself(&object) || is_base(&object, context) || names.len() > MAX_NAMES {
            break;
        }
        if !object.is::<Interface>() {
            for key in object.own_property_keys(context)? {
                let PropertyKey::String(name) = &key else { continue };
                let method = object.borrow().properties().get(&key);
                let method = method.as_ref().and_then(|found| found.value()).is_some_and(JsValue::is_callable);
                let name = name.to_std_string_escaped();
                if method && name != "constructor" && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        holder = object.prototype();
    }
    names.sort();
    names.truncate(MAX_NAMES);
    Ok(names)
}

//! As what a value passes, or why it does not: the one judge for messages that go out, for `passStyleOf`, and for what a caller may do to a
//! promised answer.
//!
//! Invariants: an allow-list, what is not named here does not pass; own data properties are read without running guest code (accessors and
//! proxies are refused). Whether what is *in* a copy passes is for whoever walks it.

use super::tagged;
use crate::abi::Slot;
use crate::objects::far::{self, Interface, of_every_function};
use crate::objects::presence::Presence;
use crate::objects::sender::{Sender, answers_itself};
use crate::objects::{base, marks, promise};
use crate::runtime::type_error;
use crate::tables;
use boa_engine::builtins::error::Error as JsErrorData;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::object::builtins::{JsArrayBuffer, JsPromise, JsUint8Array};
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsArgs, JsError, JsObject, JsResult, JsString, JsSymbol, JsValue, js_string};

/// As what an object passes.
pub enum Style {
    /// It has a slot already.
    Reference(Slot),
    Promise(JsPromise),
    /// With its elements.
    Array(Vec<JsValue>),
    Error,
    /// A `Uint8Array`, or an immutable `ArrayBuffer`.
    Bytes,
    /// With its fields.
    Record(Vec<(JsString, JsValue)>),
    /// With its tag and its payload.
    Tagged(JsString, JsValue),
    Remotable,
}

/// Why an object does not pass.
pub enum Unpassable {
    /// Text for people, and the property that it is about if it is not about the object as a whole.
    Because(String, Option<JsString>),
    /// What the interpreter threw instead.
    Failed(JsError),
}

impl From<JsError> for Unpassable {
    fn from(error: JsError) -> Self {
        Unpassable::Failed(error)
    }
}

impl Unpassable {
    /// The error for an object at `place`, which begins with a dot.
    pub fn at(self, place: &str) -> JsError {
        match self {
            Unpassable::Failed(error) => error,
            Unpassable::Because(text, None) => type_error(format!("at {place}: {text}")),
            Unpassable::Because(text, Some(property)) => {
                type_error(format!("at {place}.{}: {text}", property.to_std_string_escaped()))
            }
        }
    }
}

fn because<T>(text: impl Into<String>) -> Result<T, Unpassable> {
    Err(Unpassable::Because(text.into(), None))
}

/// The native half of the JavaScript function `passStyleOf`, for objects.
pub fn pass_style_function(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let object = args.get_or_undefined(0).as_object().ok_or_else(|| type_error("an object is needed"))?;
    let style = of(&object, context).map_err(|refusal| refusal.at(".value"))?;
    let name = match style {
        Style::Reference(_) | Style::Remotable => js_string!("remotable"),
        Style::Promise(_) => js_string!("promise"),
        Style::Array(_) => js_string!("copyArray"),
        Style::Error => js_string!("error"),
        Style::Bytes => js_string!("byteArray"),
        Style::Record(_) => js_string!("copyRecord"),
        Style::Tagged(..) => js_string!("tagged"),
    };
    Ok(name.into())
}

/// As what `object` passes, or why it does not.
pub fn of(object: &JsObject, context: &mut Context) -> Result<Style, Unpassable> {
    if let Some(slot) = tables::export_slot(object) {
        return Ok(Style::Reference(slot));
    }
    if let Some(presence) = object.downcast_ref::<Presence>() {
        return Ok(Style::Reference(Slot::HostObject(presence.id)));
    }
    if let Some(promise) = promise::as_promise(&object.clone().into()) {
        if promise::is_plain(&promise, context) {
            return Ok(Style::Promise(promise));
        }
        return because(
            "a promise with properties of its own, or of a class of its own, cannot be passed: pass E.resolve(promise)",
        );
    }
    if object.is::<Sender>() {
        return because("E(x) cannot be passed: in place of E(x), pass x or what E(x).method(...) gives");
    }
    if object.is::<Proxy>() {
        return because(
            "a Proxy cannot be passed: pass an object made with Far(...) that uses it; in place of E(x), pass x or what E(x).method(...) gives",
        );
    }
    if object.is_array() {
        return list(object, context);
    }
    if object.is::<JsErrorData>() {
        return Ok(Style::Error);
    }
    if JsUint8Array::from_object(object.clone()).is_ok() {
        return Ok(Style::Bytes);
    }
    if let Ok(buffer) = JsArrayBuffer::from_object(object.clone()) {
        if buffer.is_immutable() {
            return Ok(Style::Bytes);
        }
        return because(
            "an ArrayBuffer that can change cannot be passed: pass a Uint8Array of it, or its sliceToImmutable()",
        );
    }
    if object.is_callable() {
        return remotable(object, "a function", context);
    }
    if !object.is_ordinary() {
        return because("an object of this kind cannot be passed: copy what is in it into a record or an array");
    }
    let prototype = object.prototype();
    let plain = prototype.is_none_or(|prototype| {
        JsObject::equals(&prototype, &context.intrinsics().constructors().object().prototype())
    });
    if plain {
        return record_or_methods(object, context);
    }
    let made_by_far = far::is_far(&object.clone().into());
    remotable(object, if made_by_far { "an object made with Far(...)" } else { "an instance of a class" }, context)
}

/// An array has what all arrays have, and its elements. Whoever gets one may call its methods and walk over it, and runs no code of its maker.
fn list(array: &JsObject, context: &Context) -> Result<Style, Unpassable> {
    let prototype = context.intrinsics().constructors().array().prototype();
    if !array.prototype().is_some_and(|own| JsObject::equals(&own, &prototype)) {
        return because("an array of a class of its own cannot be passed: pass [...array]");
    }
    let length_key = PropertyKey::from(js_string!("length"));
    if let Some(key) = array.borrow().shape().keys().into_iter().find(|key| *key != length_key) {
        return because(format!(
            "an array with the further property {key} cannot be passed: pass a record with the array in it"
        ));
    }
    let length = array.borrow().properties().get(&length_key);
    let length = length.and_then(|found| found.value().and_then(JsValue::as_number)).unwrap_or(0.0) as u32;
    let mut items = Vec::new();
    for index in 0..length {
        let descriptor = array.borrow().properties().get(&PropertyKey::from(index));
        let Some(descriptor) = descriptor else {
            return because("an array with holes cannot be passed: fill it first");
        };
        let Some(item) = descriptor.value() else { return because("an array with getters cannot be passed") };
        items.push(item.clone());
    }
    Ok(Style::Array(items))
}

/// A plain object: a record if it has no methods, a reference if it has nothing else.
fn record_or_methods(object: &JsObject, context: &mut Context) -> Result<Style, Unpassable> {
    if let Some((tag, payload)) = tagged::parts(object) {
        return Ok(Style::Tagged(tag, payload));
    }
    let mut fields = Vec::new();
    let mut methods = 0usize;
    let mut hidden = None;
    for key in object.own_property_keys(context)? {
        let Some(descriptor) = object.borrow().properties().get(&key) else { continue };
        let name = match &key {
            PropertyKey::Symbol(symbol) => {
                let name = symbol.descriptive_string().to_std_string_escaped();
                return because(format!("a record cannot have the symbol {name} as a key"));
            }
            PropertyKey::String(name) => name.clone(),
            PropertyKey::Index(index) => index.get().to_string().into(),
        };
        let Some(value) = descriptor.value() else {
            let text = "a getter or setter cannot be passed: pass its value, or a method";
            return Err(Unpassable::Because(text.to_owned(), Some(name)));
        };
        if value.is_callable() && !far::is_far(value) {
            methods += 1;
        }
        if descriptor.enumerable() != Some(true) && hidden.is_none() {
            hidden = Some(name.clone());
        }
        fields.push((name, value.clone()));
    }
    if methods == 0 {
        let Some(name) = hidden else { return Ok(Style::Record(fields)) };
        let text = "a property that is not enumerable cannot be passed: define it as an ordinary one";
        return Err(Unpassable::Because(text.to_owned(), Some(name)));
    }
    if methods == fields.len() {
        return Ok(Style::Remotable);
    }
    because("an object with both methods and data cannot be passed: keep the data in the closure or pass it apart")
}

/// What passes by reference shows nothing but methods, itself and through all that it inherits from.
fn remotable(object: &JsObject, what: &str, context: &mut Context) -> Result<Style, Unpassable> {
    for key in object.own_property_keys(context)? {
        if of_every_function(object, &key) {
            continue;
        }
        let descriptor = object.borrow().properties().get(&key);
        if !descriptor.as_ref().and_then(|found| found.value()).is_some_and(JsValue::is_callable) {
            return because(if what == "an instance of a class" {
                format!("{what} with data properties cannot be passed: use #private fields")
            } else {
                format!("{what} with the data property {key} cannot be passed: keep the data in the closure")
            });
        }
    }
    let mut holder = object.prototype();
    while let Some(prototype) = holder {
        if base::has(&prototype) {
            break;
        }
        if answers_itself(&prototype) {
            return because(format!("{what} that inherits from a Proxy or from E(x) cannot be passed"));
        }
        if !prototype.is::<Interface>() {
            only_methods_to_inherit(&prototype, what, context)?;
        }
        holder = prototype.prototype();
    }
    Ok(Style::Remotable)
}

fn only_methods_to_inherit(prototype: &JsObject, what: &str, context: &mut Context) -> Result<(), Unpassable> {
    for key in prototype.own_property_keys(context)? {
        let silent = of_every_function(prototype, &key)
            || key == PropertyKey::from(JsSymbol::to_string_tag())
            || (marks::pass_style().as_ref() == Some(&key) && marks::says_remotable(prototype));
        let descriptor = prototype.borrow().properties().get(&key);
        let data = descriptor.and_then(|found| found.value().cloned()).filter(|value| !value.is_callable());
        if data.is_some() && !silent {
            return because(format!(
                "{what} that inherits the data property {key} cannot be passed: make it a method, or keep it in a closure"
            ));
        }
    }
    Ok(())
}

/// The bytes of an object whose style is [`Style::Bytes`].
pub fn bytes_of(object: &JsObject, context: &mut Context) -> JsResult<Vec<u8>> {
    if let Ok(buffer) = JsArrayBuffer::from_object(object.clone()) {
        return Ok(buffer.data().map(|data| data.to_vec()).unwrap_or_default());
    }
    Ok(JsUint8Array::from_object(object.clone())?.iter(context).collect())
}

//! `Far`: objects that pass by reference, and the name that they show.

use super::harden::harden;
use super::marks;
use super::sender::answers_itself;
use crate::abi::MAX_INTERFACE_BYTES;
use crate::runtime::type_error;
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{
    Context, Finalize, JsArgs, JsData, JsObject, JsResult, JsString, JsSymbol, JsValue, Trace, js_string,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The prototype that `Far` puts before an object's own: what is under it is a reference, whatever it looks like.
#[derive(Clone, Copy, Debug, Trace, Finalize, JsData)]
#[boa_gc(empty_trace)]
pub struct Interface;

thread_local! {
    /// Interface prototypes of plain objects, by name. Bounded: a name made up for each object is not kept.
    static INTERFACES: RefCell<BTreeMap<String, JsObject>> = const { RefCell::new(BTreeMap::new()) };
}

/// Most interface prototypes that are shared between objects.
const MAX_INTERFACES: usize = 1024;
/// What the tag of a reference begins with: its name is what somebody says of it.
pub const ALLEGED: &str = "Alleged: ";

/// The JavaScript function `Far`: `Far(interface, object)` or `Far(object)`.
pub fn far_function(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let first = args.get_or_undefined(0);
    let (name, object) = match first.as_string() {
        Some(name) => match name.to_std_string() {
            Ok(name) => (name, args.get_or_undefined(1).clone()),
            Err(_) => {
                let name = name.to_std_string_escaped();
                return Err(type_error(format!("Far: the interface name has a lone surrogate: {name}")));
            }
        },
        None => ("remotable".to_owned(), first.clone()),
    };
    let object = match object.as_object() {
        Some(object) => object,
        None if object.is_undefined() => JsObject::with_object_proto(context.intrinsics()),
        None => return Err(type_error(format!("Far({name:?}, …): an object with methods or a function is needed"))),
    };
    far(&name, &object, context)?;
    Ok(object.into())
}

/// Whether `value` was made by `Far`, the runtime's or that of a package.
pub fn is_far(value: &JsValue) -> bool {
    let prototype = value.as_object().and_then(|object| object.prototype());
    prototype.is_some_and(|prototype| prototype.is::<Interface>() || marks::says_remotable(&prototype))
}

fn far(name: &str, object: &JsObject, context: &mut Context) -> JsResult<()> {
    if answers_itself(object) || (!object.is_callable() && !object.is_ordinary()) {
        return Err(type_error(format!(
            "Far({name:?}, …): only plain objects, instances and functions can be passed by reference"
        )));
    }
    if is_far(&object.clone().into()) {
        return Err(type_error(format!("Far({name:?}, …): the object is already Far")));
    }
    only_methods(name, object, context)?;
    let inherited = object.prototype();
    let prototype = match inherited {
        Some(inherited) => interface(&format!("{ALLEGED}{name}"), inherited, context)?,
        None => return Err(type_error(format!("Far({name:?}, …): the object has no prototype"))),
    };
    if !object.is_extensible(context)? {
        return Err(type_error(format!("Far({name:?}, …): the object is already frozen; call Far instead of harden")));
    }
    object.set_prototype(Some(prototype));
    harden(object, context)
}

fn only_methods(name: &str, object: &JsObject, context: &mut Context) -> JsResult<()> {
    for key in object.own_property_keys(context)? {
        if of_every_function(object, &key) {
            continue;
        }
        let descriptor = object.borrow().properties().get(&key);
        let method = descriptor.as_ref().and_then(|found| found.value()).is_some_and(JsValue::is_callable);
        if !method {
            let key = key.to_string();
            return Err(type_error(format!(
                "Far({name:?}, …): property {key} is not a method; keep data in the closure or in #private fields"
            )));
        }
    }
    Ok(())
}

/// A hardened prototype that marks what is under it as a reference.
pub fn interface(tag: &str, inherited: JsObject, context: &mut Context) -> JsResult<JsObject> {
    let plain = JsObject::equals(&inherited, &context.intrinsics().constructors().object().prototype());
    if plain && let Some(known) = INTERFACES.with(|known| known.borrow().get(tag).cloned()) {
        return Ok(known);
    }
    let prototype = JsObject::from_proto_and_data(inherited, Interface);
    let hidden = |text: JsString| {
        PropertyDescriptor::builder().value(text).writable(false).enumerable(false).configurable(false)
    };
    let tag_key = PropertyKey::from(JsSymbol::to_string_tag());
    prototype.define_property_or_throw(tag_key, hidden(JsString::from(tag)), context)?;
    // So that `passStyleOf` of Endo's package takes what is under it for what it is.
    if let Some(key) = marks::pass_style() {
        prototype.define_property_or_throw(key, hidden(js_string!("remotable")), context)?;
    }
    harden(&prototype, context)?;
    if plain && tag.len() <= ALLEGED.len() + MAX_INTERFACE_BYTES {
        INTERFACES.with(|known| {
            let mut known = known.borrow_mut();
            if known.len() < MAX_INTERFACES {
                known.insert(tag.to_owned(), prototype.clone());
            }
        });
    }
    Ok(prototype)
}

/// Whether `key` is one of the properties that the language gives to functions.
pub fn of_every_function(object: &JsObject, key: &PropertyKey) -> bool {
    let names = [js_string!("name"), js_string!("length"), js_string!("prototype")];
    object.is_callable() && names.into_iter().any(|name| *key == PropertyKey::from(name))
}

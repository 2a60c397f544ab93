//! `harden`, `Far` and presences: which objects are references, and how they are made tamper-proof.
//!
//! `harden` freezes what is reachable from a value through own properties and prototypes. What it has finished is marked, so that hardening
//! something that contains much that is hard already is cheap.

use crate::abi::MAX_INTERFACE_BYTES;
use crate::abi::value::is_interface_name;
use crate::runtime::type_error;
use crate::style;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::object::IntegrityLevel;
use boa_engine::object::builtins::JsTypedArray;
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{
    Context, Finalize, JsArgs, JsData, JsObject, JsResult, JsString, JsSymbol, JsValue, Trace, js_string,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// An object that lives in another vat.
#[derive(Clone, Copy, Debug, Trace, Finalize, JsData)]
#[boa_gc(empty_trace)]
pub struct Presence {
    pub id: u64,
}

/// The prototype that `Far` puts before an object's own: what is under it is a reference, whatever it looks like.
#[derive(Clone, Copy, Debug, Trace, Finalize, JsData)]
#[boa_gc(empty_trace)]
pub struct Interface;

thread_local! {
    /// Interface prototypes of plain objects, by name. Bounded: a name made up for each object is not kept.
    static INTERFACES: RefCell<BTreeMap<String, JsObject>> = const { RefCell::new(BTreeMap::new()) };
    static PRESENCE_PROTOTYPE: RefCell<Option<JsObject>> = const { RefCell::new(None) };
}

/// Most interface prototypes that are shared between objects.
const MAX_INTERFACES: usize = 1024;
/// What the tag of a reference begins with: its name is what somebody says of it.
const ALLEGED: &str = "Alleged: ";

/// Makes the prototype of presences. Called once, after lockdown.
pub fn install(context: &mut Context) -> JsResult<()> {
    let prototype = interface("Alleged: remote", context.intrinsics().constructors().object().prototype(), context)?;
    PRESENCE_PROTOTYPE.with(|slot| *slot.borrow_mut() = Some(prototype));
    Ok(())
}

/// The JavaScript function `harden`.
pub fn harden_function(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let value = args.get_or_undefined(0).clone();
    if let Some(object) = value.as_object() {
        harden(&object, context)?;
    }
    Ok(value)
}

/// Freezes `root` and all that is reachable from it.
pub fn harden(root: &JsObject, context: &mut Context) -> JsResult<()> {
    if root.is_hardened() {
        return Ok(());
    }
    let mut queue = vec![root.clone()];
    let mut done = Vec::new();
    let mut seen =
        std::collections::HashSet::<JsObject, std::hash::BuildHasherDefault<crate::tables::AddressHasher>>::default();
    seen.insert(root.clone());
    while let Some(object) = queue.pop() {
        freeze(&object, context)?;
        let mut found = Vec::new();
        if object.is::<Proxy>() {
            collect_by_traps(&object, &mut found, context)?;
        } else {
            collect(&object, &mut found, context)?;
        }
        for next in found {
            if !next.is_hardened() && !seen.contains(&next) {
                seen.insert(next.clone());
                queue.push(next);
            }
        }
        done.push(object);
    }
    // Only now: a throw on the way must not leave half-frozen graphs taken for hard.
    done.iter().for_each(JsObject::mark_hardened);
    Ok(())
}

fn freeze(object: &JsObject, context: &mut Context) -> JsResult<()> {
    if JsTypedArray::from_object(object.clone()).is_ok() {
        prevent_extensions(object, context)?;
        return freeze_properties(object, context);
    }
    if object.set_integrity_level(IntegrityLevel::Frozen, context)? {
        Ok(())
    } else {
        Err(type_error("harden: an object refuses to be frozen"))
    }
}

/// Makes the own properties of a typed array constant, but for its elements: the language keeps them writable, unless the buffer is immutable.
fn freeze_properties(object: &JsObject, context: &mut Context) -> JsResult<()> {
    let keys = object.borrow().shape().keys();
    for key in keys {
        let found = object.borrow().properties().get(&key);
        let Some(found) = found else { continue };
        let mut descriptor = PropertyDescriptor::builder().configurable(false);
        if found.is_data_descriptor() {
            descriptor = descriptor.writable(false);
        }
        object.define_property_or_throw(key, descriptor, context)?;
    }
    Ok(())
}

/// Keeps a typed array from getting further properties.
fn prevent_extensions(object: &JsObject, context: &mut Context) -> JsResult<()> {
    let constructor = context.intrinsics().constructors().object().constructor();
    let function = constructor.get(js_string!("preventExtensions"), context)?;
    if let Some(function) = function.as_callable() {
        function.call(&JsValue::undefined(), &[object.clone().into()], context)?;
    }
    Ok(())
}

/// The objects that `object` refers to, read without running guest code.
pub fn collect(object: &JsObject, found: &mut Vec<JsObject>, context: &mut Context) -> JsResult<()> {
    found.extend(object.prototype());
    // The elements of a typed array are no objects, and there may be very many.
    let elements = JsTypedArray::from_object(object.clone()).is_ok();
    let keys = if elements { object.borrow().shape().keys() } else { object.own_property_keys(context)? };
    for key in keys {
        let descriptor = object.borrow().properties().get(&key);
        if let Some(descriptor) = descriptor {
            push_objects(&descriptor, found);
        }
    }
    Ok(())
}

/// The same for a proxy, through its traps.
fn collect_by_traps(object: &JsObject, found: &mut Vec<JsObject>, context: &mut Context) -> JsResult<()> {
    let reflect = context.intrinsics().objects().reflect();
    let prototype = reflect.get(js_string!("getPrototypeOf"), context)?;
    if let Some(function) = prototype.as_callable() {
        let prototype = function.call(&JsValue::undefined(), &[object.clone().into()], context)?;
        found.extend(prototype.as_object());
    }
    let describe = reflect.get(js_string!("getOwnPropertyDescriptor"), context)?;
    for key in object.own_property_keys(context)? {
        let Some(describe) = describe.as_callable() else { break };
        let descriptor = describe.call(&JsValue::undefined(), &[object.clone().into(), key.into()], context)?;
        if let Some(descriptor) = descriptor.as_object() {
            push_objects(&descriptor.to_property_descriptor(context)?, found);
        }
    }
    Ok(())
}

fn push_objects(descriptor: &PropertyDescriptor, found: &mut Vec<JsObject>) {
    let parts = [descriptor.value(), descriptor.get(), descriptor.set()];
    found.extend(parts.into_iter().flatten().filter_map(JsValue::as_object));
}

/// Hardens what has just come in: `object` is fresh, and its prototype and all that is in it are hardened.
pub fn seal(object: &JsObject, context: &mut Context) -> JsResult<()> {
    freeze(object, context)?;
    object.mark_hardened();
    Ok(())
}

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

/// Whether `value` was made by `Far`.
pub fn is_far(value: &JsValue) -> bool {
    let prototype = value.as_object().and_then(|object| object.prototype());
    prototype.is_some_and(|prototype| prototype.is::<Interface>())
}

fn far(name: &str, object: &JsObject, context: &mut Context) -> JsResult<()> {
    if object.is::<Proxy>() || (!object.is_callable() && !object.is_ordinary()) {
        return Err(type_error(format!(
            "Far({name:?}, …): only plain objects, instances and functions can be passed by reference"
        )));
    }
    if object.prototype().is_some_and(|prototype| prototype.is::<Interface>()) {
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
        if style::of_every_function(object, &key) {
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
fn interface(tag: &str, inherited: JsObject, context: &mut Context) -> JsResult<JsObject> {
    let plain = JsObject::equals(&inherited, &context.intrinsics().constructors().object().prototype());
    if plain && let Some(known) = INTERFACES.with(|known| known.borrow().get(tag).cloned()) {
        return Ok(known);
    }
    let prototype = JsObject::from_proto_and_data(inherited, Interface);
    let descriptor =
        PropertyDescriptor::builder().value(JsString::from(tag)).writable(false).enumerable(false).configurable(false);
    prototype.define_property_or_throw(PropertyKey::from(JsSymbol::to_string_tag()), descriptor, context)?;
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

/// A new presence for an object of another vat, with the interface name that came with it. The table knows it as long as the program
/// holds it, so that the slot always gives the same one.
///
/// The name is an own property: prototypes that came and went with names would show when presences are collected.
pub fn new_presence(id: u64, name: Option<&str>, context: &mut Context) -> JsResult<JsObject> {
    let prototype = PRESENCE_PROTOTYPE.with(|slot| slot.borrow().clone());
    let presence = JsObject::new(context.root_shape(), prototype, Presence { id }).upcast();
    if let Some(name) = name {
        let tag = PropertyDescriptor::builder().value(JsString::from(format!("{ALLEGED}{name}"))).enumerable(false);
        presence.define_property_or_throw(PropertyKey::from(JsSymbol::to_string_tag()), tag, context)?;
    }
    seal(&presence, context)?;
    crate::tables::add_presence(id, &presence);
    Ok(presence)
}

/// The interface name of a presence, or of an object of this vat that `Far` was called with; `None` if it has none that can travel.
pub fn interface_name(object: &JsObject) -> Option<String> {
    let tagged = if object.is::<Presence>() {
        object.clone()
    } else {
        object.prototype().filter(|prototype| prototype.is::<Interface>())?
    };
    let tag = tagged.borrow().properties().get(&PropertyKey::from(JsSymbol::to_string_tag()))?;
    let tag = tag.value()?.as_string()?.to_std_string().ok()?;
    tag.strip_prefix(ALLEGED).filter(|name| is_interface_name(name)).map(str::to_owned)
}

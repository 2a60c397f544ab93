//! `harden`: how objects are made tamper-proof.
//!
//! It freezes what is reachable from a value through own properties and prototypes. What it has finished is marked, so that hardening
//! something that contains much that is hard already is cheap.

use crate::runtime::type_error;
use crate::tables::AddressHasher;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::object::IntegrityLevel;
use boa_engine::object::builtins::JsTypedArray;
use boa_engine::property::PropertyDescriptor;
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsValue, js_string};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

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
    let mut seen = HashSet::<JsObject, BuildHasherDefault<AddressHasher>>::default();
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

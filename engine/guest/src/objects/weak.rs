//! Presences as keys of weak collections: a collection that a presence is a key of keeps the presence.
//!
//! The runtime refers to presences weakly (`tables`), so that the home of an object that the program let go of can let go of it too. Of
//! that a program must notice nothing. A presence that was collected and comes in again is another object under the same name;
//! a program could tell only by what it said of the first one: an entry of a `WeakMap` or `WeakSet`, or a private name
//! (`Hooks` in `boot` sees to those). So a weak collection holds the presences that are its keys, as a `Map` would. They go with
//! the entry or with the collection.

use super::presence::Presence;
use boa_engine::object::FunctionObjectBuilder;
use boa_engine::object::builtins::{JsSet, JsWeakMap};
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, NativeFunction, js_string};
use std::cell::RefCell;

thread_local! {
    /// Weak collection → the set of the presences that are keys in it.
    static HELD: RefCell<Option<JsWeakMap>> = const { RefCell::new(None) };
}

/// Wraps the methods that enter and remove keys. Called once, before anything else could get hold of them.
pub fn install(context: &mut Context) -> JsResult<()> {
    let held = JsWeakMap::new(context);
    HELD.with(|slot| *slot.borrow_mut() = Some(held));
    let constructors = context.intrinsics().constructors();
    let (map, set) = (constructors.weak_map().prototype(), constructors.weak_set().prototype());
    for name in ["set", "getOrInsert", "getOrInsertComputed"] {
        wrap(&map, name, true, context)?;
    }
    wrap(&map, "delete", false, context)?;
    wrap(&set, "add", true, context)?;
    wrap(&set, "delete", false, context)
}

/// Puts a function in the place of a method that does the same, and then notes or forgets the key if that is a presence.
fn wrap(prototype: &JsObject, name: &str, enters: bool, context: &mut Context) -> JsResult<()> {
    let key = PropertyKey::from(JsString::from(name));
    let Some(original) = prototype.get(key.clone(), context)?.as_callable() else { return Ok(()) };
    let length = original.get(js_string!("length"), context)?.to_length(context)?;
    let native = NativeFunction::from_copy_closure_with_captures(
        |this, args, (original, enters), context| {
            let result = original.call(this, args, context)?;
            if let Some(collection) = this.as_object()
                && let Some(key) = args.get_or_undefined(0).as_object()
                && key.is::<Presence>()
            {
                note(&collection, key, *enters, context)?;
            }
            Ok(result)
        },
        (original, enters),
    );
    let function = FunctionObjectBuilder::new(context.realm(), native);
    let function = function.name(JsString::from(name)).length(length as usize).build();
    let method = PropertyDescriptor::builder().value(function).writable(true).enumerable(false).configurable(true);
    prototype.define_property_or_throw(key, method, context).map(drop)
}

/// Notes that `presence` is a key of `collection`, or is one no longer.
fn note(collection: &JsObject, presence: JsObject, enters: bool, context: &mut Context) -> JsResult<()> {
    let Some(held) = HELD.with(|slot| slot.borrow().clone()) else { return Ok(()) };
    let known = held.get(collection, context)?.as_object().and_then(|set| JsSet::from_object(set).ok());
    match known {
        Some(set) if enters => set.add(presence, context).map(drop),
        Some(set) => {
            set.delete(presence);
            Ok(())
        }
        None if enters => {
            let set = JsSet::new(context);
            set.add(presence, context)?;
            held.set(collection, set.into(), context).map(drop)
        }
        None => Ok(()),
    }
}

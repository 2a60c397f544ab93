//! Objects of other vats, as they stand here.

use super::far::{ALLEGED, Interface, interface};
use super::harden::seal;
use super::marks;
use super::sender::answers_itself;
use crate::abi::value::is_interface_name;
use crate::tables;
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{Context, Finalize, JsData, JsObject, JsResult, JsString, JsSymbol, Trace};
use std::cell::RefCell;

/// An object that lives in another vat.
#[derive(Clone, Copy, Debug, Trace, Finalize, JsData)]
#[boa_gc(empty_trace)]
pub struct Presence {
    pub id: u64,
}

thread_local! {
    static PROTOTYPE: RefCell<Option<JsObject>> = const { RefCell::new(None) };
}

/// Makes the prototype of presences. Called once, after lockdown.
pub fn install(context: &mut Context) -> JsResult<()> {
    let prototype = interface("Alleged: remote", context.intrinsics().constructors().object().prototype(), context)?;
    PROTOTYPE.with(|slot| *slot.borrow_mut() = Some(prototype));
    Ok(())
}

/// A new presence for an object of another vat, with the interface name that came with it. The table knows it as long as the program
/// holds it, so that the slot always gives the same one.
///
/// The name is an own property: prototypes that came and went with names would show when presences are collected.
pub fn new_presence(id: u64, name: Option<&str>, context: &mut Context) -> JsResult<JsObject> {
    let prototype = PROTOTYPE.with(|slot| slot.borrow().clone());
    let presence = JsObject::new(context.root_shape(), prototype, Presence { id }).upcast();
    if let Some(name) = name {
        let tag = PropertyDescriptor::builder().value(JsString::from(format!("{ALLEGED}{name}"))).enumerable(false);
        presence.define_property_or_throw(PropertyKey::from(JsSymbol::to_string_tag()), tag, context)?;
    }
    seal(&presence, context)?;
    tables::add_presence(id, &presence);
    Ok(presence)
}

/// Prototypes that are searched for an interface name: instances of an exo inherit it from what its methods are on.
const MAX_PROTOTYPES: usize = 8;

/// The interface name of a presence, or of an object of this vat that `Far` was called with, the runtime's or that of a package; `None` if it
/// has none that can travel.
pub fn interface_name(object: &JsObject) -> Option<String> {
    let key = PropertyKey::from(JsSymbol::to_string_tag());
    let tagged = if object.is::<Presence>() {
        object.clone()
    } else {
        let above = std::iter::successors(object.prototype(), |prototype| prototype.prototype());
        let mut above = above.take(MAX_PROTOTYPES).take_while(|prototype| !answers_itself(prototype));
        above.find(|prototype| prototype.is::<Interface>() || marks::says_remotable(prototype))?
    };
    let tag = tagged.borrow().properties().get(&key)?;
    let tag = tag.value()?.as_string()?.to_std_string().ok()?;
    tag.strip_prefix(ALLEGED).filter(|name| is_interface_name(name)).map(str::to_owned)
}

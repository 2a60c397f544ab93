//! Own objects that other vats hold, and the root.

use super::ByIdentity;
use crate::abi::Slot;
use boa_engine::{JsObject, JsValue};
use std::cell::RefCell;
use std::collections::BTreeMap;

struct Tables {
    next_object: u64,
    /// Objects from here on got their number in this delivery.
    first_new_object: u64,
    exports: BTreeMap<u64, JsObject>,
    export_ids: ByIdentity<u64>,
    root: Option<JsValue>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::new(Tables {
        next_object: 1,
        first_new_object: 1,
        exports: BTreeMap::new(),
        export_ids: ByIdentity::default(),
        root: None,
    });
}

fn with<T>(action: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| action(&mut tables.borrow_mut()))
}

pub fn set_root(root: JsValue) {
    with(|tables| tables.root = Some(root));
}

pub fn root() -> Option<JsValue> {
    with(|tables| tables.root.clone())
}

/// Gives the root object its number. If it was given away under another one in this very delivery, that number is returned, for what was
/// said to be put right; what was said in an earlier delivery stands, and others know the object under two numbers.
pub fn export_root(root: &JsObject) -> Option<u64> {
    with(|tables| {
        tables.exports.insert(0, root.clone());
        match tables.export_ids.get(root).copied() {
            Some(id) if id < tables.first_new_object => None,
            Some(id) => {
                tables.export_ids.insert(root.clone(), 0);
                tables.exports.remove(&id);
                Some(id)
            }
            None => {
                tables.export_ids.insert(root.clone(), 0);
                None
            }
        }
    })
}

/// The slot of an own object, given one if it has none yet.
pub fn export(object: &JsObject) -> Slot {
    with(|tables| {
        if let Some(id) = tables.export_ids.get(object) {
            return Slot::VatObject(*id);
        }
        let id = tables.next_object;
        tables.next_object += 1;
        tables.exports.insert(id, object.clone());
        tables.export_ids.insert(object.clone(), id);
        Slot::VatObject(id)
    })
}

pub fn export_slot(object: &JsObject) -> Option<Slot> {
    with(|tables| tables.export_ids.get(object).copied().map(Slot::VatObject))
}

pub fn exported(id: u64) -> Option<JsObject> {
    with(|tables| tables.exports.get(&id).cloned())
}

/// Forgets the numbers of own objects that no other vat holds any more.
pub fn free(ids: &[u64]) {
    with(|tables| {
        for id in ids.iter().filter(|id| **id != 0) {
            let Some(object) = tables.exports.remove(id) else { continue };
            if tables.export_ids.get(&object) != Some(id) {
                continue;
            }
            tables.export_ids.remove(&object);
            // A root that was given away before it was the root has two numbers.
            if tables.exports.get(&0).is_some_and(|root| JsObject::equals(root, &object)) {
                tables.export_ids.insert(object, 0);
            }
        }
    });
}

pub fn end_of_delivery() {
    with(|tables| tables.first_new_object = tables.next_object);
}

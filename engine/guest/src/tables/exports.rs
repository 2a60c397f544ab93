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
    /// Numbers below are of before the last upgrade.
    first_object: u64,
    /// The function from a number of before the upgrade to the object that takes its place, while the vat starts in a new heap.
    heir: Option<JsObject>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::new(Tables {
        next_object: 1,
        first_new_object: 1,
        exports: BTreeMap::new(),
        export_ids: ByIdentity::default(),
        root: None,
        first_object: 0,
        heir: None,
    });
}

fn with<T>(action: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| action(&mut tables.borrow_mut()))
}

/// This heap takes the place of another one, and gives numbers from `first` on.
pub(super) fn begin_at(first: u64) {
    with(|tables| {
        tables.next_object = first;
        tables.first_new_object = first;
        tables.first_object = first;
    });
}

/// Whether an upgrade took place since an object got this number.
pub fn is_of_before(id: u64) -> bool {
    with(|tables| id < tables.first_object)
}

/// See [`heir`].
pub fn set_heir(function: Option<JsObject>) {
    with(|tables| tables.heir = function);
}

/// What gives the object that takes the place of one with a number of before, while the vat starts after an upgrade.
pub fn heir() -> Option<JsObject> {
    with(|tables| tables.heir.clone())
}

/// Enters an object under a number that others know.
pub fn export_as(id: u64, object: &JsObject) {
    with(|tables| {
        tables.exports.insert(id, object.clone());
        tables.export_ids.insert(object.clone(), id);
    });
}

/// All own objects that others hold, in the order of their numbers.
pub fn all_exported() -> Vec<JsObject> {
    with(|tables| tables.exports.values().cloned().collect())
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

//! Objects of other vats.

use boa_engine::JsObject;
use boa_engine::object::WeakJsObject;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Default)]
struct Tables {
    presences: BTreeMap<u64, WeakJsObject>,
    /// Presences that a class has put a private name on: nothing tells when nobody can ask for it any more.
    marked: BTreeMap<u64, JsObject>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

fn with<T>(action: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| action(&mut tables.borrow_mut()))
}

/// The presence of an object of another vat, if the program still holds it.
pub fn presence(id: u64) -> Option<JsObject> {
    with(|tables| tables.presences.get(&id).and_then(WeakJsObject::upgrade))
}

pub fn add_presence(id: u64, presence: &JsObject) {
    with(|tables| tables.presences.insert(id, presence.downgrade()));
}

/// Keeps a presence for good: see `Tables::marked`.
pub fn mark_presence(id: u64, presence: &JsObject) {
    with(|tables| tables.marked.insert(id, presence.clone()));
}

/// Forgets the presences that are gone, and gives their numbers in ascending order: at most `limit`, the next call the rest.
pub fn take_gone(limit: usize) -> Vec<u64> {
    with(|tables| {
        let gone = tables.presences.iter().filter(|(_, presence)| presence.upgrade().is_none());
        let gone: Vec<u64> = gone.map(|(id, _)| *id).take(limit).collect();
        for id in &gone {
            tables.presences.remove(id);
        }
        gone
    })
}

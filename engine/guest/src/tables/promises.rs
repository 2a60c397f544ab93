//! Promises that have not settled: those that others decide, and those that this guest decides.

use super::ByIdentity;
use super::settled::{self, Settled};
use crate::abi::Slot;
use boa_engine::JsObject;
use boa_engine::object::builtins::{JsFunction, JsPromise};
use std::cell::RefCell;
use std::collections::BTreeMap;

struct Descent {
    promise: JsObject,
    from: Slot,
    depth: u32,
}

/// The promise that a method waits for to hear of a cancellation, and how to fulfil it.
pub struct Listener {
    pub promise: JsObject,
    pub heard: JsFunction,
}

struct Tables {
    next_promise: u64,
    /// Promises of this guest's from here on got their number in this delivery.
    first_new_promise: u64,
    /// Those below are of before the last upgrade.
    first_promise: u64,
    remote: BTreeMap<Slot, JsPromise>,
    remote_slots: ByIdentity<Slot>,
    own: BTreeMap<Slot, JsObject>,
    own_slots: ByIdentity<Slot>,
    /// Who hears if the call with this result is cancelled; until it settles.
    listeners: BTreeMap<Slot, Listener>,
    /// Promises that had settled when they were named in another one's settlement, in this delivery: the name that each was given, and
    /// in whose settlement.
    descents: BTreeMap<Slot, Descent>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::new(Tables {
        next_promise: 1,
        first_new_promise: 1,
        first_promise: 0,
        remote: BTreeMap::new(),
        remote_slots: ByIdentity::default(),
        own: BTreeMap::new(),
        own_slots: ByIdentity::default(),
        listeners: BTreeMap::new(),
        descents: BTreeMap::new(),
    });
}

fn with<T>(action: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| action(&mut tables.borrow_mut()))
}

/// A number for a promise that this guest is the first to speak of.
pub fn new_promise_slot() -> Slot {
    with(|tables| {
        let id = tables.next_promise;
        tables.next_promise += 1;
        Slot::VatPromise(id)
    })
}

/// This heap takes the place of another one, and gives numbers from `first` on.
pub(super) fn begin_at(first: u64) {
    with(|tables| {
        tables.next_promise = first;
        tables.first_new_promise = first;
        tables.first_promise = first;
    });
}

/// Whether an upgrade took place since this vat first spoke of a promise.
pub fn is_promise_of_before(slot: Slot) -> bool {
    with(|tables| matches!(slot, Slot::VatPromise(id) if id < tables.first_promise))
}

/// Notes that `promise`, which has settled, gets the name `slot` in the settlement of `from`. A promise that has settled gets a new name
/// each time, so a circle of them would go on for ever: false if there is one. Looks back only at each doubling of the depth,
/// so that a list of promises costs no more than its length; a circle is found before it has come round three times.
pub fn descend(from: Slot, slot: Slot, promise: &JsObject) -> bool {
    with(|tables| {
        let depth = tables.descents.get(&from).map_or(1, |descent| descent.depth.saturating_add(1));
        let mut earlier = if depth.is_power_of_two() { tables.descents.get(&from) } else { None };
        while let Some(descent) = earlier {
            if JsObject::equals(&descent.promise, promise) {
                return false;
            }
            earlier = tables.descents.get(&descent.from);
        }
        tables.descents.insert(slot, Descent { promise: promise.clone(), from, depth });
        true
    })
}

/// Registers a promise that others decide.
pub fn add_remote(slot: Slot, promise: JsPromise) {
    with(|tables| {
        tables.remote_slots.insert(promise.clone().into(), slot);
        tables.remote.insert(slot, promise);
    });
}

/// The slot of a promise that others decide and that has not settled.
pub fn remote_slot(promise: &JsObject) -> Option<Slot> {
    with(|tables| tables.remote_slots.get(promise).copied())
}

pub fn remote_promise(slot: Slot) -> Option<JsPromise> {
    with(|tables| tables.remote.get(&slot).cloned())
}

/// Makes a promise that others decide one that is merely pending: what is sent to it waits for its settlement.
pub fn hold_remote(slot: Slot) {
    with(|tables| {
        if let Some(promise) = tables.remote.get(&slot) {
            tables.remote_slots.remove(&JsObject::from(promise.clone()));
        }
    });
}

/// Forgets a promise that others decide, because it settles now.
pub fn take_remote(slot: Slot) -> Option<JsPromise> {
    with(|tables| {
        let promise = tables.remote.remove(&slot)?;
        tables.remote_slots.remove(&JsObject::from(promise.clone()));
        Some(promise)
    })
}

/// Registers a promise that this guest decides, under a slot that the host knows.
pub fn add_own(slot: Slot, promise: &JsObject) {
    with(|tables| {
        tables.own.insert(slot, promise.clone());
        tables.own_slots.entry(promise.clone()).or_insert(slot);
    });
}

pub fn own_slot(promise: &JsObject) -> Option<Slot> {
    with(|tables| tables.own_slots.get(promise).copied())
}

pub fn own_promise(slot: Slot) -> Option<JsObject> {
    with(|tables| tables.own.get(&slot).cloned())
}

/// Moves a promise that this guest decides to the settled ones.
pub fn settle_own(slot: Slot, how: Settled) {
    with(|tables| {
        tables.listeners.remove(&slot);
        if let Some(promise) = tables.own.remove(&slot)
            && tables.own_slots.get(&promise) == Some(&slot)
        {
            tables.own_slots.remove(&promise);
        }
    });
    settled::remember(slot, how);
}

/// Looks at who hears if the call with this result is cancelled.
pub fn listener<T>(result: Slot, look: impl FnOnce(&Listener) -> T) -> Option<T> {
    with(|tables| tables.listeners.get(&result).map(look))
}

pub fn add_listener(result: Slot, listener: Listener) {
    with(|tables| tables.listeners.insert(result, listener));
}

/// Whether `slot` is a promise that is pending here.
pub fn is_pending(slot: Slot) -> bool {
    with(|tables| tables.own.contains_key(&slot) || tables.remote.contains_key(&slot))
}

/// Whether the promise of this guest's with this number got it in this delivery.
pub fn is_new_promise(id: u64) -> bool {
    with(|tables| id >= tables.first_new_promise)
}

pub fn end_of_delivery() {
    with(|tables| {
        tables.first_new_promise = tables.next_promise;
        tables.descents.clear();
    });
}

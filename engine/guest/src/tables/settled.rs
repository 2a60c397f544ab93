//! Promises that have settled, for messages that were sent to them before the sender knew.

use crate::abi::Slot;
use boa_engine::JsValue;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How a promise that this guest decided came out.
#[derive(Clone)]
pub enum Settled {
    Fulfilled(JsValue),
    Rejected(JsValue),
}

thread_local! {
    /// How the promises came out that the host has not yet said can be forgotten.
    static SETTLED: RefCell<BTreeMap<Slot, Settled>> = const { RefCell::new(BTreeMap::new()) };
}

/// Keeps how a promise came out, for messages that were sent to it before their sender knew. The host says when there can be no more such
/// messages, or when those who may send them make the vat keep too much: see [`super::forget`].
pub fn remember(slot: Slot, how: Settled) {
    SETTLED.with(|settled| settled.borrow_mut().insert(slot, how));
}

/// All that are remembered, in the order of their slots.
pub fn answers() -> Vec<(Slot, Settled)> {
    SETTLED.with(|settled| settled.borrow().iter().map(|(slot, how)| (*slot, how.clone())).collect())
}

pub fn forget(slot: Slot) {
    SETTLED.with(|settled| settled.borrow_mut().remove(&slot));
}

/// How a promise came out, if that is still remembered.
pub fn settled(slot: Slot) -> Option<Settled> {
    SETTLED.with(|settled| settled.borrow().get(&slot).cloned())
}

pub fn is_kept(slot: Slot) -> bool {
    SETTLED.with(|settled| settled.borrow().contains_key(&slot))
}

//! What this vat has exported, imported and promised: the map between JavaScript identities and slots.
//!
//! Invariants: an object or pending promise has one slot; ids come from counters and are not reused. Own objects are held until the host
//! says that no other vat does, promises until they have settled and are retired. Presences are held weakly, and which ones are
//! gone is looked at in a `Collect` only; see `objects::weak` for why no program can notice. No JavaScript runs while a table is borrowed.

mod exports;
mod imports;
mod promises;
mod settled;

pub use exports::{
    all_exported, export, export_as, export_root, export_slot, exported, free, heir, is_of_before, root, set_heir,
    set_root,
};
pub use imports::{add_presence, mark_presence, presence, take_gone};
pub use promises::{
    Listener, add_listener, add_own, add_remote, descend, hold_remote, is_new_promise, is_promise_of_before, listener,
    new_promise_slot, own_promise, own_slot, remote_promise, remote_slot, settle_own, take_remote,
};
pub use settled::{Settled, answers, remember, settled};

use crate::abi::Slot;
use boa_engine::JsObject;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes the address that stands for an object's identity; the tables are never iterated.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = ((address as u64) >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

/// A table by identity of objects; it is never iterated.
pub type ByIdentity<T> = HashMap<JsObject, T, BuildHasherDefault<AddressHasher>>;

/// This heap takes the place of another one: its objects and promises get numbers from `first` on, which no earlier one had.
pub fn begin_at(first: u64) {
    exports::begin_at(first);
    promises::begin_at(first);
}

/// Whether `slot` is a promise that is pending here, or that has settled and is still remembered.
pub fn knows(slot: Slot) -> bool {
    promises::is_pending(slot) || settled::is_kept(slot)
}

/// Forgets settled promises that nobody will name again, or of which the host has said that they are not to be kept. One of the latter kind
/// that was named once more is pending here, and stays so.
pub fn forget(retired: &[Slot]) {
    for slot in retired {
        settled::forget(*slot);
        promises::take_remote(*slot);
    }
}

/// A delivery is over: what got its number in it is new no longer.
pub fn end_of_delivery() {
    exports::end_of_delivery();
    promises::end_of_delivery();
}

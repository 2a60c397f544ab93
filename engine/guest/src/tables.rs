//! What this vat has exported, imported and promised: the map between JavaScript identities and slots.
//!
//! Invariants: an object or pending promise has one slot; ids come from counters and are not reused. Own objects are held until the host
//! says that no other vat does, promises until they have settled and are retired. Presences are held weakly, and which ones are
//! gone is looked at in a `Collect` only; see `weak` for why no program can notice. No JavaScript runs while a table is borrowed.

use crate::abi::{MAX_OUTPUTS, Output, Resolution, Slot};
use crate::cancel::Listener;
use boa_engine::error::RuntimeLimitError;
use boa_engine::object::WeakJsObject;
use boa_engine::object::builtins::JsFunction;
use boa_engine::{JsObject, JsResult, JsValue};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// How many settled promises are kept at most for messages that were sent to them before the sender knew. The host says when there
/// can be no more such messages; this bounds what a peer that never says what it has got can make this vat keep.
const SETTLED_KEPT: usize = 65_536;
/// Encoded size of all that they were settled with, in bytes: it stays in memory that long. Beyond it, large ones go first.
const SETTLED_KEPT_BYTES: usize = 8 << 20;
/// What is larger than this is large, in bytes: data, to which nobody can send anything.
const SETTLED_SMALL_BYTES: usize = 1 << 10;
/// Longest key of a registered symbol that crosses the border, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 256;

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

/// A promise that others decide, and how to settle it here.
pub struct RemotePromise {
    pub promise: JsObject,
    pub resolve: JsFunction,
    pub reject: JsFunction,
}

/// How a promise that this guest decided came out.
#[derive(Clone)]
pub enum Settled {
    Fulfilled(JsValue),
    Rejected(JsValue),
}

/// A settled promise, the encoded size of its value, and its place in the order in which they settled.
struct Kept {
    how: Settled,
    weight: usize,
    place: u64,
}

struct Descent {
    promise: JsObject,
    from: Slot,
    depth: u32,
}

#[derive(Default)]
struct Tables {
    outputs: Vec<Output>,
    /// How many of them count against [`MAX_OUTPUTS`].
    counted: usize,
    next_object: u64,
    /// Objects from here on got their number in this delivery.
    first_new_object: u64,
    next_promise: u64,
    /// Promises of this guest's from here on got their number in this delivery.
    first_new_promise: u64,
    exports: BTreeMap<u64, JsObject>,
    export_ids: ByIdentity<u64>,
    presences: BTreeMap<u64, WeakJsObject>,
    /// Presences that a class has put a private name on: nothing tells when nobody can ask for it any more.
    marked: BTreeMap<u64, JsObject>,
    remote: BTreeMap<Slot, RemotePromise>,
    remote_slots: ByIdentity<Slot>,
    own: BTreeMap<Slot, JsObject>,
    own_slots: ByIdentity<Slot>,
    /// Who hears if the call with this result is cancelled; until it settles.
    listeners: BTreeMap<Slot, Listener>,
    settled: BTreeMap<Slot, Kept>,
    settled_order: BTreeMap<u64, Slot>,
    settled_large: BTreeMap<u64, Slot>,
    settled_weight: usize,
    next_settled: u64,
    root: Option<JsValue>,
    /// Promises that had settled when they were named in another one's settlement, in this delivery: the name that each was given, and
    /// in whose settlement.
    descents: BTreeMap<Slot, Descent>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::new(Tables { next_object: 1, first_new_object: 1, next_promise: 1, first_new_promise: 1, ..Tables::default() });
}

fn with<T>(action: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| action(&mut tables.borrow_mut()))
}

/// The error by which a delivery ends that says more than [`MAX_OUTPUTS`] things. Guest code cannot catch it. Of the interpreter's own limits
/// this one is set nowhere, so that the name is free.
pub const TOO_MANY_OUTPUTS: RuntimeLimitError = RuntimeLimitError::LoopIteration;

/// Says something at the end of this delivery.
pub fn output(output: Output) -> JsResult<()> {
    with(|tables| {
        let counts = match &output {
            Output::Settle { promise: Slot::VatPromise(id), .. } => *id >= tables.first_new_promise,
            Output::Settle { .. } | Output::Setup { .. } | Output::SetTimer { .. } | Output::Drop { .. } => false,
            Output::Send { .. } | Output::Exit { .. } | Output::Cancel { .. } | Output::CancelTimer { .. } => true,
        };
        tables.counted += usize::from(counts);
        if tables.counted > MAX_OUTPUTS {
            return Err(TOO_MANY_OUTPUTS.into());
        }
        tables.outputs.push(output);
        Ok(())
    })
}

/// What was said in this delivery, which is over.
pub fn take_outputs() -> Vec<Output> {
    with(|tables| {
        tables.first_new_object = tables.next_object;
        tables.first_new_promise = tables.next_promise;
        tables.counted = 0;
        tables.descents.clear();
        std::mem::take(&mut tables.outputs)
    })
}

pub fn set_root(root: JsValue) {
    with(|tables| tables.root = Some(root));
}

pub fn root() -> Option<JsValue> {
    with(|tables| tables.root.clone())
}

/// Gives the root object its number. If it was given away under another one in this very delivery, what was said is mended; what
/// was said in an earlier delivery stands, and others know the object under two numbers.
pub fn export_root(root: &JsObject) {
    with(|tables| {
        tables.exports.insert(0, root.clone());
        match tables.export_ids.get(root).copied() {
            Some(id) if id < tables.first_new_object => {}
            Some(id) => {
                tables.export_ids.insert(root.clone(), 0);
                tables.exports.remove(&id);
                tables.outputs.iter_mut().for_each(|output| rename_object(output, id, 0));
            }
            None => drop(tables.export_ids.insert(root.clone(), 0)),
        }
    });
}

/// Own objects are named in data only: a target is never one.
fn rename_object(output: &mut Output, from: u64, to: u64) {
    let data = match output {
        Output::Send { args, .. } => args,
        Output::Settle { resolution: Resolution::Fulfilled(data) | Resolution::Rejected(data), .. } => data,
        Output::Exit { value } => value,
        Output::Cancel { .. }
        | Output::Setup { .. }
        | Output::Drop { .. }
        | Output::SetTimer { .. }
        | Output::CancelTimer { .. } => return,
    };
    for slot in data.slots.iter_mut().filter(|slot| **slot == Slot::VatObject(from)) {
        *slot = Slot::VatObject(to);
    }
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

/// A number for a promise that this guest is the first to speak of.
pub fn new_promise_slot() -> Slot {
    with(|tables| {
        let id = tables.next_promise;
        tables.next_promise += 1;
        Slot::VatPromise(id)
    })
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
pub fn add_remote(slot: Slot, entry: RemotePromise) {
    with(|tables| {
        tables.remote_slots.insert(entry.promise.clone(), slot);
        tables.remote.insert(slot, entry);
    });
}

/// The slot of a promise that others decide and that has not settled.
pub fn remote_slot(promise: &JsObject) -> Option<Slot> {
    with(|tables| tables.remote_slots.get(promise).copied())
}

pub fn remote_promise(slot: Slot) -> Option<JsObject> {
    with(|tables| tables.remote.get(&slot).map(|entry| entry.promise.clone()))
}

/// Makes a promise that others decide one that is merely pending: what is sent to it waits for its settlement.
pub fn hold_remote(slot: Slot) {
    with(|tables| {
        if let Some(entry) = tables.remote.get(&slot) {
            tables.remote_slots.remove(&entry.promise);
        }
    });
}

/// Forgets a promise that others decide, because it settles now.
pub fn take_remote(slot: Slot) -> Option<RemotePromise> {
    with(|tables| {
        let entry = tables.remote.remove(&slot)?;
        tables.remote_slots.remove(&entry.promise);
        Some(entry)
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

/// Moves a promise that this guest decides to the settled ones. `weight` is the size of its encoded value.
pub fn settle_own(slot: Slot, how: Settled, weight: usize) {
    with(|tables| {
        tables.listeners.remove(&slot);
        if let Some(promise) = tables.own.remove(&slot)
            && tables.own_slots.get(&promise) == Some(&slot)
        {
            tables.own_slots.remove(&promise);
        }
    });
    remember(slot, how, weight);
}

/// Looks at who hears if the call with this result is cancelled.
pub fn listener<T>(result: Slot, look: impl FnOnce(&Listener) -> T) -> Option<T> {
    with(|tables| tables.listeners.get(&result).map(look))
}

pub fn add_listener(result: Slot, listener: Listener) {
    with(|tables| tables.listeners.insert(result, listener));
}

/// Keeps how a promise came out, for messages that were sent to it before their sender knew.
pub fn remember(slot: Slot, how: Settled, weight: usize) {
    with(|tables| {
        tables.drop_settled(slot);
        let place = tables.next_settled;
        tables.next_settled += 1;
        tables.settled.insert(slot, Kept { how, weight, place });
        tables.settled_order.insert(place, slot);
        if weight > SETTLED_SMALL_BYTES {
            tables.settled_large.insert(place, slot);
        }
        tables.settled_weight += weight;
        while tables.settled.len() > SETTLED_KEPT || tables.settled_weight > SETTLED_KEPT_BYTES {
            let large =
                (tables.settled_weight > SETTLED_KEPT_BYTES).then(|| tables.settled_large.values().next()).flatten();
            let Some(slot) = large.or(tables.settled_order.values().next()).copied() else { break };
            tables.drop_settled(slot);
        }
    });
}

/// Forgets settled promises that nobody will name again.
pub fn forget(retired: &[Slot]) {
    with(|tables| retired.iter().for_each(|slot| tables.drop_settled(*slot)));
}

impl Tables {
    fn drop_settled(&mut self, slot: Slot) {
        if let Some(kept) = self.settled.remove(&slot) {
            self.settled_order.remove(&kept.place);
            self.settled_large.remove(&kept.place);
            self.settled_weight -= kept.weight;
        }
    }
}

/// Whether `slot` is a promise that is pending here, or that has settled and is still remembered.
pub fn knows(slot: Slot) -> bool {
    with(|tables| {
        tables.own.contains_key(&slot) || tables.settled.contains_key(&slot) || tables.remote.contains_key(&slot)
    })
}

pub fn settled(slot: Slot) -> Option<Settled> {
    with(|tables| tables.settled.get(&slot).map(|kept| kept.how.clone()))
}

//! What one peer and this vat know of one another.

use super::stream::{InStream, OutStream};
use crate::abi::Slot;
use crate::wire::{Side, WireRef};
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One of the two vats of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Party {
    Us,
    Them,
}

/// The name of a promise between two vats: who gave the id, and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairId {
    pub by: Party,
    pub id: u64,
}

impl PairId {
    /// As it is written in a message that this vat sends.
    pub fn outbound(self) -> WireRef {
        let allocator = match self.by {
            Party::Us => Side::Sender,
            Party::Them => Side::Receiver,
        };
        WireRef::promise(allocator, self.id)
    }

    /// As it is read in a message that this vat got.
    pub fn inbound(allocator: Side, id: u64) -> PairId {
        let by = match allocator {
            Side::Sender => Party::Them,
            Side::Receiver => Party::Us,
        };
        PairId { by, id }
    }
}

/// A promise that both know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    pub slot: Slot,
    /// Who tells the other how it settles.
    pub decider: Party,
    /// The number of the message in which this vat did.
    pub settled: Option<u64>,
}

/// The tables towards one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub(super) out: OutStream,
    pub(super) inbound: InStream,
    /// Whether it may use the root, which is object 0.
    pub(super) granted: bool,
    /// Wire id → own object.
    pub(super) exports: BTreeMap<u64, u64>,
    pub(super) export_ids: BTreeMap<u64, u64>,
    next_export: u64,
    /// Wire id → `HostObject`.
    pub(super) imports: BTreeMap<u64, u64>,
    pub(super) ours: BTreeMap<u64, Pair>,
    pub(super) theirs: BTreeMap<u64, Pair>,
    next_ours: u64,
    next_theirs: u64,
    /// Number of a settlement → what it settled, until it is acknowledged.
    settlements: BTreeMap<u64, PairId>,
}

impl Peer {
    pub(super) fn new(own: &VatId, peer: &VatId) -> Peer {
        Peer {
            out: OutStream::new(own, peer),
            inbound: InStream::new(peer, own),
            granted: false,
            exports: BTreeMap::new(),
            export_ids: BTreeMap::new(),
            next_export: 1,
            imports: BTreeMap::new(),
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
            next_ours: 1,
            next_theirs: 1,
            settlements: BTreeMap::new(),
        }
    }

    pub fn outgoing(&self) -> &OutStream {
        &self.out
    }

    pub fn incoming(&self) -> &InStream {
        &self.inbound
    }

    pub fn is_granted(&self) -> bool {
        self.granted
    }

    pub(super) fn is_broken(&self) -> bool {
        self.inbound.broken().is_some()
    }

    pub(super) fn pair(&self, id: PairId) -> Option<&Pair> {
        match id.by {
            Party::Us => self.ours.get(&id.id),
            Party::Them => self.theirs.get(&id.id),
        }
    }

    pub(super) fn remove_pair(&mut self, id: PairId) -> Option<Pair> {
        match id.by {
            Party::Us => self.ours.remove(&id.id),
            Party::Them => self.theirs.remove(&id.id),
        }
    }

    /// The own object behind a wire id, if this peer may use it.
    pub(super) fn exported(&self, id: u64) -> Option<Slot> {
        if id == 0 {
            return self.granted.then_some(Slot::VatObject(0));
        }
        self.exports.get(&id).copied().map(Slot::VatObject)
    }

    /// Whether giving this own object to the peer takes a new entry.
    pub(super) fn is_new_export(&self, object: u64) -> bool {
        object != 0 && !self.export_ids.contains_key(&object)
    }

    /// The wire id of an own object, which the peer may use from now on.
    pub(super) fn export_object(&mut self, object: u64) -> u64 {
        if object == 0 {
            self.granted = true;
            return 0;
        }
        if let Some(id) = self.export_ids.get(&object) {
            return *id;
        }
        let id = self.next_export;
        self.next_export += 1;
        self.exports.insert(id, object);
        self.export_ids.insert(object, id);
        id
    }

    /// A new name that this vat gives to a promise.
    pub(super) fn name_promise(&mut self, slot: Slot, decider: Party) -> PairId {
        let id = self.next_ours;
        self.next_ours += 1;
        self.ours.insert(id, Pair { slot, decider, settled: None });
        PairId { by: Party::Us, id }
    }

    /// Whether `id` can be a name that the peer gives now.
    pub(super) fn is_fresh(&self, id: u64) -> bool {
        id >= self.next_theirs && id < u64::MAX
    }

    /// A new name that the peer gave to a promise; it must be fresh.
    pub(super) fn accept_promise(&mut self, id: u64, slot: Slot, decider: Party) -> PairId {
        self.next_theirs = id + 1;
        self.theirs.insert(id, Pair { slot, decider, settled: None });
        PairId { by: Party::Them, id }
    }

    /// Notes that message `number` settled the pair.
    pub(super) fn mark_settled(&mut self, id: PairId, number: u64) {
        let pair = match id.by {
            Party::Us => self.ours.get_mut(&id.id),
            Party::Them => self.theirs.get_mut(&id.id),
        };
        if let Some(pair) = pair {
            pair.settled = Some(number);
            self.settlements.insert(number, id);
        }
    }

    /// Removes the pairs whose settlement the peer has, and tells the guest's names of them.
    pub(super) fn retire(&mut self, through: u64) -> Vec<Slot> {
        let kept = self.settlements.split_off(&(through + 1));
        let gone = std::mem::replace(&mut self.settlements, kept);
        gone.into_values().filter_map(|id| self.remove_pair(id)).map(|pair| pair.slot).collect()
    }

    /// The promises that the peer should settle.
    pub(super) fn awaited(&self) -> Vec<(PairId, Slot)> {
        let by = |by, map: &BTreeMap<u64, Pair>| {
            let open = map.iter().filter(|(_, pair)| pair.decider == Party::Them);
            open.map(|(id, pair)| (PairId { by, id: *id }, pair.slot)).collect::<Vec<_>>()
        };
        let mut awaited = by(Party::Us, &self.ours);
        awaited.extend(by(Party::Them, &self.theirs));
        awaited
    }
}

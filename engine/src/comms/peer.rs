//! The state that this vat keeps of one peer.

use super::answers::Answers;
use super::inventory::Names;
use super::stream::{InStream, OutStream};
use crate::abi::Slot;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use quorate_streams::pair::{PairId, Party};

/// What a pair waits for that the peer decides. A pair that this vat decides is always `Open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// For its settlement.
    Open,
    /// For its settlement, to an object of the peer or a rejection: this vat withdraws a gift there.
    Withdrawn,
    /// As `Withdrawn`, but it is rejected here already: what the peer says changes nothing.
    Abandoned,
    /// For its release: it is settled to an object of this vat, and to the guest it is pending.
    Held,
    /// As `Held`, but it has settled for the guest: nothing was sent to it, or it was rejected.
    Unreleased,
}

/// A promise that both know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    pub slot: Slot,
    /// The side that tells the other how it settles.
    pub decider: Party,
    /// The number of the message in which this vat did.
    pub settled: Option<u64>,
    pub stage: Stage,
    /// The caller has abandoned the answer.
    pub unwanted: bool,
}

/// What this vat says once the peer can no longer name a promise that this vat has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Then {
    Nothing,
    /// To the peer: all that was sent to it has been passed on.
    Release,
    /// To `home`: the deposit of its object `object`, which the promise was settled to as gift `number`.
    Deposit {
        home: VatId,
        number: u64,
        object: u64,
    },
}

/// An own object that the peer may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The guest's number of it.
    pub object: u64,
    /// How often it was sent to the peer, less what the peer has dropped.
    pub sent: u64,
    /// Whether it was given in a message. One that was not was redeemed: the peer may use it as long as the bearer is there.
    pub given: bool,
}

/// An object of the peer that this vat holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The `HostObject` of the guest.
    pub slot: u64,
    /// How often the peer has sent it since this vat last dropped it.
    pub received: u64,
    /// How many deposits that are not yet said name it.
    pub pins: u64,
    /// Whether the guest holds it: not if it came in a delivery that the guest did not take in, nor once the guest has dropped it.
    pub known: bool,
    /// Number of its interface name among the peer's; 0 is none.
    pub interface: u32,
}

/// The tables towards one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub(crate) out: OutStream,
    pub(crate) inbound: InStream,
    /// Whether it may use the root, which is object 0, by a grant or because the root was given to it.
    pub(super) granted: bool,
    /// Bearers that it has redeemed and that are in the table yet, and the own objects that they open.
    pub(crate) redeemed: BTreeMap<[u8; 32], u64>,
    /// By wire id. The root is not among them.
    pub(crate) exports: BTreeMap<u64, Export>,
    pub(super) export_ids: BTreeMap<u64, u64>,
    next_export: u64,
    /// By wire id.
    pub(crate) imports: BTreeMap<u64, Import>,
    /// Interface names of the peer's objects.
    pub(super) names: Names,
    pub(super) ours: BTreeMap<u64, Pair>,
    pub(super) theirs: BTreeMap<u64, Pair>,
    next_ours: u64,
    next_theirs: u64,
    /// Number of a settlement → what it settled and what follows, until it is acknowledged.
    pub(crate) settlements: BTreeMap<u64, (PairId, Then)>,
    /// The answers in them that the guest keeps for this peer.
    pub(super) answers: Answers,
    pub(crate) gifts: Gifts,
    /// The peer on whose account this one is known.
    pub(super) introduced_by: Option<VatId>,
    /// [`Peer::kept_bytes`] as it was when it was last entered in the sum for all peers.
    pub(super) counted: u64,
}

/// Gifts that the peer has a part in: as their home, their receiver or their giver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gifts {
    /// The peer is the home, this vat the giver: how many gifts it has made of the peer's objects.
    pub made: u64,
    /// The peer is the home, this vat the giver: number of a message with a deposit → its receiver, and the gift, until it is acknowledged.
    /// Until then the peer may decline it.
    pub deposits: BTreeMap<u64, (VatId, u64)>,
    /// The peer is the receiver, this vat the giver: number of a message → gifts in it (home and number), until it is acknowledged. Until
    /// then the peer may decline them.
    pub given: BTreeMap<u64, Vec<(VatId, u64)>>,
    /// The peer is the receiver, this vat the giver: where objects were deposited for it.
    pub homes: BTreeSet<VatId>,
    /// The peer is the giver, this vat the receiver: gifts that are being withdrawn, by home and number, and the guest's name for
    /// what they will be.
    pub taken: BTreeMap<(VatId, u64), Slot>,
    /// The peer is the giver, this vat the receiver: number of the last gift, by home.
    pub last_taken: BTreeMap<VatId, u64>,
    /// The peer is the receiver, this vat the home: what was deposited for it and it has yet to withdraw, by giver and number. `None` is
    /// a deposit of the root by a vat that it is not granted to any more.
    pub deposited: BTreeMap<(VatId, u64), Option<u64>>,
    /// The peer is the receiver, this vat the home: what it withdraws and is not yet deposited, by giver and number.
    pub withdraws: BTreeMap<(VatId, u64), Slot>,
    /// The peer is the giver, this vat the home: how many entries of others' `deposited` are on its account.
    pub deposits_open: u64,
    /// How many vats this one knows only because the peer gave something to or of them.
    pub introduced: u64,
    /// Calls of the peer that wait for deposits, and their bytes.
    pub queued_calls: u64,
    pub queued_bytes: u64,
}

impl Peer {
    pub(super) fn new(own: &VatId, peer: &VatId) -> Peer {
        Peer {
            out: OutStream::new(own, peer),
            inbound: InStream::new(peer, own),
            granted: false,
            redeemed: BTreeMap::new(),
            exports: BTreeMap::new(),
            export_ids: BTreeMap::new(),
            next_export: 1,
            imports: BTreeMap::new(),
            names: Names::default(),
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
            next_ours: 1,
            next_theirs: 1,
            settlements: BTreeMap::new(),
            answers: Answers::default(),
            gifts: Gifts::default(),
            introduced_by: None,
            counted: 0,
        }
    }

    pub fn outgoing(&self) -> &OutStream {
        &self.out
    }

    pub fn incoming(&self) -> &InStream {
        &self.inbound
    }

    /// Returns whether it may use the root now.
    pub fn is_granted(&self) -> bool {
        self.granted || self.redeems(0)
    }

    fn redeems(&self, object: u64) -> bool {
        self.redeemed.values().any(|redeemed| *redeemed == object)
    }

    /// Bearers that it has redeemed, and the own objects that they open.
    pub fn redeemed(&self) -> &BTreeMap<[u8; 32], u64> {
        &self.redeemed
    }

    /// Returns whether an own object was given to it otherwise than by a bearer.
    pub(super) fn was_given(&self, object: u64) -> bool {
        match self.export_ids.get(&object) {
            _ if object == 0 => self.granted,
            Some(id) => self.exports.get(id).is_some_and(|export| export.given),
            None => false,
        }
    }

    pub(super) fn set_given(&mut self, object: u64, given: bool) {
        if object == 0 {
            self.granted = given;
        } else if let Some(id) = self.export_ids.get(&object)
            && let Some(export) = self.exports.get_mut(id)
        {
            export.given = given;
        }
    }

    /// Returns whether the peer may use an own object that it has a name for.
    pub(super) fn may_use(&self, object: u64) -> bool {
        self.was_given(object) || self.redeems(object)
    }

    /// The own objects that the peer holds, by wire id. The root is not counted: see [`Peer::is_granted`].
    pub fn exports(&self) -> &BTreeMap<u64, Export> {
        &self.exports
    }

    /// The peer's objects that this vat holds, by wire id.
    pub fn imports(&self) -> &BTreeMap<u64, Import> {
        &self.imports
    }

    /// Returns whether nothing was ever said to or heard from the peer, and it holds nothing: forgetting it loses nothing.
    pub(super) fn is_blank(&self, own: &VatId, peer: &VatId) -> bool {
        let blank = Peer { introduced_by: self.introduced_by, ..Peer::new(own, peer) };
        *self == blank
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

    pub(super) fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        match id.by {
            Party::Us => self.ours.get_mut(&id.id),
            Party::Them => self.theirs.get_mut(&id.id),
        }
    }

    pub(super) fn remove_pair(&mut self, id: PairId) -> Option<Pair> {
        match id.by {
            Party::Us => self.ours.remove(&id.id),
            Party::Them => self.theirs.remove(&id.id),
        }
    }

    /// The own object behind a wire id, if this peer may use it.
    pub(super) fn exported(&self, id: u64) -> Option<u64> {
        if id == 0 {
            return self.is_granted().then_some(0);
        }
        let export = self.exports.get(&id).filter(|export| export.given || self.redeems(export.object));
        export.map(|export| export.object)
    }

    /// Returns whether giving this own object to the peer takes a new entry.
    pub(super) fn is_new_export(&self, object: u64) -> bool {
        object != 0 && !self.export_ids.contains_key(&object)
    }

    /// The wire id of an own object, which the peer may use from now on, for one message that it is sent in.
    pub(super) fn export_object(&mut self, object: u64) -> u64 {
        if object == 0 {
            self.granted = true;
            return 0;
        }
        if let Some(id) = self.export_ids.get(&object) {
            if let Some(export) = self.exports.get_mut(id) {
                export.sent += 1;
                export.given = true;
            }
            return *id;
        }
        let id = self.next_export;
        self.next_export += 1;
        self.exports.insert(id, Export { object, sent: 1, given: true });
        self.export_ids.insert(object, id);
        id
    }

    /// A new name that this vat gives to a promise.
    pub(super) fn name_promise(&mut self, slot: Slot, decider: Party, stage: Stage) -> PairId {
        let id = self.next_ours;
        self.next_ours += 1;
        self.ours.insert(id, Pair { slot, decider, settled: None, stage, unwanted: false });
        PairId { by: Party::Us, id }
    }

    /// Returns whether `id` can be a name that the peer gives now.
    pub(super) fn is_fresh(&self, id: u64) -> bool {
        id >= self.next_theirs && id < u64::MAX
    }

    /// A new name that the peer gave to a promise; it must be fresh.
    pub(super) fn accept_promise(&mut self, id: u64, slot: Slot, decider: Party) -> PairId {
        self.next_theirs = id + 1;
        self.theirs.insert(id, Pair { slot, decider, settled: None, stage: Stage::Open, unwanted: false });
        PairId { by: Party::Them, id }
    }

    /// Notes that message `number` settled the pair with so many bytes, and what is to be said when it is retired.
    pub(super) fn mark_settled(&mut self, id: PairId, number: u64, bytes: u64, then: Then) {
        if let Some(pair) = self.pair_mut(id) {
            pair.settled = Some(number);
            self.settlements.insert(number, (id, then));
            self.answers.add(number, bytes);
        }
    }

    /// Returns whether something is to be said once the peer has acknowledged this vat's messages up to `through`.
    #[cfg(test)]
    pub fn owes(&self, through: u64) -> bool {
        self.settlements.range(..=through).any(|(_, (_, then))| *then != Then::Nothing)
    }

    /// Removes the pairs whose settlement the peer has; gives their names, the guest's, and what is to be said now.
    pub(super) fn retire(&mut self, through: u64) -> Vec<(PairId, Slot, Then)> {
        self.answers.acknowledge(through);
        let kept = self.settlements.split_off(&(through + 1));
        let gone = std::mem::replace(&mut self.settlements, kept);
        gone.into_values().filter_map(|(id, then)| self.remove_pair(id).map(|pair| (id, pair.slot, then))).collect()
    }

    /// The promises that the peer should settle or release.
    pub(super) fn awaited(&self) -> Vec<(PairId, Slot)> {
        let by = |by, map: &BTreeMap<u64, Pair>| {
            let open = map.iter().filter(|(_, pair)| {
                pair.decider == Party::Them && !matches!(pair.stage, Stage::Abandoned | Stage::Unreleased)
            });
            open.map(|(id, pair)| (PairId { by, id: *id }, pair.slot)).collect::<Vec<_>>()
        };
        let mut awaited = by(Party::Us, &self.ours);
        awaited.extend(by(Party::Them, &self.theirs));
        awaited
    }
}

//! Lists references for people: which objects each peer may use, which objects of the peer this vat holds, and their interface names.
//!
//! Interface names travel in the bodies of messages. The vat notes names of own objects when it sends them, and names of others' objects when they
//! come. A name is a claim about an object, and proves nothing.
//!
//! Invariant: the number of kept names is bounded, by vat and by peer, whatever peers send. Beyond the bound an object has no name here.

use super::Comms;
use super::peer::Party;
use crate::abi::value::Part;
use crate::abi::{CapData, Slot};
use crate::wire::{RefKind, Side, WireRef, WireSlot};
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most interface names of own objects that are kept.
const MAX_OWN_NAMES: usize = 4_096;
/// Most interface names of one peer's objects that are kept.
const MAX_PEER_NAMES: usize = 64;

/// Interface names by a number that is short to keep; 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names(BTreeMap<String, u32>);

impl Names {
    /// The number of a name; 0 if no more are kept.
    pub fn intern(&mut self, name: &str, most: usize) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        if self.0.len() >= most {
            return 0;
        }
        let number = u32::try_from(self.0.len() + 1).unwrap_or(0);
        self.0.insert(name.to_owned(), number);
        number
    }

    /// The names by their numbers.
    pub fn by_number(&self) -> BTreeMap<u32, &str> {
        self.0.iter().map(|(name, number)| (*number, name.as_str())).collect()
    }
}

/// The named capabilities in a body: their places among the slots, and their names.
fn named<S>(data: &CapData<S>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let scanned = data.slots.is_empty()
        || data
            .scan(&mut |part| {
                if let Part::Named(index, name) = part {
                    found.push((index as usize, name.to_owned()));
                }
            })
            .is_ok();
    if !scanned {
        found.clear();
    }
    found
}

impl Comms {
    /// Notes the names by which own objects go out.
    pub(super) fn note_own_names(&mut self, data: &CapData<Slot>) {
        let is_new = |slot: &Slot| match slot {
            Slot::VatObject(object) => self.holders.get(object).is_some_and(|holder| holder.interface == 0),
            _ => false,
        };
        if !data.slots.iter().any(is_new) {
            return;
        }
        for (index, name) in named(data) {
            if let Some(Slot::VatObject(object)) = data.slots.get(index)
                && let Some(holder) = self.holders.get_mut(object)
            {
                holder.interface = self.own_names.intern(&name, MAX_OWN_NAMES);
            }
        }
    }

    /// Notes the names by which a peer's objects come in.
    pub(super) fn note_import_names(&mut self, from: &VatId, data: &CapData<WireSlot>) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        let id = |slot: &WireSlot| match slot {
            WireSlot::Known(WireRef { kind: RefKind::Object, allocator: Side::Sender, id }) => Some(*id),
            _ => None,
        };
        let is_new =
            |slot: &WireSlot| id(slot).is_some_and(|id| peer.imports.get(&id).is_some_and(|it| it.interface == 0));
        if !data.slots.iter().any(is_new) {
            return;
        }
        for (index, name) in named(data) {
            if let Some(id) = data.slots.get(index).and_then(id)
                && let Some(import) = peer.imports.get_mut(&id)
            {
                import.interface = peer.names.intern(&name, MAX_PEER_NAMES);
            }
        }
    }

    /// Who holds what: the peers after `after` in the order of their ids, at most `most` of them.
    pub fn inventory(&self, after: Option<&VatId>, most: usize) -> Inventory {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, |vat| Bound::Excluded(*vat));
        let mut range = self.peers.range((from, Bound::Unbounded));
        let peers: Vec<VatId> = range.by_ref().take(most).map(|(vat, _)| *vat).collect();
        Inventory {
            held: self.holders.len(),
            peers_in_all: self.peers.len(),
            promises: self.promises.len(),
            bearers: self.bearers().len(),
            more: range.next().is_some(),
            peers: peers.iter().filter_map(|vat| self.peer_inventory(vat, None, 0)).collect(),
        }
    }

    /// Returns what one peer and this vat hold of one another: of exports and imports those with a number greater than `after`, at most `most` of
    /// each.
    pub fn peer_inventory(&self, vat: &VatId, after: Option<u64>, most: usize) -> Option<PeerInventory> {
        let peer = self.peers.get(vat)?;
        let from = after.map_or(0, |after| after.saturating_add(1));
        let (own, theirs) = (self.own_names.by_number(), peer.names.by_number());
        let name = |names: &BTreeMap<u32, &str>, number: u32| names.get(&number).map(|name| (*name).to_owned());
        let interface = |object: &u64| self.holders.get(object).map_or(0, |holder| holder.interface);
        let export = |(id, export): (&u64, &super::peer::Export)| Held {
            id: *id,
            object: Some(export.object),
            interface: name(&own, interface(&export.object)),
            count: export.sent,
            live: peer.exported(*id).is_some(),
            pins: 0,
        };
        let import = |(id, import): (&u64, &super::peer::Import)| Held {
            id: *id,
            object: None,
            interface: name(&theirs, import.interface),
            count: import.received,
            live: import.known,
            pins: import.pins,
        };
        let pairs = || peer.ours.values().chain(peer.theirs.values()).filter(|pair| pair.settled.is_none());
        Some(PeerInventory {
            vat: *vat,
            granted: peer.is_granted(),
            grant_expires_ms: self.grant_expires_ms(vat),
            broken: peer.is_broken(),
            exports_in_all: peer.exports.len(),
            imports_in_all: peer.imports.len(),
            exports: peer.exports.range(from..).take(most).map(export).collect(),
            imports: peer.imports.range(from..).take(most).map(import).collect(),
            decided_here: pairs().filter(|pair| pair.decider == Party::Us).count(),
            decided_there: pairs().filter(|pair| pair.decider == Party::Them).count(),
            deposits: peer.gifts.deposited.len(),
            withdrawals: peer.gifts.withdraws.len(),
            redeemed: peer.redeemed.clone(),
        })
    }

    /// The interface name by which an own object went out last.
    pub fn interface(&self, object: u64) -> Option<String> {
        let number = self.holders.get(&object)?.interface;
        self.own_names.by_number().get(&number).map(|name| (*name).to_owned())
    }
}

/// The holders of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Own objects that some peer holds, without the root.
    pub held: usize,
    /// Vats that this one knows.
    pub peers_in_all: usize,
    /// Promises that are open, or settled and not yet acknowledged.
    pub promises: usize,
    /// Bearer keys.
    pub bearers: usize,
    /// Whether there are more peers than were asked for.
    pub more: bool,
    /// The peers, without their objects.
    pub peers: Vec<PeerInventory>,
}

/// What one peer and this vat hold of one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInventory {
    pub vat: VatId,
    /// Whether it may use the root.
    pub granted: bool,
    /// When its grant expires, if it does.
    pub grant_expires_ms: Option<u64>,
    /// Whether its stream is broken.
    pub broken: bool,
    pub exports_in_all: usize,
    pub imports_in_all: usize,
    /// Own objects that it holds.
    pub exports: Vec<Held>,
    /// Its objects that this vat holds.
    pub imports: Vec<Held>,
    /// Open promises that this vat settles, and that the peer does.
    pub decided_here: usize,
    pub decided_there: usize,
    /// Own objects that others have deposited for it and that it has yet to withdraw.
    pub deposits: usize,
    /// Own objects that it withdraws and that are not deposited yet.
    pub withdrawals: usize,
    /// Bearers that it has redeemed, and the own objects that they open.
    pub redeemed: BTreeMap<[u8; 32], u64>,
}

/// One object that is held across a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number between the two vats.
    pub id: u64,
    /// Of an own object: its number in this vat.
    pub object: Option<u64>,
    /// The interface name that it came or went with.
    pub interface: Option<String>,
    /// How often it was sent and not dropped, or received since it was last dropped.
    pub count: u64,
    /// Of an own object: whether the peer may use it. Of a peer's: whether the program holds it.
    pub live: bool,
    /// Of a peer's: deposits under way that name it.
    pub pins: u64,
}

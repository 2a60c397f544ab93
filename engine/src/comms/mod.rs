//! The tables of one vat towards all others: streams, c-lists, promises and gifts.
//!
//! A peer's authority is an entry in a table here, never a secret. For each peer there are the objects that it may use
//! (`exports`), the objects of it that this vat holds (`imports`), and the promises that both know, by the side that gave the id.
//!
//! Invariants: ids come from counters and are not reused; a promise that both know (a [`peer::Pair`]) is settled by exactly one of
//! the two, once; a pair that this vat settled is kept until the peer's acknowledgement covers the settlement, since messages sent
//! before then may name it; every message in a stream decodes, and names only what its receiver holds. What a peer may make
//! this vat keep is bounded. A peer that breaks the protocol loses its own stream and nothing else.
//!
//! Nothing here runs a guest; `machine` stands between. [`inbound`] turns messages into deliveries, [`outbound`] turns a guest's outputs into messages.
//! [`handoff`] and [`deposits`] pass objects to third vats. [`account`] prices what the vat keeps for each peer, [`garbage`] counts references,
//! [`abandon`] marks unwanted answers, [`bearers`] lets in unknown peers, and [`dropped`] ends with a peer for good.

mod abandon;
mod account;
mod added;
mod answers;
pub mod bearers;
mod deposits;
mod dropped;
mod garbage;
mod handoff;
mod inbound;
mod inventory;
mod outbound;
pub mod peer;
#[cfg(test)]
pub(crate) mod plants;
mod promises;
mod upgrade;

pub use added::Added;
pub use bearers::{Bearer, BearerKeys, is_redemption};
pub use dropped::{DROPPED, MAX_DROPPED};
pub use inbound::{Broken, Inbound, Introduction};
pub use inventory::{Held, Inventory, PeerInventory};
pub use quorate_streams::limits::{MAX_OBJECTS, MAX_PROMISES, MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES};
pub use quorate_streams::{client, stream};
pub use stream::{Deliver, InStream, OutStream, Slice, SliceError, StreamHead};

use crate::abi::Slot;
use peer::Peer;
use promises::Promise;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most vats that this one knows at a time. Its stream's numbers are what stops a replay, so a vat is forgotten only once nothing
/// that it ever said could be believed again: see [`Comms::forget`].
pub const MAX_PEERS: usize = 65_536;
/// Most bearer keys that no holder had made.
pub const MAX_BEARERS: usize = 1_024;
/// Most objects that one vat has given of this one's and that their receivers have yet to withdraw. Further deposits are declined.
pub const MAX_DEPOSITS: u64 = 65_536;
/// Most deposits of vats that were forgotten since; the oldest goes first. Those who made them cannot take them back.
pub const MAX_ORPHANS: usize = 65_536;
/// Most gifts that one peer withdraws here and that are not deposited yet, and most gifts of one giver that this vat withdraws
/// elsewhere. Further ones are rejected.
pub const MAX_WITHDRAWALS: usize = 4_096;
/// Most calls of one peer that wait for deposits, and most bytes of them. Further ones are rejected. The guest keeps them in its heap.
pub const MAX_QUEUED_CALLS: u64 = 4_096;
pub const MAX_QUEUED_BYTES: u64 = 8 << 20;
/// Most vats that this one comes to know because one and the same peer gave something to them, or of them.
pub const MAX_INTRODUCED: u64 = 4_096;

/// A promise that has not settled, what the tables have of it, and who decides it under which name if another vat does.
#[cfg(test)]
pub(crate) type Unsettled = (Slot, String, Option<(VatId, peer::PairId)>);

/// What one block changed, for its effects.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Peers whose head is new.
    pub touched: BTreeSet<VatId>,
    pub queued: Vec<(VatId, u64, Arc<[u8]>)>,
    pub pruned: BTreeMap<VatId, u64>,
}

/// How an own object is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    count: u64,
    /// Number of its interface name; 0 is none.
    interface: u32,
}

/// The tables. All of it is in the state root, but for `changes`, which is empty between blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comms {
    vat: VatId,
    peers: BTreeMap<VatId, Peer>,
    /// Every unretired promise that the guest and a peer may both speak of, by the guest's name for it.
    promises: BTreeMap<Slot, Promise>,
    /// `HostObject` id → home and the home's id.
    host_objects: BTreeMap<u64, (VatId, u64)>,
    next_host_object: u64,
    next_host_promise: u64,
    /// The bearers and grants by which peers come in.
    entrances: bearers::Entrances,
    /// Promises that the machine has rejected and the guest has yet to hear of.
    pending: VecDeque<Slot>,
    /// How many of them, from the first, are told one at a time: together they made the guest run into a limit.
    told_singly: u64,
    /// Settled promises that nobody can name any more, which the guest may forget with its next delivery.
    retired: Vec<Slot>,
    /// Own objects → by how many table entries they are held: exports, deposits, bearers, promises that come home. Never the root.
    holders: BTreeMap<u64, Holder>,
    /// Interface names of own objects.
    own_names: inventory::Names,
    /// Deposits of vats that were forgotten, the oldest first: receiver, giver and number. Some may have been withdrawn since.
    orphans: VecDeque<(VatId, VatId, u64)>,
    /// Own objects that were held and are no more, of which the guest has yet to hear.
    freed: BTreeSet<u64>,
    exited: bool,
    /// Peers that were dropped for good. Encoded apart: [`Added`].
    #[serde(skip)]
    dropped: BTreeSet<VatId>,
    /// What all peers make this vat keep, in bytes.
    kept: u64,
    /// What they may.
    #[serde(skip)]
    pool: u64,
    /// On whose account what the guest says is now.
    #[serde(skip)]
    account: Option<VatId>,
    /// Settlements that are kept back because that is planted.
    #[cfg(test)]
    kept_back: Vec<(Slot, crate::abi::Resolution)>,
    #[serde(skip)]
    changes: Changes,
}

impl Comms {
    pub fn new(vat: VatId) -> Comms {
        Comms {
            vat,
            peers: BTreeMap::new(),
            promises: BTreeMap::new(),
            host_objects: BTreeMap::new(),
            next_host_object: 1,
            next_host_promise: 1,
            entrances: bearers::Entrances::default(),
            pending: VecDeque::new(),
            told_singly: 0,
            retired: Vec::new(),
            holders: BTreeMap::new(),
            orphans: VecDeque::new(),
            own_names: inventory::Names::default(),
            freed: BTreeSet::new(),
            exited: false,
            dropped: BTreeSet::new(),
            kept: 0,
            pool: u64::MAX,
            account: None,
            #[cfg(test)]
            kept_back: Vec::new(),
            changes: Changes::default(),
        }
    }

    pub fn peer(&self, vat: &VatId) -> Option<&Peer> {
        self.peers.get(vat)
    }

    pub fn peers(&self) -> impl Iterator<Item = (&VatId, &Peer)> {
        self.peers.iter()
    }

    /// Returns how many promises are open or not yet retired.
    pub fn promise_count(&self) -> usize {
        self.promises.len()
    }

    /// Returns how many objects of other vats this one has ever been given a name for.
    pub fn host_objects_made(&self) -> u64 {
        self.next_host_object - 1
    }

    /// Returns how many objects of other vats this one holds.
    pub fn host_object_count(&self) -> usize {
        self.host_objects.len()
    }

    /// Returns how many rejections the guest has yet to hear of.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Returns why `vat` cannot become a peer; `None` if it is one or can.
    pub fn refuses_peer(&self, vat: &VatId) -> Option<&'static str> {
        if *vat == self.vat {
            Some("a vat has no stream to itself")
        } else if self.is_dropped(vat) {
            Some(DROPPED)
        } else if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(vat) {
            Some("this vat knows as many vats as it can")
        } else {
            None
        }
    }

    /// Returns whether anything may be taken in of `vat`, whose stream begins with the message `first` if that is at hand: it is in the tables,
    /// or uses a bearer reference at once. Other senders leave no state.
    pub fn admits(&self, vat: &VatId, first: Option<&[u8]>) -> bool {
        let comes_in = || first.is_some_and(|message| self.comes_by_bearer(vat, message));
        self.peers.contains_key(vat) || !self.is_dropped(vat) && comes_in()
    }

    /// The peer's tables, made if this is the first that is heard of it. [`Comms::refuses_peer`] was asked before.
    fn peer_mut(&mut self, vat: &VatId) -> &mut Peer {
        let own = self.vat;
        self.peers.entry(*vat).or_insert_with(|| Peer::new(&own, vat))
    }

    /// Forgets a vat: its streams, what it was given and what was held of it. What it should have decided is rejected. The caller
    /// sees to it that nothing of that vat is ever taken in again, or what it once said would count a second time.
    pub fn forget(&mut self, vat: &VatId) {
        let Some(peer) = self.peers.get(vat) else { return };
        for (_, slot) in peer.awaited() {
            self.reject(slot, "the vat that decides this promise has gone");
        }
        self.lose_peer(vat, "the vat that gave this has gone");
        self.forget_grant_expiry(vat);
        let Some(peer) = self.peers.remove(vat) else { return };
        self.uncount(&peer);
        self.keep_orphans(vat);
        for home in &peer.gifts.homes {
            self.cancel_all(home, vat);
        }
        for pair in peer.ours.into_values().chain(peer.theirs.into_values()) {
            if let Some(promise) = self.promises.get_mut(&pair.slot) {
                promise.pairs.remove(vat);
            }
            self.drop_if_done(pair.slot);
        }
        for import in peer.imports.values() {
            self.host_objects.remove(&import.slot);
        }
        self.changes.touched.remove(vat);
        self.changes.queued.retain(|(to, ..)| to != vat);
        self.changes.pruned.remove(vat);
    }

    /// A slot for an object of another vat by the name that vat gave it.
    pub fn reference(&mut self, vat: &VatId, object: u64) -> Result<Slot, &'static str> {
        if let Some(refusal) = self.refuses_peer(vat) {
            return Err(refusal);
        }
        Ok(self.import_object(vat, object))
    }

    /// Returns what has changed since this was last asked: of each stream its new marks, and then its head. With `rehead`, every stream that waits for
    /// an acknowledgement counts, with all marks of what waits.
    pub fn take_changes(&mut self, rehead: bool) -> (Vec<StreamHead>, Changes) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.touched.iter().for_each(|vat| self.count(vat));
        if rehead {
            let waiting = self.peers.iter().filter(|(_, peer)| peer.out.unacked().0 > 0);
            changes.touched.extend(waiting.map(|(vat, _)| *vat));
        }
        let mut first_said = BTreeMap::new();
        for (vat, number, _) in &changes.queued {
            first_said.entry(*vat).or_insert(*number);
        }
        let mut heads = Vec::new();
        for vat in &changes.touched {
            let first = if rehead { Some(0) } else { first_said.get(vat).copied() };
            if let (Some(first), Some(peer)) = (first, self.peers.get(vat)) {
                heads.extend(peer.out.marks(*vat, first));
            }
            heads.extend(self.head(vat));
        }
        (heads, changes)
    }

    /// Has the next block say the head of the stream with `vat` again: `vat` seems not to know what was taken in from it.
    pub fn say_again(&mut self, vat: &VatId) {
        if self.peers.get(vat).is_some_and(|peer| !peer.is_broken()) {
            self.changes.touched.insert(*vat);
        }
    }

    /// The messages that this block has said so far, after the first `count` of them: how many there are in all, and the bytes of those.
    pub(crate) fn said_after(&self, count: usize) -> (usize, usize) {
        let after = self.changes.queued.get(count..).unwrap_or_default();
        (self.changes.queued.len(), after.iter().map(|(.., message)| message.len()).sum())
    }

    /// Returns whether all changes were taken.
    pub fn is_settled(&self) -> bool {
        self.changes.touched.is_empty() && self.changes.queued.is_empty() && self.changes.pruned.is_empty()
    }

    /// The tables without the chained hashes of the streams: equal for all ways to come to one state.
    #[cfg(test)]
    pub(crate) fn timeless(&self) -> Comms {
        let mut comms = self.clone();
        for peer in comms.peers.values_mut() {
            peer.out.forget_hash();
            peer.inbound.forget_hash();
        }
        comms
    }

    /// Promises that have not settled.
    #[cfg(test)]
    pub(crate) fn unsettled(&self) -> Vec<Unsettled> {
        let left = self.promises.iter().filter(|(_, promise)| {
            // Settled ones are retired once all is acknowledged.
            !matches!(promise.state, promises::State::Unheard(_))
        });
        left.map(|(slot, promise)| (*slot, format!("{promise:?}"), promise.source)).collect()
    }

    /// Returns whether this vat is to settle the promise that the peer knows by this name.
    #[cfg(test)]
    pub(crate) fn owes(&self, peer: &VatId, id: peer::PairId) -> bool {
        let mirrored =
            peer::PairId { by: if id.by == peer::Party::Us { peer::Party::Them } else { peer::Party::Us }, id: id.id };
        let pair = self.peers.get(peer).and_then(|peer| peer.pair(mirrored));
        pair.is_some_and(|pair| pair.decider == peer::Party::Us && pair.settled.is_none())
    }

    /// Returns whether the account of a peer, or their sum, is not what the tables have.
    #[cfg(test)]
    pub(crate) fn is_miscounted(&self) -> bool {
        self.peers.values().any(|peer| peer.counted != peer.kept_bytes())
            || self.peers.values().map(|peer| peer.counted).sum::<u64>() != self.kept
    }

    /// A promise that is left, for a complaint.
    #[cfg(test)]
    pub(crate) fn some_promise(&self) -> String {
        format!("{:?}", self.promises.iter().next())
    }

    /// Returns what this vat says now about its stream to `vat`.
    pub fn head(&self, vat: &VatId) -> Option<StreamHead> {
        let peer = self.peers.get(vat)?;
        let (ack, ack_hash) = (peer.inbound.received(), peer.inbound.hash());
        Some(StreamHead { peer: *vat, end: peer.out.end(), hash: peer.out.hash(), ack, ack_hash, is_mark: false })
    }
}

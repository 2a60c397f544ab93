//! Drops a peer for good, because the owners of the vat's members say that it is gone.
//!
//! The vat forgets the peer: streams, c-lists, promises, and what it kept on the peer's account. Promises that the peer should have decided are
//! rejected, and objects that only the peer held are freed. Presences of the peer's objects stay in the guest; calls of them are rejected.
//!
//! Invariants: the numbers of a stream are what stops a replay, and they go with the peer. So a dropped peer never comes back: its id is kept, 32
//! bytes, and neither its messages, nor a grant, nor an introduction makes it a peer again. There is room for [`MAX_DROPPED`] of them; beyond that no peer can be dropped.

use super::Comms;
use quorate_ids::VatId;
use std::collections::BTreeSet;

/// Most peers that can be dropped: 2 MiB of ids.
pub const MAX_DROPPED: usize = 65_536;
/// What a dropped peer hears, and who would make one a peer again.
pub const DROPPED: &str =
    "this vat has dropped that peer for good (`vat peer drop`): it takes no messages from it and sends it none";

const GONE: &str = "the vat that decides this promise was dropped as a peer";

impl Comms {
    /// Drops a peer for good.
    ///
    /// # Errors
    /// It is no peer, or so many were dropped that no more ids are kept.
    pub fn drop_peer(&mut self, vat: &VatId) -> Result<(), &'static str> {
        if self.is_dropped(vat) {
            return Err("this peer was dropped before");
        }
        if !self.peers.contains_key(vat) {
            return Err("that vat is no peer of this one: `vat objects` lists the peers");
        }
        if self.dropped.len() >= MAX_DROPPED {
            return Err("as many peers were dropped as a vat can keep the ids of");
        }
        // What the peer gave may never be deposited now, and the peer can not say so any more.
        let taken: Vec<_> =
            self.peers.get(vat).into_iter().flat_map(|peer| peer.gifts.taken.values().copied()).collect();
        for slot in taken {
            self.reject(slot, GONE);
        }
        let introducer = self.peers.get(vat).and_then(|peer| peer.introduced_by);
        self.forget(vat);
        if let Some(introducer) = introducer.and_then(|introducer| self.peers.get_mut(&introducer)) {
            introducer.gifts.introduced = introducer.gifts.introduced.saturating_sub(1);
        }
        // The place in the tables of others that only stopped a replay of its gifts: those are declined from now on.
        for peer in self.peers.values_mut() {
            peer.gifts.last_taken.remove(vat);
            peer.gifts.homes.remove(vat);
        }
        self.dropped.insert(*vat);
        Ok(())
    }

    /// Returns whether a peer was dropped for good.
    pub fn is_dropped(&self, vat: &VatId) -> bool {
        self.dropped.contains(vat)
    }

    /// The peers that were dropped.
    pub fn dropped(&self) -> &BTreeSet<VatId> {
        &self.dropped
    }
}

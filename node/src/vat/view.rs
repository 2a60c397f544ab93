//! A view of the replica's state from outside the thread that applies the log: written after each block, read by the
//! inbox, the courier, the status page and the metrics. Never an input to replicated state.

use super::clients::Ended;
use quorate_consensus::Signers;
use quorate_courier::courier::RestoredOutbox;
use quorate_engine::{Hash, VatId, comms::BearerKeys};
use quorate_protocol::{authority::CodeDigest, proof::file::ProvenSlice, published::PublishedTree};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

/// Peers of which a slice is remembered for others.
const HEARD_PEERS: usize = 256;
/// Bytes of messages of the largest slice that is remembered.
const HEARD_BYTES: usize = 64 << 10;

/// A vat in the tables as the state knows it after the newest applied block.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Who signs for it; `None` if it has said nothing yet: it was only named here.
    pub known: Option<Arc<Signers>>,
    /// Number of the next message expected from it.
    pub next_inbound: u64,
    /// Number of our last message that it acknowledged.
    pub acknowledged: u64,
    /// Whether it broke the protocol: no message of it is taken any more.
    pub broken: bool,
    /// The epoch in which this vat last said its head to it, as far as this replica's memory goes.
    pub said: Option<u64>,
}

/// The state after the newest applied block.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Number of that block.
    pub block: u64,
    /// Its epoch; unknown before the first block after a restore.
    pub epoch: Option<u64>,
    /// Every vat in the tables.
    pub peers: BTreeMap<VatId, PeerView>,
    /// Vats whose messages are not taken in now: they have burnt more fuel than those of others that have work.
    pub waiting: BTreeSet<VatId>,
    /// How much fuel the messages of one command may cost by what they weigh alone, so that the rest needs not be ordered with them.
    pub command_fuel: u64,
    /// Bearer keys and the objects that they open: unknown peers come in by them.
    pub bearers: Arc<BearerKeys>,
    /// Which version of the bearers that is.
    pub bearers_version: Option<u64>,
    /// Peers that were dropped for good.
    pub dropped: Arc<BTreeSet<VatId>>,
    /// How many changes of who may use what were carried out.
    pub access_orders: u64,
    /// How many upgrades were ordered.
    pub upgrade_orders: u64,
    /// What the vat's code is.
    pub code: Option<CodeDigest>,
    /// The engine image that it runs in.
    pub image: Option<Hash>,
    /// Whether the vat has its code.
    pub installed: bool,
    /// Why its code did not start when that was last tried, as far as this replica's memory goes.
    pub install_failure: Option<String>,
    /// Clients that have ended, and may not be heard again.
    pub ended: Ended,
    /// The newest slice of each peer that said something, with what proves it to others; see [`View::hear`].
    pub heard: BTreeMap<VatId, Arc<ProvenSlice>>,
    /// The newest block that changed what the vat publishes; unknown right after a restore.
    pub published_block: Option<u64>,
    /// Whether the messages of this vat are traced.
    pub traced: bool,
    /// After checkpoints were restored: what follows from each that has not been heard of yet.
    pub restored: VecDeque<RestoredState>,
}

/// What a restored state says to the rest of the node.
#[derive(Clone, Debug, Default)]
pub struct RestoredState {
    /// What the courier starts from.
    pub outbox: RestoredOutbox,
    /// What the vat publishes.
    pub published: Arc<PublishedTree>,
}

impl View {
    /// Remembers a peer's latest slice, to show it to callers. Beyond a number of peers, and a size of slices, nothing is remembered.
    pub fn hear(&mut self, from: VatId, said: ProvenSlice) {
        let bytes: usize = said.slice.messages.iter().map(Vec::len).sum();
        let has_room = self.heard.len() < HEARD_PEERS || self.heard.contains_key(&from);
        if has_room && bytes <= HEARD_BYTES && !said.slice.messages.is_empty() {
            self.heard.insert(from, Arc::new(said));
        }
    }
}

/// A view that several threads share. Locks are held for copies only.
#[derive(Clone, Default)]
pub struct SharedView(Arc<Mutex<View>>);

impl SharedView {
    /// Locks the view. Never hold it across an await.
    pub fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A peer as it stands.
    pub fn peer(&self, vat: &VatId) -> Option<PeerView> {
        self.lock().peers.get(vat).cloned()
    }

    /// Our last messages to these peers can never reach them: if one of them repeats itself, they are sent again.
    pub fn unsay(&self, peers: &[VatId]) {
        let mut view = self.lock();
        for vat in peers {
            if let Some(peer) = view.peers.get_mut(vat) {
                peer.said = None;
            }
        }
    }

    /// Who signs for a peer, if it has said anything.
    pub fn known(&self, vat: &VatId) -> Option<Arc<Signers>> {
        self.lock().peers.get(vat).and_then(|peer| peer.known.clone())
    }

    /// The number of the next message expected from a peer, and [`View::command_fuel`].
    pub fn next_and_budget(&self, vat: &VatId) -> (u64, u64) {
        let view = self.lock();
        (view.peers.get(vat).map_or(1, |peer| peer.next_inbound), view.command_fuel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_in_vain_counts_as_not_said() {
        let view = SharedView::default();
        let said = |said| PeerView { known: None, next_inbound: 1, acknowledged: 0, broken: false, said };
        let (told, untold) = (VatId([1; 32]), VatId([2; 32]));
        view.lock().peers.extend([(told, said(Some(3))), (untold, said(Some(3)))]);
        view.unsay(&[untold, VatId([3; 32])]);
        let after: Vec<Option<u64>> = view.lock().peers.values().map(|peer| peer.said).collect();
        assert_eq!(after, [Some(3), None]);
    }
}

//! What the replica's state looks like from outside the thread that applies the log: written after each block, read by the
//! inbox, the courier, the status page and the metrics. Never an input to anything that is replicated.

use crate::evidence::KnownPeer;
use quorate_engine::{VatId, comms::stream::StreamHead};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// A peer as the state knows it after the newest applied block.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its newest proven membership.
    pub known: KnownPeer,
    /// Number of the next message expected from it.
    pub next_inbound: u64,
    /// Number of our last message that it acknowledged.
    pub acknowledged: u64,
}

/// The state after the newest applied block.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Number of that block.
    pub block: u64,
    /// Every vat that ever sent to this one.
    pub peers: BTreeMap<VatId, PeerView>,
    /// Whether the vat has its code.
    pub installed: bool,
    /// After a checkpoint was restored: what its courier starts from. Taken by the courier.
    pub restored: Option<RestoredOutbox>,
}

/// What a checkpoint knows of messages that were on their way.
#[derive(Clone, Debug, Default)]
pub struct RestoredOutbox {
    /// Heads that the checkpoint's block certified: every stream with unacknowledged messages.
    pub heads: Vec<StreamHead>,
    /// Those messages: receiver, number, bytes.
    pub messages: Vec<(VatId, u64, Arc<[u8]>)>,
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
}

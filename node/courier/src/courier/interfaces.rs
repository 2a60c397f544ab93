//! The courier's inputs, and the interfaces that it calls.

use quorate_ids::VatId;
use quorate_proof::{Certificate, HostId, Introduction, Member};
use quorate_protocol::evidence::{Outbox, Slice};
use std::{sync::Arc, time::Duration};

/// What a checkpoint knows of messages that were on their way.
#[derive(Clone, Debug, Default)]
pub struct RestoredOutbox {
    /// What the checkpoint's block certified: the heads of every stream with unacknowledged messages.
    pub outbox: Arc<Outbox>,
    /// Every vat that anything was said to, with the number of the last message that it acknowledged.
    pub acknowledged: Vec<(VatId, u64)>,
    /// The messages after those: receiver, number, bytes.
    pub messages: Vec<(VatId, u64, Arc<[u8]>)>,
}

/// What the courier is told.
pub enum Notice {
    /// The state was restored from the checkpoint at `block`: everything before is replaced.
    Restored { block: u64, outbox: RestoredOutbox },
    /// A block was applied.
    Applied { block: u64, outbox: Arc<Outbox>, queued: Vec<(VatId, u64, Arc<[u8]>)>, pruned: Vec<(VatId, u64)> },
    /// A block's statement has its signatures.
    Certified(Certificate),
    /// A peer shipped something; `again` if it was messages that the state had already, `near` if it is a client, which may be connected
    /// to this member alone.
    Heard { peer: VatId, again: bool, near: bool },
    /// A peer that had turned this vat away, or may have, says that it knows it now. It has proven so.
    Greeted(VatId),
    /// The vat has forgotten these: nothing more goes to them.
    Forgotten(Vec<VatId>),
    /// This member's place: 0 is the leader, the others count from it.
    Rank(usize),
    /// The vat's own introduction changed.
    Introduction(Box<Introduction>),
}

/// Where to find the members of a vat.
pub trait Whereabouts: Send + Sync + 'static {
    /// The newest members known here, or none; where nothing better is known, they are tried in this order.
    fn members(&self, vat: &VatId) -> Vec<Member>;

    /// Returns how long the first of them took to answer lately, if it did.
    fn pace(&self, _vat: &VatId) -> Option<Duration> {
        None
    }

    /// None of the members known took what was brought, several times in a row: they are gone, or are not the members any more.
    fn unreachable(&self, vat: &VatId);
}

/// How a shipment to a peer ended, for metrics and for people who wait.
pub trait CourierMetrics: Send + Sync + 'static {
    /// A slice was taken, refused, or couldn't be handed over.
    fn shipped(&self, peer: &VatId, outcome: &'static str, messages: usize);

    /// A member refused a slice, for this reason.
    fn refused(&self, _peer: &VatId, _by: HostId, _why: &str) {}

    /// A member says that its vat has no code, and why the code did not start, if it was there.
    fn without_code(&self, _peer: &VatId, _by: HostId, _failure: Option<&str>) {}

    /// A member took a slice after so long, and says who leads; nothing was heard of those that were tried before it.
    fn answered(&self, _by: HostId, _silent: &[HostId], _leader: Option<HostId>, _took: Duration) {}

    /// A member took messages, through this one and so many of them; it answered after so long.
    fn taken(&self, _peer: &VatId, _by: HostId, _through: u64, _messages: usize, _took: Duration) {}

    /// The peer gave its last slice along with its answer.
    fn farewell(&self, _slice: Slice) {}

    /// What was last said to these peers, acknowledgements and nothing else, will never be certified here.
    fn never_certified(&self, _peers: &[VatId]) {}

    /// Something may have reached a member, whatever became of it.
    fn may_have_arrived(&self) {}
}

//! The status that a replica reports.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

use crate::execution::machine::LogTime;
use crate::proof::membership::Membership;
use crate::raft::role::Role;
use crate::state::change::PendingChange;
use crate::stats::ConsensusStats;
use quorate_ids::{Hash, HostId, VatId};

/// A snapshot of a replica's condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The vat.
    pub vat: VatId,
    /// This host.
    pub key: HostId,
    /// See [`Role`].
    pub role: Role,
    /// Raft's id of this replica; 0 while a learner is not admitted.
    pub raft_id: u64,
    /// Raft's term.
    pub term: u64,
    /// The leader, if it is known.
    pub leader: Option<HostId>,
    /// Last log index that is committed.
    pub committed: u64,
    /// Last log index that is applied.
    pub applied: u64,
    /// Highest log index that a leader has said to be committed, here or by its messages.
    pub leader_committed: u64,
    /// Since how many milliseconds the replica lacks blocks that it knows to be committed and applies none; 0 if it moves, or
    /// has nothing to do.
    pub stalled_ms: u64,
    /// The log was rolled back, and has to reach this block again before the replica votes, leads or signs.
    pub recovering: Option<u64>,
    /// Last log index that is in the log.
    pub last_log: u64,
    /// Log index up to which the log was removed.
    pub purged: u64,
    /// Highest block with a certificate.
    pub certified_block: u64,
    /// Statements that lack a certificate.
    pub uncertified: u64,
    /// Epoch of the applied state.
    pub epoch: u64,
    /// Membership of that epoch.
    pub membership: Arc<Membership>,
    /// The membership certificate of the newest epoch that is complete here.
    pub certified_epoch: u64,
    /// The change that is under way.
    pub pending: Option<PendingChange>,
    /// Raft does not yet decide by the votes of the present members alone, as far as this replica knows: a majority of those before
    /// them is needed as well.
    pub voters_change: bool,
    /// Block and state root of the newest certified checkpoint; block 0 if there is none.
    pub checkpoint_block: u64,
    /// See `checkpoint_block`.
    pub checkpoint_root: Option<Hash>,
    /// Block of the newest checkpoint stored here, certified or not.
    pub local_checkpoint_block: u64,
    /// Proofs that members signed two things for one place, counted since the vat is here.
    pub equivocations: u64,
    /// Statements of members that differ from this replica's own, counted since the vat is here. They accuse nobody.
    pub disagreements: u64,
    /// The log's time as executed here, and what the machine wants of it.
    pub log_time: LogTime,
    /// Since how many milliseconds the machine has waited for a time that has come, by this host's clock; 0 if it waits for none.
    pub time_overdue_ms: u64,
    /// What this replica complains of, if it wants another leader.
    pub complains: Option<String>,
    /// Nothing is to be done, and the replica has no timers and sends nothing until something is wanted.
    pub asleep: bool,
    /// Why the replica stopped.
    pub fault: Option<String>,
    /// Counters and times.
    pub stats: ConsensusStats,
}

impl ReplicaStatus {
    /// That of a replica which has not started yet.
    pub fn new(vat: VatId, key: HostId, membership: Membership) -> Self {
        Self {
            vat,
            key,
            role: Role::Starting,
            raft_id: 0,
            term: 0,
            leader: None,
            committed: 0,
            applied: 0,
            leader_committed: 0,
            stalled_ms: 0,
            voters_change: false,
            recovering: None,
            last_log: 0,
            purged: 0,
            certified_block: 0,
            uncertified: 0,
            epoch: membership.epoch,
            membership: Arc::new(membership),
            certified_epoch: 0,
            pending: None,
            checkpoint_block: 0,
            checkpoint_root: None,
            local_checkpoint_block: 0,
            equivocations: 0,
            disagreements: 0,
            log_time: LogTime::default(),
            time_overdue_ms: 0,
            complains: None,
            asleep: false,
            fault: None,
            stats: ConsensusStats::default(),
        }
    }
}

/// The present status, for its parts to write and others to follow.
pub(crate) struct StatusCell(watch::Sender<ReplicaStatus>);

impl StatusCell {
    pub(crate) fn new(status: ReplicaStatus) -> Self {
        Self(watch::channel(status).0)
    }

    /// Changes it, and wakes its watchers.
    pub(crate) fn set(&self, change: impl FnOnce(&mut ReplicaStatus)) {
        self.0.send_modify(change);
    }

    /// Changes it, and wakes its watchers if `change` returns true.
    pub(crate) fn set_if(&self, change: impl FnOnce(&mut ReplicaStatus) -> bool) {
        self.0.send_if_modified(change);
    }

    /// Reads it.
    pub(crate) fn read(&self) -> watch::Ref<'_, ReplicaStatus> {
        self.0.borrow()
    }

    /// To follow it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<ReplicaStatus> {
        self.0.subscribe()
    }
}

//! What the parts of a replica share.
//!
//! Invariants: `known` is where membership knowledge from outside the log (the chain of certificates) and from the log (the
//! applied state) meet; the status is written here and by the watcher alone; a fault is reported once and stops everything.

use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::Instant;

use super::batcher::Proposal;
use super::board::BoardInput;
use super::event::{ConflictReport, Event};
use super::keeper::KeeperInput;
use super::options::{Tamper, Timing};
use super::own_key::{self, Life, Presences};
use super::snapshot::Receiving;
use super::status::{ReplicaStatus, Role};
use crate::certificate::Certificate;
use crate::checkpoint::{CheckpointRecord, Checkpoints};
use crate::error::StoreError;
use crate::executor::{ExecutorHandle, Outcome};
use crate::ids::{HostKey, VatId};
use crate::membership::{Genesis, Member, Membership, MembershipCertificate, verify_membership};
use crate::raft::RaftNode;
use crate::raft::links::Links;
use crate::raft::log::LogStore;
use crate::state::ReplicatedState;
use crate::stats::StatsCell;
use crate::store::VatStore;
use crate::transport::Transport;

/// Events that do not depend on the machine.
#[allow(clippy::large_enum_variant)] // Passed on at once, never stored.
pub(crate) enum PlainEvent {
    Certified(Certificate),
    Reconfigured(MembershipCertificate),
    Conflict(ConflictReport),
    Removed,
    Fault(String),
}

/// Where they go.
pub(crate) trait EventSink: Send + Sync {
    fn send(&self, event: PlainEvent) -> BoxFuture<'_, ()>;
}

/// The node's channel as a sink.
pub(crate) struct Events<E>(pub(crate) mpsc::Sender<Event<E>>);

impl<E: Send + 'static> EventSink for Events<E> {
    fn send(&self, event: PlainEvent) -> BoxFuture<'_, ()> {
        let event = match event {
            PlainEvent::Certified(certificate) => Event::Certified(certificate),
            PlainEvent::Reconfigured(certificate) => Event::Reconfigured(certificate),
            PlainEvent::Conflict(report) => Event::Conflict(report),
            PlainEvent::Removed => Event::Removed,
            PlainEvent::Fault(text) => Event::Fault(text),
        };
        Box::pin(async move {
            // The node is gone if this fails; it is shutting down.
            let _ = self.0.send(event).await;
        })
    }
}

/// Membership knowledge.
pub(crate) struct Known {
    pub(crate) chain: Vec<MembershipCertificate>,
    pub(crate) memberships: BTreeMap<u64, Membership>,
    pub(crate) applied: Arc<ReplicatedState>,
    pub(crate) raft_nodes: BTreeMap<u64, Member>,
}

impl Known {
    /// Adds certificates that continue the chain; the rest is ignored. Returns those that are new.
    pub(crate) fn extend(&mut self, certificates: Vec<MembershipCertificate>) -> Vec<MembershipCertificate> {
        let mut added = Vec::new();
        for certificate in certificates {
            let epoch = certificate.membership.epoch;
            if epoch != self.chain.len() as u64 + 1 {
                continue;
            }
            let Some(before) = self.memberships.get(&(epoch - 1)) else { break };
            if verify_membership(&certificate, before).is_err() {
                break;
            }
            self.memberships.insert(epoch, certificate.membership.clone());
            self.chain.push(certificate.clone());
            added.push(certificate);
        }
        added
    }

    /// Whether somebody may take part now: a member of a present or coming epoch, or a replica that Raft knows.
    pub(crate) fn takes_part(&self, key: &HostKey) -> bool {
        let epoch = self.applied.membership.epoch;
        self.applied.raft_ids.contains_key(key)
            || self.memberships.range(epoch..).any(|(_, membership)| membership.contains(key))
            || self.raft_nodes.values().any(|member| member.key == *key)
    }

    /// Whether somebody may speak as the replica with this raft id: it is its own, or nothing is known of it here. (Ids are never
    /// given twice, so what is known stays true.)
    pub(crate) fn may_speak_as(&self, key: &HostKey, raft_id: u64) -> bool {
        self.applied.raft_ids.iter().all(|(other, id)| *id != raft_id || other == key)
    }

    /// Whether somebody is a member or ever was.
    pub(crate) fn was_member(&self, key: &HostKey) -> bool {
        self.memberships.values().any(|membership| membership.contains(key))
    }

    /// Whether somebody takes part or ever did.
    pub(crate) fn is_acquainted(&self, key: &HostKey) -> bool {
        self.takes_part(key) || self.was_member(key)
    }

    /// The newest membership that is certified or applied.
    pub(crate) fn newest(&self) -> &Membership {
        match self.memberships.last_key_value() {
            Some((epoch, membership)) if *epoch > self.applied.membership.epoch => membership,
            _ => &self.applied.membership,
        }
    }
}

/// Follows the order to stop.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when the replica is to stop.
    pub(crate) async fn wait(&mut self) {
        // It fails only if the replica is gone, which is a stop.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// See the head of the module.
pub(crate) struct Core {
    pub(crate) vat: VatId,
    pub(crate) genesis: Genesis,
    pub(crate) key: HostKey,
    pub(crate) signing: SigningKey,
    pub(crate) tamper: Option<Tamper>,
    pub(crate) timing: Timing,
    pub(crate) store: VatStore,
    pub(crate) log: LogStore,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) executor: ExecutorHandle,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) status: watch::Sender<ReplicaStatus>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) board: mpsc::Sender<BoardInput>,
    pub(crate) keeper: mpsc::Sender<KeeperInput>,
    pub(crate) batcher: mpsc::Sender<Proposal>,
    pub(crate) raft: OnceCell<RaftNode>,
    pub(crate) links: Links,
    pub(crate) known: Mutex<Known>,
    pub(crate) receiving: Mutex<Option<Receiving>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) faulted: OnceLock<String>,
    /// When a leader of the present term was last heard.
    pub(crate) heard: Mutex<Option<Instant>>,
    /// The highest index that a leader has said to be committed.
    pub(crate) leader_committed: AtomicU64,
    /// The highest block that this host is known to have signed, in all its lives. On disk before a share of it leaves.
    pub(crate) signed_through: AtomicU64,
    /// Until the log has this block again this replica neither votes nor leads; 0 as a rule. See `own_key`.
    pub(crate) recovering: AtomicU64,
    /// Names this life of the replica.
    pub(crate) life: Life,
    pub(crate) heard_of_self: Mutex<own_key::Heard>,
    /// What other members' lives have shown.
    pub(crate) presences: Mutex<Presences>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Core {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a leader of the present term was last heard, in this life.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leader of the present term was heard.
    pub(crate) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The chain of certified memberships.
    pub(crate) fn chain(&self) -> Vec<MembershipCertificate> {
        self.known().chain.clone()
    }

    /// Follows the order to stop.
    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Whether the log lacks what this host has signed.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn set_status(&self, change: impl FnOnce(&mut ReplicaStatus)) {
        self.status.send_modify(change);
    }

    /// This host cannot go on: reports it once, stops everything.
    pub(crate) fn fault(self: &Arc<Self>, text: String) {
        if self.faulted.set(text.clone()).is_err() {
            return;
        }
        tracing::error!(vat = %self.vat, fault = %text, "replica stops");
        self.set_status(|status| {
            status.role = Role::Faulted;
            status.fault = Some(text.clone());
        });
        self.stop.send_replace(true);
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Some(raft) = core.raft.get() {
                raft.shutdown().await;
            }
            core.events.send(PlainEvent::Fault(text)).await;
        });
    }

    /// A failure of the store is a fault.
    pub(crate) fn check<T>(self: &Arc<Self>, result: Result<T, StoreError>) -> Option<T> {
        result.map_err(|error| self.fault(error.to_string())).ok()
    }

    /// An entry was executed.
    pub(crate) async fn applied(&self, outcome: Outcome) {
        let index = outcome.index;
        if let Some(view) = &outcome.view {
            self.view(view);
        }
        self.set_status(|status| status.applied = index);
        // The receivers below are gone only if the replica is stopping.
        if let Some(draft) = outcome.checkpoint {
            let _ = self.keeper.send(KeeperInput::Stage(Box::new(draft))).await;
        }
        if outcome.statement.is_some() || outcome.activated.is_some() {
            let input = BoardInput::Applied { statement: outcome.statement, activated: outcome.activated };
            let _ = self.board.send(input).await;
        }
    }

    /// The state is that of a checkpoint.
    pub(crate) async fn restored(&self, record: &Arc<CheckpointRecord>, state: Arc<ReplicatedState>) {
        self.view(&state);
        self.checkpoints.restored(record);
        let block = record.block();
        let root = record.statement.state_root;
        let certified = record.certificate.is_some();
        self.set_status(|status| {
            status.applied = status.applied.max(block);
            status.local_checkpoint_block = block;
            if certified {
                status.checkpoint_block = block;
                status.checkpoint_root = root;
                status.certified_block = status.certified_block.max(block);
            }
        });
        // The receiver is gone only if the replica is stopping.
        let input = BoardInput::Restored { record: Arc::clone(record), state };
        let _ = self.board.send(input).await;
    }

    /// Takes note of the replicated state.
    pub(crate) fn view(&self, state: &Arc<ReplicatedState>) {
        let membership = Arc::new(state.membership.clone());
        {
            let mut known = self.known();
            known.memberships.insert(state.membership.epoch, state.membership.clone());
            known.applied = Arc::clone(state);
        }
        self.set_status(|status| {
            status.epoch = membership.epoch;
            status.membership = membership;
            status.pending = state.pending.clone();
        });
    }

    /// Adds to the chain what continues it, on disk and in memory. Returns what was new.
    pub(crate) fn learn(self: &Arc<Self>, certificates: Vec<MembershipCertificate>) -> Vec<MembershipCertificate> {
        let (added, epoch, written) = {
            let mut known = self.known();
            let added = known.extend(certificates);
            let batch = added.iter().map(|certificate| self.store.put_membership(certificate)).collect();
            // Under the lock: a crash may keep a prefix of the writes, and a chain with a gap could not be read any more.
            let written = if added.is_empty() { Ok(()) } else { self.store.write(batch) };
            (added, known.chain.len() as u64, written)
        };
        self.check(written);
        if !added.is_empty() {
            self.set_status(|status| status.certified_epoch = status.certified_epoch.max(epoch));
        }
        added
    }
}

//! The members of the vat, as far as this replica knows.
//!
//! Invariant: knowledge from outside the log (the chain of certificates) and from the log (the applied state) meets
//! here and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lifecycle::Lifecycle;
use super::status::StatusCell;
use crate::proof::membership::{Member, Membership, MembershipCertificate, verify_membership};
use crate::raft::ports::{Counted, Enough, Voters};
use crate::state::ReplicatedState;
use crate::storage::VatStore;
use quorate_ids::HostId;

/// The view, shared by the parts of a replica.
pub(crate) struct Members {
    view: Mutex<MembershipView>,
    store: VatStore,
    status: Arc<StatusCell>,
    lifecycle: Arc<Lifecycle>,
}

impl Members {
    pub(crate) fn new(
        view: MembershipView,
        store: VatStore,
        status: Arc<StatusCell>,
        lifecycle: Arc<Lifecycle>,
    ) -> Members {
        Members { view: Mutex::new(view), store, status, lifecycle }
    }

    /// Looks at the view. Nobody may wait for anything while holding it.
    pub(crate) fn view(&self) -> MutexGuard<'_, MembershipView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain of certified memberships.
    pub(crate) fn chain(&self) -> Vec<MembershipCertificate> {
        self.view().chain.clone()
    }

    /// Takes note of the replicated state.
    pub(crate) fn note(&self, state: &Arc<ReplicatedState>) {
        let membership = Arc::new(state.membership.clone());
        {
            let mut view = self.view();
            view.memberships.insert(state.membership.epoch, state.membership.clone());
            if state.membership.epoch != view.applied.membership.epoch {
                view.began = state.last_log.map_or(0, |last| last.index);
            }
            view.applied = Arc::clone(state);
        }
        self.status.set(|status| {
            status.epoch = membership.epoch;
            status.membership = membership;
            status.pending = state.pending.clone();
        });
    }

    /// Adds to the chain what continues it, on disk and in memory. Returns what was new.
    pub(crate) fn learn(&self, certificates: Vec<MembershipCertificate>) -> Vec<MembershipCertificate> {
        let (added, epoch, written) = {
            let mut view = self.view();
            let added = view.extend(certificates);
            let batch = added.iter().map(|certificate| self.store.put_membership(certificate)).collect();
            // Under the lock: a crash may keep a prefix of the writes, and a chain with a gap could not be read any more.
            let written = if added.is_empty() { Ok(()) } else { self.store.write(batch) };
            (added, view.chain.len() as u64, written)
        };
        self.lifecycle.check(written);
        if !added.is_empty() {
            self.status.set(|status| status.certified_epoch = status.certified_epoch.max(epoch));
        }
        added
    }
}

impl Voters for Members {
    fn counted(&self) -> Counted {
        let view = self.view();
        let state = &view.applied;
        let enough = |membership: &Membership| -> Enough {
            let members = membership.members.iter().map(|member| member.key).collect();
            (members, usize::from(membership.threshold))
        };
        let epoch = state.membership.epoch;
        let before = state.previous_membership.as_ref().map(enough);
        if let Some(before) = before.clone().filter(|_| (view.chain.len() as u64) < epoch) {
            return Counted { present: before, through: Some(view.began), ..Counted::default() };
        }
        let coming = view.memberships.range(epoch.saturating_add(1)..).map(|(_, membership)| enough(membership));
        Counted {
            present: enough(&state.membership),
            through: None,
            before: before.map(|before| (before, view.began)),
            before_elects: state.raft_membership.configs != [state.voters()],
            coming: coming.collect(),
        }
    }
}

/// See the head of the module.
pub(crate) struct MembershipView {
    pub(crate) chain: Vec<MembershipCertificate>,
    pub(crate) memberships: BTreeMap<u64, Membership>,
    pub(crate) applied: Arc<ReplicatedState>,
    /// The block that began the present epoch; or that of a checkpoint after it, if the state is that of one.
    pub(crate) began: u64,
    pub(crate) raft_nodes: BTreeMap<u64, Member>,
}

impl MembershipView {
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

    /// Returns whether a host may take part now: a member of a present or coming epoch, or a replica that Raft knows.
    pub(crate) fn takes_part(&self, key: &HostId) -> bool {
        let epoch = self.applied.membership.epoch;
        self.applied.raft_ids.contains_key(key)
            || self.memberships.range(epoch..).any(|(_, membership)| membership.contains(key))
            || self.raft_nodes.values().any(|member| member.key == *key)
    }

    /// Returns whether a host may use this raft id: the id is its own, or unknown here. (Ids are never
    /// given twice, so a known id stays true.)
    pub(crate) fn may_speak_as(&self, key: &HostId, raft_id: u64) -> bool {
        self.applied.raft_ids.iter().all(|(other, id)| *id != raft_id || other == key)
    }

    /// Returns whether a host is a member or ever was.
    pub(crate) fn was_member(&self, key: &HostId) -> bool {
        self.memberships.values().any(|membership| membership.contains(key))
    }

    /// Returns whether a host takes part or ever did.
    pub(crate) fn is_acquainted(&self, key: &HostId) -> bool {
        self.takes_part(key) || self.was_member(key)
    }

    /// Returns whether the applied state says that a replica is out, of the membership and of Raft alike.
    pub(crate) fn is_retired(&self, raft_id: u64) -> bool {
        let (state, raft) = (&self.applied, &self.applied.raft_membership);
        !raft.nodes.is_empty()
            && !raft.nodes.contains_key(&raft_id)
            && raft_id < state.next_raft_id
            && !state.raft_ids.values().any(|id| *id == raft_id)
    }

    /// The newest membership that is certified or applied.
    pub(crate) fn newest(&self) -> &Membership {
        match self.memberships.last_key_value() {
            Some((epoch, membership)) if *epoch > self.applied.membership.epoch => membership,
            _ => &self.applied.membership,
        }
    }
}

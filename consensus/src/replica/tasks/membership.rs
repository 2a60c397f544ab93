//! The leader's steps of a change of members, and every replica's watch on Raft's membership.
//!
//! Invariants: each step follows from the applied state and Raft's membership alone, so that any later leader continues
//! where the last one stopped: admit → learner → caught up → activate → voters → certificate → the old member goes. An epoch
//! begins only when the previous epoch has its certificate here, and a threshold of its members has signed
//! the block that recorded the change. The new epoch's certificate takes as many signatures, and without them the vat could certify nothing. For
//! the same reason the leader replicates to a leaving member until the new epoch is certified: its signature may be needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::proof::certificate::{Certificate, verify_certificate};
use crate::proof::membership::Member;
use crate::raft::role::Role;
use crate::raft::{RaftNode, RaftView};
use crate::replica::event::{EventSink, PlainEvent};
use crate::replica::identity::Identity;
use crate::replica::leader::LeaderSeen;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::status::StatusCell;
use crate::replica::tasks::own_key::OwnKey;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use crate::state::ReplicatedState;
use crate::state::block::{Activation, Block, Control};
use crate::state::change::Change;
use crate::stats::StatsCell;
use crate::storage::VatStore;
use crate::timing::Timing;
use quorate_ids::HostId;

/// Times `reconcile`: how long a replica that is out waits to be told that it is no longer needed.
const LEAVE_PATIENCE: u32 = 240;
/// A new member that lacks at most so many entries has caught up.
const CAUGHT_UP: u64 = 64;

/// The next step that a leader should take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    AddLearner(u64, Member),
    Activate { epoch: u64, admitted: u64 },
    ChangeVoters(BTreeSet<u64>),
    RemoveNodes(BTreeSet<u64>),
}

/// How far certificates have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certified {
    /// The newest epoch with a certificate.
    pub(crate) epoch: u64,
    /// The newest block with one.
    pub(crate) block: u64,
}

/// The raft ids of the members.
fn voters(state: &ReplicatedState) -> BTreeSet<u64> {
    state.membership.members.iter().filter_map(|member| state.raft_ids.get(&member.key).copied()).collect()
}

/// Returns whether Raft decides by the votes of the members and of nobody else. Until then those who are out may not go: their votes may be
/// needed.
pub(crate) fn members_vote(state: &ReplicatedState, view: &RaftView) -> bool {
    matches!(&view.configs[..], [config] if *config == voters(state))
}

/// Decides it. Pure.
pub(crate) fn next_step(state: &ReplicatedState, certified: Certified, view: &RaftView) -> Step {
    if view.applied < view.membership_log {
        // The state is older than Raft's membership. A step that followed from it could lead back, and no member would take it.
        return Step::Nothing;
    }
    let wanted = voters(state);
    if !members_vote(state, view) {
        if wanted.iter().all(|id| view.nodes.contains_key(id)) {
            return Step::ChangeVoters(wanted);
        }
        // A member that Raft does not replicate to yet: it was activated by a leader whose last steps were lost.
        let missing = state.membership.members.iter().find_map(|member| {
            let id = state.raft_ids.get(&member.key)?;
            (!view.nodes.contains_key(id)).then(|| (*id, member.clone()))
        });
        return missing.map_or(Step::Nothing, |(id, member)| Step::AddLearner(id, member));
    }
    let coming = state.pending.as_ref().and_then(|pending| pending.raft_id);
    let superfluous: BTreeSet<u64> =
        view.nodes.keys().filter(|id| !wanted.contains(id) && Some(**id) != coming).copied().collect();
    if certified.epoch < state.membership.epoch {
        return Step::Nothing;
    }
    if !superfluous.is_empty() {
        return Step::RemoveNodes(superfluous);
    }
    let Some(pending) = &state.pending else { return Step::Nothing };
    if let (Some(id), Change::Add(member) | Change::Replace { in_: member, .. }) = (pending.raft_id, &pending.change) {
        if !view.nodes.contains_key(&id) {
            return Step::AddLearner(id, member.clone());
        }
        let matched = view.matched.get(&id).copied().unwrap_or(0);
        if matched == 0 || matched + CAUGHT_UP < view.last_log {
            return Step::Nothing;
        }
    }
    if certified.block < pending.block {
        return Step::Nothing;
    }
    Step::Activate { epoch: pending.target.epoch, admitted: pending.block }
}

/// What the task uses.
#[derive(Clone)]
pub(crate) struct MembershipTask {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) own_key: Arc<OwnKey>,
    pub(crate) share: ShareClient,
    pub(crate) store: VatStore,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) raft: RaftNode,
}

impl MembershipTask {
    /// Follows Raft: status, retirement, and the leader's steps.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let mut watch = self.raft.watch();
        let mut leaderless = Leaderless { since: Instant::now(), alone_since: Instant::now() };
        let mut standstill = Standstill { applied: 0, since: Instant::now() };
        // Its own task: what it waits for may take long, and the status must not.
        let mut work: Option<JoinHandle<bool>> = None;
        let mut tick = tokio::time::interval(self.identity.timing.reconcile);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut due = false;
            tokio::select! {
                () = stopping.wait() => return,
                alive = watch.changed() => if !alive && !self.lifecycle.is_stopped() {
                    self.lifecycle.fault("Q-C043 raft has stopped by itself".into());
                    return;
                },
                out = finished(&mut work), if work.is_some() => {
                    work = None;
                    if out {
                        self.leave().await;
                        return;
                    }
                }
                () = async { self.lifecycle.awake().await; tick.tick().await; } => due = true,
            }
            let view = self.raft.view();
            self.publish(&view);
            if let Some(error) = &view.stopped
                && !self.lifecycle.is_stopped()
            {
                self.lifecycle.fault(format!("Q-C043 raft has stopped: {error}"));
                return;
            }
            if !due {
                continue;
            }
            leaderless.tick(&self, &view);
            standstill.tick(&self, &view);
            if work.is_none() {
                let alone = leaderless.for_long(&self.identity.timing);
                work = Some(tokio::spawn(self.clone().look_after(view, alone)));
            }
        }
    }

    /// Takes the next step, if there is one for this replica. Returns whether it is out of the vat. `alone`: see [`Self::retired`].
    async fn look_after(self, view: RaftView, alone: bool) -> bool {
        if self.retired(&view, alone).await {
            return true;
        }
        if view.role == Role::Leader {
            self.reconcile(&view).await;
        }
        false
    }

    /// Takes Raft's condition into the status.
    pub(crate) fn publish(&self, view: &RaftView) {
        let voters_change = {
            let mut known = self.members.view();
            known.raft_nodes = view.nodes.clone();
            // Raft reports nothing before it has started. A removed member does not learn of later blocks.
            let takes_part = !view.configs.is_empty() && known.applied.membership.contains(&self.identity.key);
            takes_part && !members_vote(&known.applied, view)
        };
        let leader = self.present_leader(view);
        let stats = self.stats.get();
        let committed = self.leader.committed().max(view.committed);
        self.status.set_if(|status| {
            let changed = std::mem::replace(&mut status.voters_change, voters_change) != voters_change;
            let before = (status.role, status.leader, status.term, status.committed, status.last_log, status.purged);
            if status.fault.is_none() {
                status.role =
                    if self.own_key.is_recovering() && view.role == Role::Follower { Role::Learner } else { view.role };
            }
            status.leader_committed = committed;
            status.raft_id = view.id;
            status.term = view.term;
            status.leader = leader;
            status.committed = view.committed;
            status.last_log = view.last_log;
            status.purged = view.purged;
            status.stats = stats;
            changed
                || before != (status.role, status.leader, status.term, status.committed, status.last_log, status.purged)
        });
    }

    /// Who leads now, which Raft itself does not say: its leader is the last one that it knew, also after a restart, and also when
    /// that one, or this replica itself, has lost its quorum since.
    fn present_leader(&self, view: &RaftView) -> Option<HostId> {
        if self.lifecycle.is_asleep() {
            // Nobody is to be heard. The leader that the vat fell asleep under is asked first when anything is wanted.
            return view.leader_member().map(|member| member.key);
        }
        let recent = |at: Option<Instant>, longest| at.is_some_and(|at| at.elapsed() < longest);
        let present = if view.role == Role::Leader {
            // One that has just woken has asked for acknowledgements.
            view.is_alone()
                || recent(view.quorum_acknowledged, self.identity.timing.election_max)
                || recent(self.leader.at(), self.identity.timing.election_max)
        } else {
            recent(self.leader.at(), self.identity.timing.election_max * 2)
        };
        view.leader_member().filter(|_| present).map(|member| member.key)
    }

    async fn reconcile(&self, view: &RaftView) {
        let (state, epoch) = {
            let known = self.members.view();
            (Arc::clone(&known.applied), known.chain.len() as u64)
        };
        let certified = Certified { epoch, block: self.status.read().certified_block };
        let step = next_step(&state, certified, view);
        let result = match step.clone() {
            Step::Nothing => return,
            Step::AddLearner(id, member) => {
                // It may be away just now; Raft's messages will bring it to ask who is there.
                let _ = self.share.introduce_to(&member).await;
                self.raft.add_learner(id, member).await
            }
            Step::Activate { .. } => self.activate(&state).await,
            Step::ChangeVoters(voters) => self.raft.change_voters(voters).await,
            Step::RemoveNodes(nodes) => self.raft.remove_nodes(nodes).await,
        };
        match result {
            Ok(()) => tracing::info!(vat = %self.identity.vat, ?step, "membership step done"),
            Err(error) => {
                tracing::info!(vat = %self.identity.vat, ?step, %error, "membership step will be tried again")
            }
        }
    }

    /// Has the recorded change activated, with the evidence that the log demands.
    async fn activate(&self, state: &ReplicatedState) -> Result<(), String> {
        let pending = state.pending.as_ref().ok_or("no change is under way")?;
        let certificate = self.admitted_certificate(state, pending.block).await?;
        let present = match state.membership.epoch.checked_sub(1) {
            None => Vec::new(),
            Some(before) => {
                let known = self.members.view();
                let place = usize::try_from(before).map_err(|error| error.to_string())?;
                let certificate = known.chain.get(place).ok_or("the present epoch is not certified here yet")?;
                certificate.signatures.clone()
            }
        };
        let activation = Activation { epoch: pending.target.epoch, admitted: pending.block, certificate, present };
        let written = self.raft.write(&Block::of_control(Control::Activate(activation))).await;
        match written.map_err(|error| format!("{error:?}"))?.1.refused {
            None => Ok(()),
            Some(refused) => Err(refused),
        }
    }

    /// The certificate of the block that recorded the pending change: from the store, or from a member, if this replica got its
    /// state by a later checkpoint.
    async fn admitted_certificate(&self, state: &ReplicatedState, block: u64) -> Result<Certificate, String> {
        let fits = |certificate: &Certificate| {
            certificate.statement.hash() == state.admitted_statement
                && verify_certificate(certificate, &state.membership).is_ok()
        };
        let stored = self.store.certificate(block).map_err(|error| error.to_string())?;
        if let Some(certificate) = stored.filter(fits) {
            return Ok(certificate);
        }
        let others = state.membership.members.iter().filter(|member| member.key != self.identity.key);
        for member in others {
            let ask = ShareFrame::Ask { blocks: vec![block], epoch: state.membership.epoch };
            let Ok(reply) = self.share.exchange(member, &ask).await else { continue };
            if let Some(certificate) = reply.certificates.into_iter().find(fits) {
                return Ok(certificate);
            }
        }
        Err(format!("the certificate of block {block} is not here yet"))
    }

    /// Returns whether this replica is out and no longer needed: by its own applied state, or by what so many members say that one of them
    /// is honest, or because the next change of members after the one that took it out is certified, or because it was `alone` for
    /// long: the members that it knew are gone, and can't tell it any more. The certificate of the epoch without it is here in all these
    /// cases.
    async fn retired(&self, view: &RaftView, alone: bool) -> bool {
        let (out, superseded, newest) = {
            let known = self.members.view();
            if (known.chain.len() as u64) < known.applied.membership.epoch {
                // The epoch in which this member is out lacks signatures, and its own may be one of them.
                return false;
            }
            let newest = known.newest();
            let awaited = newest.epoch == known.applied.membership.epoch
                && known.applied.raft_ids.contains_key(&self.identity.key);
            // An epoch begins only when the voters are those of the one before it.
            let before = newest.epoch.checked_sub(1).and_then(|before| known.memberships.get(&before));
            let superseded = before.is_some_and(|before| !before.contains(&self.identity.key));
            (!newest.contains(&self.identity.key) && !awaited, superseded, newest.clone())
        };
        // A learner that waits for its admission knows nothing of it and is not out.
        if !out || view.applied == 0 || !self.members.view().was_member(&self.identity.key) {
            return false;
        }
        if self.members.view().is_retired(view.id) || superseded || alone {
            return true;
        }
        // One alone could lie, and Raft would lack a voter that it still needs.
        let mut said = 0;
        for member in &newest.members {
            if let Ok(reply) = self.share.exchange(member, &ShareFrame::Retired { raft_id: view.id }).await {
                said += usize::from(reply.retired);
            }
            if said >= newest.one_is_honest() {
                return true;
            }
        }
        false
    }

    async fn leave(&self) {
        self.status.set(|status| status.role = Role::Stopped);
        self.lifecycle.stop();
        self.raft.shutdown().await;
        self.events.send(PlainEvent::Removed).await;
    }
}

/// Returns what a look found: whether this replica is out of the vat.
async fn finished(work: &mut Option<JoinHandle<bool>>) -> bool {
    match work {
        // A task that died is begun anew with the next tick.
        Some(work) => work.await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

/// Asks the members for newer memberships when no leader is heard of for long: a member that was away while it was replaced
/// hears from nobody any more. (Raft's own idea of the leader outlives the leader.)
struct Leaderless {
    since: Instant,
    /// The same, and never set back by asking.
    alone_since: Instant,
}

impl Leaderless {
    /// Returns whether no leader was heard for so long that none will be.
    fn for_long(&self, timing: &Timing) -> bool {
        self.alone_since.elapsed() >= timing.reconcile * LEAVE_PATIENCE
    }

    fn tick(&mut self, task: &MembershipTask, view: &RaftView) {
        let now = Instant::now();
        if let Some(heard) = task.leader.at() {
            self.since = self.since.max(heard);
            self.alone_since = self.alone_since.max(heard);
        }
        if view.role == Role::Leader {
            (self.since, self.alone_since) = (now, now);
        }
        if now.duration_since(self.since) < task.identity.timing.election_max * 2 {
            return;
        }
        self.since = now;
        let (members, epoch) = {
            let known = task.members.view();
            (known.newest().members.clone(), known.chain.len() as u64)
        };
        for member in members.into_iter().filter(|member| member.key != task.identity.key) {
            let share = task.share.clone();
            tokio::spawn(async move { share.ask(&member, Vec::new(), epoch).await });
        }
    }
}

/// Notices a replica that does not move: it knows of committed blocks, from itself or from a leader, and applies none.
struct Standstill {
    applied: u64,
    since: Instant,
}

impl Standstill {
    fn tick(&mut self, task: &MembershipTask, view: &RaftView) {
        let now = Instant::now();
        let known = task.leader.committed().max(view.committed);
        let applied = task.status.read().applied;
        if applied != self.applied || applied >= known {
            *self = Self { applied, since: now };
        }
        let stalled = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        task.status.set_if(|status| std::mem::replace(&mut status.stalled_ms, stalled) != stalled);
    }
}

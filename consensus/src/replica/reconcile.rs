//! The leader's work on membership, and what every replica watches of Raft.
//!
//! Invariants: each step is derived from the applied state and Raft's membership alone, so that any later leader goes on from
//! wherever the last one stopped: admit → learner → caught up → activate → voters → certificate → the old member goes. An epoch
//! is not activated before the one before it has its certificate here, nor before a threshold of that one's members has signed
//! the block that recorded the change: it takes as many to certify the new epoch, and without them the vat would be mute. For
//! the same reason whoever leaves is replicated to until the new epoch is certified: its signature may be needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::core::{Core, PlainEvent};
use super::exchange::ShareFrame;
use super::status::{Change, Role};
use crate::block::{Block, Control};
use crate::ids::HostKey;
use crate::membership::Member;
use crate::raft::{RaftNode, RaftView};
use crate::state::ReplicatedState;

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

/// Decides it. Pure.
pub(crate) fn next_step(state: &ReplicatedState, certified: Certified, view: &RaftView) -> Step {
    let wanted: BTreeSet<u64> =
        state.membership.members.iter().filter_map(|member| state.raft_ids.get(&member.key).copied()).collect();
    if view.configs.len() != 1 || view.configs[0] != wanted {
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

/// Follows Raft: status, retirement, and the leader's steps.
pub(crate) async fn run(core: Arc<Core>, raft: RaftNode) {
    let mut stopping = core.stopping();
    let mut watch = raft.watch();
    let mut leaderless = Leaderless { since: Instant::now(), alone_since: Instant::now() };
    let mut standstill = Standstill { applied: 0, since: Instant::now() };
    // Its own task: what it waits for may take long, and the status must not.
    let mut work: Option<JoinHandle<bool>> = None;
    let mut tick = tokio::time::interval(core.timing.reconcile);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut due = false;
        tokio::select! {
            () = stopping.wait() => return,
            alive = watch.changed() => if !alive && !core.is_stopped() {
                core.fault("Q-C043 raft has stopped by itself".into());
                return;
            },
            out = finished(&mut work), if work.is_some() => {
                work = None;
                if out {
                    leave(&core, &raft).await;
                    return;
                }
            }
            _ = tick.tick() => due = true,
        }
        let view = raft.view();
        publish(&core, &view);
        if let Some(error) = &view.stopped
            && !core.is_stopped()
        {
            core.fault(format!("Q-C043 raft has stopped: {error}"));
            return;
        }
        if !due {
            continue;
        }
        leaderless.tick(&core, &view);
        standstill.tick(&core, &view);
        if work.is_none() {
            let alone = leaderless.for_long(&core);
            work = Some(tokio::spawn(look_after(Arc::clone(&core), raft.clone(), view, alone)));
        }
    }
}

/// What a look found: whether this replica is out of the vat.
async fn finished(work: &mut Option<JoinHandle<bool>>) -> bool {
    match work {
        // A task that died is begun anew with the next tick.
        Some(work) => work.await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

/// Takes the next step, if there is one for this replica. Returns whether it is out of the vat. `alone`: see [`retired`].
async fn look_after(core: Arc<Core>, raft: RaftNode, view: RaftView, alone: bool) -> bool {
    if retired(&core, &view, alone).await {
        return true;
    }
    if view.role == Role::Leader {
        reconcile(&core, &raft, &view).await;
    }
    false
}

/// Asks the members for newer memberships when no leader is heard of for long: a member that was away while it was replaced
/// hears from nobody any more. (Raft's own idea of the leader outlives the leader.)
struct Leaderless {
    since: Instant,
    /// The same, and never set back by asking.
    alone_since: Instant,
}

impl Leaderless {
    /// Whether no leader was heard for so long that none will be.
    fn for_long(&self, core: &Core) -> bool {
        self.alone_since.elapsed() >= core.timing.reconcile * LEAVE_PATIENCE
    }

    fn tick(&mut self, core: &Arc<Core>, view: &RaftView) {
        let now = Instant::now();
        if let Some(heard) = core.heard_at() {
            self.since = self.since.max(heard);
            self.alone_since = self.alone_since.max(heard);
        }
        if view.role == Role::Leader {
            (self.since, self.alone_since) = (now, now);
        }
        if now.duration_since(self.since) < core.timing.election_max * 2 {
            return;
        }
        self.since = now;
        let (members, epoch) = {
            let known = core.known();
            (known.newest().members.clone(), known.chain.len() as u64)
        };
        for member in members.into_iter().filter(|member| member.key != core.key) {
            let core = Arc::clone(core);
            tokio::spawn(async move { core.ask(&member, Vec::new(), epoch).await });
        }
    }
}

/// Notices a replica that does not move: it knows of committed blocks, from itself or from a leader, and applies none.
struct Standstill {
    applied: u64,
    since: Instant,
}

impl Standstill {
    fn tick(&mut self, core: &Core, view: &RaftView) {
        let now = Instant::now();
        let known = core.leader_committed.load(Ordering::SeqCst).max(view.committed);
        let applied = core.status.borrow().applied;
        if applied != self.applied || applied >= known {
            *self = Self { applied, since: now };
        }
        let stalled = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        core.status.send_if_modified(|status| std::mem::replace(&mut status.stalled_ms, stalled) != stalled);
    }
}

/// Takes Raft's condition into the status.
pub(crate) fn publish(core: &Arc<Core>, view: &RaftView) {
    core.known().raft_nodes = view.nodes.clone();
    let leader = present_leader(core, view);
    let stats = core.stats.get();
    let committed = core.leader_committed.load(Ordering::SeqCst).max(view.committed);
    core.status.send_if_modified(|status| {
        let before = (status.role, status.leader, status.term, status.committed, status.last_log, status.purged);
        if status.fault.is_none() {
            status.role = if core.is_recovering() && view.role == Role::Follower { Role::Learner } else { view.role };
        }
        status.leader_committed = committed;
        status.raft_id = view.id;
        status.term = view.term;
        status.leader = leader;
        status.committed = view.committed;
        status.last_log = view.last_log;
        status.purged = view.purged;
        status.stats = stats;
        before != (status.role, status.leader, status.term, status.committed, status.last_log, status.purged)
    });
}

/// Who leads now, which Raft itself does not say: its leader is the last one that it knew, also after a restart, and also when
/// that one, or this replica itself, has lost its quorum since.
fn present_leader(core: &Core, view: &RaftView) -> Option<HostKey> {
    let recent = |at: Option<Instant>, longest| at.is_some_and(|at| at.elapsed() < longest);
    let present = if view.role == Role::Leader {
        view.is_alone() || recent(view.quorum_acknowledged, core.timing.election_max)
    } else {
        recent(core.heard_at(), core.timing.election_max * 2)
    };
    view.leader_member().filter(|_| present).map(|member| member.key)
}

async fn reconcile(core: &Arc<Core>, raft: &RaftNode, view: &RaftView) {
    let (state, epoch) = {
        let known = core.known();
        (Arc::clone(&known.applied), known.chain.len() as u64)
    };
    let certified = Certified { epoch, block: core.status.borrow().certified_block };
    let step = next_step(&state, certified, view);
    let result = match step.clone() {
        Step::Nothing => return,
        Step::AddLearner(id, member) => {
            // It may be away just now; Raft's messages will bring it to ask who is there.
            let _ = core.introduce_to(&member).await;
            raft.add_learner(id, member).await
        }
        Step::Activate { epoch, admitted } => {
            let activate = Block::of_control(Control::Activate { epoch, admitted });
            raft.write(&activate).await.map(|_| ()).map_err(|error| format!("{error:?}"))
        }
        Step::ChangeVoters(voters) => raft.change_voters(voters).await,
        Step::RemoveNodes(nodes) => raft.remove_nodes(nodes).await,
    };
    match result {
        Ok(()) => tracing::info!(vat = %core.vat, ?step, "membership step done"),
        Err(error) => tracing::info!(vat = %core.vat, ?step, %error, "membership step will be tried again"),
    }
}

/// Whether this replica is out and no longer needed: by its own applied state, or by what a member says, or because the next
/// change of members after the one that took it out is certified, or because it was `alone` for long: those whom it knew are
/// gone, and cannot tell it any more. The certificate of the epoch without it is here in all these cases.
async fn retired(core: &Arc<Core>, view: &RaftView, alone: bool) -> bool {
    let (out, superseded, members) = {
        let known = core.known();
        if (known.chain.len() as u64) < known.applied.membership.epoch {
            // The epoch in which this member is out lacks signatures, and its own may be one of them.
            return false;
        }
        let newest = known.newest();
        let awaited = newest.epoch == known.applied.membership.epoch && known.applied.raft_ids.contains_key(&core.key);
        // An epoch begins only when the voters are those of the one before it.
        let before = newest.epoch.checked_sub(1).and_then(|before| known.memberships.get(&before));
        let superseded = before.is_some_and(|before| !before.contains(&core.key));
        (!newest.contains(&core.key) && !awaited, superseded, newest.members.clone())
    };
    // A learner that waits for its admission knows nothing of it and is not out.
    if !out || view.applied == 0 || !core.known().was_member(&core.key) {
        return false;
    }
    if core.is_retired(view.id) || superseded || alone {
        return true;
    }
    for member in members {
        if let Ok(reply) = core.exchange(&member, &ShareFrame::Retired { raft_id: view.id }).await
            && reply.retired
        {
            return true;
        }
    }
    false
}

async fn leave(core: &Arc<Core>, raft: &RaftNode) {
    core.set_status(|status| status.role = Role::Stopped);
    core.stop.send_replace(true);
    raft.shutdown().await;
    core.events.send(PlainEvent::Removed).await;
}

//! Whether a replica is asleep: nothing in its vat is left to be done, and nobody has wanted anything for a while.
//!
//! A sleeping replica sends nothing and has no timers: no heartbeats, no elections, no questions. It answers whatever it is asked. It
//! wakes as soon as anything needs progress: a proposal here, or a frame that brings or wants something (see [`Rest::wake`]). Whether
//! it may fall asleep is decided elsewhere (`tasks::sleeper`).
//!
//! Invariant: sleep changes when a replica looks and tries, never what it signs, votes or executes. A replica that wakes tells its leader at once, and
//! believes in it for three `election_max`, unless the leader's host can't be reached: so long it stands for no election. For one it votes for nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use super::RaftCell;
use super::leader::LeaderSeen;
use super::lifecycle::Lifecycle;
use super::status::StatusCell;
use super::wire::share::{ShareClient, ShareFrame};
use crate::execution::executor::ExecutorHandle;
use crate::raft::role::Role;
use crate::transport::TransportError;
use quorate_ids::HostId;

/// Times `election_max`: how much longer a leader is believed in that has to wake itself before it can be heard. All vats of a host may wake at once.
const PATIENCE: u32 = 2;

/// What [`Rest`] is made of.
pub(crate) struct RestParts {
    /// How long a leader that is not heard is believed in.
    pub(crate) election_max: Duration,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) share: ShareClient,
    pub(crate) executor: ExecutorHandle,
}

#[derive(Default)]
struct Times {
    /// Since when it sleeps, or when it last fell asleep.
    slept: Option<Instant>,
    woke: Option<Instant>,
}

/// See the head of the module.
pub(crate) struct Rest {
    parts: RestParts,
    times: Mutex<Times>,
    /// How often something was wanted.
    stirs: AtomicU64,
}

impl Rest {
    /// That of a replica that is awake.
    pub(crate) fn new(parts: RestParts) -> Rest {
        Rest { parts, times: Mutex::default(), stirs: AtomicU64::new(0) }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest block with a certificate here.
    pub(crate) fn certified_block(&self) -> u64 {
        self.parts.status.read().certified_block
    }

    /// Returns how often something was wanted.
    pub(crate) fn stirs(&self) -> u64 {
        self.stirs.load(Ordering::SeqCst)
    }

    /// Falls asleep, unless something was wanted since `stirs` was read. Returns whether it sleeps.
    pub(crate) fn sleep(&self, stirs: u64) -> bool {
        let mut times = self.times();
        if self.stirs() != stirs || self.parts.lifecycle.is_stopped() {
            return false;
        }
        let Some(raft) = self.parts.raft.get() else { return false };
        if self.parts.lifecycle.set_asleep(true) {
            times.slept = Some(Instant::now());
            raft.tick(false);
            self.parts.executor.rest();
            self.parts.status.set(|status| status.asleep = true);
        }
        true
    }

    /// Something is wanted here, or was brought `by` another member: this replica wakes if it sleeps, and so does the leader.
    pub(crate) fn wake(&self, by: Option<&HostId>) {
        let mut times = self.times();
        self.stirs.fetch_add(1, Ordering::SeqCst);
        if !self.parts.lifecycle.is_asleep() {
            return;
        }
        let now = Instant::now();
        times.woke = Some(now);
        let Some(raft) = self.parts.raft.get() else { return };
        let view = raft.view();
        // Before any task looks: the leader has the time to be heard.
        self.parts.leader.set(now + self.parts.election_max * PATIENCE);
        self.parts.lifecycle.set_asleep(false);
        self.parts.status.set(|status| status.asleep = false);
        raft.tick(true);
        if view.role == Role::Leader {
            return raft.beat();
        }
        // Where something is wanted here, all hear of it: if the leader is gone, all begin to wait for it now.
        let leader = view.leader_member().map(|leader| leader.key);
        for (id, member) in view.nodes {
            if id == view.id || Some(&member.key) == by || (by.is_some() && Some(member.key) != leader) {
                continue;
            }
            let (share, seen) = (self.parts.share.clone(), Arc::clone(&self.parts.leader));
            let (is_leader, election_max) = (Some(member.key) == leader, self.parts.election_max);
            tokio::spawn(async move {
                let woken = share.exchange(&member, &ShareFrame::Wake).await;
                let now = Instant::now();
                if is_leader && matches!(woken, Err(TransportError::Unreachable(_))) {
                    // It is gone, unless it has been heard meanwhile: nobody waits for it any longer.
                    if seen.at().is_some_and(|at| at > now) {
                        seen.set(now.checked_sub(election_max).unwrap_or(now));
                    }
                }
            });
        }
    }

    /// A leader was heard that brings nothing. It may have been on its way when the vat fell asleep; later it shows that the leader is awake.
    pub(crate) fn heard(&self, leader: &HostId) {
        let is_late = self.times().slept.is_none_or(|slept| slept.elapsed() >= self.parts.election_max);
        if is_late && self.parts.lifecycle.is_asleep() {
            self.wake(Some(leader));
        }
    }

    /// Returns whether this replica woke so lately that its leader may not have been heard yet.
    pub(crate) fn woke_lately(&self) -> bool {
        self.times().woke.is_some_and(|woke| woke.elapsed() < self.parts.election_max)
    }
}

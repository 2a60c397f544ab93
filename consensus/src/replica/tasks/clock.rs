//! The task that has a tick ordered when the machine waits for a time.
//!
//! The leader does so when its own clock reaches the time. If the leader's clock is slow, or the leader withholds
//! ticks, the other members propose the tick after a while, one after the other. A tick carries the clock statements that bound it,
//! so any member may propose it.
//!
//! Invariant: while the machine waits for no time, this task does nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::execution::machine::LogTime;
use crate::raft::role::Role;
use crate::replica::RaftCell;
use crate::replica::clock::Clocks;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::tasks::complaints::Complaints;
use crate::replica::wire::propose::Payload;
use crate::state::block::{Control, Tick};

/// Least time between two ticks, in ms of the log: what is due in it comes with one tick.
const RESOLUTION_MS: u64 = 50;
/// Longest sleep until the clock is looked at again: it may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Shortest and longest pause before others are asked again whose clocks are behind this one's.
const BEHIND_MS: (u64, u64) = (10, 1_000);
/// Times `request`: how long a time may be due before members that do not lead propose the tick; so long for each of them.
const GRACE: u32 = 1;

/// See the head of the module.
pub(crate) struct ClockTask {
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) complaints: Arc<Complaints>,
}

/// Returns when the next tick is due, by the log's time.
pub(crate) fn due_ms(time: &LogTime) -> Option<u64> {
    // What is due already, and was left because one command does only so much, comes with the next tick, too.
    time.wanted.at_ms.map(|at_ms| at_ms.max(time.now_ms.saturating_add(RESOLUTION_MS)))
}

impl ClockTask {
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let mut time = self.clocks.time.clone();
        loop {
            let seen = *time.borrow_and_update();
            let pause = match due_ms(&seen) {
                None => None,
                Some(due_ms) => Some(self.pursue(due_ms).await),
            };
            let sleep = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.wait() => return,
                // The sender is gone only if the replica is.
                changed = time.changed() => if changed.is_err() { return },
                () = sleep => {}
            }
        }
    }

    /// Does what there is to be done for a tick that is due then. Returns how long there is nothing more to be done.
    async fn pursue(&self, due_ms: u64) -> Duration {
        let timing = &self.clocks.identity.timing;
        let now_ms = self.clocks.identity.clock.now_ms();
        let Some(overdue_ms) = now_ms.checked_sub(due_ms) else {
            return Duration::from_millis(due_ms - now_ms).min(LONGEST_SLEEP);
        };
        if Duration::from_millis(overdue_ms) < self.grace() {
            return timing.reconcile;
        }
        let Some((tick, reached_ms)) = self.clocks.ask(due_ms, timing.request).await else { return timing.reconcile };
        if reached_ms < due_ms {
            let behind_ms = (due_ms - reached_ms).clamp(BEHIND_MS.0, BEHIND_MS.1);
            return Duration::from_millis(behind_ms);
        }
        self.order(tick).await
    }

    /// Returns how long a tick may be due before this member sees to it.
    fn grace(&self) -> Duration {
        let Some(raft) = self.raft.get() else { return Duration::MAX };
        if raft.view().role == Role::Leader {
            return Duration::ZERO;
        }
        let key = self.clocks.identity.key;
        let place = self.clocks.members.view().applied.membership.members.iter().position(|member| member.key == key);
        let turn = place.and_then(|place| u32::try_from(place + 1).ok());
        turn.map_or(Duration::MAX, |turn| self.clocks.identity.timing.request * GRACE * turn)
    }

    async fn order(&self, tick: Tick) -> Duration {
        let timing = &self.clocks.identity.timing;
        let payload = Payload::Control(Control::Tick(tick));
        match self.complaints.order(payload, timing.request * 2).await {
            // It is executed where it was ordered. Here that shows by the time.
            Ok(proposed) if proposed.result.is_empty() => timing.request,
            // Another member was faster, or the members have changed.
            Ok(proposed) => {
                let why = String::from_utf8_lossy(&proposed.result);
                tracing::debug!(vat = %self.clocks.identity.vat, %why, "a tick was refused");
                timing.heartbeat
            }
            Err(error) => {
                tracing::debug!(vat = %self.clocks.identity.vat, %error, "a tick was not ordered");
                timing.reconcile
            }
        }
    }
}

//! What the replicas of one host share: how many of them hold an election at a time.
//!
//! An election costs every member the syncs of a vote and of a new leader's first entry, and a busy disk makes them late. Hundreds of vats that all look for a leader at once,
//! because the host has just started or another one is gone, would delay each other's elections beyond the time that votes may take, again and again. So the
//! candidates of a host take turns, in the order in which they come.
//!
//! Invariant: a turn decides when a member stands, and nothing else. It ends when there is a leader, when nobody would vote for the member, and in any case when votes
//! have had their time. So members that nobody would elect hold up the others for no longer than it takes to hear so.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::leader::LeaderSeen;
use crate::raft::RaftNode;
use crate::raft::role::Role;

/// See the head of the module. The default sets no bound.
#[derive(Default)]
pub struct Pace {
    elections: Option<Arc<Semaphore>>,
}

/// Taken while an election goes on.
pub(crate) struct Turn(Option<OwnedSemaphorePermit>);

impl Pace {
    /// At most so many replicas, one at least, hold an election at a time.
    pub fn new(elections: usize) -> Pace {
        Pace { elections: Some(Arc::new(Semaphore::new(elections.max(1)))) }
    }

    /// Returns when a replica may stand for election.
    pub(crate) async fn turn(&self) -> Turn {
        let Some(elections) = &self.elections else { return Turn(None) };
        // It is never closed.
        Turn(Arc::clone(elections).acquire_owned().await.ok())
    }
}

impl Turn {
    /// Ends with the election that the replica has just been told to begin in a later term than `term`. `asking`: how long the others may take to say whether they would
    /// vote for it; `voting`: how long votes may take.
    pub(crate) fn ends_with(
        self,
        raft: &RaftNode,
        leader: &Arc<LeaderSeen>,
        term: u64,
        (asking, voting): (Duration, Duration),
    ) {
        if self.0.is_none() {
            return;
        }
        let (raft, leader, began) = (raft.clone(), Arc::clone(leader), Instant::now());
        tokio::spawn(async move {
            let _turn = self;
            let mut watch = raft.watch();
            loop {
                let view = raft.view();
                let leads = view.role == Role::Leader && view.quorum_acknowledged.is_some();
                let follows = leader.at().is_some_and(|at| at > began);
                let until = began + if view.term > term { voting } else { asking };
                if leads || follows || !matches!(timeout_at(until, watch.changed()).await, Ok(true)) {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn so_many_stand_at_a_time_and_the_others_in_the_order_in_which_they_came() {
        let pace = Pace::new(2);
        let turns = [0; 2].map(|_| pace.turn().now_or_never().expect("there is room"));
        let (mut third, mut fourth) = (Box::pin(pace.turn()), Box::pin(pace.turn()));
        assert!(third.as_mut().now_or_never().is_none() && fourth.as_mut().now_or_never().is_none());
        drop(turns);
        assert!(third.now_or_never().is_some());
        assert!(fourth.now_or_never().is_some());
        let unbounded = Pace::default();
        let all: Vec<_> = (0..1_000).map(|_| unbounded.turn().now_or_never()).collect();
        assert!(all.iter().all(Option::is_some));
    }
}

//! Compares, now and then, the leader's header at this member with its headers at the others. A leader that shows two logs is convicted by
//! its own signatures. Statements alone do not reveal it: blocks without commands have no statements.

use std::sync::Arc;

use crate::raft::gate::OrderGate;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::wire::share::ShareClient;

/// What the task uses.
pub(crate) struct LeaderWatch {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) share: ShareClient,
}

impl LeaderWatch {
    /// Shows the header that goes farthest to one of the others after the other, as long as there are new ones, until the replica stops.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let (mut turn, mut left, mut shown) = (0, 0, None);
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = self.lifecycle.pause(self.identity.timing.election_max) => {}
            }
            let members = self.members.view().newest().members.clone();
            let others: Vec<_> = members.into_iter().filter(|member| member.key != self.identity.key).collect();
            let farthest = self.gate.farthest();
            if farthest != shown {
                // Each of the others sees a new one, also when no more come.
                (shown, left) = (farthest, others.len());
            }
            if left == 0 || others.is_empty() {
                continue;
            }
            (turn, left) = ((turn + 1) % others.len(), left - 1);
            let (share, member) = (self.share.clone(), others[turn].clone());
            tokio::spawn(async move { share.compare_leader(&member).await });
        }
    }
}

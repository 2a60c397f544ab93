//! Has followers know the order half a round earlier, where a leader and one follower are enough to prove it (2 of 3).
//!
//! ```text
//!  leader    ──entries──►  follower        both write to their disks at the same time
//!  leader    ──Acknowledged──►  follower   as soon as the leader's log is on its disk: with its own acknowledgement, the follower has the proof
//!  follower  ──acknowledgement──►  leader  and so has the leader
//! ```
//!
//! Without it a follower hears of the proof when the leader has it, and has told openraft. An order certificate proves itself, whoever puts it
//! together. Only what a leader is asked while nothing else is on its way takes this way: otherwise one proof covers many entries.
//!
//! Absent: a promise that it arrives. What is lost the leader tells anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

use crate::raft::gate::OrderGate;
use crate::replica::RaftCell;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use quorate_ids::HostId;
use quorate_order::signed::Ack;
use quorate_order::signing::Signed;

/// See the head of the module.
pub(crate) struct EarlyOrder {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) share: ShareClient,
}

impl EarlyOrder {
    /// As a leader tells, and as a follower tells openraft, until the replica stops.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let (mut ordered, mut own_ack) = (self.gate.follow_order(), self.gate.follow_own_ack());
        let mut telling: BTreeMap<HostId, JoinHandle<()>> = BTreeMap::new();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                changed = own_ack.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if let Some(ack) = *own_ack.borrow_and_update() {
                        self.tell(ack, &mut telling);
                    }
                }
                changed = ordered.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if let Some(raft) = self.raft.get() {
                        raft.commit_proven().await;
                    }
                }
            }
        }
    }

    fn tell(&self, ack: Signed<Ack>, telling: &mut BTreeMap<HostId, JoinHandle<()>>) {
        telling.retain(|_, told| !told.is_finished());
        let members = self.members.view().newest().members.clone();
        for member in members.into_iter().filter(|member| member.key != self.identity.key) {
            // One at a time: a member that is away gets no queue of them.
            let key = member.key;
            telling.entry(key).or_insert_with(|| {
                let share = self.share.clone();
                tokio::spawn(async move { drop(share.exchange(&member, &ShareFrame::Acknowledged(ack)).await) })
            });
        }
    }
}

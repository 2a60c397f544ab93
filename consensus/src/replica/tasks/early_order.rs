//! Has members know the order before their leader tells it: they tell each other what they have acknowledged.
//!
//! ```text
//!  2 of 3    leader ──entries──► follower                      both write to their disks at the same time
//!            leader ──Acknowledged──► follower                 as soon as the leader's log is on its disk: the follower has the proof
//!  3 of 4    leader, followers ──Acknowledged──► followers     with the acknowledgement that goes to the leader
//!  without   follower ──acknowledgement──► leader ──commit──► follower
//! ```
//!
//! An order certificate proves itself, no matter which member puts it together. Members that are far from their leader save one of four ways
//! (3 of 4), or two (2 of 3). Where two are not enough, a leader tells those that are far from it, and a follower that is far from its leader
//! tells all: with a near leader it saves less than it costs. Members tell nothing while more entries are on their way: one proof covers them all.
//!
//! Absent: a promise that it arrives. What is lost the leader tells anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

use crate::proof::membership::Member;
use crate::raft::gate::OrderGate;
use crate::replica::RaftCell;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use quorate_ids::HostId;
use quorate_order::signed::Ack;
use quorate_order::signing::Signed;

/// In a larger vat nobody tells: each would send and check as many as there are members.
const MOST_MEMBERS: usize = 7;
/// A member is far if a frame and its answer take so long.
const FAR: Duration = Duration::from_millis(5);
/// A member that need not be told is told once in so many times, to see how far it is.
const LOOK_AGAIN: u32 = 16;

/// Frames to one member that are under way at most: one that is away gets no queue.
const MOST_UNDER_WAY: usize = 4;

/// The way to another member.
#[derive(Default)]
struct Way {
    under_way: AtomicUsize,
    is_near: AtomicBool,
}

/// Another member, as a receiver.
struct Receiver {
    way: Arc<Way>,
    passed_over: u32,
}

impl Receiver {
    fn new() -> Receiver {
        Receiver { way: Arc::default(), passed_over: LOOK_AGAIN }
    }

    fn is_far(&self) -> bool {
        !self.way.is_near.load(Ordering::SeqCst)
    }

    /// Returns whether it is to be told now.
    fn is_due(&mut self, is_needed: bool) -> bool {
        if self.way.under_way.load(Ordering::SeqCst) >= MOST_UNDER_WAY {
            return false;
        }
        let is_due = is_needed || self.passed_over >= LOOK_AGAIN;
        self.passed_over = if is_due { 0 } else { self.passed_over + 1 };
        is_due
    }
}

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
    /// Tells the others, and tells openraft what is proven, until the replica stops.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let (mut ordered, mut own_ack) = (self.gate.follow_order(), self.gate.follow_own_ack());
        let mut receivers = BTreeMap::new();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                changed = own_ack.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let ack = *own_ack.borrow_and_update();
                    if let Some(ack) = ack {
                        self.tell(ack, &mut receivers);
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

    fn tell(&self, ack: Signed<Ack>, receivers: &mut BTreeMap<HostId, Receiver>) {
        let members = self.members.view().newest().members.clone();
        receivers.retain(|key, _| members.iter().any(|member| member.key == *key));
        if members.len() > MOST_MEMBERS {
            return;
        }
        let (leader, pairs) = self.gate.leader_and_pairs();
        let Some(leader) = leader else { return };
        let leads = leader == self.identity.key;
        if !leads && !pairs.is_empty() {
            // The leader is one of the two.
            return;
        }
        let leader_is_far = !leads && receivers.entry(leader).or_insert_with(Receiver::new).is_far();
        for member in members.into_iter().filter(|member| member.key != self.identity.key) {
            let receiver = receivers.entry(member.key).or_insert_with(Receiver::new);
            let is_due = if leads {
                receiver.is_due(pairs.contains(&member.key) || receiver.is_far())
            } else if member.key == leader {
                // It has it in its answer. This is to see how far it is.
                receiver.is_due(false)
            } else {
                leader_is_far && receiver.is_due(true)
            };
            if is_due {
                self.tell_one(member, ack, Arc::clone(&receiver.way));
            }
        }
    }

    fn tell_one(&self, member: Member, ack: Signed<Ack>, way: Arc<Way>) {
        let share = self.share.clone();
        way.under_way.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let began = Instant::now();
            // One that failed says nothing of the way.
            if share.exchange(&member, &ShareFrame::Acknowledged(ack)).await.is_ok() {
                way.is_near.store(began.elapsed() < FAR, Ordering::SeqCst);
            }
            way.under_way.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

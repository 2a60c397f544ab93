//! Acknowledgements and order certificates: signs acknowledgements of entries, counts them as the leader, and releases entries that wait for them.
//!
//! Invariants: a member acknowledges an entry when it is on disk, in the term of the leader that made it, and one log in each term. No entry is executed
//! before a threshold has acknowledged it, or a checkpoint has certified it.

use tokio::sync::watch;

use super::{OrderGate, State};
use crate::raft::types::is_majority;
use crate::state::LogPosition;
use quorate_ids::HostId;
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, Support};
use quorate_order::refusal::{Refusal, VoteRefused};
use quorate_order::signed::Ack;
use quorate_order::signing::Signed;

/// Acknowledgements in one answer.
const MAX_ACKS: usize = 64;

impl OrderGate {
    /// Notes that a leader's entries are on disk up to this index. Returns the answer to the leader.
    pub(crate) fn acknowledge(&self, flushed: Option<u64>) -> Vec<Signed<Ack>> {
        if let Some(flushed) = flushed {
            self.step(|member, step| member.flushed_through(flushed, step));
        }
        let mut state = self.lock();
        let term = state.member.term().0;
        let mut acks = std::mem::take(&mut state.acks);
        acks.retain(|ack| ack.content.term == term);
        acks.split_off(acks.len().saturating_sub(MAX_ACKS))
    }

    /// The own log is on disk up to this index. It matters to a leader.
    pub(in crate::raft) fn flushed(&self, upto: u64) {
        self.step(|member, step| member.flushed_own(upto, step));
    }

    /// Entries were executed up to this index: who is a member then is known.
    pub(in crate::raft) fn executed(&self, upto: u64) {
        {
            let mut state = self.lock();
            state.executed = upto.max(state.executed);
            state.turns.retain(|(index, ..)| *index > upto);
        }
        self.recount();
    }

    /// Other members may count than before.
    pub(crate) fn recount(&self) {
        self.step(|member, step| member.recount(step));
    }

    /// Takes in what a member acknowledges to this leader. What does not count is left out.
    pub(in crate::raft) fn acked(&self, by: &HostId, acks: &[Signed<Ack>]) {
        for ack in acks.iter().take(MAX_ACKS).filter(|ack| ack.by == *by) {
            self.step(|member, step| {
                if member.acked(*ack, step).is_ok() {
                    member.acknowledge_own(ack.content.index, step);
                }
            });
        }
    }

    /// Follows what this member tells the others that it has acknowledged.
    pub(crate) fn follow_own_ack(&self) -> watch::Receiver<Option<Signed<Ack>>> {
        self.own_ack.subscribe()
    }

    /// Returns whether a follower proves the order up to this index by itself: it hears what this leader has on its own disk.
    pub(in crate::raft) fn is_told_early(&self, follower: &HostId, index: u64) -> bool {
        // Apart: what is told is replaced under the lock.
        let told = *self.own_ack.borrow();
        let state = self.lock();
        let is_told = told.is_some_and(|ack| ack.content.term == state.member.term().0 && ack.content.index >= index);
        is_told && self.is_pair(&state, follower)
    }

    /// Another member tells what it has acknowledged. What does not count changes nothing.
    pub(crate) fn overheard(&self, ack: Signed<Ack>) {
        self.step(|member, step| {
            let _ = member.overheard(ack, step);
        });
    }

    /// Returns who leads, and with which members this one alone is enough to prove an order, and to commit.
    pub(crate) fn leader_and_pairs(&self) -> (Option<HostId>, Vec<HostId>) {
        let state = self.lock();
        let others = state.member.epoch().members.iter().filter(|other| self.is_pair(&state, other));
        (state.member.term().1, others.copied().collect())
    }

    fn is_pair(&self, state: &State, other: &HostId) -> bool {
        let epoch = state.member.epoch();
        !epoch.is_changing() && is_majority(2, epoch.members.len()) && epoch.orders(&[self.own, *other])
    }

    /// Returns the last place whose order acknowledgements prove in a term, if that is the present one; and whose they are.
    pub(in crate::raft) fn proven_in(&self, term: u64) -> Option<(LogPosition, Vec<HostId>)> {
        let state = self.lock();
        let order = &state.member.durable().order;
        let of_it = state.member.term().0 == term && order.position.term == term;
        let point = state.member.durable().log.point(state.member.clamp(u64::MAX)).filter(|_| of_it)?;
        let Support::Acks(acks) = &order.support else { return None };
        let signers = acks.iter().map(|(signer, _)| *signer).collect();
        Some((LogPosition { term: point.term, index: point.index }, signers))
    }

    /// Returns whether an order certificate that would be new here has signatures of those who are not known as members. (Yet: the sender can
    /// prove that they are.)
    pub(crate) fn is_strange(&self, order: &OrderCertificate) -> bool {
        let state = self.lock();
        let (Support::Acks(signatures) | Support::Shares(_, signatures)) = &order.support else { return false };
        let epoch = state.member.epoch();
        order.position > state.member.durable().order.position
            && signatures.iter().any(|(signer, _)| !epoch.contains(signer))
    }

    /// Takes in a higher order certificate of a voter that gave no vote.
    pub(in crate::raft) fn refused(&self, term: u64, better: OrderCertificate) {
        self.step(|member, step| {
            let refused = VoteRefused { term, order: Some(better) };
            let order = refused.order.clone();
            if member.refused(refused, step).is_err() {
                // It only asked whether it would be elected.
                let _ = order.map(|order| member.learn(order, step));
            }
        });
    }

    /// Returns what of a leader's commit index openraft may hear.
    pub(crate) fn clamp(&self, commit: Option<LogPosition>) -> Option<LogPosition> {
        let commit = commit?;
        let state = self.lock();
        let index = state.member.clamp(commit.index);
        match state.member.durable().log.point(index) {
            // Its term is what the log says, which may have been replaced since.
            Some(point) => Some(LogPosition { term: point.term, index }),
            // What is before the log's beginning is certified.
            None => Some(commit).filter(|commit| commit.index == index),
        }
    }

    /// Up to where the order is proven.
    pub(crate) fn ordered(&self) -> u64 {
        self.lock().member.clamp(u64::MAX)
    }

    /// Follows up to where the order is proven.
    pub(crate) fn follow_order(&self) -> watch::Receiver<u64> {
        self.ordered.subscribe()
    }

    /// What this member would show as a candidate.
    pub(in crate::raft) fn would_stand(&self, term: u64) -> Stand {
        self.lock().member.would_stand(term)
    }

    /// Returns whether this member has voted in a term: for itself or for another.
    pub(in crate::raft) fn has_voted(&self, term: u64) -> bool {
        let state = self.lock();
        let vote = &state.member.durable().vote;
        vote.term == term && vote.grant.is_some()
    }

    /// Returns whether these members and this one elect a leader.
    pub(in crate::raft) fn would_be_elected(&self, willing: &[HostId]) -> bool {
        let voters: Vec<HostId> = willing.iter().copied().filter(|by| *by != self.own).chain([self.own]).collect();
        self.lock().member.epoch().suffices(&voters)
    }

    /// Returns whether a candidate would get a vote, as far as its proof and its log go. The error: what it should know first, if anything.
    pub(crate) fn would_vote(&self, stand: &Stand) -> Result<(), Option<Box<OrderCertificate>>> {
        self.lock().member.would_vote(stand).map_err(|refusal| match refusal {
            Refusal::BetterOrder(order) => Some(order),
            _ => None,
        })
    }
}

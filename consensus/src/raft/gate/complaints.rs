//! Complaints of a leader: signs them, counts them, and ends the term when a threshold has complained.
//!
//! Invariants: a threshold of complaints ends a term here, and fewer change nothing. Openraft sees no frame of a leader that this member has left. Such
//! a leader may be elected again, later than others, by the caller's clock. When to complain: `replica::tasks::complaints`.

use std::sync::atomic::Ordering;

use super::OrderGate;
use quorate_ids::{Hash, HostId};
use quorate_order::proofs::{OrderCertificate, TermProof};
use quorate_order::refusal::Refusal;
use quorate_order::signed::{Complaint, Lead, Reason};
use quorate_order::signing::Signed;

impl OrderGate {
    /// The present term, and its leader once its election was shown.
    pub(crate) fn term(&self) -> (u64, Option<HostId>) {
        self.lock().member.term()
    }

    /// Complains of the present leader. Nothing happens if none is known.
    pub(crate) fn complain(&self, reason: Reason) {
        self.step(|member, step| {
            // It fails only where nobody can be complained of.
            let _ = member.complain(reason, step);
        });
    }

    /// Signs a complaint of the leader that was elected in an earlier term, if nobody is followed in the present one.
    pub(crate) fn complain_of_earlier(&self, proof: &TermProof) -> Option<Signed<Complaint>> {
        if !self.proves(proof) {
            return None;
        }
        let of = (proof.term, proof.leader);
        self.step(|member, step| member.complain_of_earlier(of, Reason::NoOrder, step).ok()).0
    }

    /// Takes in another member's complaint.
    ///
    /// # Errors
    /// It is not of the present leader, or not signed by a member.
    pub(crate) fn complained(&self, complaint: Signed<Complaint>) -> Result<(), Refusal> {
        self.step(|member, step| member.complaint(complaint, step)).0
    }

    /// Takes in the complaints that ended the present term at another member.
    ///
    /// # Errors
    /// They don't end it.
    pub(crate) fn ended(&self, complaints: Vec<Signed<Complaint>>) -> Result<(), Refusal> {
        self.step(|member, step| member.ended(complaints, step)).0
    }

    /// Returns the complaints that ended the present term here; none if it goes on.
    pub(crate) fn ended_by(&self) -> Vec<Signed<Complaint>> {
        self.lock().member.ended_by().to_vec()
    }

    /// The complaint that is to be sent to the others. It is given out once.
    pub(crate) fn take_complaint(&self) -> Option<Signed<Complaint>> {
        let mut state = self.lock();
        let term = state.member.term().0;
        state.complaint.take().filter(|complaint| complaint.content.term == term)
    }

    /// Returns why this member complains of the present leader, if it does.
    pub(crate) fn complains(&self) -> Option<Reason> {
        self.lock().member.complains()
    }

    /// Returns how many leaders were left since the replica began.
    pub(crate) fn leaders_left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Returns whether a threshold has complained of the present leader.
    pub(crate) fn has_left(&self) -> bool {
        self.lock().member.has_left()
    }

    /// Returns whether a threshold has complained of the leader of this term.
    pub(in crate::raft) fn is_left(&self, term: u64) -> bool {
        let state = self.lock();
        state.member.term().0 == term && state.member.has_left()
    }

    /// Returns whether votes for a member are delayed: it is among the last leaders that were left.
    pub(crate) fn is_delayed(&self, candidate: &HostId) -> bool {
        self.lock().member.delay(candidate) > 0
    }

    /// Returns how often this member's patience with leaders has doubled.
    pub(crate) fn doublings(&self) -> u32 {
        self.lock().member.doublings()
    }

    /// Something that this member wanted is ordered.
    pub(crate) fn command_ordered(&self, command: &Hash) {
        self.lock().member.ordered(command);
    }

    /// The order, or what is certified, has come farther.
    pub(crate) fn progressed(&self) {
        self.lock().member.progressed();
    }

    /// A change of members has come a step farther, or is over.
    pub(crate) fn changed(&self) {
        self.lock().member.changed();
    }

    /// Returns how far the log of the member that shows this header goes, if the header is the present leader's.
    pub(crate) fn led_to(&self, lead: &Signed<Lead>) -> Option<u64> {
        let is_present = self.term() == (lead.content.term, Some(lead.by));
        let is_good = is_present && lead.verifies(&self.store.vat(), &self.keys);
        is_good.then_some(lead.content.last)
    }

    /// The vat goes on, and nothing is wanted here.
    pub(crate) fn eased(&self) {
        self.lock().member.eased();
    }

    /// Up to where the order is proven here, and where the log ends.
    pub(crate) fn reach(&self) -> (u64, u64) {
        let state = self.lock();
        (state.member.clamp(u64::MAX), state.member.durable().log.last().index)
    }

    /// The chain of the log up to an index; none where the log does not go, or has been cut.
    pub(crate) fn chain_at(&self, index: u64) -> Option<Hash> {
        self.lock().member.durable().log.point(index).map(|point| point.chain)
    }

    /// The highest order certificate here, if it proves more than up to `index`.
    pub(crate) fn order_beyond(&self, index: u64) -> Option<Box<OrderCertificate>> {
        let state = self.lock();
        let order = &state.member.durable().order;
        (order.position.index > index).then(|| Box::new(order.clone()))
    }

    /// Takes in an order certificate that a member sends because this one lacks it. One that proves nothing changes nothing.
    pub(crate) fn learn(&self, order: OrderCertificate) {
        if !self.is_strange(&order) {
            self.step(|member, step| {
                let _ = member.learn(order, step);
            });
        }
    }

    pub(super) fn leave(&self, term: u64, leader: &HostId) {
        self.left.fetch_add(1, Ordering::SeqCst);
        let vat = self.store.vat();
        tracing::warn!(%vat, term, %leader, "Q-C052 a threshold of the members has left the leader: another one is elected");
    }
}

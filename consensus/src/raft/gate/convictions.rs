//! Members convicted of breaking the rules of the order, and the consequences here.
//!
//! Invariants: only [`Evidence`] that verifies counts. A member convicted in a term leads no term up to that one, for this
//! member. (An honest member is never convicted, so this bars no honest leader.) It may be elected again, since it
//! may be the only member with a log that all can follow; how much later: `replica::wire::append`. If a member refuses a vote because it follows such a
//! leader, this member sends it the evidence: it may have been away when the others got it.

use std::collections::BTreeMap;

use super::OrderGate;
use crate::proof::order_evidence::OrderEvidence;
use quorate_ids::HostId;
use quorate_order::chain::{Head, Point};
use quorate_order::evidence::{Evidence, NoEvidence};
use quorate_order::signed::Lead;
use quorate_order::signing::Signed;

impl OrderGate {
    /// The header of the present leader that goes farthest here; or of what it sent and was refused, since it contradicts what is ordered:
    /// others, who have its log as it should be, can convict it with that.
    pub(crate) fn farthest(&self) -> Option<Signed<Lead>> {
        let state = self.lock();
        let (term, leader) = state.member.term();
        let denied = state.denied.as_ref().map(|denied| denied.lead);
        let denied = denied.filter(|lead| (lead.content.term, Some(lead.by)) == (term, leader));
        denied.or_else(|| state.member.farthest())
    }

    /// Holds the header that another member was sent against the log here. Returns what both prove together, if they are of two logs.
    pub(crate) fn shown(&self, lead: &Signed<Lead>) -> Option<OrderEvidence> {
        let (evidence, _) = self.step(|member, step| member.against(lead, step));
        let denied = || self.lock().denied.as_ref().and_then(|denied| denied.against(lead));
        let evidence = OrderEvidence { vat: self.store.vat(), evidence: evidence.or_else(denied)? };
        self.convict(evidence.clone()).ok().map(|_| evidence)
    }

    /// Takes in what convicts a member, and returns which. It is kept, and the others are told.
    ///
    /// # Errors
    /// It proves nothing.
    pub(crate) fn convict(&self, evidence: OrderEvidence) -> Result<HostId, NoEvidence> {
        let guilty = {
            let state = self.lock();
            evidence.evidence.verify(state.member.epoch(), &self.keys)?
        };
        self.convicted(evidence);
        Ok(guilty)
    }

    /// What was found here: it is proven.
    pub(super) fn found(&self, evidence: Evidence) {
        self.convicted(OrderEvidence { vat: self.store.vat(), evidence });
    }

    fn convicted(&self, evidence: OrderEvidence) {
        let guilty = evidence.evidence.accused();
        if guilty != self.own {
            note(&mut self.lock().convicted, evidence.clone());
        }
        (self.convictions)(evidence);
    }

    /// Returns whether a member is convicted of anything.
    pub(crate) fn is_convicted(&self, member: &HostId) -> bool {
        self.lock().convicted.contains_key(member)
    }

    /// What shows that a member is not to lead this term, if it is convicted.
    pub(in crate::raft) fn convicting(&self, leader: &HostId, term: u64) -> Option<OrderEvidence> {
        self.lock().convicted.get(leader).filter(|of| term <= of.term()).cloned()
    }
}

/// Entries that a leader sent and this member refused.
pub(super) struct Denied {
    pub(super) lead: Signed<Lead>,
    pub(super) prev: Point,
    pub(super) heads: Vec<Head>,
}

impl Denied {
    /// Returns what these entries prove together with a header that does not go as far, perhaps: nothing is checked.
    fn against(&self, shown: &Signed<Lead>) -> Option<Evidence> {
        let common = usize::try_from(shown.content.last.checked_sub(self.prev.index)?).ok()?;
        let (before, heads) = self.heads.split_at_checked(common)?;
        let before = self.prev.after(before).chain;
        Some(Evidence::Headers { first: *shown, second: self.lead, before, heads: heads.to_vec() })
    }
}

/// Of each member what convicts it of the latest term is kept in mind.
pub(super) fn note(convicted: &mut BTreeMap<HostId, OrderEvidence>, evidence: OrderEvidence) {
    let known = convicted.get(&evidence.evidence.accused()).map(OrderEvidence::term);
    if known.is_none_or(|known| known < evidence.term()) {
        convicted.insert(evidence.evidence.accused(), evidence);
    }
}

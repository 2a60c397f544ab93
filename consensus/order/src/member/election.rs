//! GRANT: standing for election, and voting.
//!
//! Invariants: a candidate shows the order certificate that its own log holds; a voter that holds a higher one refuses and sends it; a
//! vote states the voter's position, and is on disk before it leaves; one vote for each term, ever. A leader has `t` votes.

use super::{MAX_TERMS_AHEAD, Member, Message, Output, Role, Step, To, Vote, Write};
use crate::proofs::{OrderCertificate, TermProof};
use crate::refusal::{Refusal, VoteRefused};
use crate::signed::Grant;
use crate::signing::Signed;
use quorate_ids::HostId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A candidate asks for votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The epoch.
    pub epoch: u64,
    /// The term.
    pub term: u64,
    /// Its highest order certificate.
    pub order: OrderCertificate,
    /// Term and index of its last entry. Nothing proves them: they only break ties.
    pub last: (u64, u64),
}

impl Member {
    /// The term to stand in next: after the own one, and after those that voters named when they refused.
    pub fn next_term(&self) -> u64 {
        self.durable.vote.term.max(self.term_seen).saturating_add(1)
    }

    /// Stands for election in a term, [`Member::next_term`] or the later one that openraft has chosen, and votes for itself.
    ///
    /// # Errors
    /// The member has voted in that term or a later one, or has stopped.
    pub fn stand(&mut self, term: u64, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        let present = self.durable.vote.term;
        if term <= present {
            return Err(Refusal::OldTerm { found: term, present });
        }
        let (base, last) = (self.durable.order.clone(), self.durable.log.last());
        let grant = self.own_grant(term, self.own);
        self.enter(Vote { term, grant: Some(grant), leader: None }, step);
        let signed = self.sign(grant, step);
        self.role = Role::Candidate { base: base.clone(), grants: Vec::new() };
        let stand = Stand { epoch: self.epoch.number, term, order: base, last: (last.term, last.index) };
        step.send(To::All, Message::Stand(stand), true);
        self.granted(signed, step)
    }

    fn own_grant(&self, term: u64, candidate: HostId) -> Grant {
        let (position, since) = (self.durable.order.position, self.durable.since);
        Grant { epoch: self.epoch.number, term, candidate, position, since }
    }

    /// Votes for `candidate`, which the connection names, or refuses and sends what it should know. `leased`: the caller has heard
    /// from the leader of the present term within its lease. A vote that is to be delayed, see [`Member::delay`], is the caller's to delay.
    ///
    /// # Errors
    /// Why no vote was given.
    pub fn vote(
        &mut self,
        candidate: &HostId,
        stand: &Stand,
        leased: bool,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        let result = self.consider(candidate, stand, leased, step);
        match &result {
            Err(Refusal::Stopped | Refusal::NotTheSender(_) | Refusal::BadProof(_) | Refusal::OtherEpoch { .. })
            | Ok(()) => {}
            Err(refusal) => {
                let order = match refusal {
                    Refusal::BetterOrder(order) if !planted!(RefusalWithoutOrder) => {
                        Some(OrderCertificate::clone(order))
                    }
                    _ => None,
                };
                let refused = VoteRefused { term: self.durable.vote.term, order };
                step.send(To::One(*candidate), Message::Refused(refused), true);
            }
        }
        result
    }

    fn consider(
        &mut self,
        candidate: &HostId,
        stand: &Stand,
        leased: bool,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        self.running()?;
        if stand.epoch != self.epoch.number {
            return Err(Refusal::OtherEpoch { found: stand.epoch, expected: self.epoch.number });
        }
        if !self.epoch.contains(candidate) || *candidate == self.own {
            return Err(Refusal::NotTheSender(*candidate));
        }
        let Vote { term: present, grant, leader } = self.durable.vote;
        if stand.term > present.saturating_add(MAX_TERMS_AHEAD) {
            return Err(Refusal::TermTooFar { found: stand.term, present });
        }
        if stand.term == present
            && let Some(grant) = grant
        {
            if grant.candidate != *candidate {
                return Err(Refusal::Voted { term: present, candidate: grant.candidate });
            }
            // It did not arrive, or the power was cut. The vote is the same.
            let signed = self.sign(grant, step);
            step.send(To::One(*candidate), Message::Grant(signed), true);
            return Ok(());
        }
        // A member that came into a term by a checkpoint has not signed anything in it, and still has its vote.
        if stand.term < present || (stand.term == present && leader.is_some()) {
            return Err(Refusal::OldTerm { found: stand.term, present });
        }
        if leased && leader.is_some() && self.complaints.left != Some(present) {
            return Err(Refusal::LeaderAlive { term: present });
        }
        if planted!(BanAsRefusal) && self.delay(candidate) > 0 {
            return Err(Refusal::LongerLog);
        }
        if stand.order.position > self.durable.order.position {
            stand.order.verify(&self.epoch, step.signing)?;
            self.adopt(stand.order.clone(), step);
        }
        self.compare(stand)?;
        let grant = self.own_grant(stand.term, *candidate);
        self.enter(Vote { term: stand.term, grant: Some(grant), leader: None }, step);
        let signed = self.sign(grant, step);
        step.send(To::One(*candidate), Message::Grant(signed), !planted!(GrantUnsynced));
        Ok(())
    }

    /// Proofs go first; logs break ties, which keeps Raft's guarantee where nobody lies.
    pub(super) fn compare(&self, stand: &Stand) -> Result<(), Refusal> {
        let (own, last) = (self.durable.order.position, self.durable.log.last());
        let shorter = stand.last < (last.term, last.index);
        if planted!(RaftOrder) {
            return if shorter { Err(Refusal::LongerLog) } else { Ok(()) };
        }
        if stand.order.position < own {
            return Err(Refusal::BetterOrder(Box::new(self.durable.order.clone())));
        }
        if stand.order.position == own && shorter { Err(Refusal::LongerLog) } else { Ok(()) }
    }

    /// Takes in a vote; `t` of them make this member the leader.
    ///
    /// # Errors
    /// It does not count. A voter that states more than this candidate has shown is none: the base could not be below it.
    pub fn granted(&mut self, grant: Signed<Grant>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.authentic(&grant, grant.content.epoch, step)?;
        let term = self.durable.vote.term;
        let epoch = Arc::clone(&self.epoch);
        let Role::Candidate { base, grants } = &mut self.role else { return Err(Refusal::Unknown) };
        let Grant { candidate, position, .. } = grant.content;
        if grant.content.term != term || candidate != self.own {
            return Err(Refusal::Unknown);
        }
        if position > base.position && !planted!(RaftOrder) {
            return Err(Refusal::Unknown);
        }
        if grants.iter().all(|known| known.by != grant.by) {
            grants.push(grant);
        }
        let voters: Vec<HostId> = grants.iter().map(|known| known.by).collect();
        let majority = epoch.members.len() / 2 + 1;
        let elected = if planted!(MajorityElects) { voters.len() >= majority } else { epoch.suffices(&voters) };
        if !elected {
            return Ok(());
        }
        let proof = TermProof { term, leader: self.own, grants: grants.clone(), base: base.clone() };
        self.role = Role::Leader { acks: BTreeMap::new() };
        self.proof = Some(proof.clone());
        let vote = Vote { leader: Some(self.own), ..self.durable.vote.clone() };
        self.write(Write::Vote(vote), step);
        step.outputs.push(Output::Elected(proof));
        Ok(())
    }

    /// Takes in a refusal: a better order certificate, and a term, which is only the voter's word and counts for the next try alone.
    ///
    /// # Errors
    /// What it carries proves nothing.
    pub fn refused(&mut self, refused: VoteRefused, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        if !matches!(self.role, Role::Candidate { .. }) {
            return Err(Refusal::Unknown);
        }
        let most = self.durable.vote.term.saturating_add(MAX_TERMS_AHEAD);
        self.term_seen = self.term_seen.max(refused.term.min(most));
        refused.order.map_or(Ok(()), |order| self.learn(order, step))
    }
}

//! What a member's log follows that is kept elsewhere: openraft's own log is the truth, and this one mirrors it.
//!
//! Absent: proofs. The caller has them, or is the log itself. None of it signs anything.

use super::{Member, Role, Stand, Step, Vote, Write};
use crate::chain::{Head, Point};
use crate::epoch::Epoch;
use crate::evidence::{Evidence, MAX_LINKS};
use crate::proofs::{OrderCertificate, TermProof};
use crate::refusal::Refusal;
use crate::signed::Lead;
use crate::signing::Signed;
use quorate_ids::HostId;
use std::sync::Arc;

impl Member {
    /// Other members count from now on, in the same epoch and log.
    pub fn set_epoch(&mut self, epoch: Arc<Epoch>) {
        self.epoch = epoch;
    }

    /// The proof of the present term, if this member leads it or was shown it.
    pub fn proof(&self) -> Option<&TermProof> {
        self.proof.as_ref()
    }

    /// The header of a leader whose entries, or question, end at this index. The same for all followers.
    ///
    /// # Errors
    /// This member does not lead, or its log does not go there.
    pub fn header(&self, last: u64, step: &Step<'_>) -> Result<Signed<Lead>, Refusal> {
        self.running()?;
        let point = self.durable.log.point(last).ok_or(Refusal::Unknown)?;
        if !self.leads() {
            return Err(Refusal::NotLeading);
        }
        let term = self.durable.vote.term;
        Ok(self.sign(Lead { epoch: self.epoch.number, term, last, chain: point.chain }, step))
    }

    /// The header of the present term's leader that goes farthest here.
    pub fn farthest(&self) -> Option<Signed<Lead>> {
        self.header
    }

    /// Returns what the header that another member was sent proves together with the one that goes farthest here. None: they are of one log,
    /// or of two leaders or terms, or the log here does not go as far. The signatures are checked.
    pub fn against(&self, shown: &Signed<Lead>, step: &Step<'_>) -> Option<Evidence> {
        let own = self.header?;
        let (log, to) = (&self.durable.log, own.content.last);
        let of = |lead: &Signed<Lead>| (lead.by, lead.content.epoch, lead.content.term);
        if of(shown) != of(&own) || !log.holds(to, &own.content.chain) {
            return None;
        }
        let from = log.point(shown.content.last)?;
        let count = usize::try_from(to.checked_sub(from.index)?).ok().filter(|count| *count <= MAX_LINKS)?;
        let heads = log.heads(from.index + 1, count);
        let evidence = Evidence::Headers { first: *shown, second: own, before: from.chain, heads };
        evidence.verify(&self.epoch, step.signing).is_ok().then_some(evidence)
    }

    /// The log has this entry now, and nothing behind it. Does nothing if it is the same here.
    pub fn mirrored(&mut self, point: &Point, head: Head, step: &mut Step<'_>) {
        let log = &self.durable.log;
        if log.holds(point.index, &point.chain) || point.index <= log.root().index {
            return;
        }
        if self.leads() && log.last().index + 1 == point.index && self.propose(head.content, step).is_ok() {
            // What is acknowledged of it is chosen later: few indexes of many. See `acknowledge_own`.
            self.wanted.retain(|wanted| *wanted != point.index);
            return;
        }
        self.cut(point.index);
        self.write(Write::Entries { from: point.index, heads: vec![head] }, step);
    }

    /// The log ends at this index: what was taken in beyond it has not come there.
    pub fn trimmed(&mut self, last: u64, step: &mut Step<'_>) {
        let log = &self.durable.log;
        if last < log.last().index && last >= log.root().index {
            self.cut(last + 1);
            self.write(Write::Entries { from: last + 1, heads: Vec::new() }, step);
        }
    }

    /// The log begins at this point from now on, which is final. What follows stays if the point is on the log. If it is not, and
    /// entries of the present term go that may have been acknowledged, the term is left for good.
    pub fn purged(&mut self, root: Point, step: &mut Step<'_>) {
        let log = &self.durable.log;
        if root.index < log.root().index || root == log.root() {
            return;
        }
        if !log.holds(root.index, &root.chain) {
            let (last, term) = (log.last(), self.durable.vote.term);
            if last.index >= root.index && last.term == term {
                self.forget_term();
                self.write(Write::Vote(Vote { term: term.saturating_add(1), grant: None, leader: None }), step);
            }
            self.cut(root.index);
            if self.durable.order.position.index >= root.index {
                self.write(Write::Order(OrderCertificate::root(&self.epoch)), step);
            }
            self.stage = None;
        }
        self.durable.log.purge(root);
        self.durable.certified = self.durable.certified.max(root.index);
        self.executed = self.executed.max(root.index);
        self.flushed = self.flushed.max(root.index);
    }

    /// Takes in what a leader says beside entries: its order certificate, and an index that it wants acknowledged. The leader is the
    /// present one, and its election was shown.
    pub fn hear(&mut self, order: Option<OrderCertificate>, mark: Option<u64>, step: &mut Step<'_>) {
        // One that proves nothing costs the leader nothing but its own progress.
        let _ = order.map(|order| self.learn(order, step));
        mark.into_iter().for_each(|mark| self.want(mark));
        self.acknowledge(step);
    }

    /// A leader acknowledges an entry of its own log, as soon as it is on its disk.
    pub fn acknowledge_own(&mut self, index: u64, step: &mut Step<'_>) {
        let Role::Leader { acks } = &self.role else { return };
        let given = acks.get(&index).is_some_and(|acks| acks.iter().any(|(signer, _)| *signer == self.own));
        if !given && !self.is_proven(index) {
            self.want(index);
            self.acknowledge(step);
        }
    }

    /// The log is on disk up to this index, and perhaps farther, as was said before.
    pub fn flushed_through(&mut self, upto: u64, step: &mut Step<'_>) {
        let before = self.own_ack;
        self.flushed(upto.max(self.flushed), step);
        self.tell_own_ack(before, step);
    }

    /// The log is on disk up to this index, at the leader, which never cuts what came in its term.
    pub fn flushed_own(&mut self, upto: u64, step: &mut Step<'_>) {
        if self.leads() && upto > self.flushed {
            let before = self.own_ack;
            self.flushed(upto, step);
            self.acknowledge_own(upto, step);
            self.tell_own_ack(before, step);
        }
    }

    /// Returns what a candidate would show of itself in a term.
    pub fn would_stand(&self, term: u64) -> Stand {
        let last = self.durable.log.last();
        Stand { epoch: self.epoch.number, term, order: self.durable.order.clone(), last: (last.term, last.index) }
    }

    /// Returns whether a candidate that shows this of itself would get a vote, as far as its proof and log go. Nothing it shows is checked.
    ///
    /// # Errors
    /// Why it would not.
    pub fn would_vote(&self, stand: &Stand) -> Result<(), Refusal> {
        self.running()?;
        self.compare(stand)
    }

    /// A later term has begun, in which this member has signed nothing and follows nobody yet.
    pub fn noticed(&mut self, term: u64, step: &mut Step<'_>) {
        if term > self.durable.vote.term {
            self.enter(Vote { term, grant: None, leader: None }, step);
        }
    }

    /// Returns whether a member leads the present term, and its election was shown.
    pub fn follows(&self, leader: &HostId, term: u64) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.term == term && proof.leader == *leader)
            && self.durable.vote.term == term
    }
}

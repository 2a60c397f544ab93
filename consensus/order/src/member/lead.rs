//! HEADER and OC: what a leader does. It adds entries to its log, signs how far it sends them, and counts acknowledgements.
//!
//! Invariants: a leader only ever adds to its log, and never after a restart, so all its headers are of one log.

use super::append::acknowledged;
use super::{Append, Member, Message, Role, Step, To, Write};
use crate::chain::{Head, Point};
use crate::evidence::{Evidence, acks_contradict};
use crate::refusal::Refusal;
use crate::signed::{Ack, Lead};
use crate::signing::Signed;
use quorate_ids::{Hash, HostId};

impl Member {
    /// Adds an entry, given the hash of what it holds, and returns its place. Openraft appends it.
    ///
    /// # Errors
    /// This member does not lead the present term, has left it, or the epoch ends before it.
    pub fn propose(&mut self, content: Hash, step: &mut Step<'_>) -> Result<Point, Refusal> {
        self.running()?;
        let term = self.durable.vote.term;
        if !self.leads() || self.complaints.left == Some(term) {
            return Err(Refusal::NotLeading);
        }
        let from = self.durable.log.last().index + 1;
        self.write(Write::Entries { from, heads: vec![Head { term, content }] }, step);
        self.want(from);
        Ok(self.durable.log.last())
    }

    /// Entries from an index on for one follower, at most `most`, signed. The proof of the term goes along if asked for.
    ///
    /// # Errors
    /// This member does not lead, or what is before the index is not in its log any more: then the follower needs a checkpoint.
    pub fn append_from(&self, from: u64, most: usize, with_proof: bool, step: &Step<'_>) -> Result<Append, Refusal> {
        self.running()?;
        if !self.leads() {
            return Err(Refusal::NotLeading);
        }
        let log = &self.durable.log;
        let prev = from.checked_sub(1).and_then(|prev| log.point(prev));
        let Some(prev) = prev else { return Err(Refusal::BelowRoot { root: log.root().index }) };
        let heads = log.heads(from, most);
        let last = prev.after(&heads);
        let lead = Lead { epoch: self.epoch.number, term: self.durable.vote.term, last: last.index, chain: last.chain };
        Ok(Append {
            lead: self.sign(lead, step),
            prev,
            heads,
            mark: None,
            order: Some(self.durable.order.clone()),
            proof: self.proof.clone().filter(|_| with_proof),
        })
    }

    /// Takes in an acknowledgement; `t` of them for one place of one log make an order certificate.
    ///
    /// # Errors
    /// It does not count.
    pub fn acked(&mut self, ack: Signed<Ack>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.authentic(&ack, ack.content.epoch, step)?;
        let Ack { epoch, term, index, chain } = ack.content;
        if !self.durable.log.holds(index, &chain) || term != self.durable.vote.term {
            return Err(Refusal::Unknown);
        }
        if self.is_proven(index) {
            return Ok(());
        }
        let Role::Leader { acks } = &mut self.role else { return Err(Refusal::NotLeading) };
        let found = acks.entry(index).or_default();
        if found.iter().all(|(signer, _)| *signer != ack.by) {
            found.push((ack.by, ack.signature));
        }
        self.count_acks(epoch, index, step);
        Ok(())
    }

    /// Makes an order certificate of the acknowledgements of an entry, if it is of more worth than the one that is there. As long as it does not
    /// prove the order up to the entry itself, more acknowledgements may come.
    fn count_acks(&mut self, epoch: u64, index: u64, step: &mut Step<'_>) {
        let term = self.durable.vote.term;
        let Some(chain) = self.durable.log.point(index).map(|point| point.chain) else { return };
        let Role::Leader { acks } = &self.role else { return };
        let Some(found) = acks.get(&index) else { return };
        let signers: Vec<HostId> = found.iter().map(|(signer, _)| *signer).collect();
        let reach = self.epoch.reach(&signers, index);
        if reach == 0 {
            return;
        }
        let order = acknowledged(Ack { epoch, term, index, chain }, found.clone());
        if !self.is_better(&order) {
            return;
        }
        if let Role::Leader { acks } = &mut self.role {
            *acks = acks.split_off(&if reach == index { index + 1 } else { index });
        }
        self.adopt(order.clone(), step);
        step.send(To::All, Message::Order(order), false);
    }

    /// Counts again what was acknowledged to this leader: other members may count now.
    pub fn recount(&mut self, step: &mut Step<'_>) {
        let Role::Leader { acks } = &self.role else { return };
        let indexes: Vec<u64> = acks.keys().copied().collect();
        let epoch = self.epoch.number;
        indexes.into_iter().for_each(|index| self.count_acks(epoch, index, step));
        self.acknowledge_own(self.flushed, step);
    }

    /// Returns the evidence that two acknowledgements make together, if they convict their signer.
    pub fn compare_acks(&self, one: &Signed<Ack>, other: &Signed<Ack>) -> Option<Evidence> {
        let both = one.by == other.by && acks_contradict(&one.content, &other.content);
        both.then_some(Evidence::Acks(*one, *other))
    }
}

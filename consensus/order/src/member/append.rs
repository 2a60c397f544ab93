//! ON APPEND, STAGE, REOPEN and ACK: what a follower does with a leader's entries before openraft sees them.
//!
//! Invariants: no entry is taken from a leader whose election was not shown; none of the leader's term without the base of its
//! election; entries without proof cut nothing that an order certificate covers, and never a certified block.

use super::{Fault, Member, Message, Output, Role, Stage, Step, To, Vote, Write};
use crate::chain::{Head, Point};
use crate::evidence::Evidence;
use crate::proofs::{OrderCertificate, Support, TermProof};
use crate::refusal::Refusal;
use crate::signed::{Ack, Lead, Position};
use crate::signing::{Signature, Signed};
use quorate_ids::HostId;
use serde::{Deserialize, Serialize};

/// Most entries that wait for their base. An honest leader's tail beyond what is certified is shorter: it stops taking commands.
pub const MAX_STAGED: usize = 1 << 16;
/// Most acknowledgements that wait for the disk.
const MAX_WANTED: usize = 64;

/// Entries of a leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// HEADER: the last of the entries, or `prev` if there are none, signed.
    pub lead: Signed<Lead>,
    /// What is before the entries.
    pub prev: Point,
    /// The entries.
    pub heads: Vec<Head>,
    /// An index of an earlier append that is to be acknowledged: acknowledgements make a certificate only if they are of one index.
    pub mark: Option<u64>,
    /// The leader's highest order certificate.
    pub order: Option<OrderCertificate>,
    /// The proof of its term: with the first append, and whenever it is refused for want of one.
    pub proof: Option<TermProof>,
}

/// What has become of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They are in the log. If `cut`, openraft is told to cut there first: by an empty append with `prev` at that index in the leader's term.
    Appended { cut: Option<u64> },
    /// They wait for the leader's base and its first own entry.
    Staged { upto: u64 },
    /// The log was replaced from an index on: openraft's instance has to be reopened.
    Reopened { from: u64 },
}

impl Member {
    /// Takes in entries that `from` sent, as its connection says.
    ///
    /// # Errors
    /// Why nothing was taken. Openraft must not see the entries then.
    pub fn append(&mut self, from: &HostId, append: Append, step: &mut Step<'_>) -> Result<Taken, Refusal> {
        let Append { lead, prev, heads, mark, order, proof } = append;
        let (prev, heads) = self.well_formed(from, &lead, prev, heads, step)?;
        self.follow(&lead.by, lead.content.term, proof, step)?;
        let taken = self.take(&lead, prev, heads, step)?;
        if self.header.as_ref().is_none_or(|header| header.content.last < lead.content.last) {
            self.header = Some(lead);
        }
        if let Some(order) = order {
            // One that proves nothing costs the leader nothing but its own progress.
            let _ = self.learn(order, step);
        }
        if !matches!(taken, Taken::Staged { .. }) {
            self.want(lead.content.last);
            mark.into_iter().for_each(|mark| self.want(mark));
            self.progress(step);
            self.acknowledge(step);
        }
        Ok(taken)
    }

    /// Says that the log is on disk up to an index.
    pub fn flushed(&mut self, upto: u64, step: &mut Step<'_>) {
        self.flushed = upto.min(self.durable.log.last().index);
        self.acknowledge(step);
    }

    /// Checks all that does not depend on the log, and cuts off what lies before its root.
    fn well_formed(
        &self,
        from: &HostId,
        lead: &Signed<Lead>,
        prev: Point,
        heads: Vec<Head>,
        step: &Step<'_>,
    ) -> Result<(Point, Vec<Head>), Refusal> {
        let Lead { epoch, term, last, chain } = lead.content;
        if *from != lead.by || lead.by == self.own {
            return Err(Refusal::NotTheSender(*from));
        }
        let present = self.durable.vote.term;
        if term < present || self.complaints.left == Some(term) {
            return Err(Refusal::OldTerm { found: term, present });
        }
        self.authentic(lead, epoch, step)?;
        let mut before = prev.term;
        for head in &heads {
            if head.term < before || head.term > term {
                return Err(Refusal::EntriesOutOfOrder);
            }
            before = head.term;
        }
        let end = prev.after(&heads);
        if end.index != last || end.chain != chain || prev.term > term {
            return Err(Refusal::BadHeader);
        }
        self.above_the_root(prev, heads)
    }

    fn above_the_root(&self, prev: Point, heads: Vec<Head>) -> Result<(Point, Vec<Head>), Refusal> {
        let root = self.durable.log.root();
        let Some(below) = root.index.checked_sub(prev.index) else { return Ok((prev, heads)) };
        let below = usize::try_from(below).ok().filter(|below| *below <= heads.len());
        let Some(below) = below else { return Err(Refusal::BelowRoot { root: root.index }) };
        let (covered, rest) = heads.split_at(below);
        if prev.after(covered).chain != root.chain {
            return Err(Refusal::CutsCertified { block: root.index });
        }
        Ok((root, rest.to_vec()))
    }

    /// Follows the leader of a term, if its election was or is shown, whatever it sends.
    ///
    /// # Errors
    /// The term is over here, or nothing shows that `leader` was elected in it.
    pub fn follow_leader(
        &mut self,
        leader: &HostId,
        term: u64,
        proof: Option<TermProof>,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        self.running()?;
        let present = self.durable.vote.term;
        if term < present || self.complaints.left == Some(term) {
            return Err(Refusal::OldTerm { found: term, present });
        }
        if *leader == self.own {
            return Err(Refusal::NotTheSender(*leader));
        }
        self.follow(leader, term, proof, step)
    }

    /// Follows the leader of a term, if its election was or is shown.
    fn follow(
        &mut self,
        leader: &HostId,
        term: u64,
        proof: Option<TermProof>,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        if self.proof.as_ref().is_some_and(|proof| proof.term == term && proof.leader == *leader) {
            return Ok(());
        }
        let shown = proof.filter(|proof| proof.term == term && proof.leader == *leader);
        let valid = match &shown {
            Some(proof) => proof.verify(&self.epoch, step.signing).map_err(Refusal::from),
            None => Err(Refusal::NoProof { term, leader: *leader }),
        };
        if !planted!(GrantsNotDemanded) {
            valid?;
        }
        let vote = &self.durable.vote;
        if vote.term != term || vote.leader != Some(*leader) {
            let grant = vote.grant.filter(|grant| grant.term == term);
            self.enter(Vote { term, grant, leader: Some(*leader) }, step);
        }
        self.proof = shown;
        Ok(())
    }

    /// Begins to follow, to stand or to lead in a term.
    pub(super) fn enter(&mut self, vote: Vote, step: &mut Step<'_>) {
        self.forget_term();
        self.write(Write::Vote(vote), step);
    }

    pub(super) fn forget_term(&mut self) {
        self.proof = None;
        self.role = Role::Follower;
        self.stage = None;
        self.header = None;
        self.wanted.clear();
        self.own_ack = None;
        self.others_acks.clear();
        self.complaints.new_term();
    }

    fn take(
        &mut self,
        lead: &Signed<Lead>,
        prev: Point,
        heads: Vec<Head>,
        step: &mut Step<'_>,
    ) -> Result<Taken, Refusal> {
        if !self.durable.log.holds(prev.index, &prev.chain) {
            return self.continue_stage(lead, prev, &heads, step);
        }
        let log = &self.durable.log;
        let common = log.common(&prev, &heads);
        let shared = prev.after(&heads[..common]);
        let new = heads[common..].to_vec();
        let cut = log.point(shared.index + 1).filter(|_| !new.is_empty());
        let Some(own) = cut else {
            self.check_base(shared, &new, lead)?;
            if !new.is_empty() {
                self.write(Write::Entries { from: shared.index + 1, heads: new }, step);
            }
            return Ok(Taken::Appended { cut: None });
        };
        // Freeze. An older entry at the cut is no excuse: those of this term behind it would go as well.
        if log.last().term == lead.content.term && !planted!(NoFreeze) {
            self.convict_leader(lead, shared, &new, step);
            return Err(Refusal::Equivocated { index: own.index });
        }
        let covered = self.proven().max(self.executed).max(self.durable.certified);
        if own.index <= covered && !planted!(UnprovenCutsLock) {
            let stage = Stage { term: lead.content.term, prev: shared, heads: new };
            return self.stage(lead, stage, step);
        }
        self.check_base(shared, &new, lead)?;
        let lost = own.index <= covered;
        self.cut(own.index);
        self.write(Write::Entries { from: own.index, heads: new }, step);
        if lost {
            self.write(Write::Order(OrderCertificate::root(&self.epoch)), step);
        }
        Ok(Taken::Appended { cut: Some(own.index) })
    }

    /// Forgets what was known of entries from an index on.
    pub(super) fn cut(&mut self, from: u64) {
        self.flushed = self.flushed.min(from - 1);
        self.executed = self.executed.min(from - 1);
        self.statements.split_off(&from);
        self.shared.split_off(&from);
        self.wanted.retain(|wanted| *wanted < from);
        if self.ending.as_ref().is_some_and(|ending| ending.last >= from) {
            self.ending = None;
        }
    }

    /// A leader's own entries come with the base of its election, and no entry that it did not make is behind them.
    fn check_base(&self, prev: Point, new: &[Head], lead: &Signed<Lead>) -> Result<(), Refusal> {
        let last = prev.after(new);
        if last.term != lead.content.term || planted!(NoBase) {
            return Ok(());
        }
        let Some(proof) = &self.proof else { return Ok(()) };
        if self.contains_base(prev, new, &proof.base) { Ok(()) } else { Err(Refusal::BaseMissing) }
    }

    /// Returns whether the own log up to `prev`, and `new` after it, contain a base. What is before the own root is certified.
    fn contains_base(&self, prev: Point, new: &[Head], base: &OrderCertificate) -> bool {
        let index = base.position.index;
        if index < self.durable.log.root().index {
            return true;
        }
        match index.checked_sub(prev.index).and_then(|after| usize::try_from(after).ok()) {
            None | Some(0) => self.durable.log.holds(index, &base.chain) && index <= prev.index,
            Some(after) => after <= new.len() && prev.after(&new[..after]).chain == base.chain,
        }
    }

    fn continue_stage(
        &mut self,
        lead: &Signed<Lead>,
        prev: Point,
        heads: &[Head],
        step: &mut Step<'_>,
    ) -> Result<Taken, Refusal> {
        let conflict = Refusal::Conflict { from: self.durable.certified + 1 };
        let Some(mut stage) = self.stage.take() else { return Err(conflict) };
        let held = prev.index.checked_sub(stage.prev.index).and_then(|held| usize::try_from(held).ok());
        let held = held.filter(|held| stage.term == lead.content.term && *held <= stage.heads.len());
        let Some(held) = held.filter(|held| stage.prev.after(&stage.heads[..*held]).chain == prev.chain) else {
            return Err(conflict);
        };
        let last = self.durable.log.last();
        if last.term == lead.content.term && !planted!(StageOutlives) {
            // Freeze: whatever was staged before those came would cut them. (Without a stage it is a gap, and no contradiction: the
            // leader believes that more has come here.)
            return Err(Refusal::Equivocated { index: last.index });
        }
        let rest = &stage.heads[held..];
        if rest.len() > heads.len() && rest.starts_with(heads) {
            let upto = stage.prev.index + stage.heads.len() as u64;
            self.stage = Some(stage);
            return Ok(Taken::Staged { upto });
        }
        stage.heads.truncate(held);
        stage.heads.extend_from_slice(heads);
        self.stage(lead, stage, step)
    }

    /// STAGE, and REOPEN as soon as the base and an entry of the leader's term are there.
    fn stage(&mut self, lead: &Signed<Lead>, stage: Stage, step: &mut Step<'_>) -> Result<Taken, Refusal> {
        if planted!(LockRefusal) {
            let later = self.heard.as_ref().is_some_and(|heard| heard.position > self.durable.order.position);
            if !later {
                return Err(Refusal::BaseMissing);
            }
        }
        if stage.heads.len() > MAX_STAGED {
            return Err(Refusal::StageFull { most: MAX_STAGED });
        }
        let from = stage.prev.index + 1;
        let end = stage.prev.after(&stage.heads);
        let own_term = end.term == lead.content.term;
        let base = self.proof.as_ref().map(|proof| proof.base.clone());
        let proven = base.as_ref().is_some_and(|base| self.contains_base(stage.prev, &stage.heads, base));
        if own_term && !proven && !planted!(NoBase) && base.is_some() {
            return Err(Refusal::BaseMissing);
        }
        if from <= self.durable.certified {
            return Err(self.against_certified(own_term && proven || planted!(UnprovenFault), base, step));
        }
        if !own_term {
            let upto = end.index;
            self.stage = Some(stage);
            return Ok(Taken::Staged { upto });
        }
        self.reopen(from, stage.heads, lead.content.term, base, step);
        Ok(Taken::Reopened { from })
    }

    /// Only a base with its proof shows that more members lie than the vat is built for. Other entries are one leader's lie.
    fn against_certified(&mut self, proven: bool, base: Option<OrderCertificate>, step: &mut Step<'_>) -> Refusal {
        match base {
            Some(against) if proven => {
                let certificate = self.durable.certificate.clone();
                self.stop(Fault::MoreLiars { certificate, against }, step)
            }
            _ => Refusal::CutsCertified { block: self.durable.certified },
        }
    }

    fn reopen(&mut self, from: u64, heads: Vec<Head>, term: u64, base: Option<OrderCertificate>, step: &mut Step<'_>) {
        let mut log = self.durable.log.clone();
        log.replace(from, &heads);
        // An order certificate that fell off the log is forgotten: the highest one that is on it counts, at least the base.
        let known = [Some(self.durable.order.clone()), base, self.heard.clone()];
        let on_it = known.into_iter().flatten().filter(|order| log.holds(order.position.index, &order.chain));
        let order = on_it.max_by_key(|order| order.position).unwrap_or_else(|| self.certified_order());
        let given_up = self.durable.order.position > order.position;
        let since = if given_up { term } else { self.durable.since };
        if !planted!(StageOutlives) {
            self.stage = None;
        }
        self.cut(from);
        // Openraft's instance is another one: all after the certified checkpoint is executed again.
        self.executed = self.durable.certified;
        self.write(Write::Reopen { from, heads, order, since }, step);
        step.outputs.push(Output::Reopen { from });
    }

    pub(super) fn certified_order(&self) -> OrderCertificate {
        self.durable.certificate.as_ref().map_or_else(|| OrderCertificate::root(&self.epoch), |found| found.order())
    }

    fn convict_leader(&self, lead: &Signed<Lead>, shared: Point, new: &[Head], step: &mut Step<'_>) {
        let Some(earlier) = &self.header else { return };
        let (first, second) = if earlier.content.last <= lead.content.last { (earlier, lead) } else { (lead, earlier) };
        // The chain and the entries on the side of the second header, from the first one's last index on.
        let (before, heads) = if first == earlier {
            let Some(common) = first.content.last.checked_sub(shared.index) else { return };
            let Ok(common) = usize::try_from(common) else { return };
            let Some((before, heads)) = new.split_at_checked(common) else { return };
            (shared.after(before).chain, heads.to_vec())
        } else {
            let Some(point) = self.durable.log.point(first.content.last) else { return };
            let count = usize::try_from(second.content.last - point.index).unwrap_or(usize::MAX);
            (point.chain, self.durable.log.heads(point.index + 1, count))
        };
        let evidence = Evidence::Headers { first: *first, second: *second, before, heads };
        if evidence.verify(&self.epoch, step.signing).is_ok() {
            step.outputs.push(Output::Convicted(evidence));
        }
    }

    pub(super) fn want(&mut self, index: u64) {
        if !self.wanted.contains(&index) {
            self.wanted.push(index);
        }
        if self.wanted.len() > MAX_WANTED {
            self.wanted.remove(0);
        }
    }

    /// ACK: for entries of the present term that are on disk, of a leader whose election was shown, after the base.
    pub(super) fn acknowledge(&mut self, step: &mut Step<'_>) {
        let Vote { term, leader: Some(leader), .. } = self.durable.vote else { return };
        if self.complaints.left == Some(term) {
            return;
        }
        let (wanted, log) = (std::mem::take(&mut self.wanted), &self.durable.log);
        let flushed = if planted!(AckBeforeFlush) { log.last().index } else { self.flushed };
        let (mut acks, mut later) = (Vec::new(), Vec::new());
        for index in wanted {
            let Some(point) = log.point(index) else { continue };
            if index > flushed {
                later.push(index);
                continue;
            }
            if self.is_proven(index) {
                continue;
            }
            let own_term = point.term == term || planted!(AckOlderEntries);
            let based = match &self.proof {
                Some(proof) => {
                    let base = &proof.base;
                    let root = log.root().index;
                    base.position.index < root || log.holds(base.position.index, &base.chain) || planted!(NoBase)
                }
                None => planted!(GrantsNotDemanded),
            };
            if planted!(AckEntryTerm) {
                acks.extend(
                    (log.root().index + 1..=index)
                        .filter_map(|index| log.point(index))
                        .map(|point| (point.term, point)),
                );
            } else if own_term && based {
                acks.push((term, point));
            }
        }
        self.wanted = later;
        for (term, Point { index, chain, .. }) in acks {
            let ack = self.sign(Ack { epoch: self.epoch.number, term, index, chain }, step);
            self.own_ack = self.own_ack.filter(|known| known.content.index >= index).or(Some(ack));
            if leader == self.own {
                let _ = self.acked(ack, step);
            } else {
                step.send(To::One(leader), Message::Ack(ack), true);
            }
        }
        self.join_acks(step);
    }

    /// Tells the other members what this one has acknowledged since `before` (see [`Member::overheard`]). Not while more entries are on their
    /// way: a later proof covers all.
    pub(super) fn tell_own_ack(&self, before: Option<Signed<Ack>>, step: &mut Step<'_>) {
        let last = self.durable.log.last().index;
        if let Some(ack) = self.own_ack.filter(|ack| Some(*ack) != before && ack.content.index == last) {
            step.send(To::All, Message::Ack(ack), true);
        }
    }

    /// A member tells what it has acknowledged to the leader of the present term; the leader, what it has on its own disk. Where they and this
    /// member are enough, the order is proven here before the leader tells it.
    ///
    /// # Errors
    /// It does not count.
    pub fn overheard(&mut self, ack: Signed<Ack>, step: &mut Step<'_>) -> Result<(), Refusal> {
        let Vote { term, leader, .. } = self.durable.vote;
        if self.leads() || leader.is_none() || ack.by == self.own || ack.content.term != term {
            return Err(Refusal::NotTheSender(ack.by));
        }
        let known = self.others_acks.get(&ack.by);
        let is_newer = known.is_none_or(|known| known.content.index < ack.content.index);
        if !is_newer || self.is_proven(ack.content.index) || self.complaints.left == Some(term) {
            return Ok(());
        }
        self.authentic(&ack, ack.content.epoch, step)?;
        self.others_acks.insert(ack.by, ack);
        self.join_acks(step);
        Ok(())
    }

    /// Returns whether the order is proven up to there in the present term.
    pub(super) fn is_proven(&self, index: u64) -> bool {
        self.durable.order.position.term == self.durable.vote.term && index <= self.proven()
    }

    /// Makes an order certificate of what others and this member have acknowledged, if it is the same, and enough. A leader counts by itself.
    fn join_acks(&mut self, step: &mut Step<'_>) {
        let Some(own) = self.own_ack.filter(|own| !self.leads() && !self.is_proven(own.content.index)) else { return };
        let same = self.others_acks.values().filter(|other| other.content == own.content);
        let acks: Vec<(HostId, Signature)> = same.chain([&own]).map(|ack| (ack.by, ack.signature)).collect();
        let signers: Vec<HostId> = acks.iter().map(|(signer, _)| *signer).collect();
        // Beyond the end of a membership its members prove nothing.
        if self.epoch.reach(&signers, own.content.index) == own.content.index {
            self.adopt(acknowledged(own.content, acks), step);
        }
    }
}

/// Returns the order certificate that acknowledgements of one place make.
pub(super) fn acknowledged(Ack { epoch, term, index, chain }: Ack, acks: Vec<(HostId, Signature)>) -> OrderCertificate {
    OrderCertificate { position: Position { epoch, term, index }, chain, support: Support::Acks(acks) }
}

//! What may happen in a world: elections, entries, power cuts, and the end of an epoch.

use super::keys::{key, sign_as};
use super::node::Node;
use super::world::{Checked, OrderKey, Term, World};
use crate::chain::Head;
use crate::member::{Append, Ending, Member, Output, Stand, Taken};
use crate::proofs::{OrderCertificate, TermProof};
use crate::signed::{Grant, Handover, Lead, Position};
use quorate_ids::Hash;
use std::rc::Rc;
use std::sync::Arc;

impl World {
    pub(super) fn stand(&mut self, number: usize) -> Option<Checked> {
        let term = self.terms.len() as u64 + 1;
        let node = self.node(number)?;
        let log = &node.member.durable().log;
        let room = (log.last().index - node.member.epoch().root.index) < self.scope.entries as u64;
        if term > self.scope.terms || node.member.term().0 >= term || !room || !node.queue.is_empty() {
            return None;
        }
        let (epoch, last) = (Arc::new(node.member.epoch().clone()), log.last());
        let stand = Stand {
            epoch: epoch.number,
            term,
            order: node.member.durable().order.clone(),
            last: (last.term, last.index),
        };
        let log = Vec::new();
        self.terms.push(Rc::new(Term { epoch, candidate: number, stand, grants: Vec::new(), proof: None, log }));
        // Terms have one candidate each in these worlds.
        self.step(number, |member, step| member.stand(term, step).ok())
    }

    pub(super) fn liar_stands(&mut self, order: Option<&OrderKey>) -> Option<Checked> {
        let term = self.terms.len() as u64 + 1;
        if self.scope.liars == 0 || term > self.scope.terms {
            return None;
        }
        let epoch = match order {
            // The newest epoch that some member is in.
            None => self.live_nodes().map(|(_, node)| node.member.epoch().clone()).max_by_key(|epoch| epoch.number)?,
            Some((number, ..)) => {
                self.live_nodes().map(|(_, node)| node.member.epoch()).find(|epoch| epoch.number == *number)?.clone()
            }
        };
        let order = match order {
            None => OrderCertificate::root(&epoch),
            Some(order) => self.order(order)?,
        };
        let (stand, log) = (Stand { epoch: epoch.number, term, order, last: (u64::MAX, u64::MAX) }, Vec::new());
        let mut term =
            Term { epoch: Arc::new(epoch), candidate: self.liar(), stand, grants: Vec::new(), proof: None, log };
        if planted!(GrantsNotDemanded) {
            self.prove(&mut term);
        }
        self.terms.push(Rc::new(term));
        Some(Ok(()))
    }

    /// A liar makes the proof of its election, if enough honest members have voted for it.
    pub(super) fn prove(&self, term: &mut Term) {
        let mut grants = term.grants.clone();
        let (epoch, leader) = (term.epoch.number, key(self.liar()));
        let needed = self.scope.needed();
        let majority = self.scope.members / 2 + 1;
        let enough = if planted!(MajorityElects) { majority.saturating_sub(self.scope.liars) } else { needed };
        if grants.len() < enough && !planted!(GrantsNotDemanded) {
            return;
        }
        for liar in self.liars() {
            let position = Position { epoch, term: 0, index: 0 };
            let grant = Grant { epoch, term: term.stand.term, candidate: leader, position, since: 0 };
            grants.push(sign_as(liar, &grant));
        }
        let proof = TermProof { term: term.stand.term, leader, grants, base: term.stand.order.clone() };
        term.proof = Some(proof);
    }

    pub(super) fn rebase(&mut self, term: u64, base: Option<&OrderKey>) -> Option<Checked> {
        let at = usize::try_from(term).ok()?.checked_sub(1)?;
        let found = self.terms.get(at)?;
        let base = base.map_or_else(|| Some(OrderCertificate::root(&found.epoch)), |base| self.order(base))?;
        if found.candidate < self.nodes.len() || found.proof.as_ref().is_none_or(|proof| proof.base == base) {
            return None;
        }
        let proof = Rc::make_mut(&mut self.terms[at]).proof.as_mut()?;
        proof.base = base;
        Some(Ok(()))
    }

    pub(super) fn hear(&mut self, term: u64, voter: usize) -> Option<Checked> {
        let at = usize::try_from(term).ok()?.checked_sub(1)?;
        let found = Rc::clone(self.terms.get(at)?);
        let liar = found.candidate >= self.nodes.len();
        if found.candidate == voter || (found.proof.is_some() && !liar) || self.node(voter)?.member.term().0 >= term {
            return None;
        }
        let candidate = key(found.candidate);
        let checked = self.step(voter, |member, step| member.vote(&candidate, &found.stand, false, step).ok())?;
        if let Err(violation) = checked {
            return Some(Err(violation));
        }
        Some(self.deliver_grants(at))
    }

    /// The candidate of a term hears of the votes that have left.
    pub(super) fn deliver_grants(&mut self, at: usize) -> Checked {
        let Some(found) = self.terms.get(at).cloned() else { return Ok(()) };
        let mut new = Vec::new();
        for (_, node) in self.live_nodes() {
            new.extend(node.grants.iter().copied().filter(|grant| {
                let same = grant.content.term == found.stand.term && grant.content.candidate == key(found.candidate);
                same && !found.grants.contains(grant) && node.member.epoch().number == grant.content.epoch
            }));
        }
        // Liars vote for the candidate that is about to win.
        let honest = found.grants.len() + new.len();
        if found.candidate < self.nodes.len() && found.proof.is_none() && honest >= self.scope.needed() {
            let (epoch, term) = (found.epoch.number, found.stand.term);
            let position = Position { epoch, term: 0, index: 0 };
            let grant = Grant { epoch, term, candidate: key(found.candidate), position, since: 0 };
            new.extend(self.liars().map(|liar| sign_as(liar, &grant)).filter(|grant| !found.grants.contains(grant)));
        }
        for grant in new {
            let term = Rc::make_mut(&mut self.terms[at]);
            term.grants.push(grant);
            if found.candidate < self.nodes.len() {
                if let Some(Err(violation)) =
                    self.step(found.candidate, |member, step| member.granted(grant, step).ok())
                {
                    return Err(violation);
                }
            } else {
                let mut term = Term::clone(&self.terms[at]);
                self.prove(&mut term);
                self.terms[at] = Rc::new(term);
            }
        }
        Ok(())
    }

    /// The entries that a leader sends. A liar's header fits whatever it sends.
    pub(super) fn append_of(&self, term: &Term, prev: usize, heads: &[Head]) -> Option<Append> {
        let proof = term.proof.clone()?;
        let leader = key(term.candidate);
        let before = term.epoch.root.after(heads.get(..prev)?);
        let last = before.after(&heads[prev..]);
        let lead = Lead { epoch: term.epoch.number, term: term.stand.term, last: last.index, chain: last.chain };
        let lead = sign_as(leader, &lead);
        Some(Append { lead, prev: before, heads: heads[prev..].to_vec(), mark: None, order: None, proof: Some(proof) })
    }

    pub(super) fn entries(&mut self, term: u64, to: usize, prev: usize, heads: &[Head]) -> Option<Checked> {
        let found = Rc::clone(self.terms.get(usize::try_from(term).ok()?.checked_sub(1)?)?);
        if found.candidate == to || heads.len() > self.scope.entries || prev > heads.len() {
            return None;
        }
        if found.candidate < self.nodes.len() && !found.log.starts_with(heads) {
            return None;
        }
        let mut found = found;
        let epoch = self.node(to)?.member.epoch();
        if planted!(EpochNotSigned) && epoch.number != found.epoch.number {
            // A vote says nothing of its epoch: the proof serves once more.
            let term = Rc::make_mut(&mut found);
            term.epoch = Arc::new(epoch.clone());
            term.proof = term.proof.take().map(|proof| TermProof { base: OrderCertificate::root(epoch), ..proof });
        }
        let append = self.append_of(&found, prev, heads)?;
        let leader = key(found.candidate);
        let exhaustive = !self.scope.finals;
        self.step(to, |member, step| match member.append(&leader, append, step) {
            // Staging matters only where entries come in several messages.
            Ok(Taken::Staged { .. }) if exhaustive && prev == 0 => None,
            Ok(_) => Some(()),
            Err(crate::refusal::Refusal::Stopped) => Some(()),
            Err(_) => None,
        })
    }

    pub(super) fn propose(&mut self, leader: usize, content: Hash) -> Option<Checked> {
        let node = self.node(leader)?;
        let log = &node.member.durable().log;
        if log.last().index - node.member.epoch().root.index >= self.scope.entries as u64 {
            return None;
        }
        let checked = self.step(leader, |member, step| member.propose(content, step).ok().map(|_| ()))?;
        let mut node = self.node(leader)?.clone();
        let point = node.member.durable().log.last();
        let result = self.lead(leader, Rc::make_mut(&mut node), point).and_then(|()| Rc::make_mut(&mut node).check());
        self.nodes[leader] = Some(node);
        Some(checked.and(result))
    }

    pub(super) fn sync(&mut self, number: usize) -> Option<Checked> {
        let mut node = self.node(number)?.clone();
        if node.queue.is_empty() && node.member.flushed >= node.member.durable().log.last().index {
            return None;
        }
        let changed = Rc::make_mut(&mut node);
        let mut result = Ok(());
        for output in std::mem::take(&mut changed.queue) {
            match output {
                Output::Write(write) => changed.disk.apply(&write),
                Output::Send { message, .. } => result = result.and_then(|()| changed.sent(&message)),
                _ => {}
            }
        }
        self.nodes[number] = Some(node);
        let flushed = self.step(number, |member, step| {
            let last = member.durable().log.last().index;
            member.flushed(last, step);
            Some(())
        })?;
        let all = result.and(flushed).and_then(|()| (0..self.terms.len()).try_for_each(|at| self.deliver_grants(at)));
        Some(all)
    }

    pub(super) fn power_cut(&mut self, number: usize) -> Option<Checked> {
        let node = self.node(number)?;
        if node.queue.is_empty() {
            return None;
        }
        let mut node = Node::clone(node);
        node.queue.clear();
        let epoch = Arc::new(node.member.epoch().clone());
        node.member = Member::new(key(number), epoch, node.disk.clone());
        node.certified = None;
        self.nodes[number] = Some(Rc::new(node));
        // It executes again what it may.
        self.step(number, |member, step| {
            member.progress(step);
            Some(())
        })
    }

    pub(super) fn hand_over(&mut self, from: usize, to: usize) -> Option<Checked> {
        let signed = if from < self.nodes.len() {
            self.node(from)?.handover?
        } else {
            let node = self.node(to)?;
            let Ending { last, chain, membership } = node.member.ending.clone()?;
            let handover = Handover { epoch: node.member.epoch().number, last, chain, membership };
            sign_as(key(from), &handover)
        };
        self.step(to, |member, step| member.handed_over(signed, step).ok())
    }

    pub(super) fn switch(&mut self, number: usize) -> Option<Checked> {
        let node = self.node(number)?;
        if !node.can_switch || node.member.epoch().number > 0 || number == 0 {
            return None;
        }
        let point = node.member.point_of(node.member.ending.as_ref()?)?;
        let epoch = self.next_epoch(node.member.epoch(), point);
        let mut node = Node::clone(node);
        node.member = node.member.next(epoch);
        node.disk = node.member.durable().clone();
        node.certified = None;
        self.nodes[number] = Some(Rc::new(node));
        Some(Ok(()))
    }

    pub(super) fn join(&mut self, shown_by: usize) -> Option<Checked> {
        let newcomer = self.scope.honest();
        let shower = self.node(shown_by)?;
        if !self.scope.epochs || self.nodes.get(newcomer)?.is_some() || shower.member.epoch().number == 0 {
            return None;
        }
        let mut node = Node::clone(shower);
        node.member = Member::joining(key(newcomer), Arc::new(shower.member.epoch().clone()));
        node.disk = node.member.durable().clone();
        node.certified = None;
        (node.acks, node.shares, node.grants, node.leads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        (node.handover, node.can_switch) = (None, false);
        self.nodes[newcomer] = Some(Rc::new(node));
        Some(Ok(()))
    }
}

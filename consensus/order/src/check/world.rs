//! A world of members and liars, as the check by machine explores it.
//!
//! Everything that an honest member signs is known to the liars and may reach anybody, at any time, any number of times, or never: the
//! world keeps what was signed, and each action delivers something. Liars sign anything. So an order certificate is there as soon as
//! honest acknowledgements and all liars make a threshold; the same holds for votes and certificates.
//!
//! The members are the production code, [`Member`]. Where power cuts are in the scope, what a member writes waits for an action that syncs.

use super::keys::{Symbolic, conflict, key, register, sign_as};
use crate::chain::{Head, Point};
use crate::epoch::Epoch;
use crate::member::{Append, Durable, Ending, Member, Message, Output, Stand, Step, Taken, Write};
use crate::proofs::{Certificate, OrderCertificate, Signatures, Support, TermProof};
use crate::signed::{Ack, Grant, Handover, Lead, Position, Share};
use crate::signing::Signed;
use quorate_ids::{Hash, HostId, VatId};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// How large a world is, and what may happen in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) members: usize,
    pub(super) threshold: usize,
    /// The last members lie.
    pub(super) liars: usize,
    pub(super) terms: u64,
    /// Most entries of a log after its root.
    pub(super) entries: usize,
    /// Liars send entries of older terms that they did not lead.
    pub(super) forge: bool,
    /// Power cuts.
    pub(super) crash: bool,
    /// Certificates and checkpoints reach members, and leaders add more than blanks.
    pub(super) finals: bool,
    /// An honest member joins and another one leaves with the next epoch.
    pub(super) epochs: bool,
    /// Members forget order certificates of logs that they don't have: all states are looked at, and each certificate may come again.
    pub(super) forgets: bool,
}

impl Scope {
    pub(super) const fn small(terms: u64, entries: usize) -> Self {
        let (members, threshold, liars) = (4, 3, 1);
        Self {
            members,
            threshold,
            liars,
            terms,
            entries,
            forge: false,
            crash: false,
            finals: false,
            epochs: false,
            forgets: false,
        }
    }

    pub(super) fn honest(&self) -> usize {
        self.members - self.liars
    }

    /// How many honest signatures make a proof together with all liars.
    pub(super) fn needed(&self) -> usize {
        self.threshold - self.liars
    }
}

/// An order certificate, or a certificate, that could be made.
pub(super) type OrderKey = (u64, u64, u64, Hash);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// An honest member stands in the next term.
    Stand(usize),
    /// The first liar stands, and shows this order (none: the root).
    LiarStands(Option<OrderKey>),
    /// A member hears a candidate; if it votes, the candidate hears that.
    Hear { term: u64, voter: usize },
    /// A member gets entries of the leader of a term: `heads` from the root of its epoch on, of which it is sent those after `prev`.
    Entries { term: u64, to: usize, prev: usize, heads: Vec<Head> },
    /// A member learns an order certificate.
    Learn { to: usize, order: OrderKey },
    /// A leader adds an entry.
    Propose { leader: usize, content: Hash },
    /// A member learns a certificate.
    Certify { to: usize, share: Share },
    /// A member gets a checkpoint.
    Checkpoint { to: usize, share: Share, entry_term: u64 },
    /// All that a member has written gets on disk.
    Sync(usize),
    /// A member loses what is not on disk.
    PowerCut(usize),
    /// A signature of the next membership arrives.
    HandOver { from: usize, to: usize },
    /// A member begins the next epoch.
    Switch(usize),
    /// The newcomer begins with the next epoch, as this member shows it.
    Join { shown_by: usize },
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

pub(super) type Checked = Result<(), Violation>;

fn violation<T>(text: String) -> Result<T, Violation> {
    Err(Violation(text))
}

/// An honest member, and all that it has signed.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) member: Member,
    pub(super) disk: Durable,
    /// What waits for the disk.
    pub(super) queue: Vec<Output>,
    pub(super) acks: Vec<Signed<Ack>>,
    pub(super) shares: Vec<Signed<Share>>,
    pub(super) grants: Vec<Signed<Grant>>,
    pub(super) leads: Vec<Lead>,
    pub(super) handover: Option<Signed<Handover>>,
    pub(super) can_switch: bool,
    /// The highest certified point there ever was.
    pub(super) certified: Option<Point>,
}

/// A term, and whoever stood in it.
#[derive(Clone)]
pub(super) struct Term {
    pub(super) epoch: Arc<Epoch>,
    /// A member; liars are numbered after the honest ones.
    pub(super) candidate: usize,
    pub(super) stand: Stand,
    pub(super) grants: Vec<Signed<Grant>>,
    pub(super) proof: Option<TermProof>,
    /// The log of an honest leader, from the root of its epoch on, as it was when the leader last added to it.
    pub(super) log: Vec<Head>,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) scope: Scope,
    pub(super) nodes: Vec<Option<Rc<Node>>>,
    pub(super) terms: Vec<Rc<Term>>,
}

pub(super) fn blank() -> Hash {
    Hash([b'h'; 32])
}

/// The entry that ends an epoch.
pub(super) fn activate() -> Hash {
    Hash([b'a'; 32])
}

pub(super) fn liars_entry(which: u8) -> Hash {
    Hash([b'x' + which; 32])
}

/// What executing a log gives.
fn statement(chain: &Hash) -> Hash {
    let mut statement = *chain;
    statement.0[31] ^= 0xff;
    statement
}

fn insert<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(at) = list.binary_search(&item) {
        list.insert(at, item);
    }
}

impl World {
    pub(super) fn new(scope: Scope) -> Self {
        let members = (0..scope.members).map(|number| key(World::identity(&scope, number))).collect();
        let root = Point { term: 0, index: 0, chain: Hash([7; 32]) };
        let epoch = Epoch { vat: VatId([5; 32]), number: 0, members, threshold: scope.threshold, root };
        let epoch = Arc::new(epoch);
        let node = |number| {
            let durable = Durable::new(&epoch, 0);
            let member = Member::new(key(number), Arc::clone(&epoch), durable.clone());
            Some(Rc::new(Node {
                member,
                disk: durable,
                queue: Vec::new(),
                acks: Vec::new(),
                shares: Vec::new(),
                grants: Vec::new(),
                leads: Vec::new(),
                handover: None,
                can_switch: false,
                certified: None,
            }))
        };
        let mut nodes: Vec<_> = (0..scope.honest()).map(node).collect();
        if scope.epochs {
            nodes.push(None);
        }
        Self { scope, nodes, terms: Vec::new() }
    }

    /// Members of the first epoch: the honest ones, then the liars. The newcomer's number is that of the first liar, whose go up by one.
    fn identity(scope: &Scope, number: usize) -> usize {
        if number >= scope.honest() && scope.epochs { number + 1 } else { number }
    }

    pub(super) fn liar(&self) -> usize {
        self.nodes.len()
    }

    fn liars(&self) -> impl Iterator<Item = HostId> + use<> {
        (self.nodes.len()..self.nodes.len() + self.scope.liars).map(key)
    }

    pub(super) fn node(&self, number: usize) -> Option<&Rc<Node>> {
        self.nodes.get(number)?.as_ref()
    }

    pub(super) fn live_nodes(&self) -> impl Iterator<Item = (usize, &Rc<Node>)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.as_ref()?)))
    }

    /// The epoch after this one: the first honest member leaves, the newcomer joins.
    fn next_epoch(&self, epoch: &Epoch, root: Point) -> Arc<Epoch> {
        let newcomer = key(self.scope.honest());
        let mut members: Vec<HostId> = epoch.members.iter().copied().filter(|member| *member != key(0)).collect();
        members.insert(0, newcomer);
        Arc::new(Epoch { vat: epoch.vat, number: epoch.number + 1, members, threshold: epoch.threshold, root })
    }

    /// Order certificates that can be made, as counted from what honest members acknowledged.
    pub(super) fn order_keys(&self) -> Vec<OrderKey> {
        let mut counts: BTreeMap<OrderKey, usize> = BTreeMap::new();
        for (_, node) in self.live_nodes() {
            for ack in &node.acks {
                let Ack { epoch, term, index, chain } = ack.content;
                *counts.entry((epoch, term, index, chain)).or_default() += 1;
            }
        }
        counts.into_iter().filter(|(_, count)| *count >= self.scope.needed()).map(|(key, _)| key).collect()
    }

    pub(super) fn order(&self, key: &OrderKey) -> Option<OrderCertificate> {
        let (epoch, term, index, chain) = *key;
        let ack = Ack { epoch, term, index, chain };
        let mut acks: Signatures = Vec::new();
        for (_, node) in self.live_nodes() {
            acks.extend(node.acks.iter().filter(|found| found.content == ack).map(|found| (found.by, found.signature)));
        }
        if acks.len() < self.scope.needed() {
            return None;
        }
        acks.extend(self.liars().map(|liar| (liar, sign_as(liar, &ack).signature)));
        acks.truncate(self.scope.threshold.max(acks.len().min(self.scope.threshold)));
        Some(OrderCertificate { position: Position { epoch, term, index }, chain, support: Support::Acks(acks) })
    }

    /// Shares of which a certificate can be made.
    pub(super) fn certified(&self) -> Vec<Share> {
        let mut counts: BTreeMap<(u64, u64, u64, Hash, Hash), (usize, Share)> = BTreeMap::new();
        for (_, node) in self.live_nodes() {
            let mut seen = Vec::new();
            for share in &node.shares {
                let Share { epoch, term, block, chain, statement } = share.content;
                let term = if planted!(MixedTerms) { 0 } else { term };
                let key = (epoch, term, block, chain, statement);
                if !seen.contains(&key) {
                    seen.push(key);
                    counts.entry(key).or_insert((0, share.content)).0 += 1;
                }
            }
        }
        counts.into_values().filter(|(count, _)| *count >= self.scope.needed()).map(|(_, share)| share).collect()
    }

    fn certificate(&self, share: &Share) -> Option<Certificate> {
        let mut signatures: Signatures = Vec::new();
        for (_, node) in self.live_nodes() {
            let found = node.shares.iter().filter(|found| found.content == *share);
            signatures.extend(found.map(|found| (found.by, found.signature)));
        }
        signatures.extend(self.liars().map(|liar| (liar, sign_as(liar, share).signature)));
        signatures.truncate(self.scope.threshold);
        (signatures.len() >= self.scope.threshold).then_some(Certificate { share: *share, signatures })
    }

    /// Carries an action out. `None`: it is not possible.
    pub(super) fn perform(&mut self, action: &Action) -> Option<Checked> {
        let touched = match action {
            Action::Stand(number) => self.stand(*number)?,
            Action::LiarStands(order) => return self.liar_stands(order.as_ref()),
            Action::Hear { term, voter } => self.hear(*term, *voter)?,
            Action::Entries { term, to, prev, heads } => self.entries(*term, *to, *prev, heads)?,
            Action::Learn { to, order } => {
                let order = self.order(order)?;
                self.step(*to, |member, step| member.learn(order, step).ok())?
            }
            Action::Propose { leader, content } => self.propose(*leader, *content)?,
            Action::Certify { to, share } => {
                let certificate = self.certificate(share)?;
                self.step(*to, |member, step| {
                    let _ = member.certificate(certificate, step);
                    Some(())
                })?
            }
            Action::Checkpoint { to, share, entry_term } => {
                let certificate = self.certificate(share)?;
                let point = Point { term: *entry_term, index: share.block, chain: share.chain };
                self.step(*to, |member, step| {
                    let _ = member.checkpoint(point, certificate, step);
                    Some(())
                })?
            }
            Action::Sync(number) => self.sync(*number)?,
            Action::PowerCut(number) => self.power_cut(*number)?,
            Action::HandOver { from, to } => self.hand_over(*from, *to)?,
            Action::Switch(number) => self.switch(*number)?,
            Action::Join { shown_by } => self.join(*shown_by)?,
        };
        Some(touched.and_then(|()| self.check()))
    }

    /// Has a member do something, and carries out what follows.
    fn step(&mut self, number: usize, act: impl FnOnce(&mut Member, &mut Step<'_>) -> Option<()>) -> Option<Checked> {
        let mut node = self.node(number)?.clone();
        let mut outputs = Vec::new();
        let signing = Symbolic(key(number));
        act(&mut Rc::make_mut(&mut node).member, &mut Step { signing: &signing, outputs: &mut outputs })?;
        let mut result = Ok(());
        while !outputs.is_empty() && result.is_ok() {
            result = self.settle(number, Rc::make_mut(&mut node), &mut outputs);
        }
        let changed = Rc::make_mut(&mut node);
        if self.scope.forgets {
            changed.member.heard = None;
        }
        changed.own_acks();
        result = result.and_then(|()| changed.check());
        self.nodes[number] = Some(node);
        Some(result)
    }

    /// Has a member do something outside of the actions.
    pub(super) fn with(&mut self, number: usize, act: impl FnOnce(&mut Member, &mut Step<'_>)) -> Option<Checked> {
        self.step(number, |member, step| {
            act(member, step);
            Some(())
        })
    }

    /// Carries out what a step gave, which gives more.
    fn settle(&mut self, number: usize, node: &mut Node, outputs: &mut Vec<Output>) -> Checked {
        let signing = Symbolic(key(number));
        let mut written = false;
        for output in std::mem::take(outputs) {
            let mut step = Step { signing: &signing, outputs };
            match output {
                Output::Write(_) if self.scope.crash => node.queue.push(output),
                Output::Write(write) => written |= matches!(write, Write::Entries { .. } | Write::Reopen { .. }),
                Output::Send { ref message, synced, .. } => {
                    let waits = synced
                        && node.queue.iter().any(|waits| match waits {
                            Output::Write(write) => !matches!(write, Write::Entries { .. }),
                            _ => false,
                        });
                    if waits { node.queue.push(output) } else { node.sent(message)? }
                }
                Output::Execute { upto } => node.execute(upto, &mut step)?,
                Output::Elected(proof) => {
                    self.elected(number, proof);
                    if let Ok(point) = node.member.propose(blank(), &mut step) {
                        self.lead(number, node, point)?;
                    }
                }
                Output::Switch { .. } => node.can_switch = true,
                Output::Convicted(evidence) => {
                    let signed = evidence.verify(node.member.epoch(), &signing);
                    if signed
                        .is_ok_and(|accused| self.nodes.iter().enumerate().any(|(number, _)| key(number) == accused))
                    {
                        return violation(format!("honest {} is convicted: {evidence:?}", evidence.accused()));
                    }
                }
                Output::Stop(fault) => return violation(format!("honest {number} stops: {fault:?}")),
                Output::Reopen { .. } | Output::Final(_) | Output::Behind(_) | Output::Left { .. } => {}
            }
        }
        if written && !self.scope.crash {
            let last = node.member.durable().log.last().index;
            node.member.flushed(last, &mut Step { signing: &signing, outputs });
        }
        Ok(())
    }

    fn elected(&mut self, number: usize, proof: TermProof) {
        let term = self.terms.iter_mut().rev().find(|term| term.candidate == number && term.stand.term == proof.term);
        if let Some(term) = term {
            Rc::make_mut(term).proof = Some(proof);
        }
    }

    /// Keeps what an honest leader has added, with its header.
    fn lead(&mut self, number: usize, node: &mut Node, point: Point) -> Checked {
        let log = &node.member.durable().log;
        let (term, _) = node.member.term();
        register(log);
        let heads = log.heads(log.root().index + 1, usize::MAX);
        let root = log.root();
        let lead = Lead { epoch: node.member.epoch().number, term, last: point.index, chain: point.chain };
        insert(&mut node.leads, lead);
        let found = self.terms.iter_mut().find(|known| known.candidate == number && known.stand.term == term);
        if let Some(found) = found
            && root == found.epoch.root
        {
            Rc::make_mut(found).log = heads;
        }
        Ok(())
    }

    fn stand(&mut self, number: usize) -> Option<Checked> {
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
        self.step(number, |member, step| {
            // Terms have one candidate each in these worlds.
            member.term_seen = term - 1;
            member.stand(step).ok()
        })
    }

    fn liar_stands(&mut self, order: Option<&OrderKey>) -> Option<Checked> {
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
    fn prove(&self, term: &mut Term) {
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

    fn hear(&mut self, term: u64, voter: usize) -> Option<Checked> {
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
        // Liars vote for whoever is about to win.
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

    fn entries(&mut self, term: u64, to: usize, prev: usize, heads: &[Head]) -> Option<Checked> {
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

    fn propose(&mut self, leader: usize, content: Hash) -> Option<Checked> {
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

    fn sync(&mut self, number: usize) -> Option<Checked> {
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

    fn power_cut(&mut self, number: usize) -> Option<Checked> {
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

    fn hand_over(&mut self, from: usize, to: usize) -> Option<Checked> {
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

    fn switch(&mut self, number: usize) -> Option<Checked> {
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

    fn join(&mut self, shown_by: usize) -> Option<Checked> {
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

    /// Agreement: no two certificates of different logs.
    fn check(&self) -> Checked {
        let certified = self.certified();
        for (at, one) in certified.iter().enumerate() {
            for other in &certified[..at] {
                let (a, b) = ((one.block, one.chain), (other.block, other.chain));
                if conflict(a, b) || (a == b && one.statement != other.statement) {
                    return violation(format!("two certificates: {one:?} and {other:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Node {
    fn sent(&mut self, message: &Message) -> Checked {
        match message {
            Message::Ack(ack) => insert(&mut self.acks, *ack),
            Message::Share(share) => insert(&mut self.shares, *share),
            Message::Grant(grant) => insert(&mut self.grants, *grant),
            Message::Handover(handover) => {
                if self.member.durable().certified < handover.content.last {
                    return violation(format!("a membership is signed before its block is final: {handover:?}"));
                }
                self.handover = Some(*handover);
            }
            Message::Stand(stand) => {
                // Its own vote goes with it, to whoever it leads.
                if let Some(content) = self.member.durable().vote.grant.filter(|grant| grant.term == stand.term) {
                    let by = content.candidate;
                    insert(&mut self.grants, sign_as(by, &content));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A leader's own acknowledgements are in the order certificates that it makes.
    fn own_acks(&mut self) {
        let (term, leader) = self.member.term();
        let Some(leader) = leader.filter(|_| self.member.leads()) else { return };
        let log = self.member.durable().log.clone();
        let own = (log.root().index + 1..=self.member.flushed).filter_map(|index| log.point(index));
        for point in own.filter(|point| point.term == term) {
            let ack = Ack { epoch: self.member.epoch().number, term, index: point.index, chain: point.chain };
            insert(&mut self.acks, sign_as(leader, &ack));
        }
    }

    fn execute(&mut self, upto: u64, step: &mut Step<'_>) -> Checked {
        let proven = self.member.durable().order.position.index.max(self.member.durable().certified);
        if upto > proven {
            return violation(format!("block {upto} is executed, and the order is proven to {proven}"));
        }
        for index in self.member.executed + 1..=upto {
            let Some(point) = self.member.durable().log.point(index) else { continue };
            let head = self.member.durable().log.heads(index, 1);
            if head.first().is_some_and(|head| head.content == activate()) {
                let ending = Ending { last: index, chain: point.chain, membership: Hash([9; 32]) };
                let _ = self.member.ends(ending, step);
            }
            let _ = self.member.executed(index, &point.chain, Some(statement(&point.chain)), step);
        }
        Ok(())
    }

    /// What must hold for one member: it has signed nothing that convicts it, and has cut nothing that was final.
    fn check(&mut self) -> Checked {
        self.check_evidence()?;
        let durable = self.member.durable();
        if let Some(point) = self.certified
            && point.index >= durable.log.root().index
            && !durable.log.holds(point.index, &point.chain)
        {
            return violation(format!("a certified block was cut: {point:?}"));
        }
        self.certified = durable.log.point(durable.certified);
        register(&durable.log);
        let order = &durable.order;
        if order.position.index >= durable.log.root().index && !durable.log.holds(order.position.index, &order.chain) {
            return violation("the order certificate is not on the own log".into());
        }
        Ok(())
    }

    fn check_evidence(&self) -> Checked {
        use crate::evidence::{acks_contradict, amnesia, grants_contradict, shares_contradict};
        for (at, one) in self.acks.iter().enumerate() {
            if let Some(other) = self.acks[..at].iter().find(|other| acks_contradict(&one.content, &other.content)) {
                return violation(format!("an honest member acknowledged two logs: {one:?}, {other:?}"));
            }
        }
        for (at, one) in self.shares.iter().enumerate() {
            if let Some(other) = self.shares[..at].iter().find(|other| shares_contradict(&one.content, &other.content))
            {
                return violation(format!("an honest member shared two results: {one:?}, {other:?}"));
            }
            if let Some(grant) = self.grants.iter().find(|grant| amnesia(&one.content, &grant.content)) {
                return violation(format!(
                    "an honest member seems to have forgotten what it shared: {one:?}, {grant:?}"
                ));
            }
        }
        for (at, one) in self.grants.iter().enumerate() {
            if let Some(other) = self.grants[..at].iter().find(|other| grants_contradict(&one.content, &other.content))
            {
                return violation(format!("an honest member voted twice: {one:?}, {other:?}"));
            }
        }
        for (at, one) in self.leads.iter().enumerate() {
            let place = |lead: &Lead| (lead.epoch, lead.term, lead.last);
            if self.leads[..at].iter().any(|other| place(other) == place(one) && other.chain != one.chain) {
                return violation(format!("an honest leader showed two logs: {one:?}"));
            }
        }
        Ok(())
    }
}

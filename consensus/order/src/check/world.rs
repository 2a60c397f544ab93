//! A world of members and liars, as the check by machine explores it.
//!
//! Everything that an honest member signs is known to the liars and may reach anybody, at any time, any number of times, or never: the
//! world keeps what was signed, and each action delivers something. Liars sign anything. So an order certificate is there as soon as
//! honest acknowledgements and all liars make a threshold; the same holds for votes and certificates.
//!
//! The members are the production code, [`Member`]. Where power cuts are in the scope, what a member writes waits for an action that syncs.

use super::keys::{Symbolic, conflict, key, register, sign_as};
use super::node::{Node, insert};
use crate::chain::{Head, Point};
use crate::epoch::Epoch;
use crate::member::{Durable, Member, Output, Stand, Step, Write};
use crate::proofs::{Certificate, OrderCertificate, Signatures, Support, TermProof};
use crate::signed::{Ack, Grant, Lead, Position, Share};
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
    /// States are one that differ only in what is over.
    pub(super) merges: bool,
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
            merges: false,
        }
    }

    pub(super) fn honest(&self) -> usize {
        self.members - self.liars
    }

    /// Returns how many honest signatures make a proof together with all liars.
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
    /// A liar that was elected shows another base (none: the root). It needs not be the order that it stood with.
    Rebase { term: u64, base: Option<OrderKey> },
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

pub(super) fn violation<T>(text: String) -> Result<T, Violation> {
    Err(Violation(text))
}

/// A term, and its candidate.
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

impl World {
    pub(super) fn new(scope: Scope) -> Self {
        let members = (0..scope.members).map(|number| key(World::identity(&scope, number))).collect();
        let root = Point { term: 0, index: 0, chain: Hash([7; 32]) };
        let threshold = scope.threshold;
        let epoch = Epoch::fixed(VatId([5; 32]), 0, members, threshold, root);
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

    pub(super) fn liars(&self) -> impl Iterator<Item = HostId> + use<> {
        (self.nodes.len()..self.nodes.len() + self.scope.liars).map(key)
    }

    pub(super) fn node(&self, number: usize) -> Option<&Rc<Node>> {
        self.nodes.get(number)?.as_ref()
    }

    pub(super) fn live_nodes(&self) -> impl Iterator<Item = (usize, &Rc<Node>)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.as_ref()?)))
    }

    /// The epoch after this one: the first honest member leaves, the newcomer joins.
    pub(super) fn next_epoch(&self, epoch: &Epoch, root: Point) -> Arc<Epoch> {
        let newcomer = key(self.scope.honest());
        let mut members: Vec<HostId> = epoch.members.iter().copied().filter(|member| *member != key(0)).collect();
        members.insert(0, newcomer);
        let (number, threshold) = (epoch.number + 1, epoch.threshold);
        Arc::new(Epoch::fixed(epoch.vat, number, members, threshold, root))
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
        let mut counts = BTreeMap::<_, (usize, Share)>::new();
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
            Action::Rebase { term, base } => return self.rebase(*term, base.as_ref()),
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
    pub(super) fn step(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut Member, &mut Step<'_>) -> Option<()>,
    ) -> Option<Checked> {
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
    pub(super) fn lead(&mut self, number: usize, node: &mut Node, point: Point) -> Checked {
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

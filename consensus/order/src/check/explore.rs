//! All states of a small world, breadth first, so that what is found is the shortest trace there is; depth first where only the whole
//! counts, since that needs less memory.
//!
//! Two states are one if they differ only in which honest member is which, or in how a liar's entries of one term after one log are called; and,
//! where no error is planted and no power is cut, in what is over. Members sign in their present term alone, which is looked at in each step. So of
//! a term that all honest members have left nothing matters but whether a liar led it, and its log. Of acknowledgements and shares matters how
//! many there are, if they are or may become enough, and who gave them in the term that it is in. Of shares each member's latest matters, too.

use super::live::{check_followed, check_progress};
use super::node::Node;
use super::walk::{Properties, Trace};
use super::world::{Action, Checked, Scope, Violation, World, liars_entry, violation};
use crate::chain::{Head, Point};
use crate::proofs::OrderCertificate;
use crate::signed::{Grant, Position, Share};
use crate::signing::Signed;
use quorate_ids::{Hash, HostId};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;

/// What was seen of a world.
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) complete: bool,
    pub(super) violation: Option<(Trace, Violation)>,
}

/// Looks at all states, at most `most` of them.
/// `merges`: states are one that differ only in what is over.
pub(super) fn explore(scope: Scope, most: usize, breadth: bool, merges: bool, properties: Properties) -> Explored {
    let scope = Scope { forgets: true, merges: merges && !scope.crash, ..scope };
    let start = World::new(scope);
    let orders = permutations(scope.honest());
    let mut seen = HashSet::from([fingerprint(&start, &orders)]);
    let mut live = HashSet::new();
    // Each state's parent, and which of the parent's actions led to it.
    let mut steps: Vec<(u32, u16)> = vec![(0, 0)];
    let mut open = VecDeque::from([(start, 0u32)]);
    while let Some((world, number)) = if breadth { open.pop_front() } else { open.pop_back() } {
        for (at, action) in actions(&world).iter().enumerate() {
            let mut next = world.clone();
            let Some(checked) = next.perform(action) else { continue };
            let checked = checked.and_then(|()| if scope.merges { check_signed_now(&world, &next) } else { Ok(()) });
            if checked.is_ok() && !seen.insert(fingerprint(&next, &orders)) {
                continue;
            }
            steps.push((number, at as u16));
            let checked = checked.and_then(|()| if properties.followed { check_followed(&next) } else { Ok(()) });
            let new = properties.progress && live.insert(outline(&next));
            let checked = checked.and_then(|()| if new { check_progress(&next) } else { Ok(()) });
            if let Err(violation) = checked {
                let trace = trace(scope, &steps, steps.len() - 1);
                return Explored { states: seen.len(), complete: false, violation: Some((trace, violation)) };
            }
            open.push_back((next, (steps.len() - 1) as u32));
        }
        if seen.len() > most {
            return Explored { states: seen.len(), complete: false, violation: None };
        }
    }
    Explored { states: seen.len(), complete: true, violation: None }
}

/// Returns whether the term of a member may have begun before something was signed.
fn check_signed_now(before: &World, after: &World) -> Checked {
    for (number, node) in after.live_nodes() {
        let Some(known) = before.node(number).filter(|known| !Rc::ptr_eq(known, node)) else { continue };
        let present = node.member.term().0;
        let acked = node.acks.iter().filter(|ack| !known.acks.contains(ack)).map(|ack| ack.content.term);
        let voted = node.grants.iter().filter(|grant| !known.grants.contains(grant)).map(|grant| grant.content.term);
        let shared = node.shares.iter().filter(|share| !known.shares.contains(share)).map(|share| share.content.term);
        if let Some(term) = acked.chain(voted).chain(shared).find(|term| *term != present) {
            return violation(format!("honest {number} signs in term {term}, and is in term {present}"));
        }
    }
    Ok(())
}

/// The actions that led to a state, found again from the start.
fn trace(scope: Scope, steps: &[(u32, u16)], mut at: usize) -> Trace {
    let mut way = Vec::new();
    while at > 0 {
        way.push(steps[at].1);
        at = steps[at].0 as usize;
    }
    let (mut world, mut trace) = (World::new(scope), Vec::new());
    for step in way.into_iter().rev() {
        let Some(action) = actions(&world).into_iter().nth(usize::from(step)) else { break };
        let _ = world.perform(&action);
        trace.push(action);
    }
    trace
}

/// All that may be possible.
fn actions(world: &World) -> Vec<Action> {
    let (count, orders) = (world.nodes.len(), world.order_keys());
    let mut found: Vec<Action> = (0..count).map(Action::Stand).collect();
    found.push(Action::LiarStands(None));
    found.extend(orders.iter().map(|order| Action::LiarStands(Some(*order))));
    for term in &world.terms {
        let number = term.stand.term;
        found.extend((0..count).map(|voter| Action::Hear { term: number, voter }));
        if term.proof.is_none() {
            continue;
        }
        let logs = if term.candidate < count {
            (1..=term.log.len()).map(|length| term.log[..length].to_vec()).collect()
        } else {
            liars_logs(world, &term.epoch.root, number)
        };
        for heads in logs {
            found.extend((0..count).map(|to| Action::Entries { term: number, to, prev: 0, heads: heads.clone() }));
        }
    }
    for order in orders {
        let holds = |to: &usize| world.node(*to).is_some_and(|node| node.member.durable().log.holds(order.2, &order.3));
        found.extend((0..count).filter(holds).map(|to| Action::Learn { to, order }));
    }
    if world.scope.crash {
        found.extend((0..count).flat_map(|number| [Action::Sync(number), Action::PowerCut(number)]));
    }
    found
}

/// All logs that a liar can show as the leader of a term: the beginnings of those that are known, and entries of its own after them, of
/// this term and of those that it led.
fn liars_logs(world: &World, root: &Point, term: u64) -> Vec<Vec<Head>> {
    let mut known: Vec<Vec<Head>> = vec![Vec::new()];
    for (_, node) in world.live_nodes() {
        known.push(node.member.durable().log.heads(root.index + 1, usize::MAX));
    }
    known.extend(world.terms.iter().map(|term| term.log.clone()));
    let mut logs: Vec<Vec<Head>> = Vec::new();
    for log in &known {
        for length in 0..=log.len() {
            if !logs.iter().any(|other| other[..] == log[..length]) {
                logs.push(log[..length].to_vec());
            }
        }
    }
    logs.retain(|log| log.iter().all(|head| head.term <= term));
    let led: Vec<u64> = (1..=term)
        .filter(|older| *older == term || world.terms[*older as usize - 1].candidate >= world.nodes.len())
        .collect();
    let mut at = 0;
    while let Some(log) = logs.get(at).cloned() {
        at += 1;
        if log.len() >= world.scope.entries {
            continue;
        }
        let before = log.last().map_or(root.term, |head| head.term);
        for own in led.iter().filter(|own| **own >= before) {
            for which in 0..2 {
                let mut longer = log.clone();
                longer.push(Head { term: *own, content: liars_entry(which) });
                // The second is another one only where the first is known.
                let first = logs.iter().any(|other| {
                    other.len() == longer.len()
                        && other[..log.len()] == log[..]
                        && other[log.len()] == Head { term: *own, content: liars_entry(0) }
                });
                if (which == 0 || first && is_used(world, root, &log, *own)) && !logs.contains(&longer) {
                    logs.push(longer);
                }
            }
        }
    }
    logs.retain(|log| !log.is_empty());
    logs
}

/// Returns whether the first entry of a liar in a term after a log is anywhere.
fn is_used(world: &World, root: &Point, log: &[Head], term: u64) -> bool {
    let first = root.after(log).next(&Head { term, content: liars_entry(0) });
    world.live_nodes().any(|(_, node)| {
        node.member.durable().log.holds(first.index, &first.chain)
            || node.acks.iter().any(|ack| ack.content.chain == first.chain)
            || grows_out(node.acks.iter().map(|ack| (ack.content.index, ack.content.chain)), &first)
    })
}

fn grows_out(points: impl Iterator<Item = (u64, Hash)>, first: &Point) -> bool {
    let mut points = points;
    points.any(|(index, chain)| {
        index > first.index
            && super::keys::ancestor(index, chain, first.index).is_some_and(|found| found == first.chain)
    })
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let with = |at: usize| {
        shorter.iter().map(move |order| {
            let mut longer = order.clone();
            longer.insert(at, count - 1);
            longer
        })
    };
    (0..count).flat_map(with).collect()
}

struct Tokens<'a> {
    order: &'a [usize],
    sums: (u64, u64),
}

impl Tokens<'_> {
    fn add(&mut self, token: u64) {
        self.sums.0 = super::keys::mix(self.sums.0 ^ token);
        self.sums.1 = (self.sums.1.rotate_left(23) ^ token).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }

    fn chain(&mut self, chain: &Hash) {
        self.add(u64::from_le_bytes(chain.0[..8].try_into().unwrap()));
    }

    fn who(&mut self, key: &HostId) {
        let number = usize::from(key.0[0]) - 1;
        self.add(self.order.get(number).copied().unwrap_or(number) as u64);
    }

    fn position(&mut self, position: &Position) {
        self.add(position.term << 32 | position.index);
    }

    fn order(&mut self, order: Option<&OrderCertificate>) {
        match order {
            None => self.add(u64::MAX),
            Some(order) => {
                self.position(&order.position);
                self.chain(&order.chain);
            }
        }
    }

    fn grant(&mut self, grant: &Grant) {
        self.add(grant.term);
        self.who(&grant.candidate);
        self.position(&grant.position);
        self.add(grant.since);
    }

    fn node(&mut self, world: &World, number: usize) {
        let Some(node) = world.node(number) else { return self.add(0) };
        let durable = node.member.durable();
        for durable in [durable, &node.disk].into_iter().take(if world.scope.crash { 2 } else { 1 }) {
            self.add(durable.vote.term);
            durable.vote.grant.iter().for_each(|grant| self.grant(grant));
            self.add(0xffff);
            durable.vote.leader.iter().for_each(|leader| self.who(leader));
            let last = durable.log.last();
            self.add(last.index);
            self.chain(&last.chain);
            self.order(Some(&durable.order));
            self.add(durable.since << 32 | durable.certified);
            if let Some(guard) = durable.guard {
                self.add(guard.share.term << 32 | guard.share.block);
                self.chain(&guard.share.chain);
            }
        }
        self.add(0xfff0 + u64::from(node.member.leads()));
        self.order(node.member.heard.as_ref());
        self.order(node.member.proof.as_ref().map(|proof| &proof.base));
        self.add(node.member.executed << 32 | node.member.flushed);
        self.add(node.queue.len() as u64);
        node.member.shared.iter().for_each(|(block, term)| self.add(block << 32 | term));
        let (all, present) = (!world.scope.merges, durable.vote.term);
        for ack in node.acks.iter().filter(|ack| all || ack.content.term == present) {
            self.add(ack.content.term << 32 | ack.content.index);
            self.chain(&ack.content.chain);
        }
        self.add(0xfffe);
        // The latest one is the guard, which is all that later votes are compared with.
        for share in node.shares.iter().filter(|share| all || share.content.term == present) {
            self.add(share.content.term << 32 | share.content.block);
            self.chain(&share.content.chain);
        }
        self.add(0xfffd);
        if all {
            node.grants.iter().for_each(|grant| self.grant(&grant.content));
        }
    }

    /// Returns what is signed by as many as make a proof, or may become so: how many honest members have signed it.
    fn signed<K: Ord + Copy>(
        &mut self,
        world: &World,
        signed: impl Fn(&Node) -> Vec<(u64, K)>,
        add: impl Fn(&mut Self, K),
    ) {
        let mut counts: BTreeMap<(u64, K), usize> = BTreeMap::new();
        let lists: Vec<_> = world.live_nodes().map(|(_, node)| (node.member.term().0, signed(node))).collect();
        lists.iter().flat_map(|(_, list)| list).for_each(|item| *counts.entry(*item).or_default() += 1);
        let needed = world.scope.needed();
        for (item @ (term, what), count) in counts {
            let may = lists.iter().filter(|(present, list)| *present <= term && !list.contains(&item)).count();
            if count + may >= needed {
                self.add(term);
                add(self, what);
                self.add(count.min(needed) as u64);
            }
        }
        self.add(0xfff9);
    }

    fn terms(&mut self, world: &World) {
        for term in &world.terms {
            self.add(0xfffc);
            let (number, is_liar) = (term.stand.term, term.candidate >= world.nodes.len());
            if world.scope.merges {
                if world.live_nodes().all(|(_, node)| node.member.term().0 > number) {
                    self.add(u64::from(is_liar));
                    self.log(&term.log);
                    continue;
                }
                let mut votes: Vec<_> =
                    term.grants.iter().map(|grant| (grant.content.position, grant.content.since)).collect();
                votes.sort();
                for (position, since) in votes {
                    self.position(&position);
                    self.add(since);
                }
            }
            self.add(self.order.get(term.candidate).copied().unwrap_or(term.candidate) as u64);
            self.order(Some(&term.stand.order));
            self.add(term.stand.last.0 << 32 | (term.stand.last.1 & 0xffff));
            self.add(u64::from(term.proof.is_some()));
            self.log(&term.log);
        }
    }

    fn log(&mut self, heads: &[Head]) {
        for head in heads {
            self.add(head.term);
            self.chain(&head.content);
        }
    }
}

/// The same for states that are one: the least of the sums over all ways to number the honest members.
fn fingerprint(world: &World, orders: &[Vec<usize>]) -> (u64, u64) {
    let sum = |order: &Vec<usize>| {
        let mut tokens = Tokens { order, sums: (1, 2) };
        for place in 0..order.len() {
            let number = order.iter().position(|at| *at == place).unwrap_or(place);
            tokens.node(world, number);
            tokens.add(0xfffb);
        }
        tokens.terms(world);
        if world.scope.merges {
            let acks = |node: &Node| {
                node.acks.iter().map(|Signed { content: ack, .. }| (ack.term, (ack.index, ack.chain))).collect()
            };
            let shares = |node: &Node| {
                let one = |Signed { content: share, .. }: &Signed<Share>| (share.term, (share.block, share.chain));
                node.shares.iter().map(one).collect()
            };
            let add = |tokens: &mut Tokens<'_>, (index, chain): (u64, Hash)| {
                tokens.add(index);
                tokens.chain(&chain);
            };
            tokens.signed(world, acks, add);
            tokens.signed(world, shares, add);
        }
        tokens.sums
    };
    orders.iter().map(sum).min().unwrap_or_default()
}

/// Returns what progress depends on: logs, orders and what was shared.
fn outline(world: &World) -> Vec<(u64, u64)> {
    let one = |number: usize| {
        let mut tokens = Tokens { order: &[], sums: (3, 4) };
        let Some(node) = world.node(number) else { return (0, 0) };
        let durable = node.member.durable();
        let last = durable.log.last();
        tokens.add(last.index);
        tokens.chain(&last.chain);
        tokens.order(Some(&durable.order));
        tokens.order(node.member.heard.as_ref());
        tokens.add(durable.since << 32 | durable.certified);
        node.member.shared.keys().for_each(|block| tokens.add(*block));
        tokens.sums
    };
    let mut all: Vec<(u64, u64)> = (0..world.nodes.len()).map(one).collect();
    all.sort();
    all
}

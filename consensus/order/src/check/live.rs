//! Progress: from every state, with liars silent and the network timely, honest members certify something within a few elections; and an
//! honest leader whose election was shown is followed by all honest members.

use super::keys::key;
use super::world::{Action, Checked, Scope, Violation, World};
use crate::member::{Member, Message, Output};
use crate::refusal::VoteRefused;

/// Most elections that it may take.
const ELECTIONS: usize = 4;

/// Returns whether honest members can go on by themselves.
pub(super) fn check_progress(world: &World) -> Checked {
    let scope = Scope {
        liars: 0,
        crash: false,
        terms: u64::MAX,
        entries: usize::MAX,
        finals: true,
        forgets: false,
        ..world.scope
    };
    let mut world = World { scope, ..world.clone() };
    for number in 0..world.nodes.len() {
        let _ = world.perform(&Action::Sync(number));
    }
    // Terms go on after whatever term a member is in.
    catch_up(&mut world);
    if goes_on(&world, ELECTIONS) { Ok(()) } else { Err(Violation(format!("stuck: {}", describe(&world)))) }
}

fn describe(world: &World) -> String {
    let each = world.live_nodes().map(|(number, node)| {
        let durable = node.member.durable();
        let (order, log) = (durable.order.position, durable.log.last());
        format!(
            "{number}: term {} order {}@{} log to {}@{}",
            durable.vote.term, order.index, order.term, log.index, log.term
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Candidates in the order in which they had best stand, then all sequences of them.
fn goes_on(world: &World, elections: usize) -> bool {
    if elections == 0 {
        return false;
    }
    let rank = |member: &Member| {
        let durable = member.durable();
        let last = durable.log.last();
        (durable.order.position, last.term, last.index)
    };
    let mut candidates: Vec<_> = world.live_nodes().map(|(number, node)| (rank(&node.member), number)).collect();
    candidates.sort();
    let mut failed = Vec::new();
    for (_, candidate) in candidates.into_iter().rev() {
        let mut next = world.clone();
        if elect(&mut next, candidate) {
            return true;
        }
        failed.push(next);
    }
    failed.iter().any(|next| goes_on(next, elections - 1))
}

/// Members show one another what is certified, and checkpoints of it.
fn catch_up(world: &mut World) {
    let shown: Vec<_> = world
        .live_nodes()
        .filter_map(|(_, node)| {
            let durable = node.member.durable();
            Some((durable.log.point(durable.certified)?, durable.certificate.clone()?))
        })
        .collect();
    for number in 0..world.nodes.len() {
        for (point, certificate) in &shown {
            let _ = world.with(number, |member, step| {
                let _ = member.checkpoint(*point, certificate.clone(), step);
            });
        }
    }
}

/// Has a member stand, and the others vote, follow, acknowledge and share. Returns whether all of its log was
/// certified.
pub(super) fn elect(world: &mut World, candidate: usize) -> bool {
    let highest = world.live_nodes().map(|(_, node)| node.member.term().0).max().unwrap_or(0);
    while (world.terms.len() as u64) < highest {
        let Some(last) = world.terms.last().cloned() else { return false };
        world.terms.push(last);
    }
    if world.perform(&Action::Stand(candidate)).is_none_or(|checked| checked.is_err()) {
        return false;
    }
    let Some(stand) = world.terms.last().map(|term| term.stand.clone()) else { return false };
    for voter in 0..world.nodes.len() {
        let mut told: Vec<VoteRefused> = Vec::new();
        let _ = world.with(voter, |member, step| {
            let _ = member.vote(&key(candidate), &stand, false, step);
            told.extend(step.outputs.iter().filter_map(|output| match output {
                Output::Send { message: Message::Refused(refused), .. } => Some(refused.clone()),
                _ => None,
            }));
        });
        for refused in told {
            let _ = world.with(candidate, |member, step| {
                let _ = member.refused(refused, step);
            });
        }
    }
    let at = world.terms.len() - 1;
    if world.deliver_grants(at).is_err() || !world.node(candidate).is_some_and(|node| node.member.leads()) {
        return false;
    }
    lead(world, candidate)
}

fn lead(world: &mut World, leader: usize) -> bool {
    let Some(node) = world.node(leader).cloned() else { return false };
    let log = &node.member.durable().log;
    let (from, last, term) = (log.root().index + 1, log.last(), node.member.term().0);
    let open = node.member.durable().certified + 1;
    let signing = super::keys::Symbolic(key(leader));
    let step = crate::member::Step { signing: &signing, outputs: &mut Vec::new() };
    let Ok(append) = node.member.append_from(from, usize::MAX, true, &step) else { return false };
    for follower in (0..world.nodes.len()).filter(|follower| *follower != leader) {
        let _ = world.with(follower, |member, step| {
            let _ = member.append(&key(leader), append.clone(), step);
        });
    }
    let orders: Vec<_> = world.order_keys().into_iter().filter(|order| order.1 == term).collect();
    for order in orders {
        for to in 0..world.nodes.len() {
            let _ = world.perform(&Action::Learn { to, order });
        }
    }
    let certified = world.certified();
    (open..=last.index).all(|block| certified.iter().any(|share| share.term == term && share.block == block))
}

/// Returns whether each honest leader of a term that no honest member has left is followed by all of them.
pub(super) fn check_followed(world: &World) -> Checked {
    for term in &world.terms {
        let number = term.stand.term;
        let Some(leader) = world.node(term.candidate) else { continue };
        let left = world.live_nodes().any(|(_, node)| node.member.term().0 > number);
        if left || leader.member.term().0 != number || !leader.member.leads() || term.proof.is_none() {
            continue;
        }
        let from = leader.member.durable().log.root().index + 1;
        for (follower, node) in world.live_nodes().filter(|(follower, _)| *follower != term.candidate) {
            let mut member = node.member.clone();
            if member.epoch().number != leader.member.epoch().number || member.durable().log.last().index + 1 < from {
                continue;
            }
            let signing = super::keys::Symbolic(key(term.candidate));
            let mut step = crate::member::Step { signing: &signing, outputs: &mut Vec::new() };
            let Ok(append) = leader.member.append_from(from, usize::MAX, true, &step) else { continue };
            if let Err(refusal) = member.append(&key(term.candidate), append, &mut step) {
                let text =
                    format!("{follower} refuses the honest leader {} of term {number}: {refusal}", term.candidate);
                return Err(Violation(text));
            }
        }
    }
    Ok(())
}

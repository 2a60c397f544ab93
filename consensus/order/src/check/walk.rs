//! Random walks through a world, and what is left of one that violates something when all is taken out that it does not need.

use super::live::{check_followed, check_progress};
use super::world::{Action, Checked, Scope, Violation, World, activate, liars_entry};
use crate::chain::Head;
use quorate_ids::Hash;
use std::rc::Rc;

/// A generator whose whole state is the seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (super::keys::mix(self.0) % sides.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { items.get(self.roll(items.len())).cloned() }
    }
}

/// Which properties a walk checks, beside agreement, evidence and what a member alone must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    /// Progress is possible after each action.
    pub(super) progress: bool,
    /// Honest leaders are followed.
    pub(super) followed: bool,
}

pub(super) const SAFETY: Properties = Properties { progress: false, followed: true };
pub(super) const ALL: Properties = Properties { progress: true, followed: true };

fn check(before: &World, world: &World, properties: Properties) -> Checked {
    if properties.followed {
        check_followed(world)?;
    }
    if properties.progress {
        check_progress(world)?;
    }
    if world.scope.liars == 0 && !world.scope.epochs {
        check_no_undo(before, world)?;
    }
    Ok(())
}

/// Where nobody lies, no order certificate is given up.
fn check_no_undo(before: &World, world: &World) -> Checked {
    for (number, node) in world.live_nodes() {
        let Some(earlier) = before.node(number) else { continue };
        let order = &earlier.disk.order;
        let root = node.member.durable().log.root().index;
        if order.position.index >= root && !node.disk.log.holds(order.position.index, &order.chain) {
            return Err(Violation(format!("{number} gives up an order though nobody lies: {order:?}")));
        }
    }
    Ok(())
}

/// Chooses an action that may be possible.
fn choose(world: &World, dice: &mut Dice) -> Option<Action> {
    let count = world.nodes.len();
    let scope = world.scope;
    let any = dice.roll(count);
    let term = 1 + dice.roll(world.terms.len()) as u64;
    let kinds = 7 + 2 * usize::from(scope.crash) + 3 * usize::from(scope.finals) + 3 * usize::from(scope.epochs);
    let mut kind = dice.roll(kinds);
    if kind < 7 {
        return match kind {
            0 => Some(Action::Stand(any)),
            1 | 6 => {
                let mut orders = vec![None];
                orders.extend(world.order_keys().into_iter().map(Some));
                let order = dice.pick(&orders)?;
                Some(if kind == 1 { Action::LiarStands(order) } else { Action::Rebase { term, base: order } })
            }
            2 => Some(Action::Hear { term, voter: any }),
            3 | 4 => entries(world, term, any, dice),
            _ => Some(Action::Learn { to: any, order: dice.pick(&world.order_keys())? }),
        };
    }
    kind -= 7;
    if scope.crash {
        if kind < 2 {
            return Some(if kind == 0 { Action::Sync(any) } else { Action::PowerCut(any) });
        }
        kind -= 2;
    }
    if scope.finals {
        if kind < 3 {
            let share = dice.pick(&world.certified());
            return match kind {
                0 => Some(Action::Propose { leader: any, content: Hash([b'c' + dice.roll(2) as u8; 32]) }),
                1 => Some(Action::Certify { to: any, share: share? }),
                _ => {
                    let share = share?;
                    let holder = world.live_nodes().find_map(|(_, node)| {
                        let log = &node.member.durable().log;
                        log.point(share.block).filter(|point| point.chain == share.chain)
                    });
                    Some(Action::Checkpoint { to: any, share, entry_term: holder?.term })
                }
            };
        }
        kind -= 3;
    }
    match kind {
        0 => Some(Action::HandOver { from: dice.roll(count + scope.liars), to: any }),
        1 => Some(Action::Switch(any)),
        _ => match dice.roll(2) {
            0 => Some(Action::Join { shown_by: any }),
            _ => Some(Action::Propose { leader: any, content: activate() }),
        },
    }
}

fn entries(world: &World, term: u64, to: usize, dice: &mut Dice) -> Option<Action> {
    let found = Rc::clone(world.terms.get(usize::try_from(term).ok()?.checked_sub(1)?)?);
    found.proof.as_ref()?;
    let honest = found.candidate < world.nodes.len();
    let mut heads = if honest { found.log.clone() } else { liars_log(world, &found.epoch.root, term, dice) };
    if honest {
        let length = heads.len();
        heads.truncate(if dice.roll(2) == 0 { length } else { dice.roll(length + 1) });
    }
    let prev = if world.scope.finals && dice.roll(2) == 0 { dice.roll(heads.len() + 1) } else { 0 };
    Some(Action::Entries { term, to, prev, heads })
}

/// Part of a log that is known, and some entries of the liar's own.
fn liars_log(world: &World, root: &crate::chain::Point, term: u64, dice: &mut Dice) -> Vec<Head> {
    let mut logs: Vec<Vec<Head>> = vec![Vec::new()];
    for (_, node) in world.live_nodes() {
        let log = &node.member.durable().log;
        if log.root() == *root {
            logs.push(log.heads(root.index + 1, usize::MAX));
        }
    }
    logs.extend(world.terms.iter().filter(|known| known.epoch.root == *root).map(|known| known.log.clone()));
    let mut heads = dice.pick(&logs).unwrap_or_default();
    heads.truncate(dice.roll(heads.len() + 1));
    heads.retain(|head| head.term <= term);
    let room = world.scope.entries.saturating_sub(heads.len());
    for _ in 0..dice.roll(room + 1) {
        let before = heads.last().map_or(root.term, |head| head.term);
        let led = |older: &u64| world.scope.forge || world.terms[*older as usize - 1].candidate >= world.nodes.len();
        let terms: Vec<u64> = (before.max(1)..=term).filter(|older| *older == term || led(older)).collect();
        let own = if dice.roll(2) == 0 { term } else { dice.pick(&terms).unwrap_or(term) };
        let content =
            if world.scope.epochs && dice.roll(3) == 0 { activate() } else { liars_entry(dice.roll(2) as u8) };
        heads.push(Head { term: own, content });
    }
    heads
}

pub(super) type Trace = Vec<Action>;

/// A trace as text: entries are their terms and the letter of what they hold.
pub(super) fn show(trace: &[Action]) -> String {
    let letters = |heads: &[Head]| -> String {
        heads.iter().map(|head| format!("{}{}", head.term, char::from(head.content.0[0]))).collect()
    };
    let line = |(at, action): (usize, &Action)| match action {
        Action::Entries { term, to, prev, heads } => {
            format!("{:3}. {to} gets {} after {prev} from the leader of term {term}\n", at + 1, letters(heads))
        }
        other => format!("{:3}. {other:?}\n", at + 1),
    };
    trace.iter().enumerate().map(line).collect()
}

/// One walk. Returns the trace that violates something, cut after the violation.
pub(super) fn walk(scope: Scope, seed: u64, steps: usize, properties: Properties) -> Result<(), (Trace, Violation)> {
    let (mut world, mut dice, mut trace) =
        (World::new(scope), Dice(seed.wrapping_mul(0x1234_5678_9abc_def1)), Vec::new());
    for _ in 0..steps {
        for _ in 0..20 {
            let Some(action) = choose(&world, &mut dice) else { continue };
            let mut next = world.clone();
            let Some(checked) = next.perform(&action) else { continue };
            trace.push(action);
            if let Err(violation) = checked.and_then(|()| check(&world, &next, properties)) {
                return Err((trace, violation));
            }
            world = next;
            break;
        }
    }
    check_end(&world).map_err(|violation| (trace, violation))
}

/// At the end of each walk honest members must be able to go on.
fn check_end(world: &World) -> Checked {
    if world.scope.epochs { Ok(()) } else { check_progress(world) }
}

/// Goes through a trace, leaving out what is not possible. Returns the violation and the actions that led to it.
pub(super) fn replay(scope: Scope, trace: &[Action], properties: Properties) -> Option<(Trace, Violation)> {
    let (mut world, mut done) = (World::new(scope), Vec::new());
    for action in trace {
        let mut next = world.clone();
        let Some(checked) = next.perform(action) else { continue };
        done.push(action.clone());
        if let Err(violation) = checked.and_then(|()| check(&world, &next, properties)) {
            return Some((done, violation));
        }
        world = next;
    }
    check_end(&world).err().map(|violation| (done, violation))
}

/// Takes out of a trace what it does not need to violate something.
pub(super) fn shrink(scope: Scope, mut trace: Trace, properties: Properties) -> (Trace, Violation) {
    let mut found = Violation("nothing: the trace does not violate anything again".into());
    loop {
        let shorter = (0..trace.len()).rev().find_map(|at| {
            let mut shorter = trace.clone();
            shorter.remove(at);
            replay(scope, &shorter, properties)
        });
        match shorter {
            Some((shorter, violation)) => (trace, found) = (shorter, violation),
            None => {
                if let Some((_, violation)) = replay(scope, &trace, properties) {
                    found = violation;
                }
                return (trace, found);
            }
        }
    }
}

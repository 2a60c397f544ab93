//! Commands that members want ordered: given to a leader, and not ordered yet. From this table follow the reminders to the leader, and
//! the complaints.
//!
//! Invariants: the table has at most [`MAX_WANTED`] commands, and [`MAX_WANTED_BYTES`] bytes, of one member. An entry goes
//! only when it is ordered in the log here. Commands are compared by their bytes, so a leader that orders the given bytes is never
//! complained of for anything else. With each new leader all clocks begin anew.
//!
//! Absent: whether a command is useful. Each replica finds that out when it executes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

use super::wire::propose::Payload;
use crate::codec::{self, MAX_COMMAND_BYTES};
use crate::state::block::Block;
use quorate_ids::{Hash, HostId};

/// Commands that one member may want at a time.
pub(crate) const MAX_WANTED: usize = 8;
/// Their bytes: one of the largest has room.
pub(crate) const MAX_WANTED_BYTES: usize = MAX_COMMAND_BYTES + (1 << 10);

/// Something wanted.
struct Want {
    payload: Payload,
    bytes: usize,
    /// The member that wants it.
    by: BTreeSet<HostId>,
    /// Since when the present leader could order it.
    since: Instant,
    /// Where in the log to look for it next.
    next: u64,
    /// Where it is in the log, and the chain up to there.
    placed: Option<(u64, Hash)>,
    /// The members that were told of it in this term, and the time of the last attempt.
    told: BTreeSet<HostId>,
    tried: Option<Instant>,
}

/// See the head of the module.
pub(crate) struct Wants {
    own: HostId,
    wants: BTreeMap<Hash, Want>,
}

/// Returns what stands for something wanted in complaints.
pub(crate) fn name(payload: &Payload) -> Hash {
    Hash::of(&codec::encode(payload))
}

/// Returns whether a block has it.
fn holds(block: &Block, payload: &Payload) -> bool {
    match payload {
        Payload::Command(bytes) => block.commands.contains(bytes),
        Payload::Control(control) => block.control.as_ref() == Some(control),
    }
}

impl Wants {
    /// Nothing is wanted.
    pub(crate) fn new(own: HostId) -> Wants {
        Wants { own, wants: BTreeMap::new() }
    }

    /// Returns whether there is nothing to look after.
    pub(crate) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// A member wants something; it may be in the log from the index `next` on. `false`: that member wants too much already.
    pub(crate) fn add(&mut self, payload: Payload, by: HostId, next: u64, now: Instant) -> bool {
        let encoded = codec::encode(&payload);
        let (name, bytes) = (Hash::of(&encoded), encoded.len());
        let of_it = || self.wants.values().filter(|want| want.by.contains(&by));
        let kept: usize = of_it().map(|want| want.bytes).sum();
        let has_room = of_it().count() < MAX_WANTED && kept + bytes <= MAX_WANTED_BYTES;
        if let Some(known) = self.wants.get_mut(&name) {
            // On the account of the member that brought it first.
            if by == self.own {
                known.by.insert(by);
            }
            return true;
        }
        if has_room {
            let (by, told) = (BTreeSet::from([by]), BTreeSet::new());
            let want = Want { payload, bytes, by, since: now, next, placed: None, told, tried: None };
            self.wants.insert(name, want);
        }
        has_room
    }

    /// Another leader: it has all the time.
    pub(crate) fn begin_term(&mut self, now: Instant) {
        for want in self.wants.values_mut() {
            (want.since, want.tried) = (now, None);
            want.told.clear();
        }
    }

    /// From where on the log has to be looked at; nothing if it is for no want's sake.
    pub(crate) fn next(&self) -> Option<u64> {
        self.wants.values().filter(|want| want.placed.is_none()).map(|want| want.next).min()
    }

    /// A block of the log here, in order.
    pub(crate) fn look(&mut self, index: u64, chain: Hash, block: &Block) {
        for want in self.wants.values_mut().filter(|want| want.placed.is_none() && want.next <= index) {
            if holds(block, &want.payload) {
                want.placed = Some((index, chain));
            }
        }
    }

    /// The log was looked at up to before this index.
    pub(crate) fn looked(&mut self, next: u64) {
        for want in self.wants.values_mut().filter(|want| want.placed.is_none()) {
            want.next = want.next.max(next);
        }
    }

    /// Takes out what is ordered. `begin`: where the log begins; `chain_at`: its chain up to an index.
    pub(crate) fn settle(&mut self, begin: u64, ordered: u64, chain_at: impl Fn(u64) -> Option<Hash>) -> Vec<Hash> {
        let mut settled = Vec::new();
        for (name, want) in &mut self.wants {
            let Some((index, chain)) = want.placed else { continue };
            if index > begin && chain_at(index) != Some(chain) {
                // It was cut off the log again.
                (want.placed, want.next) = (None, index.min(want.next));
            } else if index <= ordered {
                settled.push(*name);
            }
        }
        settled.iter().for_each(|name| drop(self.wants.remove(name)));
        settled
    }

    /// Returns what the present leader has had for at least so long without ordering it: the one that waits longest.
    pub(crate) fn overdue(&self, patience: Duration, now: Instant) -> Option<Hash> {
        let waiting = self.wants.iter().filter(|(_, want)| now >= want.since + patience);
        waiting.min_by_key(|(_, want)| want.since).map(|(name, _)| *name)
    }

    /// Returns the reminders that are due, with where each is looked for next: to all others for this member's own commands, and to
    /// the leader for commands that it has not ordered for half of `patience`. The leader is told again, as it may have found it before that place.
    #[allow(clippy::wrong_self_convention, reason = "it turns nothing into anything: it says what is to be done")]
    pub(crate) fn to_tell(
        &mut self,
        others: &[HostId],
        leader: Option<HostId>,
        patience: Duration,
        now: Instant,
    ) -> Vec<(HostId, Payload, u64)> {
        let mut telling = Vec::new();
        for want in self.wants.values_mut().filter(|want| want.placed.is_none()) {
            if want.tried.is_some_and(|tried| now < tried + patience / 2) {
                continue;
            }
            let is_own = want.by.contains(&self.own);
            if !is_own && now < want.since + patience / 2 {
                continue;
            }
            want.tried = Some(now);
            let concerned = others.iter().filter(|other| is_own || Some(**other) == leader);
            let untold = concerned.filter(|other| Some(**other) == leader || !want.told.contains(*other));
            telling.extend(untold.map(|other| (*other, want.payload.clone(), want.next)));
        }
        telling
    }

    /// A member has taken note of something.
    pub(crate) fn told(&mut self, name: &Hash, member: HostId) {
        if let Some(want) = self.wants.get_mut(name) {
            want.told.insert(member);
        }
    }

    /// Returns what this member, as the leader, has to put first into a block: once in a while each.
    #[allow(clippy::wrong_self_convention, reason = "it turns nothing into anything: it says what is to be done")]
    pub(crate) fn to_order(&mut self, pause: Duration, now: Instant) -> Vec<Payload> {
        let due = |want: &&mut Want| want.placed.is_none() && want.tried.is_none_or(|tried| now >= tried + pause);
        let mut due: Vec<&mut Want> = self.wants.values_mut().filter(due).collect();
        due.sort_by_key(|want| want.since);
        due.into_iter()
            .map(|want| {
                want.tried = Some(now);
                want.payload.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    fn host(seed: u8) -> HostId {
        HostId([seed; 32])
    }

    fn command(number: u8, size: usize) -> Payload {
        Payload::Command(vec![number; size].into())
    }

    fn block(commands: &[Payload]) -> Block {
        let bytes = |payload: &Payload| match payload {
            Payload::Command(bytes) => bytes.clone(),
            Payload::Control(_) => unreachable!(),
        };
        Block { commands: commands.iter().map(bytes).collect(), control: None }
    }

    #[test]
    fn a_member_wants_so_much_and_no_more_and_others_have_room_all_the_same() {
        let (mut wants, now) = (Wants::new(host(1)), Instant::now());
        let took: Vec<bool> = (0..20).map(|number| wants.add(command(number, 10), host(2), 0, now)).collect();
        assert_eq!(took.iter().filter(|took| **took).count(), MAX_WANTED);
        assert!(wants.add(command(99, MAX_COMMAND_BYTES), host(3), 0, now));
        assert!(!wants.add(command(98, MAX_COMMAND_BYTES), host(3), 0, now));
        assert!(wants.add(command(0, 10), host(3), 0, now), "it is there");
        assert!(!wants.add(command(77, 10), host(2), 0, now));
        // What is ordered makes room.
        wants.look(5, Hash([5; 32]), &block(&[command(0, 10)]));
        assert_eq!(wants.settle(0, 5, |_| Some(Hash([5; 32]))), [name(&command(0, 10))]);
        assert!(wants.add(command(77, 10), host(2), 0, now));
    }

    #[test]
    fn only_what_is_ordered_on_the_log_here_is_wanted_no_more() {
        let (mut wants, now) = (Wants::new(host(1)), Instant::now());
        wants.add(command(1, 10), host(2), 5, now);
        let wanted = name(&command(1, 10));
        // Something that contains it is something else.
        wants.look(6, Hash([6; 32]), &block(&[command(1, 11)]));
        wants.looked(7);
        assert_eq!(wants.next(), Some(7));
        wants.look(7, Hash([7; 32]), &block(&[command(2, 10), command(1, 10)]));
        assert_eq!(wants.settle(0, 6, |_| Some(Hash([7; 32]))), [], "in the log, and not proven");
        assert_eq!(wants.overdue(PATIENCE, now + PATIENCE), Some(wanted));
        // The log is cut, and goes on otherwise.
        assert_eq!(wants.settle(0, 9, |_| Some(Hash([8; 32]))), []);
        assert_eq!(wants.next(), Some(7), "it is looked for again");
        wants.look(8, Hash([9; 32]), &block(&[command(1, 10)]));
        assert_eq!(wants.settle(0, 8, |_| Some(Hash([9; 32]))), [wanted]);
        assert!(wants.is_empty());
    }

    #[test]
    fn the_others_are_told_of_what_this_member_wants_and_the_leader_in_the_end_of_everything() {
        let (mut wants, now) = (Wants::new(host(1)), Instant::now());
        wants.add(command(1, 10), host(1), 0, now);
        wants.add(command(2, 10), host(2), 0, now);
        let others = [host(2), host(3)];
        let told = |wants: &mut Wants, after: Duration| -> Vec<(HostId, Payload, u64)> {
            wants.to_tell(&others, Some(host(3)), PATIENCE, now + after)
        };
        assert_eq!(told(&mut wants, Duration::ZERO), [(host(2), command(1, 10), 0), (host(3), command(1, 10), 0)]);
        wants.told(&name(&command(1, 10)), host(2));
        assert_eq!(told(&mut wants, PATIENCE / 4), []);
        let mut half = told(&mut wants, PATIENCE / 2);
        half.sort_by_key(|(_, payload, _)| name(payload));
        let mut both = [(host(3), command(1, 10), 0), (host(3), command(2, 10), 0)];
        both.sort_by_key(|(_, payload, _)| name(payload));
        assert_eq!(half, both, "the leader, and who has not answered, are told again");
        assert!(wants.overdue(PATIENCE, now + PATIENCE / 2).is_none());
        assert!(wants.overdue(PATIENCE, now + PATIENCE).is_some());
        wants.begin_term(now + PATIENCE);
        assert!(wants.overdue(PATIENCE, now + PATIENCE).is_none(), "another leader has all the time");
        assert_eq!(told(&mut wants, PATIENCE).len(), 2, "and is told");
        assert_eq!(wants.to_order(PATIENCE, now + PATIENCE).len(), 1, "but what was told just now");
        assert_eq!(wants.to_order(PATIENCE, now + PATIENCE * 2).len(), 2);
    }
}

//! Shares fuel among senders: counts how much the messages of each have burnt, and decides whose turn it is.
//!
//! A peer's messages are taken in while the peer is not ahead of others: while its messages have burnt at most one turn's fuel
//! more than those of any other active peer. A peer that is ahead waits, and its command takes in nothing. So two peers that
//! send as much as they can burn equal parts. Endless loops of one sender hardly delay another that sends little. These are
//! the virtual times of fair queueing (A. Demers, S. Keshav and S. Shenker, "Analysis and Simulation of a Fair Queueing Algorithm", 1989).
//!
//! The whole host's work counts as burnt, not only the interpreter's: see [`HostWork`]. A crank cannot be cut, so one that burns
//! more than a turn costs more than it burns ([`FuelShares::of_crank`]).
//!
//! A peer's lead fades as time passes, by about a tenth of what a processor burns in that time. So a peer with heavy
//! work makes progress beside restless light ones, and an attacker gets a tenth of the time.
//!
//! A peer is active for [`PATIENCE`] blocks after a command of its own. So a peer that is ahead waits for others only while they have work,
//! or had some a moment ago: a caller that waits for each answer has nothing under way in between. Blocks that bring only commands of
//! waiting peers count, so that a peer whose others have gone gets its turn.
//!
//! Invariants: all of it is a function of the log, and in the state root, except for the fuel that a block has burnt, which ends with the block. A peer
//! that comes, or comes back, begins where the least active peer is. So it neither saves fuel by staying away nor owes for earlier
//! work. A debt stays as long as the peer is known.

use super::host_work::HostWork;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Blocks after which a peer that has sent nothing is not active any more.
pub const PATIENCE: u64 = 16;

/// How fuel is shared among senders: parameters of the vat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuelShares {
    /// What a peer's messages may burn more than those of any other active peer and still be taken in.
    pub per_turn: u64,
    /// A block takes in no more messages once it has burnt so much; it takes in one at least.
    pub per_block: u64,
    /// Whether the host's own work counts as fuel, too: see [`HostWork`](super::host_work::HostWork). Always, but in tests.
    pub host_work: bool,
}

/// What a lead fades by in a millisecond: about a tenth of what a processor burns in it.
const EASED_PER_MS: u64 = 500_000;
/// A crank that burns more than a turn costs so many times what it burns beyond it,
const LONG_TIMES: u64 = 40;
/// up to so many turns.
const LONG_MOST_TURNS: u64 = 40;

impl FuelShares {
    /// Everything is taken in as it comes.
    pub const UNLIMITED: FuelShares = FuelShares { per_turn: u64::MAX, per_block: u64::MAX, host_work: false };

    /// Those of a vat for which nothing else is said: a turn is about 10 ms of a processor, and a block 20 ms.
    pub const DEFAULT: FuelShares = FuelShares { per_turn: 50_000_000, per_block: 100_000_000, host_work: true };

    /// By how much less a peer is ahead after so many milliseconds.
    pub(super) fn eased_in(self, ms: u64) -> u64 {
        EASED_PER_MS.saturating_mul(ms)
    }

    /// Returns what a crank costs that burnt so much. One that burns more than a turn cannot be cut, and others wait for all of it. So it costs more
    /// than it burns: by that, callers meet one such crank in some seconds, whether it takes twenty milliseconds or a second.
    pub(super) fn of_crank(self, burnt: u64) -> u64 {
        let beyond = burnt.saturating_sub(self.per_turn).saturating_mul(LONG_TIMES);
        burnt.saturating_add(beyond.min(self.per_turn.saturating_mul(LONG_MOST_TURNS)))
    }

    /// Returns what the host's own work costs.
    pub(super) fn of_host(self, work: HostWork) -> u64 {
        if self.host_work { work.fuel() } else { 0 }
    }
}

/// One peer's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Fuel burnt on its account, counted from where it came in.
    burnt: u64,
    /// The last block in which it was active.
    last: u64,
    /// The block since which messages of it wait that a block had no fuel for; 0: none do.
    waits_since: u64,
}

/// What is kept of all peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turns {
    /// Where peers begin.
    clock: u64,
    /// Counts blocks that brought messages, left work undone, or made a peer wait.
    blocks: u64,
    entries: BTreeMap<VatId, Entry>,
}

impl Turns {
    /// Returns how much a peer's messages have burnt.
    pub fn burnt(&self, peer: &VatId) -> u64 {
        self.entries.get(peer).map_or(self.clock, |entry| entry.burnt.max(self.clock))
    }

    fn is_active(&self, entry: &Entry) -> bool {
        entry.last.saturating_add(PATIENCE) > self.blocks
    }

    fn entry(&mut self, peer: &VatId) -> &mut Entry {
        let fresh = Entry { burnt: self.clock, last: 0, waits_since: 0 };
        let entry = self.entries.entry(*peer).or_insert(fresh);
        entry.burnt = entry.burnt.max(self.clock);
        entry
    }

    /// The least that an active peer other than this one has burnt.
    pub fn least_of_others(&self, peer: &VatId) -> Option<u64> {
        let others = self.entries.iter().filter(|(other, entry)| *other != peer && self.is_active(entry));
        others.map(|(_, entry)| entry.burnt.max(self.clock)).min()
    }

    /// Returns how much more a peer has burnt than the least of the other active ones.
    pub fn ahead(&self, peer: &VatId) -> u64 {
        self.least_of_others(peer).map_or(0, |least| self.burnt(peer).saturating_sub(least))
    }

    /// The peers that have to wait for others now.
    pub fn waiting(&self, per_turn: u64) -> impl Iterator<Item = VatId> + '_ {
        let burnt = |entry: &Entry| entry.burnt.max(self.clock);
        let active = self.entries.values().filter(|entry| self.is_active(entry));
        // A peer that has burnt more than the least active one is not that one. If no peer is active, none waits.
        let least = active.map(burnt).min().unwrap_or(u64::MAX);
        let waits = self.entries.iter().filter(move |(_, entry)| burnt(entry).saturating_sub(least) > per_turn);
        waits.map(|(peer, _)| *peer)
    }

    /// Returns whether any peer has to wait for others now.
    pub fn has_waiting(&self, per_turn: u64) -> bool {
        self.waiting(per_turn).next().is_some()
    }

    /// Returns whether messages of several peers compete for the vat's time now.
    pub fn is_shared(&self) -> bool {
        self.entries.values().filter(|entry| self.is_active(entry)).nth(1).is_some()
    }

    /// By what commands of one block are ordered: who has burnt least is first, and of equals who has waited longest.
    pub fn rank(&self, peer: &VatId) -> (u64, u64) {
        let since = self.entries.get(peer).map_or(0, |entry| entry.waits_since);
        (self.burnt(peer), if since == 0 { u64::MAX } else { since })
    }

    /// A peer's messages are taken in by this block.
    pub fn note_active(&mut self, peer: &VatId) {
        let block = self.blocks;
        let entry = self.entry(peer);
        (entry.last, entry.waits_since) = (block, 0);
    }

    /// A peer's messages have to wait because this block has no fuel left.
    pub fn note_turned_away(&mut self, peer: &VatId) {
        let block = self.blocks;
        let entry = self.entry(peer);
        entry.last = block;
        if entry.waits_since == 0 {
            entry.waits_since = block.max(1);
        }
    }

    /// Fuel was burnt on a peer's account.
    pub fn charge(&mut self, peer: &VatId, fuel: u64) {
        let entry = self.entry(peer);
        entry.burnt = entry.burnt.saturating_add(fuel);
    }

    /// Ends a block that brought messages, left work undone, or made a peer wait.
    pub fn end_block(&mut self) {
        self.blocks = self.blocks.saturating_add(1);
        let active = self.entries.values().filter(|entry| self.is_active(entry));
        let least = active.map(|entry| entry.burnt).min().unwrap_or(0);
        self.clock = self.clock.max(least);
        let (clock, blocks) = (self.clock, self.blocks);
        // Of a peer that neither is active nor owes anything there is nothing to remember.
        self.entries.retain(|_, entry| entry.last.saturating_add(PATIENCE) > blocks || entry.burnt > clock);
    }

    /// Time has passed: reduces each peer's lead by `fuel`, since the others count as if they had burnt some.
    pub fn ease(&mut self, fuel: u64) {
        let active = self.entries.values().filter(|entry| self.is_active(entry));
        let least = active.map(|entry| entry.burnt).min().unwrap_or(0).max(self.clock);
        let most = self.entries.values().map(|entry| entry.burnt).max().unwrap_or(0);
        self.clock = least.saturating_add(fuel).min(most).max(self.clock);
    }

    /// A peer is no more.
    pub fn forget(&mut self, peer: &VatId) {
        self.entries.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: u64 = 10;

    fn peer(name: u8) -> VatId {
        VatId([name; 32])
    }

    /// A block in which these burn so much, if it is their turn; says who had to wait.
    fn block(turns: &mut Turns, senders: &[(u8, u64)]) -> Vec<u8> {
        let mut waited = Vec::new();
        for (name, fuel) in senders {
            if turns.ahead(&peer(*name)) > TURN {
                waited.push(*name);
            } else {
                turns.note_active(&peer(*name));
                turns.charge(&peer(*name), *fuel);
            }
        }
        turns.end_block();
        waited
    }

    #[test]
    fn a_crank_longer_than_a_turn_costs_more_than_it_burns_up_to_a_bound() {
        let shares = FuelShares { per_turn: 100, per_block: 1_000, host_work: true };
        let cases = [(0, 0), (100, 100), (101, 141), (150, 2_150), (400, 4_400), (1_000_000, 1_004_000)];
        for (burnt, cost) in cases {
            assert_eq!(shares.of_crank(burnt), cost, "{burnt}");
        }
        assert_eq!(FuelShares::UNLIMITED.of_crank(u64::MAX), u64::MAX);
        assert_eq!(shares.of_crank(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_vat_is_shared_while_two_have_work() {
        let mut turns = Turns::default();
        block(&mut turns, &[(1, 1)]);
        assert!(!turns.is_shared());
        block(&mut turns, &[(2, 1)]);
        assert!(turns.is_shared());
        (0..PATIENCE).for_each(|_| drop(block(&mut turns, &[(1, 1)])));
        assert!(!turns.is_shared(), "one has gone");
    }

    #[test]
    fn one_alone_never_waits() {
        let mut turns = Turns::default();
        assert!((0..100).all(|_| block(&mut turns, &[(1, 1_000)]).is_empty()));
        assert!(!turns.has_waiting(TURN));
    }

    #[test]
    fn a_peer_whose_messages_burn_much_gets_as_much_as_one_whose_messages_burn_little() {
        let mut turns = Turns::default();
        let (mut small, mut large) = (0, 0);
        for _ in 0..10_000 {
            let waited = block(&mut turns, &[(1, 1), (2, 1_000)]);
            assert!(!waited.contains(&1), "who burns little never waits");
            small += 1;
            large += if waited.contains(&2) { 0 } else { 1_000 };
            let waits: Vec<VatId> = turns.waiting(TURN).collect();
            assert_eq!(waits == [peer(2)], turns.ahead(&peer(2)) > TURN);
        }
        assert!(large >= 9_000 && large <= small + 1_000 + TURN, "{large} against {small}");
    }

    #[test]
    fn two_that_burn_much_take_turns() {
        let mut turns = Turns::default();
        let mut done = [0_u32; 2];
        for _ in 0..100 {
            let waited = block(&mut turns, &[(1, 1_000), (2, 1_000)]);
            (0..2).filter(|at| !waited.contains(&(*at as u8 + 1))).for_each(|at| done[at] += 1);
        }
        assert!(done[0].abs_diff(done[1]) <= 1, "{done:?}");
        assert!(done[0] + done[1] >= 100, "no block goes by unused: {done:?}");
    }

    #[test]
    fn whoever_is_ahead_gets_its_turn_once_the_others_have_gone() {
        let mut turns = Turns::default();
        block(&mut turns, &[(1, 1), (2, 1_000)]);
        let waited = (0..PATIENCE * 2).take_while(|_| !block(&mut turns, &[(2, 1_000)]).is_empty()).count() as u64;
        assert_eq!(waited, PATIENCE - 1);
        assert!((0..10).all(|_| block(&mut turns, &[(2, 1_000)]).is_empty()), "and goes on");
    }

    #[test]
    fn keeping_away_neither_saves_fuel_nor_pays_debts() {
        let mut turns = Turns::default();
        block(&mut turns, &[(1, 1), (2, 1_000)]);
        for _ in 0..PATIENCE * 4 {
            block(&mut turns, &[(1, 1)]);
        }
        assert_eq!(block(&mut turns, &[(1, 1), (2, 1_000)]), [2], "the debt is there yet");
        // One alone burns much, without a debt to those who come later; they have no claim to as much.
        let mut turns = Turns::default();
        for _ in 0..100 {
            block(&mut turns, &[(2, 1_000)]);
        }
        assert!(block(&mut turns, &[(1, 1), (2, 1_000)]).is_empty());
        assert_eq!(block(&mut turns, &[(1, 1), (2, 1_000)]), [2]);
    }

    #[test]
    fn a_lead_fades_as_time_passes_whatever_others_do() {
        let mut turns = Turns::default();
        let mut large = 0;
        for _ in 0..1_000 {
            let waited = block(&mut turns, &[(1, 1), (2, 1_000)]);
            assert!(!waited.contains(&1), "who burns little never waits");
            large += if waited.contains(&2) { 0 } else { 1_000 };
            turns.ease(100);
        }
        assert!((90_000..=110_000).contains(&large), "{large} of what the time was worth, 100,000");
        // No peer gets ahead of the one that has burnt most.
        turns.ease(u64::MAX);
        assert!(turns.ahead(&peer(1)) == 0 && turns.ahead(&peer(2)) == 0);
        assert!(!turns.has_waiting(TURN));
    }

    #[test]
    fn nothing_is_remembered_of_who_owes_nothing() {
        let mut turns = Turns::default();
        for name in 1..=50 {
            block(&mut turns, &[(name, 5)]);
        }
        for _ in 0..PATIENCE {
            block(&mut turns, &[(60, 5)]);
        }
        for _ in 0..PATIENCE {
            block(&mut turns, &[(60, 500)]);
        }
        assert_eq!(turns.entries.len(), 1);
    }

    #[test]
    fn who_was_turned_away_first_is_first_among_equals() {
        let mut turns = Turns::default();
        block(&mut turns, &[(9, 1)]);
        turns.note_turned_away(&peer(3));
        turns.end_block();
        turns.note_turned_away(&peer(2));
        turns.note_turned_away(&peer(3));
        let mut order = [peer(1), peer(2), peer(3)];
        order.sort_by_key(|vat| turns.rank(vat));
        assert_eq!(order, [peer(3), peer(2), peer(1)]);
    }
}

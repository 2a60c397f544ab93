//! Gathers signatures of slices that have too few. Pure.
//!
//! Invariants: bounded by senders and by statements of each. A sender that goes on never loses its signatures to a new
//! one. Complete slices are not kept. The caller has checked each signature, and does so for known senders only.

use quorate_consensus::{MemberSignature, Statement, Tally};
use quorate_engine::VatId;
use std::collections::BTreeMap;

/// Statements that wait for more signatures, for each sender; older ones are forgotten first.
pub const WAITING_STATEMENTS: usize = 16;
/// Senders that are followed at once; the one that was silent longest is forgotten first.
pub const WAITING_SENDERS: usize = 1_024;

/// Statements of one sender.
#[derive(Default)]
struct Waiting {
    /// When something was last added, in additions.
    touched: u64,
    statements: Vec<(Statement, Tally)>,
}

/// See the head of the module.
#[derive(Default)]
pub struct Incomplete {
    senders: BTreeMap<VatId, Waiting>,
    additions: u64,
}

impl Incomplete {
    /// Adds good signatures of a statement and gives all that there are now.
    pub fn add(
        &mut self,
        sender: VatId,
        statement: &Statement,
        good: Vec<MemberSignature>,
        threshold: u16,
    ) -> Vec<MemberSignature> {
        self.make_room(&sender);
        self.additions += 1;
        let waiting = self.senders.entry(sender).or_default();
        waiting.touched = self.additions;
        let at = waiting.statements.iter().position(|(other, _)| other == statement).unwrap_or_else(|| {
            if waiting.statements.len() >= WAITING_STATEMENTS {
                waiting.statements.remove(0);
            }
            waiting.statements.push((statement.clone(), Tally::default()));
            waiting.statements.len() - 1
        });
        let tally = &mut waiting.statements[at].1;
        tally.extend(good);
        let (all, complete) = (tally.signatures(), tally.is_complete(threshold));
        if complete {
            self.complete(&sender, statement.block);
        }
        all
    }

    /// A statement of this block has its signatures: what came before it says less.
    pub fn complete(&mut self, sender: &VatId, block: u64) {
        if let Some(waiting) = self.senders.get_mut(sender) {
            waiting.statements.retain(|(statement, _)| statement.block > block);
            if waiting.statements.is_empty() {
                self.senders.remove(sender);
            }
        }
    }

    fn make_room(&mut self, sender: &VatId) {
        if self.senders.len() < WAITING_SENDERS || self.senders.contains_key(sender) {
            return;
        }
        let silent = self.senders.iter().min_by_key(|(_, waiting)| waiting.touched).map(|(vat, _)| *vat);
        if let Some(silent) = silent {
            self.senders.remove(&silent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Hash, HostId};

    fn vat(number: u64) -> VatId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        VatId(id)
    }

    fn statement(sender: &VatId, block: u64) -> Statement {
        Statement {
            vat: *sender,
            epoch: 0,
            block,
            previous: Hash([0; 32]),
            chain: Hash::ZERO,
            outbox_root: Hash([1; 32]),
            published_root: Hash::ZERO,
            state_root: None,
        }
    }

    fn signature(member: u8) -> Vec<MemberSignature> {
        vec![MemberSignature { key: HostId([member; 32]), signature: [0; 64] }]
    }

    #[test]
    fn different_members_make_a_whole_and_nothing_is_left_of_it() {
        let (mut incomplete, sender) = (Incomplete::default(), vat(1));
        let (early, late) = (statement(&sender, 4), statement(&sender, 5));
        assert_eq!(incomplete.add(sender, &early, signature(1), 3).len(), 1);
        for _ in 0..2 {
            assert_eq!(incomplete.add(sender, &late, signature(1), 3).len(), 1);
        }
        assert_eq!(incomplete.add(sender, &late, signature(2), 3).len(), 2);
        assert_eq!(incomplete.add(sender, &late, signature(3), 3).len(), 3);
        assert!(incomplete.senders.is_empty(), "what a later statement covers goes with it");
    }

    #[test]
    fn many_senders_do_not_push_out_one_that_goes_on() {
        let mut incomplete = Incomplete::default();
        // The smallest id of all, as a sender could choose it.
        let honest = vat(0);
        for other in 1..=3 * WAITING_SENDERS as u64 {
            let other = vat(other);
            incomplete.add(other, &statement(&other, 1), signature(1), 2);
            let all = incomplete.add(honest, &statement(&honest, 1), signature(1), 3);
            assert_eq!(all.len(), 1);
            assert!(incomplete.senders.len() <= WAITING_SENDERS);
        }
        assert_eq!(incomplete.add(honest, &statement(&honest, 1), signature(2), 3).len(), 2);
        // Nor does one with many statements keep more than its share.
        for block in 0..100 {
            incomplete.add(honest, &statement(&honest, block), signature(1), 3);
        }
        assert_eq!(incomplete.senders[&honest].statements.len(), WAITING_STATEMENTS);
    }
}

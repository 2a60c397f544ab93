//! Counts the signers of one thing, and decides when they are a threshold. No other code does.
//!
//! Invariants: each member counts once. Signatures come out in the order of their keys. The caller has checked the signed content, each signature,
//! and that each key is a member's.

use quorate_ids::HostId;
use std::collections::BTreeMap;

use super::certificate::MemberSignature;

/// See the head of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<HostId, MemberSignature>);

impl Tally {
    /// Counts a signature. `false`: its member was counted before, and that signature stays.
    pub fn add(&mut self, signature: MemberSignature) -> bool {
        let before = self.0.len();
        self.0.entry(signature.key).or_insert(signature);
        self.0.len() > before
    }

    /// Returns whether this member was counted.
    pub fn has(&self, member: &HostId) -> bool {
        self.0.contains_key(member)
    }

    /// Returns how many members were counted.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether as many members have signed as it takes.
    pub fn is_complete(&self, threshold: u16) -> bool {
        self.count() >= usize::from(threshold)
    }

    /// The signatures, in the order of their keys: those of a certificate, if it is complete.
    pub fn signatures(&self) -> Vec<MemberSignature> {
        self.0.values().copied().collect()
    }
}

impl Extend<MemberSignature> for Tally {
    fn extend<I: IntoIterator<Item = MemberSignature>>(&mut self, signatures: I) {
        for signature in signatures {
            self.add(signature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(member: u8, byte: u8) -> MemberSignature {
        MemberSignature { key: HostId([member; 32]), signature: [byte; 64] }
    }

    #[test]
    fn a_member_counts_once_whatever_it_signs() {
        let mut tally = Tally::default();
        assert!(tally.is_complete(0) && !tally.is_complete(1));
        assert!(tally.add(signature(7, 1)));
        assert!(!tally.add(signature(7, 1)));
        assert!(!tally.add(signature(7, 2)), "the first one stays");
        assert!(!tally.is_complete(2));
        tally.extend([signature(3, 3), signature(3, 4)]);
        assert!(tally.has(&HostId([3; 32])) && !tally.has(&HostId([4; 32])));
        assert!(tally.is_complete(2) && !tally.is_complete(3));
        assert_eq!(tally.signatures(), [signature(3, 3), signature(7, 1)]);
    }
}

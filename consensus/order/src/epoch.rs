//! The members of one epoch, and how many of them each step takes.
//!
//! Invariant: two sets of `threshold` members share an honest one as long as at most [`Epoch::safe_up_to`] lie; nothing here counts a
//! plain majority.

use crate::chain::Point;
use quorate_ids::{HostId, VatId};
use serde::{Deserialize, Serialize};

/// Who signs in one epoch, and where its log begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The vat.
    pub vat: VatId,
    /// Counts memberships from 0.
    pub number: u64,
    /// The members, in the order of turns to lead.
    pub members: Vec<HostId>,
    /// `t`: how many of them make a proof.
    pub threshold: usize,
    /// Other sets of members, with their thresholds, that prove as much: none as a rule. While epochs do not end by EPOCH, members
    /// change under a running log, and those of the membership before and after count, too. The check by machine has none.
    pub also: Vec<(Vec<HostId>, usize)>,
    /// Members of whom so many have to acknowledge an entry besides, and nobody else's acknowledgement counts: none as a rule. While the
    /// present membership is not certified, members that are behind know only those of the one before.
    pub behind: Option<(Vec<HostId>, usize)>,
    /// Where its log begins: the certified last block of the epoch before, or the first entry, which follows from the genesis.
    pub root: Point,
}

impl Epoch {
    /// How many liars can not make two certificates of one block: `2t − n − 1`.
    pub fn safe_up_to(&self) -> usize {
        (2 * self.threshold).saturating_sub(self.members.len() + 1)
    }

    /// How many members may be down or silent while the vat goes on: `n − t`. The rules write it `l`.
    pub fn live_up_to(&self) -> usize {
        self.members.len().saturating_sub(self.threshold)
    }

    /// How many complaints show that an honest member complains: `n − t + 1`.
    pub fn joining(&self) -> usize {
        self.live_up_to() + 1
    }

    /// Whether the key is a member's.
    pub fn contains(&self, key: &HostId) -> bool {
        self.members.contains(key) || self.also.iter().any(|(members, _)| members.contains(key))
    }

    /// Whether these members, each named once, make a proof.
    pub fn suffices(&self, signers: &[HostId]) -> bool {
        let enough = |members: &[HostId], threshold: usize| {
            signers.iter().filter(|signer| members.contains(signer)).count() >= threshold
        };
        enough(&self.members, self.threshold)
            || self.also.iter().any(|(members, threshold)| enough(members, *threshold))
    }

    /// Whether the acknowledgements of these members, each named once, prove an order to all members.
    pub fn orders(&self, signers: &[HostId]) -> bool {
        self.suffices(signers)
            && self.behind.as_ref().is_none_or(|(members, threshold)| {
                signers.iter().filter(|signer| members.contains(signer)).count() >= *threshold
            })
    }

    /// Whether the acknowledgement of a member counts.
    pub fn counts_ack(&self, member: &HostId) -> bool {
        self.contains(member) && self.behind.as_ref().is_none_or(|(members, _)| members.contains(member))
    }

    /// How many steps after `leader` it is a member's turn to lead; 0 for the next one.
    pub fn turn(&self, leader: &HostId, member: &HostId) -> Option<usize> {
        let place = |key: &HostId| self.members.iter().position(|other| other == key);
        let count = self.members.len();
        Some((place(member)? + count - place(leader).unwrap_or(count - 1) + count - 1) % count)
    }
}

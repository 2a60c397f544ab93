//! The members of one epoch, and how many of them each step takes.
//!
//! Invariant: two sets of `threshold` members share an honest one as long as at most [`Epoch::safe_up_to`] lie; nothing here counts a
//! plain majority. No membership proves an order beyond the block that ends it.

use crate::chain::Point;
use quorate_ids::{HostId, VatId};
use serde::{Deserialize, Serialize};

/// Members that prove something beside those of the epoch, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// They.
    pub members: Vec<HostId>,
    /// How many of them make a proof.
    pub threshold: usize,
    /// The last index whose order they prove; none: there is no last one.
    pub through: Option<u64>,
    /// Whether they elect leaders.
    pub elects: bool,
}

/// Returns how many of the signers are among the members.
fn are(signers: &[HostId], members: &[HostId]) -> usize {
    signers.iter().filter(|signer| members.contains(signer)).count()
}

/// The signers of one epoch, and the beginning of its log.
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
    /// The last index whose order they prove; none: there is no last one. Those of a membership prove nothing beyond the block that ends it.
    pub through: Option<u64>,
    /// Other members that prove something: none as a rule. While epochs do not end by EPOCH, members change under a running log, and
    /// those of the memberships before and after count, too. The check by machine has none.
    pub also: Vec<Quorum>,
    /// Where its log begins: the certified last block of the epoch before, or the first entry, which follows from the genesis.
    pub root: Point,
}

impl Epoch {
    /// Returns how many liars can not make two certificates of one block: `2t − n − 1`.
    pub fn safe_up_to(&self) -> usize {
        (2 * self.threshold).saturating_sub(self.members.len() + 1)
    }

    /// Returns how many members may be down or silent while the vat goes on: `n − t`. The rules write it `l`.
    pub fn live_up_to(&self) -> usize {
        self.members.len().saturating_sub(self.threshold)
    }

    /// Returns how many complaints show that an honest member complains: `n − t + 1`.
    pub fn joining(&self) -> usize {
        self.live_up_to() + 1
    }

    fn quorums(&self) -> impl Iterator<Item = (&[HostId], usize, Option<u64>, bool)> {
        let own = (&self.members[..], self.threshold, self.through, true);
        let also = self.also.iter();
        std::iter::once(own).chain(also.map(|other| (&other.members[..], other.threshold, other.through, other.elects)))
    }

    /// Returns whether the key is a member's.
    pub fn contains(&self, key: &HostId) -> bool {
        self.quorums().any(|(members, ..)| members.contains(key))
    }

    /// Returns whether these members, each named once, elect a leader, or certify a result.
    pub fn suffices(&self, signers: &[HostId]) -> bool {
        self.quorums().any(|(members, threshold, _, elects)| elects && are(signers, members) >= threshold)
    }

    /// Returns whether the acknowledgements of these members, each named once, make an order certificate. How far it counts: [`Epoch::reach`].
    pub fn orders(&self, signers: &[HostId]) -> bool {
        self.quorums().any(|(members, threshold, ..)| are(signers, members) >= threshold)
    }

    /// Up to which index the acknowledgements of these members, each named once, prove the order, if they are of `index`: no farther than
    /// their membership goes. 0 if they prove nothing.
    pub fn reach(&self, signers: &[HostId], index: u64) -> u64 {
        let enough = self.quorums().filter(|(members, threshold, ..)| are(signers, members) >= *threshold);
        enough.map(|(.., through, _)| through.map_or(index, |through| index.min(through))).max().unwrap_or(0)
    }

    /// Returns how many steps after `leader` it is a member's turn to lead; 0 for the next one.
    pub fn turn(&self, leader: &HostId, member: &HostId) -> Option<usize> {
        let place = |key: &HostId| self.members.iter().position(|other| other == key);
        let count = self.members.len();
        Some((place(member)? + count - place(leader).unwrap_or(count - 1) + count - 1) % count)
    }
}

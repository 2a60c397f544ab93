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
    /// From which index on they prove the order alone: see [`Epoch::alone_from`].
    pub alone_from: Option<u64>,
}

/// One of the memberships that count.
struct Part<'a> {
    members: &'a [HostId],
    threshold: usize,
    through: Option<u64>,
    elects: bool,
    alone_from: Option<u64>,
}

impl Part<'_> {
    fn of(quorum: &Quorum) -> Part<'_> {
        let Quorum { members, threshold, through, elects, alone_from } = quorum;
        Part { members, threshold: *threshold, through: *through, elects: *elects, alone_from: *alone_from }
    }

    /// Returns whether enough of the signers, each named once, are members.
    fn agrees(&self, signers: &[HostId]) -> bool {
        signers.iter().filter(|signer| self.members.contains(signer)).count() >= self.threshold
    }
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
    /// From which index on they prove the order alone. At earlier ones the members before them have to agree, who may still elect a leader: one that
    /// lacks what only the new ones have acknowledged. None: at no index so far.
    pub alone_from: Option<u64>,
    /// The members before them, and those who are to come, in turn: none as a rule. While epochs do not end by EPOCH, members change under a
    /// running log, and those of the memberships before and after count, too. The check by machine has none.
    pub before: Option<Quorum>,
    /// See [`Epoch::before`].
    pub coming: Vec<Quorum>,
    /// Where its log begins: the certified last block of the epoch before, or the first entry, which follows from the genesis.
    pub root: Point,
}

impl Epoch {
    /// Returns that of members who do not change.
    pub fn fixed(vat: VatId, number: u64, members: Vec<HostId>, threshold: usize, root: Point) -> Epoch {
        let (before, coming) = (None, Vec::new());
        Epoch { vat, number, members, threshold, through: None, alone_from: Some(0), before, coming, root }
    }

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

    /// All who count, the earlier ones first.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let own = Part {
            members: &self.members,
            threshold: self.threshold,
            through: self.through,
            elects: true,
            alone_from: self.alone_from,
        };
        self.before.iter().map(Part::of).chain([own]).chain(self.coming.iter().map(Part::of))
    }

    /// Returns whether members change: others than these count, too.
    pub fn is_changing(&self) -> bool {
        self.before.is_some() || !self.coming.is_empty()
    }

    /// Returns whether the key is a member's.
    pub fn contains(&self, key: &HostId) -> bool {
        self.parts().any(|part| part.members.contains(key))
    }

    /// Returns whether these members, each named once, elect a leader, or certify a result.
    pub fn suffices(&self, signers: &[HostId]) -> bool {
        self.parts().any(|part| part.elects && part.agrees(signers))
    }

    /// Returns whether the acknowledgements of these members, each named once, make an order certificate. How far it counts, if at all: [`Epoch::reach`].
    pub fn orders(&self, signers: &[HostId]) -> bool {
        self.parts().any(|part| part.agrees(signers))
    }

    /// Up to which index the acknowledgements of these members, each named once, prove the order, if they are of `index`: no farther than
    /// their membership goes, and not before they prove it alone, unless the members before them agree. 0 if they prove nothing.
    pub fn reach(&self, signers: &[HostId], index: u64) -> u64 {
        let (mut reach, mut before_agrees) = (0, true);
        for part in self.parts() {
            let agrees = part.agrees(signers);
            let is_alone = part.alone_from.is_some_and(|from| from <= index);
            if agrees && (is_alone || before_agrees) {
                reach = reach.max(part.through.map_or(index, |through| index.min(through)));
            }
            before_agrees = agrees;
        }
        reach
    }

    /// Returns how many steps after `leader` it is a member's turn to lead; 0 for the next one.
    pub fn turn(&self, leader: &HostId, member: &HostId) -> Option<usize> {
        let place = |key: &HostId| self.members.iter().position(|other| other == key);
        let count = self.members.len();
        Some((place(member)? + count - place(leader).unwrap_or(count - 1) + count - 1) % count)
    }
}

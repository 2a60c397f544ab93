//! Changes of a vat's membership.

use serde::{Deserialize, Serialize};

use crate::proof::membership::{MAX_CHAIN, MAX_MEMBERS, Member, Membership};
use crate::proof::survival::default_threshold;
use quorate_ids::HostId;

/// A change that is asked of a vat's membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// One more member.
    Add(Member),
    /// One member less.
    Remove(HostId),
    /// One for another.
    Replace {
        /// The member that goes.
        out: HostId,
        /// The newcomer.
        in_: Member,
    },
    /// Only the threshold.
    Threshold(u16),
    /// Give up the change that is under way, if it has not taken effect.
    Cancel,
}

impl Change {
    /// The member that comes.
    pub(crate) fn newcomer(&self) -> Option<&Member> {
        match self {
            Change::Add(member) | Change::Replace { in_: member, .. } => Some(member),
            Change::Remove(_) | Change::Threshold(_) | Change::Cancel => None,
        }
    }

    /// The member that goes.
    pub(crate) fn leaver(&self) -> Option<&HostId> {
        match self {
            Change::Remove(key) | Change::Replace { out: key, .. } => Some(key),
            Change::Add(_) | Change::Threshold(_) | Change::Cancel => None,
        }
    }

    /// The threshold that this change brings to `present`: `wanted`, or else the default.
    pub(crate) fn threshold(&self, present: &Membership, wanted: Option<u16>) -> u16 {
        let before = present.members.len();
        let after =
            before + usize::from(self.newcomer().is_some()) - usize::from(self.leaver().is_some() && before > 0);
        match (self, wanted) {
            (Change::Threshold(threshold), _) => *threshold,
            (_, Some(threshold)) => threshold,
            (_, None) => {
                let threshold = default_threshold(before, usize::from(present.threshold), after);
                u16::try_from(threshold).unwrap_or(u16::MAX)
            }
        }
    }

    /// The membership that follows from `present` by this change. The error is the same on every replica.
    pub(crate) fn target(&self, present: &Membership, threshold: u16) -> Result<Membership, String> {
        if *self == Change::Cancel {
            return Err("giving up a change leads to no membership".into());
        }
        if present.epoch >= MAX_CHAIN as u64 {
            return Err(format!("the members were changed {MAX_CHAIN} times, which is the most that can be proven"));
        }
        let mut members = present.members.clone();
        let place = match self.leaver() {
            None => members.len(),
            Some(key) => {
                let place = members.iter().position(|member| member.key == *key);
                let place = place.ok_or_else(|| format!("{key} is not a member"))?;
                members.remove(place);
                place
            }
        };
        if let Some(member) = self.newcomer() {
            if present.contains(&member.key) {
                return Err(format!("{} is a member already", member.key));
            }
            if members.len() >= MAX_MEMBERS {
                return Err(format!("the vat has {MAX_MEMBERS} members, which is the most"));
            }
            members.insert(place, member.clone());
        }
        let (vat, epoch, previous) = (present.vat, present.epoch + 1, present.hash());
        let target = Membership { vat, epoch, previous, members, threshold, recovered: None };
        target.validate().map_err(|error| error.to_string())?;
        Ok(target)
    }
}

/// A change that is recorded but has not taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    /// What was asked.
    pub change: Change,
    /// Block that recorded it.
    pub block: u64,
    /// The membership that will follow.
    pub target: Membership,
    /// Raft id of the member that comes.
    pub raft_id: Option<u64>,
}

//! Changes of a vat's membership.

use serde::{Deserialize, Serialize};

use crate::proof::membership::{Member, Membership};
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
        /// Who goes.
        out: HostId,
        /// Who comes.
        in_: Member,
    },
    /// Only the threshold.
    Threshold(u16),
    /// Give up the change that is under way, if it has not taken effect.
    Cancel,
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

//! What is kept of a member that contradicts.

use serde::{Deserialize, Serialize};

use super::certificate::{MemberSignature, Statement};
use quorate_ids::HostId;

/// A member signed something else than what this replica computed, or two different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Who.
    pub member: HostId,
    /// At which block.
    pub block: u64,
    /// What this replica computed, or what the member signed before.
    pub ours: Statement,
    /// What the member signed.
    pub theirs: Statement,
    /// Its signature over `theirs`: the proof.
    pub signature: MemberSignature,
}

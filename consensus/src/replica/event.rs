//! What a replica tells the node, in order and without loss.

use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, MemberSignature, Statement};
use crate::ids::HostKey;
use crate::membership::MembershipCertificate;

/// A member signed something else than what this replica computed, or two different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// Who.
    pub member: HostKey,
    /// At which block.
    pub block: u64,
    /// What this replica computed, or what the member signed before.
    pub ours: Statement,
    /// What the member signed.
    pub theirs: Statement,
    /// Its signature over `theirs`: the proof.
    pub signature: MemberSignature,
}

/// Something that happened.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // The channel that it goes through is bounded and short.
pub enum Event<E> {
    /// A block was applied. After a restart the blocks since the checkpoint are applied, and reported, again.
    Applied {
        /// Its number.
        block: u64,
        /// What it says, if it says anything.
        statement: Option<Statement>,
        /// What the machine brought about.
        effects: E,
    },
    /// A statement of this replica has its threshold of signatures.
    Certified(Certificate),
    /// A new epoch has the signatures of the one before it.
    Reconfigured(MembershipCertificate),
    /// A member contradicts this replica. Recorded in the store.
    Conflict(ConflictReport),
    /// This host is no longer a member and no longer needed: the replica has stopped.
    Removed,
    /// The replica has stopped because this host cannot go on. The text says why.
    Fault(String),
    /// The machine's state is now that of a checkpoint (at the start, or received from another member).
    Restored {
        /// The block of the checkpoint.
        block: u64,
    },
}

//! The content of the log, and the state that consensus itself replicates by it. Pure.

pub(crate) mod block;
pub(crate) mod change;
pub(crate) mod drafts;
mod replicated;

pub use quorate_proof::state_root::state_root;
#[cfg(test)]
pub(crate) use replicated::{BYTE_WORK, FREE_BYTES, SinceCheckpoint};
pub(crate) use replicated::{LogPosition, RaftMembership, ReplicatedState, genesis_raft_ids};

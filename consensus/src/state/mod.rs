//! What the log holds, and the state that consensus itself replicates by it. Pure.

pub(crate) mod block;
pub(crate) mod change;
pub(crate) mod drafts;
mod replicated;

#[cfg(test)]
pub(crate) use replicated::SinceCheckpoint;
pub use replicated::state_root;
pub(crate) use replicated::{LogPosition, RaftMembership, ReplicatedState, genesis_raft_ids};

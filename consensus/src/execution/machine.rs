//! The interface of the replicated machine. Consensus knows nothing else of vats.
//!
//! Invariants that an implementation must keep: `apply` is a function of the state and its arguments, bit for bit the same on every
//! host. It does no input or output. A bad command is a result, never a fault. A fault means that *this host* cannot go on.

use serde::{Deserialize, Serialize};
use std::any::Any;

use crate::proof::membership::Membership;
use crate::storage::ManifestInfo;
use quorate_ids::Hash;

pub use crate::error::MachineFault;

/// Where in the history a block is.
#[derive(Clone, Debug)]
pub struct BlockContext<'a> {
    /// Number of the block.
    pub block: u64,
    /// Epoch that holds from this block on.
    pub epoch: u64,
    /// Membership of that epoch.
    pub membership: &'a Membership,
    /// The log's time at this block, in ms since the Unix epoch; 0 before the first tick. It never goes back, and is never ahead of the
    /// clock of some honest member.
    pub now_ms: u64,
}

/// What a machine wants of the log's time. Where nothing is wanted, time costs nothing, and stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWanted {
    /// Commands are to find the time of the present, within about a second.
    pub with_commands: bool,
    /// When the machine wants to be told the time, if no command comes before: in ms since the Unix epoch.
    pub at_ms: Option<u64>,
}

/// The log's time, as this replica has executed it, and what the machine wants of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTime {
    /// In ms since the Unix epoch; 0 before the first tick.
    pub now_ms: u64,
    /// See [`TimeWanted`].
    pub wanted: TimeWanted,
}

/// What applying one block brought about.
#[derive(Clone, Debug)]
pub struct AppliedBlock<E> {
    /// One result for each command, in order.
    pub results: Vec<Vec<u8>>,
    /// Merkle root of the heads that changed; `None` if the block said nothing new.
    pub outbox_root: Option<Hash>,
    /// Root of what the vat publishes after the block, for anybody to read; zero if that is nothing.
    pub published_root: Hash,
    /// Whether that is another one than before the block: then the block has a statement, whatever else it did.
    pub publishes: bool,
    /// Work done (fuel), for the checkpoint rule. Part of the replicated state: it must be exact.
    pub work: u64,
    /// What the node does with it (queue, courier, logs). Opaque here.
    pub effects: E,
}

/// The pieces of a checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointParts {
    /// Root of the machine's state.
    pub root: Hash,
    /// Describes the state in terms of chunks.
    pub manifest: Vec<u8>,
    /// Chunks that were not in the checkpoint before this one (nor in what every host has by itself), by their SHA-256.
    pub new_chunks: Vec<(Hash, Vec<u8>)>,
}

/// Gives the content of a chunk.
pub type FetchChunk<'a> = dyn FnMut(&Hash) -> Result<Vec<u8>, MachineFault> + 'a;

/// A deterministic state machine.
pub trait Machine: Any + Send + 'static {
    /// What a block brings about for the node.
    type Effects: Send + 'static;

    /// Applies one block's commands in order. `rehead`: mark every stream with unacknowledged messages as changed, because the
    /// block begins an epoch or is a checkpoint.
    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<Self::Effects>, MachineFault>;

    /// Takes a checkpoint of the present state.
    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault>;

    /// Replaces the state by that of a checkpoint.
    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault>;

    /// Reads a manifest that may come from anybody.
    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault>
    where
        Self: Sized;

    /// Nothing will be applied for a while: gives back memory that can be filled again. It changes nothing that anybody can observe.
    fn rest(&mut self) -> Result<(), MachineFault> {
        Ok(())
    }

    /// Returns what it wants of the log's time in its present state: a function of the state alone.
    fn time_wanted(&self) -> TimeWanted {
        TimeWanted::default()
    }

    /// Returns whether every host has this chunk by itself, so that it is neither stored nor sent.
    fn has_chunk(&self, _hash: &Hash) -> bool {
        false
    }
}

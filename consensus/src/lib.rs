//! Agreement of a vat's replicas, and its proof.
//!
//! Raft orders blocks of commands. A deterministic [`Machine`] executes them on every member. Every member signs a [`Statement`]
//! about the outputs once the block is durable there and executed. A [`Certificate`] is a statement with at least a
//! threshold of signatures. Checkpoints are certified the same way. Members send only certified checkpoints, and cut the log only up to
//! one.
//!
//! The modules, from the bottom upwards; each uses only those above it in this list (`testnet/tests/module_graph.rs`):
//!
//! | module | holds |
//! |---|---|
//! | `error`, `codec`, `stats`, `timing` | errors, the one encoding, counters, pauses |
//! | `proof` | what is in `quorate-proof` (statements, certificates, memberships and their chain), and shares. Pure |
//! | `transport` | the network interface |
//! | `state` | the content of the log, and the state replicated by it. Pure |
//! | `order` | the messages by which members agree on an order, and their rules. Pure |
//! | `storage` | the store, one vat's part of it, checkpoints |
//! | `execution` | the machine, and the thread that executes the log on it |
//! | `raft` | openraft: its log, its state machine, its network |
//! | `replay` | executes a stored log again |
//! | `replica` | one replica of one vat: its tasks (see the picture there), its frames, its handle |
//! | `testing` | liars, and checks for every store: for tests and simulations, in no production build |
//!
//! Absent: JavaScript, streams between vats, and libp2p. Openraft's types appear in the module `raft` and nowhere else.

// The clusters of the integration tests serve the unit tests, too, and name this crate as others do.
#[cfg(test)]
extern crate self as quorate_consensus;

mod codec;
mod error;
mod execution;
mod order;
mod proof;
mod raft;
mod replay;
mod replica;
mod state;
mod stats;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timing;
mod transport;

pub use quorate_proof::order_signed;

pub use codec::{
    CODEC_VERSION, MAX_BLOCK_BYTES, MAX_COMMAND_BYTES, MAX_FRAME_BYTES, MAX_MANIFEST_BYTES, MAX_SNAPSHOT_FRAME_BYTES,
};
pub use error::{
    CertificateError, CodecError, ConsensusError, EvidenceError, MachineFault, ProposeError, ReconfigureError,
    RecoveryError, StoreError, TransportError,
};
pub use execution::machine::{AppliedBlock, BlockContext, CheckpointParts, FetchChunk, LogTime, Machine, TimeWanted};
pub use execution::place::{Execution, Threads, Work, threads_begin_with};
pub use proof::address::check_address;
pub use proof::approval::{approve_motion, verify_motion};
pub use proof::certificate::{Certificate, MemberSignature, Statement, verify_certificate};
pub use proof::clock::MAX_TIME_MS;
pub use proof::equivocation::{
    Contradiction, Disagreement, Divergence, Equivocation, EvidenceRecord, Exclusive, Place, Signed,
};
pub use proof::membership::{
    Genesis, Introduction, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CHAIN, MAX_MEMBERS, Member, Membership,
    MembershipCertificate, Parameters, Recovered, verify_membership,
};
pub use proof::order_evidence::OrderEvidence;
pub use proof::signers::Signers;
pub use proof::survival::{Survival, default_threshold, survival};
pub use proof::tally::Tally;
pub use quorate_ids::{Canonical, Hash, HostId, IdError, VatId};
pub use raft::role::Role;
pub use replay::{Replay, ReplayError, Replayed, Verdict};
pub use replica::{
    Approve, CheckpointSummary, Clock, Event, MAX_UNCERTIFIED, MemberFigures, Motions, NoMotions, Pace, Proposed,
    Receiving, RecoveryOffer, Replica, ReplicaFigures, ReplicaHandle, ReplicaOptions, ReplicaStatus, ScrubPace,
    SystemClock, VatScrub, WaitingChange, WaitingMatter, agree_to_recovery, carry_out_recovery, evidence_of,
    has_promised, recovery_of, recovery_offer, remove_vat,
};
pub use state::change::{Change, PendingChange};
pub use state::state_root as checkpoint_root;
pub use stats::{ArchiveStats, BUCKETS_US, CheckpointSize, ConsensusStats, PROPOSAL_OUTCOMES, Timings};
pub use storage::{
    ArchiveError, ArchiveOptions, Family, Flushed, ManifestInfo, Marks, MemoryStore, Record, RepairReport, Repaired,
    RocksStore, Scrubbed, Store, StoreHealth, TableDamage, VatBytes, Write, noted_damage, repair_store, repair_vat,
};
pub use timing::Timing;
pub use transport::{Channel, Transport};

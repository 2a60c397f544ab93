//! How the replicas of a vat agree, and how they prove it.
//!
//! Raft orders blocks of commands; a deterministic [`Machine`] executes them on every member; every member signs what the
//! vat says ([`Statement`]) once the block is durable there and executed; a [`Certificate`] is a statement with at least a
//! threshold of signatures. Checkpoints are certified the same way, and only certified checkpoints are sent or allow the log
//! to be cut.
//!
//! What is absent: this crate knows nothing of JavaScript, streams between vats, or libp2p. Openraft's types appear in the
//! module `raft` and nowhere else.

// The clusters of the integration tests serve the unit tests, too, and name this crate as others do.
#[cfg(test)]
extern crate self as quorate_consensus;

mod address;
mod block;
mod certificate;
mod checkpoint;
mod codec;
mod error;
mod executor;
mod ids;
mod machine;
mod membership;
mod raft;
mod replica;
mod scoreboard;
mod signers;
mod state;
mod stats;
mod store;
mod survival;
#[cfg(test)]
mod tests;
mod transport;

pub use address::check_address;
pub use certificate::{Certificate, MemberSignature, Statement, verify_certificate};
pub use codec::{
    CODEC_VERSION, MAX_BLOCK_BYTES, MAX_COMMAND_BYTES, MAX_FRAME_BYTES, MAX_MANIFEST_BYTES, MAX_SNAPSHOT_FRAME_BYTES,
};
pub use error::{
    CertificateError, CodecError, ConsensusError, IdError, MachineFault, ProposeError, ReconfigureError, StoreError,
    TransportError,
};
pub use ids::{Hash, HostKey, VatId};
pub use machine::{AppliedBlock, BlockContext, CheckpointParts, FetchChunk, Machine, ManifestInfo};
pub use membership::{
    Genesis, Introduction, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CHAIN, MAX_MEMBERS, Member, Membership,
    MembershipCertificate, Parameters, verify_membership,
};
pub use replica::{
    Change, ConflictReport, Event, PendingChange, Proposed, Replica, ReplicaHandle, ReplicaOptions, ReplicaStatus,
    Role, Tamper, Timing, remove_vat,
};
pub use signers::Signers;
pub use stats::{BUCKETS_US, CheckpointSize, ConsensusStats, Timings};
pub use store::{Family, Flushed, MemoryStore, Record, RocksStore, Store, Write};
pub use survival::{Survival, survival};
pub use transport::{Channel, Transport};

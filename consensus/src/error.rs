//! The errors of this crate. Each has a stable code (`Q-C…`) that `docs/reference/errors.md` explains.

pub use quorate_proof::error::{CertificateError, EvidenceError};

use quorate_ids::{Hash, HostId};

/// Bytes that are not a value of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Nothing at all.
    #[error("empty encoding")]
    Empty,
    /// A version that this build does not know.
    #[error("encoding version {found}, this build reads {expected}")]
    Version { found: u8, expected: u8 },
    /// Larger than the limit of its kind.
    #[error("{size} bytes, at most {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    /// Not decodable.
    #[error("malformed encoding: {0}")]
    Malformed(String),
    /// Decodable but followed by something.
    #[error("{0} bytes after the end of the encoding")]
    Trailing(usize),
}

/// A fault of the store: the host must stop using it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database failed.
    #[error("Q-C001 the store failed: {0}; check the disk, then start the host again")]
    Io(String),
    /// A record, or a file of the database, is damaged or missing.
    #[error(
        "Q-C002 the store is damaged ({what}): {error}; stop the host and have it fetch what is damaged from the other members: `vat member repair`; if that refuses, put a host with a new home in its place: `vat member replace`"
    )]
    Corrupt { what: &'static str, error: String },
    /// Written by another version.
    #[error(
        "Q-C003 the data directory has format {found}, this build needs {expected}; use the build that made it, or move the directory away"
    )]
    Format { found: String, expected: String },
    /// Another process has it open.
    #[error(
        "Q-C004 the data directory {path} is in use by another process; stop that process, then start the host again"
    )]
    Locked { path: String },
    /// The disk has no room, or this user's share of it is used up.
    #[error("Q-C005 the disk is full: {0}; make room, then start the host again: nothing is lost")]
    Full(String),
    /// The process has as many files open as the system lets it.
    #[error(
        "Q-C006 this process may not open more files: {0}; raise the limit (`ulimit -n`, or `LimitNOFILE=` of its service), then start the host again"
    )]
    OpenFiles(String),
}

/// A fault of the machine: this host can not execute the vat any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MachineFault(pub String);

/// Why a request to another host brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Could not be sent: no connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer in time. It may have arrived.
    #[error("no answer within the deadline")]
    Timeout,
    /// The other side will not serve this.
    #[error("refused: {0}")]
    Refused(String),
    /// The frame is not one.
    #[error("refused: {0}")]
    Malformed(CodecError),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// Why a replica could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsensusError {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The genesis breaks the rules.
    #[error("Q-C010 the genesis of the vat is invalid: {0}")]
    Genesis(CertificateError),
    /// The chain of memberships does not verify.
    #[error("Q-C011 the membership chain of the vat does not verify: {0}")]
    Chain(CertificateError),
    /// This host is not in the genesis, and was not started as a learner.
    #[error("Q-C012 host {0} is not a member of the vat; a member adds it: `vat member add --vat VAT --in HOST`")]
    NotAMember(HostId),
    /// The machine cannot be restored from the newest checkpoint.
    #[error("Q-C013 the checkpoint at block {block} cannot be restored: {fault}")]
    Restore { block: u64, fault: MachineFault },
    /// The signed watermark says that this host already signed something else.
    #[error(
        "Q-C014 the checkpoint at block {block} does not match what this host signed: {signed} was signed, {found} was found"
    )]
    Watermark { block: u64, signed: Hash, found: Hash },
    /// Raft would not start.
    #[error("Q-C015 raft could not be started: {0}")]
    Raft(String),
    /// No random numbers.
    #[error("Q-C017 the system gives no random numbers: {0}")]
    Random(String),
    /// A thread could not be started.
    #[error("Q-C016 cannot start a thread: {0}")]
    Thread(String),
}

/// Why a proposal has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody leads just now. It was not proposed.
    #[error("Q-C020 the vat has no leader now; too few members are up or reachable: `vat status` shows which")]
    NoLeader,
    /// The deadline passed while it was under way: it may still take effect.
    #[error("Q-C021 no result within the deadline; the command may still take effect")]
    Unknown,
    /// Larger than a command may be.
    #[error("Q-C022 a command of {size} bytes, at most {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    /// Too many proposals are waiting. It was not proposed.
    #[error("Q-C023 too many proposals are waiting; nothing was proposed: repeat the command later")]
    Overloaded,
    /// The vat takes no new work just now. It was not proposed.
    #[error("Q-C025 the vat takes no new work: {0}")]
    Refused(String),
    /// The replica is stopped or stopping.
    #[error("Q-C024 the replica is stopped: {0}")]
    Stopped(String),
}

/// Why a member takes no part in the recovery of its vat.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Its state, or what was asked of it, does not allow it.
    #[error("Q-C060 this member can't take part in a recovery of the vat: {0}")]
    Refused(String),
    /// The offers of members do not make a recovery.
    #[error("Q-C061 the members that are left can't recover the vat: {0}")]
    Offers(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a change of membership was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// The host that is to come was a member before: its key has signed, and may not sign again.
    #[error(
        "Q-C031 {0} was a member of this vat before, and a key that has signed may not join again; make a new home there (`vat node init`) and add that one"
    )]
    WasMember(String),
    /// The log refused it, for this reason.
    #[error("Q-C030 the change was refused: {0}")]
    Refused(String),
    /// It waits for the approval of owners, or for members to answer.
    #[error(
        "Q-C032 the change waits: {approved} of {needed} needed members have approved it; `vat approvals` describes it, `vat approve` at a member's host approves it, `vat reject` ends it"
    )]
    Waits { approved: usize, needed: usize },
    /// So many owners rejected it that it can't succeed, or its proposer has withdrawn it.
    #[error("Q-C033 the change was rejected by {0}; nothing was changed")]
    Rejected(String),
    /// It could not be proposed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

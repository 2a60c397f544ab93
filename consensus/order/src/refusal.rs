//! What a member refuses, and why.

use crate::proofs::{BadProof, OrderCertificate};
use quorate_ids::HostId;
use serde::{Deserialize, Serialize};

/// Why a message changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender speaks for another, or is not a member.
    #[error("{0} is not a member, or does not speak for itself")]
    NotTheSender(HostId),
    /// A signature is bad.
    #[error("a signature of {0} that does not verify")]
    BadSignature(HostId),
    /// It is of another epoch.
    #[error("of epoch {found}; the epoch here is {expected}")]
    OtherEpoch { found: u64, expected: u64 },
    /// The term is over here: the member follows or voted in a later one, or has left it by complaints.
    #[error("term {found} is over; the term here is {present}")]
    OldTerm { found: u64, present: u64 },
    /// The term is too far ahead to be honest.
    #[error("term {found} is too far ahead of {present}")]
    TermTooFar { found: u64, present: u64 },
    /// The leader has not shown its election. It should send the proof of its term.
    #[error("no election of {leader} in term {term} was shown")]
    NoProof { term: u64, leader: HostId },
    /// A proof is no proof.
    #[error(transparent)]
    BadProof(#[from] BadProof),
    /// The header does not fit the entries.
    #[error("the header does not fit the entries")]
    BadHeader,
    /// Terms of entries go back, or are later than the leader's.
    #[error("entries out of order")]
    EntriesOutOfOrder,
    /// The own log does not hold what comes before the entries. The leader should begin earlier: at this index.
    #[error("the log here does not continue there; send from {from}")]
    Conflict { from: u64 },
    /// The entries lie before the root of the own log, which is certified.
    #[error("entries before the certified root {root}")]
    BelowRoot { root: u64 },
    /// The leader contradicts what it sent before in its term.
    #[error("the leader contradicts itself at index {index}")]
    Equivocated { index: u64 },
    /// The leader's own entries come without the base of its election.
    #[error("the leader's log lacks its base")]
    BaseMissing,
    /// Entries without proof contradict what is certified.
    #[error("entries without proof contradict the certified block {block}")]
    CutsCertified { block: u64 },
    /// More entries wait for their base than a member keeps.
    #[error("more than {most} entries wait for the leader's base")]
    StageFull { most: usize },
    /// A candidate knows of a lower proof than the voter, which sends its own.
    #[error("the candidate's proof is lower than the voter's")]
    BetterOrder(Box<OrderCertificate>),
    /// A candidate with the same proof has the shorter log.
    #[error("the candidate's log is shorter")]
    LongerLog,
    /// The voter has voted for another in this term.
    #[error("the vote of term {term} went to {candidate}")]
    Voted { term: u64, candidate: HostId },
    /// A leader is heard, and no threshold has complained of it.
    #[error("a leader is alive in term {term}")]
    LeaderAlive { term: u64 },
    /// Not now.
    #[error("not the leader of the present term")]
    NotLeading,
    /// It is nothing that the member waits for.
    #[error("nothing is known of that")]
    Unknown,
    /// The epoch ends at this block; nothing else is done in it.
    #[error("the epoch ends at block {last}")]
    EpochEnds { last: u64 },
    /// The member has stopped.
    #[error("the member has stopped")]
    Stopped,
}

/// What a candidate is told that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRefused {
    /// The voter's term. It is only its word.
    pub term: u64,
    /// A higher proof than the candidate's, if the voter has one.
    pub order: Option<OrderCertificate>,
}

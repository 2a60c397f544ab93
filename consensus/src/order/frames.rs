//! Log entries, votes and Raft's messages as they are stored and sent. Openraft's own serde forms are never used as a format.

use serde::{Deserialize, Serialize};

use crate::codec::Blob;
use crate::state::{LogPosition, RaftMembership};
use quorate_ids::Hash;
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, TermProof};
use quorate_order::signed::{Ack, Grant, Lead};
use quorate_order::signing::Signed;

/// A vote: its candidate, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireVote {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

/// What a log entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireContent {
    Blank,
    Block(Blob),
    Membership(RaftMembership),
}

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireEntry {
    pub(crate) log: LogPosition,
    pub(crate) content: WireContent,
}

impl WireEntry {
    /// The first entry of a log. Nobody was elected to write it: it follows from the genesis, and is the same on every replica.
    pub(crate) fn first(membership: RaftMembership) -> Self {
        Self { log: LogPosition { term: 0, index: 0 }, content: WireContent::Membership(membership) }
    }

    /// Its place in the log.
    pub(crate) fn position(&self) -> LogPosition {
        self.log
    }
}

/// A message to another replica, addressed by raft id so that an old acquaintance never takes the place of a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaftFrame {
    pub(crate) target: u64,
    pub(crate) message: RaftMessage,
}

/// What a leader says of itself and of its log with entries and heartbeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The last of the entries, or what is before them if there are none; signed. None: nothing is said of the log.
    pub(crate) lead: Option<Signed<Lead>>,
    /// The chain up to what is before the entries.
    pub(crate) before: Hash,
    /// The proof of its election, if the receiver has not seen it yet.
    pub(crate) proof: Option<Box<TermProof>>,
    /// The leader's highest order certificate; none if it is the root.
    pub(crate) order: Option<Box<OrderCertificate>>,
    /// An index that all followers are to acknowledge: acknowledgements make a certificate only if they are of one index.
    pub(crate) mark: Option<u64>,
}

/// What one replica's Raft asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RaftMessage {
    Append {
        vote: WireVote,
        prev: Option<LogPosition>,
        entries: Vec<WireEntry>,
        commit: Option<LogPosition>,
        header: Option<Box<Header>>,
    },
    Vote {
        vote: WireVote,
        last: Option<LogPosition>,
        transfer: bool,
        pre: bool,
        /// What the candidate shows of itself.
        stand: Option<Box<Stand>>,
    },
    Transfer {
        from: WireVote,
        to: u64,
        last: Option<LogPosition>,
    },
}

impl RaftMessage {
    /// The raft id in whose name it speaks: the sender's, for nobody speaks for another.
    pub(crate) fn speaker(&self) -> u64 {
        match self {
            RaftMessage::Append { vote, .. } | RaftMessage::Vote { vote, .. } => vote.node,
            RaftMessage::Transfer { from, .. } => from.node,
        }
    }
}

/// The answer to a [`RaftMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RaftReply {
    /// The entries are on disk, and these are acknowledged.
    AppendSuccess(Vec<Signed<Ack>>),
    AppendPartial(Option<LogPosition>),
    AppendConflict,
    /// A later term has begun; the proof of its leader, if one was elected.
    HigherVote(WireVote, Option<Box<TermProof>>),
    Vote {
        vote: WireVote,
        granted: bool,
        last: Option<LogPosition>,
        /// The signed vote.
        grant: Option<Box<Signed<Grant>>>,
        /// An order certificate that is higher than the candidate's: why there is no vote.
        better: Option<Box<OrderCertificate>>,
    },
    Transfer {
        accepted: bool,
    },
    /// The receiver does not know the sender: it wants the chain of memberships first.
    WhoAreYou,
    /// The receiver does not know that the sender was elected.
    WhoElectedYou,
}

#[cfg(test)]
impl WireEntry {
    /// The same at another place.
    pub(crate) fn at(&self, log: LogPosition) -> WireEntry {
        WireEntry { log, ..self.clone() }
    }

    /// One of each kind.
    pub(crate) fn examples(membership: RaftMembership) -> [WireEntry; 3] {
        let log = LogPosition { term: 3, index: 500 };
        let contents =
            [WireContent::Blank, WireContent::Block(vec![1, 2, 3].into()), WireContent::Membership(membership)];
        contents.map(|content| WireEntry { log, content })
    }
}

#[cfg(any(test, feature = "testing"))]
impl WireEntry {
    /// Changes the block, if the entry has one.
    pub(crate) fn alter_block(&mut self, change: impl FnOnce(&mut crate::state::block::Block)) {
        if let WireContent::Block(bytes) = &mut self.content {
            let mut block = crate::state::block::Block::decode(bytes);
            change(&mut block);
            *bytes = block.encode();
        }
    }
}

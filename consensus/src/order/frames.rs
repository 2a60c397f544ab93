//! Log entries, votes and Raft's messages as they are stored and sent. Openraft's own serde forms are no format of ours.

use serde::{Deserialize, Serialize};

use crate::codec::Blob;
use crate::state::{LogPosition, RaftMembership};

/// A vote: for whom, and whether a quorum granted it.
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

/// What one replica's Raft asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RaftMessage {
    Append { vote: WireVote, prev: Option<LogPosition>, entries: Vec<WireEntry>, commit: Option<LogPosition> },
    Vote { vote: WireVote, last: Option<LogPosition>, transfer: bool, pre: bool },
    Transfer { from: WireVote, to: u64, last: Option<LogPosition> },
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
    AppendSuccess,
    AppendPartial(Option<LogPosition>),
    AppendConflict,
    HigherVote(WireVote),
    Vote {
        vote: WireVote,
        granted: bool,
        last: Option<LogPosition>,
    },
    Transfer {
        accepted: bool,
    },
    /// The receiver does not know the sender: it wants the chain of memberships first.
    WhoAreYou,
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

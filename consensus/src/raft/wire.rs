//! The versioned encodings of log entries, votes and Raft's messages. Openraft's own serde forms are no format of ours.

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::types::{
    BlockData, Entry, TypeConfig, Vote, log_id, open_membership, position, raft_membership, vote as make_vote,
};
use crate::codec::Blob;
use crate::error::CodecError;
use crate::state::{LogPosition, RaftMembership};

/// A vote: for whom, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireVote {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<WireVote> for Vote {
    fn from(vote: WireVote) -> Self {
        make_vote(vote.term, vote.node, vote.committed)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WireContent {
    Blank,
    Block(Blob),
    Membership(RaftMembership),
}

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireEntry {
    log: LogPosition,
    content: WireContent,
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        let content = match &entry.payload {
            EntryPayload::Blank => WireContent::Blank,
            EntryPayload::Normal(data) => WireContent::Block(data.0.clone()),
            EntryPayload::Membership(membership) => WireContent::Membership(raft_membership(membership)),
        };
        Self { log: position(&entry.log_id), content }
    }
}

impl WireEntry {
    pub(crate) fn position(&self) -> LogPosition {
        self.log
    }

    pub(crate) fn into_entry(self) -> Result<Entry, CodecError> {
        let payload = match self.content {
            WireContent::Blank => EntryPayload::Blank,
            WireContent::Block(bytes) => EntryPayload::Normal(BlockData(bytes)),
            WireContent::Membership(membership) => {
                let membership = open_membership(&membership);
                EntryPayload::Membership(membership.ok_or(CodecError::Malformed("raft membership".into()))?)
            }
        };
        Ok(Entry { log_id: log_id(self.log), payload })
    }
}

/// A message to another replica, addressed by raft id so that an old acquaintance never takes the place of a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaftFrame {
    pub(crate) target: u64,
    pub(crate) message: RaftMessage,
}

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

pub(crate) fn append_message(request: &AppendEntriesRequest<TypeConfig>) -> RaftMessage {
    RaftMessage::Append {
        vote: (&request.vote).into(),
        prev: request.prev_log_id.as_ref().map(position),
        entries: request.entries.iter().map(WireEntry::from).collect(),
        commit: request.leader_commit.as_ref().map(position),
    }
}

pub(crate) fn append_request(
    vote: WireVote,
    prev: Option<LogPosition>,
    entries: Vec<WireEntry>,
    commit: Option<LogPosition>,
) -> Result<AppendEntriesRequest<TypeConfig>, CodecError> {
    Ok(AppendEntriesRequest {
        vote: vote.into(),
        prev_log_id: prev.map(log_id),
        entries: entries.into_iter().map(WireEntry::into_entry).collect::<Result<_, _>>()?,
        leader_commit: commit.map(log_id),
    })
}

pub(crate) fn append_reply(response: &AppendEntriesResponse<TypeConfig>) -> RaftReply {
    match response {
        AppendEntriesResponse::Success => RaftReply::AppendSuccess,
        AppendEntriesResponse::PartialSuccess(id) => RaftReply::AppendPartial(id.as_ref().map(position)),
        AppendEntriesResponse::Conflict => RaftReply::AppendConflict,
        AppendEntriesResponse::HigherVote(vote) => RaftReply::HigherVote(vote.into()),
    }
}

/// `None`: an answer to something else.
pub(crate) fn append_response(reply: RaftReply) -> Option<AppendEntriesResponse<TypeConfig>> {
    Some(match reply {
        RaftReply::AppendSuccess => AppendEntriesResponse::Success,
        RaftReply::AppendPartial(id) => AppendEntriesResponse::PartialSuccess(id.map(log_id)),
        RaftReply::AppendConflict => AppendEntriesResponse::Conflict,
        RaftReply::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.into()),
        _ => return None,
    })
}

pub(crate) fn vote_message(request: &VoteRequest<TypeConfig>, pre: bool) -> RaftMessage {
    RaftMessage::Vote {
        vote: (&request.vote).into(),
        last: request.last_log_id.as_ref().map(position),
        transfer: request.leadership_transfer,
        pre,
    }
}

pub(crate) fn vote_request(vote: WireVote, last: Option<LogPosition>, transfer: bool) -> VoteRequest<TypeConfig> {
    let mut request = VoteRequest::new(vote.into(), last.map(log_id));
    request.leadership_transfer = transfer;
    request
}

pub(crate) fn vote_reply(response: &VoteResponse<TypeConfig>) -> RaftReply {
    RaftReply::Vote {
        vote: (&response.vote).into(),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(position),
    }
}

/// `None`: an answer to something else.
pub(crate) fn vote_response(reply: RaftReply) -> Option<VoteResponse<TypeConfig>> {
    let RaftReply::Vote { vote, granted, last } = reply else { return None };
    Some(VoteResponse::new(Vote::from(vote), last.map(log_id), granted))
}

pub(crate) fn transfer_message(request: &TransferLeaderRequest<TypeConfig>) -> RaftMessage {
    RaftMessage::Transfer {
        from: request.from_leader().into(),
        to: *request.to_node_id(),
        last: request.last_log_id().map(position),
    }
}

pub(crate) fn transfer_request(
    from: WireVote,
    to: u64,
    last: Option<LogPosition>,
) -> TransferLeaderRequest<TypeConfig> {
    TransferLeaderRequest::new(from.into(), to, last.map(log_id))
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

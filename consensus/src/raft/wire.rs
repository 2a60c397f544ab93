//! Conversions between openraft's requests and answers and the frames of [`crate::order::frames`].

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};

use super::types::{
    BlockData, Entry, TypeConfig, Vote, log_id, open_membership, position, raft_membership, vote as make_vote,
};
use crate::error::CodecError;
use crate::order::frames::{RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::state::LogPosition;

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

pub(crate) fn append_message(request: &AppendEntriesRequest<TypeConfig>) -> RaftMessage {
    RaftMessage::Append {
        vote: (&request.vote).into(),
        prev: request.prev_log_id.as_ref().map(position),
        entries: request.entries.iter().map(WireEntry::from).collect(),
        commit: request.leader_commit.as_ref().map(position),
        header: None,
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
        AppendEntriesResponse::Success => RaftReply::AppendSuccess(Vec::new()),
        AppendEntriesResponse::PartialSuccess(id) => RaftReply::AppendPartial(id.as_ref().map(position)),
        AppendEntriesResponse::Conflict => RaftReply::AppendConflict,
        AppendEntriesResponse::HigherVote(vote) => RaftReply::HigherVote(vote.into(), None),
    }
}

/// `None`: an answer to something else.
pub(crate) fn append_response(reply: RaftReply) -> Option<AppendEntriesResponse<TypeConfig>> {
    Some(match reply {
        RaftReply::AppendSuccess(_) => AppendEntriesResponse::Success,
        RaftReply::AppendPartial(id) => AppendEntriesResponse::PartialSuccess(id.map(log_id)),
        RaftReply::AppendConflict => AppendEntriesResponse::Conflict,
        RaftReply::HigherVote(vote, _) => AppendEntriesResponse::HigherVote(vote.into()),
        _ => return None,
    })
}

pub(crate) fn vote_message(request: &VoteRequest<TypeConfig>, pre: bool) -> RaftMessage {
    RaftMessage::Vote {
        vote: (&request.vote).into(),
        last: request.last_log_id.as_ref().map(position),
        transfer: request.leadership_transfer,
        pre,
        stand: None,
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
        grant: None,
        better: None,
    }
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

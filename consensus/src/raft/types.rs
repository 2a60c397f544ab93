//! Openraft's type configuration, and conversions to this crate's own types.

use std::collections::BTreeMap;
use std::fmt;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use openraft::vote::leader_id_std::CommittedLeaderId;
use serde::{Deserialize, Serialize};

use crate::codec::Blob;
use crate::proof::membership::Member;
use crate::state::block::{BlockReply, LogContent, LogItem};
use crate::state::{LogPosition, RaftMembership};
use quorate_ids::Hash;

openraft::declare_raft_types!(
    /// The types of this crate's Raft. Leader ids are those of standard Raft: one leader a term.
    pub(crate) TypeConfig:
        D = BlockData,
        R = BlockReply,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = openraft::vote::leader_id_std::LeaderId<u64, u64>,
        Vote = openraft::Vote<Self::LeaderId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// An encoded block. Openraft wants serde and display of it, and neither is used for storage or the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockData(pub(crate) Blob);

impl fmt::Display for BlockData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "block of {} bytes", self.0.0.len())
    }
}

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, super::state_machine::SnapshotData>;
pub(crate) type OpenMembership = openraft::Membership<u64, Member>;

/// Returns whether so many of the voters are enough for Raft.
pub(crate) fn is_majority(count: usize, of: usize) -> bool {
    count * 2 > of
}

pub(crate) fn position(id: &LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, index: id.index }
}

pub(crate) fn log_id(position: LogPosition) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(position.term), index: position.index }
}

pub(crate) fn vote(term: u64, node: u64, committed: bool) -> Vote {
    Vote { leader_id: LeaderId::new(term, node), committed }
}

pub(crate) fn raft_membership(membership: &OpenMembership) -> RaftMembership {
    RaftMembership {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
    }
}

/// `None`: not a membership that Raft could have made.
pub(crate) fn open_membership(membership: &RaftMembership) -> Option<OpenMembership> {
    let nodes: BTreeMap<u64, Member> = membership.nodes.clone();
    OpenMembership::new(membership.configs.clone(), nodes).ok()
}

pub(crate) fn stored_membership(log: Option<LogPosition>, membership: &RaftMembership) -> StoredMembership {
    match open_membership(membership) {
        Some(membership) => StoredMembership::new(log.map(log_id), membership),
        None => StoredMembership::default(),
    }
}

/// Returns what an entry holds.
pub(crate) fn log_content(entry: &Entry) -> LogContent {
    match &entry.payload {
        EntryPayload::Blank => LogContent::Blank,
        EntryPayload::Normal(data) => LogContent::Block(data.0.clone()),
        EntryPayload::Membership(membership) => LogContent::Raft(raft_membership(membership)),
    }
}

/// An entry for the executor; `chain` is that of the log after it.
pub(crate) fn log_item(entry: &Entry, chain: Hash) -> LogItem {
    let content = log_content(entry);
    LogItem { term: entry.log_id.leader_id.term, index: entry.log_id.index, chain, content }
}

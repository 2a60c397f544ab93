//! Changes of members that wait for approvals, as people are told of them.

use super::describe_change;
use crate::{
    card::fingerprint,
    status::{MemberStatus, WaitingStatus},
};
use quorate_consensus::{Change, HostId, Member, ReplicaStatus, WaitingChange};

/// Describes what waits at a replica.
pub fn waiting(status: &ReplicaStatus, changes: Vec<WaitingChange>) -> Vec<WaitingStatus> {
    changes.into_iter().map(|change| describe(status, change)).collect()
}

fn describe(status: &ReplicaStatus, change: WaitingChange) -> WaitingStatus {
    let membership = &status.membership;
    let name = |key: &HostId| membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone());
    let names = |keys: Vec<HostId>| keys.iter().map(name).collect();
    let shown = |member: &Member| MemberStatus {
        name: member.name.clone(),
        key: member.key.to_string(),
        addresses: member.addresses.clone(),
    };
    let (out, joining) = match &change.change {
        Change::Add(member) => (None, Some(member)),
        Change::Remove(key) => (Some(key), None),
        Change::Replace { out, in_ } => (Some(out), Some(in_)),
        Change::Threshold(_) | Change::Cancel => (None, None),
    };
    WaitingStatus {
        id: change.id.to_string(),
        change: describe_change(&change.change, membership),
        proposer: name(&change.proposer),
        is_own: change.is_own,
        out: out.and_then(|key| membership.member(key)).map(shown),
        joining: joining.map(shown),
        fingerprint: joining.map(|member| fingerprint(&member.key)),
        threshold_before: membership.threshold,
        after: change.target.as_ref().map(|target| (target.members.len(), target.threshold)),
        answer: change.answer.map(|approves| if approves { "approved" } else { "rejected" }.to_owned()),
        approved: names(change.approved),
        rejected: names(change.rejected),
        asked: names(change.asked),
        needed: change.needed,
        waits_for_newcomer: change.waits_for_newcomer,
    }
}

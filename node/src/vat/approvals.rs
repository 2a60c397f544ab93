//! Changes of members, and of access to the vat, that wait for approvals, described for people.

use super::{access, describe_change};
use quorate_consensus::{Change, HostId, Member, Membership, ReplicaStatus, WaitingChange, WaitingMatter};
use quorate_engine::VatId;
use quorate_protocol::{
    card::fingerprint,
    status::{MemberStatus, WaitingStatus},
};

/// Describes what waits at a replica. `vat_name` gives the name of a vat here.
pub fn waiting(
    status: &ReplicaStatus,
    changes: Vec<WaitingChange>,
    vat_name: impl Fn(&VatId) -> Option<String>,
) -> Vec<WaitingStatus> {
    changes.into_iter().map(|change| describe(status, change, &vat_name)).collect()
}

fn describe(
    status: &ReplicaStatus,
    change: WaitingChange,
    vat_name: impl Fn(&VatId) -> Option<String>,
) -> WaitingStatus {
    let membership = &status.membership;
    let name = |key: &HostId| membership.member(key).map_or_else(|| key.to_string(), |member| member.name.clone());
    let names = |keys: Vec<HostId>| keys.iter().map(name).collect();
    let shown = |member: &Member| MemberStatus {
        name: member.name.clone(),
        key: member.key.to_string(),
        addresses: member.addresses.clone(),
    };
    let (words, target): (String, Option<&Membership>) = match &change.matter {
        WaitingMatter::Members { change, target } => (describe_change(change, membership), target.as_ref()),
        WaitingMatter::Motion(motion) => (access::describe(motion, vat_name), None),
    };
    let (out, joining) = match &change.matter {
        WaitingMatter::Members { change: Change::Add(member), .. } => (None, Some(member)),
        WaitingMatter::Members { change: Change::Remove(key), .. } => (Some(key), None),
        WaitingMatter::Members { change: Change::Replace { out, in_ }, .. } => (Some(out), Some(in_)),
        WaitingMatter::Members { change: Change::Threshold(_) | Change::Cancel, .. } | WaitingMatter::Motion(_) => {
            (None, None)
        }
    };
    WaitingStatus {
        id: change.id.to_string(),
        change: words,
        proposer: name(&change.proposer),
        is_own: change.is_own,
        out: out.and_then(|key| membership.member(key)).map(shown),
        joining: joining.map(shown),
        fingerprint: joining.map(|member| fingerprint(&member.key)),
        threshold_before: membership.threshold,
        after: target.map(|target| (target.members.len(), target.threshold)),
        answer: change.answer.map(|approves| if approves { "approved" } else { "rejected" }.to_owned()),
        approved: names(change.approved),
        rejected: names(change.rejected),
        asked: names(change.asked),
        needed: change.needed,
        waits_for_newcomer: change.waits_for_newcomer,
    }
}

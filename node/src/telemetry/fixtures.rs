//! What tests of the metrics look at.

use quorate_consensus::{Hash, HostId, Member, Membership, ReplicaStatus, VatId};

pub(super) fn host(seed: u8) -> HostId {
    HostId([seed; 32])
}

/// A replica of host 1 in a vat of hosts 1 to 3, of which two must sign.
pub(super) fn status() -> ReplicaStatus {
    let member = |seed: u8| Member { key: host(seed), name: format!("h{seed}"), addresses: Vec::new() };
    let (vat, members) = (VatId([7; 32]), (1..=3).map(member).collect());
    let membership = Membership { vat, epoch: 0, members, threshold: 2, previous: Hash::ZERO, recovered: None };
    ReplicaStatus::new(vat, host(1), membership)
}

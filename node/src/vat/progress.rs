//! Measures since when a replica has made no progress: tells a stuck replica from an idle one, beside the others' blocks.

use quorate_consensus::ReplicaStatus;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How far a replica has come, and when it was first seen there.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    applied: u64,
    received_bytes: u64,
    since: Option<Instant>,
}

/// A replica's progress, noted by each reader of its status.
#[derive(Clone, Default)]
pub struct SharedProgress(Arc<Mutex<Progress>>);

impl SharedProgress {
    /// Takes note of a status at `now`. Returns for how long the replica has neither executed a block nor received a part of a
    /// checkpoint.
    pub fn note(&self, status: &ReplicaStatus, now: Instant) -> Duration {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (applied, received_bytes) = (status.applied, status.stats.snapshot_bytes_received);
        match progress.since {
            Some(since) if (applied, received_bytes) == (progress.applied, progress.received_bytes) => {
                now.saturating_duration_since(since)
            }
            _ => {
                *progress = Progress { applied, received_bytes, since: Some(now) };
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Hash, HostId, Membership, VatId};

    #[test]
    fn a_replica_gets_on_with_blocks_and_with_parts_of_a_checkpoint() {
        let vat = VatId([7; 32]);
        let membership =
            Membership { vat, epoch: 0, members: Vec::new(), threshold: 1, previous: Hash::ZERO, recovered: None };
        let mut status = ReplicaStatus::new(vat, HostId([1; 32]), membership);
        let progress = SharedProgress::default();
        let begin = Instant::now();
        let idle =
            |status: &ReplicaStatus, after: u64| progress.note(status, begin + Duration::from_secs(after)).as_secs();
        assert_eq!([idle(&status, 0), idle(&status, 90)], [0, 90]);
        status.stats.snapshot_bytes_received = 1;
        assert_eq!([idle(&status, 100), idle(&status, 130)], [0, 30]);
        status.applied = 1;
        assert_eq!([idle(&status, 140), idle(&status, 141)], [0, 1]);
        status.term = 9;
        assert_eq!(idle(&status, 150), 10, "an election is no progress");
    }
}

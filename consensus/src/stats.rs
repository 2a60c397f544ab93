//! Counters of a replica. The node turns them into metrics; nothing here knows Prometheus.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use quorate_ids::HostId;

/// Upper bounds of the buckets of a [`Timings`], in microseconds; one more bucket holds the rest. They reach from a cached write to the
/// longest deadline of a proposal and beyond, so that a percentile is a figure also when everything is slow.
pub const BUCKETS_US: [u64; 20] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];

/// What becomes of a proposal, as [`ConsensusStats::proposals`] counts it.
pub const PROPOSAL_OUTCOMES: [&str; 7] =
    ["executed", "no_leader", "unknown", "too_large", "overloaded", "refused", "stopped"];

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// How many.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_us: u64,
    /// How many in each bucket (not cumulated); the last is for what exceeds all of [`BUCKETS_US`].
    pub buckets: [u64; BUCKETS_US.len() + 1],
}

impl Timings {
    /// Adds one sample.
    pub fn record(&mut self, sample: Duration) {
        let us = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        let bucket = BUCKETS_US.iter().position(|bound| us <= *bound).unwrap_or(BUCKETS_US.len());
        self.buckets[bucket] += 1;
    }
}

/// What a checkpoint takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSize {
    /// The whole of it, apart from what every host has with the image.
    pub whole: u64,
    /// What had to be written for it: the rest was there from earlier ones. 0 if this replica did not make it.
    pub new: u64,
}

/// What the archive of a vat has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveStats {
    /// Bytes of its files.
    pub bytes: u64,
    /// The first block that can be executed from it.
    pub oldest: u64,
    /// The block that it gets next; 0: it has nothing.
    pub next: u64,
    /// How often it could not be written, since the replica was started.
    pub failures: u64,
}

/// All counters of one replica since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsensusStats {
    /// Blocks applied.
    pub blocks: u64,
    /// Commands applied.
    pub commands: u64,
    /// Work (fuel) applied.
    pub work: u64,
    /// Proposals made at this host, by what became of them: see [`PROPOSAL_OUTCOMES`].
    pub proposals: [u64; PROPOSAL_OUTCOMES.len()],
    /// Blocks that this host proposed as leader.
    pub blocks_proposed: u64,
    /// Shares signed.
    pub shares_signed: u64,
    /// Shares sent, counted once for each receiver.
    pub shares_sent: u64,
    /// Shares received.
    pub shares_received: u64,
    /// Shares that were refused (not a member, bad signature).
    pub shares_refused: u64,
    /// Certificates completed.
    pub certificates: u64,
    /// Equivocations seen, by the member that signed two things for one place.
    pub equivocations: BTreeMap<HostId, u64>,
    /// Statements of members that differ from this replica's own. They accuse nobody.
    pub disagreements: u64,
    /// Times that this replica complained of a leader.
    pub complaints: u64,
    /// Leaders that this replica has left, since a threshold complained of them.
    pub leaders_left: u64,
    /// Commands that this replica put first as the leader, since they had waited for so long. It may have been about to order them anyway.
    pub put_first: u64,
    /// Checkpoints stored.
    pub checkpoints: u64,
    /// Bytes of chunks and manifests written for them.
    pub checkpoint_bytes: u64,
    /// The newest checkpoint, made here or restored from.
    pub newest_checkpoint: CheckpointSize,
    /// What is archived of the log; all zeros where nothing is.
    pub archive: ArchiveStats,
    /// Bytes of checkpoints sent to others.
    pub snapshot_bytes_sent: u64,
    /// Bytes of checkpoints received.
    pub snapshot_bytes_received: u64,
    /// From an append to its being on disk.
    pub log_flush: Timings,
    /// Executing one block.
    pub apply: Timings,
    /// Making and storing one checkpoint.
    pub checkpoint: Timings,
    /// The part of it in which nothing else is executed.
    pub checkpoint_pause: Timings,
    /// From applying a block to having its certificate.
    pub certify: Timings,
    /// From accepting a proposal to its result, at this host.
    pub propose: Timings,
}

/// Where the parts of a replica count.
#[derive(Default)]
pub(crate) struct StatsCell(Mutex<ConsensusStats>);

impl StatsCell {
    pub(crate) fn update(&self, change: impl FnOnce(&mut ConsensusStats)) {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    pub(crate) fn get(&self) -> ConsensusStats {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

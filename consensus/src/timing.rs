//! Pauses and deadlines of a replica.

use std::time::Duration;

/// Pauses and deadlines. The defaults are for hosts on any network; tests use [`Timing::quick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats of a leader. A heartbeat may take longer to be answered: several are under way then.
    pub heartbeat: Duration,
    /// How long votes may take to come in: longer than the longest round trip between members, and than two syncs of a voter's disk.
    pub election_min: Duration,
    /// How long a silent leader is believed in: longer than heartbeats stay away when packets are lost. Longer than
    /// `election_min`.
    pub election_max: Duration,
    /// How long a statement stays uncertified before its shares are asked for.
    pub share_retry: Duration,
    /// How long nothing may happen in a vat until it falls asleep: its members then send nothing until a caller or a member wants something.
    pub rest_after: Duration,
    /// How often the leader looks whether membership work is left.
    pub reconcile: Duration,
    /// Deadline of one request that carries log entries or votes, beside what its size takes; longer if round trips are long.
    pub request: Duration,
    /// Deadline of one request of a checkpoint transfer: progress must be made within it.
    pub snapshot_request: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(1_200),
            election_max: Duration::from_millis(1_250),
            share_retry: Duration::from_millis(1_000),
            rest_after: Duration::from_secs(10),
            reconcile: Duration::from_millis(500),
            request: Duration::from_millis(2_000),
            snapshot_request: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// For tests in one process.
    pub fn quick() -> Self {
        Self {
            heartbeat: Duration::from_millis(40),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            share_retry: Duration::from_millis(150),
            // Tests that are about sleep set it. In the others a dead leader is replaced also where nothing happens.
            rest_after: Duration::from_secs(3_600),
            reconcile: Duration::from_millis(50),
            request: Duration::from_millis(400),
            snapshot_request: Duration::from_secs(5),
        }
    }
}

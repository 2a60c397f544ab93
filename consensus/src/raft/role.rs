//! The role of a replica in its vat.

use serde::{Deserialize, Serialize};

/// What the replica is to its vat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Restoring, executing the log again, or (a learner) not yet admitted.
    #[default]
    Starting,
    /// Receives the log, has no vote.
    Learner,
    /// Follows a leader.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Stopped on request, or removed.
    Stopped,
    /// Stopped by a fault.
    Faulted,
}

impl Role {
    /// Name for metrics and people.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Starting => "starting",
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
            Role::Faulted => "faulted",
        }
    }
}

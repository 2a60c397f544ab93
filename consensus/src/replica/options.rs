//! How a replica is started.

use ed25519_dalek::SigningKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

use super::event::Event;
use crate::certificate::Statement;
use crate::machine::Machine;
use crate::membership::{Genesis, MembershipCertificate};
use crate::store::Store;
use crate::transport::Transport;

/// Pauses and deadlines. The defaults are for hosts on any network; tests use [`Timing::quick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats of a leader. A heartbeat may take longer to be answered: several are under way then.
    pub heartbeat: Duration,
    /// How long votes may take to come in: longer than the longest round trip between members. If nobody stood for election
    /// in turn (`campaign`), openraft would let a member do so after `election_max` and a wait between these two.
    pub election_min: Duration,
    /// How long a silent leader is believed in: longer than heartbeats stay away when packets are lost. Longer than
    /// `election_min`.
    pub election_max: Duration,
    /// How long a statement stays uncertified before its shares are asked for.
    pub share_retry: Duration,
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
            reconcile: Duration::from_millis(50),
            request: Duration::from_millis(400),
            snapshot_request: Duration::from_secs(5),
        }
    }
}

/// Alters what a member signs: for tests of a lying member.
pub type Tamper = Box<dyn Fn(&mut Statement) + Send + Sync>;

/// What a replica needs.
pub struct ReplicaOptions<M: Machine> {
    /// The beginning of the vat.
    pub genesis: Genesis,
    /// Memberships after it that are known already: what a learner was introduced with. Verified. Empty is fine for a member
    /// of the genesis; what the store knows is added.
    pub chain: Vec<MembershipCertificate>,
    /// This host's key.
    pub key: SigningKey,
    /// The machine in its initial state.
    pub machine: M,
    /// The host's store.
    pub store: Arc<dyn Store>,
    /// The way to the other members.
    pub transport: Arc<dyn Transport>,
    /// Where events go. Bounded: a receiver that does not receive stops the replica from applying, and loses nothing.
    pub events: mpsc::Sender<Event<M::Effects>>,
    /// See [`Timing`].
    pub timing: Timing,
    /// This host is not a member yet: it waits until a leader admits it.
    pub learner: bool,
    /// See [`Tamper`]. `None` outside tests.
    pub tamper: Option<Tamper>,
}

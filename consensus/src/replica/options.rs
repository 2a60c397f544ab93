//! How a replica is started.

use ed25519_dalek::SigningKey;
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::execution::machine::Machine;
use crate::execution::place::Execution;
use crate::proof::membership::{Genesis, MembershipCertificate};
use crate::replica::approval::{Approve, Motions};
use crate::replica::clock::Clock;
use crate::replica::event::Event;
use crate::replica::pace::Pace;
use crate::storage::{ArchiveOptions, Store};
use crate::timing::Timing;
use crate::transport::Transport;

/// Statements without a certificate at which a vat takes no more commands, in production.
pub const MAX_UNCERTIFIED: u64 = 8_192;

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
    /// Where what is cut from the log is kept; none: nowhere.
    pub archive: Option<ArchiveOptions>,
    /// The way to the other members.
    pub transport: Arc<dyn Transport>,
    /// Where the machine runs: [`Threads`](crate::Threads) in production.
    pub execution: Arc<dyn Execution>,
    /// Where events go. Bounded: a receiver that does not receive stops the replica from applying, and loses nothing.
    pub events: mpsc::Sender<Event<M::Effects>>,
    /// What all replicas of this host share.
    pub pace: Arc<Pace>,
    /// See [`Timing`].
    pub timing: Timing,
    /// What this host states as its time: [`SystemClock`](crate::SystemClock) in production.
    pub clock: Arc<dyn Clock>,
    /// This host is not a member yet: it waits until a leader admits it.
    pub learner: bool,
    /// How this host answers to changes of members, and to motions, that others propose.
    pub approve: Approve,
    /// At so many statements without a certificate this replica, if it leads, takes no more commands: a vat of which enough members
    /// order and too few sign would grow without end. [`MAX_UNCERTIFIED`] in production.
    pub max_uncertified: u64,
    /// What the application means by motions: see [`Motions`].
    pub motions: Arc<dyn Motions>,
}

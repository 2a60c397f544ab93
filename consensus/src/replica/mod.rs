//! One replica of one vat: everything between the network, the store and the machine.

pub(crate) mod batcher;
pub(crate) mod board;
mod campaign;
pub(crate) mod core;
pub(crate) mod event;
pub(crate) mod exchange;
pub(crate) mod handle;
pub(crate) mod keeper;
pub(crate) mod options;
pub(crate) mod own_key;
pub(crate) mod reconcile;
pub(crate) mod snapshot;
mod start;
pub(crate) mod status;

pub use event::{ConflictReport, Event};
pub use handle::{Proposed, Replica, ReplicaHandle, remove_vat};
pub use options::{ReplicaOptions, Tamper, Timing};
pub use status::{Change, PendingChange, ReplicaStatus, Role};

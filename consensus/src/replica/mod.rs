//! One replica of one vat: everything between the network, the store and the machine.

pub(crate) mod event;
pub(crate) mod handle;
pub(crate) mod options;
pub(crate) mod status;

pub use event::{ConflictReport, Event};
pub use handle::{Proposed, Replica, ReplicaHandle};
pub use options::{ReplicaOptions, Tamper, Timing};
pub use status::{Change, PendingChange, ReplicaStatus, Role};

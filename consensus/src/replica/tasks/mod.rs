//! The tasks of a replica. See the picture in [`crate::replica`].

pub(crate) mod approvals;
pub(crate) mod checkpointer;
pub(crate) mod clock;
pub(crate) mod complaints;
pub(crate) mod early_order;
pub(crate) mod election;
pub(crate) mod leader_watch;
pub(crate) mod membership;
pub(crate) mod order_teller;
pub(crate) mod own_key;
pub(crate) mod proposer;
pub(crate) mod signer;
pub(crate) mod sleeper;

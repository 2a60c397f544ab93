//! What members send each other beside Raft: one module for each channel, with its frames and how they are served.

pub(crate) mod append;
pub(crate) mod complaint;
pub(crate) mod propose;
pub(crate) mod pull;
pub(crate) mod share;
pub(crate) mod snapshot;

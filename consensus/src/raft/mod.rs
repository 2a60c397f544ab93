//! Raft, by openraft. Openraft's types are here and nowhere else in the crate; other modules use [`RaftNode`].

mod ballots;
#[cfg(test)]
mod chain_tests;
mod executing;
pub(crate) mod gate;
mod instance;
pub(crate) mod links;
pub(crate) mod log;
mod network;
mod node;
pub(crate) mod ports;
pub(crate) mod role;
mod state_machine;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod suite;
mod terms;
mod types;
mod wire;

pub(crate) use node::{RaftNode, RaftSetup, RaftView, WriteError};

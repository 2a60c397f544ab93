//! Simulated worlds: the production code of `consensus` in one thread, under virtual time, from one seed.
//!
//! A seed makes a plan of faults, and with it the throws of all dice. The world runs real replicas over a network and disks that
//! are not real, and machines that are small. Oracles judge what the replicas do. Two runs of a seed have the same trace.
//!
//! What is absent: this crate knows nothing of vats, JavaScript, or real networks. It runs nothing in production.

pub mod client;
pub mod dice;
pub mod disk;
pub mod execution;
pub mod host;
pub mod lies;
pub mod machine;
pub mod net;
pub mod oracles;
pub mod plan;
pub mod record;
pub mod trace;
pub mod world;

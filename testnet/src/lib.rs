//! Quorate under test: clusters of processes, simulated worlds, workloads and benchmarks.
//!
//! It drives `node`'s library and its command line; nothing here runs in production.

pub mod bench;
pub mod exposition;
pub mod process;
pub mod world;

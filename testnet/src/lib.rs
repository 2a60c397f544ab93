//! Quorate under test: clusters of processes, simulated worlds, workloads and benchmarks.
//!
//! It drives `node`'s library and its command line; nothing here runs in production.

pub mod bench;
pub mod chaos;
mod disk;
pub mod exposition;
pub mod liar;
pub mod line;
pub mod lying_leader;
pub mod lying_reader;
pub mod process;
pub mod world;

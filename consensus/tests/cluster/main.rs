//! Clusters of replicas in one process, over a network in memory: real time, quick timers, a toy machine.
#![allow(clippy::unwrap_used)]

mod archive;
mod common;
mod distance;
mod faults;
mod figures;
mod liars;
mod membership;
mod motions;
mod ordering;
mod own_key;
mod recovery;
mod scrub;
mod sleep;
mod time;

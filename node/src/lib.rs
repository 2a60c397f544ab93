//! Quorate's host: composes `engine` (what a vat is), `consensus` (how replicas agree and prove it) and `net` (frames between
//! hosts) into a process that carries replicas of any number of vats, with its HTTP interface and its telemetry.
//!
//! Invariant: nothing but the crates of this folder converts between the three; they know nothing of each other.

pub mod api;
pub mod carried;
pub mod co_members;
pub mod directory;
mod gateway;
pub mod host;
mod images;
mod local;
pub mod repair;
pub mod run;
pub mod system;
pub mod telemetry;
pub mod vat;

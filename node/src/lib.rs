//! Quorate's host: composes `engine` (vats), `consensus` (agreement and its proof) and `net` (frames between
//! hosts) into a process that carries replicas of any number of vats, with its HTTP interface and its telemetry.
//!
//! Invariant: only the crates of this folder convert between the three, which do not depend on each other.

mod addresses;
pub mod api;
mod beats;
pub mod carried;
pub mod co_members;
pub mod deletion;
pub mod directory;
mod gateway;
pub mod host;
mod images;
mod local;
pub mod repair;
pub mod run;
mod service_manager;
pub mod system;
pub mod telemetry;
pub mod traces;
pub mod vat;

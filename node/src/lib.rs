//! Quorate's node: composes `engine` (what a vat is), `consensus` (how replicas agree and prove it) and `net` (frames between
//! hosts) into a host that carries replicas of any number of vats, with its HTTP interface, its telemetry and the `vat` command.
//!
//! Invariant: nothing but this crate converts between the three; they know nothing of each other.

pub mod api;
pub mod authority;
pub mod bundle;
pub mod card;
pub mod cli;
pub mod client;
pub mod co_members;
pub mod codec;
pub mod directory;
pub mod evidence;
pub mod home;
pub mod host;
mod images;
mod local;
mod log_limiter;
pub mod logging;
mod lookup;
pub mod moment;
pub mod proof;
pub mod provision;
mod recovered;
pub mod repair;
pub mod run;
mod standstill;
pub mod status;
pub mod sturdyref;
mod system;
pub mod telemetry;
pub mod testnet;
pub mod trial;
pub mod vat;

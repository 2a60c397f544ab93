//! The console: a page that shows how hosts and vats stand, and the server for it.
//!
//! | module | what it does |
//! |---|---|
//! | [`look`] | what is known of the hosts at one moment, and how it is found |
//! | [`model`] | what the page shows of that: hosts, and vats with what all their replicas say |
//! | `poll` | looks again and again while a page is open, and says what has changed |
//! | `detail` | what is asked of hosts when a page wants it: signatures, epochs, proofs, evidence, messages |
//! | [`admin`] | what only the owner may ask: logs, who holds what, and to approve what waits |
//! | [`server`] | listens, and says who may read |
//!
//! It reads; nothing of a host or vat is changed by it, but by an owner who has the token and approves what waits. Who reads it trusts the program that serves it, and the hosts that it asks: what
//! is to be shown to others is a file of proofs, which `vat verify` checks on any machine.

pub mod admin;
pub mod detail;
pub mod look;
pub mod model;
mod page;
mod poll;
pub mod server;

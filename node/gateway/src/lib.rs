//! A host's gateway for programs that know nothing of vats: Cap'n Web over WebSocket and HTTP, calls over plain HTTP, and tools for agents.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | routes; sessions of Cap'n Web |
//! | [`listener`] | connections: few, short and small, also of a host's own HTTP interface |
//! | `http` | calls over plain HTTP, with keys for those that must not be done twice, and tools for agents |
//! | `address`, `shares` | from where a client comes; places that addresses share, and how fast each may send |
//! | [`stats`] | what is counted, for metrics |
//! | `connection` | one session: messages from the network, and from vats |
//! | `vats` | the vats that a session talks to, by clients of this host |
//! | [`carry`] | frames of clients that check for themselves |
//!
//! A program that connects for Cap'n Web (`quorate-capnweb`, pure) trusts this host: the host's clients check the vats' answers, and the program checks
//! nothing. Clients that check for themselves have their frames carried, and trust nobody. Authority is in
//! the references that a program shows; the host adds none of its own.

mod address;
pub mod carry;
mod connection;
mod http;
pub mod listener;
pub mod server;
mod shares;
pub mod stats;
mod vats;

use quorate_capnweb as capnweb;

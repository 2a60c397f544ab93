//! A door for programs that know nothing of vats, at a host: Cap'n Web over WebSocket and HTTP, calls over plain HTTP, and tools for agents.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | what is served where; sessions of Cap'n Web |
//! | [`listener`] | connections: few, short and small, also of a host's own HTTP interface |
//! | `http` | calls over plain HTTP, with keys for those that must not be done twice, and tools for agents |
//! | `connection` | one session: what comes by the network, and from vats |
//! | `vats` | the vats that a session talks to, by clients of this host |
//! | [`carry`] | frames of clients that check for themselves |
//!
//! Whoever connects for Cap'n Web (`quorate-capnweb`, pure) trusts this host: the host's clients check what vats say, and the program that connects checks
//! nothing. Clients that check for themselves have their frames carried, and trust nobody. Authority is in
//! the references that it shows; the host adds none of its own.

pub mod carry;
mod connection;
mod http;
pub mod listener;
pub mod server;
mod vats;

use quorate_capnweb as capnweb;

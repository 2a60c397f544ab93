//! A door for programs that know nothing of vats: Cap'n Web over WebSocket and HTTP, at a host.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`] | listens, and says who may connect and how much |
//! | `connection` | one session: what comes by the network, and from vats |
//! | `vats` | the vats that a session talks to, by clients of this host |
//! | `capnweb` | the protocol, pure |
//!
//! Whoever connects trusts this host: the host's clients check what vats say, and the program that connects checks nothing. Authority is in
//! the references that it shows; the host adds none of its own.

mod capnweb;
mod connection;
pub mod server;
mod vats;

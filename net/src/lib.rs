//! Authenticated frames between hosts.
//!
//! A host sends another one a request frame and gets one response frame. This crate does nothing else;
//! `node` gives the frames their meaning. Two implementations of [`Network`] exist: [`Libp2pNetwork`] over real sockets
//! and [`MemoryNetwork`] with seeded delay, loss and partition for simulations; one conformance suite runs on both.
//!
//! Invariants:
//! - A request is answered at most once, and its handler runs at most once: nothing is ever sent again by this crate.
//! - Everything is bounded: frames by purpose, frames in flight, handler tasks, streams, connections, queues.
//! - Broken bytes of a peer cost at most its own connection.
//! - `from` in [`Handler::handle`] is the authenticated key of the other end (Noise or TLS handshake).
//!
//! What it does not do: it does not retry requests, it does not keep order between requests, it does not encrypt or sign
//! payloads, and it does not persist anything.

mod ahead;
mod answer;
mod backoff;
mod driver;
mod error;
pub mod frame;
mod inbound;
mod lane;
mod libp2p_network;
mod limits;
mod memory;
mod muxer;
mod network;
mod own_key;
mod peers;
mod reach;
mod relay;
mod serve;
mod stats;
mod streams;
mod types;
mod window;

pub use error::NetError;
pub use libp2p_network::Libp2pNetwork;
pub use memory::{LinkOptions, MemoryNetwork};
pub use network::{BoxFuture, Handler, NetLimits, NetOptions, NetReach, Network, NetworkLayer, PeerInfo};
pub use quorate_ids::HostId;
pub use stats::{ConnectionStats, NetStats, PurposeStats};
pub use types::{PeerName, Purpose};

//! The HTTP interface of a host, answering side.
//!
//! On loopback TCP (or where `host.toml` says): `/metrics`, `/healthz`, `/readyz`, `GET /api/v1/status`: reading only. On the
//! home's Unix socket, which only the host's own user can open: the same, and everything that changes something. Over TCP, what
//! clients can take of a host is bounded: see [`quorate_gateway::listener`].

pub mod remote;
pub mod server;

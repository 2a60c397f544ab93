//! The libp2p network over QUIC: the conformance suite.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod hosts;

use hosts::Sockets;

conformance!(Sockets::quic(), flavor = "multi_thread", worker_threads = 2);

//! The libp2p network over QUIC: the conformance suite.

mod common;
mod hosts;

use hosts::Sockets;

conformance!(Sockets::quic(), flavor = "multi_thread", worker_threads = 2);

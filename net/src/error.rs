//! Errors of requests, and of starting a network.

use std::time::Duration;

use crate::{HostId, Purpose};

/// A failure of the network or of one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Not connected, and not worth waiting: the last attempt failed, or there is no address. The request was not sent.
    #[error("host {host} is unreachable: {reason}{}", .next_attempt_in.map_or(String::new(), |wait| format!("; next attempt in {wait:.1?}")))]
    Unreachable {
        /// The host asked for.
        host: HostId,
        /// When the network dials it next by itself; `None` if it has no address to dial.
        next_attempt_in: Option<Duration>,
        /// The last failure.
        reason: String,
    },
    /// No response within the deadline. The peer may or may not have handled the request.
    #[error("no {purpose} response from host {host} within {deadline:?}")]
    Timeout {
        /// The host asked.
        host: HostId,
        /// For what.
        purpose: Purpose,
        /// The caller's deadline.
        deadline: Duration,
    },
    /// Too many requests are unanswered already, and none ended within the deadline. The request was not sent.
    #[error("too many {purpose} requests to host {host} are unanswered; this one was not sent within {deadline:?}")]
    Overloaded {
        /// The host asked for.
        host: HostId,
        /// For what.
        purpose: Purpose,
        /// The caller's deadline.
        deadline: Duration,
    },
    /// The connection or stream ended before the response. The peer may or may not have handled the request.
    #[error("the {purpose} stream to host {host} ended before the response: {reason}")]
    Lost {
        /// The host asked.
        host: HostId,
        /// For what.
        purpose: Purpose,
        /// Why it ended.
        reason: String,
    },
    /// The peer's handler refused the request and said why.
    #[error("refused: {0}")]
    Refused(String),
    /// The peer could not answer (its handler failed, it is shutting down, its response was too large).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The peer does not permit us this purpose.
    #[error("host {host} does not permit {purpose} requests from this host")]
    Forbidden {
        /// The host asked.
        host: HostId,
        /// For what.
        purpose: Purpose,
    },
    /// The frame exceeds the limit of its purpose. It was not sent.
    #[error("a {purpose} frame of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Of which purpose.
        purpose: Purpose,
        /// Bytes of the payload.
        size: usize,
        /// [`Purpose::max_frame_bytes`].
        limit: usize,
    },
    /// A request to ourselves: the caller should have handled it without the network.
    #[error("a host does not send requests to itself")]
    ToSelf,
    /// This network was shut down.
    #[error("the network was shut down")]
    Closed,
    /// The network could not start: the key, an address to listen on, or the socket.
    #[error("the network cannot start: {0}")]
    Start(String),
}

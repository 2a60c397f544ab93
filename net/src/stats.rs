//! Counters of the network: one plain struct to read, one set of atomics to write.
//!
//! The names are those of the metrics page; `node` turns them into Prometheus text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::{NetError, Purpose};

/// Declares the public snapshot and the private counters together, so that they cannot drift apart.
macro_rules! counters {
    ($(#[$public_doc:meta])* $public:ident, $(#[$private_doc:meta])* $private:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$public_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $public { $($(#[$doc])* pub $name: u64,)* }

        $(#[$private_doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $private { $(pub(crate) $name: Counter,)* }

        impl $private {
            pub(crate) fn read(&self) -> $public {
                $public { $($name: self.$name.get(),)* }
            }
        }
    };
}

/// A counter or gauge that any task may change.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// For gauges.
    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// For gauges.
    pub(crate) fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// For gauges.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Counters of one purpose. Bytes are those of whole frames, before encryption.
    PurposeStats,
    /// Where [`PurposeStats`] is counted.
    PurposeCounters {
        /// Bytes of frames received.
        bytes_in,
        /// Bytes of frames sent.
        bytes_out,
        /// Frames received, requests and responses.
        frames_in,
        /// Frames sent, requests and responses.
        frames_out,
        /// Requests of ours that were answered.
        requests_answered,
        /// Requests of ours that the peer refused, forbade or could not answer.
        requests_refused,
        /// Requests of ours that failed for want of a connection, before or after sending.
        requests_lost,
        /// Requests of ours that were not answered within their deadline.
        requests_timed_out,
        /// Requests of ours that found too many unanswered ones and were not sent within their deadline.
        requests_overloaded,
        /// Requests of ours over the size limit, not sent.
        requests_too_large,
        /// Sum of the times from request to response of those answered, in microseconds.
        round_trip_micros,
        /// Requests of others that the handler answered.
        handled,
        /// Requests of others that the handler refused.
        refused_by_handler,
        /// Requests and streams of others that `permits` turned down.
        refused_forbidden,
        /// Requests of others whose handler failed, took too long, or gave a response over the limit.
        refused_unavailable,
        /// Frames of others that waited for the rate limit.
        rate_limited,
        /// Frames that did not decode, or had no place in the protocol; each ended its stream.
        malformed,
        /// Frames whose announced length was over the limit; each ended its stream.
        oversized,
        /// Streams that ended inside a frame: a peer that crashed, or a broken one.
        truncated,
        /// Frames of strangers that did not come in time, or found no room; each ended its stream.
        stalled,
        /// Responses to requests that nobody waited for any more.
        late_responses,
        /// Streams that we opened.
        streams_opened,
        /// Streams that peers opened.
        streams_accepted,
        /// Streams of peers that were turned away because there were too many on the connection.
        streams_rejected,
    }
}

counters! {
    /// Counters of connections.
    ConnectionStats,
    /// Where [`ConnectionStats`] is counted.
    ConnectionCounters {
        /// Attempts to connect.
        dials,
        /// Attempts to connect that failed.
        dial_failures,
        /// Connections made, either way.
        connections_opened,
        /// Connections ended.
        connections_closed,
        /// Second connections to one peer that were closed.
        connections_duplicate,
        /// Inbound connections that failed or were denied: limits, garbage, failed handshakes.
        inbound_failures,
        /// Connections relayed for others since the start.
        circuits_opened,
        /// Reservations and circuits that this host refused as a relay.
        circuits_denied,
        /// Gauge: connections relayed for others now.
        circuits,
        /// Relayed connections that were replaced by direct ones.
        holes_punched,
        /// Attempts to do so that failed.
        holes_failed,
        /// Gauge: peers connected now.
        connected_peers,
        /// Gauge: handlers running now.
        handlers_running,
        /// Gauge: bytes of the memory that strangers share which are taken now.
        untrusted_bytes,
        /// Gauge: bytes that TCP connections hold of what came ahead of being read, with what they cost beside.
        unread_bytes,
    }
}

impl PurposeCounters {
    /// Counts what became of a request of ours.
    pub(crate) fn count_request(&self, result: &Result<Bytes, NetError>, took: Duration) {
        match result {
            Ok(_) => {
                self.requests_answered.increment();
                self.round_trip_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            Err(NetError::Refused(_) | NetError::Unavailable(_) | NetError::Forbidden { .. }) => {
                self.requests_refused.increment();
            }
            Err(NetError::Timeout { .. }) => self.requests_timed_out.increment(),
            Err(NetError::Overloaded { .. }) => self.requests_overloaded.increment(),
            // Counted where it is checked.
            Err(NetError::TooLarge { .. }) => {}
            Err(_) => self.requests_lost.increment(),
        }
    }
}

/// All counters of a network since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// By [`Purpose::index`].
    pub purposes: [PurposeStats; Purpose::COUNT],
    /// Of connections.
    pub connections: ConnectionStats,
}

impl NetStats {
    /// The counters of one purpose.
    pub fn purpose(&self, purpose: Purpose) -> &PurposeStats {
        &self.purposes[purpose.index()]
    }
}

/// All counters, to be written.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    purposes: [PurposeCounters; Purpose::COUNT],
    pub(crate) connections: ConnectionCounters,
}

impl Counters {
    pub(crate) fn purpose(&self, purpose: Purpose) -> &PurposeCounters {
        &self.purposes[purpose.index()]
    }

    pub(crate) fn read(&self) -> NetStats {
        NetStats {
            purposes: std::array::from_fn(|index| self.purposes[index].read()),
            connections: self.connections.read(),
        }
    }
}

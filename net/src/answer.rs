//! The accepting side of a request, the same for both networks: permission, rate, handler, size of the response.
//!
//! Invariants: a handler's panic or delay affects its own request only. A response never exceeds its purpose's limit.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::frame::Outcome;
use crate::stats::{Counter, Counters};
use crate::window::{Bucket, Budget, Gate};
use crate::{Handler, HostId, NetError, NetLimits, Purpose};

/// How many peers' gates are kept before those of peers without streams are thrown away.
const GATES_KEPT: usize = 4096;

/// What every part of one host's network needs.
pub(crate) struct Shared {
    pub(crate) local: HostId,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) limits: NetLimits,
    pub(crate) counters: Counters,
    pub(crate) closed: CancellationToken,
    /// Gauge: what connections hold of what came ahead of being read.
    pub(crate) unread: Arc<Counter>,
    /// Memory for what strangers send.
    pub(crate) budget: Budget,
    /// Streams that are being served.
    pub(crate) serving: watch::Sender<usize>,
    gates: Mutex<HashMap<HostId, Arc<Gate>>>,
    /// The rate limit of all strangers together.
    strangers: Bucket,
}

/// Says what a peer did wrong: aloud if the host trusts it, else softly, since strangers could fill the disk with it. Their
/// mistakes are in the counters.
macro_rules! blame {
    ($shared:expr, $from:expr, $($what:tt)*) => {
        if $shared.handler.trusts($from) {
            tracing::warn!(from = %$from, $($what)*);
        } else {
            tracing::debug!(from = %$from, $($what)*);
        }
    };
}
pub(crate) use blame;

impl Shared {
    pub(crate) fn new(local: HostId, handler: Arc<dyn Handler>, limits: NetLimits) -> Arc<Shared> {
        Arc::new(Shared {
            local,
            handler,
            counters: Counters::default(),
            closed: CancellationToken::new(),
            unread: Arc::default(),
            budget: Budget::new(limits.untrusted_bytes),
            serving: watch::Sender::new(0),
            gates: Mutex::default(),
            strangers: Bucket::new(limits.untrusted_total_units_per_second, limits.untrusted_total_burst_units),
            limits,
        })
    }

    /// Checks what must hold of every request before it is sent.
    pub(crate) fn check(&self, to: HostId, purpose: Purpose, size: usize) -> Result<(), NetError> {
        let limit = purpose.max_frame_bytes();
        if to == self.local {
            return Err(NetError::ToSelf);
        }
        if size > limit {
            self.counters.purpose(purpose).requests_too_large.increment();
            return Err(NetError::TooLarge { purpose, size, limit });
        }
        if self.closed.is_cancelled() {
            return Err(NetError::Closed);
        }
        Ok(())
    }

    /// The gate of a peer, shared by all its streams. It outlives the connection, so that reconnecting does not refill it.
    pub(crate) fn gate(&self, peer: HostId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= GATES_KEPT && !gates.contains_key(&peer) {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        Arc::clone(gates.entry(peer).or_insert_with(|| Arc::new(Gate::new(&self.limits))))
    }

    /// Waits until the rate limits, a stranger's own and that of all strangers, let a frame of `bytes` from `from` in. The
    /// opening of a stream is a frame of no bytes.
    pub(crate) async fn pace(&self, gate: &Gate, from: HostId, purpose: Purpose, bytes: usize) {
        if self.handler.trusts(from) {
            return;
        }
        let now = Instant::now();
        let wait = gate.bucket().take(bytes, now).max(self.strangers.take(bytes, now));
        if !wait.is_zero() {
            self.counters.purpose(purpose).rate_limited.increment();
            tokio::time::sleep(wait).await;
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, from: HostId, purpose: Purpose, payload: Bytes) -> Outcome {
        let counters = self.counters.purpose(purpose);
        if !self.handler.permits(from, purpose) {
            counters.refused_forbidden.increment();
            return Outcome::Forbidden;
        }
        let _running = Running::start(&self.counters);
        // The call itself is inside, so that a panic before the first wait is caught as well.
        let handled = AssertUnwindSafe(async { self.handler.handle(from, purpose, payload).await }).catch_unwind();
        let outcome = tokio::select! {
            biased;
            outcome = tokio::time::timeout(self.limits.handler_deadline, handled) => outcome,
            () = self.closed.cancelled() => return Outcome::Unavailable("the host is shutting down".into()),
        };
        match outcome {
            Ok(Ok(Ok(response))) if response.len() <= purpose.max_frame_bytes() => {
                counters.handled.increment();
                Outcome::Answer(response)
            }
            Ok(Ok(Ok(response))) => {
                counters.refused_unavailable.increment();
                let (size, limit) = (response.len(), purpose.max_frame_bytes());
                tracing::warn!(%from, %purpose, size, limit, "a response exceeds the limit of its purpose");
                Outcome::Unavailable(format!("the response of {size} bytes exceeds the limit of {limit}"))
            }
            Ok(Ok(Err(refusal))) => {
                counters.refused_by_handler.increment();
                Outcome::Refused(refusal)
            }
            Ok(Err(_panic)) => {
                counters.refused_unavailable.increment();
                tracing::error!(%from, %purpose, "a request handler panicked");
                Outcome::Unavailable("the request handler failed".into())
            }
            Err(_elapsed) => {
                counters.refused_unavailable.increment();
                let deadline = self.limits.handler_deadline;
                blame!(self, from, %purpose, ?deadline, "a request handler took too long");
                Outcome::Unavailable("the request handler took too long".into())
            }
        }
    }
}

/// Keeps the gauge of running handlers right whatever way a handler ends.
struct Running<'a>(&'a Counters);

impl Running<'_> {
    fn start(counters: &Counters) -> Running<'_> {
        counters.connections.handlers_running.increment();
        Running(counters)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.connections.handlers_running.decrement();
    }
}

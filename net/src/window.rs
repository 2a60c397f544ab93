//! How much of one purpose may be under way between two hosts, and how fast strangers may send.
//!
//! The same [`Window`] bounds both ends: the requester enters it before a request is sent, the accepting end before a handler
//! runs. Entering waits for a turn, in order of arrival; leaving is dropping the [`Admission`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::{NetLimits, Purpose};

/// Bytes are counted in units of this many, since semaphores count small numbers.
const BYTES_PER_UNIT: usize = 1024;
/// A frame costs the rate limit one unit, and one more for each so many bytes.
const BYTES_PER_RATE_UNIT: usize = 16 * 1024;

/// Frames and bytes of one purpose that may be under way.
#[derive(Debug)]
pub(crate) struct Window {
    frames: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A place in a [`Window`].
#[derive(Debug)]
pub(crate) struct Admission {
    _frame: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Window {
    pub(crate) fn new(purpose: Purpose) -> Window {
        Window {
            frames: Arc::new(Semaphore::new(purpose.max_in_flight())),
            bytes: Arc::new(Semaphore::new(purpose.max_in_flight_bytes() / BYTES_PER_UNIT)),
        }
    }

    /// Waits until a frame of `bytes` (within its purpose's limit) has its turn.
    pub(crate) async fn enter(&self, bytes: usize) -> Admission {
        let units = u32::try_from(bytes.div_ceil(BYTES_PER_UNIT).max(1)).expect("frames are far below 4 TiB");
        let never = "the semaphores of a window are never closed";
        let frame = Arc::clone(&self.frames).acquire_owned().await.expect(never);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await.expect(never);
        Admission { _frame: frame, _bytes: bytes }
    }
}

/// What one peer's requests have to pass, over all its streams.
#[derive(Debug)]
pub(crate) struct Gate {
    windows: [Window; Purpose::COUNT],
    bucket: Mutex<Bucket>,
}

impl Gate {
    pub(crate) fn new(limits: &NetLimits) -> Gate {
        Gate { windows: Purpose::ALL.map(Window::new), bucket: Mutex::new(Bucket::new(limits, Instant::now())) }
    }

    pub(crate) fn window(&self, purpose: Purpose) -> &Window {
        &self.windows[purpose.index()]
    }

    /// Takes a stranger's frame from the rate limit; how long it has to wait.
    pub(crate) fn take(&self, bytes: usize) -> Duration {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, Instant::now())
    }
}

/// A token bucket that may go into debt: the frame that does waits until the debt is paid.
#[derive(Debug)]
struct Bucket {
    units: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    fn new(limits: &NetLimits, now: Instant) -> Bucket {
        let burst = f64::from(limits.untrusted_burst_units);
        Bucket { units: burst, burst, per_second: f64::from(limits.untrusted_units_per_second.max(1)), at: now }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        let cost = (1 + bytes / BYTES_PER_RATE_UNIT) as f64;
        self.units = (self.units + gained).min(self.burst) - cost;
        Duration::from_secs_f64((-self.units / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_lets_a_burst_through_and_then_the_rate() {
        let limits = NetLimits { untrusted_units_per_second: 10, untrusted_burst_units: 5, ..NetLimits::default() };
        let start = Instant::now();
        let mut bucket = Bucket::new(&limits, start);
        for _ in 0..5 {
            assert_eq!(bucket.take(100, start), Duration::ZERO);
        }
        assert_eq!(bucket.take(100, start), Duration::from_millis(100));
        assert_eq!(bucket.take(BYTES_PER_RATE_UNIT * 3, start), Duration::from_millis(500));
        // Debts are paid and savings are capped.
        assert_eq!(bucket.take(100, start + Duration::from_millis(600)), Duration::ZERO);
        let later = start + Duration::from_secs(3600);
        for _ in 0..5 {
            assert_eq!(bucket.take(100, later), Duration::ZERO);
        }
        assert!(bucket.take(100, later) > Duration::ZERO);
    }

    #[tokio::test]
    async fn window_bounds_frames_and_bytes() {
        let window = Window::new(Purpose::Snapshot);
        let half = Purpose::Snapshot.max_frame_bytes();
        let first = window.enter(half).await;
        let _second = window.enter(half).await;
        assert!(futures::poll!(std::pin::pin!(window.enter(1))).is_pending());
        drop(first);
        let mut held = Vec::new();
        for _ in 1..Purpose::Snapshot.max_in_flight() {
            held.push(window.enter(0).await);
        }
        assert!(futures::poll!(std::pin::pin!(window.enter(0))).is_pending());
    }
}

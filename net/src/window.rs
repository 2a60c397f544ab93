//! Bounds for each purpose: requests under way between two hosts, the rate of strangers, and their memory.
//!
//! The same [`Window`] bounds both ends: the requester enters it before a request is sent, the accepting end before a handler
//! runs. Entering waits for a turn, in order of arrival; dropping the [`Admission`] leaves it. A [`Gate`] is one peer's. The
//! [`Bucket`] and the [`Budget`] of all strangers together are the host's, since keys are free and a stranger may come with many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::{NetLimits, Purpose};

/// Bytes are counted in units of this many, since semaphores count small numbers.
const BYTES_PER_UNIT: usize = 1024;
/// A frame costs the rate limit one unit, and one more for each so many bytes.
const BYTES_PER_RATE_UNIT: usize = 16 * 1024;
/// Bytes of a stranger's frame that are not charged: small frames come in whatever the large ones of others take. What is free
/// is bounded by the streams that there may be: 112 MiB.
pub(crate) const FREE_BYTES: usize = 32 * 1024;

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
    bucket: Bucket,
}

impl Gate {
    pub(crate) fn new(limits: &NetLimits) -> Gate {
        let bucket = Bucket::new(limits.untrusted_units_per_second, limits.untrusted_burst_units);
        Gate { windows: Purpose::ALL.map(Window::new), bucket }
    }

    pub(crate) fn window(&self, purpose: Purpose) -> &Window {
        &self.windows[purpose.index()]
    }

    /// The peer's own rate limit.
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

/// A token bucket that may go into debt: the frame that does waits until the debt is paid.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: f64,
    per_second: f64,
    /// Units that are left, and when they were counted.
    level: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(units_per_second: u32, burst_units: u32) -> Bucket {
        let burst = f64::from(burst_units);
        Bucket { burst, per_second: f64::from(units_per_second.max(1)), level: Mutex::new((burst, Instant::now())) }
    }

    /// Takes a frame, or the opening of a stream as one of no bytes; how long it has to wait.
    pub(crate) fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (units, at) = &mut *level;
        let gained = now.saturating_duration_since(*at).as_secs_f64() * self.per_second;
        *at = now.max(*at);
        let cost = (1 + bytes / BYTES_PER_RATE_UNIT) as f64;
        *units = (*units + gained).min(self.burst) - cost;
        Duration::from_secs_f64((-*units / self.per_second).max(0.0))
    }
}

/// The memory of a host for what strangers send, and for what it answers them.
#[derive(Debug)]
pub(crate) struct Budget {
    size: usize,
    units: Arc<Semaphore>,
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Budget {
        let size = (bytes / BYTES_PER_UNIT).min(Semaphore::MAX_PERMITS);
        Budget { size, units: Arc::new(Semaphore::new(size)) }
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        (self.size - self.units.available_permits()) * BYTES_PER_UNIT
    }

    /// Raises a charge to what `bytes` cost; waits until there is room.
    pub(crate) async fn cover(&self, charge: &mut Charge, bytes: usize) {
        if let Some(missing) = charge.missing(bytes) {
            let more = Arc::clone(&self.units).acquire_many_owned(missing).await;
            charge.add(more.expect("the semaphore of a budget is never closed"));
        }
    }

    /// The same without waiting; whether there was room.
    pub(crate) fn try_cover(&self, charge: &mut Charge, bytes: usize) -> bool {
        let Some(missing) = charge.missing(bytes) else { return true };
        let more = Arc::clone(&self.units).try_acquire_many_owned(missing).ok();
        more.map(|more| charge.add(more)).is_some()
    }
}

impl Charge {
    /// Units to be taken so that `bytes` are paid for.
    fn missing(&self, bytes: usize) -> Option<u32> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(BYTES_PER_UNIT);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        wanted.checked_sub(held).filter(|missing| *missing > 0).map(|missing| {
            // More than there can ever be waits for ever; the caller has a deadline.
            u32::try_from(missing).unwrap_or(u32::MAX)
        })
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_lets_a_burst_through_and_then_the_rate() {
        let bucket = Bucket::new(10, 5);
        let start = Instant::now();
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
    async fn charges_grow_wait_and_are_given_back() {
        let budget = Budget::new(100 * BYTES_PER_UNIT);
        let (mut one, mut two) = (Charge::default(), Charge::default());
        budget.cover(&mut one, FREE_BYTES).await;
        assert!(one.held.is_none(), "small frames are free");
        budget.cover(&mut one, FREE_BYTES + 30 * BYTES_PER_UNIT).await;
        budget.cover(&mut one, FREE_BYTES + 60 * BYTES_PER_UNIT).await;
        budget.cover(&mut one, FREE_BYTES + 10 * BYTES_PER_UNIT).await;
        assert_eq!(budget.units.available_permits(), 40);
        assert!(!budget.try_cover(&mut two, FREE_BYTES + 41 * BYTES_PER_UNIT));
        assert!(budget.try_cover(&mut two, FREE_BYTES + 40 * BYTES_PER_UNIT));
        let mut three = Charge::default();
        {
            let mut waits = std::pin::pin!(budget.cover(&mut three, FREE_BYTES + 1));
            assert!(futures::poll!(&mut waits).is_pending());
            drop(one);
            waits.await;
        }
        assert_eq!(budget.taken(), 41 * BYTES_PER_UNIT);
        drop((two, three));
        assert_eq!(budget.taken(), 0);
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

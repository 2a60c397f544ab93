//! Waits between attempts: exponential, with jitter, bounded.

use std::time::Duration;

use rand::RngExt as _;

use crate::NetLimits;

/// Doublings after which the wait is certainly at its bound; keeps the shift in range.
const MAX_DOUBLINGS: u32 = 20;

/// The wait after `failures` failed attempts in a row (at least one), before jitter.
pub(crate) fn wait_after(failures: u32, base: Duration, cap: Duration) -> Duration {
    base.saturating_mul(1 << failures.saturating_sub(1).min(MAX_DOUBLINGS)).min(cap)
}

/// A quarter more or less, so that hosts that failed together do not try again together.
pub(crate) fn with_jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.75..1.25))
}

/// Failures of one thing in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    base: Duration,
    cap: Duration,
}

impl Backoff {
    pub(crate) fn new(limits: &NetLimits) -> Backoff {
        Backoff { failures: 0, base: limits.backoff_base, cap: limits.backoff_cap }
    }

    /// Counts a failure; how long to wait before the next attempt.
    pub(crate) fn failed(&mut self) -> Duration {
        self.failed_within(self.cap)
    }

    /// The same with a bound of its own, if it is lower.
    pub(crate) fn failed_within(&mut self, cap: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        with_jitter(wait_after(self.failures, self.base, cap.min(self.cap)))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        let waits = [1, 2, 3, 6, 7, 50, u32::MAX].map(|failures| wait_after(failures, base, cap).as_millis());
        assert_eq!(waits, [100, 200, 400, 3200, 5000, 5000, 5000]);
        assert_eq!(wait_after(u32::MAX, Duration::from_secs(u64::MAX), cap), cap);
    }

    #[test]
    fn jitter_is_a_quarter_at_most() {
        for _ in 0..1000 {
            let wait = with_jitter(Duration::from_secs(4));
            assert!((3.0..=5.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }
}

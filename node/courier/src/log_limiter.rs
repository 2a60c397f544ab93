//! Limits log lines that peers can cause: writes the first at once, then a count at most once a minute, so that nobody fills a disk
//! with them. Pure: the time is a parameter.

use std::time::{Duration, Instant};

/// Between two lines of one kind.
pub const PAUSE: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Debug, Default)]
pub struct LogLimiter {
    written: Option<Instant>,
    left_out: u64,
}

impl LogLimiter {
    /// Something is to be logged: with how many that were left out since the last line, or not at all.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.written.is_some_and(|written| now.saturating_duration_since(written) < PAUSE) {
            self.left_out += 1;
            return None;
        }
        self.written = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute_that_counts_the_rest() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        let mut written = Vec::new();
        for second in 0..181 {
            for _ in 0..10 {
                written.extend(limiter.admit(start + Duration::from_secs(second)));
            }
        }
        assert_eq!(written, [0, 599, 599, 599]);
    }
}

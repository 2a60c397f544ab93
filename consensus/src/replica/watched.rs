//! Time in which a member looked.
//!
//! Who waits for something with a patience looks for it now and then. If nobody looked for long, because the replica slept or the machine was busy, that time must not
//! count: what was waited for may have come, and not been taken in. So this clock stands still from one pause after each look until the next look. Each look counts, so
//! nobody can stop it for ever.

use std::time::Duration;
use tokio::time::Instant;

/// See the head of the module.
pub(crate) struct Watched {
    pause: Duration,
    /// When it was looked last.
    looked: Option<Instant>,
    /// What did not count up to then.
    lost: Duration,
}

impl Watched {
    /// It is looked every `pause`, or more often.
    pub(crate) fn new(pause: Duration) -> Watched {
        Watched { pause, looked: None, lost: Duration::ZERO }
    }

    /// How often it has to be looked.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// It is looked now.
    pub(crate) fn look(&mut self, now: Instant) {
        self.lost = self.lost(now);
        self.looked = Some(now);
    }

    /// What time it is by this clock.
    pub(crate) fn at(&self, now: Instant) -> Instant {
        now.checked_sub(self.lost(now)).unwrap_or(now)
    }

    fn lost(&self, now: Instant) -> Duration {
        self.lost + self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked + self.pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_looked_does_not_count_and_each_look_does() {
        let began = Instant::now();
        let mut watched = Watched::new(Duration::from_secs(1));
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut looks = |seconds: u64| {
            let before = watched.at(at(seconds));
            watched.look(at(seconds));
            assert_eq!(before, watched.at(at(seconds)), "a look itself changes nothing");
            before.duration_since(began).as_secs()
        };
        assert_eq!([0, 1, 2].map(&mut looks), [0, 1, 2]);
        assert_eq!(looks(100), 3, "it slept");
        assert_eq!([101, 102].map(&mut looks), [4, 5]);
        assert_eq!([104, 109, 110].map(&mut looks), [6, 7, 8], "the machine is busy");
        assert_eq!([110, 110].map(&mut looks), [8, 8], "more often than it must");
        assert_eq!(watched.at(at(1_000)).duration_since(began).as_secs(), 9);
    }
}

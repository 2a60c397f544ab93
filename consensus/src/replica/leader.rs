//! The leaders and candidates that this replica has seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use quorate_ids::HostId;

/// See the head of the module.
#[derive(Default)]
pub(crate) struct LeaderSeen {
    at: Mutex<Option<Instant>>,
    committed: AtomicU64,
}

impl LeaderSeen {
    /// A leader of the present term was heard, and said that the log is committed through this index.
    pub(crate) fn note(&self, committed: u64) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.committed.fetch_max(committed, Ordering::SeqCst);
    }

    /// The leader counts as last heard then, whatever was heard before. It may be in the future: so long it is believed in at least.
    pub(crate) fn set(&self, at: Instant) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Returns when a leader of the present term was last heard, in this life.
    pub(crate) fn at(&self) -> Option<Instant> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest index that a leader has said to be committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }
}

/// Members that ask for votes: they hear no leader.
#[derive(Default)]
pub(crate) struct Candidates(Mutex<BTreeMap<HostId, Asking>>);

/// Since when a member asks, without a longer pause, and when it asked last.
struct Asking {
    since: Instant,
    last: Instant,
}

impl Candidates {
    /// A member has asked for a vote. It has not asked all the time if it did not for `pause`.
    pub(crate) fn note(&self, member: HostId, pause: Duration, now: Instant) {
        let mut asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asking.retain(|_, known| now < known.last + pause);
        asking.entry(member).or_insert(Asking { since: now, last: now }).last = now;
    }

    /// Members that have asked all the time for so long, and have not stopped.
    pub(crate) fn for_long(&self, long: Duration, pause: Duration, now: Instant) -> Vec<HostId> {
        let asking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one = |asking: &Asking| now < asking.last + pause && now >= asking.since + long;
        asking.iter().filter(|(_, asking)| is_one(asking)).map(|(member, _)| *member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_asks_for_long_if_it_has_made_no_pause() {
        let (began, candidates) = (Instant::now(), Candidates::default());
        let at = |seconds| began + Duration::from_secs(seconds);
        let (pause, long) = (Duration::from_secs(3), Duration::from_secs(10));
        let [steady, pausing, gone] = [1, 2, 3].map(|seed| HostId([seed; 32]));
        for second in 0..=12 {
            candidates.note(steady, pause, at(second));
            if second % 4 == 0 {
                candidates.note(pausing, pause, at(second));
            }
            if second < 8 {
                candidates.note(gone, pause, at(second));
            }
        }
        assert_eq!(candidates.for_long(long, pause, at(9)), [], "not yet");
        assert_eq!(candidates.for_long(long, pause, at(12)), [steady]);
        assert_eq!(candidates.for_long(long, pause, at(15)), [], "it has stopped");
    }
}

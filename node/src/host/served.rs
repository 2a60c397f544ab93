//! Remembers for a moment which hosts, that share no vat with this one, may send which frames. The answer takes a look at each vat, and strangers ask as often as they like.
//!
//! Invariant: what is remembered is at most [`KEPT_FOR`] old. It is forgotten when a vat is started here.

use quorate_consensus::{Channel, HostId};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long an answer counts.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Answers that are remembered at most.
const MOST: usize = 4_096;

/// See the head of the module.
#[derive(Default)]
pub(super) struct Served(HashMap<(HostId, Channel), (bool, Instant)>);

impl Served {
    /// What was found lately.
    pub(super) fn get(&self, host: &HostId, channel: Channel, now: Instant) -> Option<bool> {
        let (serves, at) = self.0.get(&(*host, channel))?;
        (now.saturating_duration_since(*at) < KEPT_FOR).then_some(*serves)
    }

    /// Remembers what was found.
    pub(super) fn put(&mut self, host: HostId, channel: Channel, serves: bool, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (_, at)| now.saturating_duration_since(*at) < KEPT_FOR);
            if self.0.len() >= MOST {
                self.0.clear();
            }
        }
        self.0.insert((host, channel), (serves, now));
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_for_a_moment_and_are_not_kept_without_end() {
        let (mut served, now) = (Served::default(), Instant::now());
        let host = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            HostId(key)
        };
        served.put(host(1), Channel::Append, true, now);
        served.put(host(1), Channel::Vote, false, now);
        assert_eq!(served.get(&host(1), Channel::Append, now), Some(true));
        assert_eq!(served.get(&host(1), Channel::Vote, now), Some(false));
        assert_eq!(served.get(&host(2), Channel::Vote, now), None);
        assert_eq!(served.get(&host(1), Channel::Append, now + KEPT_FOR), None);
        (0..2 * MOST).for_each(|number| served.put(host(number), Channel::Append, false, now));
        assert!(served.0.len() <= MOST);
        served.forget();
        assert!(served.0.is_empty());
    }
}

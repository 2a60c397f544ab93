//! For how long peers have left messages unacknowledged. The tables know no clock: this memory is of this process, and begins again with it.

use quorate_engine::VatId;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The last message that a block said to a peer, and when that block was executed here.
type Said = VecDeque<(u64, Instant)>;

/// See the head of the module. A clone is the same memory.
#[derive(Clone, Default)]
pub struct Unacknowledged(Arc<Mutex<BTreeMap<VatId, Said>>>);

impl Unacknowledged {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<VatId, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a block said and what peers have acknowledged by then, each by the number of the message.
    pub fn note(
        &self,
        said: impl Iterator<Item = (VatId, u64)>,
        acknowledged: impl Iterator<Item = (VatId, u64)>,
        now: Instant,
    ) {
        let mut memory = self.lock();
        for (peer, number) in said {
            let said = memory.entry(peer).or_default();
            match said.back_mut() {
                // One entry for all that the block said.
                Some((last, at)) if *at == now => *last = number.max(*last),
                _ => said.push_back((number, now)),
            }
        }
        for (peer, through) in acknowledged {
            let Some(said) = memory.get_mut(&peer) else { continue };
            while said.front().is_some_and(|(last, _)| *last <= through) {
                said.pop_front();
            }
            if said.is_empty() {
                memory.remove(&peer);
            }
        }
    }

    /// The state was replaced: these wait, for as long as is known from now on.
    pub fn restore(&self, waiting: impl Iterator<Item = (VatId, u64)>, now: Instant) {
        self.lock().clear();
        self.note(waiting, std::iter::empty(), now);
    }

    /// The vat has forgotten a peer.
    pub fn forget(&self, peer: &VatId) {
        self.lock().remove(peer);
    }

    /// For how long the oldest message of each peer has waited.
    pub fn ages(&self, now: Instant) -> BTreeMap<String, Duration> {
        let memory = self.lock();
        let oldest = memory.iter().filter_map(|(peer, said)| Some((peer, said.front()?.1)));
        oldest.map(|(peer, at)| (peer.to_string(), now.saturating_duration_since(at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_message_that_waits() {
        let (memory, begin) = (Unacknowledged::default(), Instant::now());
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let (bank, shop) = (VatId([1; 32]), VatId([2; 32]));
        let age = |peer: &VatId, seconds: u64| memory.ages(at(seconds)).get(&peer.to_string()).map(Duration::as_secs);
        memory.note([(bank, 1), (bank, 2), (shop, 1)].into_iter(), std::iter::empty(), at(0));
        memory.note([(bank, 3)].into_iter(), [(shop, 1)].into_iter(), at(10));
        assert_eq!((age(&bank, 15), age(&shop, 15)), (Some(15), None));
        // A part of what a block said: the rest of it still waits.
        memory.note(std::iter::empty(), [(bank, 1)].into_iter(), at(16));
        assert_eq!(age(&bank, 16), Some(16));
        memory.note(std::iter::empty(), [(bank, 2)].into_iter(), at(17));
        assert_eq!(age(&bank, 17), Some(7));
        memory.restore([(shop, 4)].into_iter(), at(20));
        assert_eq!((age(&bank, 21), age(&shop, 21)), (None, Some(1)));
        memory.forget(&shop);
        assert_eq!(age(&shop, 22), None);
    }
}

//! Places that addresses share, and how fast each may ask.
//!
//! Invariant: an address has at most as many places as it leaves free. So one alone has half of them, two have a third each, and a newcomer finds
//! some free as long as there are fewer addresses than places; nothing has to be known of who they are.

use crate::address::Address;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Places of one kind.
pub(crate) struct Shares {
    places: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: BTreeMap<Address, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// None is left.
    All,
    /// The address has so many, which is its share now.
    Share(usize),
}

/// Some places, given back when this is dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    address: Address,
    count: usize,
}

impl Shares {
    pub fn new(places: usize) -> Arc<Shares> {
        Arc::new(Shares { places, taken: Mutex::default(), freed: Notify::new() })
    }

    /// How many there are.
    pub fn places(&self) -> usize {
        self.places
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes places for an address.
    ///
    /// # Errors
    /// There are none, for it or for anybody.
    pub fn take(self: &Arc<Self>, address: Address, count: usize) -> Result<Share, Full> {
        let mut taken = self.taken();
        let free = self.places.saturating_sub(taken.all);
        if free < count {
            return Err(Full::All);
        }
        let own = taken.by.get(&address).copied().unwrap_or(0);
        // The last place goes to an address that has none.
        if own > 0 && own + count > free {
            return Err(Full::Share(own));
        }
        taken.all += count;
        *taken.by.entry(address).or_default() += count;
        Ok(Share { shares: Arc::clone(self), address, count })
    }

    /// The same, once there are places, but not later than so.
    pub async fn wait(self: &Arc<Self>, address: Address, count: usize, patience: Duration) -> Option<Share> {
        let wait = async {
            loop {
                let freed = self.freed.notified();
                let mut freed = std::pin::pin!(freed);
                // From now on, so that nothing is missed between the look and the wait.
                freed.as_mut().enable();
                if let Ok(share) = self.take(address, count) {
                    return share;
                }
                freed.await;
            }
        };
        timeout(patience, wait).await.ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= self.count;
        if let Some(own) = taken.by.get_mut(&self.address) {
            *own -= self.count;
            if *own == 0 {
                taken.by.remove(&self.address);
            }
        }
        drop(taken);
        self.shares.freed.notify_waiters();
    }
}

/// What a message costs: one unit, and one more for each so many bytes.
const BYTES_PER_UNIT: usize = 16 << 10;
/// Units of an address per second, over all its connections, and at once: what a stranger may send by the network (`NetLimits`).
const UNITS_PER_SECOND: f64 = 2_000.0;
const BURST_UNITS: f64 = 4_000.0;
/// Above so many, those addresses are forgotten that have been quiet for long enough to owe nothing.
const MANY_ADDRESSES: usize = 1_024;

/// How fast addresses may send.
#[derive(Default)]
pub(crate) struct Paces(Mutex<BTreeMap<Address, Bucket>>);

/// Units that are left, and when they were counted. It may go into debt.
struct Bucket {
    units: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * UNITS_PER_SECOND;
        (self.units, self.at) = ((self.units + gained).min(BURST_UNITS), now.max(self.at));
    }
}

impl Paces {
    /// Takes a message of so many bytes; how long the address has to wait before its next one.
    pub fn take(&self, address: Address, bytes: usize, now: Instant) -> Duration {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY_ADDRESSES {
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.units < BURST_UNITS
            });
        }
        let bucket = buckets.entry(address).or_insert(Bucket { units: BURST_UNITS, at: now });
        bucket.fill(now);
        bucket.units -= (1 + bytes / BYTES_PER_UNIT) as f64;
        Duration::from_secs_f64((-bucket.units / UNITS_PER_SECOND).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> Address {
        Address::of([192, 0, 2, number].into())
    }

    #[test]
    fn an_address_has_as_many_places_as_it_leaves_free() {
        let shares = Shares::new(8);
        let take = |number| shares.take(address(number), 1);
        let mut first: Vec<Share> = (0..4).map(|_| take(1).expect("it leaves as many")).collect();
        assert_eq!(take(1).err(), Some(Full::Share(4)));
        // A newcomer finds room, until all places are taken.
        let second: Vec<Share> = (0..2).map(|_| take(2).expect("there are four left")).collect();
        assert_eq!(take(2).err(), Some(Full::Share(2)));
        let others: Vec<Share> = (3..5).map(|number| take(number).expect("one is left for each")).collect();
        assert_eq!(take(9).err(), Some(Full::All));
        drop(others);
        // What one gives back is everybody's.
        first.truncate(1);
        drop(second);
        assert!(shares.take(address(2), 7).is_ok());
        assert_eq!(shares.take(address(2), 8).err(), Some(Full::All));
        drop(first);
        assert!(shares.taken().by.is_empty() && shares.taken().all == 0);
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let shares = Shares::new(2);
        let held = shares.take(address(1), 1).expect("nobody else is there");
        let other = shares.take(address(2), 1).expect("the last place is for others");
        assert!(shares.wait(address(3), 1, Duration::from_millis(1)).await.is_none());
        let waiting = tokio::spawn({
            let shares = Arc::clone(&shares);
            async move { shares.wait(address(3), 1, Duration::from_secs(600)).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop((held, other));
        assert!(waiting.await.expect("it ends"));
    }

    #[test]
    fn an_address_has_a_burst_and_then_its_pace_and_others_have_theirs() {
        let (paces, start) = (Paces::default(), Instant::now());
        for _ in 0..4_000 {
            assert_eq!(paces.take(address(1), 100, start), Duration::ZERO);
        }
        assert_eq!(paces.take(address(1), BYTES_PER_UNIT, start), Duration::from_millis(1));
        assert_eq!(paces.take(address(2), 100, start), Duration::ZERO);
        // In a second it has earned what it may have; in many no more than a burst.
        assert_eq!(paces.take(address(1), 100, start + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(paces.take(address(1), 3_999 * BYTES_PER_UNIT, start + Duration::from_secs(60)), Duration::ZERO);
        assert_ne!(paces.take(address(1), 0, start + Duration::from_secs(60)), Duration::ZERO);
        // Who owes nothing is forgotten when there are many.
        for number in 0..2 * MANY_ADDRESSES {
            let [high, low] = u16::try_from(number).expect("few").to_be_bytes();
            paces.take(Address::of([10, 0, high, low].into()), 0, start + Duration::from_secs(60 + number as u64));
        }
        assert!(paces.0.lock().expect("no test panics with it").len() <= MANY_ADDRESSES);
    }
}

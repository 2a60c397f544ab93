//! Waits for the engine image that a replica's vat moves to.
//!
//! Invariants: a stopped replica waits no longer. A starting one does not wait at all, since its host has other vats to start. The awaited image can be
//! queried at any time.

use quorate_engine::Hash;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Follows a replica that waits for an image: what it waits for, and whether it is to go on waiting.
#[derive(Default)]
pub struct ImageWait {
    state: Mutex<WaitState>,
    changed: Condvar,
}

#[derive(Default)]
struct WaitState {
    /// The replica runs, and may wait. Before that its host waits for it to start.
    runs: bool,
    stopped: bool,
    missing: Option<Hash>,
}

impl ImageWait {
    /// The replica has started: what it misses from now on, it waits for.
    pub fn begin(&self) {
        self.state().runs = true;
    }

    /// Ends the wait, and every later one.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    /// The image that the replica waits for, or could not start without.
    pub fn missing(&self) -> Option<Hash> {
        self.state().missing
    }

    /// Returns whether nobody waits any more.
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    fn state(&self) -> MutexGuard<'_, WaitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes attempts until one of them gives something, with pauses. `None`: the wait was ended, or the replica has not started.
    pub fn until<T>(&self, hash: Hash, pause: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            {
                let mut state = self.state();
                state.missing = Some(hash);
                if state.stopped || !state.runs {
                    return None;
                }
            }
            let found = attempt();
            let mut state = self.state();
            if found.is_some() {
                state.missing = None;
                return found;
            }
            let waits = self.changed.wait_timeout_while(state, pause, |state| !state.stopped);
            drop(waits.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    const HASH: Hash = Hash([7; 32]);
    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(3_600);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Returns what a thread got that waits for an image which nobody gives at first.
    fn waiting(wait: &Arc<ImageWait>, pause: Duration, gives_at: usize) -> mpsc::Receiver<Option<usize>> {
        let (sender, receiver) = mpsc::channel();
        let wait = wait.clone();
        thread::spawn(move || {
            let mut asked = 0;
            let found = wait.until(HASH, pause, || {
                asked += 1;
                (asked == gives_at).then_some(asked)
            });
            let _ = sender.send(found);
        });
        receiver
    }

    #[test]
    fn a_replica_that_is_stopped_waits_no_longer_for_an_image() {
        let wait = Arc::new(ImageWait::default());
        wait.begin();
        let got = waiting(&wait, LONG, usize::MAX);
        while wait.missing().is_none() {
            thread::yield_now();
        }
        assert_eq!(wait.missing(), Some(HASH), "status can say what it waits for");
        wait.stop();
        assert_eq!(got.recv_timeout(PATIENCE), Ok(None));
        assert_eq!(waiting(&wait, LONG, usize::MAX).recv_timeout(PATIENCE), Ok(None), "nor for another one");
    }

    #[test]
    fn an_image_is_asked_for_until_it_comes_and_not_at_all_by_one_that_starts() {
        let wait = Arc::new(ImageWait::default());
        assert_eq!(waiting(&wait, LONG, 1).recv_timeout(PATIENCE), Ok(None), "it has not started");
        assert_eq!(wait.missing(), Some(HASH));
        wait.begin();
        assert_eq!(waiting(&wait, Duration::ZERO, 70).recv_timeout(PATIENCE), Ok(Some(70)));
        assert_eq!(wait.missing(), None);
    }
}

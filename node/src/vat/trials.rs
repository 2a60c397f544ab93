//! Tries upgrades on the present state of a vat: for `vat upgrade --dry-run`, and before each `vat upgrade` proposes one.
//!
//! A trial runs where the replica executes blocks, and no account of the vat pays for it: the host's owner asks for it, and this host alone runs it. Each of its two
//! deliveries burns no more than a start may, by the vat's parameters. Invariants: there is one trial at a time. After each, the replica has as
//! long for the vat as the trial took. A trial whose caller has gone does not begin.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// See the head of the module.
#[derive(Default)]
pub struct Trials(Mutex<State>);

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Free,
    Taken,
    RestsUntil(Instant),
}

/// Why there is no trial now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Another one waits or runs.
    Taken,
    /// One has ended, and the next may begin after this time.
    Rests(Duration),
}

/// A trial that may be run. It ends when this is dropped.
pub struct Trial {
    trials: Arc<Trials>,
    began: Option<Instant>,
}

impl Trials {
    /// Takes the next trial.
    ///
    /// # Errors
    /// It is not its time yet.
    pub fn take(self: &Arc<Self>, now: Instant) -> Result<Trial, Busy> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Taken => return Err(Busy::Taken),
            State::RestsUntil(end) if now < end => return Err(Busy::Rests(end - now)),
            State::RestsUntil(_) | State::Free => {}
        }
        *state = State::Taken;
        Ok(Trial { trials: self.clone(), began: None })
    }
}

impl Trial {
    /// It runs from now on.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    fn end(&self, now: Instant) {
        let rest = self.began.map_or(State::Free, |began| State::RestsUntil(now + (now - began)));
        *self.trials.0.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_take_half_of_the_time_at_most_and_one_at_a_time() {
        let (trials, start) = (Arc::<Trials>::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let taken = |now| trials.take(now).map(std::mem::ManuallyDrop::new);
        let mut trial = taken(start).unwrap_or_else(|busy| panic!("nothing is tried yet: {busy:?}"));
        assert_eq!(taken(after(1)).err(), Some(Busy::Taken));
        trial.began = Some(after(1));
        trial.end(after(8));
        assert_eq!(taken(after(9)).err(), Some(Busy::Rests(Duration::from_secs(6))));
        let trial = taken(after(15)).unwrap_or_else(|busy| panic!("it has rested: {busy:?}"));
        // Nobody waited for it: it was not run.
        trial.end(after(99));
        assert!(taken(after(99)).is_ok());
    }

    #[test]
    fn a_trial_ends_however_it_is_left() {
        let trials = Arc::<Trials>::default();
        let mut trial = trials.take(Instant::now()).unwrap_or_else(|busy| panic!("free: {busy:?}"));
        trial.begin();
        drop(trial);
        assert_ne!(trials.take(Instant::now() + Duration::from_secs(3_600)).err(), Some(Busy::Taken));
    }
}

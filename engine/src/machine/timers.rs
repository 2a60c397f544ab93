//! Timers of the guest: keeps its deadlines, and tells it when one has come.
//!
//! The guest sets deadlines ([`Output::SetTimer`](crate::abi::Output::SetTimer)), and remembers the purpose of each itself. A due timer
//! fires in a crank of its own, in order of deadline and then of number. Time is that of the log: only
//! [`Command::Tick`](super::Command::Tick) advances it. The guest never asks for a time that has come already, so that one tick fires each timer once.
//!
//! Invariant: [`MAX_WAKES`] bounds the timers that one command can fire; the rest fire with the next command.

use super::run::Ended;
use super::{CrankKind, Guest, Machine};
use crate::abi::{Delivery, MAX_TIMERS};
use crate::error::EngineError;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most timers that one command fires.
pub const MAX_WAKES: usize = 256;

/// The timers that have not fired. In the state root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timers {
    /// Deadline in ms and number.
    order: BTreeSet<(u64, u64)>,
    /// By number: the deadline, and the vat that caused the timer to be set.
    deadlines: BTreeMap<u64, (u64, Option<VatId>)>,
}

impl Timers {
    /// Enters a timer. One whose number waits already gets the new deadline; one beyond [`MAX_TIMERS`], which the guest refuses itself, never fires.
    pub fn set(&mut self, timer: u64, at_ms: u64, cause: Option<VatId>) {
        self.cancel(timer);
        if self.deadlines.len() < MAX_TIMERS {
            self.deadlines.insert(timer, (at_ms, cause));
            self.order.insert((at_ms, timer));
        }
    }

    pub fn cancel(&mut self, timer: u64) {
        if let Some((at_ms, _)) = self.deadlines.remove(&timer) {
            self.order.remove(&(at_ms, timer));
        }
    }

    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    pub fn clear(&mut self) {
        *self = Timers::default();
    }

    /// Takes out the first timer that is due at `now_ms`, and who caused it.
    fn take_due(&mut self, now_ms: u64) -> Option<(u64, Option<VatId>)> {
        let (at_ms, timer) = *self.order.first()?;
        if at_ms > now_ms {
            return None;
        }
        let cause = self.deadlines.get(&timer).and_then(|(_, cause)| *cause);
        self.cancel(timer);
        Some((timer, cause))
    }
}

impl<G: Guest> Machine<G> {
    /// Fires the timers that are due, as far as the command's share and the block's fuel go. Each is on the account of the vat whose message
    /// had it set.
    pub(super) fn run_timers(&mut self) -> Result<(), EngineError> {
        while self.wakes_left > 0
            && self.burnt < self.fuel.per_block
            && self.status.installed
            && self.status.exit.is_none()
        {
            let Some((timer, cause)) = self.timers.take_due(self.status.now_ms) else { break };
            self.wakes_left -= 1;
            self.set_account(cause);
            let ended = self.crank(CrankKind::Timer, None, &Delivery::Wake { timer, failure: None })?;
            if let Ended::RolledBack(limit) = ended {
                // To the guest the timer still waits. What cannot even be told waits for ever.
                let failure =
                    format!("what the timer set off was rolled back: it exceeded the {} limit", limit.as_str());
                self.crank(CrankKind::Timer, None, &Delivery::Wake { timer, failure: Some(failure) })?;
            }
            self.set_account(None);
            self.run_follow_ups()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_of_deadline_and_number() {
        let mut timers = Timers::default();
        for (timer, at_ms) in [(3, 20), (1, 30), (2, 20), (4, 10), (5, 20)] {
            timers.set(timer, at_ms, None);
        }
        timers.cancel(5);
        timers.cancel(9);
        timers.set(4, 25, Some(VatId([7; 32])));
        assert_eq!(timers.take_due(19), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(29)).collect();
        assert_eq!(due, [(2, None), (3, None), (4, Some(VatId([7; 32])))]);
        assert_eq!((timers.len(), timers.take_due(30), timers.len()), (1, Some((1, None)), 0));
    }

    #[test]
    fn the_number_of_timers_is_bounded() {
        let mut timers = Timers::default();
        for timer in 0..=MAX_TIMERS as u64 {
            timers.set(timer, 1, None);
        }
        assert_eq!(timers.len(), MAX_TIMERS);
        timers.set(0, 2, None);
        assert_eq!(timers.len(), MAX_TIMERS, "one that is there can be set anew");
    }
}

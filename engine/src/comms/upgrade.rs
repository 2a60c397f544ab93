//! Adapts the tables to new code: the new guest knows nothing but what it got at its start.

use super::Comms;
use super::promises::State;
use crate::abi::Slot;
use std::collections::BTreeSet;

impl Comms {
    /// The numbers of the own objects that others hold, the root aside.
    pub fn held_objects(&self) -> impl Iterator<Item = u64> + '_ {
        self.holders.keys().copied()
    }

    /// Returns whether others may still send to a promise that has settled.
    pub fn is_kept_answer(&self, slot: Slot) -> bool {
        self.promises.get(&slot).is_some_and(|promise| promise.state == State::Settled)
    }

    /// Returns how many open promises the guest is to settle for others, and how many calls of its own it waits for.
    pub fn open_promises(&self) -> (u64, u64) {
        let count = |is: fn(&State) -> bool| self.promises.values().filter(|promise| is(&promise.state)).count() as u64;
        (count(|state| *state == State::Guest), count(|state| matches!(state, State::Peer(_))))
    }

    /// The guest is another one from now on. It knows of the objects of others in `told`, and of the promises in `answers`, which have settled; those
    /// that it should have settled are rejected with `message`.
    pub fn upgraded(&mut self, told: &BTreeSet<Slot>, answers: &BTreeSet<Slot>, message: &str) {
        for slot in std::mem::take(&mut self.pending) {
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pending = false;
            }
        }
        self.told_singly = 0;
        for slot in self.promises.keys().copied().collect::<Vec<_>>() {
            self.abandon(slot);
            let Some(promise) = self.promises.get_mut(&slot) else { continue };
            (promise.known, promise.kept) = (answers.contains(&slot), false);
            match &promise.state {
                State::Guest => self.reject(slot, message),
                State::Unheard(refusal) => promise.state = State::Refused(refusal.clone()),
                _ => {}
            }
            self.drop_if_done(slot);
        }
        self.retired.clear();
        self.freed.clear();
        let dropped: Vec<Slot> = self
            .host_objects
            .keys()
            .map(|object| Slot::HostObject(*object))
            .filter(|slot| !told.contains(slot))
            .collect();
        self.drop_by_guest(&dropped);
    }
}

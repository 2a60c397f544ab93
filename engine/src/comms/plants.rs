//! Errors that a test plants, to see that the check of the handoff finds them. Compiled into unit tests only.

use super::Comms;
use super::handoff::resolution_to;
use super::inbound::{Broken, Inbound, broken};
use super::peer::{PairId, Party};
use super::promises::{Promise, State};
use crate::abi::{Resolution, Slot};
use quorate_ids::VatId;
use std::cell::Cell;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The deposit of a settlement is said with the settlement.
    DepositAtOnce,
    /// The same, but only if no call to the promise was seen.
    DepositIfNoCallSeen,
    /// A promise that comes home settles at once.
    NoRelease,
    /// The same, but only if its knower sent nothing to it.
    NoReleaseIfNothingSent,
    /// An acknowledgement counts before all messages that its head speaks of are there.
    AckWithoutEnd,
    /// A settled promise pins nothing until it is retired.
    NoPin,
    /// A drop takes away all that was sent.
    DropWithoutCounts,
    /// Those who wait for a promise are told when it comes home, not when it is released.
    TellBeforeRelease,
    /// A gift in a delivery that the guest does not take in is not withdrawn.
    WithdrawnByGuest,
    /// A gift is settled to data.
    SettledToData,
    /// An acknowledgement that comes with no messages is lost, and is not said again.
    BareAcksLost,
    /// A promise that is resolved to one that a third vat decides is settled at once, with a gift of that promise.
    PromiseGiven,
    /// A promise that is resolved to a gift which has not settled is settled at once, with a gift of that gift.
    SettledBeforeItsGift,
    /// What waits at the home for a deposit is done some time after the receiver was told what it settled to.
    QueueAfterSettle,
    /// A promise that is settled with a gift has settled for the guest and for all who wait for it, to a promise of the gift, before
    /// that settles.
    HeardBeforeItsGift,
}

impl Plant {
    pub const ALL: [Plant; 15] = [
        Plant::DepositAtOnce,
        Plant::DepositIfNoCallSeen,
        Plant::NoRelease,
        Plant::NoReleaseIfNothingSent,
        Plant::AckWithoutEnd,
        Plant::NoPin,
        Plant::DropWithoutCounts,
        Plant::TellBeforeRelease,
        Plant::BareAcksLost,
        Plant::WithdrawnByGuest,
        Plant::SettledToData,
        Plant::PromiseGiven,
        Plant::SettledBeforeItsGift,
        Plant::QueueAfterSettle,
        Plant::HeardBeforeItsGift,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Returns whether this error is planted in this thread.
pub fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Takes the error out again.
pub struct Planted;

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

/// Plants an error in this thread until what this gives is dropped.
pub fn plant(plant: Plant) -> Planted {
    PLANTED.set(Some(plant));
    Planted
}

/// The number of a deposit that is of a promise: what is below this bit is the promise's.
const PROMISE: u64 = 1 << 63;

/// What is only there because it is planted.
impl Comms {
    /// The vat that decides a promise, and its name there for a deposit, if such promises are given.
    pub(super) fn given_promise(&self, slot: Slot) -> Option<(VatId, u64)> {
        let promise = self.promises.get(&slot)?;
        let planted = if promise.gift.is_some() { Plant::SettledBeforeItsGift } else { Plant::PromiseGiven };
        match (&promise.state, promise.source) {
            (State::Peer(home), Some((_, PairId { by: Party::Us, id }))) if is(planted) => Some((*home, PROMISE | id)),
            _ => None,
        }
    }

    /// Takes in the deposit of a promise; `None` if it is one of an object.
    pub(super) fn receive_promise_deposit(
        &mut self,
        from: &VatId,
        to: VatId,
        number: u64,
        object: u64,
    ) -> Option<Result<Inbound, Broken>> {
        if object & PROMISE == 0 || !(is(Plant::PromiseGiven) || is(Plant::SettledBeforeItsGift)) {
            return None;
        }
        let id = PairId { by: Party::Them, id: object & !PROMISE };
        let Some(Slot::HostPromise(promise)) =
            self.peers.get(from).and_then(|peer| peer.pair(id)).map(|pair| pair.slot)
        else {
            return Some(broken("a deposit of a promise that is retired"));
        };
        let object = PROMISE | promise;
        Some(Ok(match self.peer_mut(&to).gifts.withdraws.remove(&(*from, number)) {
            Some(slot) => self.follow_given_promise(slot, object).unwrap_or(Inbound::Done),
            None => {
                self.peer_mut(&to).gifts.deposited.insert((*from, number), Some(object));
                self.peer_mut(from).gifts.deposits_open += 1;
                Inbound::Done
            }
        }))
    }

    /// Has a withdrawn promise go on as the one that was deposited; `None` if an object was.
    pub(super) fn follow_given_promise(&mut self, slot: Slot, object: u64) -> Option<Inbound> {
        if object & PROMISE == 0 {
            return None;
        }
        let target = Slot::HostPromise(object & !PROMISE);
        let promise = self.promises.get_mut(&slot)?;
        let State::Waiting { receiver, .. } = promise.state else { return None };
        let known = promise.known;
        let pairs = std::mem::take(&mut promise.pairs);
        promise.state = State::Settled;
        self.end_queue(slot, &receiver);
        self.promises.entry(target).or_insert_with(|| Promise::new(State::Settled, true));
        for (vat, id) in pairs {
            if let Some(pair) = self.peers.get_mut(&vat).and_then(|peer| peer.pair_mut(id)) {
                pair.slot = target;
            }
            if let Some(target) = self.promises.get_mut(&target) {
                target.pairs.insert(vat, id);
            }
        }
        self.drop_if_done(slot);
        Some(if known {
            Inbound::Settle { promise: slot, resolution: resolution_to(target), cause: None }
        } else {
            Inbound::Done
        })
    }

    /// Keeps back what the guest is to hear of a withdrawn promise.
    pub(super) fn keep_back(&mut self, inbound: Inbound) -> Inbound {
        match inbound {
            Inbound::Settle { promise, resolution, .. } if is(Plant::QueueAfterSettle) => {
                self.kept_back.push((promise, resolution));
                Inbound::Done
            }
            inbound => inbound,
        }
    }

    /// Returns what was kept back.
    pub(crate) fn take_kept_back(&mut self) -> Vec<(Slot, Resolution)> {
        std::mem::take(&mut self.kept_back)
    }

    pub(crate) fn keeps_back(&self) -> bool {
        !self.kept_back.is_empty()
    }
}

//! Passes an object of one vat to another: gift, deposit and withdrawal; and promises that come home.
//!
//! The giver names the object to the receiver as a gift, and deposits it at its home under the gift's number. The receiver's machine
//! withdraws it there: it names a promise that the home's machine settles to the object. The receiver's messages to that promise
//! wait at the home until the deposit is there.
//!
//! Order: messages to one reference are executed in the order in which they were sent. Hence a deposit stands in the giver's stream after all
//! the giver's earlier messages to the object. A promise that *settles* to an object of a third vat may have been sent to. Those
//! messages go through this vat. So this vat sends the deposit only when the pair is retired, when no more of them can be under way. It does so
//! always, since unseen messages may have been sent. A promise that comes home is released in the same way.
//!
//! Promises are not given. A vat that passes one on reports how it settles, once it is an object or data, never another promise: redirecting
//! to promises would let messages overtake one another with four vats. A withdrawn gift settles only to an object of its home or a rejection,
//! so relaying has an end. The home's part is in [`super::deposits`].

use super::inbound::{Broken, Inbound, broken};
use super::peer::{Gifts, PairId, Party, Stage, Then};
#[cfg(test)]
use super::promises::Speaker;
use super::promises::{Gift, Promise, State};
use super::{Comms, MAX_INTRODUCED, MAX_PROMISES, MAX_WITHDRAWALS};
use crate::abi::{CapData, Resolution, Slot, Value};
use crate::wire::{Op, WireRef, lent_number};
use quorate_ids::VatId;

/// A promise, and why it is rejected.
pub(super) const NOT_HELD: &str = "the vat that gave this object does not hold it";
const NO_ROOM: &str = "the vat that this object lives in has no room for the one that it was given to";
pub(super) const TOO_MANY: &str = "more gifts of one vat than can be withdrawn at a time";

/// The resolution to one capability.
pub(super) fn resolution_to(slot: Slot) -> Resolution {
    Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![slot]))
}

impl Gifts {
    /// The peer has this vat's messages up to `through`, and has said what it has to say against the gifts and deposits in them: its
    /// messages up to that acknowledgement are in.
    pub fn acknowledge(&mut self, through: u64) {
        self.given = self.given.split_off(&(through + 1));
        self.deposits = self.deposits.split_off(&(through + 1));
    }
}

// As the giver.
impl Comms {
    /// The number of the next gift of an object of `home`.
    pub(super) fn next_gift(&mut self, home: &VatId) -> u64 {
        let made = &mut self.peer_mut(home).gifts.made;
        *made += 1;
        *made
    }

    /// Deposits `home`'s object for `to`. If nothing can be said to `home`, the receiver is told that the gift comes to nothing.
    pub(super) fn say_deposit(&mut self, to: &VatId, home: &VatId, number: u64, object: u64) {
        if self.peers.get(home).is_none_or(super::Peer::is_broken) {
            self.say_undo(to, *home, number);
            return;
        }
        let message = self.push(home, &Op::Deposit { to: *to, number, object });
        self.peer_mut(home).gifts.deposits.insert(message, (*to, number));
        self.peer_mut(to).gifts.homes.insert(*home);
    }

    pub(super) fn say_undo(&mut self, to: &VatId, home: VatId, number: u64) {
        if self.peers.get(to).is_some_and(|peer| !peer.is_broken()) {
            self.push(to, &Op::Undo { home, number });
        }
    }

    /// Message `number` to `vat` holds these gifts.
    pub(super) fn note_given(&mut self, vat: &VatId, number: u64, gifts: Vec<(VatId, u64)>) {
        self.peer_mut(vat).gifts.given.insert(number, gifts);
    }

    /// The pair `id` with `vat` is retired: no more of what was sent to it can be under way.
    pub(super) fn say_then(&mut self, vat: &VatId, id: PairId, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Release => {
                self.push(vat, &Op::Release { promise: id.outbound() });
            }
            Then::Deposit { home, number, object } => {
                self.say_deposit(vat, &home, number, object);
                self.unpin_import(&home, object);
            }
        }
    }

    /// A gift of this vat comes to nothing: its home has no room for it, or its receiver has not.
    pub(super) fn receive_declined(&mut self, from: &VatId, home: VatId, number: u64) -> Result<(), Broken> {
        let gifts = &mut self.peer_mut(from).gifts;
        if home == *from {
            let message = gifts.deposits.iter().find(|(_, (_, deposited))| *deposited == number);
            let Some((message, (to, _))) = message.map(|(message, entry)| (*message, *entry)) else {
                return broken("it declines a deposit that was not made, or that it has taken in");
            };
            gifts.deposits.remove(&message);
            self.say_undo(&to, home, number);
            return Ok(());
        }
        let gift = (home, number);
        let Some(list) = gifts.given.values_mut().find(|list| list.contains(&gift)) else {
            return broken("it declines a gift that it was not given, or that it has taken in");
        };
        list.retain(|other| *other != gift);
        let mut unsaid = None;
        for (_, then) in self.peer_mut(from).settlements.values_mut() {
            if let Then::Deposit { home: at, number: which, object } = *then
                && (at, which) == gift
            {
                *then = Then::Nothing;
                unsaid = Some(object);
            }
        }
        match unsaid {
            Some(object) => self.unpin_import(&home, object),
            None if self.peers.get(&home).is_some_and(|peer| !peer.is_broken()) => {
                self.push(&home, &Op::Cancel { to: *from, number: Some(number) });
            }
            None => {}
        }
        Ok(())
    }

    /// Takes back all that was deposited at `home` for a vat that this one has forgotten.
    pub(super) fn cancel_all(&mut self, home: &VatId, to: &VatId) {
        if self.peers.get(home).is_some_and(|peer| !peer.is_broken()) {
            self.push(home, &Op::Cancel { to: *to, number: None });
        }
    }
}

// As the receiver.
impl Comms {
    /// Withdraws a gift from its home. The guest's name for it is `into`, if that is given, or a new promise. The inner error is why
    /// `into` is to be rejected; a new promise is rejected here. The machine withdraws, not the guest: a gift in a delivery that
    /// the guest does not take in is withdrawn all the same. What is lent is a gift that `lender` deposits.
    pub(super) fn take_gift(
        &mut self,
        from: &VatId,
        home: VatId,
        number: u64,
        lender: Option<VatId>,
        into: Option<Slot>,
    ) -> Result<Result<Slot, &'static str>, Broken> {
        if home == self.vat || home == *from {
            return broken("a gift of an object that is no third vat's");
        }
        if lender.is_some_and(|lender| lender == self.vat || lender == home) {
            return broken("a loan by its receiver or by the vat that the object lives in");
        }
        let gifts = &mut self.peer_mut(from).gifts;
        match gifts.last_taken.get(&home) {
            Some(last) if *last >= number => return broken("a gift that was given before"),
            _ => {}
        }
        if let Err(refusal) = self.plan_withdrawal(from, &home) {
            if lender.is_none() {
                self.push(from, &Op::Declined { home, number });
            }
            return Ok(match into {
                Some(_) => Err(refusal),
                None => Ok(self.new_host_promise(State::Refused(refusal.to_owned()))),
            });
        }
        self.introduce(from, &home);
        let slot = into.unwrap_or_else(|| self.new_host_promise(State::Peer(home)));
        let id = self.peer_mut(&home).name_promise(slot, Party::Them, Stage::Withdrawn);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.state = State::Peer(home);
            promise.source = Some((home, id));
            promise.gift = Some(Gift { giver: *from, home, number });
        }
        let gifts = &mut self.peer_mut(from).gifts;
        gifts.last_taken.insert(home, number);
        gifts.taken.insert((home, number), slot);
        #[cfg(test)]
        if super::plants::is(super::plants::Plant::WithdrawnByGuest) && into.is_none() {
            return Ok(Ok(slot));
        }
        let (giver, deposit) = lender.map_or((*from, number), |lender| (lender, lent_number(from, &lender, number)));
        self.push(&home, &Op::Withdraw { from: giver, number: deposit, result: id.id });
        Ok(Ok(slot))
    }

    /// What was not withdrawn when it came, because that is planted.
    #[cfg(test)]
    pub(super) fn withdraw_late(&mut self, slot: Slot) {
        let Some(promise) = self.promises.get(&slot).filter(|promise| !promise.known) else { return };
        if let (Some(gift), Some((home, id))) = (promise.gift, promise.source) {
            self.push(&home, &Op::Withdraw { from: gift.giver, number: gift.number, result: id.id });
        }
    }

    /// Returns whether a gift of `giver` can be withdrawn at `home` now.
    fn plan_withdrawal(&self, giver: &VatId, home: &VatId) -> Result<(), &'static str> {
        let Some(gifts) = self.peers.get(giver).map(|peer| &peer.gifts) else { return Err(NO_ROOM) };
        if gifts.taken.len() >= MAX_WITHDRAWALS {
            return Err(TOO_MANY);
        }
        self.may_introduce(giver, home)?;
        match self.peers.get(home) {
            Some(peer) if peer.ours.len() >= MAX_PROMISES => {
                Err("too many promises towards the vat that this object lives in are open")
            }
            Some(_) if self.check_room(home, "").is_err() => {
                Err("no message can go to the vat that this object lives in")
            }
            _ => Ok(()),
        }
    }

    /// Returns whether `vat` is a peer, or can become one on `introducer`'s account.
    pub(super) fn may_introduce(&self, introducer: &VatId, vat: &VatId) -> Result<(), &'static str> {
        if self.peers.contains_key(vat) {
            return Ok(());
        }
        if let Some(refusal) = self.refuses_peer(vat) {
            return Err(refusal);
        }
        match self.peers.get(introducer) {
            Some(peer) if peer.gifts.introduced < MAX_INTRODUCED => Ok(()),
            _ => Err("the vat that gave this has introduced as many vats as one may"),
        }
    }

    pub(super) fn introduce(&mut self, introducer: &VatId, vat: &VatId) {
        if !self.peers.contains_key(vat) {
            self.peer_mut(introducer).gifts.introduced += 1;
            self.peer_mut(vat).introduced_by = Some(*introducer);
        }
    }

    /// The promise stands no more for a gift that is being withdrawn.
    pub(super) fn end_gift(&mut self, slot: Slot) {
        if let Some(Gift { giver, home, number }) = self.promises.get_mut(&slot).and_then(|promise| promise.gift.take())
            && let Some(peer) = self.peers.get_mut(&giver)
        {
            peer.gifts.taken.remove(&(home, number));
        }
    }

    /// A gift of `from` cannot be withdrawn. One that is settled already stays as it is.
    pub(super) fn receive_undo(&mut self, from: &VatId, home: VatId, number: u64) {
        if let Some(slot) = self.peer_mut(from).gifts.taken.remove(&(home, number)) {
            self.reject(slot, NO_ROOM);
        }
    }

    /// Holds a promise that has come home until its release: what was sent to it is on its way to `from` and back, and what is sent to the
    /// object from now on must not overtake it. Always, also if this vat sent nothing: others may have, before it was handed on to this
    /// vat. False if the guest has never heard of the promise.
    pub(super) fn hold(&mut self, from: &VatId, id: PairId, slot: Slot, object: u64) -> bool {
        let held = !self.exited && self.promises.get(&slot).is_some_and(|promise| promise.known);
        if !held {
            return false;
        }
        #[cfg(test)]
        if super::plants::is(super::plants::Plant::NoRelease)
            || (super::plants::is(super::plants::Plant::NoReleaseIfNothingSent)
                && self.promises.get(&slot).is_some_and(|promise| !promise.pipelined))
        {
            return false;
        }
        #[cfg(test)]
        if super::plants::is(super::plants::Plant::TellBeforeRelease) {
            self.settle(slot, &resolution_to(Slot::VatObject(object)), Speaker::Forwarded);
        }
        if let Some(pair) = self.peer_mut(from).pair_mut(id) {
            pair.stage = Stage::Held;
        }
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.state = State::Held(object);
            promise.source = Some((*from, id));
        }
        self.hold_object(object);
        true
    }

    /// All that was sent to a promise which has come home has come back.
    pub(super) fn receive_release(&mut self, from: &VatId, promise: WireRef) -> Result<Inbound, Broken> {
        let id = PairId::inbound(promise.allocator, promise.id);
        let pair = self.peers.get(from).and_then(|peer| peer.pair(id)).filter(|pair| pair.decider == Party::Them);
        let (slot, stage) = match pair.map(|pair| (pair.slot, pair.stage)) {
            Some((slot, stage @ (Stage::Held | Stage::Unreleased))) => (slot, stage),
            _ => return broken(format!("a release of promise {}, which has not come home", promise.id)),
        };
        self.peer_mut(from).remove_pair(id);
        if stage == Stage::Unreleased {
            return Ok(Inbound::Done);
        }
        let Some(Promise { state: State::Held(object), .. }) = self.promises.get(&slot) else {
            return Ok(Inbound::Done);
        };
        let object = *object;
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.source = None;
        }
        let inbound = self.settled(slot, resolution_to(Slot::VatObject(object)));
        self.release_object(object);
        Ok(inbound)
    }
}

//! Deposits at the home of a given object: a deposit waits for its withdrawal, or a withdrawal for its deposit. The rules are in [`super::handoff`].

use super::handoff::{NOT_HELD, TOO_MANY, resolution_to};
use super::inbound::{Broken, Inbound, broken};
use super::peer::{Party, Then};
use super::promises::{EXITED, State};
use super::{Comms, MAX_DEPOSITS, MAX_ORPHANS, MAX_QUEUED_BYTES, MAX_QUEUED_CALLS, MAX_WITHDRAWALS};
use crate::abi::Slot;
#[cfg(test)]
use crate::abi::{CapData, Resolution, Value};
use crate::wire::Op;
use quorate_ids::VatId;

impl Comms {
    pub(super) fn receive_deposit(
        &mut self,
        from: &VatId,
        to: VatId,
        number: u64,
        object: u64,
    ) -> Result<Inbound, Broken> {
        if to == self.vat || to == *from {
            return broken("a deposit for its giver or its home");
        }
        #[cfg(test)]
        if let Some(planted) = self.receive_promise_deposit(from, to, number, object) {
            return planted;
        }
        let Some(giver) = self.peers.get(from) else { return broken("a message of an unknown vat") };
        let object = match giver.exported(object) {
            // A grant or a bearer can be taken back while the deposit is under way.
            None if object == 0 || giver.exports.contains_key(&object) => None,
            None => return broken(format!("a deposit of object {object}, which the giver does not hold")),
            held => held,
        };
        if self.exited {
            // The vat that withdraws it learns of it, whether it is here or not.
            return Ok(Inbound::Done);
        }
        let full = giver.gifts.deposits_open >= MAX_DEPOSITS;
        let receiver = self.peers.get(&to);
        if receiver.is_some_and(|peer| peer.gifts.deposited.contains_key(&(*from, number))) {
            return broken("a gift that was deposited before");
        }
        if full || receiver.is_some_and(super::Peer::is_broken) || self.may_introduce(from, &to).is_err() {
            let home = self.vat;
            self.push(from, &Op::Declined { home, number });
            return Ok(Inbound::Done);
        }
        self.introduce(from, &to);
        // The receiver may have been turned away before this vat knew it: a head for it says that it is known now.
        self.changes.touched.insert(to);
        if let Some(slot) = self.peer_mut(&to).gifts.withdraws.remove(&(*from, number)) {
            return Ok(self.match_gift(slot, object));
        }
        if let Some(object) = object {
            self.hold_object(object);
        }
        self.peer_mut(&to).gifts.deposited.insert((*from, number), object);
        self.peer_mut(from).gifts.deposits_open += 1;
        Ok(Inbound::Done)
    }

    pub(super) fn receive_withdraw(
        &mut self,
        from: &VatId,
        giver: VatId,
        number: u64,
        result: u64,
    ) -> Result<(), Broken> {
        if giver == self.vat || giver == *from {
            return broken("a withdrawal of a gift of its receiver or its home");
        }
        if self.peers.get(from).is_some_and(|peer| peer.gifts.withdraws.contains_key(&(giver, number))) {
            return broken("a gift that is being withdrawn already");
        }
        let slot = self.import_promise(from, result, State::Waiting { receiver: *from, giver, number }, Party::Us)?;
        if let Some(object) = self.take_deposit(from, &giver, number) {
            // The guest has not heard of the promise: nothing was sent to it yet.
            if self.exited {
                self.reject(slot, EXITED);
            } else {
                self.match_gift(slot, object);
            }
            if let Some(object) = object {
                self.release_object(object);
            }
            return Ok(());
        }
        let waiting = self.peers.get(from).map_or(0, |peer| peer.gifts.withdraws.len());
        if self.exited {
            self.reject(slot, EXITED);
        } else if self.peers.get(&giver).is_none_or(super::Peer::is_broken) {
            self.reject(slot, NOT_HELD);
        } else if waiting >= MAX_WITHDRAWALS {
            self.reject(slot, TOO_MANY);
        } else {
            self.peer_mut(from).gifts.withdraws.insert((giver, number), slot);
        }
        Ok(())
    }

    /// Removes a deposit, which goes on holding its object until the caller lets that go.
    fn take_deposit(&mut self, to: &VatId, giver_name: &VatId, number: u64) -> Option<Option<u64>> {
        let object = self.peers.get_mut(to)?.gifts.deposited.remove(&(*giver_name, number))?;
        if let Some(giver) = self.peers.get_mut(giver_name) {
            giver.gifts.deposits_open = giver.gifts.deposits_open.saturating_sub(1);
        }
        self.count(giver_name);
        Some(object)
    }

    /// Settles what a peer withdraws to the object that was deposited for it. If the guest keeps calls to it, it does them first, in
    /// the delivery of the settlement: the peer can only name the object itself once it has heard of it.
    fn match_gift(&mut self, slot: Slot, object: Option<u64>) -> Inbound {
        let Some(object) = object else {
            self.reject(slot, NOT_HELD);
            return Inbound::Done;
        };
        #[cfg(test)]
        if let Some(planted) = self.follow_given_promise(slot, object) {
            return planted;
        }
        let Some(promise) = self.promises.get_mut(&slot) else { return Inbound::Done };
        let State::Waiting { receiver, .. } = promise.state else { return Inbound::Done };
        promise.stands_for = Some(object);
        self.end_queue(slot, &receiver);
        #[cfg(test)]
        if super::plants::is(super::plants::Plant::SettledToData) {
            return self.settled(slot, Resolution::Fulfilled(CapData::data(&Value::Undefined)));
        }
        let inbound = self.settled(slot, resolution_to(Slot::VatObject(object)));
        #[cfg(test)]
        let inbound = self.keep_back(inbound);
        inbound
    }

    /// Counts a call to a gift that is not deposited yet: the guest keeps it, on its sender's account.
    pub(super) fn queue_call(&mut self, from: &VatId, target: Slot, bytes: u64) -> Result<(), String> {
        let Some(promise) = self.promises.get_mut(&target) else { return Ok(()) };
        let (State::Waiting { .. }, Some(peer)) = (&promise.state, self.peers.get_mut(from)) else { return Ok(()) };
        if peer.gifts.queued_calls >= MAX_QUEUED_CALLS || peer.gifts.queued_bytes + bytes > MAX_QUEUED_BYTES {
            let gifts = &peer.gifts;
            let (calls, kept) = (gifts.queued_calls, gifts.queued_bytes);
            return Err(format!(
                "{calls} calls of {kept} bytes wait for objects that others have yet to deposit, and no more are kept: send again when the reference has settled"
            ));
        }
        peer.gifts.queued_calls += 1;
        peer.gifts.queued_bytes += bytes;
        promise.queued.0 += 1;
        promise.queued.1 += bytes;
        Ok(())
    }

    /// The guest keeps what is sent to the promise until it settles.
    pub fn mark_kept(&mut self, slot: Slot) {
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.kept = true;
        }
    }

    pub(super) fn end_queue(&mut self, slot: Slot, receiver: &VatId) {
        let Some(promise) = self.promises.get_mut(&slot) else { return };
        let (calls, bytes) = std::mem::take(&mut promise.queued);
        if let Some(peer) = self.peers.get_mut(receiver) {
            peer.gifts.queued_calls = peer.gifts.queued_calls.saturating_sub(calls);
            peer.gifts.queued_bytes = peer.gifts.queued_bytes.saturating_sub(bytes);
        }
    }

    /// Keeps the deposits of a vat that is now forgotten, for the receivers of its gifts, up to a bound for all such vats.
    pub(super) fn keep_orphans(&mut self, giver: &VatId) {
        for (to, peer) in &self.peers {
            let deposits = peer.gifts.deposited.range((*giver, 0)..=(*giver, u64::MAX));
            self.orphans.extend(deposits.map(|((giver, number), _)| (*to, *giver, *number)));
        }
        while self.orphans.len() > MAX_ORPHANS {
            let Some((to, giver, number)) = self.orphans.pop_front() else { break };
            if let Some(Some(object)) = self.take_deposit(&to, &giver, number) {
                self.release_object(object);
            }
        }
    }

    /// Lets go of all that was deposited here: the vat has exited, and every withdrawal is rejected.
    pub(super) fn drop_deposits(&mut self) {
        self.orphans.clear();
        let mut held = Vec::new();
        for peer in self.peers.values_mut() {
            held.extend(std::mem::take(&mut peer.gifts.deposited).into_values().flatten());
            peer.gifts.deposits_open = 0;
        }
        for object in held {
            self.release_object(object);
        }
    }

    /// What `from` has deposited for `to` will not be withdrawn.
    pub(super) fn receive_cancel(&mut self, from: &VatId, to: VatId, number: Option<u64>) {
        let Some(peer) = self.peers.get(&to) else { return };
        let range = (*from, number.unwrap_or(0))..=(*from, number.unwrap_or(u64::MAX));
        let numbers: Vec<u64> = peer.gifts.deposited.range(range).map(|((_, number), _)| *number).collect();
        for number in numbers {
            if let Some(Some(object)) = self.take_deposit(&to, from, number) {
                self.release_object(object);
            }
        }
        self.forget_blank(&to);
    }

    /// Forgets a vat that is known only because something was deposited for it, and that never came: many are clients, which decline.
    fn forget_blank(&mut self, vat: &VatId) {
        let Some(peer) = self.peers.get(vat).filter(|peer| peer.is_blank(&self.vat, vat)) else { return };
        let Some(introducer) = peer.introduced_by else { return };
        self.reject_withdrawals(vat, NOT_HELD);
        if let Some(peer) = self.peers.remove(vat) {
            self.uncount(&peer);
        }
        self.changes.touched.remove(vat);
        if let Some(introducer) = self.peers.get_mut(&introducer) {
            introducer.gifts.introduced = introducer.gifts.introduced.saturating_sub(1);
        }
    }

    /// Nothing more comes of `vat`, and nothing goes there. What it has deposited for others stays; what others withdraw and it has not
    /// deposited is rejected, and so is what it withdraws itself. All that it holds is let go.
    pub(super) fn lose_peer(&mut self, vat: &VatId, message: &str) {
        self.reject_withdrawals(vat, message);
        let Some(peer) = self.peers.get_mut(vat) else { return };
        let unsure = std::mem::take(&mut peer.gifts.deposits);
        let deposited = std::mem::take(&mut peer.gifts.deposited);
        let exports = std::mem::take(&mut peer.exports);
        peer.export_ids.clear();
        peer.granted = false;
        peer.redeemed.clear();
        let mut unsaid = Vec::new();
        for (_, then) in peer.settlements.values_mut() {
            if let Then::Deposit { home, object, .. } = std::mem::replace(then, Then::Nothing) {
                unsaid.push((home, object));
            }
        }
        for ((giver, _), object) in deposited {
            if let Some(giver) = self.peers.get_mut(&giver) {
                giver.gifts.deposits_open = giver.gifts.deposits_open.saturating_sub(1);
            }
            if let Some(object) = object {
                self.release_object(object);
            }
        }
        for export in exports.into_values() {
            self.release_object(export.object);
        }
        for (home, object) in unsaid {
            self.unpin_import(&home, object);
        }
        self.count(vat);
        // Nobody will ever say whether these were taken in.
        for (to, number) in unsure.into_values() {
            self.say_undo(&to, *vat, number);
        }
    }

    /// Rejects what `vat` withdraws here, and what others withdraw of it.
    fn reject_withdrawals(&mut self, vat: &VatId, message: &str) {
        let all = (*vat, 0)..=(*vat, u64::MAX);
        let mut waiting = Vec::new();
        for (other, peer) in &self.peers {
            if other == vat {
                waiting.extend(peer.gifts.withdraws.values().copied());
            } else {
                waiting.extend(peer.gifts.withdraws.range(all.clone()).map(|(_, slot)| *slot));
            }
        }
        for slot in waiting {
            self.reject(slot, message);
        }
    }
}

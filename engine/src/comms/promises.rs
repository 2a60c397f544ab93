//! Promises as this vat sees them: the decider of each, the peers that must learn of its settlement, and the machine's own rejections.

use super::Comms;
use super::outbound::Passed;
use super::peer::{PairId, Stage, Then};
#[cfg(test)]
use super::plants::Plant;
use crate::abi::{CapData, Resolution, Slot};
use crate::wire::{self, Op, WireResolution, WireSlot};
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The decider of a promise, or its settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// The guest will.
    Guest,
    /// That vat will.
    Peer(VatId),
    /// The machine will, to an object of this vat that `giver` gave to `receiver`, when it is deposited.
    Waiting { receiver: VatId, giver: VatId, number: u64 },
    /// The machine will, to this object of this vat, when what was sent to the promise has come back.
    Held(u64),
    /// The guest or a peer did; the entry waits for acknowledgements.
    Settled,
    /// The machine did, with a `VatError` of this message.
    Refused(String),
    /// The same, but the guest cannot be told: it runs into a limit when it hears of it. Kept for good, since the guest goes on
    /// naming what it takes for unsettled.
    Unheard(String),
}

impl State {
    /// Returns what the machine rejected the promise with, if it did.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            State::Refused(message) | State::Unheard(message) => Some(message),
            State::Guest | State::Peer(_) | State::Waiting { .. } | State::Held(_) | State::Settled => None,
        }
    }
}

/// Whose gift a promise stands for until it is withdrawn from its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gift {
    pub giver: VatId,
    pub home: VatId,
    pub number: u64,
}

/// On whose account something is passed to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The guest said it.
    Guest,
    /// A peer said it to this vat, and others wait for it.
    Forwarded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Promise {
    pub state: State,
    /// Whether the guest has heard of it: false if it came in a delivery that was rolled back or refused.
    pub known: bool,
    /// Whether `pending` holds it.
    pub pending: bool,
    /// Whether the guest has sent something to it that went to the vat which decides it.
    #[cfg(test)]
    pub pipelined: bool,
    /// The pair with the vat that settles it.
    pub source: Option<(VatId, PairId)>,
    pub gift: Option<Gift>,
    /// The own object that was deposited for it, or that a bearer opened: what is still sent to it goes there.
    pub stands_for: Option<u64>,
    /// The bearer that opened it.
    pub bearer: Option<[u8; 32]>,
    /// The vat on whose account the send was whose result it is.
    pub cause: Option<VatId>,
    /// Calls to it that wait for a deposit, and their bytes.
    pub queued: (u64, u64),
    /// Whether the guest keeps what is sent to it, instead of sending it out.
    pub kept: bool,
    /// Whether a call to it was seen.
    #[cfg(test)]
    pub called: bool,
    /// The vats that this one tells how it settles.
    pub pairs: BTreeMap<VatId, PairId>,
}

impl Promise {
    pub fn new(state: State, known: bool) -> Promise {
        Promise {
            state,
            known,
            pending: false,
            #[cfg(test)]
            pipelined: false,
            source: None,
            gift: None,
            stands_for: None,
            bearer: None,
            cause: None,
            queued: (0, 0),
            kept: false,
            #[cfg(test)]
            called: false,
            pairs: BTreeMap::new(),
        }
    }

    /// A promise that `vat` settles.
    pub fn of_peer(vat: VatId, id: PairId, known: bool) -> Promise {
        Promise { source: Some((vat, id)), ..Promise::new(State::Peer(vat), known) }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled | State::Refused(_) | State::Unheard(_))
    }
}

impl Comms {
    /// A guest's name for a promise that the host speaks of first.
    pub(super) fn new_host_promise(&mut self, state: State) -> Slot {
        let slot = Slot::HostPromise(self.next_host_promise);
        self.next_host_promise += 1;
        self.promises.insert(slot, Promise::new(state, false));
        slot
    }

    /// The guest took in a delivery that names these.
    pub fn mark_known<'a>(&mut self, slots: impl IntoIterator<Item = &'a Slot>) {
        for slot in slots {
            if let Slot::HostObject(object) = slot {
                self.know_import(*object);
            }
            #[cfg(test)]
            if super::plants::is(Plant::WithdrawnByGuest) {
                self.withdraw_late(*slot);
            }
            if let Some(promise) = self.promises.get_mut(slot)
                && !promise.known
            {
                promise.known = true;
                if matches!(promise.state, State::Refused(_)) {
                    promise.pending = true;
                    self.pending.push_back(*slot);
                }
            }
        }
    }

    /// Rejects a promise on the machine's own account: tells every peer that knows it, and the guest (later) if it does.
    /// A promise that is settled already stays as it is.
    pub fn reject(&mut self, slot: Slot, message: &str) {
        let mut fresh = Promise::new(State::Guest, matches!(slot, Slot::VatPromise(_)));
        fresh.cause = self.account;
        let promise = self.promises.entry(slot).or_insert(fresh);
        if promise.is_settled() {
            return;
        }
        let before = std::mem::replace(&mut promise.state, State::Refused(message.to_owned()));
        if promise.known && !self.exited {
            promise.pending = true;
            self.pending.push_back(slot);
        }
        let pairs = promise.pairs.clone();
        self.leave_state(slot, before);
        self.detach_source(slot);
        for (vat, id) in pairs {
            self.tell(&vat, id, WireResolution::vat_error(message), Passed::default(), Then::Nothing);
        }
        self.drop_if_done(slot);
    }

    /// Undoes what other tables hold for a promise that was in `state`.
    fn leave_state(&mut self, slot: Slot, state: State) {
        match state {
            State::Waiting { receiver, giver, number } => {
                self.end_queue(slot, &receiver);
                if let Some(peer) = self.peers.get_mut(&receiver) {
                    peer.gifts.withdraws.remove(&(giver, number));
                }
            }
            State::Held(object) => self.release_object(object),
            _ => {}
        }
    }

    /// The promise waits no more for the vat that should settle it. What that vat still says of it must not break its stream.
    pub(super) fn detach_source(&mut self, slot: Slot) {
        self.end_gift(slot);
        let Some((vat, id)) = self.promises.get_mut(&slot).and_then(|promise| promise.source.take()) else { return };
        let Some(peer) = self.peers.get_mut(&vat) else { return };
        let goes_on = !peer.is_broken();
        let Some(pair) = peer.pair_mut(id) else { return };
        match pair.stage {
            Stage::Withdrawn if goes_on => pair.stage = Stage::Abandoned,
            Stage::Held if goes_on => pair.stage = Stage::Unreleased,
            _ => drop(peer.remove_pair(id)),
        }
    }

    /// Queues the settlement of a pair that this vat decides. Nothing is said to a peer whose stream is broken.
    pub(super) fn tell(&mut self, vat: &VatId, id: PairId, resolution: WireResolution, passed: Passed, then: Then) {
        let Some(peer) = self.peers.get(vat) else { return };
        let Some(pair) = peer.pair(id) else { return };
        if pair.settled.is_some() {
            return;
        }
        if peer.is_broken() {
            let slot = pair.slot;
            self.peer_mut(vat).remove_pair(id);
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pairs.remove(vat);
            }
            return;
        }
        let bytes = resolution.data().body.len() as u64;
        let number = self.push(vat, &Op::Settle { promise: id.outbound(), resolution });
        self.peer_mut(vat).mark_settled(id, number, bytes, then);
        self.note_passed(vat, number, passed);
        self.give_up_answers(vat);
    }

    /// Forgets a settled promise that nobody can name any more.
    pub(super) fn drop_if_done(&mut self, slot: Slot) {
        if let Some(promise) = self.promises.get(&slot)
            && promise.is_settled()
            && promise.pairs.is_empty()
            && !promise.pending
            && !matches!(promise.state, State::Unheard(_))
        {
            if promise.known && !self.exited {
                self.retired.push(slot);
            }
            self.promises.remove(&slot);
        }
    }

    /// The promises that the guest may forget, since nobody can name them any more: the first of them. However many a peer acknowledges at
    /// once, the delivery that happens to be next does not pay for all.
    pub fn retired(&self) -> &[Slot] {
        &self.retired[..self.retired.len().min(MAX_RETIRED)]
    }

    /// The guest has forgotten the first `count` of them.
    pub fn forget_retired(&mut self, count: usize) {
        self.retired.drain(..count.min(self.retired.len()));
    }

    /// The vat on whose account the send was whose result this is, if it is one.
    pub(super) fn cause(&self, slot: Slot) -> Option<VatId> {
        self.promises.get(&slot).and_then(|promise| promise.cause)
    }

    /// The next rejections for the guest to hear of, in the order in which they came about; at most `limit`, all of them on one account,
    /// which is given with them. They wait until [`Comms::told`].
    pub fn next_pending(&self, limit: usize) -> (Option<VatId>, Vec<(Slot, Resolution)>) {
        let limit = if self.told_singly > 0 { 1 } else { limit };
        let account = self.pending.front().and_then(|slot| self.cause(*slot));
        let refusal = |slot| self.promises.get(slot).and_then(|promise| promise.state.refusal()).unwrap_or_default();
        let next = self.pending.iter().take(limit).take_while(|slot| self.cause(**slot) == account);
        (account, next.map(|slot| (*slot, Resolution::Rejected(wire::vat_error(refusal(slot))))).collect())
    }

    /// The guest has heard of the next `count` of them.
    pub fn told(&mut self, count: usize) {
        self.told_singly = self.told_singly.saturating_sub(count as u64);
        for slot in self.pending.drain(..count.min(self.pending.len())).collect::<Vec<_>>() {
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pending = false;
            }
            self.drop_if_done(slot);
        }
    }

    /// The guest ran into a limit when it heard of the next `count` of them: it hears of each alone, and of one that does it
    /// alone never.
    pub fn not_told(&mut self, count: usize) {
        if count > 1 {
            self.told_singly = count as u64;
        } else if let Some(slot) = self.pending.front().copied() {
            let refusal = self.promises.get(&slot).and_then(|promise| promise.state.refusal()).map(str::to_owned);
            self.keep_unheard(slot, &refusal.unwrap_or_default());
            self.told(1);
        }
    }

    /// Keeps a promise of which the guest cannot hear how it settled: to the guest it is pending for ever, to others that it
    /// speaks of it to, rejected.
    pub fn keep_unheard(&mut self, slot: Slot, message: &str) {
        let promise = self.promises.entry(slot).or_insert_with(|| Promise::new(State::Guest, true));
        promise.state = State::Unheard(message.to_owned());
    }

    /// The guest has settled a promise; sends the settlement to the other vats that know it.
    pub fn settle_by_guest(&mut self, slot: Slot, resolution: &Resolution) {
        match self.promises.get(&slot) {
            Some(promise) if promise.state == State::Guest => self.settle(slot, resolution, Speaker::Guest),
            // Rejected by the machine before: it is retired when those who know it have heard.
            Some(_) => {}
            // Never given to anyone, or given up: nobody will name it.
            None if !self.exited => self.retired.push(slot),
            None => {}
        }
    }

    /// Tells all who know an open promise how it settled. The pair with the vat that decided it is gone already.
    pub(super) fn settle(&mut self, slot: Slot, resolution: &Resolution, speaker: Speaker) {
        let Some(promise) = self.promises.get(&slot) else { return };
        for (vat, id) in promise.pairs.clone() {
            if self.peers.get(&vat).and_then(|peer| peer.pair(id)).is_none_or(|pair| pair.settled.is_some()) {
                continue;
            }
            let mut passed = Passed::default();
            #[cfg(test)]
            {
                passed.called = self.promises.get(&slot).is_some_and(|promise| promise.called);
            }
            let (translated, then) = self.export_resolution(&vat, resolution, speaker, &mut passed);
            self.tell(&vat, id, translated, passed, then);
        }
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.state = State::Settled;
        }
        self.drop_if_done(slot);
    }

    fn export_resolution(
        &mut self,
        vat: &VatId,
        resolution: &Resolution,
        speaker: Speaker,
        passed: &mut Passed,
    ) -> (WireResolution, Then) {
        let (Resolution::Fulfilled(data) | Resolution::Rejected(data)) = resolution;
        let bare = match resolution {
            Resolution::Fulfilled(data) => wire::bare_slot(data),
            Resolution::Rejected(_) => None,
        };
        if self.peers.get(vat).is_none_or(|peer| peer.is_broken()) {
            // It will not be said, so nothing may be given for it.
            return (WireResolution::vat_error(""), Then::Nothing);
        }
        if let Err(refusal) = self.plan_settlement(vat, data, bare, speaker) {
            return (WireResolution::vat_error(&refusal), Then::Nothing);
        }
        let mut then = Then::Nothing;
        let mut slots = Vec::with_capacity(data.slots.len());
        for (index, slot) in data.slots.iter().enumerate() {
            slots.push(if bare == Some(index) {
                self.export_target(vat, *slot, passed, &mut then)
            } else {
                self.export(vat, *slot, passed)
            });
        }
        self.note_own_names(data);
        let data = CapData { body: data.body.clone(), slots };
        let resolution = match resolution {
            Resolution::Fulfilled(_) => WireResolution::Fulfilled(data),
            Resolution::Rejected(_) => WireResolution::Rejected(data),
        };
        (resolution, then)
    }

    /// Names what a promise is fulfilled with. The peer may have sent to the promise, which took the way over this vat; so its
    /// own object is released to it, and that of a third vat deposited for it, only when no more of that can be under way.
    fn export_target(&mut self, vat: &VatId, slot: Slot, passed: &mut Passed, then: &mut Then) -> WireSlot {
        let home = match slot {
            Slot::HostObject(object) => self.host_objects.get(&object).copied(),
            _ => None,
        };
        #[cfg(test)]
        let home = home.or_else(|| self.given_promise(slot).filter(|(home, _)| home != vat));
        match home {
            Some((home, _)) if home == *vat => {
                *then = Then::Release;
                self.export(vat, slot, passed)
            }
            Some((home, object)) => {
                let number = self.next_gift(&home);
                self.pin_import(&home, object);
                *then = Then::Deposit { home, number, object };
                #[cfg(test)]
                if super::plants::is(Plant::DepositAtOnce)
                    || (super::plants::is(Plant::DepositIfNoCallSeen) && !passed.called)
                {
                    *then = Then::Nothing;
                    self.unpin_import(&home, object);
                    self.say_deposit(vat, &home, number, object);
                }
                passed.gifts.push((home, number));
                WireSlot::Gift { home, number }
            }
            None => self.export(vat, slot, passed),
        }
    }

    /// Settles promises that were exported although the machine had rejected them already.
    pub(super) fn tell_late(&mut self, vat: &VatId, late: Vec<PairId>) {
        for id in late {
            let slot = self.peers.get(vat).and_then(|peer| peer.pair(id)).map(|pair| pair.slot);
            let state = slot.and_then(|slot| self.promises.get(&slot)).map(|promise| promise.state.clone());
            if let Some(message) = state.as_ref().and_then(State::refusal) {
                self.tell(vat, id, WireResolution::vat_error(message), Passed::default(), Then::Nothing);
            }
        }
    }

    /// The guest has exited: what it should have decided is rejected, and it hears of nothing more.
    pub fn exit(&mut self) {
        self.exited = true;
        self.pending.clear();
        self.told_singly = 0;
        self.retired.clear();
        self.freed.clear();
        let slots: Vec<Slot> = self.promises.keys().copied().collect();
        for slot in slots {
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pending = false;
                if matches!(promise.state, State::Guest | State::Waiting { .. } | State::Held(_)) {
                    self.reject(slot, EXITED);
                }
            }
            self.drop_if_done(slot);
        }
        self.drop_deposits();
        self.sweep();
    }
}

/// Most promises that the guest is told to forget with one delivery.
const MAX_RETIRED: usize = 1_024;

/// What callers of a vat that has exited are told.
pub const EXITED: &str = "vat has exited";

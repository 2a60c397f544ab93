//! Promises as this vat sees them: who decides, who must be told, and what the machine itself rejects.

use super::Comms;
use super::peer::{PairId, Party};
use crate::abi::{CapData, Resolution, Slot};
use crate::wire::{self, WireResolution};
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who will settle a promise, or that it is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// The guest will.
    Guest,
    /// That vat will.
    Peer(VatId),
    /// The guest or a peer did; the entry waits for acknowledgements.
    Settled,
    /// The machine did, with a `VatError` of this message.
    Refused(String),
    /// The same, but the guest cannot be told: it runs into a limit when it hears of it. Kept for good, since the guest goes on
    /// naming what it takes for unsettled.
    Unheard(String),
}

impl State {
    /// What the machine rejected the promise with, if it did.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            State::Refused(message) | State::Unheard(message) => Some(message),
            State::Guest | State::Peer(_) | State::Settled => None,
        }
    }
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
    pub pipelined: bool,
    /// Everyone who knows it too.
    pub pairs: BTreeMap<VatId, PairId>,
}

impl Promise {
    pub fn new(state: State, known: bool) -> Promise {
        Promise { state, known, pending: false, pipelined: false, pairs: BTreeMap::new() }
    }

    pub fn is_settled(&self) -> bool {
        !matches!(self.state, State::Guest | State::Peer(_))
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
        let fresh = Promise::new(State::Guest, matches!(slot, Slot::VatPromise(_)));
        let promise = self.promises.entry(slot).or_insert(fresh);
        if promise.is_settled() {
            return;
        }
        promise.state = State::Refused(message.to_owned());
        let held = self.holds.remove(&slot);
        if promise.known && !self.exited {
            promise.pending = true;
            self.pending.push_back(slot);
        }
        for (vat, id) in promise.pairs.clone() {
            self.tell(&vat, id, WireResolution::vat_error(message));
        }
        self.drop_if_done(slot);
        if let Some(held) = held {
            self.reject(held.promise, message);
        }
    }

    /// Queues the settlement of a pair that this vat decides. A pair that the peer decides is only unlinked: that happens when
    /// its stream has broken, and nothing more is said to such a peer.
    pub(super) fn tell(&mut self, vat: &VatId, id: PairId, resolution: WireResolution) {
        let Some(peer) = self.peers.get(vat) else { return };
        let Some(pair) = peer.pair(id) else { return };
        let slot = pair.slot;
        if pair.decider == Party::Them || peer.is_broken() {
            self.peer_mut(vat).remove_pair(id);
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pairs.remove(vat);
            }
            return;
        }
        let number = self.push(vat, &wire::Op::Settle { promise: id.outbound(), resolution });
        self.peer_mut(vat).mark_settled(id, number);
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

    /// The promises that the guest may forget, since nobody can name them any more.
    pub fn retired(&self) -> &[Slot] {
        &self.retired
    }

    /// The guest has forgotten the first `count` of them.
    pub fn forget_retired(&mut self, count: usize) {
        self.retired.drain(..count.min(self.retired.len()));
    }

    /// The next rejections for the guest to hear of, in the order in which they came about; at most `limit`. They wait until
    /// [`Comms::told`].
    pub fn next_pending(&self, limit: usize) -> Vec<(Slot, Resolution)> {
        let limit = if self.told_singly > 0 { 1 } else { limit };
        let refusal = |slot| self.promises.get(slot).and_then(|promise| promise.state.refusal()).unwrap_or_default();
        let next = self.pending.iter().take(limit);
        next.map(|slot| (*slot, Resolution::Rejected(wire::vat_error(refusal(slot))))).collect()
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

    /// The guest has settled a promise; whoever else knows it is told.
    pub fn settle_by_guest(&mut self, slot: Slot, resolution: &Resolution) {
        match self.promises.get(&slot) {
            Some(promise) if promise.state == State::Guest => self.settle(slot, resolution, Speaker::Guest),
            // Never given to anyone, or rejected by the machine before: nobody waits for it.
            _ => {}
        }
    }

    /// Tells all who know an open promise how it settled. The pair with the vat that decided it is gone already.
    pub(super) fn settle(&mut self, slot: Slot, resolution: &Resolution, speaker: Speaker) {
        let Some(promise) = self.promises.get(&slot) else { return };
        for (vat, id) in promise.pairs.clone() {
            let mut late = Vec::new();
            let translated = self.export_resolution(&vat, resolution, speaker, &mut late);
            self.tell(&vat, id, translated);
            self.tell_late(&vat, late);
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
        late: &mut Vec<PairId>,
    ) -> WireResolution {
        let (Resolution::Fulfilled(data) | Resolution::Rejected(data)) = resolution;
        if let Err(refusal) = self.plan_settlement(vat, data, speaker) {
            return WireResolution::vat_error(&refusal);
        }
        let slots = data.slots.iter().map(|slot| self.export(vat, *slot, late)).collect();
        let data = CapData { body: data.body.clone(), slots };
        match resolution {
            Resolution::Fulfilled(_) => WireResolution::Fulfilled(data),
            Resolution::Rejected(_) => WireResolution::Rejected(data),
        }
    }

    /// Settles promises that were exported although the machine had rejected them already.
    pub(super) fn tell_late(&mut self, vat: &VatId, late: Vec<PairId>) {
        for id in late {
            let slot = self.peers.get(vat).and_then(|peer| peer.pair(id)).map(|pair| pair.slot);
            let state = slot.and_then(|slot| self.promises.get(&slot)).map(|promise| promise.state.clone());
            if let Some(message) = state.as_ref().and_then(State::refusal) {
                self.tell(vat, id, WireResolution::vat_error(message));
            }
        }
    }

    /// The guest has exited: what it should have decided is rejected, and it hears of nothing more.
    pub fn exit(&mut self) {
        self.exited = true;
        self.pending.clear();
        self.told_singly = 0;
        self.retired.clear();
        self.holds.clear();
        let slots: Vec<Slot> = self.promises.keys().copied().collect();
        for slot in slots {
            if let Some(promise) = self.promises.get_mut(&slot) {
                promise.pending = false;
                if promise.state == State::Guest {
                    self.reject(slot, EXITED);
                }
            }
            self.drop_if_done(slot);
        }
    }
}

/// What callers of a vat that has exited are told.
pub const EXITED: &str = "vat has exited";

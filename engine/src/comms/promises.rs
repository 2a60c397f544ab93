//! Promises as this vat sees them: who decides, who must be told, and what the machine itself rejects.

use super::Comms;
use super::peer::{PairId, Party};
use crate::abi::{CapData, Resolution, Slot};
use crate::ids::VatId;
use crate::wire::{self, WireResolution};
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
    /// Everyone who knows it too.
    pub pairs: BTreeMap<VatId, PairId>,
}

impl Promise {
    pub fn new(state: State, known: bool) -> Promise {
        Promise { state, known, pending: false, pairs: BTreeMap::new() }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled | State::Refused(_))
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
        if promise.known && !self.exited {
            promise.pending = true;
            self.pending.push_back(slot);
        }
        for (vat, id) in promise.pairs.clone() {
            self.tell(&vat, id, WireResolution::vat_error(message));
        }
        self.drop_if_done(slot);
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
        {
            self.promises.remove(&slot);
        }
    }

    /// The next rejections for the guest to hear of, in the order in which they came about; at most `limit`.
    pub fn take_pending(&mut self, limit: usize) -> Vec<(Slot, Resolution)> {
        let count = limit.min(self.pending.len());
        let slots: Vec<Slot> = self.pending.drain(..count).collect();
        let mut settlements = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(promise) = self.promises.get_mut(&slot) else { continue };
            promise.pending = false;
            if let State::Refused(message) = &promise.state {
                settlements.push((slot, Resolution::Rejected(wire::vat_error(message))));
            }
            self.drop_if_done(slot);
        }
        settlements
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
            if let Some(State::Refused(message)) = state {
                self.tell(vat, id, WireResolution::vat_error(&message));
            }
        }
    }

    /// The guest has exited: what it should have decided is rejected, and it hears of nothing more.
    pub fn exit(&mut self) {
        self.exited = true;
        self.pending.clear();
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

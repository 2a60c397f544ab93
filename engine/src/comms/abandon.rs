//! Answers that nobody wants any more: the caller sends an `Abandon`, and the callee's guest may get it.
//!
//! `Abandon` is advice. The promise stays, and its decider settles it, once. So it changes no order, needs no
//! answer, and may cross the settlement. The caller sends it once for each call, and only for the answer to a call. It does not reach a third vat or a
//! gift behind the answer.

use super::inbound::broken;
use super::peer::{PairId, Party, Stage};
use super::promises::State;
use super::{Broken, Comms, Inbound};
use crate::abi::Slot;
use crate::wire::Op;
use quorate_ids::VatId;

impl Comms {
    /// The guest wants no answer to a call of its own any more. Does nothing if `result` is no open answer to one, if that was said
    /// before, or if there is no room for a message.
    pub fn abandon(&mut self, result: Slot) {
        let Some(promise) = self.promises.get(&result).filter(|promise| promise.gift.is_none()) else { return };
        let (State::Peer(_), Some((vat, id))) = (&promise.state, promise.source) else { return };
        // What the other vat has named is no answer to a call.
        if id.by != Party::Us || self.check_room(&vat, "that vat").is_err() {
            return;
        }
        let Some(pair) = self.peers.get_mut(&vat).and_then(|peer| peer.pair_mut(id)) else { return };
        if pair.stage == Stage::Open && !std::mem::replace(&mut pair.unwanted, true) {
            self.push(&vat, &Op::Abandon { result: id.id });
        }
    }

    /// A peer wants no answer to a call of its own any more.
    pub(super) fn receive_abandon(&mut self, from: &VatId, result: u64) -> Result<Inbound, Broken> {
        let id = PairId { by: Party::Them, id: result };
        let Some(pair) = self.peers.get_mut(from).and_then(|peer| peer.pair_mut(id)) else {
            return broken(format!("promise {result}, whose answer is not wanted, is unknown or retired"));
        };
        if pair.decider != Party::Us {
            return broken("an answer that is not wanted, and that the sender decides itself");
        }
        if std::mem::replace(&mut pair.unwanted, true) {
            return broken("an answer that is not wanted, for the second time");
        }
        let (slot, is_open) = (pair.slot, pair.settled.is_none());
        let hears = |promise: &super::Promise| promise.known && promise.state == State::Guest;
        let heard = is_open && !self.exited && self.promises.get(&slot).is_some_and(hears);
        Ok(if heard { Inbound::Abandoned { result: slot } } else { Inbound::Done })
    }
}

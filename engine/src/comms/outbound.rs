//! What a guest said, as messages. A send that cannot go out is never an error here: its result is rejected.

use super::peer::{PairId, Party};
use super::promises::{Promise, Speaker, State};
use super::{Comms, MAX_OBJECTS, MAX_PROMISES, MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES};
use crate::abi::{CapData, Method, Slot};
use crate::wire::{self, MAX_MESSAGE_BYTES, Op, Side, WireRef};
use quorate_ids::VatId;
use std::sync::Arc;

impl Comms {
    /// Sends a message of the guest. A refusal rejects `result`; without one it is told to nobody but the caller.
    pub fn send(
        &mut self,
        target: Slot,
        method: Method,
        args: &CapData<Slot>,
        result: Option<Slot>,
    ) -> Result<(), String> {
        let sent = self.try_send(target, method, args, result);
        if let (Err(refusal), Some(result)) = (&sent, result) {
            self.reject(result, refusal);
        }
        sent
    }

    fn try_send(
        &mut self,
        target: Slot,
        method: Method,
        args: &CapData<Slot>,
        result: Option<Slot>,
    ) -> Result<(), String> {
        let to = target;
        let (vat, target) = self.route(to)?;
        self.check_room(&vat)?;
        wire::check_send(&method, args).map_err(|error| error.to_string())?;
        let method_bytes = match &method {
            Method::Call(name) | Method::Get(name) => name.len(),
            Method::Apply => 0,
        };
        check_size(args, method_bytes)?;
        self.plan_export(&vat, &args.slots, usize::from(result.is_some()), Speaker::Guest)?;
        if let Some(result) = result
            && (!matches!(result, Slot::VatPromise(_)) || self.promises.contains_key(&result))
        {
            return Err("the result of a send must be a new promise of its sender".to_owned());
        }
        let mut late = Vec::new();
        let slots = args.slots.iter().map(|slot| self.export(&vat, *slot, &mut late)).collect();
        let result = result.map(|slot| {
            let id = self.peer_mut(&vat).name_promise(slot, Party::Them);
            let mut promise = Promise::new(State::Peer(vat), true);
            promise.pairs.insert(vat, id);
            self.promises.insert(slot, promise);
            id.id
        });
        let args = CapData { body: args.body.clone(), slots };
        if let Some(promise) = self.promises.get_mut(&to) {
            promise.pipelined = true;
        }
        self.push(&vat, &Op::Send { target, method, args, result });
        self.tell_late(&vat, late);
        Ok(())
    }

    /// The vat that a message to `target` goes to, and its name there.
    fn route(&self, target: Slot) -> Result<(VatId, WireRef), String> {
        match target {
            Slot::VatObject(_) => Err("the target of a send is an object of its sender".to_owned()),
            Slot::HostObject(object) => {
                let (vat, id) = self.host_objects.get(&object).ok_or("the target of a send is unknown")?;
                Ok((*vat, WireRef::object(Side::Receiver, *id)))
            }
            Slot::VatPromise(_) | Slot::HostPromise(_) => {
                let promise = self.promises.get(&target).ok_or("the target of a send is an unknown promise")?;
                match &promise.state {
                    State::Peer(vat) => {
                        let id = promise.pairs.get(vat).ok_or("the target of a send has lost its stream")?;
                        Ok((*vat, id.outbound()))
                    }
                    State::Refused(message) | State::Unheard(message) => Err(message.clone()),
                    State::Guest | State::Settled => {
                        Err("the target of a send is a promise that no other vat decides".to_owned())
                    }
                }
            }
        }
    }

    fn check_room(&self, vat: &VatId) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err("no stream to that vat".to_owned()) };
        if peer.is_broken() {
            return Err("the stream with that vat is broken".to_owned());
        }
        let (messages, bytes) = peer.out.unacked();
        if messages >= MAX_UNACKED_MESSAGES {
            Err(format!("{messages} messages to that vat are not acknowledged yet, and no more are kept"))
        } else if bytes >= MAX_UNACKED_BYTES {
            Err(format!("{bytes} bytes to that vat are not acknowledged yet, and no more are kept"))
        } else {
            Ok(())
        }
    }

    /// Whether a resolution can go to a peer as it is.
    pub(super) fn plan_settlement(&self, vat: &VatId, data: &CapData<Slot>, speaker: Speaker) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err("no stream to that vat".to_owned()) };
        let (_, bytes) = peer.out.unacked();
        if bytes >= MAX_UNACKED_BYTES {
            return Err(format!("{bytes} bytes to that vat are not acknowledged yet, and no more are kept"));
        }
        wire::check_data(data).map_err(|error| error.to_string())?;
        check_size(data, 0)?;
        self.plan_export(vat, &data.slots, 0, speaker)
    }

    /// Whether all these can be given to `vat`, beside `results` further promises. Changes nothing, so that a refusal does not
    /// leave half of them given.
    fn plan_export(&self, vat: &VatId, slots: &[Slot], results: usize, speaker: Speaker) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err("no stream to that vat".to_owned()) };
        let (mut objects, mut promises) = (peer.exports.len(), peer.ours.len() + results);
        for slot in slots {
            match slot {
                Slot::VatObject(object) => objects += usize::from(peer.is_new_export(*object)),
                Slot::HostObject(object) => match self.host_objects.get(object) {
                    Some((home, _)) if home == vat => {}
                    Some(_) => {
                        return Err("a reference to an object of a third vat cannot be passed on".to_owned());
                    }
                    None => return Err("a reference that this vat does not hold".to_owned()),
                },
                Slot::VatPromise(_) | Slot::HostPromise(_) => match self.promises.get(slot) {
                    Some(promise) => {
                        match &promise.state {
                            // The guest never says this; a peer may, whose message crossed the settlement.
                            State::Settled => return Err("a promise that has settled cannot be passed on".to_owned()),
                            // Else circles of promises through several vats would unroll for ever: no vat sees that
                            // the names which it passes on come round to it again.
                            State::Peer(decider) if speaker == Speaker::Forwarded && decider != vat => {
                                return Err("a promise in an answer of a third vat cannot be passed on".to_owned());
                            }
                            _ => {}
                        }
                        promises += usize::from(!promise.pairs.contains_key(vat));
                    }
                    None if speaker == Speaker::Guest && matches!(slot, Slot::VatPromise(_)) => promises += 1,
                    None => return Err("a promise that this vat does not hold".to_owned()),
                },
            }
        }
        if objects > MAX_OBJECTS {
            return Err(format!("that vat holds {MAX_OBJECTS} objects of this one, and can get no more"));
        }
        if promises > MAX_PROMISES {
            return Err(format!("{MAX_PROMISES} promises towards that vat are open, and no more are kept"));
        }
        Ok(())
    }

    /// Gives `slot` to `vat`; [`Comms::plan_export`] has agreed. A promise that the machine has rejected gets a
    /// new name and is added to `late`: it is to be settled after the message that names it.
    pub(super) fn export(&mut self, vat: &VatId, slot: Slot, late: &mut Vec<PairId>) -> WireRef {
        match slot {
            Slot::VatObject(object) => {
                let id = self.peer_mut(vat).export_object(object);
                WireRef::object(Side::Sender, id)
            }
            Slot::HostObject(object) => {
                let id = self.host_objects.get(&object).map_or(0, |(_, id)| *id);
                WireRef::object(Side::Receiver, id)
            }
            Slot::VatPromise(_) | Slot::HostPromise(_) => {
                let fresh = Promise::new(State::Guest, true);
                let promise = self.promises.entry(slot).or_insert(fresh);
                let refused = promise.is_settled();
                if let Some(id) = promise.pairs.get(vat)
                    && self.peers.get(vat).and_then(|peer| peer.pair(*id)).is_some_and(|pair| pair.settled.is_none())
                {
                    return id.outbound();
                }
                let id = self.peer_mut(vat).name_promise(slot, Party::Us);
                if let Some(promise) = self.promises.get_mut(&slot) {
                    promise.pairs.insert(*vat, id);
                }
                if refused {
                    late.push(id);
                }
                id.outbound()
            }
        }
    }

    /// Appends a message to the stream to `vat` and tells its number.
    pub(super) fn push(&mut self, vat: &VatId, op: &Op) -> u64 {
        let message: Arc<[u8]> = op.encode().into();
        debug_assert!(message.len() <= MAX_MESSAGE_BYTES, "the bound of a message's size holds");
        let number = self.peer_mut(vat).out.push(message.clone());
        self.changes.touched.insert(*vat);
        self.changes.queued.push((*vat, number, message));
        number
    }

    /// Queues the use of a bearer reference.
    pub fn redeem(&mut self, vat: &VatId, object: u64, bearer: [u8; 32], signature: Vec<u8>) {
        self.push(vat, &Op::Redeem { object, bearer, signature });
    }
}

fn check_size<S>(data: &CapData<S>, method_bytes: usize) -> Result<(), String> {
    let bytes = wire::message_bound(data, method_bytes);
    if bytes > MAX_MESSAGE_BYTES {
        return Err(format!("a message of about {bytes} bytes; at most {MAX_MESSAGE_BYTES} are allowed"));
    }
    Ok(())
}

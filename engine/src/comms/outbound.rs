//! Turns a guest's outputs into messages. A send that cannot go out is never an error here: its result is rejected.

use super::peer::{PairId, Party, Stage};
use super::promises::{Promise, Speaker, State};
use super::{Comms, MAX_OBJECTS, MAX_PROMISES, MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES};
use crate::abi::{CapData, Method, Slot};
use crate::wire::{self, MAX_MESSAGE_BYTES, Op, Side, WireRef, WireSlot};
use quorate_ids::VatId;
use std::sync::Arc;

/// What has to be done once the message that names something is in the stream.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Promises in it that the machine has rejected already.
    pub late: Vec<PairId>,
    /// Gifts in it, by home and number.
    pub gifts: Vec<(VatId, u64)>,
    /// Whether a call was seen to the promise that is settled.
    #[cfg(test)]
    pub called: bool,
}

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
        #[cfg(test)]
        let to = target;
        let (vat, target) = self.route(target)?;
        self.check_room(&vat, "that vat")?;
        wire::check_send(&method, args).map_err(|error| error.to_string())?;
        let method_bytes = match &method {
            Method::Call(name) | Method::Get(name) => name.len(),
            Method::Apply => 0,
        };
        check_size(args, method_bytes)?;
        self.plan_export(&vat, &args.slots, None, usize::from(result.is_some()), Speaker::Guest)?;
        if let Some(result) = result
            && (!matches!(result, Slot::VatPromise(_)) || self.promises.contains_key(&result))
        {
            return Err("the result of a send must be a new promise of its sender".to_owned());
        }
        let mut passed = Passed::default();
        let slots = args.slots.iter().map(|slot| self.export(&vat, *slot, &mut passed)).collect();
        self.note_own_names(args);
        let result = result.map(|slot| {
            let id = self.peer_mut(&vat).name_promise(slot, Party::Them, Stage::Open);
            let cause = self.account;
            self.promises.insert(slot, Promise { cause, ..Promise::of_peer(vat, id, true) });
            id.id
        });
        let args = CapData { body: args.body.clone(), slots };
        #[cfg(test)]
        if let Some(promise) = self.promises.get_mut(&to) {
            promise.pipelined = true;
        }
        let number = self.push(&vat, &Op::Send { target, method, args, result });
        self.note_passed(&vat, number, passed);
        Ok(())
    }

    /// Message `number` to `vat`, which names these, is in the stream.
    pub(super) fn note_passed(&mut self, vat: &VatId, number: u64, passed: Passed) {
        let Passed { late, gifts, .. } = passed;
        if !gifts.is_empty() {
            self.note_given(vat, number, gifts);
        }
        self.tell_late(vat, late);
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
                match (&promise.state, promise.source) {
                    (State::Peer(_), Some((vat, id))) => Ok((vat, id.outbound())),
                    (State::Peer(_), None) => Err("the target of a send has lost its stream".to_owned()),
                    (State::Refused(message) | State::Unheard(message), _) => Err(message.clone()),
                    (State::Guest | State::Waiting { .. } | State::Held(_) | State::Settled, _) => {
                        Err("the target of a send is a promise that no other vat decides".to_owned())
                    }
                }
            }
        }
    }

    /// Returns whether one more message can go to `vat`; a refusal names it by the last argument.
    pub(super) fn check_room(&self, vat: &VatId, whom: &str) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err(format!("no stream to {whom}")) };
        if peer.is_broken() {
            return Err(format!("the stream with {whom} is broken"));
        }
        let (messages, bytes) = peer.out.unacked();
        if messages >= MAX_UNACKED_MESSAGES {
            Err(format!("{messages} messages to {whom} are not acknowledged yet, and no more are kept"))
        } else if bytes >= MAX_UNACKED_BYTES {
            Err(format!("{bytes} bytes to {whom} are not acknowledged yet, and no more are kept"))
        } else {
            Ok(())
        }
    }

    /// Returns whether a resolution can go to a peer as it is. `bare` is the place of what it is fulfilled with, if that is one capability.
    pub(super) fn plan_settlement(
        &mut self,
        vat: &VatId,
        data: &CapData<Slot>,
        bare: Option<usize>,
        speaker: Speaker,
    ) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err("no stream to that vat".to_owned()) };
        let (_, bytes) = peer.out.unacked();
        if bytes >= MAX_UNACKED_BYTES {
            return Err(format!("{bytes} bytes to that vat are not acknowledged yet, and no more are kept"));
        }
        wire::check_data(data).map_err(|error| error.to_string())?;
        check_size(data, 0)?;
        self.plan_export(vat, &data.slots, bare, 0, speaker)
    }

    /// Returns whether all these can be given to `vat`, beside `results` further promises. Changes nothing, so that a refusal does not
    /// leave half of them given; only the peer's account is brought up to date.
    fn plan_export(
        &mut self,
        vat: &VatId,
        slots: &[Slot],
        bare: Option<usize>,
        results: usize,
        speaker: Speaker,
    ) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Err("no stream to that vat".to_owned()) };
        let (held_objects, held_promises) = (peer.exports.len(), peer.ours.len());
        let (mut objects, mut promises) = (held_objects, held_promises + results);
        for (index, slot) in slots.iter().enumerate() {
            match slot {
                Slot::VatObject(object) => objects += usize::from(peer.is_new_export(*object)),
                Slot::HostObject(object) => match self.host_objects.get(object) {
                    Some((home, _)) if home == vat => {}
                    // Its deposit comes later, and is asked for by the settlement.
                    Some((home, _)) if bare == Some(index) => {
                        if self.peers.get(home).is_none_or(super::Peer::is_broken) {
                            return Err(format!("the stream with {HOME} is broken"));
                        }
                    }
                    Some((home, _)) => self.check_room(home, HOME)?,
                    None => return Err("a reference that this vat does not hold".to_owned()),
                },
                Slot::VatPromise(_) | Slot::HostPromise(_) => match self.promises.get(slot) {
                    Some(promise) => {
                        check_passable(promise, vat, speaker)?;
                        let named = names_to(promise, vat).is_some() || promise.pairs.contains_key(vat);
                        promises += usize::from(!named);
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
        self.check_outbound(vat, objects - held_objects, promises - held_promises)
    }

    /// Gives `slot` to `vat`; [`Comms::plan_export`] has agreed. An object of a third vat becomes a gift, whose deposit is said at once: it
    /// comes to its home behind all that the guest has sent to the object. A promise that the machine has rejected gets a
    /// new name and is added to `passed`: it is to be settled after the message that names it.
    pub(super) fn export(&mut self, vat: &VatId, slot: Slot, passed: &mut Passed) -> WireSlot {
        match slot {
            Slot::VatObject(object) => {
                let id = self.export_own(vat, object);
                WireRef::object(Side::Sender, id).into()
            }
            Slot::HostObject(object) => {
                let Some((home, id)) = self.host_objects.get(&object).copied() else {
                    return WireRef::object(Side::Receiver, 0).into();
                };
                if home == *vat {
                    return WireRef::object(Side::Receiver, id).into();
                }
                let number = self.next_gift(&home);
                self.say_deposit(vat, &home, number, id);
                passed.gifts.push((home, number));
                WireSlot::Gift { home, number }
            }
            Slot::VatPromise(_) | Slot::HostPromise(_) => self.export_promise(vat, slot, passed).outbound().into(),
        }
    }

    /// Promises are never given: this vat passes on to `vat` what becomes of it, unless `vat` itself will settle it.
    fn export_promise(&mut self, vat: &VatId, slot: Slot, passed: &mut Passed) -> PairId {
        let fresh = Promise::new(State::Guest, true);
        let promise = self.promises.entry(slot).or_insert(fresh);
        if let Some(id) = names_to(promise, vat) {
            return id;
        }
        let refused = promise.is_settled();
        if let Some(id) = promise.pairs.get(vat)
            && self.peers.get(vat).and_then(|peer| peer.pair(*id)).is_some_and(|pair| pair.settled.is_none())
        {
            return *id;
        }
        let id = self.peer_mut(vat).name_promise(slot, Party::Us, Stage::Open);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.pairs.insert(*vat, id);
        }
        if refused {
            passed.late.push(id);
        }
        id
    }

    /// Appends a message to the stream to `vat` and tells its number.
    pub(super) fn push(&mut self, vat: &VatId, op: &Op) -> u64 {
        let message: Arc<[u8]> = op.encode().into();
        debug_assert!(message.len() <= MAX_MESSAGE_BYTES, "the bound of a message's size holds");
        let peer = self.peer_mut(vat);
        let number = peer.out.push(message.clone());
        peer.out.mark(&peer.inbound);
        self.changes.touched.insert(*vat);
        self.changes.queued.push((*vat, number, message));
        number
    }

    /// Queues the use of a bearer reference to the root.
    pub fn redeem(&mut self, vat: &VatId, bearer: [u8; 32], signature: Vec<u8>) {
        self.push(vat, &Op::Redeem { object: 0, bearer, signature, result: None });
    }

    /// Queues the use of a bearer reference to any object, by its number at its home. Gives the promise of it.
    ///
    /// # Errors
    /// The vat cannot become a peer.
    pub fn redeem_object(
        &mut self,
        vat: &VatId,
        object: u64,
        bearer: [u8; 32],
        signature: Vec<u8>,
    ) -> Result<Slot, &'static str> {
        if let Some(refusal) = self.refuses_peer(vat) {
            return Err(refusal);
        }
        let slot = self.new_host_promise(State::Peer(*vat));
        let id = self.peer_mut(vat).name_promise(slot, Party::Them, Stage::Open);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.source = Some((*vat, id));
        }
        self.push(vat, &Op::Redeem { object, bearer, signature, result: Some(id.id) });
        Ok(slot)
    }
}

/// How refusals call the vat that an object of a third vat lives in.
const HOME: &str = "the vat that a reference points to";

/// Returns the name of an open promise that `vat` itself settles and has a name for. It has none for the promise of a gift: that is withdrawn
/// there, and until then relayed to its receivers.
fn names_to(promise: &Promise, vat: &VatId) -> Option<PairId> {
    match (&promise.state, promise.source) {
        (State::Peer(_), Some((decider, id))) if decider == *vat && promise.gift.is_none() => Some(id),
        _ => None,
    }
}

/// Returns whether a promise can be passed to `vat`.
fn check_passable(promise: &Promise, vat: &VatId, speaker: Speaker) -> Result<(), String> {
    match &promise.state {
        // The guest never says this; a peer may, whose message crossed the settlement.
        State::Settled => Err("a promise that has settled cannot be passed on".to_owned()),
        // Else circles of promises through several vats would unroll for ever: no vat sees that the names which it passes on
        // come round to it again. A gift has an end: it settles to an object or a rejection.
        State::Peer(decider) if speaker == Speaker::Forwarded && decider != vat && promise.gift.is_none() => {
            Err("a promise in an answer of a third vat cannot be passed on".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_size<S>(data: &CapData<S>, method_bytes: usize) -> Result<(), String> {
    let bytes = wire::message_bound(data, method_bytes);
    if bytes > MAX_MESSAGE_BYTES {
        return Err(format!("a message of about {bytes} bytes; at most {MAX_MESSAGE_BYTES} are allowed"));
    }
    Ok(())
}

//! What a peer said, as deliveries.
//!
//! Whatever a message brings in (ids, promises) is entered before the guest runs, and stays entered when the guest's crank is
//! rolled back: the stream has moved on, and the guest has heard nothing of it. So nothing here is ever undone.

use super::peer::{PairId, Party, Peer};
use super::promises::{EXITED, Speaker, State};
use super::{Comms, Hold, MAX_OBJECTS, MAX_PROMISES};
use crate::abi::{CapData, Delivery, Method, Resolution, Slot, Value};
use crate::wire::{self, Op, RefKind, Side, WireRef, WireResolution, redeem_payload};
use ed25519_dalek::{Signature, VerifyingKey};
use quorate_ids::VatId;
use std::collections::BTreeSet;
use thiserror::Error;

/// A peer broke the protocol: nothing more is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Broken(pub String);

fn broken<T>(reason: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(reason.into()))
}

/// What one message comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound {
    /// The tables have it; the guest has nothing to do.
    Done,
    /// A call for the guest. If it cannot be made, `result` is to be rejected.
    Call { delivery: Delivery, result: Option<Slot> },
    /// The guest hears how a promise settled.
    Settle { promise: Slot, resolution: Resolution },
    /// The guest hears that a promise is about to settle, and keeps until then what it sends to it.
    Hold { promise: Slot },
}

/// What a promise is rejected with instead of coming home out of turn.
const TOO_MANY_ECHOES: &str = "too many promises towards the vat that decided this one are open";

/// Capabilities as the guest names them, or why the message cannot be delivered although the peer broke no rule.
type Imported = Result<Vec<Slot>, &'static str>;

impl Comms {
    /// Takes in one message. The caller has checked that it is the next one of that peer.
    pub fn receive(&mut self, from: &VatId, message: &[u8]) -> Result<Inbound, Broken> {
        let op = Op::decode(message).map_err(|error| Broken(error.to_string()))?;
        self.peer_mut(from);
        let inbound = match op {
            Op::Redeem { object, bearer, signature } => {
                self.receive_redeem(from, object, bearer, &signature);
                Inbound::Done
            }
            Op::Send { target, method, args, result } => self.receive_send(from, target, method, args, result)?,
            Op::Settle { promise, resolution } => self.receive_settle(from, promise, resolution)?,
            Op::Echo { result } => {
                self.receive_echo(from, result)?;
                Inbound::Done
            }
        };
        self.peer_mut(from).inbound.advance(message);
        self.changes.touched.insert(*from);
        Ok(inbound)
    }

    /// A bad bearer reference does nothing: whoever holds one finds out when the root does not answer.
    fn receive_redeem(&mut self, from: &VatId, object: u64, bearer: [u8; 32], signature: &[u8]) {
        if !self.peer_mut(from).granted && honours(&self.vat, &self.bearers, from, object, &bearer, signature) {
            self.peer_mut(from).granted = true;
        }
    }

    fn receive_send(
        &mut self,
        from: &VatId,
        target: WireRef,
        method: Method,
        args: CapData<WireRef>,
        result: Option<u64>,
    ) -> Result<Inbound, Broken> {
        let slots = self.import(from, &args.slots)?;
        let result = match result {
            Some(id) => Some(self.import_promise(from, id, State::Guest, Party::Us)?),
            None => None,
        };
        let refusal = match (self.resolve_target(from, target)?, slots) {
            (_, _) if self.exited => EXITED.to_owned(),
            (Ok(target), Ok(slots)) => {
                let args = CapData { body: args.body, slots };
                return Ok(Inbound::Call { delivery: Delivery::Call { target, method, args, result }, result });
            }
            (Err(refusal), _) => refusal,
            (_, Err(refusal)) => refusal.to_owned(),
        };
        if let Some(result) = result {
            self.reject(result, &refusal);
        }
        Ok(Inbound::Done)
    }

    /// What a call is made on; the inner error is for the caller to hear.
    fn resolve_target(&self, from: &VatId, target: WireRef) -> Result<Result<Slot, String>, Broken> {
        let Some(peer) = self.peers.get(from) else { return broken("a message of an unknown vat") };
        match (target.kind, target.allocator) {
            (RefKind::Object, Side::Sender) => broken("a call to an object of the caller"),
            (RefKind::Object, Side::Receiver) => Ok(peer
                .exported(target.id)
                .ok_or_else(|| "no such object, or it is not granted to the caller".to_owned())),
            (RefKind::Promise, allocator) => {
                let Some(pair) = peer.pair(PairId::inbound(allocator, target.id)) else {
                    return broken(format!("a call to promise {} that is unknown or retired", target.id));
                };
                if pair.decider == Party::Them {
                    return broken("a call to a promise that the caller decides");
                }
                Ok(match self.promises.get(&pair.slot).map(|promise| &promise.state) {
                    Some(state) if state.refusal().is_some() => Err(state.refusal().unwrap_or_default().to_owned()),
                    _ => Ok(pair.slot),
                })
            }
        }
    }

    fn receive_settle(
        &mut self,
        from: &VatId,
        promise: WireRef,
        resolution: WireResolution,
    ) -> Result<Inbound, Broken> {
        let id = PairId::inbound(promise.allocator, promise.id);
        let slot = match self.peers.get(from).and_then(|peer| peer.pair(id)) {
            None => return broken(format!("a settlement of promise {} that is unknown or settled", promise.id)),
            Some(pair) if pair.decider == Party::Us => {
                return broken("a settlement of a promise that the sender does not decide");
            }
            Some(pair) => pair.slot,
        };
        let slots = self.import(from, &resolution.data().slots)?;
        let resolution = match (resolution, slots) {
            (WireResolution::Fulfilled(data), Ok(slots)) => Resolution::Fulfilled(CapData { body: data.body, slots }),
            (WireResolution::Rejected(data), Ok(slots)) => Resolution::Rejected(CapData { body: data.body, slots }),
            (_, Err(refusal)) => Resolution::Rejected(wire::vat_error(refusal)),
        };
        self.peer_mut(from).remove_pair(id);
        let (known, pipelined) = self.promises.get_mut(&slot).map_or((false, false), |promise| {
            promise.pairs.remove(from);
            (promise.known, promise.pipelined)
        });
        let resolution = match own_object(&resolution).filter(|_| pipelined && known && !self.exited) {
            Some(object) if self.peers.get(from).is_some_and(|peer| peer.ours.len() < MAX_PROMISES) => {
                self.hold(from, slot, object);
                return Ok(Inbound::Hold { promise: slot });
            }
            Some(_) => Resolution::Rejected(wire::vat_error(TOO_MANY_ECHOES)),
            None => resolution,
        };
        if let Some(Hold { promise, object }) = self.holds.remove(&slot) {
            self.settle(slot, &resolution, Speaker::Forwarded);
            let resolution = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![object]));
            return Ok(self.settled(promise, true, resolution));
        }
        Ok(self.settled(slot, known, resolution))
    }

    /// Tells all who wait for a promise; the guest is left to the caller.
    fn settled(&mut self, promise: Slot, known: bool, resolution: Resolution) -> Inbound {
        self.settle(promise, &resolution, Speaker::Forwarded);
        if known && !self.exited { Inbound::Settle { promise, resolution } } else { Inbound::Done }
    }

    /// A promise has come home: it settles to an object of this vat, but what this vat sent to it before is still under way, to
    /// the peer and back. Until an echo, which goes the same way behind it, has come back, the settlement waits: what is sent
    /// to the object afterwards must not overtake.
    fn hold(&mut self, from: &VatId, promise: Slot, object: Slot) {
        let echo = self.new_host_promise(State::Peer(*from));
        let id = self.peer_mut(from).name_promise(echo, Party::Them);
        if let Some(echo) = self.promises.get_mut(&echo) {
            echo.pairs.insert(*from, id);
        }
        if let Some(promise) = self.promises.get_mut(&promise) {
            promise.state = State::Guest;
        }
        self.holds.insert(echo, Hold { promise, object });
        self.push(from, &Op::Echo { result: id.id });
    }

    /// All that the peer said before has been handed to the guest, and what that forwarded stands in the stream already.
    fn receive_echo(&mut self, from: &VatId, result: u64) -> Result<(), Broken> {
        let echo = self.import_promise(from, result, State::Guest, Party::Us)?;
        let nothing = Resolution::Fulfilled(CapData::data(&Value::Undefined));
        self.settle(echo, &nothing, Speaker::Guest);
        Ok(())
    }

    /// The guest's names of what a message names. All promises are entered even if an object is refused: the peer counts on it.
    fn import(&mut self, from: &VatId, refs: &[WireRef]) -> Result<Imported, Broken> {
        let mut slots = Vec::with_capacity(refs.len());
        let mut refusal = None;
        for reference in refs {
            let slot = match (reference.kind, reference.allocator) {
                (RefKind::Object, Side::Sender) => {
                    if self.peers.get(from).is_some_and(|peer| peer.imports.len() >= 2 * MAX_OBJECTS) {
                        return broken("more objects than a vat may give to another");
                    }
                    self.import_object(from, reference.id)
                }
                (RefKind::Object, Side::Receiver) => {
                    match self.peers.get(from).and_then(|peer| peer.exported(reference.id)) {
                        Some(slot) => slot,
                        None => {
                            refusal = Some("a reference to an object that the sender does not hold");
                            continue;
                        }
                    }
                }
                (RefKind::Promise, allocator) => {
                    let pair = PairId::inbound(allocator, reference.id);
                    match self.peers.get(from).and_then(|peer| peer.pair(pair)).map(|pair| pair.slot) {
                        Some(slot) => slot,
                        None if allocator == Side::Sender => {
                            self.import_promise(from, reference.id, State::Peer(*from), Party::Them)?
                        }
                        None => return broken(format!("promise {} is unknown or retired", reference.id)),
                    }
                }
            };
            slots.push(slot);
        }
        Ok(match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(slots),
        })
    }

    /// Enters a promise that the peer names for the first time.
    fn import_promise(&mut self, from: &VatId, id: u64, state: State, decider: Party) -> Result<Slot, Broken> {
        let Some(peer) = self.peers.get(from) else { return broken("a message of an unknown vat") };
        if !peer.is_fresh(id) {
            return broken(format!("promise id {id} was used before"));
        }
        if peer.theirs.len() >= 2 * MAX_PROMISES {
            return broken("more promises than a vat may have open with another");
        }
        let slot = self.new_host_promise(state);
        let pair = self.peer_mut(from).accept_promise(id, slot, decider);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.pairs.insert(*from, pair);
        }
        Ok(slot)
    }

    pub(super) fn import_object(&mut self, home: &VatId, id: u64) -> Slot {
        if let Some(object) = self.peer_mut(home).imports.get(&id) {
            return Slot::HostObject(*object);
        }
        let object = self.next_host_object;
        self.next_host_object += 1;
        self.peer_mut(home).imports.insert(id, object);
        self.host_objects.insert(object, (*home, id));
        Slot::HostObject(object)
    }

    /// Takes in what the peer says it has of this vat's stream, in a head that ends at its message `end`.
    ///
    /// It counts only once all messages up to `end` are in: those may still name promises whose settlement is acknowledged
    /// here. An acknowledgement that is skipped comes again with a later head.
    pub fn acknowledge(&mut self, from: &VatId, end: u64, ack: u64) -> Result<(), Broken> {
        let Some(peer) = self.peers.get_mut(from) else { return Ok(()) };
        if ack > peer.out.end() {
            return broken(format!("an acknowledgement of message {ack}, but only {} were sent", peer.out.end()));
        }
        if peer.inbound.received() < end || !peer.out.acknowledge(ack) {
            return Ok(());
        }
        let retired = peer.retire(ack);
        self.changes.pruned.insert(*from, ack);
        for slot in retired {
            if let Some(promise) = self.promises.get_mut(&slot) {
                retire_pair(promise, from, self.peers.get(from));
            }
            self.drop_if_done(slot);
        }
        Ok(())
    }

    /// Marks the stream with a peer broken and rejects what it should have settled.
    pub fn break_stream(&mut self, vat: &VatId, reason: &Broken) {
        let peer = self.peer_mut(vat);
        peer.inbound.mark_broken(reason.0.clone());
        for (_, slot) in peer.awaited() {
            self.reject(slot, "the stream with the vat that decides this promise is broken");
        }
    }
}

/// Whether `message`, the first that `from` says to `vat`, uses a bearer reference to the root with one of the keys `bearers`. That
/// is how a vat that nobody named here comes in.
pub fn is_redemption(vat: &VatId, bearers: &BTreeSet<[u8; 32]>, from: &VatId, message: &[u8]) -> bool {
    match Op::decode(message) {
        Ok(Op::Redeem { object, bearer, signature }) => honours(vat, bearers, from, object, &bearer, &signature),
        _ => false,
    }
}

fn honours(
    vat: &VatId,
    bearers: &BTreeSet<[u8; 32]>,
    from: &VatId,
    object: u64,
    bearer: &[u8; 32],
    signature: &[u8],
) -> bool {
    let payload = redeem_payload(vat, from, object);
    object == 0
        && bearers.contains(bearer)
        && VerifyingKey::from_bytes(bearer).is_ok_and(|key| {
            Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(&payload, &signature).is_ok())
        })
}

/// The object of this vat that a promise is fulfilled with.
fn own_object(resolution: &Resolution) -> Option<Slot> {
    let Resolution::Fulfilled(data) = resolution else { return None };
    match data.value() {
        Ok(Value::Slot(index)) => {
            data.slots.get(index as usize).copied().filter(|slot| matches!(slot, Slot::VatObject(_)))
        }
        _ => None,
    }
}

/// Unlinks a promise from a peer, unless it got a new name there since.
fn retire_pair(promise: &mut super::promises::Promise, vat: &VatId, peer: Option<&Peer>) {
    if let Some(id) = promise.pairs.get(vat)
        && peer.is_none_or(|peer| peer.pair(*id).is_none())
    {
        promise.pairs.remove(vat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const HOME: VatId = VatId([1; 32]);
    const CALLER: VatId = VatId([2; 32]);

    fn redeem(key: &SigningKey, target: &VatId, sender: &VatId, object: u64) -> Vec<u8> {
        let signature = key.sign(&redeem_payload(target, sender, object)).to_bytes().to_vec();
        Op::Redeem { object, bearer: key.verifying_key().to_bytes(), signature }.encode()
    }

    #[test]
    fn only_those_in_the_tables_and_those_with_a_bearer_reference_are_admitted() {
        let (key, other_key) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut comms = Comms::new(HOME);
        comms.add_bearer(key.verifying_key().to_bytes());
        let good = redeem(&key, &HOME, &CALLER, 0);
        let settle =
            Op::Settle { promise: WireRef::promise(Side::Sender, 1), resolution: WireResolution::vat_error("") };
        let bad = [
            ("another key", redeem(&other_key, &HOME, &CALLER, 0)),
            ("for another vat", redeem(&key, &CALLER, &CALLER, 0)),
            ("by another vat", redeem(&key, &HOME, &HOME, 0)),
            ("another object", redeem(&key, &HOME, &CALLER, 1)),
            ("another operation", settle.encode()),
            ("nothing", vec![]),
        ];
        for (what, message) in &bad {
            assert!(!comms.admits(&CALLER, Some(message)), "{what}");
        }
        assert!(!comms.admits(&CALLER, None));
        assert!(comms.admits(&CALLER, Some(&good)));
        assert!(comms.peer(&CALLER).is_none(), "asking changes nothing");

        comms.receive(&CALLER, &good).expect("a good message");
        assert!(comms.peer(&CALLER).is_some_and(Peer::is_granted));
        assert!(comms.admits(&CALLER, None));
        let (granted, referred) = (VatId([3; 32]), VatId([4; 32]));
        comms.grant(&granted).expect("room");
        comms.reference(&referred, 0).expect("room");
        for vat in [granted, referred] {
            assert!(comms.admits(&vat, None), "{vat}");
        }
    }
}

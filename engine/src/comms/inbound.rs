//! Turns a peer's messages into deliveries.
//!
//! Ids and promises of a message are entered into the tables before the guest runs. They stay when the guest's crank is
//! rolled back, because the stream has moved on. So nothing here is ever undone.

use super::peer::{PairId, Party, Peer, Stage};
use super::promises::{EXITED, Promise, Speaker, State};
use super::{Comms, MAX_OBJECTS, MAX_PROMISES};
use crate::abi::{CapData, Delivery, Method, Resolution, Slot};
use crate::wire::{self, Op, RefKind, Side, WireRef, WireResolution, WireSlot};
use quorate_ids::VatId;
use std::borrow::Cow;
use thiserror::Error;

/// A peer broke the protocol: nothing more is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// What a call hears whose target is not there for its caller.
const NO_SUCH_OBJECT: &str =
    "no such object, or it is not granted to the caller; a reference that was revoked or has expired gives nothing";

pub(super) fn broken<T>(reason: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(reason.into()))
}

/// What one message comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound {
    /// The tables have it; the guest has nothing to do.
    Done,
    /// A call for the guest. If it cannot be made, `result` is to be rejected. If there is `first`, the guest must first hear of that
    /// promise, which the call is made on.
    Call { delivery: Delivery, result: Option<Slot>, first: Option<Introduction> },
    /// The guest hears how a promise settled.
    /// `cause` is the vat on whose account the send was whose result it is, if it is one.
    Settle { promise: Slot, resolution: Resolution, cause: Option<VatId> },
    /// The guest hears that a promise is about to settle, and keeps until then what it sends to it.
    Hold { promise: Slot },
    /// The guest hears that the caller does not want this result any more.
    Abandoned { result: Slot },
}

/// A promise that the guest has to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction {
    pub promise: Slot,
    /// Whether the guest is to keep what is sent to it until it settles, instead of sending it out.
    pub held: bool,
}

/// Capabilities as the guest names them, or why the message cannot be delivered although the peer broke no rule.
type Imported = Result<Vec<Slot>, &'static str>;

impl Comms {
    /// Takes in one message. The caller has checked that it is the next one of that peer.
    pub fn receive(&mut self, from: &VatId, message: &[u8]) -> Result<Inbound, Broken> {
        let op = Op::decode(message).map_err(|error| Broken(error.to_string()))?;
        self.peer_mut(from);
        let inbound = match op {
            Op::Redeem { object, bearer, signature, result } => {
                self.receive_redeem(from, object, bearer, &signature, result)?
            }
            Op::Keep { object, key, through, result } => self.receive_keep(from, object, key, through, result)?,
            Op::Discard { bearer, result } => self.receive_discard(from, bearer, result)?,
            Op::Send { target, method, args, result } => {
                self.receive_send(from, message.len() as u64, target, method, args, result)?
            }
            Op::Settle { promise, resolution } => self.receive_settle(from, promise, resolution)?,
            Op::Release { promise } => self.receive_release(from, promise)?,
            Op::Deposit { to, number, object } => self.receive_deposit(from, to, number, object)?,
            Op::Withdraw { from: giver, number, result } => {
                self.receive_withdraw(from, giver, number, result)?;
                Inbound::Done
            }
            Op::Declined { home, number } => {
                self.receive_declined(from, home, number)?;
                Inbound::Done
            }
            Op::Undo { home, number } => {
                self.receive_undo(from, home, number);
                Inbound::Done
            }
            Op::Cancel { to, number } => {
                self.receive_cancel(from, to, number);
                Inbound::Done
            }
            Op::Abandon { result } => self.receive_abandon(from, result)?,
            Op::Drop(dropped) => {
                self.receive_drop(from, &dropped)?;
                Inbound::Done
            }
        };
        if self.exited {
            self.sweep();
        }
        self.peer_mut(from).inbound.advance(message);
        self.count(from);
        self.changes.touched.insert(*from);
        Ok(inbound)
    }

    fn receive_send(
        &mut self,
        from: &VatId,
        bytes: u64,
        target: WireRef,
        method: Method,
        args: CapData<WireSlot>,
        result: Option<u64>,
    ) -> Result<Inbound, Broken> {
        let brought = self.peers.get(from).map_or(0, Peer::brought);
        let slots = self.import(from, &args.slots, None)?;
        self.note_import_names(from, &args);
        let result = match result {
            Some(id) => Some(self.import_promise(from, id, State::Guest, Party::Us)?),
            None => None,
        };
        let target = self.resolve_target(from, target)?;
        #[cfg(test)]
        if let Ok(promise) = &target
            && let Some(promise) = self.promises.get_mut(promise)
        {
            promise.called = true;
        }
        let (refusal, slots) = match (target, slots) {
            (_, slots) if self.exited => (EXITED.to_owned(), slots),
            (Ok(target), Ok(slots)) => match self
                .check_inbound(from, brought, result.is_some())
                .and_then(|()| self.queue_call(from, target, bytes))
            {
                Ok(()) => {
                    let args = CapData { body: args.body, slots };
                    let first = self.introduction(target);
                    let delivery = Delivery::Call { target, method, args, result };
                    return Ok(Inbound::Call { delivery, result, first });
                }
                Err(refusal) => (refusal, Ok(slots)),
            },
            (Err(refusal), slots) => (refusal, slots),
            (_, Err(refusal)) => (refusal.to_owned(), Ok(Vec::new())),
        };
        if let Some(result) = result {
            self.reject(result, &refusal);
        }
        self.forget_unheard(slots.unwrap_or_default().iter());
        Ok(Inbound::Done)
    }

    /// Returns what a call is made on; the inner error is for the caller to hear.
    fn resolve_target(&self, from: &VatId, target: WireRef) -> Result<Result<Slot, String>, Broken> {
        let Some(peer) = self.peers.get(from) else { return broken("a message of an unknown vat") };
        match (target.kind, target.allocator) {
            (RefKind::Object, Side::Sender) => broken("a call to an object of the caller"),
            (RefKind::Object, Side::Receiver) => {
                Ok(peer.exported(target.id).map(Slot::VatObject).ok_or_else(|| NO_SUCH_OBJECT.to_owned()))
            }
            (RefKind::Promise, allocator) => {
                let Some(pair) = peer.pair(PairId::inbound(allocator, target.id)) else {
                    return broken(format!("a call to promise {} that is unknown or retired", target.id));
                };
                if pair.decider == Party::Them {
                    return broken("a call to a promise that the caller decides");
                }
                let Some(promise) = self.promises.get(&pair.slot) else { return Ok(Ok(pair.slot)) };
                Ok(match (promise.state.refusal(), promise.stands_for) {
                    (Some(refusal), _) => Err(refusal.to_owned()),
                    (None, Some(object)) if promise.bearer.is_some() && !peer.may_use(object) => {
                        Err(NO_SUCH_OBJECT.to_owned())
                    }
                    (None, Some(object)) => Ok(Slot::VatObject(object)),
                    (None, None) => Ok(pair.slot),
                })
            }
        }
    }

    /// Returns how the guest hears of a promise that it is called on and does not know: one that a call queues at until a deposit comes, or one
    /// that the machine has passed on.
    fn introduction(&self, target: Slot) -> Option<Introduction> {
        let promise = self.promises.get(&target)?;
        match promise.state {
            State::Waiting { .. } if !promise.kept => Some(Introduction { promise: target, held: true }),
            State::Peer(_) if !promise.known => Some(Introduction { promise: target, held: false }),
            _ => None,
        }
    }

    fn receive_settle(
        &mut self,
        from: &VatId,
        promise: WireRef,
        resolution: WireResolution,
    ) -> Result<Inbound, Broken> {
        let id = PairId::inbound(promise.allocator, promise.id);
        let (slot, stage) = match self.peers.get(from).and_then(|peer| peer.pair(id)) {
            None => return broken(format!("a settlement of promise {} that is unknown or settled", promise.id)),
            Some(pair) if pair.decider == Party::Us => {
                return broken("a settlement of a promise that the sender does not decide");
            }
            Some(pair) => (pair.slot, pair.stage),
        };
        if resolution.data().slots.iter().any(|slot| matches!(slot, WireSlot::Lent { .. })) {
            return broken("a loan in a settlement: only calls lend");
        }
        let bare = match &resolution {
            WireResolution::Fulfilled(data) => wire::bare_slot(data),
            WireResolution::Rejected(_) => None,
        };
        match stage {
            Stage::Open => {}
            #[cfg(test)]
            Stage::Withdrawn if super::plants::is(super::plants::Plant::PromiseGiven) => {}
            Stage::Withdrawn | Stage::Abandoned => check_withdrawal(&resolution, bare)?,
            Stage::Held | Stage::Unreleased => return broken("a settlement of a promise that is settled"),
        }
        let named = bare.and_then(|bare| resolution.data().slots.get(bare).copied());
        let comes_home =
            matches!(named, Some(WireSlot::Known(WireRef { kind: RefKind::Object, allocator: Side::Receiver, .. })));
        if stage == Stage::Abandoned {
            self.peer_mut(from).remove_pair(id);
            self.import(from, &resolution.data().slots, None).map(drop)?;
            return Ok(Inbound::Done);
        }
        self.end_gift(slot);
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.source = None;
        }
        // The promise may be named in its own settlement.
        let into = bare.map(|bare| (bare, slot));
        #[cfg(test)]
        let into = into.filter(|_| !super::plants::is(super::plants::Plant::HeardBeforeItsGift));
        let brought = self.peers.get(from).map_or(0, Peer::brought);
        let slots = self.import(from, &resolution.data().slots, into)?;
        self.note_import_names(from, resolution.data());
        let over = self.check_inbound(from, brought, false).err();
        if !comes_home {
            self.peer_mut(from).remove_pair(id);
        } else if let Some(pair) = self.peer_mut(from).pair_mut(id) {
            pair.stage = Stage::Unreleased;
        }
        if matches!((&slots, named), (Ok(_), Some(WireSlot::Gift { .. }))) && into.is_some() {
            // It goes on as the promise that the home settles: what is sent to it from now on goes there.
            return Ok(Inbound::Done);
        }
        let slots = match over {
            Some(refusal) => {
                self.forget_unheard(slots.iter().flatten());
                Err(Cow::Owned(refusal))
            }
            None => slots.map_err(Cow::Borrowed),
        };
        let resolution = match (resolution, slots) {
            (WireResolution::Fulfilled(data), Ok(slots)) => Resolution::Fulfilled(CapData { body: data.body, slots }),
            (WireResolution::Rejected(data), Ok(slots)) => Resolution::Rejected(CapData { body: data.body, slots }),
            (_, Err(refusal)) => Resolution::Rejected(wire::vat_error(&refusal)),
        };
        match own_object(&resolution).filter(|_| comes_home) {
            Some(object) if self.hold(from, id, slot, object) => Ok(Inbound::Hold { promise: slot }),
            _ => Ok(self.settled(slot, resolution)),
        }
    }

    /// Tells all who wait for a promise; the guest is left to the caller.
    pub(super) fn settled(&mut self, promise: Slot, resolution: Resolution) -> Inbound {
        let known = self.promises.get(&promise).is_some_and(|promise| promise.known && !promise.is_settled());
        let cause = self.cause(promise);
        self.settle(promise, &resolution, Speaker::Forwarded);
        if known && !self.exited { Inbound::Settle { promise, resolution, cause } } else { Inbound::Done }
    }

    /// The guest's names of what a message names. All promises are entered, and all gifts withdrawn, even if an object is refused: the
    /// peer counts on it. If the capability at the place `into` is a gift, the promise beside it stands for it.
    fn import(&mut self, from: &VatId, refs: &[WireSlot], into: Option<(usize, Slot)>) -> Result<Imported, Broken> {
        let mut slots = Vec::with_capacity(refs.len());
        let mut refusal = None;
        for (index, reference) in refs.iter().enumerate() {
            let reference = match reference {
                WireSlot::Known(reference) => reference,
                WireSlot::Gift { home, number } | WireSlot::Lent { home, number, .. } => {
                    let lender = if let WireSlot::Lent { lender, .. } = reference { Some(*lender) } else { None };
                    let into = into.filter(|(place, _)| *place == index).map(|(_, slot)| slot);
                    match self.take_gift(from, *home, *number, lender, into)? {
                        Ok(slot) => slots.push(slot),
                        Err(reason) => refusal = Some(reason),
                    }
                    continue;
                }
            };
            let slot = match (reference.kind, reference.allocator) {
                (RefKind::Object, Side::Sender) => {
                    if self.peers.get(from).is_some_and(|peer| peer.imports.len() >= 2 * MAX_OBJECTS) {
                        return broken("more objects than a vat may give to another");
                    }
                    self.receive_object(from, reference.id)
                }
                (RefKind::Object, Side::Receiver) => {
                    match self.peers.get(from).and_then(|peer| peer.exported(reference.id)) {
                        Some(object) => Slot::VatObject(object),
                        None => {
                            refusal = Some("a reference to an object that the sender does not hold");
                            continue;
                        }
                    }
                }
                (RefKind::Promise, allocator) => {
                    let pair = PairId::inbound(allocator, reference.id);
                    match self.peers.get(from).and_then(|peer| peer.pair(pair)).map(|pair| (pair.slot, pair.stage)) {
                        // One that is withdrawn there is as good: its home has passed it on before anything was deposited.
                        Some((slot, Stage::Open | Stage::Withdrawn)) => match self.redeemed_by(from, slot) {
                            None => slot,
                            Some(Ok(object)) => Slot::VatObject(object),
                            Some(Err(reason)) => {
                                refusal = Some(reason);
                                continue;
                            }
                        },
                        Some((_, Stage::Abandoned)) => {
                            refusal = Some("a promise that its receiver has given up");
                            continue;
                        }
                        Some((_, Stage::Held | Stage::Unreleased)) => {
                            return broken(format!("promise {} is settled", reference.id));
                        }
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
            Some(refusal) => {
                self.forget_unheard(slots.iter());
                Err(refusal)
            }
            None => Ok(slots),
        })
    }

    /// Returns what a promise stands for that was the answer to the use of a bearer. The inner error is why it stands for nothing.
    fn redeemed_by(&self, from: &VatId, slot: Slot) -> Option<Result<u64, &'static str>> {
        let promise = self.promises.get(&slot).filter(|promise| promise.bearer.is_some())?;
        let object = promise.stands_for?;
        let may_use = self.peers.get(from).is_some_and(|peer| peer.may_use(object));
        Some(if may_use { Ok(object) } else { Err("a reference that was revoked or has expired") })
    }

    /// Enters a promise that the peer names for the first time.
    pub(super) fn import_promise(
        &mut self,
        from: &VatId,
        id: u64,
        state: State,
        decider: Party,
    ) -> Result<Slot, Broken> {
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
            match decider {
                Party::Us => drop(promise.pairs.insert(*from, pair)),
                Party::Them => promise.source = Some((*from, pair)),
            }
        }
        Ok(slot)
    }

    /// A delivery that named these is not taken in: what was rejected before the guest heard of it, it need never hear of.
    pub fn forget_unheard<'a>(&mut self, slots: impl Iterator<Item = &'a Slot>) {
        for slot in slots {
            if self.promises.get(slot).is_some_and(|promise| !promise.known) {
                self.drop_if_done(*slot);
            }
        }
    }

    /// Takes in what the peer says it has of this vat's stream, in a head that ends at its message `end`.
    ///
    /// It counts only once all messages up to `end` are in: those may still name promises whose settlement is acknowledged
    /// here. Until then the first such acknowledgement is kept, whatever later heads say.
    pub fn acknowledge(&mut self, from: &VatId, end: u64, ack: u64) -> Result<(), Broken> {
        let Some(peer) = self.peers.get_mut(from) else { return Ok(()) };
        if ack > peer.out.end() {
            return broken(format!("an acknowledgement of message {ack}, but only {} were sent", peer.out.end()));
        }
        let due = peer.inbound.acknowledged(end, ack, peer.out.acked());
        let Some(ack) = due.filter(|ack| peer.out.acknowledge(*ack)) else { return Ok(()) };
        let retired = peer.retire(ack);
        peer.gifts.acknowledge(ack);
        self.changes.pruned.insert(*from, ack);
        for (id, slot, then) in retired {
            if let Some(promise) = self.promises.get_mut(&slot) {
                retire_pair(promise, from, self.peers.get(from));
            }
            self.drop_if_done(slot);
            self.say_then(from, id, then);
        }
        self.count(from);
        Ok(())
    }

    /// Marks the stream with a peer broken and rejects what it should have settled.
    pub fn break_stream(&mut self, vat: &VatId, reason: &Broken) {
        let peer = self.peer_mut(vat);
        peer.inbound.mark_broken(reason.0.clone());
        for (_, slot) in peer.awaited() {
            self.reject(slot, "the stream with the vat that decides this promise is broken");
        }
        self.lose_peer(vat, "the stream with the vat that gave this is broken");
    }
}

/// The allowed results of a withdrawal: others could lead a vat that passes it on in circles.
fn check_withdrawal(resolution: &WireResolution, bare: Option<usize>) -> Result<(), Broken> {
    let good = match resolution {
        WireResolution::Fulfilled(data) => {
            let own = WireRef { kind: RefKind::Object, allocator: Side::Sender, id: 0 };
            let is_own = |slot: &WireSlot| matches!(slot, WireSlot::Known(known) if WireRef { id: 0, ..*known } == own);
            bare == Some(0) && matches!(&data.slots[..], [slot] if is_own(slot))
        }
        WireResolution::Rejected(data) => data.slots.is_empty(),
    };
    if good { Ok(()) } else { broken("a gift that settles to something else than an object of its home") }
}

/// The object of this vat that a promise is fulfilled with.
fn own_object(resolution: &Resolution) -> Option<u64> {
    let Resolution::Fulfilled(data) = resolution else { return None };
    match data.slots.get(wire::bare_slot(data)?)? {
        Slot::VatObject(object) => Some(*object),
        _ => None,
    }
}

/// Unlinks a promise from a peer, unless it got a new name there since.
fn retire_pair(promise: &mut Promise, vat: &VatId, peer: Option<&Peer>) {
    if let Some(id) = promise.pairs.get(vat)
        && peer.is_none_or(|peer| peer.pair(*id).is_none())
    {
        promise.pairs.remove(vat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comms::Bearer;
    use crate::wire::redeem_payload;
    use ed25519_dalek::{Signer, SigningKey};

    const HOME: VatId = VatId([1; 32]);
    const CALLER: VatId = VatId([2; 32]);

    fn redeem(key: &SigningKey, target: &VatId, sender: &VatId, object: u64) -> Vec<u8> {
        let signature = key.sign(&redeem_payload(target, sender, object)).to_bytes().to_vec();
        Op::Redeem { object, bearer: key.verifying_key().to_bytes(), signature, result: None }.encode()
    }

    #[test]
    fn only_those_in_the_tables_and_those_with_a_bearer_reference_are_admitted() {
        let (key, other_key) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut comms = Comms::new(HOME);
        comms.add_bearer(key.verifying_key().to_bytes(), Bearer::to_root()).expect("room");
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
        comms.grant(&granted, None).expect("room");
        comms.reference(&referred, 0).expect("room");
        for vat in [granted, referred] {
            assert!(comms.admits(&vat, None), "{vat}");
        }
    }
}

//! A vat without a guest: calls objects and receives answers, for clients.
//!
//! A [`ClientSession`] is one vat's side of one stream pair. It makes messages, keeps them until they are acknowledged, and reads
//! settlements. Any number of calls may be open. The other side can call the objects that it offers ([`ClientSession::offer`]).
//!
//! It has one stream only, so
//! it declines gifts: an object of a third vat in an answer is [`ClientRef::Elsewhere`], which names the vat, and cannot be used. To pass an object
//! of a third vat, its owner has another session with that vat. That session deposits the object ([`ClientSession::deposit`]), and this one
//! names it as lent ([`ClientSession::lend`]). The owner signs heads and carries slices.

mod callee;

pub use callee::Owed;

use crate::abi::{CapData, Method, Value};
use crate::limits::{MAX_PROMISES, MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES};
use crate::pair::{PairId, Party};
use crate::stream::{Deliver, InStream, OutStream, StreamHead};
use crate::wire::{self, MAX_MESSAGE_BYTES, Op, RefKind, Side, WireError, WireRef, WireResolution, WireSlot};
use quorate_ids::{Hash, VatId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// Something of the other vat, as this client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientRef {
    /// An object by the name its home gave it; 0 is the root.
    Object(u64),
    /// The result of a call that this client made: a target before it has settled.
    Result(u64),
    /// A promise that came in an answer.
    Promise(u64),
    /// An object of that vat, which is not the one that this client talks to: it can be neither called nor passed.
    Elsewhere(VatId),
    /// What this session lends, by number: it can be passed in calls, not called. See [`ClientSession::lend`].
    Lent(u64),
    /// An object of this client: it can be passed, and the vat calls it. See [`ClientSession::offer`].
    Own(u64),
    /// A promise that this client settles: it can be passed as long as it has not.
    Owed(Owed),
}

impl ClientRef {
    fn pair(self) -> Option<PairId> {
        match self {
            ClientRef::Object(_) | ClientRef::Elsewhere(_) | ClientRef::Lent(_) => None,
            ClientRef::Own(_) | ClientRef::Owed(_) => None,
            ClientRef::Result(id) => Some(PairId { by: Party::Us, id }),
            ClientRef::Promise(id) => Some(PairId { by: Party::Them, id }),
        }
    }

    fn outbound(self) -> Result<WireRef, ClientError> {
        Ok(match self {
            ClientRef::Object(id) => WireRef::object(Side::Receiver, id),
            ClientRef::Result(id) => WireRef::promise(Side::Sender, id),
            ClientRef::Promise(id) => WireRef::promise(Side::Receiver, id),
            ClientRef::Elsewhere(home) => return Err(ClientError::Elsewhere(home)),
            ClientRef::Lent(_) => return Err(ClientError::IsLent),
            ClientRef::Own(id) => WireRef::object(Side::Sender, id),
            ClientRef::Owed(owed) => owed.pair().outbound(),
        })
    }
}

/// A promise has settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// [`ClientRef::Result`] for an answer, [`ClientRef::Promise`] for a promise that came in one.
    pub promise: ClientRef,
    /// Whether it was fulfilled; otherwise `value` is the reason.
    pub fulfilled: bool,
    /// [`Value::Slot`]s in it index `slots`.
    pub value: Value,
    pub slots: Vec<ClientRef>,
}

impl Completion {
    /// The object's number in its vat, by the vat's answer to [`ClientSession::keep`].
    ///
    /// # Errors
    /// It is not kept, for the reason that the vat gives.
    pub fn kept_number(&self) -> Result<u64, String> {
        match &self.value {
            Value::Number(number) if self.fulfilled && *number >= 0.0 && number.fract() == 0.0 => Ok(*number as u64),
            Value::Error { message, .. } => Err(message.clone()),
            _ => Err("the vat's answer is not understood".to_owned()),
        }
    }
}

/// A call of something that this client has given.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundCall {
    /// [`ClientRef::Own`] or [`ClientRef::Owed`].
    pub target: ClientRef,
    pub method: Method,
    /// [`Value::Slot`]s in them index `slots`.
    pub args: Vec<Value>,
    pub slots: Vec<ClientRef>,
    /// What is to be settled with the answer, if one is wanted.
    pub result: Option<Owed>,
}

/// What comes from the vat.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Settled(Completion),
    Called(InboundCall),
    /// The vat holds this object of the client no more.
    Dropped(u64),
    /// The vat does not want this answer any more. It is settled as ever.
    Unwanted(Owed),
    /// The vat knows how this promise came out: no more calls of it come. One that was settled to nothing but an object of the vat is to be
    /// [released](ClientSession::release).
    Quiet(Owed),
}

/// Why a message was not made or not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error("{0} messages are not acknowledged yet, and no more are kept")]
    Full(u64),
    #[error("{0} calls are open, and no more are kept")]
    TooManyCalls(usize),
    #[error("the promise {0:?} is not open: it has settled, or never was")]
    NotOpen(ClientRef),
    #[error(
        "the object lives in vat {0}, with which this client does not talk: call that vat itself, with a reference to it, or ask a vat that holds the object to pass your message on"
    )]
    Elsewhere(VatId),
    #[error("a lent object can't be called: call it by a client of its own vat")]
    IsLent,
    #[error("a lent object is passed once, in the order of lending")]
    LentOrder,
    #[error("objects and promises of this client are called directly, not by a message")]
    IsOwn,
    #[error("a promise of this client is passed in the message that is made next after it")]
    PledgeOrder,
    #[error("the message cannot be sent: {0}")]
    Message(WireError),
    #[error("a message of {0} bytes is longer than the {MAX_MESSAGE_BYTES} that are allowed")]
    TooLong(usize),
    #[error("messages from {begin} do not follow message {received}")]
    Gap { begin: u64, received: u64 },
    #[error("the other vat broke the protocol: {0}")]
    Broken(String),
}

/// One client's session with one vat.
#[derive(Debug)]
pub struct ClientSession {
    vat: VatId,
    target: VatId,
    out: OutStream,
    inbound: InStream,
    next_result: u64,
    open: BTreeSet<PairId>,
    /// What was lent and not passed yet, by number, and the last number.
    lent: BTreeMap<u64, WireSlot>,
    last_lent: u64,
    callee: callee::Callee,
}

impl ClientSession {
    /// A session in which nothing has been said. `vat` must never have spoken with `target` before.
    pub fn new(vat: VatId, target: VatId) -> ClientSession {
        ClientSession {
            vat,
            target,
            out: OutStream::new(&vat, &target),
            inbound: InStream::new(&target, &vat),
            next_result: 1,
            open: BTreeSet::new(),
            lent: BTreeMap::new(),
            last_lent: 0,
            callee: callee::Callee::default(),
        }
    }

    pub fn vat(&self) -> VatId {
        self.vat
    }

    pub fn target(&self) -> VatId {
        self.target
    }

    /// Uses a bearer reference; `signature` is over [`wire::redeem_payload`]`(target, vat, object)`. Returns what the object can be called
    /// by at once: the root by its number, which all peers share, another object by a promise.
    ///
    /// # Errors
    /// Too many messages or promises are under way.
    pub fn redeem(&mut self, object: u64, bearer: [u8; 32], signature: [u8; 64]) -> Result<ClientRef, ClientError> {
        if object == 0 {
            self.check_room()?;
            self.push(&Op::Redeem { object, bearer, signature: signature.to_vec(), result: None })?;
            return Ok(ClientRef::Object(0));
        }
        self.redeem_and_hear(object, bearer, signature).map(ClientRef::Result)
    }

    /// As [`ClientSession::redeem`], with an answer whether the reference opens anything, also for the root. Returns the number of
    /// the result, which can be called at once.
    ///
    /// # Errors
    /// Too many messages or promises are under way.
    pub fn redeem_and_hear(&mut self, object: u64, bearer: [u8; 32], signature: [u8; 64]) -> Result<u64, ClientError> {
        self.ask(|id| Op::Redeem { object, bearer, signature: signature.to_vec(), result: Some(id) })
    }

    /// Has the vat keep an object of it, by the number that it has here, for the holder of the secret half of `key`. `through` is a bearer
    /// that this session has redeemed. Gives the number of the result, which is the object's number there.
    ///
    /// # Errors
    /// Too many messages or promises are under way.
    pub fn keep(&mut self, object: u64, key: [u8; 32], through: [u8; 32]) -> Result<u64, ClientError> {
        self.ask(|result| Op::Keep { object, key, through, result })
    }

    /// Has the vat no longer keep what it keeps for a bearer that this session has redeemed. Gives the number of the result.
    ///
    /// # Errors
    /// Too many messages or promises are under way.
    pub fn discard(&mut self, bearer: [u8; 32]) -> Result<u64, ClientError> {
        self.ask(|result| Op::Discard { bearer, result })
    }

    /// Names an object of the vat `home` that another client of the same owner, `lender`, deposits there. The next call passes it: the vat
    /// that is called withdraws it. Gives what arguments name it by, and the number under which it has to be deposited for that vat.
    pub fn lend(&mut self, home: VatId, lender: VatId) -> (ClientRef, u64) {
        self.last_lent += 1;
        let number = self.last_lent;
        self.lent.insert(number, WireSlot::Lent { home, lender, number });
        (ClientRef::Lent(number), wire::lent_number(&self.vat, &lender, number))
    }

    /// Deposits an object, by the number that it has here, for the vat `to`, under a number that a session with that vat gave
    /// ([`ClientSession::lend`]).
    ///
    /// # Errors
    /// Too many messages are under way.
    pub fn deposit(&mut self, to: VatId, number: u64, object: u64) -> Result<(), ClientError> {
        self.check_room()?;
        self.push(&Op::Deposit { to, number, object }).map(drop)
    }

    /// Says something that is answered, and gives the number of the result.
    fn ask(&mut self, op: impl FnOnce(u64) -> Op) -> Result<u64, ClientError> {
        if self.open.len() >= MAX_PROMISES {
            return Err(ClientError::TooManyCalls(self.open.len()));
        }
        self.check_room()?;
        let id = self.next_result;
        self.push(&op(id))?;
        self.next_result += 1;
        self.said_result(id);
        self.open.insert(PairId { by: Party::Us, id });
        Ok(id)
    }

    /// Calls `target`; `args` is an array whose slots index `slots`. Gives the number of the result.
    pub fn call(
        &mut self,
        target: ClientRef,
        method: Method,
        args: &Value,
        slots: &[ClientRef],
    ) -> Result<u64, ClientError> {
        if self.open.len() >= MAX_PROMISES {
            return Err(ClientError::TooManyCalls(self.open.len()));
        }
        let id = self.next_result;
        self.send(target, method, args, slots, Some(id))?;
        self.next_result += 1;
        self.said_result(id);
        self.open.insert(PairId { by: Party::Us, id });
        Ok(id)
    }

    /// Calls `target` and does not ask for an answer.
    pub fn send_only(
        &mut self,
        target: ClientRef,
        method: Method,
        args: &Value,
        slots: &[ClientRef],
    ) -> Result<(), ClientError> {
        self.send(target, method, args, slots, None)
    }

    fn send(
        &mut self,
        target: ClientRef,
        method: Method,
        args: &Value,
        slots: &[ClientRef],
        result: Option<u64>,
    ) -> Result<(), ClientError> {
        self.check_room()?;
        if matches!(target, ClientRef::Own(_) | ClientRef::Owed(_)) {
            return Err(ClientError::IsOwn);
        }
        self.check_slots(slots)?;
        for reference in slots.iter().chain([&target]) {
            if reference.pair().is_some_and(|pair| !self.open.contains(&pair)) {
                return Err(ClientError::NotOpen(*reference));
            }
        }
        let lent = |slot: &ClientRef| if let ClientRef::Lent(number) = slot { Some(*number) } else { None };
        if !slots.iter().filter_map(lent).is_sorted_by(|one, next| one < next) {
            return Err(ClientError::LentOrder);
        }
        let wire_slots = slots.iter().map(|slot| self.outbound_slot(*slot)).collect::<Result<_, _>>()?;
        let args = CapData::new(args, wire_slots);
        wire::check_send(&method, &args).map_err(ClientError::Message)?;
        self.push(&Op::Send { target: target.outbound()?, method, args, result })?;
        self.passed(slots);
        if let Some(last) = slots.iter().filter_map(lent).next_back() {
            self.lent = self.lent.split_off(&(last + 1));
        }
        Ok(())
    }

    fn outbound_slot(&self, slot: ClientRef) -> Result<WireSlot, ClientError> {
        match slot {
            ClientRef::Lent(number) => self.lent.get(&number).copied().ok_or(ClientError::LentOrder),
            other => other.outbound().map(WireSlot::from),
        }
    }

    fn check_room(&self) -> Result<(), ClientError> {
        let (messages, bytes) = self.out.unacked();
        if messages >= MAX_UNACKED_MESSAGES || bytes >= MAX_UNACKED_BYTES {
            return Err(ClientError::Full(messages));
        }
        Ok(())
    }

    fn push(&mut self, op: &Op) -> Result<u64, ClientError> {
        let message: Arc<[u8]> = op.encode().into();
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(ClientError::TooLong(message.len()));
        }
        Ok(self.out.push(message))
    }

    /// Returns what this client says now about its stream.
    pub fn head(&self) -> StreamHead {
        let (out, inbound) = (&self.out, &self.inbound);
        let (ack, ack_hash) = (inbound.received(), inbound.hash());
        StreamHead { peer: self.target, end: out.end(), hash: out.hash(), ack, ack_hash, is_mark: false }
    }

    /// The messages that are not acknowledged, with their numbers.
    pub fn unacked(&self) -> impl Iterator<Item = (u64, &Arc<[u8]>)> {
        self.out.messages()
    }

    /// Returns what is expected next: the number, and the chained hash of all before it.
    pub fn next_inbound(&self) -> (u64, Hash) {
        (self.inbound.received() + 1, self.inbound.hash())
    }

    /// Returns how many promises are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Takes in messages whose evidence was checked, and gives what has settled: of a client that has given nothing, that is all that
    /// comes. What was taken in before is skipped. After [`ClientError::Broken`] the session is of no use any more.
    ///
    /// # Errors
    /// As for [`ClientSession::receive_all`].
    pub fn receive(&mut self, deliver: &Deliver) -> Result<Vec<Completion>, ClientError> {
        let settled = |heard| if let Heard::Settled(completion) = heard { Some(completion) } else { None };
        Ok(self.receive_all(deliver)?.into_iter().filter_map(settled).collect())
    }

    /// The same, and gives all that came, in order.
    ///
    /// # Errors
    /// The messages do not follow what came before, or the vat broke the protocol.
    pub fn receive_all(&mut self, deliver: &Deliver) -> Result<Vec<Heard>, ClientError> {
        let received = self.inbound.received();
        let mut heard = Vec::new();
        if !deliver.messages.is_empty() {
            if deliver.from != self.target || deliver.begin == 0 || deliver.begin > received + 1 {
                return Err(ClientError::Gap { begin: deliver.begin, received });
            }
            let known = usize::try_from(received + 1 - deliver.begin).unwrap_or(usize::MAX);
            for message in deliver.messages.iter().skip(known) {
                self.take(message, &mut heard)?;
                self.inbound.advance(message);
            }
        }
        if deliver.ack > self.out.end() {
            return Err(ClientError::Broken("it acknowledges what was never sent".to_owned()));
        }
        // Messages up to the head's end may still name what is known to be settled there.
        let known = self.out.acked();
        let through = self.inbound.acknowledged(deliver.end, deliver.ack, known);
        self.out.acknowledge(deliver.ack);
        if let Some(through) = through {
            heard.extend(self.retire(through));
        }
        Ok(heard)
    }

    fn take(&mut self, message: &[u8], heard: &mut Vec<Heard>) -> Result<(), ClientError> {
        match Op::decode(message).map_err(|error| ClientError::Broken(error.to_string()))? {
            // Nothing here can be redeemed. Gifts that come to nothing were declined already, and what is cancelled was never there.
            Op::Redeem { .. } | Op::Undo { .. } | Op::Cancel { .. } => {}
            Op::Settle { promise, resolution } => heard.push(Heard::Settled(self.settle(promise, resolution)?)),
            Op::Send { target, method, args, result } => heard.push(self.called(target, method, &args, result)?),
            Op::Deposit { .. } | Op::Withdraw { .. } => {
                return broken("it deposits or withdraws an object of a client, which gives none to others");
            }
            // A caller of the object from here does not wait for earlier messages to the promise.
            Op::Release { promise } => {
                if !self.callee.released(PairId::inbound(promise.allocator, promise.id)) {
                    return broken("it releases a promise that has not come home to this client");
                }
            }
            // Of a deposit. The vat that withdraws it learns of it when this client has gone.
            Op::Declined { home, .. } if home == self.target => {}
            Op::Declined { .. } => return broken("it declines a gift of a client, which makes none"),
            Op::Abandon { result } => {
                let owed = self.callee.owed(PairId { by: Party::Them, id: result });
                let Some(owed) = owed else { return broken("it wants no answer to a call that is unknown here") };
                heard.push(Heard::Unwanted(owed));
            }
            Op::Drop(dropped) => heard.extend(self.dropped(&dropped)?),
            Op::Keep { .. } | Op::Discard { .. } => return broken("it keeps objects of a client, which can't be kept"),
        }
        Ok(())
    }

    fn settle(&mut self, promise: WireRef, resolution: WireResolution) -> Result<Completion, ClientError> {
        let pair = PairId::inbound(promise.allocator, promise.id);
        if !self.open.contains(&pair) {
            return Err(ClientError::Broken(format!("it settles promise {}, which is not open", promise.id)));
        }
        let fulfilled = matches!(resolution, WireResolution::Fulfilled(_));
        let (WireResolution::Fulfilled(data) | WireResolution::Rejected(data)) = resolution;
        let slots = data.slots.iter().map(|slot| self.import(*slot)).collect::<Result<Vec<_>, _>>()?;
        let value = data.value().map_err(|_| ClientError::Broken("a body that is not a value".to_owned()))?;
        self.open.remove(&pair);
        if let (true, Value::Slot(_) | Value::Named(..), [ClientRef::Own(_)]) = (fulfilled, &value, &slots[..]) {
            self.callee.came_home(pair);
        }
        Ok(Completion { promise: client_promise(pair), fulfilled, value, slots })
    }

    fn import(&mut self, slot: WireSlot) -> Result<ClientRef, ClientError> {
        let reference = match slot {
            WireSlot::Known(reference) => reference,
            WireSlot::Lent { .. } => {
                return Err(ClientError::Broken("it lends something, which only calls do".to_owned()));
            }
            WireSlot::Gift { home, number } => {
                self.push(&Op::Declined { home, number })?;
                return Ok(ClientRef::Elsewhere(home));
            }
        };
        let pair = PairId::inbound(reference.allocator, reference.id);
        match (reference.kind, reference.allocator) {
            (RefKind::Object, Side::Sender) => {
                self.check_objects()?;
                self.callee.object_came(reference.id);
                Ok(ClientRef::Object(reference.id))
            }
            (RefKind::Object, Side::Receiver) if self.callee.exports(reference.id) => Ok(ClientRef::Own(reference.id)),
            (RefKind::Object, Side::Receiver) => broken("it names an object that this client has not given it"),
            (RefKind::Promise, _) if self.open.contains(&pair) => Ok(client_promise(pair)),
            (RefKind::Promise, _) if self.callee.owed(pair).is_some() => {
                self.callee.owed(pair).map(ClientRef::Owed).ok_or(ClientError::IsOwn)
            }
            (RefKind::Promise, Side::Sender) if self.callee.is_new(reference.id) => {
                self.callee.named_by_vat(reference.id);
                self.open.insert(pair);
                Ok(client_promise(pair))
            }
            (RefKind::Promise, _) => {
                Err(ClientError::Broken(format!("it names promise {} after its end", reference.id)))
            }
        }
    }
}

fn broken<T>(reason: &str) -> Result<T, ClientError> {
    Err(ClientError::Broken(reason.to_owned()))
}

fn client_promise(pair: PairId) -> ClientRef {
    match pair.by {
        Party::Us => ClientRef::Result(pair.id),
        Party::Them => ClientRef::Promise(pair.id),
    }
}

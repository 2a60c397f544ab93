//! A client's own objects and promises: objects that the vat may call, promises that the client settles, and answers to the vat's calls.
//!
//! Invariants: a number is given once. An object is held by the vat until as many references are dropped as were sent. Each promise is settled once, and no side
//! that knows the settlement names it afterwards. Before a promise that settled to an object of the vat is released, all messages to the promise have been passed
//! on.

use super::{ClientError, ClientRef, ClientSession, Heard, InboundCall, PairId, Party, broken};
use crate::abi::{CapData, Method, Value};
use crate::limits::{MAX_OBJECTS, MAX_PROMISES};
use crate::wire::{self, Op, RefKind, Side, WireRef, WireResolution, WireSlot, bare_slot};
use std::collections::{BTreeMap, BTreeSet};

/// A promise that this client settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owed {
    /// The answer to a call of the vat, by the vat's number of it.
    Answer(u64),
    /// One that this client gave: see [`ClientSession::pledge`].
    Promise(u64),
}

impl Owed {
    pub(super) fn pair(self) -> PairId {
        match self {
            Owed::Answer(id) => PairId { by: Party::Them, id },
            Owed::Promise(id) => PairId { by: Party::Us, id },
        }
    }

    fn of(pair: PairId) -> Owed {
        match pair.by {
            Party::Us => Owed::Promise(pair.id),
            Party::Them => Owed::Answer(pair.id),
        }
    }
}

/// How far a promise is that this client settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Debt {
    /// It was named in nothing yet.
    Unsaid,
    Open,
    /// Settled by the message of this number. `comes_home`: to nothing but an object of the vat.
    Settled {
        number: u64,
        comes_home: bool,
    },
    /// The vat knows, and waits for the release.
    Unreleased,
}

/// See the head of the module.
#[derive(Debug, Default)]
pub(super) struct Callee {
    /// How often each own object was sent, less what was dropped.
    exports: BTreeMap<u64, u64>,
    last_export: u64,
    debts: BTreeMap<PairId, Debt>,
    /// The last promise of the vat that it named.
    last_theirs: u64,
    /// The last number that this client has given to a promise and named.
    last_said: u64,
    /// How often each object of the vat came since it was last dropped.
    received: BTreeMap<u64, u64>,
    /// Promises that the vat has settled to an object of this client and not released yet.
    homing: BTreeSet<PairId>,
}

impl Callee {
    pub(super) fn object_came(&mut self, id: u64) {
        if id != 0 {
            *self.received.entry(id).or_default() += 1;
        }
    }

    pub(super) fn exports(&self, id: u64) -> bool {
        self.exports.contains_key(&id)
    }

    /// Returns what the vat names by this, if it is a promise that this client settles.
    pub(super) fn owed(&self, pair: PairId) -> Option<Owed> {
        let is_named = self.debts.get(&pair).is_some_and(|debt| matches!(debt, Debt::Open | Debt::Settled { .. }));
        is_named.then(|| Owed::of(pair))
    }

    /// The vat has settled a promise to an object of this client: its release follows.
    pub(super) fn came_home(&mut self, pair: PairId) {
        self.homing.insert(pair);
    }

    pub(super) fn released(&mut self, pair: PairId) -> bool {
        self.homing.remove(&pair)
    }

    /// Returns whether a number of a promise of the vat is a new one.
    pub(super) fn is_new(&self, id: u64) -> bool {
        id > self.last_theirs && id < u64::MAX
    }

    pub(super) fn named_by_vat(&mut self, id: u64) {
        self.last_theirs = self.last_theirs.max(id);
    }
}

impl ClientSession {
    /// A new object of this client. The vat can call it as soon as it was passed; see [`ClientSession::receive_all`].
    pub fn offer(&mut self) -> ClientRef {
        self.callee.last_export += 1;
        self.callee.exports.insert(self.callee.last_export, 0);
        ClientRef::Own(self.callee.last_export)
    }

    /// A new promise that this client settles. The next message has to pass it.
    pub fn pledge(&mut self) -> Owed {
        let id = self.next_result;
        self.next_result += 1;
        self.callee.debts.insert(PairId { by: Party::Us, id }, Debt::Unsaid);
        Owed::Promise(id)
    }

    /// Settles a promise or answers a call. `value` indexes `slots`.
    ///
    /// # Errors
    /// It is settled already, the value can't be sent, or too many messages are under way.
    pub fn settle_owed(
        &mut self,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), ClientError> {
        let pair = owed.pair();
        match self.callee.debts.get(&pair) {
            Some(Debt::Open) => {}
            Some(Debt::Unsaid) => {
                // Nobody has heard of it.
                self.callee.debts.remove(&pair);
                return Ok(());
            }
            _ => return Err(ClientError::NotOpen(ClientRef::Owed(owed))),
        }
        self.check_room()?;
        if slots.iter().any(|slot| matches!(slot, ClientRef::Lent(_))) {
            return Err(ClientError::LentOrder);
        }
        self.check_slots(slots)?;
        let wire_slots = slots.iter().map(|slot| self.outbound_slot(*slot)).collect::<Result<Vec<_>, _>>()?;
        let data = CapData::new(value, wire_slots);
        wire::check_data(&data).map_err(ClientError::Message)?;
        let named = bare_slot(&data).filter(|_| fulfilled).and_then(|place| data.slots.get(place).copied());
        let home = WireRef { id: 0, ..WireRef::object(Side::Receiver, 0) };
        let comes_home = matches!(named, Some(WireSlot::Known(known)) if WireRef { id: 0, ..known } == home);
        let resolution = if fulfilled { WireResolution::Fulfilled(data) } else { WireResolution::Rejected(data) };
        let number = self.push(&Op::Settle { promise: pair.outbound(), resolution })?;
        self.passed(slots);
        self.callee.debts.insert(pair, Debt::Settled { number, comes_home });
        Ok(())
    }

    /// Says that all that was sent to a promise has been passed on to the object of the vat that it was settled to: once after
    /// [`Heard::Quiet`] of it. Nothing else is waited for before the vat hears how the promise came out.
    ///
    /// # Errors
    /// Too many messages are under way.
    pub fn release(&mut self, owed: Owed) -> Result<(), ClientError> {
        let pair = owed.pair();
        if self.callee.debts.get(&pair) != Some(&Debt::Unreleased) {
            return Err(ClientError::NotOpen(ClientRef::Owed(owed)));
        }
        self.check_room()?;
        self.push(&Op::Release { promise: pair.outbound() })?;
        self.callee.debts.remove(&pair);
        Ok(())
    }

    /// Has the vat know that this client holds an object of it no more. The object must not be named again, unless it comes again.
    ///
    /// # Errors
    /// Too many messages are under way.
    pub fn drop_object(&mut self, object: u64) -> Result<(), ClientError> {
        let Some(count) = self.callee.received.get(&object).copied() else { return Ok(()) };
        self.check_room()?;
        self.push(&Op::Drop(vec![(object, count)]))?;
        self.callee.received.remove(&object);
        Ok(())
    }

    /// Returns how many own objects the vat holds, and how many promises are to be settled.
    pub fn owed_count(&self) -> (usize, usize) {
        (self.callee.exports.len(), self.callee.debts.len())
    }

    /// Returns whether references can be passed now.
    pub(super) fn check_slots(&self, slots: &[ClientRef]) -> Result<(), ClientError> {
        let mut last_said = self.callee.last_said;
        for slot in slots {
            match slot {
                ClientRef::Own(id) if !self.callee.exports(*id) => return Err(ClientError::NotOpen(*slot)),
                ClientRef::Owed(owed) => match (owed, self.callee.debts.get(&owed.pair())) {
                    (_, Some(Debt::Open)) => {}
                    (Owed::Promise(id), Some(Debt::Unsaid)) if *id >= last_said => last_said = *id,
                    (_, Some(Debt::Unsaid)) => return Err(ClientError::PledgeOrder),
                    _ => return Err(ClientError::NotOpen(*slot)),
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// These were passed in a message.
    pub(super) fn passed(&mut self, slots: &[ClientRef]) {
        for slot in slots {
            match slot {
                ClientRef::Own(id) => {
                    if let Some(sent) = self.callee.exports.get_mut(id) {
                        *sent += 1;
                    }
                }
                ClientRef::Owed(owed) => {
                    if let Some(debt) = self.callee.debts.get_mut(&owed.pair())
                        && *debt == Debt::Unsaid
                    {
                        *debt = Debt::Open;
                        self.callee.last_said = self.callee.last_said.max(owed.pair().id);
                    }
                }
                _ => {}
            }
        }
    }

    /// A promise of this number, which others settle, was named.
    pub(super) fn said_result(&mut self, id: u64) {
        self.callee.last_said = self.callee.last_said.max(id);
    }

    /// The vat calls something of this client.
    pub(super) fn called(
        &mut self,
        target: WireRef,
        method: Method,
        args: &CapData<WireSlot>,
        result: Option<u64>,
    ) -> Result<Heard, ClientError> {
        if self.callee.debts.len() >= 2 * MAX_PROMISES {
            return broken("more calls than a vat may have open with another");
        }
        let slots = args.slots.iter().map(|slot| self.import(*slot)).collect::<Result<_, _>>()?;
        let result = match result {
            None => None,
            Some(id) if self.callee.is_new(id) => {
                self.callee.named_by_vat(id);
                self.callee.debts.insert(PairId { by: Party::Them, id }, Debt::Open);
                Some(Owed::Answer(id))
            }
            Some(id) => return broken(&format!("it names promise {id}, which was used before, for an answer")),
        };
        let target = match (target.kind, target.allocator) {
            (RefKind::Object, Side::Receiver) if self.callee.exports(target.id) => ClientRef::Own(target.id),
            (RefKind::Promise, allocator) => match self.callee.owed(PairId::inbound(allocator, target.id)) {
                Some(owed) => ClientRef::Owed(owed),
                None => return broken("it calls a promise that this client does not settle"),
            },
            _ => return broken("it calls an object that this client has not given it"),
        };
        let Ok(Value::Array(args)) = args.value() else { return broken("arguments that are no array") };
        Ok(Heard::Called(InboundCall { target, method, args, slots, result }))
    }

    /// The vat drops own objects.
    pub(super) fn dropped(&mut self, dropped: &[(u64, u64)]) -> Result<Vec<Heard>, ClientError> {
        let mut gone = Vec::new();
        for (id, count) in dropped {
            let Some(sent) = self.callee.exports.get_mut(id).filter(|sent| (1..=**sent).contains(count)) else {
                return broken(&format!("it drops object {id} {count} times, which it did not get so often"));
            };
            *sent -= count;
            if *sent == 0 {
                self.callee.exports.remove(id);
                gone.push(Heard::Dropped(*id));
            }
        }
        Ok(gone)
    }

    /// The vat has all messages up to `through`, and so knows how these promises came out.
    pub(super) fn retire(&mut self, through: u64) -> Vec<Heard> {
        let mut quiet = Vec::new();
        self.callee.debts.retain(|pair, debt| match debt {
            Debt::Settled { number, comes_home } if *number <= through => {
                quiet.push(Heard::Quiet(Owed::of(*pair)));
                let released_later = *comes_home;
                *debt = Debt::Unreleased;
                released_later
            }
            _ => true,
        });
        quiet
    }

    /// Returns whether so many objects may come.
    pub(super) fn check_objects(&self) -> Result<(), ClientError> {
        if self.callee.received.len() >= 2 * MAX_OBJECTS {
            return broken("more objects than a vat may give to another");
        }
        Ok(())
    }
}

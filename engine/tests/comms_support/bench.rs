//! One machine against peers made by hand.

use super::*;
use quorate_engine::abi::{CapData, Delivery, Method, Resolution, Slot, Value};
use quorate_engine::machine::{Command, CommandResult, CrankOutcome, Deliver, Machine};
use quorate_engine::wire::{Op, Side, WireRef, WireResolution, WireSlot};
use std::sync::{Arc, Mutex};

pub const ME: u8 = 1;
pub const PEER: u8 = 2;
pub const OTHER: u8 = 3;

pub const ROOT: WireRef = WireRef::object(Side::Receiver, 0);

/// A machine and the peers' sides of its streams.
pub struct Bench {
    pub machine: Machine<Scripted>,
    seen: Arc<Mutex<Vec<Delivery>>>,
    retired: Arc<Mutex<Vec<Slot>>>,
    sent: [u64; 5],
}

impl Bench {
    pub fn new(script: impl FnMut(&Delivery) -> CrankOutcome + Send + 'static) -> Bench {
        Bench::over(Scripted::new(script))
    }

    pub fn over(guest: Scripted) -> Bench {
        let (seen, retired) = (guest.seen(), guest.retired());
        Bench { machine: Machine::new(vat(ME), guest), seen, retired, sent: [0; 5] }
    }

    /// Installed, with references to both peers, which may use the root.
    pub fn installed(script: impl FnMut(&Delivery) -> CrankOutcome + Send + 'static) -> Bench {
        Bench::new(script).install()
    }

    /// The same of one that is there.
    pub fn install(mut self) -> Bench {
        let bench = &mut self;
        let argv = vec![("peer", root_of(vat(PEER))), ("other", root_of(vat(OTHER)))];
        let result = bench.apply(install(argv, vec![vat(PEER), vat(OTHER)]));
        assert_eq!(result, CommandResult::Installed);
        self
    }

    pub fn apply(&mut self, command: Command) -> CommandResult {
        self.machine.apply(command).unwrap()
    }

    pub fn say(&mut self, from: u8, op: &Op) -> CommandResult {
        self.say_and_ack(from, std::slice::from_ref(op), 0)
    }

    pub fn say_and_ack(&mut self, from: u8, ops: &[Op], ack: u64) -> CommandResult {
        let begin = self.sent[from as usize] + 1;
        self.sent[from as usize] += ops.len() as u64;
        let end = self.sent[from as usize];
        let messages = ops.iter().map(Op::encode).collect();
        self.apply(Command::Deliver(Deliver { from: vat(from), begin, messages, end, ack }))
    }

    /// Everything that is unacknowledged to a peer.
    pub fn outbox(&self, peer: u8) -> Vec<Op> {
        let outbox = self.machine.outbox();
        let stream = outbox.into_iter().find(|stream| stream.head.peer == vat(peer));
        let messages = stream.map(|stream| stream.messages).unwrap_or_default();
        messages.iter().map(|(_, message)| Op::decode(message).unwrap()).collect()
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().clone()
    }

    pub fn retired(&self) -> Vec<Slot> {
        self.retired.lock().unwrap().clone()
    }

    pub fn broken(&self, peer: u8) -> Option<String> {
        self.machine.summary().peers.into_iter().find(|summary| summary.vat == vat(peer))?.broken
    }
}

pub fn quiet(_: &Delivery) -> CrankOutcome {
    done(vec![])
}

pub fn call(target: WireRef, method: &str, slots: Vec<WireRef>, result: Option<u64>) -> Op {
    call_with(target, method, slots.into_iter().map(WireSlot::from).collect(), result)
}

pub fn call_with(target: WireRef, method: &str, slots: Vec<WireSlot>, result: Option<u64>) -> Op {
    let items = (0..slots.len() as u32).map(Value::Slot).collect();
    let args = CapData::new(&Value::Array(items), slots);
    Op::Send { target, method: Method::Call(method.into()), args, result }
}

/// A settlement to one capability and nothing else.
pub fn settle_to(promise: WireRef, slot: impl Into<WireSlot>) -> Op {
    let data = CapData::new(&Value::Slot(0), vec![slot.into()]);
    Op::Settle { promise, resolution: WireResolution::Fulfilled(data) }
}

pub fn settle(promise: WireRef, slots: Vec<WireRef>) -> Op {
    let slots: Vec<WireSlot> = slots.into_iter().map(WireSlot::from).collect();
    let items = (0..slots.len() as u32).map(Value::Slot).collect();
    Op::Settle { promise, resolution: WireResolution::Fulfilled(CapData::new(&Value::Array(items), slots)) }
}

pub fn rejected(op: &Op) -> (WireRef, String) {
    match op {
        Op::Settle { promise, resolution: WireResolution::Rejected(data) } => match data.value().unwrap() {
            Value::Error { name, message } if name == "VatError" => (*promise, message),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

pub fn told(delivery: &Delivery) -> Vec<(Slot, String)> {
    let Delivery::Settle(settlements) = delivery else { panic!("{delivery:?}") };
    let message = |resolution: &Resolution| match resolution {
        Resolution::Rejected(data) => match data.value().unwrap() {
            Value::Error { message, .. } => message,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    settlements.iter().map(|(slot, resolution)| (*slot, message(resolution))).collect()
}

pub const MINE: Side = Side::Sender;
pub const YOURS: Side = Side::Receiver;

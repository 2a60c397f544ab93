//! What one peer makes a vat of the real image keep leaves room for all others: by messages as a hostile vat sends them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{install, vat as name};
use quorate_engine::Hash;
use quorate_engine::abi::{CapData, Method, Value};
use quorate_engine::heap::{Heap, with_engine_stack};
use quorate_engine::machine::{Command, CommandResult, Deliver, FuelShares, Machine};
use quorate_engine::wire::{Op, Side, WireRef, WireResolution, WireSlot};
use std::collections::BTreeMap;
use vat::{LIMITS, image};

const HOSTILE: u8 = 2;
const HONEST: u8 = 3;
const ROOT: WireRef = WireRef::object(Side::Receiver, 0);

/// Answers some calls later, or never, as any notifier does.
const NOTIFIER: &str = "
    import { Far } from '@endo/far';
    export default () => {
        const waiting = [];
        const seen = [];
        return Far('root', {
            next() { return new Promise(resolve => { waiting.push(resolve); }); },
            keep(list) { seen.push(list); },
            ping() { return 'pong'; },
            get() { return Far('thing', { ping() { return 'pong'; } }); },
            page() { return 'x'.repeat(1000); },
            spin() { for (;;); },
        });
    };
";

struct Victim {
    machine: Machine<Heap>,
    said: [u64; 4],
    pages: BTreeMap<Hash, Vec<u8>>,
}

impl Victim {
    fn new() -> Victim {
        let mut machine = Machine::new(name(1), Heap::new(image(), LIMITS).unwrap());
        let Command::Install(mut command) = install(vec![], vec![name(HOSTILE), name(HONEST)]) else { unreachable!() };
        command.bundle.modules.insert("main.js".to_owned(), NOTIFIER.to_owned());
        assert_eq!(machine.apply(Command::Install(command)).unwrap(), CommandResult::Installed);
        Victim { machine, said: [0; 4], pages: BTreeMap::new() }
    }

    fn say(
        &mut self,
        from: u8,
        method: &str,
        value: Value,
        slots: Vec<WireSlot>,
        result: Option<u64>,
    ) -> CommandResult {
        let args = CapData::new(&Value::Array(vec![value]), slots);
        let op = Op::Send { target: ROOT, method: Method::Call(method.to_owned()), args, result };
        // It acknowledges what it was told before.
        let ack = self.machine.comms().peer(&name(from)).unwrap().outgoing().end();
        self.say_op(from, &op, ack)
    }

    /// A call of a peer that has not heard of what it was told.
    fn say_deaf(&mut self, from: u8, target: WireRef, method: &str, result: u64) {
        let args = CapData::new(&Value::Array(vec![]), vec![]);
        let op = Op::Send { target, method: Method::Call(method.to_owned()), args, result: Some(result) };
        assert!(matches!(self.say_op(from, &op, 0), CommandResult::Delivered { .. }));
    }

    fn say_op(&mut self, from: u8, op: &Op, ack: u64) -> CommandResult {
        self.said[from as usize] += 1;
        let number = self.said[from as usize];
        let deliver = Deliver { from: name(from), begin: number, messages: vec![op.encode()], end: number, ack };
        let result = self.machine.apply(Command::Deliver(deliver)).unwrap();
        self.machine.end_block(false);
        result
    }

    /// An ordinary caller is answered a hundred times, also by a vat that is restored from a checkpoint.
    fn serves_others(self) {
        self.serves_others_from(1);
    }

    fn serves_others_from(mut self, first: u64) {
        for round in 0..2 {
            for call in 0..100 {
                let id = round * 100 + call + first;
                self.say(HONEST, "ping", Value::Null, vec![], Some(id));
                assert_eq!(self.answer(), Ok(Value::String("pong".to_owned())), "call {id}");
            }
            let summary = self.machine.summary();
            assert!(summary.heap_bytes < LIMITS.memory_bytes * 3 / 4, "{} bytes of heap", summary.heap_bytes);
            assert_eq!(summary.rolled_back, 0);
            let checkpoint = self.machine.checkpoint().unwrap();
            self.pages.extend(checkpoint.new_chunks);
            let pages = &self.pages;
            let mut fetch = |hash: &Hash| Ok(pages[hash].clone());
            self.machine = Machine::restore(name(1), image(), LIMITS, &checkpoint.manifest, &mut fetch).unwrap();
        }
    }

    /// What the honest caller was told last.
    fn answer(&self) -> Result<Value, Value> {
        self.answer_to(HONEST)
    }

    fn answer_to(&self, peer: u8) -> Result<Value, Value> {
        let peer = self.machine.comms().peer(&name(peer)).unwrap();
        let (_, message) = peer.outgoing().messages().last().unwrap();
        match Op::decode(message).unwrap() {
            Op::Settle { resolution: WireResolution::Fulfilled(data), .. } => Ok(data.value().unwrap()),
            Op::Settle { resolution: WireResolution::Rejected(data), .. } => Err(data.value().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn fresh(promises: bool, first: u64) -> (Value, Vec<WireSlot>) {
    let slot = |id| if promises { WireRef::promise(Side::Sender, id) } else { WireRef::object(Side::Sender, id) };
    let slots = (first..first + 1_000).map(|id| slot(id).into()).collect();
    (Value::Array((0..1_000).map(Value::Slot).collect()), slots)
}

#[test]
fn answers_that_never_come() {
    with_engine_stack(|| {
        let mut victim = Victim::new();
        for id in 1..=60_000 {
            victim.say(HOSTILE, "next", Value::Null, vec![], Some(id));
        }
        victim.serves_others();
    });
}

#[test]
fn promises_that_never_settle() {
    with_engine_stack(|| {
        for method in ["nothing", "keep"] {
            let mut victim = Victim::new();
            for round in 0..100 {
                let (list, slots) = fresh(true, 1 + 1_000 * round);
                victim.say(HOSTILE, method, list, slots, None);
            }
            victim.serves_others();
        }
    });
}

/// A peer that is cut off has sent to an answer of which it has not heard yet. Whatever others leave unacknowledged meanwhile, its call is
/// done when it arrives.
#[test]
fn answers_that_are_not_acknowledged_push_out_nobody_elses() {
    with_engine_stack(|| {
        let mut victim = Victim::new();
        victim.say_deaf(HONEST, ROOT, "get", 1);
        for id in 1..=12_000 {
            victim.say_deaf(HOSTILE, ROOT, "page", id);
        }
        let memory = victim.machine.summary().heap_bytes;
        assert!(memory < LIMITS.memory_bytes * 3 / 4, "{memory} bytes of heap");
        victim.say_deaf(HONEST, WireRef::promise(Side::Sender, 1), "ping", 2);
        assert_eq!(victim.answer(), Ok(Value::String("pong".to_owned())));
        // What was too much is gone for the one whose it was, the oldest first.
        victim.say_deaf(HOSTILE, WireRef::promise(Side::Sender, 1), "ping", 12_001);
        let Err(Value::Error { message, .. }) = victim.answer_to(HOSTILE) else { panic!("it was answered") };
        assert!(message.contains("settled long ago"), "{message}");
        victim.serves_others_from(3);
    });
}

#[test]
fn fresh_references_without_end() {
    with_engine_stack(|| {
        for method in ["nothing", "keep"] {
            let mut victim = Victim::new();
            for round in 0..400 {
                let (list, slots) = fresh(false, 1 + 1_000 * round);
                victim.say(HOSTILE, method, list, slots, None);
            }
            victim.serves_others();
        }
    });
}

#[test]
fn messages_that_would_build_very_much() {
    with_engine_stack(|| {
        let mut victim = Victim::new();
        let before = victim.machine.summary().heap_bytes;
        let bomb = Value::Array(vec![Value::Array(vec![]); 250_000]);
        let result = victim.say(HOSTILE, "nothing", bomb, vec![], None);
        assert!(matches!(result, CommandResult::Refused { .. }), "{result:?}");
        assert_eq!(victim.machine.summary().heap_bytes, before);
        victim.serves_others();
    });
}

/// A sender of endless loops beside one that waits for each answer: while that one has work, the loops wait.
#[test]
fn endless_loops_wait_while_others_have_work() {
    with_engine_stack(|| {
        let mut victim = Victim::new();
        victim.machine = victim.machine.with_fuel(FuelShares::DEFAULT);
        let spin = |_| {
            let args = CapData::data(&Value::Array(vec![]));
            Op::Send { target: ROOT, method: Method::Call("spin".to_owned()), args, result: None }.encode()
        };
        let messages: Vec<Vec<u8>> = (0..40).map(spin).collect();
        for turn in 1..=30 {
            let deliver = Deliver { from: name(HOSTILE), begin: 1, messages: messages.clone(), end: 40, ack: 0 };
            let result = victim.machine.apply(Command::Deliver(deliver)).unwrap();
            assert!(matches!(result, CommandResult::Delivered { .. } | CommandResult::Later { .. }), "{result:?}");
            victim.machine.end_block(false);
            victim.say(HONEST, "ping", Value::Null, vec![], Some(turn));
            assert_eq!(victim.answer(), Ok(Value::String("pong".to_owned())), "turn {turn}");
        }
        let spun = victim.machine.summary().rolled_back;
        assert!((1..=2).contains(&spun), "{spun} endless loops beside 30 pings");
    });
}

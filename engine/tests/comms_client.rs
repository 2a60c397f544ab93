//! A client that gives the vat things to call and promises to wait for, and lets go of what it was given.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::*;
use quorate_engine::abi::{CapData, Delivery, Method, Output, Slot, Value};
use quorate_engine::comms::client::{ClientError, ClientRef, ClientSession, Heard, InboundCall, Owed};
use quorate_engine::machine::{Command, CommandResult, Deliver, Machine};
use quorate_engine::wire::{Op, Side, WireRef};
use std::sync::{Arc, Mutex};

const HOME: u8 = 1;
const CLIENT: u8 = 2;

/// What the vat's guest was told, and what it is to say next.
type Told = Arc<Mutex<Vec<Delivery>>>;
type Says = Arc<Mutex<Vec<Output>>>;

struct Pair {
    machine: Machine<Scripted>,
    client: ClientSession,
    told: Told,
    says: Says,
}

impl Pair {
    /// A vat that says with each delivery what it was given to say, and its client.
    fn new() -> Pair {
        let says: Says = Arc::default();
        let next = Arc::clone(&says);
        let guest = Scripted::new(move |_| done(std::mem::take(&mut *next.lock().unwrap())));
        let told = guest.seen();
        let mut machine = Machine::new(vat(HOME), guest);
        machine.apply(install(vec![], vec![vat(CLIENT)])).unwrap();
        machine.end_block(false);
        Pair { machine, client: ClientSession::new(vat(CLIENT), vat(HOME)), told, says }
    }

    /// Says something at the vat's next delivery.
    fn next(&self, outputs: Vec<Output>) {
        *self.says.lock().unwrap() = outputs;
    }

    /// Carries all that is said both ways, until nothing is. Returns what the client heard.
    fn exchange(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let before = (self.client.head(), self.heads());
            let messages: Vec<_> = self.client.unacked().map(|(number, message)| (number, message.to_vec())).collect();
            let head = self.client.head();
            let begin = messages.first().map_or(head.end + 1, |(number, _)| *number);
            let messages = messages.into_iter().map(|(_, message)| message).collect();
            let deliver = Deliver { from: vat(CLIENT), begin, messages, end: head.end, ack: head.ack };
            let result = self.machine.apply(Command::Deliver(deliver)).unwrap();
            assert!(matches!(result, CommandResult::Delivered { .. } | CommandResult::NotReady), "{result:?}");
            self.machine.end_block(false);
            for stream in self.machine.outbox().into_iter().filter(|stream| stream.head.peer == vat(CLIENT)) {
                let begin = stream.messages.first().map_or(stream.head.end + 1, |(number, _)| *number);
                let messages = stream.messages.iter().map(|(_, message)| message.to_vec()).collect();
                let deliver = Deliver { from: vat(HOME), begin, messages, end: stream.head.end, ack: stream.head.ack };
                heard.extend(self.client.receive_all(&deliver).unwrap());
            }
            if (self.client.head(), self.heads()) == before {
                return heard;
            }
        }
    }

    fn heads(&self) -> Vec<u64> {
        self.machine.outbox().iter().map(|stream| stream.head.end.max(stream.head.ack << 32)).collect()
    }

    fn call(&mut self, method: &str, slots: &[ClientRef]) -> u64 {
        let args = Value::Array((0..slots.len()).map(|place| Value::Slot(place as u32)).collect());
        self.client.call(ClientRef::Object(0), Method::Call(method.to_owned()), &args, slots).unwrap()
    }

    fn last_told(&self) -> Delivery {
        self.told.lock().unwrap().last().cloned().unwrap()
    }
}

fn called_of(heard: &[Heard]) -> Vec<&InboundCall> {
    heard.iter().filter_map(|heard| if let Heard::Called(call) = heard { Some(call) } else { None }).collect()
}

/// A vat that was given a callback, as its guest names it.
fn with_callback() -> (Pair, Slot) {
    let mut pair = Pair::new();
    let own = pair.client.offer();
    pair.call("subscribe", &[own]);
    pair.exchange();
    let Delivery::Call { args, .. } = pair.last_told() else { panic!("no call") };
    (pair, args.slots[0])
}

#[test]
fn what_a_client_offers_is_called_and_its_answer_comes_back() {
    let (mut pair, callback) = with_callback();
    assert!(matches!(callback, Slot::HostObject(_)));
    pair.next(vec![send(callback, "ring", array(vec![text("now")], vec![]), Some(1))]);
    pair.call("ring", &[]);
    let heard = pair.exchange();
    let [call] = called_of(&heard)[..] else { panic!("{heard:?}") };
    assert_eq!((call.target, &call.method), (ClientRef::Own(1), &Method::Call("ring".to_owned())));
    assert_eq!((&call.args[..], call.result), (&[text("now")][..], Some(Owed::Answer(1))));
    pair.client.settle_owed(Owed::Answer(1), true, &text("heard"), &[]).unwrap();
    let heard = pair.exchange();
    assert_eq!(heard, [Heard::Quiet(Owed::Answer(1))]);
    let Delivery::Settle(settled) = pair.last_told() else { panic!("{:?}", pair.last_told()) };
    assert_eq!(settled[0].0, Slot::VatPromise(1));
    // Once, and only once.
    let again = pair.client.settle_owed(Owed::Answer(1), true, &text("twice"), &[]);
    assert_eq!(again, Err(ClientError::NotOpen(ClientRef::Owed(Owed::Answer(1)))));
}

#[test]
fn calls_of_an_answer_that_is_owed_come_to_whoever_owes_it_and_what_came_home_is_released_behind_them() {
    let (mut pair, callback) = with_callback();
    pair.next(vec![
        send(callback, "friend", array(vec![], vec![]), Some(1)),
        send(Slot::VatPromise(1), "greet", array(vec![], vec![]), Some(2)),
    ]);
    pair.call("ask", &[]);
    let heard = pair.exchange();
    let [_, greet] = called_of(&heard)[..] else { panic!("{heard:?}") };
    assert_eq!((greet.target, greet.result), (ClientRef::Owed(Owed::Answer(1)), Some(Owed::Answer(2))));
    // The friend is the vat's own root.
    pair.client.settle_owed(Owed::Answer(1), true, &Value::Slot(0), &[ClientRef::Object(0)]).unwrap();
    let heard = pair.exchange();
    assert_eq!(heard, [Heard::Quiet(Owed::Answer(1))]);
    let held = pair.told.lock().unwrap().clone();
    let holds = |delivery: &Delivery| matches!(delivery, Delivery::Hold(Slot::VatPromise(1)));
    assert!(holds(held.last().unwrap()), "{held:?}");
    // What was sent to it is passed on, and then it is released.
    pair.call("greet", &[]);
    pair.client.release(Owed::Answer(1)).unwrap();
    assert_eq!(pair.client.release(Owed::Answer(1)), Err(ClientError::NotOpen(ClientRef::Owed(Owed::Answer(1)))));
    pair.exchange();
    let told = pair.told.lock().unwrap().clone();
    let [.., greeted, settled] = &told[..] else { panic!("{told:?}") };
    assert!(called(greeted).is_some_and(|(name, ..)| name == "greet"), "{greeted:?}");
    let Delivery::Settle(settled) = settled else { panic!("{settled:?}") };
    assert_eq!(settled[0].0, Slot::VatPromise(1));
}

#[test]
fn a_promise_of_a_client_is_called_and_settles() {
    let mut pair = Pair::new();
    let owed = pair.client.pledge();
    pair.call("wait", &[ClientRef::Owed(owed)]);
    pair.exchange();
    let Delivery::Call { args, .. } = pair.last_told() else { panic!("no call") };
    let promise = args.slots[0];
    pair.next(vec![send(promise, "early", array(vec![], vec![]), None)]);
    pair.call("go", &[]);
    let heard = pair.exchange();
    let [early] = called_of(&heard)[..] else { panic!("{heard:?}") };
    assert_eq!((early.target, early.result), (ClientRef::Owed(owed), None));
    pair.client.settle_owed(owed, false, &Value::error("Error", "no"), &[]).unwrap();
    assert_eq!(pair.exchange(), [Heard::Quiet(owed)]);
    let Delivery::Settle(settled) = pair.last_told() else { panic!("{:?}", pair.last_told()) };
    assert_eq!(settled[0].0, promise);
    // Numbers of promises only grow: one that was left out can't be passed later.
    let late = pair.client.pledge();
    pair.call("other", &[]);
    let args = Value::Array(vec![Value::Slot(0)]);
    let refused = pair.client.call(ClientRef::Object(0), Method::Apply, &args, &[ClientRef::Owed(late)]);
    assert_eq!(refused, Err(ClientError::PledgeOrder));
    pair.client.settle_owed(late, true, &Value::Null, &[]).unwrap();
    assert_eq!(pair.client.owed_count(), (0, 0));
}

#[test]
fn what_nobody_holds_any_more_is_forgotten_on_both_sides() {
    let (mut pair, callback) = with_callback();
    assert_eq!(pair.client.owed_count().0, 1);
    pair.machine.apply(Command::Tick { now_ms: 1 }).unwrap();
    // The vat's object 5 comes twice, and the client drops both.
    let Delivery::Call { result: Some(_), .. } = pair.last_told() else { panic!("no call") };
    for _ in 0..2 {
        pair.next(vec![send(callback, "take", array(vec![Value::Slot(0)], vec![Slot::VatObject(5)]), None)]);
        pair.call("give", &[]);
        let heard = pair.exchange();
        assert_eq!(called_of(&heard)[0].slots, [ClientRef::Object(1)]);
    }
    let kept = |pair: &Pair| pair.machine.summary().peers[0].kept_bytes;
    let before = kept(&pair);
    pair.client.drop_object(1).unwrap();
    pair.exchange();
    assert!(kept(&pair) < before, "{} of {before}", kept(&pair));
    // Nothing is said twice, and of the root nothing at all.
    let said = pair.client.head().end;
    pair.client.drop_object(1).unwrap();
    pair.client.drop_object(0).unwrap();
    assert_eq!(pair.client.head().end, said);
    let drop = Op::Drop(vec![(1, 1)]);
    let next = pair.client.next_inbound().0;
    let deliver = Deliver { from: vat(HOME), begin: next, messages: vec![drop.encode()], end: next, ack: said };
    assert_eq!(pair.client.receive_all(&deliver), Ok(vec![Heard::Dropped(1)]));
    let args = Value::Array(vec![Value::Slot(0)]);
    let gone = pair.client.call(ClientRef::Object(0), Method::Apply, &args, &[ClientRef::Own(1)]);
    assert_eq!(gone, Err(ClientError::NotOpen(ClientRef::Own(1))));
}

#[test]
fn a_vat_that_breaks_the_rules_is_not_believed() {
    let args = || CapData::new(&Value::Array(vec![]), vec![]);
    let send = |target, result| Op::Send { target, method: Method::Apply, args: args(), result };
    let object = |id| WireRef::object(Side::Receiver, id);
    let own = WireRef::object(Side::Sender, 0);
    let naming = CapData::new(&Value::Array(vec![Value::Slot(0)]), vec![object(7).into()]);
    let cases: Vec<(&str, Vec<Op>)> = vec![
        ("an object that was never given", vec![send(object(9), None)]),
        ("an object of its own", vec![send(own, None)]),
        ("a promise that it decides", vec![send(WireRef::promise(Side::Sender, 3), None)]),
        ("an answer twice", vec![send(object(1), Some(4)), send(object(1), Some(4))]),
        ("an answer of an earlier number", vec![send(object(1), Some(4)), send(object(1), Some(3))]),
        (
            "naming what was never given",
            vec![Op::Send { target: object(1), method: Method::Apply, args: naming, result: None }],
        ),
        ("more drops than it got", vec![Op::Drop(vec![(1, 2)])]),
        ("no drops", vec![Op::Drop(vec![(1, 0)])]),
        ("an answer that it did not ask for", vec![Op::Abandon { result: 1 }]),
        ("a release of nothing", vec![Op::Release { promise: WireRef::promise(Side::Receiver, 1) }]),
        ("a deposit", vec![Op::Deposit { to: vat(7), number: 1, object: 1 }]),
    ];
    for (what, ops) in cases {
        let (mut pair, _) = with_callback();
        let (next, said) = (pair.client.next_inbound().0, pair.client.head().end);
        let messages: Vec<_> = ops.iter().map(Op::encode).collect();
        let end = next + messages.len() as u64 - 1;
        let heard = pair.client.receive_all(&Deliver { from: vat(HOME), begin: next, messages, end, ack: said });
        assert!(matches!(heard, Err(ClientError::Broken(_))), "{what}: {heard:?}");
    }
}

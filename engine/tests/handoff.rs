//! Objects of third vats, on the real image: identity, order, and promises that are called before anything has settled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{World, install, root_of, vat as name};
use quorate_engine::VatId;
use quorate_engine::abi::{CapData, Method, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession};
use quorate_engine::heap::{Heap, with_engine_stack};
use quorate_engine::machine::{Command, CommandResult, Deliver, Machine};
use quorate_engine::wire::{Op, Side, WireRef, WireResolution, WireSlot};
use vat::{LIMITS, image};

/// One code for all: each vat has an object that notes what it is told, and knows the others by name.
const EVERY: &str = "
    const noted = [];
    const mine = Far('mine', { note(word) { noted.push(word); } });
    export default others => Far('root', {
        give() { return mine; },
        isMine(x) { return x === mine; },
        noted() { return noted.splice(0); },
        ask(name) { return E(others[name]).give(); },
        async askLater(name) { return E(others[name]).give(); },
        async askTwice(name) { await E(others[name]).first(); return E(others[name]).give(); },
        async askAfter(name) { await null; return E(others[name]).give(); },
        // Gives an object of `home` to `to`, and sends to it before and after.
        async introduce(to, home) {
            const object = await E(others[home]).give();
            E.sendOnly(object).note('before');
            const same = E(others[to]).use(object, home);
            E.sendOnly(object).note('after');
            return same;
        },
        async use(object, home) {
            E.sendOnly(object).note('at once');
            const settled = await object;
            E.sendOnly(settled).note('settled');
            return E(others[home]).isMine(settled);
        },
        // Calls what the last of a row of vats has, before any of them has answered.
        async along(first, path) {
            const object = E(others[first]).through(path);
            for (const word of ['1', '2', '3']) E.sendOnly(object).note(word);
            const settled = await object;
            E.sendOnly(settled).note('4');
            return E(others[path[path.length - 1]]).isMine(settled);
        },
        through([next, ...rest]) { return rest.length > 0 ? E(others[next]).through(rest) : E(others[next]).give(); },
        async spoil(to, home) { return E(others[to]).burn(await E(others[home]).give()); },
        burn() { for (;;) {} },
    });
";

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

struct Vats {
    world: World<Heap>,
    client: VatId,
}

impl Vats {
    /// Vats that all hold each other's root, and a client of the first.
    fn new(count: u8, seed: u64) -> Vats {
        let (all, client) = ((1..=count).map(name).collect::<Vec<_>>(), name(99));
        let mut world = World::new(seed);
        for vat in &all {
            world.add(*vat, Heap::new(image(), LIMITS).unwrap());
        }
        for vat in &all {
            let others = all.iter().zip(NAMES).filter(|(other, _)| *other != vat);
            let argv = others.map(|(other, name)| (name, root_of(*other))).collect();
            let grants = all.iter().filter(|other| *other != vat).copied().chain([client]).collect();
            let Command::Install(mut command) = install(argv, grants) else { unreachable!() };
            command.bundle.modules.insert("main.js".to_owned(), EVERY.to_owned());
            assert_eq!(world.apply(*vat, Command::Install(command)), CommandResult::Installed);
        }
        world.clients.insert(client, ClientSession::new(client, name(1)));
        Vats { world, client }
    }

    /// Calls the first vat's root, and gives the answer once nothing is under way any more.
    fn call(&mut self, method: &str, args: Vec<Value>) -> Value {
        let session = self.world.clients.get_mut(&self.client).unwrap();
        session.call(ClientRef::Object(0), Method::Call(method.to_owned()), &Value::Array(args), &[]).unwrap();
        self.world.post(self.client);
        self.world.settle();
        self.world.completions.last().unwrap().value.clone()
    }

    /// What the object of a vat was told.
    fn noted(&mut self, vat: u8) -> Value {
        let client = name(100 + vat);
        self.world.apply(name(vat), Command::Grant { to: client, expires_ms: None });
        let mut session = ClientSession::new(client, name(vat));
        session.call(ClientRef::Object(0), Method::Call("noted".to_owned()), &Value::Array(vec![]), &[]).unwrap();
        self.world.clients.insert(client, session);
        self.world.post(client);
        self.world.settle();
        self.world.completions.last().unwrap().value.clone()
    }
}

fn text(word: &str) -> Value {
    Value::String(word.to_owned())
}

fn words(words: &[&str]) -> Value {
    Value::Array(words.iter().map(|word| text(word)).collect())
}

#[test]
fn an_object_that_is_handed_on_is_the_very_object_at_home() {
    with_engine_stack(|| {
        for seed in 0..4 {
            let mut vats = Vats::new(3, seed);
            assert_eq!(vats.call("introduce", vec![text("b"), text("c")]), Value::Bool(true), "seed {seed}");
            let Value::Array(noted) = vats.noted(3) else { panic!() };
            let place = |word: &str| noted.iter().position(|noted| *noted == text(word)).unwrap();
            assert_eq!(noted.len(), 4, "{noted:?}");
            assert!(place("before") < place("after") && place("before") < place("at once"), "{noted:?}");
            assert!(place("at once") < place("settled"), "{noted:?}");
            vats.world.assert_quiet();
        }
    });
}

#[test]
fn calls_along_a_row_of_vats_arrive_in_order() {
    with_engine_stack(|| {
        for (seed, path) in [["b", "c", "d"], ["b", "c", "d"], ["b", "d", "c"], ["b", "c", "b"]].into_iter().enumerate()
        {
            let mut vats = Vats::new(4, seed as u64);
            let (first, rest) = (path[0], &path[1..]);
            let same = vats.call("along", vec![text(first), words(rest)]);
            assert_eq!(same, Value::Bool(true), "seed {seed}");
            let last = NAMES.iter().position(|name| *name == rest[rest.len() - 1]).unwrap() as u8 + 1;
            assert_eq!(vats.noted(last), words(&["1", "2", "3", "4"]), "seed {seed}");
            vats.world.assert_quiet();
        }
    });
}

#[test]
fn a_gift_in_a_delivery_that_is_undone_leaves_nothing_behind() {
    with_engine_stack(|| {
        let mut vats = Vats::new(3, 7);
        let answer = vats.call("spoil", vec![text("b"), text("c")]);
        assert!(matches!(&answer, Value::Error { message, .. } if message.contains("rolled back")), "{answer:?}");
        vats.world.assert_quiet();
        assert_eq!(vats.call("introduce", vec![text("b"), text("c")]), Value::Bool(true), "and the next one is good");
    });
}

/// A home on the real image, and peers made by hand.
struct Home {
    machine: Machine<Heap>,
    said: [u64; 4],
}

impl Home {
    fn say(&mut self, from: u8, ops: &[Op]) {
        let begin = self.said[from as usize] + 1;
        self.said[from as usize] += ops.len() as u64;
        let (end, messages) = (self.said[from as usize], ops.iter().map(Op::encode).collect());
        let deliver = Deliver { from: name(from), begin, messages, end, ack: 0 };
        assert_eq!(self.machine.apply(Command::Deliver(deliver)).unwrap(), CommandResult::Delivered { next: end + 1 });
    }

    /// The methods that were called on `peer`.
    fn sent(&self, peer: u8) -> Vec<String> {
        let stream = self.machine.outbox().into_iter().find(|stream| stream.head.peer == name(peer));
        let messages = stream.map(|stream| stream.messages).unwrap_or_default();
        let ops = messages.iter().map(|(_, message)| Op::decode(message).unwrap());
        ops.filter_map(|op| if let Op::Send { method: Method::Call(name), .. } = op { Some(name) } else { None })
            .collect()
    }

    /// What was answered to `peer` under this id.
    fn answer(&self, peer: u8, id: u64) -> Option<Value> {
        let stream = self.machine.outbox().into_iter().find(|stream| stream.head.peer == name(peer))?;
        let ops = stream.messages.iter().map(|(_, message)| Op::decode(message).unwrap());
        ops.into_iter().find_map(|op| match op {
            Op::Settle { promise, resolution: WireResolution::Fulfilled(data) } if promise.id == id => {
                data.value().ok()
            }
            _ => None,
        })
    }
}

fn call(target: WireRef, method: &str, args: Vec<Value>, result: u64) -> Op {
    let args = CapData::data(&Value::Array(args));
    Op::Send { target, method: Method::Call(method.to_owned()), args, result: Some(result) }
}

/// The guest keeps calls to a gift that is not deposited yet, also those on what such calls will return, and does them in order.
#[test]
fn calls_wait_at_the_home_until_the_deposit_is_there() {
    with_engine_stack(|| {
        const GIVER: u8 = 2;
        const RECEIVER: u8 = 3;
        let mut machine = Machine::new(name(1), Heap::new(image(), LIMITS).unwrap());
        let Command::Install(mut command) = install(vec![], vec![name(GIVER), name(RECEIVER)]) else { unreachable!() };
        command.bundle.modules.insert("main.js".to_owned(), EVERY.to_owned());
        assert_eq!(machine.apply(Command::Install(command)).unwrap(), CommandResult::Installed);
        let mut home = Home { machine, said: [0; 4] };
        let root = WireRef::object(Side::Receiver, 0);
        let promise = |id| WireRef::promise(Side::Sender, id);
        home.say(GIVER, &[call(root, "give", vec![], 1)]);
        let note = |target, word: &str, result| call(target, "note", vec![text(word)], result);
        home.say(
            RECEIVER,
            &[
                Op::Withdraw { from: name(GIVER), number: 1, result: 1 },
                note(promise(1), "1", 2),
                note(promise(1), "2", 3),
                call(promise(3), "nothing", vec![], 4),
                call(root, "noted", vec![], 5),
            ],
        );
        assert_eq!(home.answer(RECEIVER, 5), Some(words(&[])), "other calls do not wait");
        assert_eq!(home.answer(RECEIVER, 2), None);
        home.say(GIVER, &[Op::Deposit { to: name(RECEIVER), number: 1, object: 1 }]);
        assert_eq!(home.answer(RECEIVER, 2), Some(Value::Undefined));
        let object = WireRef::object(Side::Receiver, 1);
        home.say(RECEIVER, &[note(promise(1), "3", 6), note(object, "4", 7), call(root, "noted", vec![], 8)]);
        assert_eq!(home.answer(RECEIVER, 8), Some(words(&["1", "2", "3", "4"])));
        assert_eq!(home.machine.summary().rolled_back, 0);
    });
}

/// A vat on the real image that knows ASKED by the name `c`, and CALLER, which may call it.
fn asker() -> Home {
    let mut machine = Machine::new(name(1), Heap::new(image(), LIMITS).unwrap());
    let argv = vec![("c", root_of(name(ASKED)))];
    let Command::Install(mut command) = install(argv, vec![name(CALLER), name(ASKED)]) else { unreachable!() };
    command.bundle.modules.insert("main.js".to_owned(), EVERY.to_owned());
    assert_eq!(machine.apply(Command::Install(command)).unwrap(), CommandResult::Installed);
    Home { machine, said: [0; 4] }
}

const CALLER: u8 = 2;
const ASKED: u8 = 3;
const ROOT: WireRef = WireRef::object(Side::Receiver, 0);

fn promise(id: u64) -> WireRef {
    WireRef::promise(Side::Sender, id)
}

/// What is sent to an answer that is still open goes to the vat that will settle it, at once, also if an async function gave it.
#[test]
fn what_is_sent_to_the_result_of_an_async_method_does_not_wait_for_it() {
    with_engine_stack(|| {
        for method in ["ask", "askLater", "askAfter"] {
            let mut home = asker();
            home.say(CALLER, &[call(ROOT, method, vec![text("c")], 1)]);
            home.say(CALLER, &[call(promise(1), "note", vec![text("1")], 2), call(promise(2), "twice", vec![], 3)]);
            assert_eq!(home.sent(ASKED), ["give", "note", "twice"], "{method}");
        }
    });
}

/// A message that came before the method returned waits for it, and none that comes later goes past it.
#[test]
fn what_is_sent_to_the_result_of_an_async_method_stays_in_order() {
    with_engine_stack(|| {
        let mut home = asker();
        home.say(CALLER, &[call(ROOT, "askTwice", vec![text("c")], 1), call(promise(1), "one", vec![], 2)]);
        assert_eq!(home.sent(ASKED), ["first"]);
        let settle = |id, value: &Value, slots: Vec<WireSlot>| Op::Settle {
            promise: WireRef::promise(Side::Receiver, id),
            resolution: WireResolution::Fulfilled(CapData::new(value, slots)),
        };
        home.say(ASKED, &[settle(1, &Value::Undefined, vec![])]);
        home.say(CALLER, &[call(promise(1), "two", vec![], 3)]);
        assert_eq!(home.sent(ASKED), ["first", "give"], "the second waits behind the first");
        home.say(ASKED, &[settle(2, &Value::Slot(0), vec![WireRef::object(Side::Sender, 7).into()])]);
        home.say(CALLER, &[call(promise(1), "three", vec![], 4)]);
        assert_eq!(home.sent(ASKED), ["first", "give", "one", "two", "three"]);
    });
}

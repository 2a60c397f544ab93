//! Machines over scripted guests, and a network between them that delays, repeats and splits, but never lies.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod agent;
pub mod bench;

use quorate_engine::abi::{Bundle, CapData, Delivery, Method, News, Output, Resolution, Slot, Turn, Value};
use quorate_engine::comms::client::{ClientSession, Completion};
use quorate_engine::comms::{Slice, StreamHead};
use quorate_engine::machine::{
    ArgValue, BlockOutput, Command, CommandResult, Crank, CrankOutcome, Deliver, Guest, GuestCheckpoint, GuestManifest,
    Install, LimitKind, Machine,
};
use quorate_engine::{EngineError, Hash, VatId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub const fn vat(name: u8) -> VatId {
    VatId([name; 32])
}

/// A guest that is a function of deliveries; its state root is the hash of all that was delivered to it.
pub struct Scripted {
    script: Box<dyn FnMut(&Delivery) -> CrankOutcome + Send>,
    seen: Arc<Mutex<Vec<Delivery>>>,
    retired: Arc<Mutex<Vec<Slot>>>,
    transcript: Hash,
    memory: u64,
    fuel: fn(&Delivery) -> u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript(pub Hash);

impl GuestManifest for Transcript {
    fn root(&self) -> Hash {
        self.0
    }

    fn chunks(&self) -> Vec<Hash> {
        vec![self.0]
    }
}

impl Scripted {
    pub fn new(script: impl FnMut(&Delivery) -> CrankOutcome + Send + 'static) -> Scripted {
        let (seen, retired) = Default::default();
        Scripted { script: Box::new(script), seen, retired, transcript: Hash([0; 32]), memory: u64::MAX, fuel: |_| 1 }
    }

    /// A vat that may have so much memory.
    pub fn with_memory(self, memory: u64) -> Scripted {
        Scripted { memory, ..self }
    }

    /// A vat whose deliveries burn so much.
    pub fn with_fuel(self, fuel: fn(&Delivery) -> u64) -> Scripted {
        Scripted { fuel, ..self }
    }

    /// Goes on from a checkpoint, with the given script.
    pub fn resumed(manifest: &Transcript, script: impl FnMut(&Delivery) -> CrankOutcome + Send + 'static) -> Scripted {
        Scripted { transcript: manifest.0, ..Scripted::new(script) }
    }

    /// What was delivered, rolled back or not.
    pub fn seen(&self) -> Arc<Mutex<Vec<Delivery>>> {
        self.seen.clone()
    }
}

impl Scripted {
    /// What it was told that it may forget, in deliveries that were done.
    pub fn retired(&self) -> Arc<Mutex<Vec<Slot>>> {
        self.retired.clone()
    }
}

impl Guest for Scripted {
    type Manifest = Transcript;

    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let outcome = (self.script)(delivery);
        let fuel = (self.fuel)(delivery);
        self.seen.lock().unwrap().push(delivery.clone());
        if matches!(outcome, CrankOutcome::Done { .. }) {
            self.retired.lock().unwrap().extend(&news.retired);
            self.transcript = Hash::of_parts(&[&self.transcript.0, &Turn::encode_parts(delivery, news)]);
        }
        Ok(Crank { outcome, fuel, logs: Vec::new() })
    }

    fn checkpoint(&mut self) -> Result<GuestCheckpoint<Transcript>, EngineError> {
        let manifest = Transcript(self.transcript);
        Ok(GuestCheckpoint { new_chunks: vec![(self.transcript, b"transcript".to_vec())], manifest })
    }

    fn set_vat(&mut self, _: &VatId) {}

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn memory_limit(&self) -> u64 {
        self.memory
    }
}

pub fn done(outputs: Vec<Output>) -> CrankOutcome {
    CrankOutcome::Done { outputs }
}

pub fn out_of_fuel() -> CrankOutcome {
    CrankOutcome::RolledBack { limit: LimitKind::Fuel }
}

pub fn array(items: Vec<Value>, slots: Vec<Slot>) -> CapData<Slot> {
    CapData::new(&Value::Array(items), slots)
}

pub fn send(target: Slot, method: &str, args: CapData<Slot>, result: Option<u64>) -> Output {
    Output::Send { target, method: Method::Call(method.to_owned()), args, result: result.map(Slot::VatPromise) }
}

pub fn fulfil(promise: Slot, value: &Value, slots: Vec<Slot>) -> Output {
    Output::Settle { promise, resolution: Resolution::Fulfilled(CapData::new(value, slots)) }
}

pub fn reject(promise: Slot, name: &str) -> Output {
    Output::Settle { promise, resolution: Resolution::Rejected(CapData::data(&Value::error(name, ""))) }
}

pub fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// The name of a called method.
pub fn called(delivery: &Delivery) -> Option<(&str, &Slot, &CapData<Slot>, Option<Slot>)> {
    match delivery {
        Delivery::Call { target, method: Method::Call(name), args, result } => Some((name, target, args, *result)),
        _ => None,
    }
}

pub fn install(argv: Vec<(&str, ArgValue)>, grants: Vec<VatId>) -> Command {
    Command::Install(Install {
        bundle: Bundle { entry: "main.js".to_owned(), modules: BTreeMap::new() },
        argv: argv.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        endowments: Vec::new(),
        grants,
        bearers: Vec::new(),
    })
}

pub fn root_of(vat: VatId) -> ArgValue {
    ArgValue::Reference { vat, object: 0, redeem: None }
}

/// A generator whose whole state is the seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What a courier holds of one stream.
#[derive(Default)]
struct Carried {
    head: Option<StreamHead>,
    pruned: u64,
    messages: VecDeque<Arc<[u8]>>,
}

/// Vats and what is under way between them.
pub struct World<G = Scripted> {
    pub machines: BTreeMap<VatId, Machine<G>>,
    pub clients: BTreeMap<VatId, ClientSession>,
    pub completions: Vec<Completion>,
    carried: BTreeMap<(VatId, VatId), Carried>,
    pub blocks: Vec<(VatId, BlockOutput)>,
    pub dice: Dice,
}

impl<G: Guest> World<G> {
    pub fn new(seed: u64) -> World<G> {
        World {
            machines: BTreeMap::new(),
            clients: BTreeMap::new(),
            completions: Vec::new(),
            carried: BTreeMap::new(),
            blocks: Vec::new(),
            dice: Dice(seed),
        }
    }

    pub fn add(&mut self, name: VatId, guest: G) {
        self.machines.insert(name, Machine::new(name, guest));
    }

    pub fn apply(&mut self, to: VatId, command: Command) -> CommandResult {
        let machine = self.machines.get_mut(&to).unwrap();
        let command = Command::decode(&command.encode()).unwrap();
        let result = machine.apply(command).unwrap();
        self.end_block(to, false);
        result
    }

    pub fn end_block(&mut self, of: VatId, rehead: bool) {
        let output = self.machines.get_mut(&of).unwrap().end_block(rehead);
        for (peer, number, message) in &output.queued {
            let carried = self.carried.entry((of, *peer)).or_default();
            carried.messages.push_back(message.clone());
            assert_eq!(*number, carried.pruned + carried.messages.len() as u64, "queued in order and without gaps");
        }
        for (peer, through) in &output.pruned {
            let carried = self.carried.entry((of, *peer)).or_default();
            while carried.pruned < *through {
                carried.messages.pop_front().unwrap();
                carried.pruned += 1;
            }
        }
        for head in &output.heads {
            self.carried.entry((of, head.peer)).or_default().head = Some(*head);
        }
        self.blocks.push((of, output));
        self.check_outbox(of);
    }

    /// What a courier gathered from the blocks is what the machine tells one that starts.
    fn check_outbox(&self, of: VatId) {
        for stream in self.machines[&of].outbox() {
            let carried = &self.carried[&(of, stream.head.peer)];
            assert_eq!(carried.head, Some(stream.head));
            let messages: Vec<_> = stream.messages.iter().map(|(_, message)| message.clone()).collect();
            assert_eq!(Vec::from(carried.messages.clone()), messages);
        }
    }

    /// Puts what a client has said where couriers find it.
    pub fn post(&mut self, client: VatId) {
        let session = &self.clients[&client];
        let carried = self.carried.entry((client, session.target())).or_default();
        carried.head = Some(session.head());
        let messages: Vec<_> = session.unacked().map(|(number, message)| (number, message.clone())).collect();
        carried.pruned = messages.first().map_or(session.head().end, |(number, _)| number - 1);
        carried.messages = messages.into_iter().map(|(_, message)| message).collect();
    }

    /// Carries some run of one stream, as a confused courier might: from before what is needed, not all, or again.
    fn carry(&mut self, from: VatId, to: VatId, all: bool) {
        // Another vat has deposited something for a client: it has one stream only.
        if self.clients.get(&to).is_some_and(|client| client.target() != from) {
            return;
        }
        let carried = &self.carried[&(from, to)];
        let Some(head) = carried.head else { return };
        let count = carried.messages.len() as u64;
        let skip = if all { 0 } else { self.dice.roll(count + 1) };
        let take = if all { count } else { self.dice.roll(count - skip + 1) };
        let begin = carried.pruned + 1 + skip;
        let run = |from: u64, count: u64| {
            let run = carried.messages.iter().skip(from as usize).take(count as usize);
            run.map(|message| message.to_vec()).collect::<Vec<_>>()
        };
        let messages = run(skip, take);
        let rest = run(skip + take, u64::MAX >> 1);
        let tail: Vec<Hash> =
            rest.iter().map(|message| quorate_engine::comms::stream::message_digest(message)).collect();
        let deliver = Deliver { from, begin, messages: messages.clone(), end: head.end, ack: head.ack };
        let (next, hash) = match self.clients.get(&to) {
            Some(client) => client.next_inbound(),
            None => self.machines[&to].next_inbound(&from),
        };
        if head.end + 1 >= next && begin <= next {
            let slice = Slice { begin, messages: &messages, tail: &tail, head: &head };
            assert_eq!(slice.verify(next - 1, &hash), Ok(()), "an honest slice of {from:?} for {to:?} verifies");
        }
        if let Some(client) = self.clients.get_mut(&to) {
            if deliver.begin <= next || deliver.messages.is_empty() {
                self.completions.extend(client.receive(&deliver).unwrap());
                self.post(to);
            }
            return;
        }
        let mut result = self.apply(to, Command::Deliver(deliver.clone()));
        while let CommandResult::Later { .. } = result {
            // Others are before it: time passes.
            let now_ms = self.machines[&to].now_ms() + 1_000;
            assert_eq!(self.apply(to, Command::Tick { now_ms }), CommandResult::Ticked);
            result = self.apply(to, Command::Deliver(deliver.clone()));
        }
        match result {
            CommandResult::Delivered { .. } | CommandResult::NotReady => {}
            CommandResult::Gap { next: wanted } => assert!(begin > next && wanted == next),
            other => panic!("{from:?} -> {to:?}: {other:?}"),
        }
    }

    /// One random step of the network.
    pub fn step(&mut self) {
        let routes: Vec<_> = self.carried.keys().copied().collect();
        if routes.is_empty() {
            return;
        }
        let (from, to) = routes[self.dice.roll(routes.len() as u64) as usize];
        self.carry(from, to, false);
    }

    /// Carries everything until nothing is said any more; random runs first, so that all orders occur.
    pub fn settle(&mut self) {
        for _ in 0..64 {
            self.step();
        }
        loop {
            let before = self.standing();
            let routes: Vec<_> = self.carried.keys().copied().collect();
            for (from, to) in routes {
                self.carry(from, to, true);
            }
            if self.standing() == before {
                return;
            }
        }
    }

    fn standing(&self) -> Vec<(u64, Option<StreamHead>)> {
        self.carried.values().map(|carried| (carried.pruned, carried.head)).collect()
    }

    /// Nothing is unacknowledged and no promise is left anywhere.
    pub fn assert_quiet(&self) {
        for (name, machine) in &self.machines {
            let summary = machine.summary();
            assert_eq!((summary.promises, summary.pending_refusals), (0, 0), "{name:?} {summary:?}");
            for peer in &summary.peers {
                assert_eq!((peer.unacked, peer.broken.as_ref()), (0, None), "{name:?}");
            }
        }
    }
}

/// Compares bytes with the file, or writes it.
pub fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let lines: Vec<String> = bytes.chunks(40).map(hex::encode).collect();
    let text = lines.join("\n") + "\n";
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, expected, "{name} is encoded in another way than the golden file says");
}

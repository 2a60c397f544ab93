//! A guest that calls, answers, forwards and passes on at random, and that checks what every guest relies on.

use super::{Dice, done, out_of_fuel};
use quorate_engine::abi::{CapData, Delivery, Method, News, Output, Resolution, Slot, Value};
use quorate_engine::machine::{Crank, Guest, GuestCheckpoint, GuestManifest, NOBODY};
use quorate_engine::{EngineError, Hash, VatId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Each call makes about one other: without a bound some worlds would never be quiet.
const MAX_SENDS: u64 = 1_000;
/// As MAX_SENDS, for promises that bring forth promises.
const MAX_PROMISES: u64 = 1_500;

/// What stands for an answer that is an object, in [`Record::settled`].
pub const AN_OBJECT: &str = "an object";

/// What outlives a rollback: seen by the test, not by the agent.
#[derive(Default, Debug)]
pub struct Record {
    /// Tags of the calls that were run, in order.
    pub run: Vec<String>,
    /// Tags of the sends that took effect.
    pub sent: Vec<String>,
    /// Tag of a send → what it was sent to.
    pub targets: BTreeMap<String, Slot>,
    /// Tag of a send → how its result came out.
    pub settled: BTreeMap<String, Result<String, String>>,
    pub rolled_back: Vec<String>,
    /// How many promises came home, and how many are forgotten.
    pub held: usize,
    pub retired: usize,
    /// Tags of sends that no rule refuses: without capabilities, to an object.
    pub sure: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct AgentState {
    name: u8,
    dice: u64,
    next_promise: u64,
    next_object: u64,
    next_tag: u64,
    presences: BTreeSet<Slot>,
    /// Promises that others settle.
    awaited: BTreeSet<Slot>,
    /// Promises that this agent settles, with the tag of the call whose result it is.
    owed: BTreeMap<Slot, String>,
    /// Promises that come home: what is sent to them is kept until they settle.
    held: BTreeSet<Slot>,
    /// Promises that have settled: others may still name them.
    settled: BTreeSet<Slot>,
    /// Promises that nobody may name any more.
    retired: BTreeSet<Slot>,
    /// Result of a send → its tag.
    tags: BTreeMap<Slot, String>,
}

impl GuestManifest for AgentState {
    fn root(&self) -> Hash {
        Hash::of_parts(&[&quorate_engine::abi::encode(self)])
    }

    fn chunks(&self) -> Vec<Hash> {
        Vec::new()
    }
}

pub struct Agent {
    state: AgentState,
    pub record: Arc<Mutex<Record>>,
}

impl Agent {
    pub fn new(name: u8, seed: u64) -> Agent {
        let state = AgentState {
            name,
            dice: seed ^ (u64::from(name) << 32),
            next_promise: 1,
            next_object: 1,
            next_tag: 1,
            presences: BTreeSet::new(),
            awaited: BTreeSet::new(),
            owed: BTreeMap::new(),
            held: BTreeSet::new(),
            settled: BTreeSet::new(),
            retired: BTreeSet::new(),
            tags: BTreeMap::new(),
        };
        Agent { state, record: Arc::default() }
    }

    pub fn resumed(state: AgentState, record: Arc<Mutex<Record>>) -> Agent {
        Agent { state, record }
    }
}

impl Guest for Agent {
    type Manifest = AgentState;

    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let before = self.state.clone();
        let mut crank = Run { state: &mut self.state, outputs: Vec::new(), heard: Vec::new() };
        let kept = crank.deliver(delivery);
        crank.forget(&news.retired);
        let (outputs, heard) = (crank.outputs, crank.heard);
        let mut record = self.record.lock().unwrap();
        let outcome = if kept {
            record.held += usize::from(matches!(delivery, Delivery::Hold(_)));
            record.retired += news.retired.len();
            if let Delivery::Call { args, .. } = delivery {
                record.run.push(tag_of(args));
            }
            for output in &outputs {
                if let Output::Send { args, target, .. } = output {
                    record.sent.push(tag_of(args));
                    record.targets.insert(tag_of(args), *target);
                    if args.slots.is_empty() && matches!(target, Slot::HostObject(_)) {
                        record.sure.push(tag_of(args));
                    }
                }
            }
            for (tag, how) in heard {
                assert!(record.settled.insert(tag, how).is_none(), "settled twice");
            }
            done(outputs)
        } else {
            self.state = before;
            if let Delivery::Call { args, .. } = delivery {
                record.rolled_back.push(tag_of(args));
            }
            out_of_fuel()
        };
        Ok(Crank { outcome, fuel: 1, logs: Vec::new() })
    }

    fn checkpoint(&mut self) -> Result<GuestCheckpoint<AgentState>, EngineError> {
        Ok(GuestCheckpoint { manifest: self.state.clone(), new_chunks: Vec::new() })
    }

    fn set_vat(&mut self, _: &VatId) {}

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn memory_limit(&self) -> u64 {
        u64::MAX
    }
}

/// The first argument of every call.
pub fn tag_of(args: &CapData<Slot>) -> String {
    match args.value() {
        Ok(Value::Array(items)) => match items.first() {
            Some(Value::String(tag)) => tag.clone(),
            other => panic!("a call without a tag: {other:?}"),
        },
        other => panic!("not arguments: {other:?}"),
    }
}

struct Run<'a> {
    state: &'a mut AgentState,
    outputs: Vec<Output>,
    heard: Vec<(String, Result<String, String>)>,
}

impl Run<'_> {
    fn roll(&mut self, sides: u64) -> u64 {
        let mut dice = Dice(self.state.dice);
        let rolled = dice.roll(sides);
        self.state.dice = dice.0;
        rolled
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.roll(from.len() as u64) as usize]) }
    }

    /// Whether the delivery is kept.
    fn deliver(&mut self, delivery: &Delivery) -> bool {
        match delivery {
            Delivery::Start { argv, .. } => self.learn(argv),
            Delivery::Call { target, method, args, result } => {
                self.check_target(*target);
                self.learn(args);
                let tag = tag_of(args);
                if let Some(result) = result {
                    assert!(matches!(result, Slot::HostPromise(_)));
                    let news = self.state.owed.insert(*result, tag.clone()).is_none();
                    assert!(news && !self.state.awaited.contains(result) && !self.state.settled.contains(result));
                }
                match method {
                    Method::Call(name) if name == "finish" => self.finish(),
                    // The driver's pokes are never lost; others are now and then.
                    Method::Call(name) if name == "poke" => self.act(8, true),
                    _ if self.roll(12) == 0 => return false,
                    Method::Apply => self.act(1, true),
                    _ if self.state.awaited.contains(target) => self.send_to(*target),
                    _ => self.act(3, true),
                }
            }
            Delivery::Settle(settlements) => {
                for (slot, resolution) in settlements {
                    self.hear(*slot, resolution);
                }
                self.act(2, false);
            }
            Delivery::Hold(slot) => {
                assert!(self.state.awaited.remove(slot), "{slot:?} is held, but nobody should settle it");
                self.state.held.insert(*slot);
            }
            Delivery::Cancel(_)
            | Delivery::Collect
            | Delivery::MakeRoom
            | Delivery::Wake { .. }
            | Delivery::HandOver
            | Delivery::Upgrade(_) => {}
        }
        true
    }

    fn forget(&mut self, retired: &[Slot]) {
        for slot in retired {
            assert!(
                !self.state.owed.contains_key(slot) && !self.state.awaited.contains(slot),
                "{slot:?} is still open"
            );
            assert!(self.state.retired.insert(*slot), "{slot:?} is retired twice");
            self.state.settled.remove(slot);
        }
    }

    fn check_target(&self, target: Slot) {
        let known = match target {
            Slot::VatObject(id) => id < self.state.next_object,
            Slot::HostObject(_) => false,
            promise => self.knows_promise(promise),
        };
        assert!(known, "a call to {target:?}, of which this guest knows nothing");
    }

    fn knows_promise(&self, slot: Slot) -> bool {
        let state = &*self.state;
        let open = state.awaited.contains(&slot) || state.owed.contains_key(&slot) || state.held.contains(&slot);
        open || state.settled.contains(&slot)
    }

    fn learn(&mut self, data: &CapData<Slot>) {
        for slot in &data.slots {
            assert!(!self.state.retired.contains(slot), "{slot:?} was retired");
            match slot {
                Slot::VatObject(id) => assert!(*id < self.state.next_object, "no such object: {slot:?}"),
                Slot::HostObject(_) => drop(self.state.presences.insert(*slot)),
                Slot::VatPromise(_) => assert!(self.knows_promise(*slot), "no such promise: {slot:?}"),
                Slot::HostPromise(_) if self.knows_promise(*slot) => {}
                Slot::HostPromise(_) => drop(self.state.awaited.insert(*slot)),
            }
        }
    }

    fn hear(&mut self, slot: Slot, resolution: &Resolution) {
        if let (NOBODY, Resolution::Fulfilled(data)) = (slot, resolution) {
            return self.learn(data);
        }
        let open = self.state.awaited.remove(&slot) || self.state.held.remove(&slot);
        assert!(open, "{slot:?} settles, but nobody should settle it (again)");
        self.state.settled.insert(slot);
        let (Resolution::Fulfilled(data) | Resolution::Rejected(data)) = resolution;
        self.learn(data);
        if let Some(tag) = self.state.tags.get(&slot) {
            let how = match (resolution, data.value().unwrap()) {
                (Resolution::Fulfilled(_), Value::Array(items)) => match &items[0] {
                    Value::String(text) => Ok(text.clone()),
                    other => panic!("{other:?}"),
                },
                (Resolution::Fulfilled(_), Value::Slot(0)) => Ok(AN_OBJECT.to_owned()),
                (Resolution::Rejected(_), Value::Error { message, .. }) => Err(message),
                other => panic!("{other:?}"),
            };
            self.heard.push((tag.clone(), how));
        }
    }

    fn act(&mut self, most: u64, calls: bool) {
        for _ in 0..self.roll(most + 1) {
            match self.roll(3) {
                0 | 1 if calls => self.send(),
                _ => self.settle_one(),
            }
        }
    }

    fn send(&mut self) {
        let targets: Vec<Slot> = self.state.presences.iter().chain(&self.state.awaited).copied().collect();
        if let Some(target) = self.pick(&targets) {
            self.send_to(target);
        }
    }

    fn send_to(&mut self, target: Slot) {
        if self.state.next_tag > MAX_SENDS {
            return;
        }
        let tag = format!("{}:{}", self.state.name, self.state.next_tag);
        self.state.next_tag += 1;
        let mut slots = Vec::new();
        for _ in 0..self.roll(3) {
            slots.push(self.any_slot());
        }
        let items = [Value::String(tag.clone())].into_iter().chain((0..slots.len() as u32).map(Value::Slot));
        let args = CapData::new(&Value::Array(items.collect()), slots);
        let result = (self.roll(4) > 0).then(|| self.new_promise());
        if let Some(result) = result {
            self.state.awaited.insert(result);
            self.state.tags.insert(result, tag);
        }
        let method = if self.roll(4) == 0 { Method::Apply } else { Method::Call("work".to_owned()) };
        self.outputs.push(Output::Send { target, method, args, result });
    }

    fn new_promise(&mut self) -> Slot {
        self.state.next_promise += 1;
        Slot::VatPromise(self.state.next_promise - 1)
    }

    /// Something to pass on: an own object, a presence, a promise of either kind.
    fn any_slot(&mut self) -> Slot {
        let choice = self.roll(6);
        let picked = match choice {
            0 => {
                let new = self.roll(2) == 0;
                self.state.next_object += u64::from(new);
                let id = if new { self.state.next_object - 1 } else { self.roll(self.state.next_object) };
                Some(Slot::VatObject(id))
            }
            1 => self.pick(&self.state.presences.iter().copied().collect::<Vec<_>>()),
            2 | 3 => self.pick(&self.state.awaited.iter().copied().collect::<Vec<_>>()),
            4 => self.pick(&self.state.owed.keys().copied().collect::<Vec<_>>()),
            _ => None,
        };
        picked.unwrap_or_else(|| {
            if self.state.next_promise > MAX_PROMISES {
                return Slot::VatObject(0);
            }
            let promise = self.new_promise();
            self.state.owed.insert(promise, "argument".to_owned());
            promise
        })
    }

    fn settle_one(&mut self) {
        let owed: Vec<Slot> = self.state.owed.keys().copied().collect();
        if let Some(promise) = self.pick(&owed) {
            let presences: Vec<Slot> = self.state.presences.iter().copied().collect();
            let slots = match self.roll(4) {
                0 => self.pick(&presences).into_iter().collect(),
                1 => vec![self.any_slot()],
                _ => vec![],
            };
            self.settle(promise, slots);
        }
    }

    fn settle(&mut self, promise: Slot, slots: Vec<Slot>) {
        let tag = self.state.owed.remove(&promise).unwrap();
        self.state.settled.insert(promise);
        let items = [Value::String(format!("answer to {tag}"))].into_iter();
        let items = items.chain((0..slots.len() as u32).map(Value::Slot)).collect();
        // Now and then the object itself: one of the other vat then comes home.
        let bare = matches!(slots[..], [Slot::VatObject(_) | Slot::HostObject(_)]) && self.roll(2) == 0;
        let value = if bare { Value::Slot(0) } else { Value::Array(items) };
        let resolution = Resolution::Fulfilled(CapData::new(&value, slots));
        self.outputs.push(Output::Settle { promise, resolution });
    }

    fn finish(&mut self) {
        for promise in self.state.owed.keys().copied().collect::<Vec<_>>() {
            self.settle(promise, vec![]);
        }
    }
}

//! Random vats over a random network: whatever they say to each other arrives once, in order, and is answered once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::agent::{AN_OBJECT, Agent, Record};
use comms_support::*;
use quorate_engine::abi::{Method, Slot, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession};
use quorate_engine::machine::{CommandResult, Machine};
use quorate_engine::{Hash, VatId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const CLIENT: u8 = 99;

struct Model {
    world: World<Agent>,
    records: BTreeMap<VatId, Arc<Mutex<Record>>>,
    pokes: u64,
}

impl Model {
    fn new(vats: u8, seed: u64) -> Model {
        let mut model = Model { world: World::new(seed), records: BTreeMap::new(), pokes: 0 };
        for name in 1..=vats {
            let agent = Agent::new(name, seed);
            model.records.insert(vat(name), agent.record.clone());
            model.world.add(vat(name), agent);
        }
        for name in 1..=vats {
            let others: Vec<VatId> = (1..=vats).filter(|other| *other != name).map(vat).collect();
            let argv = others.iter().map(|other| (hex_name(other), root_of(*other))).collect::<Vec<_>>();
            let argv = argv.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let grants = others.into_iter().chain([vat(CLIENT + name)]).collect();
            assert_eq!(model.world.apply(vat(name), install(argv, grants)), CommandResult::Installed);
            let session = ClientSession::new(vat(CLIENT + name), vat(name));
            model.world.clients.insert(vat(CLIENT + name), session);
        }
        model
    }

    fn poke(&mut self, name: u8, method: &str) {
        self.pokes += 1;
        let tag = Value::Array(vec![text(&format!("{}:{}", CLIENT + name, self.pokes))]);
        let client = vat(CLIENT + name);
        let session = self.world.clients.get_mut(&client).unwrap();
        session.call(ClientRef::Object(0), Method::Call(method.to_owned()), &tag, &[]).unwrap();
        self.world.post(client);
    }

    /// Replaces a machine by one made from its checkpoint.
    fn restore(&mut self, name: VatId) {
        let machine = self.world.machines.get_mut(&name).unwrap();
        let checkpoint = machine.checkpoint().unwrap();
        assert_eq!(Machine::<Agent>::describe(&checkpoint.manifest).unwrap().root, checkpoint.root);
        let record = self.records[&name].clone();
        let make = |state: &agent::AgentState| Ok(Agent::resumed(state.clone(), record));
        let mut restored = Machine::restore_with(name, &checkpoint.manifest, make).unwrap();
        assert_eq!(restored.checkpoint().unwrap().root, checkpoint.root);
        assert_eq!(restored.summary(), machine.summary());
        *machine = restored;
    }

    fn run(&mut self, vats: u8, rounds: u64) {
        for _ in 0..rounds {
            let name = 1 + self.world.dice.roll(u64::from(vats)) as u8;
            match self.world.dice.roll(8) {
                0 => self.poke(name, "poke"),
                1 if self.world.dice.roll(10) == 0 => self.restore(vat(name)),
                2 if self.world.dice.roll(10) == 0 => self.world.end_block(vat(name), true),
                _ => self.world.step(),
            }
        }
        self.world.settle();
        // Answers may hold new promises: until nobody owes anything.
        for _ in 0..8 {
            (1..=vats).for_each(|name| self.poke(name, "finish"));
            self.world.settle();
        }
    }

    /// What the sender of `tag`, which `ran_by` has run, sent it to. Clients send to the root only.
    fn target_of(&self, ran_by: &VatId, record: &Record, tag: &str) -> Option<Slot> {
        let sender = tag.split_once(':').unwrap().0.parse().unwrap();
        if vat(sender) == *ran_by {
            return record.targets.get(tag).copied();
        }
        self.records.get(&vat(sender))?.lock().unwrap().targets.get(tag).copied()
    }

    fn check(&self) {
        self.world.assert_quiet();
        let mut ran = BTreeSet::new();
        for (name, record) in &self.records {
            let record = record.lock().unwrap();
            // What one vat sent to one reference. Between references there is no order: a gift waits for its deposit.
            let mut last: BTreeMap<(&str, Option<Slot>), u64> = BTreeMap::new();
            for tag in &record.run {
                let (sender, number) = tag.split_once(':').unwrap();
                let target = self.target_of(name, &record, tag);
                let number = number.parse().unwrap();
                let before = last.insert((sender, target), number);
                assert!(before.is_none_or(|before| before < number), "{name:?} ran {tag} after {before:?}");
                assert!(ran.insert(tag.clone()), "{tag} was run twice");
            }
        }
        for record in self.records.values() {
            let record = record.lock().unwrap();
            for tag in &record.sent {
                match record.settled.get(tag) {
                    Some(Ok(answer)) => {
                        assert!(answer == AN_OBJECT || *answer == format!("answer to {tag}"), "{tag}: {answer}");
                        assert!(ran.contains(tag), "{tag} was answered, but never run");
                    }
                    Some(Err(message)) => assert!(is_expected(message), "{tag}: {message}"),
                    None => {}
                }
            }
        }
        let rolled_back: BTreeSet<String> =
            self.records.values().flat_map(|record| record.lock().unwrap().rolled_back.clone()).collect();
        assert!(rolled_back.is_disjoint(&ran));
        for record in self.records.values() {
            for tag in &record.lock().unwrap().sure {
                assert!(ran.contains(tag) || rolled_back.contains(tag), "{tag} was lost");
            }
        }
        let mut answers = 0;
        for completion in &self.world.completions {
            answers += u64::from(matches!(completion.promise, ClientRef::Result(_)));
            match &completion.value {
                Value::Error { message, .. } => assert!(is_expected(message), "{message}"),
                value => assert!(completion.fulfilled, "{value:?}"),
            }
        }
        assert_eq!(answers, self.pokes);
        assert!(self.world.clients.values().all(|client| client.open_count() == 0));
    }

    fn roots(&mut self) -> Vec<Hash> {
        self.world.machines.values_mut().map(|machine| machine.checkpoint().unwrap().root).collect()
    }
}

/// Rejections that the rules allow in this model.
fn is_expected(message: &str) -> bool {
    ["rolled back", "cannot be passed on"].iter().any(|known| message.contains(known))
}

fn hex_name(vat: &VatId) -> String {
    format!("vat{}", vat.0[0])
}

fn play(vats: u8, seed: u64, rounds: u64) -> Model {
    let mut model = Model::new(vats, seed);
    model.run(vats, rounds);
    model
}

#[test]
fn two_vats_hear_each_other_once_and_in_order() {
    for seed in 0..60 {
        play(2, seed, 400).check();
    }
}

#[test]
fn four_vats_hear_each_other_once_and_in_order() {
    for seed in 1000..1100 {
        play(4, seed, 1200).check();
    }
}

#[test]
fn the_same_seed_gives_the_same_roots() {
    let (mut one, mut other) = (play(3, 7, 600), play(3, 7, 600));
    assert_eq!(one.roots(), other.roots());
    assert_ne!(one.roots(), play(3, 8, 600).roots());
}

#[test]
fn the_model_does_what_it_is_for() {
    let model = play(3, 5, 2_000);
    let records: Vec<_> = model.records.values().map(|record| record.lock().unwrap()).collect();
    let count = |count: fn(&Record) -> usize| records.iter().map(|record| count(record)).sum::<usize>();
    assert!(count(|record| record.run.len()) > 500);
    assert!(count(|record| record.rolled_back.len()) > 20);
    assert!(count(|record| record.held) > 5);
    assert!(count(|record| record.retired) > 500);
    assert!(count(|record| record.settled.values().filter(|how| how.is_ok()).count()) > 100);
    assert!(count(|record| record.settled.values().filter(|how| how.is_err()).count()) > 20);
}

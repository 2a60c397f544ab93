//! Clients and vats that do by chance whatever they may: nothing is left when both have let go of everything.

use super::super::data::Remote;
use super::super::session::Session;
use super::super::vats::Vats;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, Heard, InboundCall, Owed};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

const VATS: u64 = 2;
const STEPS: u64 = 120;
const SEEDS: u64 = 3_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let place = usize::try_from(self.roll(items.len() as u64)).unwrap_or(0);
        items.get(place).copied()
    }
}

/// Vats that note what they have to answer, and how often they have given what.
#[derive(Default)]
struct Noted {
    tickets: Vec<i64>,
    open: BTreeSet<Remote>,
    last: u64,
    /// Own objects that a vat was given and has not dropped, by vat.
    offered: BTreeSet<(usize, u64)>,
    owed: BTreeSet<(usize, Owed)>,
    quiet_soon: BTreeSet<(usize, Owed)>,
    homes: BTreeSet<(usize, Owed)>,
    given: BTreeSet<Remote>,
}

impl Vats for Noted {
    fn redeem(&mut self, ticket: i64, _text: &str) {
        self.tickets.push(ticket);
    }

    fn call(&mut self, target: Remote, _: Method, _: Vec<Value>, slots: &[ClientRef]) -> Result<Remote, String> {
        for slot in slots {
            if let ClientRef::Own(id) = slot {
                assert!(self.offered.contains(&(target.vat, *id)), "{slot:?} was dropped");
            }
        }
        self.last += 1;
        let result = Remote { vat: target.vat, reference: ClientRef::Result(self.last) };
        self.open.insert(result);
        Ok(result)
    }

    fn keep(&mut self, _: Remote) -> Result<Remote, String> {
        Err("nothing is kept".into())
    }

    fn kept(&mut self, _: Remote, _: &Completion) -> Option<Result<String, String>> {
        None
    }

    fn proof(&mut self, answer: Remote) -> Result<Value, String> {
        Ok(Value::String(format!("proof of {:?}", answer.reference)))
    }

    fn offer(&mut self, vat: usize) -> Result<ClientRef, String> {
        self.last += 1;
        self.offered.insert((vat, self.last));
        Ok(ClientRef::Own(self.last))
    }

    fn settle(
        &mut self,
        vat: usize,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), String> {
        assert!(self.owed.remove(&(vat, owed)), "{owed:?} is settled twice");
        self.quiet_soon.insert((vat, owed));
        if fulfilled && matches!(value, Value::Slot(_)) && matches!(slots, [ClientRef::Object(_)]) {
            self.homes.insert((vat, owed));
        }
        Ok(())
    }

    fn release(&mut self, vat: usize, owed: Owed) {
        assert!(self.homes.remove(&(vat, owed)), "{owed:?} has not come home");
        assert!(!self.quiet_soon.contains(&(vat, owed)), "{owed:?} may yet be called");
    }

    fn drop_object(&mut self, object: Remote) {
        assert!(self.given.remove(&object), "{object:?} is dropped twice");
    }
}

/// A client that knows what it may name.
struct Client {
    session: Session<Noted>,
    dice: Dice,
    pushes: i64,
    exports: i64,
    /// Exports of the session, and how often they were named.
    known: BTreeMap<i64, u64>,
    /// Promises that this client has given, and pushes of the session that were pulled.
    owes: BTreeSet<i64>,
    /// What it has exported and was not released, with how often it was named.
    own: BTreeMap<i64, u64>,
    /// How many pushes the session has made.
    pushed: i64,
    answers: u64,
}

impl Client {
    fn tell(&mut self, message: &Json) {
        self.session.receive(&message.to_string());
        assert_eq!(self.session.ended(), None, "{message}");
        self.listen();
    }

    /// Takes in what the session says.
    fn listen(&mut self) {
        for text in self.session.take_out() {
            let message: Json = serde_json::from_str(&text).expect("JSON");
            match message[0].as_str().expect("a name") {
                "push" => {
                    self.pushed += 1;
                    self.own.insert(self.pushed, 1);
                    self.name(&message[1]);
                }
                "pull" => drop(self.owes.insert(message[1].as_i64().expect("a number"))),
                "resolve" | "reject" => {
                    let id = message[1].as_i64().expect("a number");
                    assert!(id > 0 || self.known.contains_key(&id), "{id} comes before its name: {text}");
                    self.name(&message[2]);
                }
                "release" => {
                    let (id, count) = (message[1].as_i64().expect("a number"), message[2].as_u64().expect("a count"));
                    let named = self.own.get_mut(&id).unwrap_or_else(|| panic!("{id} is released twice"));
                    *named = named.checked_sub(count).expect("as often as it was named");
                    if *named == 0 {
                        self.own.remove(&id);
                        self.owes.remove(&id);
                    }
                }
                other => panic!("{other}: {text}"),
            }
        }
    }

    /// Notes what an expression of the session names.
    fn name(&mut self, expression: &Json) {
        match expression {
            Json::Array(items) => match items.first().and_then(Json::as_str) {
                Some("export" | "promise") => {
                    *self.known.entry(items[1].as_i64().expect("a number")).or_default() += 1;
                }
                _ => items.iter().for_each(|item| self.name(item)),
            },
            Json::Object(fields) => fields.values().for_each(|value| self.name(value)),
            _ => {}
        }
    }

    fn export(&mut self, kind: &str) -> Json {
        self.exports -= 1;
        self.own.insert(self.exports, 1);
        if kind == "promise" {
            self.owes.insert(self.exports);
        }
        json!([kind, self.exports])
    }

    fn target(&mut self) -> i64 {
        let known: Vec<i64> = self.known.keys().copied().collect();
        self.dice.pick(&known).unwrap_or(0)
    }

    fn expression(&mut self, depth: u64) -> Json {
        match self.dice.roll(if depth > 2 { 5 } else { 9 }) {
            0 => json!(self.dice.roll(100)),
            1 => json!(["pipeline", self.target()]),
            2 => json!(["import", self.target()]),
            3 => self.export("export"),
            4 => self.export("promise"),
            5 => json!([[self.expression(depth + 1), self.expression(depth + 1)]]),
            6 => json!({ "a": self.expression(depth + 1) }),
            7 => json!(["pipeline", self.target(), ["a"]]),
            _ => self.call(depth + 1),
        }
    }

    /// What this client resolves something with: nothing that waits for what it resolves.
    fn answer(&mut self, depth: u64) -> Json {
        let stubs: Vec<i64> = self.known.keys().copied().filter(|id| *id < 0).collect();
        match (self.dice.roll(if depth > 1 { 4 } else { 6 }), self.dice.pick(&stubs)) {
            (0, _) => self.export("export"),
            (1, _) => self.export("promise"),
            (2, Some(stub)) => json!(["import", stub]),
            (3, Some(stub)) => json!(["pipeline", stub]),
            (4 | 5, _) => json!([[self.answer(depth + 1), self.answer(depth + 1)]]),
            _ => json!(self.dice.roll(100)),
        }
    }

    fn call(&mut self, depth: u64) -> Json {
        let path = if self.dice.roll(3) == 0 { json!(["a", "m"]) } else { json!(["m"]) };
        let target = self.target();
        let args: Vec<Json> = (0..self.dice.roll(3)).map(|_| self.expression(depth)).collect();
        json!(["pipeline", target, path, args])
    }

    /// What a vat says, with the references in it.
    fn value(&mut self, vat: usize) -> (Value, Vec<ClientRef>) {
        let mut slots = Vec::new();
        for _ in 0..self.dice.roll(3) {
            let slot = match self.dice.roll(4) {
                0 => {
                    self.session.vats().last += 1;
                    let promise = ClientRef::Promise(self.session.vats().last);
                    self.session.vats().open.insert(Remote { vat, reference: promise });
                    promise
                }
                1 => {
                    let offered: Vec<_> =
                        self.session.vats().offered.iter().filter(|(of, _)| *of == vat).map(|(_, id)| *id).collect();
                    match self.dice.pick(&offered) {
                        Some(id) => ClientRef::Own(id),
                        None => ClientRef::Object(0),
                    }
                }
                _ => {
                    let reference = ClientRef::Object(self.dice.roll(6));
                    if reference != ClientRef::Object(0) {
                        self.session.vats().given.insert(Remote { vat, reference });
                    }
                    reference
                }
            };
            slots.push(slot);
        }
        let places = 0..u32::try_from(slots.len()).unwrap_or(0);
        let value = match (slots.len(), self.dice.roll(3)) {
            (1, 0) => Value::Slot(0),
            (_, 1) => Value::Record(vec![("a".into(), Value::Array(places.map(Value::Slot).collect()))]),
            _ => Value::Array(places.map(Value::Slot).collect()),
        };
        (value, slots)
    }

    fn vat_settles(&mut self) -> bool {
        let open: Vec<Remote> = self.session.vats().open.iter().copied().collect();
        let Some(result) = self.dice.pick(&open) else { return false };
        self.session.vats().open.remove(&result);
        let (value, slots) = self.value(result.vat);
        let fulfilled = self.dice.roll(4) > 0;
        let completion = Completion { promise: result.reference, fulfilled, value, slots };
        self.session.heard(result.vat, Heard::Settled(completion));
        self.listen();
        true
    }

    fn vat_calls(&mut self) {
        let offered: Vec<_> = self.session.vats().offered.iter().copied().collect();
        let calls = |owed: &&(usize, Owed)| matches!(owed.1, Owed::Answer(_));
        let noted = self.session.vats();
        let answers: Vec<_> = noted.owed.iter().chain(&noted.quiet_soon).filter(calls).copied().collect();
        let (vat, target) = match (self.dice.roll(3), self.dice.pick(&answers), self.dice.pick(&offered)) {
            (0, Some((vat, owed)), _) => (vat, ClientRef::Owed(owed)),
            (_, _, Some((vat, id))) => (vat, ClientRef::Own(id)),
            _ => return,
        };
        let (args, slots) = self.value(vat);
        let result = (self.dice.roll(4) > 0).then(|| {
            self.answers += 1;
            Owed::Answer(self.answers)
        });
        if let Some(owed) = result {
            self.session.vats().owed.insert((vat, owed));
        }
        let call = InboundCall { target, method: Method::Call("ring".into()), args: vec![args], slots, result };
        self.session.heard(vat, Heard::Called(call));
        self.listen();
    }

    /// A vat knows how an answer came out.
    fn vat_is_quiet(&mut self) -> bool {
        let soon: Vec<_> = self.session.vats().quiet_soon.iter().copied().collect();
        let Some((vat, owed)) = self.dice.pick(&soon) else { return false };
        self.session.vats().quiet_soon.remove(&(vat, owed));
        self.session.heard(vat, Heard::Quiet(owed));
        self.listen();
        true
    }

    fn client_resolves(&mut self, with: Option<Json>) -> bool {
        let owes: Vec<i64> = self.owes.iter().copied().collect();
        let Some(id) = self.dice.pick(&owes) else { return false };
        self.owes.remove(&id);
        let kind = if self.dice.roll(4) > 0 { "resolve" } else { "reject" };
        let value = with.unwrap_or_else(|| self.answer(0));
        self.tell(&json!([kind, id, value]));
        true
    }

    fn release(&mut self, id: i64, all: bool) {
        let Some(named) = self.known.get_mut(&id) else { return };
        let count = if all { *named } else { 1 };
        *named -= count;
        if *named == 0 {
            self.known.remove(&id);
        }
        self.tell(&json!(["release", id, count]));
    }

    fn redeemed(&mut self) -> bool {
        if self.session.vats().tickets.is_empty() {
            return false;
        }
        let ticket = self.session.vats().tickets.remove(0);
        let vat = usize::try_from(self.dice.roll(VATS)).unwrap_or(0);
        let found = match self.dice.roll(5) {
            0 => Err("not found".to_owned()),
            _ => Ok(Remote { vat, reference: ClientRef::Object(0) }),
        };
        self.session.redeemed(ticket, found);
        self.listen();
        true
    }

    fn push(&mut self, expression: &Json) {
        self.pushes += 1;
        *self.known.entry(self.pushes).or_default() += 1;
        self.tell(&json!(["push", expression]));
    }

    fn step(&mut self) {
        match self.dice.roll(16) {
            0 => self.push(&json!(["pipeline", 0, ["redeem"], ["vat://x"]])),
            1..=4 => {
                let expression = self.call(0);
                self.push(&expression);
            }
            5 => {
                let expression = self.expression(0);
                self.push(&expression);
            }
            6 | 7 => {
                let id = self.target();
                if id > 0 && self.known.contains_key(&id) {
                    self.tell(&json!(["pull", id]));
                }
            }
            8 => {
                let id = self.target();
                self.release(id, false);
            }
            9 => drop(self.redeemed()),
            10 | 11 => drop(self.vat_settles()),
            12 => self.vat_calls(),
            13 => drop(self.vat_is_quiet()),
            _ => drop(self.client_resolves(None)),
        }
    }

    /// Everybody answers what is asked, and lets go of all.
    fn end(&mut self) {
        loop {
            let is_done = !self.redeemed() & !self.client_resolves(Some(json!(null))) & !self.vat_is_quiet();
            let open = self.session.vats().open.pop_first();
            if let Some(Remote { vat, reference }) = open {
                let completion =
                    Completion { promise: reference, fulfilled: true, value: Value::Null, slots: Vec::new() };
                self.session.heard(vat, Heard::Settled(completion));
                self.listen();
            } else if is_done {
                break;
            }
        }
        while let Some(id) = self.known.keys().next().copied() {
            self.release(id, true);
        }
        while let Some((vat, id)) = self.session.vats().offered.pop_first() {
            self.session.heard(vat, Heard::Dropped(id));
            self.listen();
        }
    }
}

#[test]
fn nothing_is_left_when_everybody_has_let_go() {
    for seed in 0..SEEDS {
        let mut client = Client {
            session: Session::new(Noted::default()),
            dice: Dice(seed),
            pushes: 0,
            exports: 0,
            known: BTreeMap::new(),
            owes: BTreeSet::new(),
            own: BTreeMap::new(),
            pushed: 0,
            answers: 0,
        };
        client.push(&json!(["pipeline", 0, ["redeem"], ["vat://x"]]));
        for _ in 0..STEPS {
            client.step();
        }
        client.end();
        assert_eq!(client.session.left(), None, "seed {seed}");
        assert_eq!((&client.own, &client.session.vats().given), (&BTreeMap::new(), &BTreeSet::new()), "seed {seed}");
    }
}

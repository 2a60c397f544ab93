//! Vats, and what is under way between them.
//!
//! One step carries some messages of one vat to another; which, the seed decides. Messages of one vat to another stay in their order.

use quorate_engine::{
    EngineError, Hash, VatId,
    abi::{Method, Value},
    comms::{
        StreamHead,
        client::{ClientError, ClientRef, ClientSession, Completion},
    },
    heap::{Heap, Limits},
    image::Image,
    machine::{Command, CommandResult, CrankKind, Deliver, FuelShares, Install, LogLevel, Machine, Setup},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// When time begins: 2026-01-01T00:00:00Z, in ms since the Unix epoch.
pub const BEGINNING_MS: u64 = 1_767_225_600_000;
/// Lines of consoles that are kept of one run.
const MAX_CONSOLE_LINES: usize = 10_000;

/// A line of a vat's console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// The vat, by the name that it has in the run.
    pub vat: String,
    pub level: LogLevel,
    pub text: String,
}

/// What a vat has cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Fuel of all its deliveries.
    pub fuel: u64,
    pub deliveries: u64,
    /// Deliveries that were undone since they exceeded a limit.
    pub rolled_back: u64,
}

/// A generator whose whole state is a number (SplitMix64: G. Steele, D. Lea and C. Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `sides`, which is not 0.
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

struct Place {
    name: String,
    machine: Machine<Heap>,
    limits: Limits,
    /// Pages of earlier checkpoints, by their hashes.
    pages: BTreeMap<Hash, Vec<u8>>,
    usage: Usage,
}

/// One direction of what two vats say to each other.
#[derive(Default)]
struct Route {
    head: Option<StreamHead>,
    /// The number of the first message that is kept.
    first: u64,
    messages: VecDeque<Arc<[u8]>>,
    /// The last acknowledgement that was carried.
    told: u64,
    /// The receiver takes nothing more.
    broken: bool,
}

/// See the head of the module.
pub struct World {
    image: Arc<Image>,
    places: BTreeMap<VatId, Place>,
    routes: BTreeMap<(VatId, VatId), Route>,
    /// The client that calls the driver's root from outside.
    client: ClientSession,
    completions: VecDeque<Completion>,
    dice: Dice,
    now_ms: u64,
    console: VecDeque<ConsoleLine>,
    /// Lines that were dropped since there were too many.
    dropped: u64,
}

impl World {
    /// Nothing but a client that talks to `driver`, which is to be installed.
    pub fn new(image: Arc<Image>, driver: VatId, seed: u64) -> World {
        World {
            image,
            places: BTreeMap::new(),
            routes: BTreeMap::new(),
            client: ClientSession::new(client_id(), driver),
            completions: VecDeque::new(),
            dice: Dice(seed),
            now_ms: BEGINNING_MS,
            console: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Makes a vat and gives it its code. One whose code does not start is not there.
    ///
    /// # Errors
    /// The engine fails.
    pub fn install(
        &mut self,
        vat: VatId,
        name: &str,
        install: Install,
        limits: Limits,
    ) -> Result<CommandResult, EngineError> {
        let machine = Machine::new(vat, Heap::new(self.image.clone(), limits)?).with_fuel(FuelShares::UNLIMITED);
        let place = Place { name: name.to_owned(), machine, limits, pages: BTreeMap::new(), usage: Usage::default() };
        self.places.insert(vat, place);
        self.apply(&vat, Command::Tick { now_ms: self.now_ms })?;
        let result = self.apply(&vat, Command::Install(install))?;
        if result != CommandResult::Installed {
            self.places.remove(&vat);
        }
        Ok(result)
    }

    /// Applies a command to a vat that is there.
    ///
    /// # Errors
    /// The engine fails.
    pub fn apply(&mut self, vat: &VatId, command: Command) -> Result<CommandResult, EngineError> {
        let Some(place) = self.places.get_mut(vat) else {
            return Ok(CommandResult::Refused { message: "there is no such vat".to_owned() });
        };
        let result = place.machine.apply(command)?;
        self.end_block(vat);
        Ok(result)
    }

    fn end_block(&mut self, vat: &VatId) {
        let Some(place) = self.places.get_mut(vat) else { return };
        let output = place.machine.end_block(false);
        for crank in &output.cranks {
            place.usage.fuel = place.usage.fuel.saturating_add(crank.fuel);
            place.usage.deliveries += 1;
            place.usage.rolled_back += u64::from(crank.rolled_back.is_some());
        }
        let name = place.name.clone();
        let undone = output.cranks.iter().filter(|crank| crank.what != CrankKind::Start);
        let undone = undone.filter_map(|crank| Some((crank.what.as_str(), crank.rolled_back?.as_str())));
        let undone: Vec<String> = undone
            .map(|(what, limit)| format!("a delivery ({what}) was undone: it exceeded the {limit} limit"))
            .collect();
        for line in output.logs {
            self.note(ConsoleLine { vat: name.clone(), level: line.level, text: line.text });
        }
        for text in undone {
            self.note(ConsoleLine { vat: name.clone(), level: LogLevel::Error, text });
        }
        for (peer, number, message) in output.queued {
            let route = self.routes.entry((*vat, peer)).or_default();
            if route.messages.is_empty() {
                route.first = number;
            }
            route.messages.push_back(message);
        }
        for (peer, through) in output.pruned {
            let route = self.routes.entry((*vat, peer)).or_default();
            while !route.messages.is_empty() && route.first <= through {
                route.messages.pop_front();
                route.first += 1;
            }
        }
        for head in output.heads {
            self.routes.entry((*vat, head.peer)).or_default().head = Some(head);
        }
    }

    fn note(&mut self, line: ConsoleLine) {
        self.console.push_back(line);
        if self.console.len() > MAX_CONSOLE_LINES {
            self.console.pop_front();
            self.dropped += 1;
        }
    }

    /// Takes the lines that consoles have printed. If there were too many, the newest.
    pub fn take_console(&mut self) -> Vec<ConsoleLine> {
        let dropped = std::mem::take(&mut self.dropped);
        let text = format!("({dropped} earlier lines are left out)");
        let line = ConsoleLine { vat: String::new(), level: LogLevel::Warn, text };
        let left_out = (dropped > 0).then_some(line);
        left_out.into_iter().chain(std::mem::take(&mut self.console)).collect()
    }

    /// Calls the driver's root. Gives the number of the result.
    ///
    /// # Errors
    /// The call can't be sent.
    pub fn call(&mut self, method: &str, args: Vec<Value>) -> Result<ClientRef, ClientError> {
        let args = Value::Array(args);
        let number = self.client.call(ClientRef::Object(0), Method::Call(method.to_owned()), &args, &[])?;
        self.post();
        Ok(ClientRef::Result(number))
    }

    /// Returns what has settled of the client's calls, in order.
    pub fn take_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// Puts what the client has said where it is carried from.
    fn post(&mut self) {
        let head = self.client.head();
        let route = self.routes.entry((self.client.vat(), self.client.target())).or_default();
        let messages: Vec<_> = self.client.unacked().map(|(number, message)| (number, message.clone())).collect();
        route.head = Some(head);
        route.first = messages.first().map_or(head.end + 1, |(number, _)| *number);
        route.messages = messages.into_iter().map(|(_, message)| message).collect();
    }

    /// Carries some messages from one vat to another. Returns whether there was anything to carry.
    ///
    /// # Errors
    /// The engine fails.
    pub fn step(&mut self) -> Result<bool, EngineError> {
        let ready: Vec<(VatId, VatId)> =
            self.routes.iter().filter(|(way, route)| self.has_news(way, route)).map(|(way, _)| *way).collect();
        if ready.is_empty() {
            return Ok(false);
        }
        let (from, to) = ready[self.dice.below(ready.len())];
        self.carry(from, to)?;
        Ok(true)
    }

    /// Returns whether the receiver lacks anything of a stream.
    fn has_news(&self, (from, to): &(VatId, VatId), route: &Route) -> bool {
        let Some(head) = route.head.filter(|_| !route.broken) else { return false };
        let next = match self.places.get(to) {
            Some(place) => place.machine.next_inbound(from).0,
            None if *to == self.client.vat() && *from == self.client.target() => self.client.next_inbound().0,
            None => return false,
        };
        head.end >= next || head.ack > route.told
    }

    fn carry(&mut self, from: VatId, to: VatId) -> Result<(), EngineError> {
        let is_client = !self.places.contains_key(&to);
        let next = match self.places.get(&to) {
            Some(place) => place.machine.next_inbound(&from).0,
            None => self.client.next_inbound().0,
        };
        let Some(route) = self.routes.get_mut(&(from, to)) else { return Ok(()) };
        let Some(head) = route.head else { return Ok(()) };
        let known = usize::try_from(next.saturating_sub(route.first)).unwrap_or(usize::MAX);
        let waiting = route.messages.len().saturating_sub(known);
        // One at least, if there are any: what is left comes later, and others may come between.
        let count = if waiting == 0 { 0 } else { 1 + self.dice.below(waiting) };
        if count == waiting {
            // Before that it does not count: what is acknowledged may settle promises that the rest names.
            route.told = head.ack;
        }
        let messages = route.messages.iter().skip(known).take(count).map(|message| message.to_vec()).collect();
        let deliver = Deliver { from, begin: next, messages, end: head.end, ack: head.ack };
        if is_client {
            match self.client.receive(&deliver) {
                Ok(completions) => self.completions.extend(completions),
                Err(error) => self.break_route(from, to, &error.to_string()),
            }
            self.post();
            return Ok(());
        }
        match self.apply(&to, Command::Deliver(deliver))? {
            CommandResult::Delivered { .. } => {}
            CommandResult::Refused { message } => self.break_route(from, to, &message),
            other => self.break_route(from, to, &format!("{other:?}")),
        }
        Ok(())
    }

    fn break_route(&mut self, from: VatId, to: VatId, why: &str) {
        let (vat, sender) = (self.name(&to).to_owned(), self.name(&from).to_owned());
        if let Some(route) = self.routes.get_mut(&(from, to)) {
            route.broken = true;
        }
        let text = format!("nothing more is taken of {sender}: {why}");
        self.note(ConsoleLine { vat, level: LogLevel::Warn, text });
    }

    /// Returns how far a vat's setup has come; nothing of one that is not there.
    pub fn setup(&self, vat: &VatId) -> Option<Setup> {
        self.places.get(vat).map(|place| place.machine.summary().setup)
    }

    /// The name of a vat in the run.
    pub fn name(&self, vat: &VatId) -> &str {
        self.places.get(vat).map_or("the program", |place| place.name.as_str())
    }

    /// The log's time, in ms since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Returns when the first timer of any vat is due.
    pub fn next_deadline(&self) -> Option<u64> {
        self.places.values().filter_map(|place| place.machine.next_deadline()).min()
    }

    /// Lets time pass for all vats. It never goes back.
    ///
    /// # Errors
    /// The engine fails.
    pub fn pass_time(&mut self, now_ms: u64) -> Result<(), EngineError> {
        self.now_ms = self.now_ms.max(now_ms);
        let vats: Vec<VatId> = self.places.keys().copied().collect();
        for vat in vats {
            self.apply(&vat, Command::Tick { now_ms: self.now_ms })?;
        }
        Ok(())
    }

    /// Writes every vat to a checkpoint and restores it from there, as a restart of its host does.
    ///
    /// # Errors
    /// The engine fails.
    pub fn restart(&mut self) -> Result<(), EngineError> {
        for (vat, place) in &mut self.places {
            let checkpoint = place.machine.checkpoint()?;
            place.pages.extend(checkpoint.new_chunks);
            let pages = &place.pages;
            let mut fetch = |hash: &Hash| {
                let missing = || EngineError::MissingPage { hash: *hash, message: "it was never given".to_owned() };
                pages.get(hash).cloned().ok_or_else(missing)
            };
            let machine = Machine::restore(*vat, self.image.clone(), place.limits, &checkpoint.manifest, &mut fetch)?;
            place.machine = machine.with_fuel(FuelShares::UNLIMITED);
        }
        Ok(())
    }

    /// Returns what each vat has cost so far, by its name, in the order in which they were made; `order` gives that.
    pub fn usage(&self, order: &[VatId]) -> Vec<(String, Usage)> {
        let of = |vat: &VatId| self.places.get(vat).map(|place| (place.name.clone(), place.usage.clone()));
        order.iter().filter_map(of).collect()
    }

    /// Returns what all vats have cost so far.
    pub fn total(&self) -> Usage {
        let mut total = Usage::default();
        for place in self.places.values() {
            total.fuel = total.fuel.saturating_add(place.usage.fuel);
            total.deliveries += place.usage.deliveries;
            total.rolled_back += place.usage.rolled_back;
        }
        total
    }
}

/// The vat that the client is.
pub fn client_id() -> VatId {
    VatId(Hash::of_parts(&[b"quorate/trial-client/1"]).0)
}

/// The id of a vat of a run, by its number; 0 is the driver.
pub fn vat_id(number: u64) -> VatId {
    VatId(Hash::of_parts(&[b"quorate/trial-vat/1", &number.to_be_bytes()]).0)
}

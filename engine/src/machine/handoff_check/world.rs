//! Machines, the messages between them, and the possible next steps.

use super::player::{Do, Player, root_name};
use super::scenarios::{End, Given, Scenario};
use crate::abi::{CapData, Delivery, Method, Output, Slot, Value};
use crate::comms::plants::{self, Plant};
use crate::machine::{Command, CrankKind, Deliver, Machine};
use quorate_ids::{Hash, VatId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A message was done before another that was sent before it on the same reference.
    Order { done: String, before: Vec<String> },
    /// Nothing can happen any more, and these were not done.
    Hang(Vec<String>),
    /// A guest or a machine saw something that must not be.
    Wrong(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Order { done, before } => write!(formatter, "{done} was done before {before:?}"),
            Violation::Hang(missing) => write!(formatter, "nothing can happen any more, and {missing:?} were not done"),
            Violation::Wrong(what) => write!(formatter, "{what}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next message of the first vat's stream is taken in by the second.
    Take(u8, u8),
    /// The first vat says, for the second, what it has said and taken in so far.
    Cut(u8, u8),
    /// The second takes in what the first so said.
    Ack(u8, u8),
    /// That said is lost.
    Lose(u8, u8),
    /// The next step of a script.
    Step(usize),
    /// A vat's guest hears what was kept back from it, because that is planted.
    Hear(u8),
    /// A vat of the program's `ends` does, which is at this place there.
    End(usize),
    /// The first vat forgets the second, which is gone.
    Forget(u8, u8),
}

/// What is sent where, as the scripts mean it: independent of how it travels.
#[derive(Clone, Default)]
struct Oracle {
    /// Variable → the promise that it stands for, if it is one.
    meant: BTreeMap<(u8, String), Option<&'static str>>,
    /// Variable → labels sent to it, or to what it was forked from before that.
    history: BTreeMap<(u8, String), Vec<String>>,
    /// Label → those that must be done before.
    before: BTreeMap<String, Vec<String>>,
    /// Label → the promise that it was sent to.
    sent_to: BTreeMap<String, Option<&'static str>>,
    /// Promise → what it was resolved to, and what its decider had sent there before.
    resolved: BTreeMap<&'static str, (Option<&'static str>, Vec<String>)>,
}

impl Oracle {
    fn step(&mut self, vat: u8, step: &Do) {
        let key = |var: &str| (vat, var.to_owned());
        match step {
            Do::Send(var, label) | Do::SendSettled(var, label) => {
                let history = self.history.entry(key(var)).or_default();
                self.before.insert((*label).to_owned(), history.clone());
                history.push((*label).to_owned());
                let meant = self.meant.get(&key(var)).copied().flatten();
                self.sent_to.insert((*label).to_owned(), meant);
            }
            Do::Give(var, to, name) => {
                let history = self.history.get(&key(var)).cloned().unwrap_or_default();
                self.history.insert((*to, (*name).to_owned()), history);
                let meant = self.meant.get(&key(var)).copied().flatten();
                self.meant.insert((*to, (*name).to_owned()), meant);
            }
            Do::Resolve(promise, var) => {
                let history = self.history.get(&key(var)).cloned().unwrap_or_default();
                let meant = self.meant.get(&key(var)).copied().flatten();
                if let Some(promise) = self.meant.get(&key(promise)).copied().flatten() {
                    self.resolved.insert(promise, (meant, history));
                }
            }
            Do::Drop(_) | Do::Evict(_) => {}
        }
    }

    /// Returns what must be done before `label`, as far as is known now.
    fn before(&self, label: &str) -> BTreeSet<&str> {
        let mut before: BTreeSet<&str> = self.before.get(label).into_iter().flatten().map(String::as_str).collect();
        let mut next = self.sent_to.get(label).copied().flatten();
        while let Some((to, history)) = next.and_then(|promise| self.resolved.get(promise)) {
            before.extend(history.iter().map(String::as_str));
            next = *to;
        }
        before
    }
}

#[derive(Clone)]
pub struct World {
    pub machines: BTreeMap<u8, Machine<Player>>,
    /// What the first said last for the second, and the second has not taken in: end and ack.
    heads: BTreeMap<(u8, u8), (u64, u64)>,
    counters: Vec<usize>,
    /// Which of the program's `ends` have come.
    ended: Vec<bool>,
    gone: BTreeSet<u8>,
    /// Nothing of the second is taken in by the first any more.
    forgotten: BTreeSet<(u8, u8)>,
    done: Vec<String>,
    oracle: Oracle,
}

pub fn id(vat: u8) -> VatId {
    VatId([vat; 32])
}

impl World {
    /// The program at its beginning: all is there that it says, and nothing is under way.
    pub fn new(scenario: &Scenario, eager: bool) -> World {
        let vats = scenario.vats();
        let mut world = World {
            machines: BTreeMap::new(),
            heads: BTreeMap::new(),
            counters: vec![0; scenario.scripts.len()],
            ended: vec![false; scenario.ends.len()],
            gone: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            done: Vec::new(),
            oracle: Oracle::default(),
        };
        for vat in &vats {
            let mut machine = Machine::new(id(*vat), Player::new(eager));
            machine.status.installed = true;
            for other in vats.iter().filter(|other| *other != vat) {
                machine.comms.grant(&id(*other), None).expect("room");
                let root = machine.comms.reference(&id(*other), 0).expect("room");
                machine.comms.mark_known([&root]);
                machine.guest.vars.insert(root_name(*other), root);
            }
            world.machines.insert(*vat, machine);
        }
        for (index, given) in scenario.given.iter().enumerate() {
            world.give(index as u64, *given);
        }
        world.flush();
        for machine in world.machines.values_mut() {
            machine.guest.lossy = !scenario.ends.is_empty();
        }
        if let Some(vat) = scenario.refusing {
            world.machines.get_mut(&vat).expect("it is there").guest.refusing = true;
        }
        world
    }

    fn give(&mut self, index: u64, given: Given) {
        match given {
            Given::Promise { name, decider, knower } => {
                let machine = self.machines.get_mut(&knower).expect("it is there");
                let result = Slot::VatPromise(1_000 + index);
                let target = machine.guest.vars[&root_name(decider)];
                let args = CapData::data(&Value::Array(vec![]));
                let method = Method::Call(format!("make:{name}"));
                machine.take_outputs(vec![Output::Send { target, method, args, result: Some(result) }]);
                machine.guest.await_promise(name, result);
                for vat in [decider, knower] {
                    self.oracle.meant.insert((vat, name.to_owned()), Some(name));
                }
            }
            Given::Object { name, holder, home, object } => {
                let machine = self.machines.get_mut(&home).expect("it is there");
                let target = machine.guest.vars[&root_name(holder)];
                let args = CapData::new(&Value::Array(vec![Value::Slot(0)]), vec![Slot::VatObject(object)]);
                let method = Method::Call(format!("give:{name}"));
                machine.take_outputs(vec![Output::Send { target, method, args, result: None }]);
            }
        }
        self.flush();
    }

    /// Delivers all that is under way, acknowledgements too, until nothing is.
    pub fn flush(&mut self) {
        loop {
            let before = self.standing();
            for (from, to) in self.routes() {
                while self.next_message(from, to).is_some() {
                    self.take(from, to);
                }
                if !self.gone.contains(&from) {
                    self.cut(from, to);
                    self.ack(from, to);
                }
            }
            if self.standing() == before {
                return;
            }
        }
    }

    fn standing(&self) -> Vec<(u64, u64, u64)> {
        self.routes()
            .into_iter()
            .filter_map(|(from, to)| {
                let peer = self.machines[&from].comms.peer(&id(to))?;
                Some((peer.out.end(), peer.out.acked(), peer.inbound.received()))
            })
            .collect()
    }

    pub fn routes(&self) -> Vec<(u8, u8)> {
        let vats = self.machines.keys().copied().collect::<Vec<_>>();
        let pairs = vats.iter().flat_map(|from| vats.iter().map(|to| (*from, *to)));
        pairs
            .filter(|(from, to)| from != to && !self.gone.contains(to) && !self.forgotten.contains(&(*to, *from)))
            .collect()
    }

    fn received(&self, at: u8, from: u8) -> u64 {
        self.machines[&at].comms.peer(&id(from)).map_or(0, |peer| peer.inbound.received())
    }

    fn next_message(&self, from: u8, to: u8) -> Option<(u64, Vec<u8>)> {
        let peer = self.machines[&from].comms.peer(&id(to))?;
        let next = self.received(to, from) + 1;
        let skip = usize::try_from(next.checked_sub(peer.out.acked() + 1)?).ok()?;
        peer.out.messages().nth(skip).map(|(number, message)| (number, message.to_vec()))
    }

    /// Returns what may happen next. Acknowledgements are only said when something waits for them.
    pub fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        for (from, to) in self.routes() {
            if self.next_message(from, to).is_some() {
                actions.push(Action::Take(from, to));
            }
            match self.heads.get(&(from, to)) {
                Some((end, _)) if self.received(to, from) >= *end || plants::is(Plant::AckWithoutEnd) => {
                    actions.push(Action::Ack(from, to));
                }
                None if !self.gone.contains(&from) && self.is_awaited(from, to) && !self.is_lost(from, to) => {
                    actions.push(Action::Cut(from, to))
                }
                _ => {}
            }
        }
        let late = self.machines.iter().filter(|(_, machine)| machine.comms.keeps_back());
        actions.extend(late.map(|(vat, _)| Action::Hear(*vat)));
        for (index, (vat, steps)) in scenario.scripts.iter().enumerate() {
            if let Some(step) = steps.get(self.counters[index])
                && self.lives(*vat)
                && self.machines[vat].guest.can(step)
            {
                actions.push(Action::Step(index));
            }
        }
        let to_come = self.ended.iter().enumerate().filter(|(_, ended)| !**ended);
        actions.extend(to_come.map(|(index, _)| Action::End(index)));
        actions.extend(self.to_forget().into_iter().map(|(at, gone)| Action::Forget(at, gone)));
        actions
    }

    /// Returns whether a vat's guest goes on.
    fn lives(&self, vat: u8) -> bool {
        !self.gone.contains(&vat) && self.machines[&vat].status.exit.is_none()
    }

    /// Vats that know one which is gone.
    fn to_forget(&self) -> Vec<(u8, u8)> {
        let there = self.machines.iter().filter(|(vat, _)| !self.gone.contains(vat));
        let pairs = there.flat_map(|(at, machine)| {
            let known = self.gone.iter().filter(|gone| machine.comms.peer(&id(**gone)).is_some());
            known.map(|gone| (*at, *gone))
        });
        pairs.collect()
    }

    fn end(&mut self, vat: u8, how: End) {
        match how {
            End::Gone => drop(self.gone.insert(vat)),
            End::Exit => {
                let machine = self.machines.get_mut(&vat).expect("it is there");
                machine.take_outputs(vec![Output::Exit { value: CapData::data(&Value::Undefined) }]);
            }
        }
    }

    fn forget(&mut self, at: u8, gone: u8) {
        self.forgotten.insert((at, gone));
        let machine = self.machines.get_mut(&at).expect("it is there");
        machine.forget(&id(gone));
        // What it waited for is rejected, which its guest hears.
        machine.apply(Command::Tick { now_ms: 0 }).expect("no fault of the host");
    }

    /// Returns whether `to` waits for an acknowledgement of `from` that `from` can give.
    fn is_awaited(&self, from: u8, to: u8) -> bool {
        let Some(peer) = self.machines[&to].comms.peer(&id(from)) else { return false };
        let received = self.received(from, to);
        received > peer.out.acked() && peer.owes(received)
    }

    /// Returns whether what `from` would say now, an acknowledgement without news, does not get through, because that is planted.
    fn is_lost(&self, from: u8, to: u8) -> bool {
        plants::is(Plant::BareAcksLost) && self.next_message(from, to).is_none()
    }

    pub fn perform(&mut self, scenario: &Scenario, action: Action) -> Result<(), Violation> {
        match action {
            Action::Take(from, to) => self.take(from, to),
            Action::Cut(from, to) => self.cut(from, to),
            Action::Ack(from, to) => self.ack(from, to),
            Action::Hear(vat) => {
                let machine = self.machines.get_mut(&vat).expect("it is there");
                let settlements = machine.comms.take_kept_back();
                machine.crank(CrankKind::Settle, None, &Delivery::Settle(settlements)).expect("no fault of the host");
            }
            Action::End(index) => {
                self.ended[index] = true;
                let (vat, how) = scenario.ends[index];
                self.end(vat, how);
            }
            Action::Forget(at, gone) => self.forget(at, gone),
            Action::Lose(from, to) => drop(self.heads.remove(&(from, to))),
            Action::Step(index) => {
                let (vat, steps) = &scenario.scripts[index];
                let step = &steps[self.counters[index]];
                self.counters[index] += 1;
                self.oracle.step(*vat, step);
                let machine = self.machines.get_mut(vat).expect("it is there");
                let outputs = machine.guest.step(step);
                machine.take_outputs(outputs);
                let dropped = std::mem::take(&mut machine.guest.dropped);
                machine.comms.drop_by_guest(&dropped);
                // What the machine itself has to say to the guest.
                machine.apply(Command::Tick { now_ms: 0 }).expect("no fault of the host");
            }
        }
        self.check(scenario)
    }

    pub fn take(&mut self, from: u8, to: u8) {
        let Some((begin, message)) = self.next_message(from, to) else { return };
        let ack = self.machines[&to].comms.peer(&id(from)).map_or(0, |peer| peer.out.acked());
        self.deliver(to, Deliver { from: id(from), begin, messages: vec![message], end: begin, ack });
    }

    pub fn cut(&mut self, from: u8, to: u8) {
        let machine = &self.machines[&from];
        let end = machine.comms.peer(&id(to)).map_or(0, |peer| peer.out.end());
        self.heads.insert((from, to), (end, self.received(from, to)));
    }

    pub fn ack(&mut self, from: u8, to: u8) {
        let Some((end, ack)) = self.heads.remove(&(from, to)) else { return };
        let end = if plants::is(Plant::AckWithoutEnd) { 0 } else { end };
        let begin = self.received(to, from) + 1;
        self.deliver(to, Deliver { from: id(from), begin, messages: vec![], end, ack });
    }

    fn deliver(&mut self, to: u8, deliver: Deliver) {
        let machine = self.machines.get_mut(&to).expect("it is there");
        let result = machine.apply(Command::Deliver(deliver)).expect("no fault of the host");
        if !matches!(result, crate::machine::CommandResult::Delivered { .. }) {
            machine.guest.wrong.push(format!("{}: {result:?}", char::from(to)));
        }
        machine.end_block(false);
    }

    /// Returns what was done, and whether all of it was right.
    fn check(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        let lossy = !scenario.ends.is_empty();
        for (name, machine) in &mut self.machines {
            if let Some(wrong) = machine.guest.wrong.first() {
                return Err(Violation::Wrong(format!("at {}: {wrong}", char::from(*name))));
            }
            for label in std::mem::take(&mut machine.guest.done) {
                // Where a vat has ended, messages are lost. They must not be done later, after what was sent behind them.
                let after = self.done.iter().find(|done| lossy && self.oracle.before(done).contains(label.as_str()));
                if let Some(after) = after {
                    return Err(Violation::Order { done: after.clone(), before: vec![label] });
                }
                let before = self.oracle.before(&label);
                let late: Vec<String> = before
                    .into_iter()
                    .filter(|before| !lossy && !self.done.iter().any(|done| done == before))
                    .map(str::to_owned)
                    .collect();
                self.done.push(label.clone());
                if !late.is_empty() {
                    return Err(Violation::Order { done: label, before: late });
                }
            }
            let unsent = machine.end_block(false).logs;
            if let Some(line) = unsent.first().filter(|_| !lossy) {
                return Err(Violation::Wrong(format!("at {}: {}", char::from(*name), line.text)));
            }
        }
        Ok(())
    }

    /// Nothing can happen any more: all must be done. Then everything is acknowledged, and nothing must be left that waits.
    pub fn check_end(&self, scenario: &Scenario) -> Result<(), Violation> {
        let missing: Vec<String> = scenario
            .labels()
            .into_iter()
            .filter(|label| !self.done.iter().any(|done| done == label))
            .map(str::to_owned)
            .collect();
        let lossy = !scenario.ends.is_empty();
        if !missing.is_empty() && !lossy {
            return Err(Violation::Hang(missing));
        }
        let mut world = self.clone();
        world.flush();
        while let Some((at, gone)) = world.to_forget().first().copied() {
            world.forget(at, gone);
            world.flush();
        }
        world.check(scenario)?;
        world.check_rest(lossy)
    }

    /// Nothing is under way: no promise is open that has come to its end, no gift waits, and each counts as the other does.
    pub fn check_rest(&self, lossy: bool) -> Result<(), Violation> {
        for (name, machine) in self.machines.iter().filter(|(name, _)| !self.gone.contains(name)) {
            let wrong =
                |what: &str| Err(Violation::Wrong(format!("at {} {what} is left at the end", char::from(*name))));
            if machine.comms.is_miscounted() {
                return wrong("an account that is wrong");
            }
            for (other, peer) in machine.comms.peers() {
                let gifts = &peer.gifts;
                // What a vat deposited that is gone stays, since its receiver may have the gift.
                let left = gifts.deposited.keys().filter(|(giver, _)| !self.gone.contains(&giver.0[0]));
                if left.count() > 0 || gifts.deposits_open > 0 {
                    return wrong("a deposit");
                }
                if !gifts.withdraws.is_empty() || !gifts.taken.is_empty() {
                    return wrong("a withdrawal");
                }
                if !gifts.given.is_empty() || !gifts.deposits.is_empty() || !peer.settlements.is_empty() {
                    return wrong("a gift or settlement");
                }
                if gifts.queued_calls > 0 || gifts.queued_bytes > 0 {
                    return wrong("a count of calls that wait");
                }
                if peer.imports.values().any(|import| import.pins > 0) {
                    return wrong("a pin");
                }
                let home = self.machines.get(&other.0[0]).and_then(|home| home.comms.peer(&id(*name)));
                for (object, import) in peer.imports.iter().filter(|(object, _)| **object != 0) {
                    let sent = home.and_then(|home| home.exports.get(object)).map(|export| export.sent);
                    if sent != Some(import.received) {
                        return wrong(&format!(
                            "a count of object {object} that differs: {sent:?}, {}",
                            import.received
                        ));
                    }
                }
                if let Some(home) = home
                    && home.exports.keys().any(|object| !peer.imports.contains_key(object))
                {
                    return wrong("an export that nobody holds");
                }
            }
            if lossy {
                self.check_waiting(*name)?;
            } else if machine.comms.promise_count() > 0 {
                return wrong(&machine.comms.some_promise());
            }
        }
        Ok(())
    }

    /// Checks that each promise that is open at the end is owed by a guest that goes on, or by a vat that owes it as well.
    fn check_waiting(&self, name: u8) -> Result<(), Violation> {
        let machine = &self.machines[&name];
        for (slot, what, decider) in machine.comms.unsettled() {
            let is_owed = match decider {
                Some((vat, pair)) => {
                    let decider = self.machines.get(&vat.0[0]).filter(|_| !self.gone.contains(&vat.0[0]));
                    decider.is_some_and(|decider| decider.comms.owes(&id(name), pair))
                }
                None => machine.guest.owes(&slot) && self.lives(name),
            };
            if !is_owed {
                return Err(Violation::Wrong(format!("at {} nobody settles {slot:?}: {what}", char::from(name))));
            }
        }
        Ok(())
    }

    /// Equal for worlds that go on alike. Chained hashes are left out: they tell the past.
    pub fn fingerprint(&self) -> Hash {
        let mut parts = Vec::new();
        for machine in self.machines.values() {
            parts.push(crate::abi::encode(&(machine.comms.timeless(), &machine.guest)));
        }
        let mut done = self.done.clone();
        done.sort_unstable();
        let ends = (&self.ended, &self.gone, &self.forgotten);
        parts.push(crate::abi::encode(&(self.heads.iter().collect::<Vec<_>>(), &self.counters, ends, done)));
        // What later messages are judged by.
        parts.push(crate::abi::encode(&self.oracle.resolved.iter().collect::<Vec<_>>()));
        parts.push(crate::abi::encode(&self.oracle.before.iter().collect::<Vec<_>>()));
        let history: Vec<_> = self.oracle.history.iter().collect();
        parts.push(crate::abi::encode(&history));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Hash::of_parts(&parts)
    }
}

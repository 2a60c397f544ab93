//! A guest that follows a script and treats promises as JavaScript does.
//!
//! Messages to a promise of its own wait until that is resolved. Messages to a promise of another vat leave at once. If it is `eager`,
//! messages that wait at a promise go on as soon as that is resolved to another promise, else once that has settled.

use super::super::{Crank, CrankOutcome, Guest, GuestCheckpoint, GuestManifest, LimitKind, NOBODY};
use crate::abi::{CapData, Delivery, Method, News, Output, Resolution, Slot, Value};
use crate::comms::plants::{self, Plant};
use crate::error::EngineError;
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A promise that this guest decides.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Own {
    resolved: Option<Slot>,
    told: bool,
    queue: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Player {
    pub eager: bool,
    /// The next deliveries that bring a reference are undone.
    pub refusing: bool,
    /// Vats may end: promises may be rejected.
    pub lossy: bool,
    rejected: BTreeSet<Slot>,
    pub vars: BTreeMap<String, Slot>,
    own: BTreeMap<Slot, Own>,
    awaited: BTreeSet<Slot>,
    held: BTreeMap<Slot, Vec<String>>,
    settled: BTreeMap<Slot, Slot>,
    next_promise: u64,
    /// Labels that were done since this was last asked.
    #[serde(skip)]
    pub done: Vec<String>,
    /// Objects of others that it has dropped since.
    #[serde(skip)]
    pub dropped: Vec<Slot>,
    /// What went wrong.
    #[serde(skip)]
    pub wrong: Vec<String>,
    #[serde(skip)]
    outputs: Vec<Output>,
}

impl GuestManifest for Player {
    fn root(&self) -> Hash {
        Hash::of_parts(&[&crate::abi::encode(self)])
    }

    fn chunks(&self) -> Vec<Hash> {
        Vec::new()
    }
}

impl Guest for Player {
    type Manifest = Player;

    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError> {
        let outcome = if self.refusing && brings(delivery) {
            CrankOutcome::RolledBack { limit: LimitKind::Fuel }
        } else {
            self.run(delivery);
            news.retired.iter().for_each(|slot| self.forget(*slot));
            CrankOutcome::Done { outputs: std::mem::take(&mut self.outputs) }
        };
        Ok(Crank { outcome, fuel: 1, logs: Vec::new() })
    }

    fn checkpoint(&mut self) -> Result<GuestCheckpoint<Player>, EngineError> {
        Ok(GuestCheckpoint { manifest: self.clone(), new_chunks: Vec::new() })
    }

    fn set_vat(&mut self, _: &VatId) {}

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn memory_limit(&self) -> u64 {
        u64::MAX
    }
}

fn brings(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Call { method: Method::Call(name), .. } if name.starts_with("give:"))
}

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Sends a label to a variable.
    Send(&'static str, &'static str),
    /// Sends a label to a variable, once that is no promise any more.
    SendSettled(&'static str, &'static str),
    /// Passes a variable to a vat, which calls it so.
    Give(&'static str, u8, &'static str),
    /// Resolves a promise of its own to a variable.
    Resolve(&'static str, &'static str),
    /// Forgets a variable, and drops its object if nothing else refers to it.
    Drop(&'static str),
    /// The same, also what the guest kept for messages under way: it may forget that at any time.
    Evict(&'static str),
}

impl Do {
    /// The variables that must be there first.
    pub fn needs(&self) -> Vec<&'static str> {
        match self {
            Do::Send(var, _) | Do::SendSettled(var, _) | Do::Give(var, ..) | Do::Drop(var) | Do::Evict(var) => {
                vec![var]
            }
            Do::Resolve(promise, var) => vec![promise, var],
        }
    }
}

impl Player {
    pub fn new(eager: bool) -> Player {
        Player { eager, next_promise: 1, ..Player::default() }
    }

    /// Begins to await the result of a call.
    pub fn await_promise(&mut self, name: &str, promise: Slot) {
        self.awaited.insert(promise);
        self.vars.insert(name.to_owned(), promise);
    }

    /// Returns whether the step can be done now.
    pub fn can(&self, step: &Do) -> bool {
        let there = step.needs().iter().all(|var| self.vars.contains_key(*var));
        there
            && match step {
                Do::SendSettled(var, _) | Do::Drop(var) => !is_promise(self.follow(self.vars[*var])),
                _ => true,
            }
    }

    /// Does a step; gives what the guest says.
    pub fn step(&mut self, step: &Do) -> Vec<Output> {
        match *step {
            Do::Send(var, label) | Do::SendSettled(var, label) => self.send_on(self.vars[var], label.to_owned()),
            Do::Give(var, to, name) => {
                let end = self.nameable(self.vars[var]);
                let args = CapData::new(&Value::Array(vec![Value::Slot(0)]), vec![end]);
                let target = self.vars[&root_name(to)];
                let method = Method::Call(format!("give:{name}"));
                self.outputs.push(Output::Send { target, method, args, result: None });
                self.announce();
            }
            Do::Resolve(promise, var) => {
                let (promise, to) = (self.vars[promise], self.vars[var]);
                let own = self.own.get_mut(&promise).expect("a script resolves its own promises");
                own.resolved = Some(to);
                if self.eager {
                    let queue = std::mem::take(&mut own.queue);
                    queue.into_iter().for_each(|label| self.send_on(to, label));
                }
                self.announce();
            }
            Do::Drop(var) | Do::Evict(var) => {
                let end = self.follow(self.vars[var]);
                self.vars.remove(var);
                if matches!(step, Do::Evict(_)) {
                    self.settled.retain(|_, value| *value != end);
                }
                let used = self.vars.values().chain(self.settled.keys()).any(|slot| self.follow(*slot) == end);
                if !used && matches!(end, Slot::HostObject(_)) {
                    self.dropped.push(end);
                }
            }
        }
        std::mem::take(&mut self.outputs)
    }

    fn run(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Call { target, method: Method::Call(name), args, result } => {
                args.slots.iter().for_each(|slot| self.learn(*slot));
                if let Some(result) = result {
                    self.own.insert(*result, Own::default());
                }
                let given = match name.split_once(':') {
                    Some(("give", var)) => Some((var, args.slots[0])),
                    Some(("make", var)) => Some((var, result.expect("a promise is asked for"))),
                    _ => None,
                };
                match given {
                    Some((var, slot)) => {
                        self.vars.insert(var.to_owned(), slot);
                    }
                    None => self.send_on(*target, name.clone()),
                }
            }
            Delivery::Settle(settlements) => {
                for (slot, resolution) in settlements {
                    self.hear(*slot, resolution);
                }
                self.announce();
            }
            Delivery::Hold(slot) => {
                if !self.awaited.remove(slot) {
                    self.wrong.push(format!("{slot:?} is held, but nobody should settle it"));
                }
                self.held.insert(*slot, Vec::new());
            }
            other => self.wrong.push(format!("unexpected: {other:?}")),
        }
    }

    /// Nobody names the promise any more. Who holds it holds what it settled to.
    fn forget(&mut self, promise: Slot) {
        self.own.remove(&promise);
        let Some(value) = self.settled.remove(&promise) else { return };
        let resolved = self.own.values_mut().filter_map(|own| own.resolved.as_mut());
        let holders = self.vars.values_mut().chain(self.settled.values_mut()).chain(resolved);
        holders.filter(|slot| **slot == promise).for_each(|slot| *slot = value);
    }

    fn hear(&mut self, slot: Slot, resolution: &Resolution) {
        let data = match resolution {
            Resolution::Fulfilled(data) => data,
            Resolution::Rejected(_) if self.lossy => {
                self.awaited.remove(&slot);
                self.held.remove(&slot);
                self.rejected.insert(slot);
                return;
            }
            Resolution::Rejected(data) => {
                self.wrong.push(format!("REJECTED: {slot:?} {:?}", data.value()));
                return;
            }
        };
        data.slots.iter().for_each(|slot| self.learn(*slot));
        if slot == NOBODY {
            return;
        }
        let queue = self.held.remove(&slot);
        if !self.awaited.remove(&slot) && queue.is_none() {
            self.wrong.push(format!("{slot:?} settles, but nobody should settle it"));
            return;
        }
        let Some(value) = data.slots.first().copied() else {
            self.wrong.push(format!("{slot:?} settles to data"));
            return;
        };
        self.settled.insert(slot, value);
        queue.unwrap_or_default().into_iter().for_each(|label| self.send_on(value, label));
    }

    fn learn(&mut self, slot: Slot) {
        if let Slot::HostPromise(_) = slot
            && !self.own.contains_key(&slot)
            && !self.settled.contains_key(&slot)
            && !self.held.contains_key(&slot)
        {
            self.awaited.insert(slot);
        }
    }

    /// Returns whether it has promises of its own that it has not told of.
    pub fn owes(&self, promise: &Slot) -> bool {
        self.own.get(promise).is_some_and(|own| !own.told)
    }

    /// Returns what a reference is by now, as far as this guest knows.
    pub fn follow(&self, mut slot: Slot) -> Slot {
        loop {
            slot = match (self.settled.get(&slot), self.own.get(&slot).and_then(|own| own.resolved)) {
                (Some(value), _) => *value,
                (None, Some(next)) => next,
                (None, None) => return slot,
            };
        }
    }

    /// As what a reference goes out: a promise that is held has no name, so one that follows it is named.
    fn nameable(&mut self, slot: Slot) -> Slot {
        let mut end = slot;
        loop {
            end = match (self.settled.get(&end), self.own.get(&end).and_then(|own| own.resolved)) {
                (Some(value), _) => *value,
                // What was sent to the promise waits there, so that others must go there, too.
                (None, Some(next)) if self.eager => next,
                _ => break,
            };
        }
        if !self.held.contains_key(&end) && !self.rejected.contains(&end) {
            return end;
        }
        let alias = Slot::VatPromise(self.next_promise);
        self.next_promise += 1;
        self.own.insert(alias, Own { resolved: Some(end), ..Own::default() });
        alias
    }

    fn send_on(&mut self, mut slot: Slot, label: String) {
        loop {
            slot = match slot {
                Slot::VatObject(_) => return self.done.push(label),
                Slot::HostObject(_) => return self.send_out(slot, label),
                promise if self.rejected.contains(&promise) => return,
                promise => {
                    if let Some(value) = self.settled.get(&promise) {
                        *value
                    } else if let Some(queue) = self.held.get_mut(&promise) {
                        return queue.push(label);
                    } else if self.awaited.contains(&promise) {
                        return self.send_out(promise, label);
                    } else if let Some(own) = self.own.get_mut(&promise) {
                        match own.resolved {
                            Some(next) if self.eager || own.told => next,
                            _ => return own.queue.push(label),
                        }
                    } else {
                        self.wrong.push(format!("{label} is sent to {promise:?}, which is not known"));
                        return;
                    }
                }
            }
        }
    }

    fn send_out(&mut self, target: Slot, label: String) {
        let args = CapData::data(&Value::Array(vec![]));
        self.outputs.push(Output::Send { target, method: Method::Call(label), args, result: None });
    }

    /// Returns whether a promise of its own is settled with another one: if that is planted. The machine says what comes of it.
    fn gives(&self, promise: Slot, end: Slot) -> bool {
        (plants::is(Plant::PromiseGiven) || plants::is(Plant::SettledBeforeItsGift))
            && self.own[&promise].resolved == Some(end)
            && self.awaited.contains(&end)
    }

    /// Tells of its own promises that have come to an object.
    fn announce(&mut self) {
        let open: Vec<Slot> =
            self.own.iter().filter(|(_, own)| own.resolved.is_some() && !own.told).map(|(slot, _)| *slot).collect();
        for promise in open {
            let end = self.follow(promise);
            if self.rejected.contains(&end) {
                let own = self.own.get_mut(&promise).expect("it was there");
                own.told = true;
                own.queue.clear();
                self.rejected.insert(promise);
                let resolution = Resolution::Rejected(CapData::data(&Value::error("Error", "it was rejected")));
                self.outputs.push(Output::Settle { promise, resolution });
                continue;
            }
            if is_promise(end) && !self.gives(promise, end) {
                continue;
            }
            let own = self.own.get_mut(&promise).expect("it was there");
            own.told = true;
            let queue = std::mem::take(&mut own.queue);
            self.settled.insert(promise, end);
            let resolution = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![end]));
            self.outputs.push(Output::Settle { promise, resolution });
            queue.into_iter().for_each(|label| self.send_on(end, label));
        }
    }
}

/// Returns what the guests call the root of a vat.
pub fn root_name(vat: u8) -> String {
    format!("root {}", char::from(vat))
}

fn is_promise(slot: Slot) -> bool {
    matches!(slot, Slot::VatPromise(_) | Slot::HostPromise(_))
}

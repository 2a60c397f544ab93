//! What a session holds: what either side can name, and for how long.
//!
//! Invariants: numbers are never used twice; what jobs and values refer to stays in the tables as long as they are there; an object of a vat
//! that nothing refers to any more is dropped there; what one session can make this host keep is bounded in entries and bytes.
//!
//! It evaluates nothing: what waited for something that is known now is put into `ready`.

use super::entries::{Export, Import, Job, State, Then};
use crate::data::{Cap, Data, Remote};
use crate::expression::{self, Expression, Import as Reference};
use crate::vats::Vats;
use quorate_streams::client::{ClientRef, Owed};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// Most entries of both tables.
const MAX_ENTRIES: usize = 16_384;
/// Bytes of what the entries hold at most.
const MAX_BYTES: usize = 64 << 20;

/// One session of Cap'n Web: see the head of the module above.
pub struct Session<V> {
    pub(super) vats: V,
    pub(super) out: Vec<String>,
    pub(super) exports: BTreeMap<i64, Export>,
    /// The last number that the other side has given by a push, that this side has given to an export, and to something internal.
    pub(super) last_push: i64,
    pub(super) last_export: i64,
    pub(super) last_internal: i64,
    /// Exports of objects.
    pub(super) stubs: BTreeMap<Remote, i64>,
    /// Exports that wait for a vat.
    pub(super) results: BTreeMap<Remote, Vec<i64>>,
    /// How many values refer to an object of a vat.
    pub(super) held: BTreeMap<Remote, u64>,
    pub(super) imports: BTreeMap<i64, Import>,
    pub(super) last_import: i64,
    /// What a vat was given for an object of the other side, and back.
    pub(super) offered: BTreeMap<(usize, i64), ClientRef>,
    pub(super) offers: BTreeMap<(usize, ClientRef), i64>,
    pub(super) answering: BTreeMap<(usize, Owed), i64>,
    pub(super) ready: VecDeque<Job>,
    pub(super) bytes: usize,
    pub(super) ended: Option<String>,
}

impl<V: Vats> Session<V> {
    /// A session in which nothing was said.
    pub fn new(vats: V) -> Session<V> {
        let main = Export {
            state: State::Main,
            named: 1,
            users: 0,
            is_pulled: false,
            is_stream: false,
            waiting: Vec::new(),
            bytes: 0,
            answer: None,
        };
        Session {
            vats,
            out: Vec::new(),
            exports: BTreeMap::from([(0, main)]),
            last_push: 0,
            last_export: 0,
            last_internal: i64::MIN,
            stubs: BTreeMap::new(),
            results: BTreeMap::new(),
            held: BTreeMap::new(),
            imports: BTreeMap::new(),
            last_import: 0,
            offered: BTreeMap::new(),
            offers: BTreeMap::new(),
            answering: BTreeMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
            ended: None,
        }
    }

    pub fn vats(&mut self) -> &mut V {
        &mut self.vats
    }

    pub fn into_vats(self) -> V {
        self.vats
    }

    /// What is to be sent, in order.
    pub fn take_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out)
    }

    /// Why nothing more is taken in, if that is so.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Whether something that was pulled is not resolved yet.
    pub fn is_waited_for(&self) -> bool {
        self.exports.values().any(|export| export.is_pulled && matches!(export.state, State::Pending(_)))
    }

    /// What is left in the tables, beside what a session begins with; nothing if nobody refers to anything.
    #[cfg(test)]
    pub fn left(&self) -> Option<String> {
        let tables =
            (&self.imports, &self.results, &self.held, &self.stubs, &self.offered, &self.offers, &self.answering);
        let exports: Vec<_> = self.exports.iter().filter(|(id, _)| **id != 0).collect();
        let left = format!("{exports:?} {tables:?} {}", self.bytes);
        let nothing = "[] ({}, {}, {}, {}, {}, {}, {}) 0";
        (left != nothing).then_some(left)
    }

    pub(super) fn send(&mut self, message: &Json) {
        self.out.push(message.to_string());
    }

    /// Ends the session: the other side broke the protocol, or wants too much.
    pub(super) fn abort(&mut self, why: impl Into<String>) {
        if self.ended.is_none() {
            let why = why.into();
            self.send(&json!(["abort", ["error", "Error", why]]));
            self.ended = Some(why);
            self.ready.clear();
        }
    }

    /// Whether so many more bytes may be kept, and one more entry.
    pub(super) fn take_room(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.exports.len() + self.imports.len() >= MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} references and calls at once: release those that are done"));
        }
        self.check_bytes()
    }

    pub(super) fn check_bytes(&self) -> Result<(), String> {
        if self.bytes > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes at once: release what is not needed"));
        }
        Ok(())
    }

    pub(super) fn next_push(&mut self, bytes: usize) -> Result<i64, String> {
        self.last_push += 1;
        self.enter(self.last_push, State::Pending(None), bytes)?;
        Ok(self.last_push)
    }

    pub(super) fn enter(&mut self, id: i64, state: State, bytes: usize) -> Result<(), String> {
        self.take_room(bytes)?;
        let (named, users) = if id <= self.last_internal { (0, 1) } else { (1, 0) };
        let (waiting, answer) = (Vec::new(), None);
        let export = Export { state, named, users, is_pulled: false, is_stream: false, waiting, bytes, answer };
        self.exports.insert(id, export);
        Ok(())
    }

    pub(super) fn internal(&mut self, state: State) -> Result<i64, String> {
        self.last_internal += 1;
        self.enter(self.last_internal, state, 0)?;
        Ok(self.last_internal)
    }

    /// A job or value refers to an export no more.
    pub(super) fn forget(&mut self, id: i64) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.users = export.users.saturating_sub(1);
        }
        self.forget_if_unused(id);
    }

    pub(super) fn forget_if_unused(&mut self, id: i64) {
        if self.exports.get(&id).is_none_or(|export| export.named > 0 || export.users > 0) {
            return;
        }
        let Some(export) = self.exports.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(export.bytes);
        if let State::Fulfilled(data) | State::Rejected(data) = export.state {
            if let Some(Cap::Remote(remote)) = data.bare()
                && self.stubs.get(&remote) == Some(&id)
            {
                self.stubs.remove(&remote);
            }
            self.let_go(&data);
        }
    }

    /// A value is kept.
    pub(super) fn hold(&mut self, data: &Data) {
        for cap in &data.slots {
            match cap {
                Cap::Remote(remote) if remote.is_counted() => *self.held.entry(*remote).or_default() += 1,
                Cap::Entry(id) => {
                    if let Some(export) = self.exports.get_mut(id) {
                        export.users += 1;
                    }
                }
                Cap::Mine(id) => self.use_import(*id),
                Cap::Remote(_) | Cap::Elsewhere(_) => {}
            }
        }
    }

    /// A value is kept no more.
    pub(super) fn let_go(&mut self, data: &Data) {
        for cap in &data.slots {
            match cap {
                Cap::Remote(remote) => {
                    let Some(count) = self.held.get_mut(remote) else { continue };
                    *count -= 1;
                    if *count == 0 {
                        self.held.remove(remote);
                        self.vats.drop_object(*remote);
                    }
                }
                Cap::Entry(id) => self.forget(*id),
                Cap::Mine(id) => self.leave_import(*id),
                Cap::Elsewhere(_) => {}
            }
        }
    }

    pub(super) fn use_import(&mut self, id: i64) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.users += 1;
        }
    }

    /// Something refers to an import no more; if nothing does, the other side may forget it.
    pub(super) fn leave_import(&mut self, id: i64) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.users -= 1;
        }
        self.done_with_import(id);
    }

    /// Lets go of an object of the other side that nothing refers to, or of a promise that has come out as well.
    pub(super) fn done_with_import(&mut self, id: i64) {
        let is_done = |import: &Import| {
            import.users == 0 && import.call.is_none() && (import.resolved.is_some() || !import.is_promise)
        };
        if self.imports.get(&id).is_some_and(is_done) {
            self.remove_import(id);
        }
    }

    pub(super) fn remove_import(&mut self, id: i64) {
        let Some(import) = self.imports.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(import.bytes);
        if let Some(Ok(data) | Err(data)) = import.resolved {
            self.let_go(&data);
        }
        self.send(&json!(["release", id, import.named]));
    }

    pub(super) fn retain(&mut self, id: i64, exports: &mut Vec<i64>) -> Result<(), String> {
        let export = self.exports.get_mut(&id).ok_or_else(|| format!("{id} is named, which is not there"))?;
        export.users += 1;
        exports.push(id);
        Ok(())
    }

    /// How a vat is given something.
    pub(super) fn passed(&mut self, vat: usize, cap: Cap) -> Result<ClientRef, String> {
        match cap {
            Cap::Remote(remote) if remote.vat == vat => Ok(remote.reference),
            Cap::Remote(_) => Err("an object of one vat can't be passed to another by this session".to_owned()),
            Cap::Elsewhere(home) => Err(format!("an object of vat {home} can't be passed by this session")),
            Cap::Mine(id) if id > 0 => Err("an answer of the client that it has not given can't be passed".to_owned()),
            Cap::Mine(id) => {
                if let Some(offered) = self.offered.get(&(vat, id)) {
                    return Ok(*offered);
                }
                let offered = self.vats.offer(vat)?;
                self.use_import(id);
                self.offered.insert((vat, id), offered);
                self.offers.insert((vat, offered), id);
                Ok(offered)
            }
            Cap::Entry(id) => match self.exports.get(&id).map(|export| export.state.clone()) {
                Some(State::Pending(Some(remote))) => self.passed(vat, Cap::Remote(remote)),
                Some(State::Fulfilled(data)) if data.bare().is_some_and(|cap| cap != Cap::Entry(id)) => {
                    data.bare().map_or_else(|| Err(String::new()), |cap| self.passed(vat, cap))
                }
                _ => Err("a promise that is not known yet, or is over, can't be passed: await it first".to_owned()),
            },
        }
    }

    /// Something has come out.
    pub(super) fn resolve(&mut self, id: i64, state: State) {
        // What a redeemed reference is to is the entry's own from here on.
        let state = match state {
            State::Fulfilled(data) => match data.bare() {
                Some(Cap::Entry(other)) => match self.exports.get(&other).map(|export| export.state.clone()) {
                    Some(State::Pending(remote)) if id != other => {
                        return self.follow(id, other, remote);
                    }
                    Some(state @ (State::Fulfilled(_) | State::Rejected(_))) => state,
                    _ => State::Fulfilled(data),
                },
                _ => State::Fulfilled(data),
            },
            other => other,
        };
        if let State::Fulfilled(data) | State::Rejected(data) = &state {
            self.hold(data);
        }
        let Some(export) = self.exports.get_mut(&id) else {
            if let State::Fulfilled(data) | State::Rejected(data) = &state {
                self.let_go(data);
            }
            return;
        };
        if let State::Pending(Some(remote)) = &state {
            self.results.entry(*remote).or_default().push(id);
        }
        export.state = state;
        self.ready.extend(std::mem::take(&mut export.waiting));
        self.tell(id);
    }

    /// An export becomes what another one, which is pending, becomes.
    pub(super) fn follow(&mut self, id: i64, other: i64, remote: Option<Remote>) {
        if let Some(remote) = remote {
            return self.resolve(id, State::Pending(Some(remote)));
        }
        let job = Job {
            expression: Expression::Import(Reference::whole(other, false)),
            then: Then::Export(id),
            exports: vec![other],
            imports: Vec::new(),
        };
        if let Some(export) = self.exports.get_mut(&other) {
            export.users += 1;
            export.waiting.push(job);
        }
    }

    /// Tells the other side how something came out, if it wants to know and that is known.
    pub(super) fn tell(&mut self, id: i64) {
        let Some(export) = self.exports.get(&id).filter(|export| export.is_pulled) else { return };
        let (kind, data) = match &export.state {
            State::Fulfilled(data) => ("resolve", data.clone()),
            State::Rejected(data) => ("reject", data.clone()),
            State::Main | State::Pending(_) => return,
        };
        let is_stream = export.is_stream;
        if let Some(export) = self.exports.get_mut(&id) {
            export.is_pulled = false;
        }
        match self.written(&data) {
            Ok((value, later)) => {
                self.send(&json!([kind, id, value]));
                later.into_iter().for_each(|id| self.tell(id));
            }
            Err(why) => self.send(&json!(["reject", id, ["error", "TypeError", why]])),
        }
        if is_stream {
            if let Some(export) = self.exports.get_mut(&id) {
                export.named = 0;
            }
            self.forget_if_unused(id);
        }
    }

    /// A value as the other side reads it, and the promises in it that may be known already.
    pub(super) fn written(&mut self, data: &Data) -> Result<(Json, Vec<i64>), String> {
        let mut later = Vec::new();
        let slots = data.slots.clone();
        let value = expression::write(&data.value, &mut |place| {
            let cap = slots.get(place as usize).copied().ok_or("a reference to nothing")?;
            self.exported(cap, &mut later)
        })?;
        Ok((value, later))
    }

    pub(super) fn exported(&mut self, cap: Cap, later: &mut Vec<i64>) -> Result<Json, String> {
        match cap {
            Cap::Remote(remote) => {
                if let Some(id) = self.stubs.get(&remote).copied() {
                    if let Some(export) = self.exports.get_mut(&id) {
                        export.named += 1;
                    }
                    return Ok(json!(["export", id]));
                }
                self.last_export -= 1;
                let (id, data) = (self.last_export, Data::of(cap));
                self.enter(id, State::Fulfilled(data.clone()), 0)?;
                self.hold(&data);
                self.stubs.insert(remote, id);
                Ok(json!(["export", id]))
            }
            Cap::Entry(of) => {
                self.last_export -= 1;
                let id = self.last_export;
                self.enter(id, State::Pending(None), 0)?;
                self.resolve(id, State::Fulfilled(Data::of(Cap::Entry(of))));
                // Told after what names it.
                if let Some(export) = self.exports.get_mut(&id) {
                    export.is_pulled = true;
                }
                later.push(id);
                Ok(json!(["promise", id]))
            }
            Cap::Mine(id) if id > 0 => Ok(json!(["pipeline", id])),
            Cap::Mine(id) => Ok(json!(["import", id])),
            Cap::Elsewhere(vat) => Err(format!(
                "the answer has an object of vat {vat}, with which this session does not talk: have it kept there, and redeem it"
            )),
        }
    }
}

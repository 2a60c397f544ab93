//! One session of Cap'n Web, as the side that is called: its tables, and what its messages do. Pure: what comes in are texts and what vats
//! say, what goes out are texts and calls of [`Vats`].
//!
//! ```text
//!   push  ──► an export, which is pending ──► fulfilled or rejected ──► resolve or reject, if it was pulled
//!                 │  a call of a vat's object, or of a result that is pending there: at once (pipelined)
//!                 └─ anything that needs what is not known yet: a job that waits for it
//!   a vat calls what the client has given it ──► push and pull from here ──► resolve ──► the vat's answer
//! ```
//!
//! Invariants: numbers are never used twice; what jobs and values refer to stays in the tables as long as they are there; an object of a vat
//! that nothing refers to any more is dropped there; what one session can make this host keep is bounded in entries and bytes.
//!
//! Where it departs from the protocol: a promise among arguments is waited for, as the protocol says, and calls that come later do not wait for
//! it; `map`, streams and dates are refused, where they are used.

pub use super::data::Remote;

use super::data::{Cap, Data, shifted};
use super::expression::{self, Expression, Import as Reference};
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, Heard, InboundCall, Owed};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, VecDeque};

/// Most entries of both tables.
const MAX_ENTRIES: usize = 16_384;
/// Bytes of what the entries hold at most.
const MAX_BYTES: usize = 64 << 20;

/// What the vats of a session do for it.
pub trait Vats {
    /// Begins to redeem a reference; [`Session::redeemed`] is told what came of it.
    fn redeem(&mut self, ticket: i64, text: &str);
    /// Calls something of a vat, and gives the promise of the answer, of which [`Session::heard`] is told.
    fn call(&mut self, target: Remote, method: Method, args: Vec<Value>, slots: &[ClientRef])
    -> Result<Remote, String>;
    /// Has an object kept for whoever has the text that [`Vats::kept`] makes of the answer.
    fn keep(&mut self, object: Remote) -> Result<Remote, String>;
    /// What a vat's answer to [`Vats::keep`] comes to; nothing if `result` is none.
    fn kept(&mut self, result: Remote, answer: &Completion) -> Option<Result<String, String>>;
    /// What proves a vat's answer to a call, as a value for the other side.
    ///
    /// # Errors
    /// It is not proven here.
    fn proof(&mut self, answer: Remote) -> Result<Value, String>;
    /// A new object that a vat can call: what it says is told as [`Heard::Called`].
    fn offer(&mut self, vat: usize) -> Result<ClientRef, String>;
    /// Answers a vat's call.
    fn settle(
        &mut self,
        vat: usize,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), String>;
    /// Says that all that was sent to an answer has been passed on.
    fn release(&mut self, vat: usize, owed: Owed);
    /// Has a vat know that its object is not held here any more.
    fn drop_object(&mut self, object: Remote);
}

#[derive(Clone, Debug)]
enum State {
    /// What a session begins with.
    Main,
    /// If there is something, that can be called already.
    Pending(Option<Remote>),
    Fulfilled(Data),
    Rejected(Data),
}

/// Something that the other side can name, or that a job needs.
#[derive(Debug)]
struct Export {
    state: State,
    /// How often the other side was told of it, less what it has released.
    named: u64,
    /// How many jobs and values refer to it.
    users: u64,
    is_pulled: bool,
    /// It goes when it is resolved, without a release.
    is_stream: bool,
    waiting: Vec<Job>,
    bytes: usize,
    /// Which answer of a vat it was settled by.
    answer: Option<Remote>,
}

/// Something of the other side.
#[derive(Debug, Default)]
struct Import {
    /// How often it was named.
    named: u64,
    /// How many jobs, values and vats refer to it.
    users: usize,
    is_promise: bool,
    /// What it came out as, if it is a promise of the other side.
    resolved: Option<Result<Data, Data>>,
    waiting: Vec<Job>,
    bytes: usize,
    /// The call of a vat that it answers, for a push of this side.
    call: Option<Call>,
}

/// A call of something of the other side by a vat.
#[derive(Debug)]
struct Call {
    vat: usize,
    answers: Option<Owed>,
    /// The answer that it was made on, if it was not made on an object.
    on: Option<i64>,
    /// How many calls of its answer are under way.
    pipelined: usize,
    is_settled: bool,
    comes_home: bool,
    /// No more calls of its answer come.
    is_quiet: bool,
}

/// An expression whose parts may have to be waited for. Whatever it refers to is whole: other references in it have their own jobs.
#[derive(Debug)]
struct Job {
    expression: Expression,
    then: Then,
    exports: Vec<i64>,
    imports: Vec<i64>,
}

/// What becomes of what an expression comes to.
#[derive(Clone, Copy, Debug)]
enum Then {
    Export(i64),
    /// Of an import; `true`: it is fulfilled.
    Resolve(i64, bool),
}

/// Why an expression has no value.
enum Stop {
    WaitForExport(i64),
    WaitForImport(i64),
    Rejected(Data),
}

fn refused(name: &str, message: impl Into<String>) -> Stop {
    Stop::Rejected(Data::error(name, message))
}

fn type_error<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(refused("TypeError", message))
}

/// Adds what a value refers to, and gives the value so that it indexes that.
fn spliced(data: &Data, slots: &mut Vec<Cap>) -> Value {
    let by = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    slots.extend(&data.slots);
    shifted(data.value.clone(), by)
}

/// See the head of the module.
pub struct Session<V> {
    vats: V,
    out: Vec<String>,
    exports: BTreeMap<i64, Export>,
    /// The last number that the other side has given by a push, that this side has given to an export, and to something internal.
    last_push: i64,
    last_export: i64,
    last_internal: i64,
    /// Exports of objects.
    stubs: BTreeMap<Remote, i64>,
    /// Exports that wait for a vat.
    results: BTreeMap<Remote, Vec<i64>>,
    /// How many values refer to an object of a vat.
    held: BTreeMap<Remote, u64>,
    imports: BTreeMap<i64, Import>,
    last_import: i64,
    /// What a vat was given for an object of the other side, and back.
    offered: BTreeMap<(usize, i64), ClientRef>,
    offers: BTreeMap<(usize, ClientRef), i64>,
    answering: BTreeMap<(usize, Owed), i64>,
    ready: VecDeque<Job>,
    bytes: usize,
    ended: Option<String>,
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

    fn send(&mut self, message: &Json) {
        self.out.push(message.to_string());
    }

    /// Ends the session: the other side broke the protocol, or wants too much.
    fn abort(&mut self, why: impl Into<String>) {
        if self.ended.is_none() {
            let why = why.into();
            self.send(&json!(["abort", ["error", "Error", why]]));
            self.ended = Some(why);
            self.ready.clear();
        }
    }

    /// Takes in one message.
    pub fn receive(&mut self, text: &str) {
        if self.ended.is_some() {
            return;
        }
        let message: Json = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return self.abort(format!("a message that is no JSON: {error}")),
        };
        if let Err(why) = self.take(&message, text.len()) {
            self.abort(why);
        }
        self.work();
    }

    fn take(&mut self, message: &Json, bytes: usize) -> Result<(), String> {
        let Some([Json::String(kind), rest @ ..]) = message.as_array().map(Vec::as_slice) else {
            return Err("a message that is no array with a name".to_owned());
        };
        match (kind.as_str(), rest) {
            ("push", [pushed]) => self.push(pushed, bytes, false),
            ("stream", [pushed]) => self.push(pushed, bytes, true),
            ("pipe", []) => {
                let id = self.next_push(0)?;
                let refused = Data::error("TypeError", "a vat has no streams: send their content as text or bytes");
                self.resolve(id, State::Rejected(refused));
                Ok(())
            }
            ("pull", [id]) => self.pull(number(id)?),
            ("resolve", [id, value]) => self.settled(number(id)?, true, value, bytes),
            ("reject", [id, value]) => self.settled(number(id)?, false, value, bytes),
            ("release", [id, count]) => {
                let count = count.as_u64().filter(|count| *count > 0).ok_or("a release of nothing")?;
                self.release(number(id)?, count)
            }
            ("abort", [_]) => {
                self.ended = Some("the client has ended the session".to_owned());
                Ok(())
            }
            _ => Err(format!("a `{kind}` message that is not understood")),
        }
    }

    fn next_push(&mut self, bytes: usize) -> Result<i64, String> {
        self.last_push += 1;
        self.enter(self.last_push, State::Pending(None), bytes)?;
        Ok(self.last_push)
    }

    /// Whether so many more bytes may be kept, and one more entry.
    fn take_room(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.exports.len() + self.imports.len() >= MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} references and calls at once: release those that are done"));
        }
        self.check_bytes()
    }

    fn check_bytes(&self) -> Result<(), String> {
        if self.bytes > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes at once: release what is not needed"));
        }
        Ok(())
    }

    fn enter(&mut self, id: i64, state: State, bytes: usize) -> Result<(), String> {
        self.take_room(bytes)?;
        let (named, users) = if id <= self.last_internal { (0, 1) } else { (1, 0) };
        let (waiting, answer) = (Vec::new(), None);
        let export = Export { state, named, users, is_pulled: false, is_stream: false, waiting, bytes, answer };
        self.exports.insert(id, export);
        Ok(())
    }

    fn internal(&mut self, state: State) -> Result<i64, String> {
        self.last_internal += 1;
        self.enter(self.last_internal, state, 0)?;
        Ok(self.last_internal)
    }

    fn push(&mut self, pushed: &Json, bytes: usize, is_stream: bool) -> Result<(), String> {
        let expression = expression::read(pushed)?;
        let id = self.next_push(bytes)?;
        if let Some(export) = self.exports.get_mut(&id).filter(|_| is_stream) {
            (export.is_stream, export.is_pulled) = (true, true);
        }
        self.submit(expression, Then::Export(id))
    }

    fn pull(&mut self, id: i64) -> Result<(), String> {
        let export = self.exports.get_mut(&id).ok_or_else(|| format!("a pull of {id}, which is not there"))?;
        export.is_pulled = true;
        self.tell(id);
        Ok(())
    }

    /// The other side has resolved something of its own.
    fn settled(&mut self, id: i64, fulfilled: bool, value: &Json, bytes: usize) -> Result<(), String> {
        let expression = expression::read(value)?;
        let import = self.imports.get_mut(&id).filter(|import| import.is_promise || import.call.is_some());
        let import = import.ok_or_else(|| format!("a settlement of {id}, which is no promise here"))?;
        // From the first message on, also if what it says has to be waited for.
        if std::mem::replace(&mut import.bytes, bytes.max(1)) > 0 {
            return Err(format!("a second settlement of {id}"));
        }
        self.take_room(bytes)?;
        self.submit(expression, Then::Resolve(id, fulfilled))
    }

    fn release(&mut self, id: i64, count: u64) -> Result<(), String> {
        if id == 0 {
            // It begins with the session and ends with it.
            return Ok(());
        }
        let export = self.exports.get_mut(&id).filter(|export| export.named >= count);
        let export = export.ok_or_else(|| format!("a release of {id}, which is not there so often"))?;
        export.named -= count;
        // It may be waited for here, but nobody there wants to know.
        export.is_pulled &= export.named > 0;
        self.forget_if_unused(id);
        Ok(())
    }

    /// A job or value refers to an export no more.
    fn forget(&mut self, id: i64) {
        if let Some(export) = self.exports.get_mut(&id) {
            export.users = export.users.saturating_sub(1);
        }
        self.forget_if_unused(id);
    }

    fn forget_if_unused(&mut self, id: i64) {
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
    fn hold(&mut self, data: &Data) {
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
    fn let_go(&mut self, data: &Data) {
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

    fn use_import(&mut self, id: i64) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.users += 1;
        }
    }

    /// Something refers to an import no more; if nothing does, the other side may forget it.
    fn leave_import(&mut self, id: i64) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.users -= 1;
        }
        self.done_with_import(id);
    }

    /// Begins to find out what an expression comes to.
    fn submit(&mut self, mut expression: Expression, then: Then) -> Result<(), String> {
        let (mut exports, mut imports) = (Vec::new(), Vec::new());
        match (&mut expression, then) {
            // A call that is pushed is the push's own.
            (Expression::Import(reference), Then::Export(_)) => {
                self.retain(reference.id, &mut exports)?;
                for argument in reference.args.iter_mut().flatten() {
                    self.flatten(argument, &mut exports, &mut imports)?;
                }
            }
            _ => self.flatten(&mut expression, &mut exports, &mut imports)?,
        }
        self.ready.push_back(Job { expression, then, exports, imports });
        Ok(())
    }

    fn retain(&mut self, id: i64, exports: &mut Vec<i64>) -> Result<(), String> {
        let export = self.exports.get_mut(&id).ok_or_else(|| format!("{id} is named, which is not there"))?;
        export.users += 1;
        exports.push(id);
        Ok(())
    }

    /// Gives each reference in an expression that is not whole a job of its own.
    fn flatten(
        &mut self,
        expression: &mut Expression,
        exports: &mut Vec<i64>,
        imports: &mut Vec<i64>,
    ) -> Result<(), String> {
        match expression {
            Expression::Plain(_) | Expression::Refused(_) => {}
            Expression::Array(items) => {
                for item in items {
                    self.flatten(item, exports, imports)?;
                }
            }
            Expression::Record(fields) => {
                for (_, value) in fields {
                    self.flatten(value, exports, imports)?;
                }
            }
            Expression::Import(reference) if reference.is_whole() => self.retain(reference.id, exports)?,
            Expression::Import(reference) => {
                let id = self.internal(State::Pending(None))?;
                let whole = Reference::whole(id, reference.is_stub);
                let part = std::mem::replace(reference, whole);
                exports.push(id);
                self.submit(Expression::Import(part), Then::Export(id))?;
            }
            Expression::Export(id) | Expression::Promise(id) => {
                let id = *id;
                if id >= 0 {
                    return Err(format!("an export of the number {id}, which is not its exporter's to give"));
                }
                self.take_room(0)?;
                let import = self.imports.entry(id).or_default();
                import.named += 1;
                import.users += 1;
                import.is_promise = matches!(expression, Expression::Promise(_));
                imports.push(id);
            }
        }
        Ok(())
    }

    /// Does what can be done.
    fn work(&mut self) {
        while let Some(job) = self.ready.pop_front() {
            let state = match self.evaluate(&job.expression, job.then) {
                Err(Stop::WaitForExport(id)) => {
                    match self.exports.get_mut(&id) {
                        Some(export) => export.waiting.push(job),
                        None => self.abort(format!("{id} is named, which is not there")),
                    }
                    continue;
                }
                Err(Stop::WaitForImport(id)) => {
                    self.imports.entry(id).or_default().waiting.push(job);
                    continue;
                }
                Err(Stop::Rejected(data)) => State::Rejected(data),
                Ok(state) => state,
            };
            match job.then {
                Then::Export(id) => self.resolve(id, state),
                Then::Resolve(id, fulfilled) => self.resolve_import(id, fulfilled, state),
            }
            job.exports.iter().for_each(|id| self.forget(*id));
            job.imports.iter().for_each(|id| self.leave_import(*id));
        }
    }

    fn evaluate(&mut self, expression: &Expression, then: Then) -> Result<State, Stop> {
        match (expression, then) {
            (Expression::Import(reference), Then::Export(_)) => self.refer(reference),
            _ => {
                let mut slots = Vec::new();
                let value = self.value(expression, &mut slots)?;
                Ok(State::Fulfilled(Data { value, slots }))
            }
        }
    }

    fn value(&self, expression: &Expression, slots: &mut Vec<Cap>) -> Result<Value, Stop> {
        Ok(match expression {
            Expression::Plain(value) => value.clone(),
            Expression::Refused(why) => return type_error(why.clone()),
            Expression::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, slots)).collect::<Result<_, _>>()?)
            }
            Expression::Record(fields) => {
                let field = |(key, value): &(String, Expression)| Ok((key.clone(), self.value(value, slots)?));
                Value::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            Expression::Export(id) => spliced(&Data::of(Cap::Mine(*id)), slots),
            Expression::Promise(id) => match self.imports.get(id).and_then(|import| import.resolved.as_ref()) {
                Some(Ok(data)) => spliced(data, slots),
                Some(Err(data)) => return Err(Stop::Rejected(data.clone())),
                None => return Err(Stop::WaitForImport(*id)),
            },
            Expression::Import(reference) => {
                let state = self.exports.get(&reference.id).map(|export| &export.state);
                match state {
                    Some(State::Fulfilled(data)) => spliced(data, slots),
                    Some(State::Rejected(data)) => return Err(Stop::Rejected(data.clone())),
                    Some(State::Pending(Some(_))) if reference.is_stub => {
                        spliced(&Data::of(Cap::Entry(reference.id)), slots)
                    }
                    Some(State::Main) => return type_error("the session itself can't be passed"),
                    Some(State::Pending(_)) | None => return Err(Stop::WaitForExport(reference.id)),
                }
            }
        })
    }

    /// What an export, a property of it or a call of that comes to.
    fn refer(&mut self, reference: &Reference) -> Result<State, Stop> {
        let Reference { id, path, args, .. } = reference;
        if matches!((self.exports.get(id).map(|export| &export.state), &path[..]), (Some(State::Main), [name]) if name == "proof")
        {
            return self.proof(args.as_deref());
        }
        let args = match args {
            None => None,
            Some(args) => {
                let mut slots = Vec::new();
                let args = args.iter().map(|arg| self.value(arg, &mut slots)).collect::<Result<Vec<_>, _>>()?;
                Some((args, slots))
            }
        };
        let state = self.exports.get(id).map(|export| export.state.clone());
        match state {
            Some(State::Main) => self.main(path, args),
            Some(State::Pending(Some(remote))) => self.reach(remote, path, args),
            Some(State::Pending(None)) | None => Err(Stop::WaitForExport(*id)),
            Some(State::Rejected(data)) => Err(Stop::Rejected(data)),
            Some(State::Fulfilled(data)) => self.walk(data, path, args),
        }
    }

    /// Follows a path in a value, and into what it refers to.
    fn walk(&mut self, mut data: Data, path: &[String], args: Option<(Vec<Value>, Vec<Cap>)>) -> Result<State, Stop> {
        let mut rest = path;
        loop {
            match data.bare() {
                Some(Cap::Remote(remote)) if !(rest.is_empty() && args.is_none()) => {
                    return self.reach(remote, rest, args);
                }
                Some(Cap::Entry(id)) => {
                    return match (self.exports.get(&id).map(|export| export.state.clone()), args) {
                        (Some(State::Pending(Some(remote))), args) => self.reach(remote, rest, args),
                        (Some(State::Fulfilled(data)), args) => self.walk(data, rest, args),
                        (Some(State::Rejected(data)), _) => Err(Stop::Rejected(data)),
                        _ => Err(Stop::WaitForExport(id)),
                    };
                }
                Some(Cap::Mine(_)) if !rest.is_empty() || args.is_some() => {
                    return type_error("that is an object of the client itself: call it there");
                }
                Some(Cap::Elsewhere(vat)) if !rest.is_empty() || args.is_some() => return elsewhere(&vat),
                _ => {}
            }
            let Some((name, after)) = rest.split_first() else { break };
            data = match data.property(name) {
                Some(data) => data,
                None => return type_error(format!("`{name}` of nothing")),
            };
            rest = after;
        }
        match args {
            None => Ok(State::Fulfilled(data)),
            Some(_) => type_error(format!("`{}` is no method", path.join("."))),
        }
    }

    /// Reads properties of something of a vat, and calls the last one if there are arguments.
    fn reach(&mut self, remote: Remote, path: &[String], args: Option<(Vec<Value>, Vec<Cap>)>) -> Result<State, Stop> {
        let failed = |why: String| refused("Error", why);
        let mut target = remote;
        let (steps, last) = match (path.split_last(), &args) {
            (Some((last, steps)), Some(_)) => (steps, Method::Call(last.clone())),
            (None, Some(_)) => (path, Method::Apply),
            (Some((last, steps)), None) => (steps, Method::Get(last.clone())),
            (None, None) => return Ok(State::Pending(Some(remote))),
        };
        let (args, caps) = args.unwrap_or_default();
        let slots = caps.iter().map(|cap| self.passed(target.vat, *cap)).collect::<Result<Vec<_>, _>>();
        let slots = slots.map_err(|why| refused("TypeError", why))?;
        for step in steps {
            target = self.vats.call(target, Method::Get(step.clone()), Vec::new(), &[]).map_err(failed)?;
        }
        self.vats.call(target, last, args, &slots).map(|result| State::Pending(Some(result))).map_err(failed)
    }

    /// What the session begins with: `redeem(text)`, which gives what a reference is to, and `keep(object)`, which gives a text for it.
    fn main(&mut self, path: &[String], args: Option<(Vec<Value>, Vec<Cap>)>) -> Result<State, Stop> {
        let ([name], Some((args, caps))) = (path, args) else {
            return type_error("call `redeem(reference)` or `keep(object)` here");
        };
        match (name.as_str(), &args[..]) {
            ("redeem", [Value::String(text)]) => {
                let ticket = self.internal(State::Pending(None)).map_err(|why| refused("Error", why))?;
                self.vats.redeem(ticket, text);
                Ok(State::Fulfilled(Data::of(Cap::Entry(ticket))))
            }
            ("redeem", _) => type_error("`redeem` takes a reference as text: vat://…"),
            ("keep", [Value::Slot(0) | Value::Named(0, _)]) => match caps.first() {
                Some(Cap::Remote(object)) if matches!(object.reference, ClientRef::Object(_)) => {
                    let result = self.vats.keep(*object);
                    result.map(|result| State::Pending(Some(result))).map_err(|why| refused("TypeError", why))
                }
                _ => type_error("`keep` takes an object of a vat"),
            },
            ("keep", _) => type_error("`keep` takes an object of a vat, and nothing else"),
            _ => type_error(format!("`{name}` is not known here: call `redeem(reference)` or `keep(object)`")),
        }
    }

    /// `proof(promise)`: what proves the answer of a call, when it is there.
    fn proof(&mut self, args: Option<&[Expression]>) -> Result<State, Stop> {
        const WANTED: &str = "`proof` takes the promise of a call, before it is awaited";
        let Some([Expression::Import(call)]) = args else { return type_error(WANTED) };
        let export =
            self.exports.get(&call.id).map(|export| (matches!(export.state, State::Pending(_)), export.answer));
        match export {
            Some((true, _)) => Err(Stop::WaitForExport(call.id)),
            Some((false, Some(answer))) => match self.vats.proof(answer) {
                Ok(value) => Ok(State::Fulfilled(Data::plain(value))),
                Err(why) => Err(refused("Error", why)),
            },
            _ => type_error(WANTED),
        }
    }

    /// How a vat is given something.
    fn passed(&mut self, vat: usize, cap: Cap) -> Result<ClientRef, String> {
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
    fn resolve(&mut self, id: i64, state: State) {
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
    fn follow(&mut self, id: i64, other: i64, remote: Option<Remote>) {
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
    fn tell(&mut self, id: i64) {
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
    fn written(&mut self, data: &Data) -> Result<(Json, Vec<i64>), String> {
        let mut later = Vec::new();
        let slots = data.slots.clone();
        let value = expression::write(&data.value, &mut |place| {
            let cap = slots.get(place as usize).copied().ok_or("a reference to nothing")?;
            self.exported(cap, &mut later)
        })?;
        Ok((value, later))
    }

    fn exported(&mut self, cap: Cap, later: &mut Vec<i64>) -> Result<Json, String> {
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

    /// What came of redeeming.
    pub fn redeemed(&mut self, ticket: i64, found: Result<Remote, String>) {
        let state = match found {
            Ok(remote) if matches!(remote.reference, ClientRef::Object(_)) => {
                State::Fulfilled(Data::of(Cap::Remote(remote)))
            }
            Ok(remote) => State::Pending(Some(remote)),
            Err(why) => State::Rejected(Data::error("Error", why)),
        };
        self.resolve(ticket, state);
        self.forget(ticket);
        self.work();
    }

    /// Takes in what a vat says.
    pub fn heard(&mut self, vat: usize, heard: Heard) {
        if self.ended.is_some() {
            return;
        }
        let taken = match heard {
            Heard::Settled(completion) => self.vat_settled(vat, &completion),
            Heard::Called(call) => self.vat_called(vat, call),
            Heard::Dropped(own) => {
                self.vat_dropped(vat, ClientRef::Own(own));
                Ok(())
            }
            Heard::Unwanted(_) => Ok(()),
            Heard::Quiet(owed) => {
                if let Some(id) = self.answering.get(&(vat, owed)).copied() {
                    if let Some(call) = self.call_of(id) {
                        call.is_quiet = true;
                    }
                    self.done_with_call(id);
                }
                Ok(())
            }
        };
        if let Err(why) = taken {
            self.abort(why);
        }
        self.work();
    }

    /// What vats have rejected with is lost: the connection to one has failed.
    pub fn lost(&mut self, vat: usize, why: &str) {
        let lost: Vec<Remote> = self.results.keys().filter(|remote| remote.vat == vat).copied().collect();
        for remote in lost {
            for id in self.results.remove(&remote).unwrap_or_default() {
                self.resolve(id, State::Rejected(Data::error("Error", why)));
            }
        }
        self.work();
    }

    fn data_of(&mut self, vat: usize, value: Value, slots: &[ClientRef]) -> Result<Data, String> {
        let mut caps = Vec::with_capacity(slots.len());
        for reference in slots {
            let remote = Remote { vat, reference: *reference };
            caps.push(match reference {
                ClientRef::Object(_) => Cap::Remote(remote),
                ClientRef::Result(_) | ClientRef::Promise(_) => {
                    let id = self.internal(State::Pending(Some(remote)))?;
                    self.results.entry(remote).or_default().push(id);
                    // Whatever keeps the value keeps it.
                    Cap::Entry(id)
                }
                ClientRef::Elsewhere(home) => Cap::Elsewhere(*home),
                ClientRef::Own(_) => {
                    Cap::Mine(self.offers.get(&(vat, *reference)).copied().ok_or("an object that was never given")?)
                }
                ClientRef::Owed(owed) => {
                    Cap::Mine(self.answering.get(&(vat, *owed)).copied().ok_or("a promise that was never given")?)
                }
                ClientRef::Lent(_) => return Err("a vat names what was lent".to_owned()),
            });
        }
        Ok(Data { value, slots: caps })
    }

    /// What came from a vat was stored where it belongs, or nowhere.
    fn stored(&mut self, data: &Data) {
        self.let_go(data);
        for cap in &data.slots {
            if let Cap::Entry(id) = cap {
                self.forget(*id);
            }
        }
    }

    fn vat_settled(&mut self, vat: usize, completion: &Completion) -> Result<(), String> {
        let remote = Remote { vat, reference: completion.promise };
        let (state, data) = match self.vats.kept(remote, completion) {
            Some(Ok(text)) => (State::Fulfilled(Data::plain(Value::String(text))), None),
            Some(Err(why)) => (State::Rejected(Data::error("Error", why)), None),
            None => {
                let data = self.data_of(vat, completion.value.clone(), &completion.slots)?;
                self.hold(&data);
                let state =
                    if completion.fulfilled { State::Fulfilled(data.clone()) } else { State::Rejected(data.clone()) };
                (state, Some(data))
            }
        };
        let bytes = completion.value.encode().len();
        for id in self.results.remove(&remote).unwrap_or_default() {
            if let Some(export) = self.exports.get_mut(&id) {
                self.bytes = self.bytes.saturating_sub(export.bytes) + bytes;
                export.bytes = bytes;
                export.answer = Some(remote);
            }
            self.resolve(id, state.clone());
        }
        if let Some(data) = data {
            self.stored(&data);
        }
        self.check_bytes()
    }

    /// A vat calls something of the other side.
    fn vat_called(&mut self, vat: usize, call: InboundCall) -> Result<(), String> {
        let InboundCall { target, method, args, slots, result } = call;
        let data = self.data_of(vat, Value::Array(args), &slots)?;
        self.hold(&data);
        let on = match target {
            ClientRef::Own(_) => self.offers.get(&(vat, target)).copied(),
            ClientRef::Owed(owed) => self.answering.get(&(vat, owed)).copied(),
            _ => None,
        };
        let on = on.ok_or("a vat calls what it was never given")?;
        let pushed = match self.written(&data) {
            Ok((args, later)) => {
                // An array is in another one; arguments are not.
                let args = args.as_array().and_then(|outer| outer.first()).cloned().unwrap_or_else(|| json!([]));
                let expression = match method {
                    Method::Call(name) => json!(["pipeline", on, [name], args]),
                    Method::Apply => json!(["pipeline", on, [], args]),
                    Method::Get(name) => json!(["pipeline", on, [name]]),
                };
                self.send(&json!(["push", expression]));
                later.into_iter().for_each(|id| self.tell(id));
                true
            }
            Err(why) => {
                if let Some(owed) = result {
                    let error = Value::Error { name: "TypeError".into(), message: why };
                    self.vats.settle(vat, owed, false, &error, &[])?;
                }
                false
            }
        };
        self.stored(&data);
        if !pushed {
            return Ok(());
        }
        self.last_import += 1;
        let id = self.last_import;
        let on_answer = matches!(target, ClientRef::Owed(_)).then_some(on);
        if result.is_none() && on_answer.is_none() {
            self.send(&json!(["release", id, 1]));
            return Ok(());
        }
        self.send(&json!(["pull", id]));
        if let Some(call) = on_answer.and_then(|on| self.call_of(on)) {
            call.pipelined += 1;
        }
        if let Some(owed) = result {
            self.answering.insert((vat, owed), id);
        }
        let call = Call {
            vat,
            answers: result,
            on: on_answer,
            pipelined: 0,
            is_settled: false,
            comes_home: false,
            is_quiet: result.is_none(),
        };
        self.imports.insert(id, Import { named: 1, call: Some(call), ..Import::default() });
        Ok(())
    }

    fn vat_dropped(&mut self, vat: usize, own: ClientRef) {
        let Some(id) = self.offers.remove(&(vat, own)) else { return };
        self.offered.remove(&(vat, id));
        self.leave_import(id);
    }

    fn call_of(&mut self, import: i64) -> Option<&mut Call> {
        self.imports.get_mut(&import)?.call.as_mut()
    }

    /// The other side has answered a call, or resolved a promise of its own.
    fn resolve_import(&mut self, id: i64, fulfilled: bool, state: State) {
        let (fulfilled, data) = match state {
            State::Fulfilled(data) => (fulfilled, data),
            State::Rejected(data) => (false, data),
            State::Main | State::Pending(_) => return,
        };
        let Some(call) = self.imports.get(&id).and_then(|import| import.call.as_ref()) else {
            self.hold(&data);
            if let Some(import) = self.imports.get_mut(&id) {
                import.resolved = Some(if fulfilled { Ok(data) } else { Err(data) });
                self.ready.extend(std::mem::take(&mut import.waiting));
            }
            return self.done_with_import(id);
        };
        let (vat, answers, on) = (call.vat, call.answers, call.on);
        let mut comes_home = false;
        if let Some(owed) = answers {
            let slots = data.slots.iter().map(|cap| self.passed(vat, *cap)).collect::<Result<Vec<_>, _>>();
            let settled = slots.and_then(|slots| {
                comes_home = fulfilled && data.bare().is_some() && matches!(slots[..], [ClientRef::Object(_)]);
                self.vats.settle(vat, owed, fulfilled, &data.value, &slots)
            });
            if let Err(why) = settled {
                comes_home = false;
                let error = Value::Error { name: "TypeError".into(), message: why };
                if let Err(why) = self.vats.settle(vat, owed, false, &error, &[]) {
                    return self.abort(format!("an answer could not be given: {why}"));
                }
            }
        }
        if let Some(call) = self.call_of(id) {
            (call.is_settled, call.comes_home) = (true, comes_home);
        }
        if let Some(on) = on {
            if let Some(call) = self.call_of(on) {
                call.pipelined -= 1;
            }
            self.done_with_call(on);
        }
        self.done_with_call(id);
    }

    /// Lets go of a call's answer when nothing can be sent to it any more, and all that was has been passed on.
    fn done_with_call(&mut self, id: i64) {
        let Some(call) = self.imports.get(&id).and_then(|import| import.call.as_ref()) else { return };
        if !call.is_settled || !call.is_quiet || call.pipelined > 0 {
            return;
        }
        let (vat, answers, comes_home) = (call.vat, call.answers, call.comes_home);
        if let Some(owed) = answers {
            self.answering.remove(&(vat, owed));
            if comes_home {
                self.vats.release(vat, owed);
            }
        }
        self.remove_import(id);
    }

    /// Lets go of an object of the other side that nothing refers to, or of a promise that has come out as well.
    fn done_with_import(&mut self, id: i64) {
        let is_done = |import: &Import| {
            import.users == 0 && import.call.is_none() && (import.resolved.is_some() || !import.is_promise)
        };
        if self.imports.get(&id).is_some_and(is_done) {
            self.remove_import(id);
        }
    }

    fn remove_import(&mut self, id: i64) {
        let Some(import) = self.imports.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(import.bytes);
        if let Some(Ok(data) | Err(data)) = import.resolved {
            self.let_go(&data);
        }
        self.send(&json!(["release", id, import.named]));
    }
}

fn number(json: &Json) -> Result<i64, String> {
    expression::read_id(json).ok_or_else(|| "a number that is none".to_owned())
}

fn elsewhere<T>(vat: &quorate_ids::VatId) -> Result<T, Stop> {
    type_error(format!("that object lives in vat {vat}, with which this session does not talk"))
}

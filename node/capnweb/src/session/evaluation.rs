//! What expressions come to: values, and calls of vats.

use super::entries::{Job, State, Then};
use super::tables::Session;
use crate::data::{Cap, Data, Remote, shifted};
use crate::expression::{Expression, Import as Reference};
use crate::vats::Vats;
use quorate_ids::VatId;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::ClientRef;

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

impl<V: Vats> Session<V> {
    /// Begins to find out what an expression comes to.
    pub(super) fn submit(&mut self, mut expression: Expression, then: Then) -> Result<(), String> {
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
    pub(super) fn work(&mut self) {
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
}

fn elsewhere<T>(vat: &VatId) -> Result<T, Stop> {
    type_error(format!("that object lives in vat {vat}, with which this session does not talk"))
}

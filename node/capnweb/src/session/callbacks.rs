//! What vats say: they answer calls of the client, and call what it has given them.

use super::entries::{Call, Import, State};
use super::tables::Session;
use crate::data::{Cap, Data, Remote};
use crate::vats::Vats;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, InboundCall};
use serde_json::json;

impl<V: Vats> Session<V> {
    pub(super) fn data_of(&mut self, vat: usize, value: Value, slots: &[ClientRef]) -> Result<Data, String> {
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
    pub(super) fn stored(&mut self, data: &Data) {
        self.let_go(data);
        for cap in &data.slots {
            if let Cap::Entry(id) = cap {
                self.forget(*id);
            }
        }
    }

    pub(super) fn vat_settled(&mut self, vat: usize, completion: &Completion) -> Result<(), String> {
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
    pub(super) fn vat_called(&mut self, vat: usize, call: InboundCall) -> Result<(), String> {
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

    pub(super) fn vat_dropped(&mut self, vat: usize, own: ClientRef) {
        let Some(id) = self.offers.remove(&(vat, own)) else { return };
        self.offered.remove(&(vat, id));
        self.leave_import(id);
    }

    pub(super) fn call_of(&mut self, import: i64) -> Option<&mut Call> {
        self.imports.get_mut(&import)?.call.as_mut()
    }

    /// The other side has answered a call, or resolved a promise of its own.
    pub(super) fn resolve_import(&mut self, id: i64, fulfilled: bool, state: State) {
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
    pub(super) fn done_with_call(&mut self, id: i64) {
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
}

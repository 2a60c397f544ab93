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
//! Where it departs from the protocol: a promise among arguments is waited for, as the protocol says, and calls that come later do not wait for
//! it; `map`, streams and dates are refused, where they are used.
//!
//! | module | uses | what it does |
//! |---|---|---|
//! | `entries` | | what the tables hold |
//! | `tables` | `entries` | what either side can name, and for how long |
//! | `callbacks` | `tables` | what vats say |
//! | `evaluation` | `tables`, `callbacks` | what expressions come to |

mod callbacks;
mod entries;
mod evaluation;
mod tables;

pub use tables::Session;

use crate::data::{Cap, Data, Remote};
use crate::expression;
use crate::vats::Vats;
use entries::{State, Then};
use quorate_streams::client::{ClientRef, Heard};
use serde_json::Value as Json;

impl<V: Vats> Session<V> {
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
}

fn number(json: &Json) -> Result<i64, String> {
    expression::read_id(json).ok_or_else(|| "a number that is none".to_owned())
}

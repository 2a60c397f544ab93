//! A session of Cap'n Web, which a client's texts reach, over vats that say nothing.

use quorate_capnweb::Remote;
use quorate_capnweb::session::Session;
use quorate_capnweb::vats::Vats;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, Heard, Owed};

/// Each call has an answer to come; what is redeemed is an object.
#[derive(Default)]
struct Silent {
    tickets: Vec<i64>,
    results: u64,
}

impl Silent {
    fn result(&mut self, vat: usize) -> Remote {
        self.results += 1;
        Remote { vat, reference: ClientRef::Result(self.results) }
    }
}

impl Vats for Silent {
    fn redeem(&mut self, ticket: i64, _: &str) {
        self.tickets.push(ticket);
    }

    fn call(&mut self, target: Remote, _: Method, _: Vec<Value>, _: &[ClientRef]) -> Result<Remote, String> {
        Ok(self.result(target.vat))
    }

    fn keep(&mut self, object: Remote) -> Result<Remote, String> {
        Ok(self.result(object.vat))
    }

    fn kept(&mut self, _: Remote, _: &Completion) -> Option<Result<String, String>> {
        None
    }

    fn proof(&mut self, _: Remote) -> Result<Value, String> {
        Err("there is none".to_owned())
    }

    fn offer(&mut self, _: usize) -> Result<ClientRef, String> {
        self.results += 1;
        Ok(ClientRef::Own(self.results))
    }

    fn settle(&mut self, _: usize, _: Owed, _: bool, _: &Value, _: &[ClientRef]) -> Result<(), String> {
        Ok(())
    }

    fn release(&mut self, _: usize, _: Owed) {}

    fn drop_object(&mut self, _: Remote) {}
}

/// Each line is a message of the client; a line that begins with `~` is an answer of a vat, in JSON, to the call with the number before it.
pub fn talk(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut session = Session::new(Silent::default());
    for line in text.lines().take(64) {
        match line.strip_prefix('~') {
            Some(answer) => {
                let Some(value) = serde_json::from_str(answer).ok().and_then(|json| Value::from_json(&json).ok())
                else {
                    continue;
                };
                let promise = ClientRef::Result(session.vats().results);
                let slots = vec![ClientRef::Object(7)];
                let is_whole = value.slot_bound() <= 1;
                if is_whole {
                    session.heard(0, Heard::Settled(Completion { promise, fulfilled: true, value, slots }));
                }
            }
            None => session.receive(line),
        }
        for ticket in std::mem::take(&mut session.vats().tickets) {
            session.redeemed(ticket, Ok(Remote { vat: 0, reference: ClientRef::Object(0) }));
        }
        for said in session.take_out() {
            let _: serde_json::Value = serde_json::from_str(&said).expect("what is sent is JSON");
        }
    }
    session.ended().is_none()
}

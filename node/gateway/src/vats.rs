//! The vats that a session talks to, each by a client of its own.

use crate::capnweb::session::{Remote, Vats};
use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use quorate_client::{Client, Lasted, LastingCall, Listener, kept_number};
use quorate_ids::VatId;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, Owed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most vats that one session talks to.
const MAX_VATS: usize = 32;

/// Makes clients of vats, and calls; on a host, by asking it where their members are.
pub trait Connects: Send + Sync + 'static {
    /// A client of the vat of a reference, which it has redeemed.
    ///
    /// # Errors
    /// The vat is not found, in words for people.
    fn connect(&self, sturdyref: Sturdyref) -> BoxFuture<'static, Result<Client, String>>;

    /// Makes one call; hosts to ask are added to those that it names.
    fn call(&self, call: LastingCall) -> BoxFuture<'static, Lasted>;
}

/// What the vats of a session tell it beside what they say.
pub(crate) enum Event {
    /// What came of redeeming.
    Redeemed { ticket: i64, found: Result<Remote, String> },
    /// A client is there: what it hears is to be listened to.
    Listen { vat: usize, listener: Listener },
    /// There is a client of a vat, or there is none.
    Connected { sturdyref: Sturdyref, client: Result<Client, String> },
}

/// A reference that is being redeemed.
struct Redeeming {
    ticket: i64,
    sturdyref: Sturdyref,
}

/// A vat of the session.
struct Vat {
    client: Client,
    /// A bearer that its client has redeemed, through which it can have objects kept.
    through: Option<[u8; 32]>,
}

/// See the head of the module.
pub(crate) struct Connections {
    connects: Arc<dyn Connects>,
    events: mpsc::UnboundedSender<Event>,
    vats: Vec<Vat>,
    known: BTreeMap<VatId, usize>,
    /// References to vats to which there is no client yet.
    connecting: BTreeMap<VatId, Vec<Redeeming>>,
    /// Vats to which something is to be said.
    unsaid: BTreeSet<usize>,
    /// What vats were asked to keep, and for which secret.
    keeping: BTreeMap<Remote, [u8; 32]>,
}

impl Connections {
    /// No vats yet. `events` are to come back by [`Connections::connected`] and to the session.
    pub fn new(connects: Arc<dyn Connects>, events: mpsc::UnboundedSender<Event>) -> Connections {
        Connections {
            connects,
            events,
            vats: Vec::new(),
            known: BTreeMap::new(),
            connecting: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            keeping: BTreeMap::new(),
        }
    }

    fn tell(&self, event: Event) {
        // The connection has ended if nobody hears it.
        let _ = self.events.send(event);
    }

    /// Has leave what was said to vats.
    pub fn say(&mut self) {
        for vat in std::mem::take(&mut self.unsaid) {
            if let Some(vat) = self.vats.get(vat) {
                vat.client.say();
            }
        }
    }

    /// There is a client of a vat, or there is none.
    pub fn connected(&mut self, sturdyref: &Sturdyref, client: Result<Client, String>) {
        let waiting = self.connecting.remove(&sturdyref.vat).unwrap_or_default();
        let client = match client {
            Ok(client) => client,
            Err(why) => {
                for Redeeming { ticket, .. } in waiting {
                    self.tell(Event::Redeemed { ticket, found: Err(why.clone()) });
                }
                return;
            }
        };
        let vat = self.vats.len();
        self.tell(Event::Listen { vat, listener: client.listen() });
        let first = client.target();
        self.vats.push(Vat { client, through: sturdyref.bearer_key() });
        self.known.insert(sturdyref.vat, vat);
        for (place, Redeeming { ticket, sturdyref }) in waiting.into_iter().enumerate() {
            // The client was made with the first one.
            if place == 0 {
                self.tell(Event::Redeemed { ticket, found: Ok(Remote { vat, reference: first }) });
            } else {
                self.redeem_at(vat, ticket, &sturdyref);
            }
        }
    }

    fn redeem_at(&mut self, vat: usize, ticket: i64, sturdyref: &Sturdyref) {
        let Some(known) = self.vats.get_mut(vat) else { return };
        let found = known.client.redeem(sturdyref).map(|reference| Remote { vat, reference });
        if found.is_ok() {
            known.through = known.through.or(sturdyref.bearer_key());
        }
        self.unsaid.insert(vat);
        self.tell(Event::Redeemed { ticket, found: found.map_err(|error| error.to_string()) });
    }

    /// Why nothing comes from a vat any more.
    pub fn why_lost(&self, vat: usize) -> String {
        let denial = self.vats.get(vat).and_then(|vat| vat.client.denial());
        denial.map_or_else(|| "too much came from the vat at once".to_owned(), |error| error.to_string())
    }

    /// Ends all clients.
    pub async fn close(self) {
        futures::future::join_all(self.vats.into_iter().map(|vat| vat.client.close())).await;
    }

    fn vat(&self, vat: usize) -> Result<&Vat, String> {
        self.vats.get(vat).ok_or_else(|| "a vat that this session does not talk to".to_owned())
    }

    /// Says something to a vat, with what else is said now.
    fn talk<T, E: ToString>(
        &mut self,
        vat: usize,
        talk: impl FnOnce(&mut quorate_streams::client::ClientSession) -> Result<T, E>,
    ) -> Result<T, String> {
        let said = self.vat(vat)?.client.quietly(talk).map_err(|error| error.to_string())?;
        self.unsaid.insert(vat);
        Ok(said)
    }
}

impl Vats for Connections {
    fn redeem(&mut self, ticket: i64, text: &str) {
        let sturdyref = match text.parse::<Sturdyref>() {
            Ok(sturdyref) => sturdyref,
            Err(error) => return self.tell(Event::Redeemed { ticket, found: Err(error.to_string()) }),
        };
        if let Some(vat) = self.known.get(&sturdyref.vat).copied() {
            return self.redeem_at(vat, ticket, &sturdyref);
        }
        let is_first = !self.connecting.contains_key(&sturdyref.vat);
        if is_first && self.vats.len() + self.connecting.len() >= MAX_VATS {
            let found = Err(format!("a session talks to at most {MAX_VATS} vats"));
            return self.tell(Event::Redeemed { ticket, found });
        }
        self.connecting.entry(sturdyref.vat).or_default().push(Redeeming { ticket, sturdyref: sturdyref.clone() });
        if is_first {
            let (events, connecting) = (self.events.clone(), self.connects.connect(sturdyref.clone()));
            tokio::spawn(async move {
                let client = connecting.await;
                if let Err(mpsc::error::SendError(Event::Connected { client: Ok(client), .. })) =
                    events.send(Event::Connected { sturdyref, client })
                {
                    // The session has ended meanwhile.
                    client.close().await;
                }
            });
        }
    }

    fn call(
        &mut self,
        target: Remote,
        method: Method,
        args: Vec<Value>,
        slots: &[ClientRef],
    ) -> Result<Remote, String> {
        let args = Value::Array(args);
        let result = self.talk(target.vat, |session| session.call(target.reference, method, &args, slots))?;
        Ok(Remote { vat: target.vat, reference: ClientRef::Result(result) })
    }

    fn keep(&mut self, object: Remote) -> Result<Remote, String> {
        let through = self.vat(object.vat)?.through;
        let through = through.ok_or("a vat keeps objects only for those who have come in by a bearer (vat://…#…)")?;
        let ClientRef::Object(id) = object.reference else { return Err("only objects are kept".to_owned()) };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let result = self.talk(object.vat, |session| session.keep(id, key, through))?;
        let result = Remote { vat: object.vat, reference: ClientRef::Result(result) };
        self.keeping.insert(result, seed);
        Ok(result)
    }

    fn kept(&mut self, result: Remote, answer: &Completion) -> Option<Result<String, String>> {
        let seed = self.keeping.remove(&result)?;
        let home = self.known.iter().find(|(_, vat)| **vat == result.vat).map(|(home, _)| *home)?;
        Some(kept_number(answer).map(|object| Sturdyref::bearer(home, object, seed).to_string()))
    }

    fn proof(&mut self, _answer: Remote) -> Result<Value, String> {
        Err("this session trusts its host, which would prove its own word: connect with the client that checks (`quorate`)".to_owned())
    }

    fn offer(&mut self, vat: usize) -> Result<ClientRef, String> {
        Ok(self.vat(vat)?.client.quietly(quorate_streams::client::ClientSession::offer))
    }

    fn settle(
        &mut self,
        vat: usize,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), String> {
        self.talk(vat, |session| session.settle_owed(owed, fulfilled, value, slots))
    }

    fn release(&mut self, vat: usize, owed: Owed) {
        if let Err(error) = self.talk(vat, |session| session.release(owed)) {
            // The vat goes on waiting for it until the session ends.
            tracing::debug!(error, "a promise that came home could not be released");
        }
    }

    fn drop_object(&mut self, object: Remote) {
        let ClientRef::Object(id) = object.reference else { return };
        if let Err(error) = self.talk(object.vat, |session| session.drop_object(id)) {
            // The vat holds it until the session ends.
            tracing::debug!(error, "an object could not be dropped");
        }
    }
}

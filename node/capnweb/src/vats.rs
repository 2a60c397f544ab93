//! The vats of a session: which there are, what is being redeemed, and what they keep for it. How a vat is found, and how what is said to it arrives, is
//! a [`Carrier`]'s: clients of a host at a gateway, frames that any host carries in a page.
//!
//! ```text
//!   redeem ─► a vat of the session? ─ no ─► the carrier looks for it ─► found: each reference to it that waits is redeemed there
//!                    └─ yes: redeemed at once               └─ not found: each of them is told why
//! ```
//!
//! Invariants: a session talks to a bounded number of vats; the secret of what is kept leaves with the answer alone.

use crate::data::Remote;
use ed25519_dalek::SigningKey;
use quorate_ids::VatId;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, ClientSession, Completion, Owed};
use std::collections::{BTreeMap, VecDeque};

/// Most vats that one session talks to.
pub const MAX_VATS: usize = 32;

/// What the vats of a session do for it.
pub trait Vats {
    /// Begins to redeem a reference; [`Session::redeemed`](crate::session::Session::redeemed) is told what came of it.
    fn redeem(&mut self, ticket: i64, text: &str);
    /// Calls something of a vat, and gives the promise of the answer, of which [`Session::heard`](crate::session::Session::heard) is told.
    fn call(&mut self, target: Remote, method: Method, args: Vec<Value>, slots: &[ClientRef])
    -> Result<Remote, String>;
    /// Has an object kept for holders of the text that [`Vats::kept`] makes of the answer.
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

/// Finds vats, and brings them what is said.
pub trait Carrier {
    /// Begins to look for the vat of a reference; [`SessionVats::found`] or [`SessionVats::not_found`] is told what came of it.
    fn find(&mut self, sturdyref: &Sturdyref);
    /// Says something to a vat that was found, with what else is said to it now.
    ///
    /// # Errors
    /// It is no vat of the session, or what was to be said is refused, in words for people.
    fn talk<T, E: ToString>(
        &mut self,
        vat: usize,
        say: impl FnOnce(&mut ClientSession) -> Result<T, E>,
    ) -> Result<T, String>;
    /// 32 random bytes, which are used for nothing else.
    ///
    /// # Errors
    /// There are none, in words for people.
    fn secret(&mut self) -> Result<[u8; 32], String>;
    /// What proves a vat's answer to a call.
    ///
    /// # Errors
    /// It is not proven here.
    fn proof(&mut self, answer: Remote) -> Result<Value, String>;
}

/// A vat of the session.
struct Found {
    id: VatId,
    /// A bearer that the session has redeemed, through which it can have objects kept.
    through: Option<[u8; 32]>,
}

/// A reference that is being redeemed.
struct Redeeming {
    ticket: i64,
    sturdyref: Sturdyref,
}

/// What came of redeeming, by the ticket.
pub type Redeemed = (i64, Result<Remote, String>);

/// See the head of the module.
pub struct SessionVats<C> {
    carrier: C,
    /// By the numbers that the carrier gave them.
    found: BTreeMap<usize, Found>,
    /// References to vats that are being looked for.
    finding: BTreeMap<VatId, Vec<Redeeming>>,
    /// What vats were asked to keep, and for which secret.
    keeping: BTreeMap<Remote, [u8; 32]>,
    redeemed: VecDeque<Redeemed>,
}

impl<C: Carrier> SessionVats<C> {
    /// No vats yet.
    pub fn new(carrier: C) -> SessionVats<C> {
        SessionVats {
            carrier,
            found: BTreeMap::new(),
            finding: BTreeMap::new(),
            keeping: BTreeMap::new(),
            redeemed: VecDeque::new(),
        }
    }

    pub fn carrier(&mut self) -> &mut C {
        &mut self.carrier
    }

    pub fn into_carrier(self) -> C {
        self.carrier
    }

    /// What came of redeeming, for [`Session::redeemed`](crate::session::Session::redeemed): to be asked for after whatever may have begun or ended it.
    pub fn next_redeemed(&mut self) -> Option<Redeemed> {
        self.redeemed.pop_front()
    }

    /// A vat that was looked for is there, as number `vat` of the carrier. `first` is what the first reference to it names, if the carrier has redeemed
    /// that one to get there.
    pub fn found(&mut self, id: VatId, vat: usize, first: Option<ClientRef>) {
        let waiting = self.finding.remove(&id).unwrap_or_default();
        self.found.insert(vat, Found { id, through: None });
        let mut first = first;
        for Redeeming { ticket, sturdyref } in waiting {
            match first.take() {
                Some(reference) => self.redeemed_at(vat, ticket, &sturdyref, Ok(reference)),
                None => self.redeem_at(vat, ticket, &sturdyref),
            }
        }
    }

    /// A vat that was looked for is not there, for this reason.
    pub fn not_found(&mut self, id: &VatId, why: &str) {
        for Redeeming { ticket, .. } in self.finding.remove(id).unwrap_or_default() {
            self.redeemed.push_back((ticket, Err(why.to_owned())));
        }
    }

    fn redeem_at(&mut self, vat: usize, ticket: i64, sturdyref: &Sturdyref) {
        let reference = self.carrier.talk(vat, |session| match sturdyref.redeem_for(&session.vat()) {
            None => Ok(ClientRef::Object(sturdyref.object)),
            Some(redemption) => {
                let signature = redemption.signature.try_into().expect("Ed25519 signatures have 64 bytes");
                session.redeem(sturdyref.object, redemption.bearer, signature)
            }
        });
        self.redeemed_at(vat, ticket, sturdyref, reference);
    }

    fn redeemed_at(&mut self, vat: usize, ticket: i64, sturdyref: &Sturdyref, reference: Result<ClientRef, String>) {
        if let (Ok(_), Some(found)) = (&reference, self.found.get_mut(&vat)) {
            found.through = found.through.or(sturdyref.bearer_key());
        }
        self.redeemed.push_back((ticket, reference.map(|reference| Remote { vat, reference })));
    }
}

impl<C: Carrier> Vats for SessionVats<C> {
    fn redeem(&mut self, ticket: i64, text: &str) {
        let sturdyref = match text.parse::<Sturdyref>() {
            Ok(sturdyref) => sturdyref,
            Err(error) => return self.redeemed.push_back((ticket, Err(error.to_string()))),
        };
        if let Some((vat, _)) = self.found.iter().find(|(_, found)| found.id == sturdyref.vat) {
            return self.redeem_at(*vat, ticket, &sturdyref);
        }
        let is_first = !self.finding.contains_key(&sturdyref.vat);
        if is_first && self.found.len() + self.finding.len() >= MAX_VATS {
            return self.redeemed.push_back((ticket, Err(format!("a session talks to at most {MAX_VATS} vats"))));
        }
        if is_first {
            self.carrier.find(&sturdyref);
        }
        self.finding.entry(sturdyref.vat).or_default().push(Redeeming { ticket, sturdyref });
    }

    fn call(
        &mut self,
        target: Remote,
        method: Method,
        args: Vec<Value>,
        slots: &[ClientRef],
    ) -> Result<Remote, String> {
        let args = Value::Array(args);
        let result = self.carrier.talk(target.vat, |session| session.call(target.reference, method, &args, slots))?;
        Ok(Remote { vat: target.vat, reference: ClientRef::Result(result) })
    }

    fn keep(&mut self, object: Remote) -> Result<Remote, String> {
        let through = self.found.get(&object.vat).and_then(|found| found.through);
        let through = through.ok_or("a vat keeps objects only for those who have come in by a bearer (vat://…#…)")?;
        let ClientRef::Object(id) = object.reference else { return Err("only objects are kept".to_owned()) };
        let seed = self.carrier.secret()?;
        let key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let result = self.carrier.talk(object.vat, |session| session.keep(id, key, through))?;
        let result = Remote { vat: object.vat, reference: ClientRef::Result(result) };
        self.keeping.insert(result, seed);
        Ok(result)
    }

    fn kept(&mut self, result: Remote, answer: &Completion) -> Option<Result<String, String>> {
        let seed = self.keeping.remove(&result)?;
        let home = self.found.get(&result.vat)?.id;
        Some(answer.kept_number().map(|object| Sturdyref::bearer(home, object, seed).to_string()))
    }

    fn proof(&mut self, answer: Remote) -> Result<Value, String> {
        self.carrier.proof(answer)
    }

    fn offer(&mut self, vat: usize) -> Result<ClientRef, String> {
        self.carrier.talk(vat, |session| Ok::<_, String>(session.offer()))
    }

    fn settle(
        &mut self,
        vat: usize,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), String> {
        self.carrier.talk(vat, |session| session.settle_owed(owed, fulfilled, value, slots))
    }

    fn release(&mut self, vat: usize, owed: Owed) {
        // If there is no room, the vat goes on waiting for it until the session ends.
        let _ = self.carrier.talk(vat, |session| session.release(owed));
    }

    fn drop_object(&mut self, object: Remote) {
        let ClientRef::Object(id) = object.reference else { return };
        // If there is no room, the vat holds it until the session ends.
        let _ = self.carrier.talk(object.vat, |session| session.drop_object(id));
    }
}

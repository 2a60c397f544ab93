//! One call: who may make how many at once, and what is kept of it.

use super::problem::{Done, Problem};
use super::receipts::{Begun, Receipt, Receipts, State, Stored};
use super::values::{shown, written};
use crate::address::Address;
use crate::shares::{Full, Share, Shares};
use crate::stats::{Outcome, Refusal, Stats};
use crate::vats::Connects;
use futures::future::BoxFuture;
use quorate_client::{Answer, Caller, Kept, Lasted, LastingCall, LastingError, Records};
use quorate_protocol::codec;
use quorate_protocol::proof::{ProofFile, file::VatProof};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{Method, Value};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Calls at once, of all. Each has a network of its own while it lasts.
const MAX_CALLS: usize = 128;
/// Calls at once of one bearer.
const MAX_CALLS_OF_BEARER: usize = 16;
/// Large bodies that come in at once.
const MAX_LARGE_BODIES: usize = 16;
/// Bytes of an answer as JSON. A message of a vat has 512 KiB; what takes more than this in JSON is all of short escapes.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What is asked.
pub(crate) struct Ask {
    /// A bearer.
    pub sturdyref: Sturdyref,
    /// Who asks.
    pub address: Address,
    pub method: Method,
    pub args: Vec<Value>,
    pub slots: Vec<Sturdyref>,
    /// An `Idempotency-Key`.
    pub key: Option<String>,
    /// Whether the answer is to be proven.
    pub prove: bool,
    pub patience: Duration,
}

/// The vat's answer.
pub(crate) struct Answered {
    /// The result as JSON text; a rejection is a [`Problem`].
    pub result: String,
    /// A file of proofs.
    pub proof: Option<Vec<u8>>,
    /// It is the answer of an earlier request.
    pub is_replayed: bool,
}

/// Makes calls.
pub(crate) struct Calls {
    connects: Arc<dyn Connects>,
    receipts: Receipts,
    /// Places for large bodies.
    pub large: Arc<Shares>,
    places: Arc<Shares>,
    pub stats: Arc<Stats>,
    by_bearer: Arc<Mutex<BTreeMap<[u8; 32], usize>>>,
}

impl Calls {
    pub fn new(connects: Arc<dyn Connects>, receipts: Receipts, stats: Arc<Stats>) -> Calls {
        let (large, places) = (Shares::new(MAX_LARGE_BODIES), Shares::new(MAX_CALLS));
        Calls { connects, receipts, large, places, stats, by_bearer: Arc::default() }
    }

    /// Makes a call, which goes on if nobody waits for it any more.
    ///
    /// # Errors
    /// There is no result: the vat rejected the call, or it did not come so far.
    pub async fn call(self: &Arc<Self>, ask: Ask) -> Result<Answered, Problem> {
        let Some(bearer) = ask.sturdyref.bearer_key() else {
            return Err(Problem::no_bearer("the reference has no secret"));
        };
        let place = self.place(ask.address, bearer)?;
        let calls = Arc::clone(self);
        let call = tokio::spawn(async move {
            calls.stats.call_begins();
            let answered = calls.call_now(ask, bearer).await;
            calls.stats.call_ends(answered.as_ref().map_or_else(Problem::outcome, |_| Outcome::Fulfilled));
            drop(place);
            answered
        });
        call.await.unwrap_or_else(|error| Err(Problem::not_recorded(&error.to_string(), Done::Maybe)))
    }

    fn place(&self, address: Address, bearer: [u8; 32]) -> Result<Place, Problem> {
        let share = self.places.take(address, 1).map_err(|full| match full {
            Full::All => {
                let why = format!("{MAX_CALLS} calls are under way at this host, which is the most");
                Problem::busy(Refusal::Full, why)
            }
            Full::Share(own) => {
                let why = format!(
                    "{own} of the {MAX_CALLS} calls that this host makes at once are for your address, {address}, which is its share now; ask again when one of them has its answer"
                );
                Problem::busy(Refusal::Share, why)
            }
        })?;
        let mut by_bearer = self.by_bearer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_bearer.entry(bearer).or_default();
        if *count >= MAX_CALLS_OF_BEARER {
            let why = format!("{MAX_CALLS_OF_BEARER} calls through this reference are under way, which is the most");
            return Err(Problem::busy(Refusal::ReferenceShare, why));
        }
        *count += 1;
        Ok(Place { by_bearer: Arc::clone(&self.by_bearer), bearer, _share: share })
    }

    async fn call_now(&self, ask: Ask, bearer: [u8; 32]) -> Result<Answered, Problem> {
        let mut receipt = None;
        let mut caller = None;
        if let Some(key) = &ask.key {
            if let Some(other) = ask.slots.iter().find(|slot| slot.vat != ask.sturdyref.vat) {
                let why = format!(
                    "a call with an Idempotency-Key passes references to objects of its own vat only, and one is of vat {}; make it without a key",
                    other.vat
                );
                return Err(Problem::malformed(why));
            }
            match self.receipts.begin(bearer, key, fingerprint(&ask)).await? {
                Begun::New(new) => receipt = Some(Arc::new(new)),
                Begun::Again(again, who) => (receipt, caller) = (Some(Arc::new(again)), Some(who)),
                Begun::Answered(stored) => return answered(stored, true),
            }
        }
        let is_again = caller.is_some();
        let records: Box<dyn Records> = match &receipt {
            Some(receipt) => Box::new(Recording(Arc::clone(receipt))),
            None => Box::new(()),
        };
        let lasted = self.connects.call(LastingCall {
            sturdyref: ask.sturdyref,
            hosts: Vec::new(),
            method: ask.method,
            args: ask.args,
            slots: ask.slots,
            // A repeated request may want it then.
            prove: ask.prove || receipt.is_some(),
            deadline: ask.patience,
            lasts: receipt.is_some(),
            caller,
            records,
        });
        let Lasted { answer, kept, proof } = lasted.await;
        match answer {
            Ok(answer) => {
                let stored = stored(&answer, &kept, proof.as_ref());
                // Before that the answer was recorded without what it refers to.
                if let Some(receipt) = receipt.filter(|_| !answer.slots.is_empty())
                    && let Err(why) = receipt.write(State::Answered(stored.clone())).await
                {
                    tracing::warn!(why, "the references of an answer could not be recorded");
                }
                answered(stored, false)
            }
            Err(error) => {
                let is_lost = matches!(error, LastingError::Forgotten);
                let problem = Problem::unanswered(error, is_again);
                match receipt {
                    Some(receipt) if problem.done == Done::No => receipt.remove().await,
                    Some(receipt) if is_lost => {
                        // If not, the next attempt finds the same.
                        let _ = receipt.write(State::Lost).await;
                    }
                    _ => {}
                }
                Err(problem)
            }
        }
    }
}

/// A call's place among those at once.
struct Place {
    by_bearer: Arc<Mutex<BTreeMap<[u8; 32], usize>>>,
    bearer: [u8; 32],
    _share: Share,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_bearer = self.by_bearer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_bearer.get_mut(&self.bearer) {
            *count -= 1;
            if *count == 0 {
                by_bearer.remove(&self.bearer);
            }
        }
    }
}

/// Records a call with a key.
struct Recording(Arc<Receipt>);

impl Records for Recording {
    fn begun<'a>(&'a mut self, caller: &'a Caller) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.0.write(State::Begun(caller.clone())))
    }

    fn answered<'a>(
        &'a mut self,
        answer: &'a Answer,
        proof: Option<&'a VatProof>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.0.write(State::Answered(stored(answer, &[], proof))))
    }
}

/// Returns what a request asks for: two that have the same are the same call.
fn fingerprint(ask: &Ask) -> [u8; 32] {
    let references: Vec<String> = ask.slots.iter().map(ToString::to_string).collect();
    let (vat, object) = (ask.sturdyref.vat.0, ask.sturdyref.object);
    let args = Value::Array(ask.args.clone()).encode();
    Sha256::digest(codec::encode(&(vat, object, &ask.method, args, references))).into()
}

fn stored(answer: &Answer, kept: &[Kept], proof: Option<&VatProof>) -> Stored {
    Stored {
        fulfilled: answer.fulfilled,
        json: written(answer, kept).to_string(),
        shown: if answer.fulfilled { String::new() } else { shown(&answer.value) },
        proof: proof.map(|proof| ProofFile { vats: vec![proof.clone()] }.encode()),
    }
}

fn answered(stored: Stored, is_replayed: bool) -> Result<Answered, Problem> {
    if stored.json.len() > MAX_ANSWER_BYTES {
        let why = format!(
            "the call was done; its answer takes {} bytes as JSON, and {MAX_ANSWER_BYTES} is the most: have the vat answer with less",
            stored.json.len()
        );
        return Err(Problem::answer_lost(why, Done::Yes));
    }
    if stored.fulfilled {
        return Ok(Answered { result: stored.json, proof: stored.proof, is_replayed });
    }
    let rejection: Json = serde_json::from_str(&stored.json).unwrap_or_default();
    Err(Problem::rejected(rejection, stored.shown))
}

//! A call that outlives the process that makes it: made again by the same client vat, it is the same call.
//!
//! To the called vat a client is a vat with a stream, and each message of a stream is done once (`comms` of the engine). So a call that is
//! made anew from the same key, genesis, reference and arguments is the same first message of the same stream: the vat does it if it has not, and
//! sends its answer again as long as that was not acknowledged.
//!
//! Invariants: who calls is recorded before anything is sent; the answer is recorded before it is acknowledged; a client whose answer is not
//! there says no farewell. What a call is made of must not differ from one time to the next, which its owner sees to: the vat would take
//! another message with the same number for a lie, and not hear it.

use super::lending::lend;
use super::{
    Acknowledges, Answer, Client, ClientError, Kept, Known, LIFETIME_BLOCKS, own_genesis, random, start_network_as,
};
use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use quorate_courier::lookup::members_and_block;
use quorate_proof::Member;
use quorate_protocol::{
    evidence::{LASTING_BLOCKS, LIFETIME_IS_OVER, STRANGER},
    proof::file::VatProof,
    sturdyref::Sturdyref,
};
use quorate_streams::{
    abi::{Method, Value},
    client::{ClientRef, Completion},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::{sync::oneshot, time::Instant};

/// The identity of a caller. It is secret: a holder can send in the client's name until its time is over.
#[derive(Clone, Serialize, Deserialize)]
pub struct Caller {
    secret: [u8; 32],
    nonce: [u8; 32],
    /// The last block of the called vat at which it is heard.
    expires: u64,
}

/// A call to make, or to make again.
pub struct LastingCall {
    /// The object to call: a bearer.
    pub sturdyref: Sturdyref,
    /// Hosts that may know the vat, the first one first.
    pub hosts: Vec<Member>,
    pub method: Method,
    pub args: Vec<Value>,
    /// Further objects: slots in the arguments index them. Those of other vats are lent anew each time, so a call that is to be the same when
    /// it is made again has none of these.
    pub slots: Vec<Sturdyref>,
    /// Whether the answer is to be proven to others.
    pub prove: bool,
    /// How long everything may take.
    pub deadline: Duration,
    /// Whether it may be made again, when it has no answer. If not, it is over then, as any client's.
    pub lasts: bool,
    /// The caller of an earlier attempt, if there was one.
    pub caller: Option<Caller>,
    /// Where it is recorded.
    pub records: Box<dyn Records>,
}

/// What is to be on disk before a call goes on.
pub trait Records: Send {
    /// Nothing was sent yet.
    ///
    /// # Errors
    /// It could not be recorded: the call is not made.
    fn begun<'a>(&'a mut self, caller: &'a Caller) -> BoxFuture<'a, Result<(), String>>;

    /// The answer is here, and the vat still has it. What it refers to is not kept yet.
    ///
    /// # Errors
    /// It could not be recorded: the vat goes on keeping the answer.
    fn answered<'a>(&'a mut self, answer: &'a Answer, proof: Option<&'a VatProof>)
    -> BoxFuture<'a, Result<(), String>>;
}

/// Records nothing: the call ends with this process.
impl Records for () {
    fn begun<'a>(&'a mut self, _caller: &'a Caller) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn answered<'a>(
        &'a mut self,
        _answer: &'a Answer,
        _proof: Option<&'a VatProof>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LastingError {
    /// Nothing was done.
    #[error("the reference opens nothing at its vat: {0}")]
    NotOpened(String),
    /// Before the call, or after it: the error says which.
    #[error("{0}")]
    NotRecorded(String),
    /// The vat does not hear this client any more: whether an earlier attempt was done can't be said by anybody.
    #[error("the vat has forgotten this caller; whether the call was done at an earlier attempt is not known")]
    Forgotten,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What came of a call.
pub struct Lasted {
    /// The answer, or why there is none.
    pub answer: Result<Answer, LastingError>,
    /// What came of keeping the references of the answer.
    pub kept: Vec<Kept>,
    /// What proves the answer, if that was wanted.
    pub proof: Option<VatProof>,
}

impl Lasted {
    fn failed(error: impl Into<LastingError>) -> Lasted {
        Lasted { answer: Err(error.into()), kept: Vec::new(), proof: None }
    }
}

/// Makes a call and waits for the answer; has the vat keep the objects that the answer refers to.
pub async fn call_lasting(mut call: LastingCall) -> Lasted {
    let until = Instant::now() + call.deadline;
    let (is_again, lasts) = (call.caller.is_some(), call.lasts);
    let client = match begin(&mut call, until).await {
        Ok(client) => client,
        Err(error) => return Lasted::failed(error),
    };
    match answer(&client, &mut call, until).await {
        Ok(lasted) => {
            // A caller that waits for the answer need not wait for the farewell.
            tokio::spawn(client.close());
            lasted
        }
        Err(LastingError::Client(ClientError::Refused(why))) if is_again && why == LIFETIME_IS_OVER => {
            client.leave().await;
            Lasted::failed(LastingError::Forgotten)
        }
        // Its members need not ask the vat for that.
        Err(LastingError::Client(ClientError::Refused(why))) if why == STRANGER => {
            client.leave().await;
            Lasted::failed(LastingError::NotOpened(why))
        }
        Err(error) => {
            if lasts {
                client.leave().await;
            } else {
                client.close().await;
            }
            Lasted::failed(error)
        }
    }
}

impl LastingCall {
    /// For how many of the vat's blocks its client is heard.
    fn lifetime_blocks(&self) -> u64 {
        if self.lasts {
            return LASTING_BLOCKS;
        }
        // The longer it waits, the longer the vat has to know it.
        LIFETIME_BLOCKS.saturating_mul(1 + self.deadline.as_secs() / 30).min(LASTING_BLOCKS)
    }
}

/// A client that has said nothing yet.
async fn begin(call: &mut LastingCall, until: Instant) -> Result<Client, LastingError> {
    let secret = match &call.caller {
        Some(caller) => caller.secret,
        None => random()?,
    };
    let (network, frames) = start_network_as(secret).await?;
    let vat = call.sturdyref.vat;
    let began = async {
        let found = members_and_block(&network, &call.hosts, &vat, until).await;
        let (found, block) = found.map_err(|why| ClientError::not_found(why, vat))?;
        let caller = match call.caller.take() {
            Some(caller) => caller,
            None => {
                let expires = block.saturating_add(call.lifetime_blocks());
                let caller = Caller { secret, nonce: random()?, expires };
                call.records.begun(&caller).await.map_err(LastingError::NotRecorded)?;
                caller
            }
        };
        let known = Known::found(found.introduction, block, found.by, &found.silent);
        let key = SigningKey::from_bytes(&caller.secret);
        let genesis = own_genesis(&key, caller.nonce, caller.expires);
        let given: Vec<Sturdyref> = call.slots.iter().filter(|slot| slot.vat == vat).cloned().collect();
        let network = network.clone();
        Ok(Client::start(key, genesis, &call.sturdyref, &given, known, network, Acknowledges::WhenTold)?)
    };
    match began.await {
        Ok(client) => {
            frames.serve(&client.inner);
            Ok(client)
        }
        Err(error) => {
            network.shutdown().await;
            Err(error)
        }
    }
}

async fn answer(client: &Client, call: &mut LastingCall, until: Instant) -> Result<Lasted, LastingError> {
    if call.prove {
        client.prove();
    }
    let (target, given, redeemed) = {
        let mut session = client.inner.lock();
        let (sender, redeemed) = oneshot::channel();
        let target = session.target;
        if matches!(target, ClientRef::Result(_)) {
            session.waiting.insert(target, sender);
        }
        (target, session.given.clone(), redeemed)
    };
    let (slots, lenders) = lend(client, &call.slots, &given, &call.hosts, call.lifetime_blocks(), until).await?;
    let answer = match client.begin_with(target, call.method.clone(), call.args.clone(), &slots) {
        Ok(answer) => match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(client.without_answer(call.deadline)),
        },
        Err(error) => Err(error),
    };
    lenders.close().await;
    let answer = answer?;
    // It comes before what was called through it.
    if let Some(why) = refusal(redeemed) {
        return Err(LastingError::NotOpened(why));
    }
    let proof = client.proof();
    call.records.answered(&answer, proof.as_ref()).await.map_err(LastingError::NotRecorded)?;
    let through = call.sturdyref.bearer_key().filter(|_| answer.fulfilled && !answer.slots.is_empty());
    let kept = match through {
        None => Vec::new(),
        Some(through) => {
            {
                let mut session = client.inner.lock();
                session.keep_of(&answer, through);
                client.inner.speak(&mut session);
            }
            client.kept(until).await
        }
    };
    Ok(Lasted { answer: Ok(answer), kept, proof })
}

/// Returns why a reference opened nothing, if it did not.
fn refusal(mut redeemed: oneshot::Receiver<Completion>) -> Option<String> {
    let redeemed = redeemed.try_recv().ok().filter(|redeemed| !redeemed.fulfilled)?;
    Some(match redeemed.value {
        Value::Error { message, .. } => message,
        other => other.to_json().to_string(),
    })
}

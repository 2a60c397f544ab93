//! One call by a client of its own, as `vat call` makes it.

use super::{
    Acknowledges, Answer, Client, ClientError, Kept, Known,
    following::{CallTrace, Moments},
    lending::lend,
    own_genesis, random, start_network,
};
use ed25519_dalek::SigningKey;
use quorate_courier::lookup::{NotFound, members_and_block};
use quorate_ids::VatId;
use quorate_net::Network;
use quorate_proof::Member;
use quorate_protocol::{
    evidence::{LIFETIME_IS_OVER, MAX_LIFETIME_BLOCKS},
    proof::file::VatProof,
    sturdyref::Sturdyref,
};
use quorate_streams::abi::{Method, Value};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// So many blocks the vat may have gone on since it was remembered: a client that knows no newer block asks to be heard so much longer.
const SINCE_REMEMBERED_BLOCKS: u64 = 400_000;

/// A call to make.
pub struct OneCall<'a> {
    /// The object to call.
    pub sturdyref: &'a Sturdyref,
    /// Hosts that may know the vat, the first one first.
    pub hosts: &'a [Member],
    /// What was remembered of the vat.
    pub known: Option<Known>,
    /// What is asked of the object.
    pub request: Request,
    /// Whether the references of the answer are to be kept, so that later calls can use them. Only through a bearer.
    pub keep: bool,
    /// For how many of the vat's blocks the client is to be heard at most.
    pub lifetime_blocks: u64,
    /// How long everything may take.
    pub deadline: Duration,
    /// Whether the answer is to be proven to others.
    pub prove: bool,
}

/// What is asked of an object.
pub enum Request {
    /// A call of a method.
    Call {
        method: Method,
        args: Vec<Value>,
        /// Further objects, of that vat and of others: slots in the arguments index them.
        slots: Vec<Sturdyref>,
    },
    /// To let go of what the vat keeps for the sturdyref.
    Discard,
}

impl Request {
    fn slots(&self) -> &[Sturdyref] {
        match self {
            Request::Call { slots, .. } => slots,
            Request::Discard => &[],
        }
    }

    /// Those that live in this vat.
    fn slots_of(&self, vat: &VatId) -> Vec<Sturdyref> {
        self.slots().iter().filter(|slot| slot.vat == *vat).cloned().collect()
    }
}

/// What came of a call.
pub struct Called {
    /// The answer, or why there is none.
    pub answer: Result<Answer, ClientError>,
    /// What came of keeping the references of the answer, if that was wanted.
    pub kept: Vec<Kept>,
    /// What is worth remembering of the vat.
    pub known: Option<Known>,
    /// What proves the answer, if that was wanted.
    pub proof: Option<VatProof>,
    /// How it went, if a client was made.
    pub trace: Option<CallTrace>,
}

impl Called {
    fn failed(error: ClientError) -> Called {
        Called { answer: Err(error), kept: Vec::new(), known: None, proof: None, trace: None }
    }
}

/// Makes a call and waits for the answer.
pub async fn call_once(mut call: OneCall<'_>) -> Called {
    let until = Instant::now() + call.deadline;
    if let Some(known) = call.known.take() {
        let called = call_known(&call, known, until).await;
        match &called.answer {
            // The block that was remembered is too old. The vat will never take what was said: it is said anew.
            Err(ClientError::Refused(why)) if *why == LIFETIME_IS_OVER => {}
            _ => return called,
        }
    }
    call_unknown(&call, until).await
}

/// Calls a vat that is remembered: at once, while its hosts are asked what is new.
async fn call_known(call: &OneCall<'_>, known: Known, until: Instant) -> Called {
    let lifetime = call.lifetime_blocks.saturating_add(SINCE_REMEMBERED_BLOCKS).min(MAX_LIFETIME_BLOCKS);
    let expires = known.block.saturating_add(lifetime);
    let vat = call.sturdyref.vat;
    let mut moments = Moments::begin();
    let (secret, network, frames) = match start_network().await {
        Ok(started) => started,
        Err(error) => return Called::failed(error),
    };
    moments.network_is_up();
    let mut hosts = known.members();
    for host in call.hosts {
        if hosts.iter().all(|other| other.key != host.key) {
            hosts.push(host.clone());
        }
    }
    let client = match start(call, secret, known, expires, network.clone()) {
        Ok(client) => client,
        Err(error) => {
            network.shutdown().await;
            return Called::failed(error);
        }
    };
    frames.serve(&client.inner);
    let asking = async {
        match members_and_block(&network, &hosts, &vat, until).await {
            Ok((found, block)) => client.inner.learn(found.introduction, block),
            // Nobody is there. Others may still be slow.
            Err(why @ (NotFound::Down(_) | NotFound::Unknown)) if !client.inner.lock().perhaps_sent => return why,
            Err(_) => {}
        }
        std::future::pending().await
    };
    let outcome = tokio::select! {
        biased;
        outcome = answer(&client, call, until) => outcome,
        why = asking => Err(ClientError::not_found(why, vat)),
    };
    ended(client, outcome, until, &moments).await
}

/// Calls a vat of which nothing is known: its hosts are asked first.
async fn call_unknown(call: &OneCall<'_>, until: Instant) -> Called {
    let vat = call.sturdyref.vat;
    let mut moments = Moments::begin();
    let (secret, network, frames) = match start_network().await {
        Ok(started) => started,
        Err(error) => return Called::failed(error),
    };
    moments.network_is_up();
    let started = match members_and_block(&network, call.hosts, &vat, until).await {
        Ok((found, block)) => {
            moments.members_are_found();
            let known = Known::found(found.introduction, block, found.by, &found.silent);
            start(call, secret, known, block.saturating_add(call.lifetime_blocks), network.clone())
        }
        Err(why) => Err(ClientError::not_found(why, vat)),
    };
    let client = match started {
        Ok(client) => client,
        Err(error) => {
            network.shutdown().await;
            return Called::failed(error);
        }
    };
    frames.serve(&client.inner);
    let outcome = answer(&client, call, until).await;
    ended(client, outcome, until, &moments).await
}

/// A client for one call, to be heard until a block of the vat.
fn start(
    call: &OneCall<'_>,
    secret: [u8; 32],
    known: Known,
    expires: u64,
    network: Arc<dyn Network>,
) -> Result<Client, ClientError> {
    let key = SigningKey::from_bytes(&secret);
    let (genesis, given) = (own_genesis(&key, random()?, expires), call.request.slots_of(&call.sturdyref.vat));
    Client::start(key, genesis, call.sturdyref, &given, known, network, Acknowledges::ByFarewell)
}

/// Ends a client when what its answer has is kept.
async fn ended(client: Client, answer: Result<Answer, ClientError>, until: Instant, moments: &Moments) -> Called {
    let kept = client.kept(until).await;
    let (known, proof) = (Some(client.known()), client.proof());
    let trace = Some(CallTrace::of(client.vat(), &client.inner.lock(), moments));
    client.close().await;
    Called { answer, kept, known, proof, trace }
}

async fn answer(client: &Client, call: &OneCall<'_>, until: Instant) -> Result<Answer, ClientError> {
    if call.prove {
        client.prove();
    }
    let bearer = call.sturdyref.bearer_key();
    if let Some(through) = bearer.filter(|_| call.keep) {
        client.keep(through);
    }
    let (target, given) = {
        let session = client.inner.lock();
        (session.target, session.given.clone())
    };
    let (slots, lenders) = lend(client, call.request.slots(), &given, call.hosts, call.lifetime_blocks, until).await?;
    let begun = match &call.request {
        Request::Call { method, args, .. } => client.begin_with(target, method.clone(), args.clone(), &slots),
        Request::Discard => client.begin_discard(bearer.unwrap_or_default()),
    };
    let answer = match begun {
        Ok(answer) => match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(client.without_answer(call.deadline)),
        },
        Err(error) => Err(error),
    };
    lenders.close().await;
    answer
}

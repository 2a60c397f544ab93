//! A client: an ephemeral vat without code, with a key of its own, that calls an object of another vat and hears the answers.
//!
//! To the vat that it calls it is a solo vat like any other: its id is the hash of a genesis with its one key, what it says is
//! certified by its one signature, and it believes only what the called vat's threshold has signed. Other than those it says by its
//! genesis when it will be over, so that the called vat can forget it.

use crate::{
    codec,
    evidence::{Outbox, Slice},
    lookup::members_and_block,
    sturdyref::Sturdyref,
    vat::{
        courier::{Courier, CourierMetrics, Notice, Whereabouts},
        view::RestoredOutbox,
        wire::{SliceReply, VatFrame},
    },
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use quorate_consensus::{
    Certificate, Genesis, Hash, HostKey, Introduction, Member, MemberSignature, Parameters, Signers, Statement,
};
use quorate_engine::{
    VatId,
    abi::{Method, Value},
    comms::{
        client::{ClientRef, ClientSession, Completion},
        stream,
    },
    machine::Deliver,
};
use quorate_net::{Handler, HostId, Libp2pNetwork, NetError, NetLimits, NetOptions, Network, Purpose};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, Weak},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a host may take to say who the members of a vat are.
const WHOIS_DEADLINE: Duration = Duration::from_secs(3);
/// How long others may take after the first of them has answered: a host that is down answers late or never.
const WHOIS_PATIENCE: Duration = Duration::from_millis(20);
/// For how many of the vat's blocks a client is heard, unless it asks for another number. A busy vat needs a minute for so many; a
/// `vat call` is over by then, and the vat forgets it.
pub const LIFETIME_BLOCKS: u64 = 100_000;
/// How long a client that has its answers waits until the vat has its acknowledgement: a courtesy, not a need.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the network could not be started: {0}")]
    Network(#[from] NetError),
    #[error(
        "none of the hosts asked knows vat {0}, or none answers; is one of its members running, and reachable from here?"
    )]
    Unknown(VatId),
    #[error("the call can't be made: {0}")]
    Call(String),
    #[error("no answer in {0} s; the call may still take effect")]
    Deadline(u64),
    #[error("the vat's members refuse the call: {0}; it was not done")]
    Refused(String),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// A vat's answer to a call.
pub type Answer = Completion;

struct Session {
    session: ClientSession,
    /// Who signs for the called vat, and where they are.
    known: Signers,
    members: Vec<Member>,
    waiting: BTreeMap<ClientRef, oneshot::Sender<Answer>>,
    /// Statements made so far, and the hash of the last.
    blocks: u64,
    previous: Hash,
    acknowledged: u64,
    /// Members that refused what was last said, and why.
    refusals: BTreeMap<HostId, String>,
    /// Why nothing that this client says is taken, if so many members say it that one of them is honest.
    refused: Option<String>,
}

struct Inner {
    vat: VatId,
    target: VatId,
    key: SigningKey,
    session: Mutex<Session>,
    notices: mpsc::UnboundedSender<Notice>,
    shipped: Notify,
}

/// A client of one vat; many calls may be under way at once.
pub struct Client {
    inner: Arc<Inner>,
    network: Arc<dyn Network>,
    courier: tokio::task::JoinHandle<()>,
}

impl Client {
    /// Makes a client for the vat of `sturdyref`, whose members are found by asking `hosts`. A bearer is redeemed with the
    /// first message.
    pub async fn connect(sturdyref: &Sturdyref, hosts: &[Member]) -> Result<Client, ClientError> {
        Client::connect_for(sturdyref, hosts, LIFETIME_BLOCKS).await
    }

    /// As [`Client::connect`], for a client that is to be heard for so many of the vat's blocks. After these the vat forgets it: what
    /// it asks then is not answered.
    pub async fn connect_for(
        sturdyref: &Sturdyref,
        hosts: &[Member],
        lifetime_blocks: u64,
    ) -> Result<Client, ClientError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| ClientError::Random(error.to_string()))?;
        let frames = Arc::new(ClientFrames(OnceLock::new()));
        let options = NetOptions { secret, listen: Vec::new(), handler: frames.clone(), limits: NetLimits::default() };
        let network: Arc<dyn Network> = Libp2pNetwork::start(options).await?;
        let found = members_and_block(&network, hosts, &sturdyref.vat, WHOIS_DEADLINE, WHOIS_PATIENCE).await;
        let Some((introduction, block)) = found else {
            network.shutdown().await;
            return Err(ClientError::Unknown(sturdyref.vat));
        };
        let expires = block.saturating_add(lifetime_blocks);
        let client = Client::start(secret, sturdyref, &introduction, expires, network)?;
        // The network hands frames over from here on.
        let _ = frames.0.set(Arc::downgrade(&client.inner));
        Ok(client)
    }

    fn start(
        secret: [u8; 32],
        sturdyref: &Sturdyref,
        introduction: &Introduction,
        expires: u64,
        network: Arc<dyn Network>,
    ) -> Result<Client, ClientError> {
        let key = SigningKey::from_bytes(&secret);
        let genesis = own_genesis(&key, expires)?;
        let (vat, target) = (VatId(genesis.vat_id().0), sturdyref.vat);
        let membership = introduction.verify().map_err(|error| ClientError::Call(error.to_string()))?;
        for member in &membership.members {
            network.set_addresses(HostId(member.key.0), member.addresses.clone());
        }
        let mut session = ClientSession::new(vat, target);
        if let Some(redemption) = sturdyref.redeem_for(&vat) {
            let signature = redemption.signature.try_into().expect("Ed25519 signatures have 64 bytes");
            session
                .redeem(sturdyref.object, redemption.bearer, signature)
                .map_err(|error| ClientError::Call(error.to_string()))?;
        }
        let (notices, notices_rx) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            vat,
            target,
            key,
            session: Mutex::new(Session {
                session,
                known: Signers::from(&membership),
                members: membership.members,
                waiting: BTreeMap::new(),
                blocks: 0,
                previous: Hash([0; 32]),
                acknowledged: 0,
                refusals: BTreeMap::new(),
                refused: None,
            }),
            notices,
            shipped: Notify::new(),
        });
        let own = Introduction { genesis, chain: Vec::new() };
        let whereabouts = Arc::new(TargetMembers(Arc::downgrade(&inner)));
        let metrics = Arc::new(ShippedNotifier(Arc::downgrade(&inner)));
        let courier = Courier::start(vat, network.clone(), whereabouts, metrics, own, notices_rx);
        let _ = inner.notices.send(Notice::Restored { block: 0, outbox: RestoredOutbox::default() });
        let _ = inner.notices.send(Notice::Rank(0));
        Ok(Client { inner, network, courier })
    }

    /// The client's own id: what grants would name.
    pub fn vat(&self) -> VatId {
        self.inner.vat
    }

    /// Calls a method and waits for the answer.
    ///
    /// # Errors
    /// Only where there is no answer: a rejection is an answer.
    pub async fn call(
        &self,
        target: ClientRef,
        method: Method,
        args: Vec<Value>,
        deadline: Duration,
    ) -> Result<Answer, ClientError> {
        let answer = self.begin(target, method, args)?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(match self.inner.lock().refused.clone() {
                Some(why) => ClientError::Refused(why),
                None => ClientError::Deadline(deadline.as_secs()),
            }),
        }
    }

    /// Makes a call whose answer comes later.
    pub fn begin(
        &self,
        target: ClientRef,
        method: Method,
        args: Vec<Value>,
    ) -> Result<oneshot::Receiver<Answer>, ClientError> {
        let (sender, receiver) = oneshot::channel();
        let mut session = self.inner.lock();
        let result = session
            .session
            .call(target, method, &Value::Array(args), &[])
            .map_err(|error| ClientError::Call(error.to_string()))?;
        session.waiting.insert(ClientRef::Result(result), sender);
        self.inner.speak(&mut session);
        Ok(receiver)
    }

    /// Sends messages without answers, all certified at once.
    pub fn send_only(&self, target: ClientRef, method: &Method, calls: Vec<Vec<Value>>) -> Result<(), ClientError> {
        let mut session = self.inner.lock();
        for args in calls {
            session
                .session
                .send_only(target, method.clone(), &Value::Array(args), &[])
                .map_err(|error| ClientError::Call(error.to_string()))?;
        }
        self.inner.speak(&mut session);
        Ok(())
    }

    /// Our messages that the vat has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.inner.lock().session.unacked().count()
    }

    /// Ends the client, after its last acknowledgement was taken or a moment has passed.
    pub async fn close(self) {
        // What was acknowledged since the last shipment goes in one more.
        let shipped = self.inner.shipped.notified();
        let needed = {
            let mut session = self.inner.lock();
            let needed = session.session.next_inbound().0 > 1;
            if needed {
                self.inner.speak(&mut session);
            }
            needed
        };
        if needed {
            let _ = tokio::time::timeout(CLOSE_DEADLINE, shipped).await;
        }
        self.courier.abort();
        self.network.shutdown().await;
    }
}

/// A genesis with one member that has no addresses: others answer over the connection that it makes.
fn own_genesis(key: &SigningKey, expires: u64) -> Result<Genesis, ClientError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| ClientError::Random(error.to_string()))?;
    let public = key.verifying_key().to_bytes();
    Ok(Genesis {
        members: vec![Member { key: HostKey(public), name: "client".into(), addresses: Vec::new() }],
        threshold: 1,
        image: Hash([0; 32]),
        creator: public,
        nonce,
        expires,
        parameters: Parameters::default(),
    })
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Certifies the session's head as it is now, and gives courier and head to each other.
    fn speak(&self, session: &mut Session) {
        let head = session.session.head();
        session.blocks += 1;
        let outbox = Arc::new(Outbox::new(vec![head]));
        let root = outbox.root().expect("there is a head");
        let statement = Statement {
            vat: quorate_consensus::VatId(self.vat.0),
            epoch: 0,
            block: session.blocks,
            previous: session.previous,
            outbox_root: Hash(root.0),
            state_root: None,
        };
        session.previous = statement.hash();
        let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
        let said = session.acknowledged;
        let queued: Vec<_> = session
            .session
            .unacked()
            .filter(|(number, _)| *number > said)
            .map(|(number, bytes)| (self.target, number, bytes.clone()))
            .collect();
        session.acknowledged = queued.last().map_or(said, |(_, number, _)| *number);
        let _ = self.notices.send(Notice::Applied { block: session.blocks, outbox, queued, pruned: Vec::new() });
        let _ = self.notices.send(Notice::Certified(Certificate { statement, signatures }));
    }

    /// A member refused what was said. One alone may lie, or not know this vat any more.
    fn refused(&self, by: HostId, why: &str) {
        let mut session = self.lock();
        session.refusals.insert(by, why.to_owned());
        let members = session.known.keys.len();
        // If fewer than a threshold might still take it, nobody will.
        if session.refusals.len() + usize::from(session.known.threshold) > members {
            session.refused = Some(why.to_owned());
            // Whoever waits hears that there will be no answer.
            session.waiting.clear();
        }
    }

    /// Takes a slice of the called vat.
    fn take(&self, slice: Slice) -> SliceReply {
        let mut session = self.lock();
        if slice.sender() != self.target {
            return SliceReply::Refused { message: "this client talks to another vat".into() };
        }
        let proven = match slice.verify(Some(&session.known), &self.vat) {
            Ok(proven) => proven,
            Err(error) => return SliceReply::Refused { message: error.to_string() },
        };
        let (next, hash) = session.session.next_inbound();
        let run = stream::Slice { begin: slice.begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
        match run.verify(next - 1, &hash) {
            Ok(()) => {}
            Err(stream::SliceError::Stale { .. }) => return SliceReply::Taken { next, leader: None },
            Err(stream::SliceError::Gap { next, .. }) => return SliceReply::NotYet { next, leader: None },
            Err(error) => return SliceReply::Refused { message: error.to_string() },
        }
        session.known = proven.signers;
        if let Some(membership) = proven.news {
            session.members = membership.members;
        }
        let stream::StreamHead { end, ack, .. } = slice.head;
        let carries_messages = !slice.messages.is_empty();
        let deliver = Deliver { from: self.target, begin: slice.begin, messages: slice.messages, end, ack };
        let completions = match session.session.receive(&deliver) {
            Ok(completions) => completions,
            Err(error) => return SliceReply::Refused { message: error.to_string() },
        };
        for completion in completions {
            if let Some(waiting) = session.waiting.remove(&completion.promise) {
                // Whoever waited may have given up.
                let _ = waiting.send(completion);
            }
        }
        let pruned = vec![(self.target, ack)];
        let block = session.blocks;
        let _ = self.notices.send(Notice::Applied { block, outbox: Arc::default(), queued: Vec::new(), pruned });
        let now = session.session.next_inbound().0;
        if now > next {
            self.speak(&mut session);
        } else {
            // What comes again was not heard to be acknowledged.
            let _ = self.notices.send(Notice::Heard { peer: self.target, again: carries_messages });
        }
        SliceReply::Taken { next: now, leader: None }
    }
}

struct ClientFrames(OnceLock<Weak<Inner>>);

impl Handler for ClientFrames {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Slice
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let inner = self.0.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let inner = inner.ok_or("this client is not ready")?;
            let frame: VatFrame = codec::decode(&frame).map_err(|error| error.to_string())?;
            if frame.to != inner.vat {
                return Err("no such vat here".into());
            }
            Ok(codec::encode(&inner.take(*frame.slice)).into())
        })
    }
}

struct TargetMembers(Weak<Inner>);

impl Whereabouts for TargetMembers {
    fn members(&self, _vat: &VatId) -> Vec<Member> {
        self.0.upgrade().map(|inner| inner.lock().members.clone()).unwrap_or_default()
    }

    fn unreachable(&self, _vat: &VatId) {}
}

struct ShippedNotifier(Weak<Inner>);

impl CourierMetrics for ShippedNotifier {
    fn shipped(&self, _peer: &VatId, outcome: &'static str, _messages: usize) {
        if outcome == "taken"
            && let Some(inner) = self.0.upgrade()
        {
            {
                let mut session = inner.lock();
                session.refusals.clear();
                session.refused = None;
            }
            inner.shipped.notify_waiters();
        }
    }

    fn refused(&self, _peer: &VatId, by: HostId, why: &str) {
        if let Some(inner) = self.0.upgrade() {
            inner.refused(by, why);
        }
    }
}

//! A client: an ephemeral vat without code, with a key of its own, that calls an object of another vat and hears the answers.
//!
//! To the vat that it calls it is a solo vat like any other: its id is the hash of a genesis with its one key, what it says is
//! certified by its one signature, and it believes only what the called vat's threshold has signed: that is [`quorate_verified`], which this
//! crate carries by libp2p. Other than solo vats it says by its genesis when it will be over, and by its last statement that it is over now, so
//! that the called vat can forget it.
//!
//! A client that makes one call ([`call_once`]) remembers the vat from the call before ([`Known`]), speaks to one member at first, and
//! says its farewell in the very reply to the answer: on a line of long round trips nothing waits for anything else.

mod error;
mod following;
mod keeping;
mod known;
mod lasting;
mod lending;
mod once;
mod reading;
mod talking;
mod wiring;

pub use error::ClientError;
pub use following::{CallTrace, CertifiedAnswer};
pub use keeping::Kept;
pub use known::Known;
pub use lasting::{Caller, Lasted, LastingCall, LastingError, Records, call_lasting};
pub use once::{Called, OneCall, Request, call_once};
pub use reading::{Freshness, ReadAnswer, ReadError, Reader};
pub use talking::Listener;

use ed25519_dalek::SigningKey;
use error::Denial;
use following::Noted;
use keeping::Keeper;
use quorate_courier::{
    addresses::{Located, keep_finding},
    courier::{Courier, Notice, RestoredOutbox},
    lookup::members_and_block,
};
use quorate_ids::VatId;
use quorate_net::{Libp2pNetwork, NetLimits, NetOptions, NetReach, Network};
use quorate_proof::{Genesis, HostId, Introduction, Member};
use quorate_protocol::{
    evidence::{Outbox, Slice},
    proof::file::{Item, VatProof},
    sturdyref::Sturdyref,
    wire::SliceReply,
};
use quorate_streams::{
    abi::{Method, Value},
    client::{ClientRef, ClientSession, Completion, Heard},
};
use quorate_verified::conversation::client_genesis as own_genesis;
use quorate_verified::{Conversation, NotTaken, Prover, Taken};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use wiring::{ClientFrames, Shipments, TargetMembers};

/// How long hosts may take to say who the members of a vat are, where the caller does not say.
const WHOIS_DEADLINE: Duration = Duration::from_secs(3);
/// A client that still has no answer after so long connects to all members: the one that it speaks to may be lost, or the lead change.
const CONNECT_ALL_AFTER: Duration = Duration::from_secs(1);
/// For how many of the vat's blocks a client is heard, unless it asks for another number. A busy vat needs a minute for so many; a
/// `vat call` is over by then, and the vat forgets it.
pub const LIFETIME_BLOCKS: u64 = 100_000;
/// How long a client that has its answers waits until the vat has its acknowledgement: a courtesy, not a need.
const CLOSE_DEADLINE: Duration = Duration::from_millis(500);
/// How long a client that has nothing to say keeps an acknowledgement to itself. The vat keeps what it said for so long, and doubts only after
/// seconds that it arrived.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(100);
/// So many messages are acknowledged without delay.
const ACKNOWLEDGE_AT: u64 = 64;

/// A vat's answer to a call.
pub type Answer = Completion;

struct Session {
    talk: Conversation,
    /// The members of the called vat, in the order in which they are tried.
    members: Vec<Member>,
    /// What the next client may want to know.
    known: Known,
    waiting: BTreeMap<ClientRef, oneshot::Sender<Answer>>,
    /// Hears what comes and nobody waits for.
    listener: Option<mpsc::Sender<Heard>>,
    /// Number of the last message that was handed to the courier.
    queued: u64,
    /// How many messages were taken of which nothing that was said since tells.
    owed: u64,
    /// Members that did not take what was last said, and why.
    denials: BTreeMap<HostId, Denial>,
    /// Why nothing that this client says is taken, if so many members say it that one of them is honest.
    denied: Option<Denial>,
    /// Whether a member may have got anything of this client.
    perhaps_sent: bool,
    /// Whether it has said its farewell.
    ended: bool,
    /// When the first call was sent and answered.
    noted: Noted,
    /// The first call, if its answer is to be proven.
    proven: Option<u64>,
    /// Has the references of the answer to the first call kept, if that is wanted.
    keeper: Option<Keeper>,
    /// What the sturdyref names that the client was made with, and those that it was given beside it.
    target: ClientRef,
    given: Vec<ClientRef>,
}

/// When a client says that it has what the vat has sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledges {
    /// With what it says next, or after [`ACKNOWLEDGE_AFTER`]. Each acknowledgement that goes alone is ordered, synced and checked by every member.
    Soon,
    /// By its farewell, in the reply to the last answer that it waits for.
    ByFarewell,
    /// With what its owner has it say next: until then the vat keeps the answers, and sends them again.
    WhenTold,
}

struct Inner {
    vat: VatId,
    target: VatId,
    session: Mutex<Session>,
    acknowledges: Acknowledges,
    notices: mpsc::UnboundedSender<Notice>,
    shipped: Notify,
    /// Something of the called vat was taken in.
    heard: Notify,
    /// An acknowledgement is owed.
    owes: Arc<Notify>,
}

/// A client of one vat; many calls may be under way at once.
pub struct Client {
    inner: Arc<Inner>,
    network: Arc<dyn Network>,
    /// The courier, and what else runs as long as the client does.
    tasks: Vec<tokio::task::JoinHandle<()>>,
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
        let until = Instant::now() + WHOIS_DEADLINE;
        Client::connect_with(sturdyref, &[], hosts, lifetime_blocks, until).await
    }

    /// As [`Client::connect_for`], with further references to objects of the same vat; its members have to be found by `until`.
    async fn connect_with(
        sturdyref: &Sturdyref,
        given: &[Sturdyref],
        hosts: &[Member],
        lifetime_blocks: u64,
        until: Instant,
    ) -> Result<Client, ClientError> {
        let (secret, network, frames) = start_network().await?;
        let (found, block) = match members_and_block(&network, hosts, &sturdyref.vat, until).await {
            Ok(found) => found,
            Err(why) => {
                network.shutdown().await;
                return Err(ClientError::not_found(why, sturdyref.vat));
            }
        };
        let known = Known::found(found.introduction, block, found.by, &found.silent);
        let expires = block.saturating_add(lifetime_blocks);
        let key = SigningKey::from_bytes(&secret);
        let genesis = own_genesis(&key, random()?, expires);
        let client = Client::start(key, genesis, sturdyref, given, known, network, Acknowledges::Soon)?;
        frames.serve(&client.inner);
        Ok(client)
    }

    /// A client of a vat that is known. What the network brings has to be given to it. `given` are further references to objects of the same
    /// vat.
    fn start(
        key: SigningKey,
        genesis: Genesis,
        sturdyref: &Sturdyref,
        given: &[Sturdyref],
        known: Known,
        network: Arc<dyn Network>,
        acknowledges: Acknowledges,
    ) -> Result<Client, ClientError> {
        let talk = Conversation::new(key, genesis, known.introduction.clone());
        let mut talk = talk.map_err(|error| ClientError::Call(error.to_string()))?;
        let (vat, target) = (talk.vat(), talk.target());
        // What is to be told apart from the answer is waited for.
        let object = match (acknowledges, redemption(&talk.session, sturdyref)) {
            (Acknowledges::WhenTold, Some((bearer, signature))) => talk
                .session
                .redeem_and_hear(sturdyref.object, bearer, signature)
                .map(ClientRef::Result)
                .map_err(|error| ClientError::Call(error.to_string()))?,
            _ => redeem(&mut talk.session, sturdyref)?,
        };
        let given = given.iter().map(|sturdyref| redeem(&mut talk.session, sturdyref)).collect::<Result<_, _>>()?;
        let own = Introduction { genesis: talk.genesis().clone(), chain: Vec::new() };
        let (notices, notices_rx) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            vat,
            target,
            session: Mutex::new(Session { target: object, given, ..Session::new(talk, known) }),
            acknowledges,
            notices,
            shipped: Notify::new(),
            heard: Notify::new(),
            owes: Arc::default(),
        });
        let whereabouts = Arc::new(TargetMembers(Arc::downgrade(&inner)));
        let metrics = Arc::new(Shipments(Arc::downgrade(&inner)));
        let courier = Courier::start(vat, network.clone(), whereabouts, metrics, own, notices_rx);
        let _ = inner.notices.send(Notice::Restored { block: 0, outbox: RestoredOutbox::default() });
        let _ = inner.notices.send(Notice::Rank(0));
        let (connecting, weak) = (network.clone(), Arc::downgrade(&inner));
        let connect_all = tokio::spawn(async move {
            tokio::time::sleep(CONNECT_ALL_AFTER).await;
            for member in weak.upgrade().map(|inner| inner.lock().members.clone()).unwrap_or_default() {
                connecting.set_addresses(member.key, member.addresses);
            }
        });
        let acknowledge = tokio::spawn(acknowledge_soon(Arc::downgrade(&inner)));
        Ok(Client { inner, network, tasks: vec![courier, connect_all, acknowledge] })
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
            _ => Err(self.without_answer(deadline)),
        }
    }

    /// Returns why there is no answer, when none is waited for any more.
    fn without_answer(&self, deadline: Duration) -> ClientError {
        let session = self.inner.lock();
        match session.denied.clone() {
            Some(denial) => denial.into(),
            None if !session.perhaps_sent && self.network.peers().iter().all(|peer| !peer.connected) => {
                ClientError::NotSent(format!("none of its members answered in {} s", deadline.as_secs_f64()))
            }
            None => ClientError::Deadline(deadline.as_secs_f64()),
        }
    }

    /// Makes a call whose answer comes later.
    pub fn begin(
        &self,
        target: ClientRef,
        method: Method,
        args: Vec<Value>,
    ) -> Result<oneshot::Receiver<Answer>, ClientError> {
        self.begin_with(target, method, args, &[])
    }

    /// As [`Client::begin`], with references that slots in the arguments index.
    pub fn begin_with(
        &self,
        target: ClientRef,
        method: Method,
        args: Vec<Value>,
        slots: &[ClientRef],
    ) -> Result<oneshot::Receiver<Answer>, ClientError> {
        self.ask(|session| session.call(target, method, &Value::Array(args), slots))
    }

    /// Has the vat let go of what it keeps for a bearer that this client was made with. The answer comes later.
    fn begin_discard(&self, bearer: [u8; 32]) -> Result<oneshot::Receiver<Answer>, ClientError> {
        self.ask(|session| session.discard(bearer))
    }

    /// Says something that is answered by the result of the number that `say` gives.
    fn ask(
        &self,
        say: impl FnOnce(&mut ClientSession) -> Result<u64, quorate_streams::client::ClientError>,
    ) -> Result<oneshot::Receiver<Answer>, ClientError> {
        let (sender, receiver) = oneshot::channel();
        let mut session = self.inner.lock();
        let result = say(&mut session.talk.session).map_err(|error| ClientError::Call(error.to_string()))?;
        if session.talk.prover.is_some() {
            session.proven.get_or_insert(result);
        }
        let result = ClientRef::Result(result);
        if let Some(keeper) = session.keeper.as_mut() {
            keeper.call.get_or_insert(result);
        }
        session.waiting.insert(result, sender);
        session.noted.say();
        self.inner.speak(&mut session);
        Ok(receiver)
    }

    /// Sends messages without answers, all certified at once.
    pub fn send_only(&self, target: ClientRef, method: &Method, calls: Vec<Vec<Value>>) -> Result<(), ClientError> {
        let mut session = self.inner.lock();
        for args in calls {
            session
                .talk
                .session
                .send_only(target, method.clone(), &Value::Array(args), &[])
                .map_err(|error| ClientError::Call(error.to_string()))?;
        }
        self.inner.speak(&mut session);
        Ok(())
    }

    /// Our messages that the vat has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.inner.lock().talk.session.unacked().count()
    }

    /// Has the references of the answer to the first call, which is not made yet, kept through a bearer that this client was made with.
    fn keep(&self, through: [u8; 32]) {
        self.inner.lock().keeper = Some(Keeper::new(through));
    }

    /// Returns what came of that, when the answer is there.
    async fn kept(&self, until: Instant) -> Vec<Kept> {
        let later = self.inner.lock().take_kept();
        later.wait(self.inner.target, until).await
    }

    /// Has the answer to the first call proven, which is not made yet.
    fn prove(&self) {
        let prover = Prover::new(&self.inner.vat, &self.inner.target);
        self.inner.lock().talk.prover = Some(prover);
    }

    /// Returns what proves the answer to the first call, if that was wanted and the answer is there.
    fn proof(&self) -> Option<VatProof> {
        let session = self.inner.lock();
        let proof = session.talk.prover.as_ref()?.proof(session.proven?)?.clone();
        let items = vec![Item::Answer(Box::new(proof))];
        Some(VatProof { introduction: session.talk.introduction().clone(), items })
    }

    /// Returns what is known of the vat by now.
    pub fn known(&self) -> Known {
        self.inner.lock().known.clone()
    }

    /// Ends the client. If it has had an answer, it says its farewell, unless it has, and waits a moment until that is taken.
    pub async fn close(self) {
        self.say_farewell().await;
        self.leave().await;
    }

    async fn say_farewell(&self) {
        let shipped = self.inner.shipped.notified();
        let needed = {
            let mut session = self.inner.lock();
            let needed = session.talk.session.next_inbound().0 > 1 && !session.ended;
            if needed {
                session.ended = true;
                self.inner.speak(&mut session);
            }
            needed
        };
        if needed {
            let _ = tokio::time::timeout(CLOSE_DEADLINE, shipped).await;
        }
    }

    /// Ends the client without a word: to the vat it is as if it had died.
    async fn leave(self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.network.shutdown().await;
    }
}

/// Says what was acknowledged by nothing else, until the client is gone.
async fn acknowledge_soon(client: Weak<Inner>) {
    loop {
        let Some(inner) = client.upgrade() else { return };
        let owes = Arc::clone(&inner.owes);
        drop(inner);
        owes.notified().await;
        tokio::time::sleep(ACKNOWLEDGE_AFTER).await;
        let Some(inner) = client.upgrade() else { return };
        let mut session = inner.lock();
        if session.owed > 0 {
            inner.speak(&mut session);
        }
    }
}

/// A network under a new key, which listens nowhere.
async fn start_network() -> Result<([u8; 32], Arc<dyn Network>, Arc<ClientFrames>), ClientError> {
    let secret = random()?;
    let (network, frames) = start_network_as(secret).await?;
    Ok((secret, network, frames))
}

/// The same under a key that is there.
async fn start_network_as(secret: [u8; 32]) -> Result<(Arc<dyn Network>, Arc<ClientFrames>), ClientError> {
    let frames = Arc::new(ClientFrames::default());
    let options = NetOptions {
        secret,
        listen: Vec::new(),
        handler: frames.clone(),
        reach: NetReach::default(),
        limits: NetLimits::default(),
    };
    let located = Located::new(Libp2pNetwork::start(options).await?);
    keep_finding(&located);
    Ok((Arc::new(located), frames))
}

fn random() -> Result<[u8; 32], ClientError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ClientError::Random(error.to_string()))?;
    Ok(bytes)
}

impl Session {
    fn new(talk: Conversation, known: Known) -> Session {
        Session {
            talk,
            members: known.members(),
            known,
            waiting: BTreeMap::new(),
            listener: None,
            queued: 0,
            owed: 0,
            denials: BTreeMap::new(),
            denied: None,
            perhaps_sent: false,
            ended: false,
            noted: Noted::default(),
            proven: None,
            keeper: None,
            target: ClientRef::Object(0),
            given: Vec::new(),
        }
    }
}

/// Uses a sturdyref: what it names, for calls.
fn redeem(session: &mut ClientSession, sturdyref: &Sturdyref) -> Result<ClientRef, ClientError> {
    let Some((bearer, signature)) = redemption(session, sturdyref) else {
        return Ok(ClientRef::Object(sturdyref.object));
    };
    session.redeem(sturdyref.object, bearer, signature).map_err(|error| ClientError::Call(error.to_string()))
}

/// Returns what a bearer is used by: its key, and the signature for this session's vat.
fn redemption(session: &ClientSession, sturdyref: &Sturdyref) -> Option<([u8; 32], [u8; 64])> {
    let redemption = sturdyref.redeem_for(&session.vat())?;
    Some((redemption.bearer, redemption.signature.try_into().expect("Ed25519 signatures have 64 bytes")))
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Certifies the session's head as it is now, and gives it to the courier. The last statement of a client that has ended says so.
    fn speak(&self, session: &mut Session) {
        session.owed = 0;
        let said = session.talk.certify(session.ended);
        let noted = session.talk.note_said(session.queued);
        let before = std::mem::replace(&mut session.queued, noted);
        let queued = session.talk.session.unacked().filter(|(number, _)| *number > before);
        let queued = queued.map(|(number, bytes)| (self.target, number, bytes.clone())).collect();
        let (block, outbox) = (session.talk.blocks(), Arc::new(Outbox::new(vec![said.head])));
        let _ = self.notices.send(Notice::Applied { block, outbox, queued, pruned: Vec::new() });
        let _ = self.notices.send(Notice::Certified(said.certificate));
    }

    /// The slice with which a client that has its answer ends: the acknowledgement, and that nothing follows.
    fn farewell(&self, session: &mut Session) -> Slice {
        session.ended = true;
        let said = session.talk.certify(true);
        Slice { genesis: None, ..session.talk.slice(&said, said.head.end + 1) }
    }

    /// A member did not take what was said. One alone may lie, or not know this vat any more.
    fn denied(&self, by: HostId, denial: Denial) {
        let mut session = self.lock();
        session.denials.insert(by, denial.clone());
        let members = session.talk.signers().keys.len();
        // If fewer than a threshold might still take it, nobody will.
        if session.denials.len() + usize::from(session.talk.signers().threshold) > members {
            session.denied = Some(denial);
            // Callers that wait learn that there will be no answer.
            session.waiting.clear();
            session.listener = None;
        }
    }

    /// Hosts say where the vat is by now.
    fn learn(&self, introduction: Introduction, block: u64) {
        let Ok(membership) = introduction.verify() else { return };
        let mut session = self.lock();
        session.known.block = session.known.block.max(block);
        if membership.epoch > session.talk.signers().epoch {
            session.members = session.known.in_order(membership.members);
            session.talk.introduced(&introduction);
            session.known.introduction = introduction;
        }
    }

    /// Takes a slice of the called vat.
    fn take(&self, slice: Slice) -> SliceReply {
        let mut session = self.lock();
        let certificate = slice.certificate.clone();
        let messages = slice.messages.len();
        let taken = match session.talk.take(slice) {
            Ok(taken) => taken,
            Err(NotTaken::Stale { next }) => return self.taken(&mut session, next),
            Err(NotTaken::Gap { next }) => return SliceReply::NotYet { next, leader: None },
            Err(NotTaken::Refused(message)) => return SliceReply::Refused { message },
        };
        let Taken { next, heard, acknowledged, news, is_new } = taken;
        if let Some(membership) = news {
            session.members = session.known.in_order(membership.members);
        }
        for heard in heard {
            let Heard::Settled(completion) = heard else {
                session.tell(heard);
                continue;
            };
            session.keep(&completion);
            if session.waiting.contains_key(&completion.promise) {
                session.noted.answer(&certificate);
            }
            match session.waiting.remove(&completion.promise) {
                // The caller may have given up.
                Some(waiting) => drop(waiting.send(completion)),
                None => session.tell(Heard::Settled(completion)),
            }
        }
        self.heard.notify_waiters();
        let pruned = vec![(self.target, acknowledged)];
        let block = session.talk.blocks();
        let _ = self.notices.send(Notice::Applied { block, outbox: Arc::default(), queued: Vec::new(), pruned });
        let is_last = self.acknowledges == Acknowledges::ByFarewell && session.waiting.is_empty();
        if is_last || self.acknowledges == Acknowledges::WhenTold {
            // The farewell acknowledges it, or what is said next.
        } else if is_new {
            session.owed += u64::try_from(messages).unwrap_or(u64::MAX);
            if session.owed >= ACKNOWLEDGE_AT {
                self.speak(&mut session);
            } else {
                self.owes.notify_one();
            }
        } else {
            // What comes again was not heard to be acknowledged.
            let _ = self.notices.send(Notice::Heard { peer: self.target, again: messages > 0, near: false });
        }
        self.taken(&mut session, next)
    }

    /// The reply for what was taken up to `next`: with the farewell, if there is nothing else to hear. It is sent again to a member that
    /// ships again: the first receiver may be gone.
    fn taken(&self, session: &mut Session, next: u64) -> SliceReply {
        let done = self.acknowledges == Acknowledges::ByFarewell && session.waiting.is_empty() && next > 1;
        let farewell = done.then(|| Box::new(self.farewell(session)));
        SliceReply::Taken { next, leader: None, farewell }
    }
}

//! A network in memory, and what can be wrong with it.

use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_consensus::testing::FalseSigner;
use quorate_consensus::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The network: who is up, who cannot reach whom, and how much is lost.
#[derive(Default)]
pub struct Hub {
    replicas: Mutex<BTreeMap<HostId, ReplicaHandle>>,
    cut: Mutex<BTreeSet<(HostId, HostId)>>,
    muted: Mutex<BTreeSet<Channel>>,
    /// What a host does not get.
    muted_to: Mutex<BTreeSet<(HostId, Channel)>>,
    /// Of 1,000 frames, how many are lost.
    loss: AtomicU64,
    /// How long a frame takes one way, in milliseconds, and how much longer at most.
    delay_ms: AtomicU64,
    jitter_ms: AtomicU64,
    sequence: AtomicU64,
    pub snapshot_frames: AtomicU64,
    /// How many frames were sent.
    pub frames: AtomicU64,
    /// What liars make of the frames that they send.
    lies: Mutex<Option<Lies>>,
    /// What liars make of their answers.
    false_answers: Mutex<Option<FalseAnswers>>,
    /// What is answered late.
    late: Mutex<Option<Late>>,
    /// Sees what is sent.
    watcher: Mutex<Option<Watcher>>,
    /// Members that sign something else than their replicas.
    false_signers: Mutex<BTreeMap<HostId, FalseSigner>>,
}

/// Makes another frame of one: sender, receiver, channel.
pub type Lies = Box<dyn Fn(HostId, HostId, Channel, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Makes another answer of one: who answers, to whom, channel, request, answer.
pub type FalseAnswers = Box<dyn Fn(HostId, HostId, Channel, &[u8], Vec<u8>) -> Vec<u8> + Send + Sync>;

/// How long an answer takes beside what all take: who answers, channel, request.
pub type Late = Box<dyn Fn(HostId, Channel, &[u8]) -> Duration + Send + Sync>;

/// Sees a frame: its receiver, whether it may wait for those of other vats, itself.
pub type Watcher = Box<dyn Fn(HostId, bool, &[u8]) + Send + Sync>;

impl Hub {
    pub fn add(&self, key: HostId, replica: ReplicaHandle) {
        self.replicas.lock().unwrap().insert(key, replica);
    }

    pub fn remove(&self, key: &HostId) {
        self.replicas.lock().unwrap().remove(key);
    }

    /// From now on a host signs something else than its replica.
    pub fn sign_falsely(&self, host: HostId, signer: FalseSigner) {
        self.false_signers.lock().unwrap().insert(host, signer);
    }

    pub fn cut(&self, one: HostId, other: HostId) {
        self.cut.lock().unwrap().extend([(one, other), (other, one)]);
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
        self.muted.lock().unwrap().clear();
        self.muted_to.lock().unwrap().clear();
        self.loss.store(0, Ordering::SeqCst);
    }

    pub fn mute(&self, channel: Channel) {
        self.muted.lock().unwrap().insert(channel);
    }

    pub fn mute_to(&self, to: HostId, channel: Channel) {
        self.muted_to.lock().unwrap().insert((to, channel));
    }

    /// Nothing of the log gets to a host: what it was sent on other channels it has.
    pub fn withhold_log(&self, to: HostId) {
        self.mute_to(to, Channel::Append);
        self.mute_to(to, Channel::Vote);
    }

    pub fn unmute_to(&self, to: HostId) {
        self.muted_to.lock().unwrap().retain(|(muted, _)| *muted != to);
    }

    /// Cuts off one host.
    pub fn isolate(&self, member: &Member) {
        let others: Vec<HostId> = self.replicas.lock().unwrap().keys().copied().collect();
        for other in others {
            self.cut(member.key, other);
        }
    }

    /// From now on frames are changed on their way.
    #[allow(dead_code, reason = "the crate's unit tests can tell frames apart, and use it")]
    pub fn lie(&self, lies: Lies) {
        *self.lies.lock().unwrap() = Some(lies);
    }

    /// From now on answers are changed on their way.
    #[allow(dead_code, reason = "the crate's unit tests can tell frames apart, and use it")]
    pub fn lie_in_answers(&self, answers: FalseAnswers) {
        *self.false_answers.lock().unwrap() = Some(answers);
    }

    /// From now on some answers come late.
    #[allow(dead_code, reason = "the crate's unit tests can tell frames apart, and use it")]
    pub fn answer_late(&self, late: Late) {
        *self.late.lock().unwrap() = Some(late);
    }

    /// From now on frames are seen.
    #[allow(dead_code, reason = "the crate's unit tests can tell frames apart, and use it")]
    pub fn watch(&self, watcher: Watcher) {
        *self.watcher.lock().unwrap() = Some(watcher);
    }

    fn see(&self, to: HostId, waits: bool, frame: &[u8]) {
        if let Some(watcher) = &*self.watcher.lock().unwrap() {
            watcher(to, waits, frame);
        }
    }

    fn false_signer(&self, host: &HostId) -> Option<FalseSigner> {
        self.false_signers.lock().unwrap().get(host).cloned()
    }

    pub fn lose(&self, of_thousand: u64) {
        self.loss.store(of_thousand, Ordering::SeqCst);
    }

    /// From now on each frame takes so long, each way.
    pub fn delay(&self, one_way: Duration, jitter: Duration) {
        self.delay_ms.store(one_way.as_millis() as u64, Ordering::SeqCst);
        self.jitter_ms.store(jitter.as_millis() as u64, Ordering::SeqCst);
    }

    fn dice(&self) -> u64 {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        u64::from_be_bytes(Hash::of(&sequence.to_be_bytes()).0[..8].try_into().unwrap())
    }

    fn is_lost(&self) -> bool {
        self.dice() % 1_000 < self.loss.load(Ordering::SeqCst)
    }

    async fn travel(&self) {
        let (delay, jitter) = (self.delay_ms.load(Ordering::SeqCst), self.jitter_ms.load(Ordering::SeqCst));
        if delay + jitter > 0 {
            tokio::time::sleep(Duration::from_millis(delay + self.dice() % (jitter + 1))).await;
        }
    }
}

pub struct HubTransport {
    pub hub: Arc<Hub>,
    pub from: HostId,
}

impl Transport for HubTransport {
    fn request(
        &self,
        to: &Member,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        self.hub.see(to.key, false, &frame);
        self.carry(to.key, channel, frame, deadline)
    }

    fn beat(&self, to: &Member, frame: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        self.hub.see(to.key, true, &frame);
        self.carry(to.key, Channel::Vote, frame, deadline)
    }
}

impl HubTransport {
    fn carry(
        &self,
        to: HostId,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        async move {
            assert!(frame.len() <= MAX_FRAME_BYTES);
            let hub = &self.hub;
            hub.frames.fetch_add(1, Ordering::SeqCst);
            if hub.cut.lock().unwrap().contains(&(self.from, to)) {
                return Err(TransportError::Unreachable("cut".into()));
            }
            let muted =
                hub.muted.lock().unwrap().contains(&channel) || hub.muted_to.lock().unwrap().contains(&(to, channel));
            if muted || hub.is_lost() {
                tokio::time::sleep(deadline.min(Duration::from_millis(50))).await;
                return Err(TransportError::Timeout);
            }
            let frame = match &*hub.lies.lock().unwrap() {
                Some(lies) => lies(self.from, to, channel, frame),
                None => frame,
            };
            let frame = match hub.false_signer(&self.from) {
                Some(signer) => signer.request(channel, frame),
                None => frame,
            };
            hub.travel().await;
            let replica = hub.replicas.lock().unwrap().get(&to).cloned();
            let replica = replica.ok_or_else(|| TransportError::Unreachable("down".into()))?;
            if channel == Channel::Snapshot {
                hub.snapshot_frames.fetch_add(1, Ordering::SeqCst);
            }
            let answer = tokio::time::timeout(deadline, replica.handle(self.from, channel, &frame)).await;
            let answer = answer.map_err(|_| TransportError::Timeout)?;
            let answer = match hub.false_signer(&to) {
                Some(signer) => answer.map(|answer| signer.answer(channel, answer)),
                None => answer,
            };
            let answer = match &*hub.false_answers.lock().unwrap() {
                Some(lies) => answer.map(|answer| lies(to, self.from, channel, &frame, answer)),
                None => answer,
            };
            if hub.is_lost() {
                return Err(TransportError::Timeout);
            }
            let late = hub.late.lock().unwrap().as_ref().map(|late| late(to, channel, &frame));
            tokio::time::sleep(late.unwrap_or_default()).await;
            hub.travel().await;
            answer
        }
        .boxed()
    }
}

//! A toy machine, a network in memory, and clusters of replicas on them.

use ed25519_dalek::SigningKey;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_consensus::testing::FalseSigner;
use quorate_consensus::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub const PAGES: usize = 24;
pub const PAGE_BYTES: usize = 512;

/// A counter, a hash chain over all commands, pages that commands write to, and alarms.
pub struct Toy {
    pub counter: u64,
    pub chain: Hash,
    /// The log's time.
    pub now_ms: u64,
    /// Commands are to find the time of the present: the command `timed` was given.
    pub timed: bool,
    /// When alarms are to ring: set by commands `alarm MS`, from now.
    pub alarms: Vec<u64>,
    /// When those that have rung were to do so, and when they did.
    pub rung: Vec<(u64, u64)>,
    pub pages: Vec<Vec<u8>>,
    known: BTreeSet<Hash>,
    /// Blocks applied by this instance: a restart from a checkpoint must not begin at the beginning.
    pub applied: u64,
}

impl Default for Toy {
    fn default() -> Self {
        let pages = vec![vec![0; PAGE_BYTES]; PAGES];
        Self {
            counter: 0,
            chain: Hash::ZERO,
            now_ms: 0,
            timed: false,
            alarms: Vec::new(),
            rung: Vec::new(),
            pages,
            known: BTreeSet::new(),
            applied: 0,
        }
    }
}

impl Toy {
    fn manifest(&self) -> Vec<u8> {
        let mut bytes = self.counter.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.chain.0);
        for page in &self.pages {
            bytes.extend_from_slice(&Hash::of(page).0);
        }
        let rung = self.rung.iter().flat_map(|(at_ms, rung_ms)| [*at_ms, *rung_ms]);
        let times = [self.now_ms, self.timed.into(), self.alarms.len() as u64];
        for word in times.into_iter().chain(self.alarms.iter().copied()).chain(rung) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Takes over what a manifest says of times.
    fn restore_times(&mut self, words: &[u8]) {
        let words = words.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()));
        let words: Vec<u64> = words.collect();
        (self.now_ms, self.timed) = (words[0], words[1] > 0);
        let (alarms, rung) = words[3..].split_at(words[2] as usize);
        self.alarms = alarms.to_vec();
        self.rung = rung.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    }

    /// Rings what is due. Returns whether anything was.
    fn ring(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        let (due, later): (Vec<u64>, _) = self.alarms.iter().partition(|at_ms| **at_ms <= now_ms);
        self.alarms = later;
        self.rung.extend(due.iter().map(|at_ms| (*at_ms, now_ms)));
        !due.is_empty()
    }
}

/// Bytes of a manifest before the times.
const FIXED_BYTES: usize = 40 + 32 * PAGES;

fn fault(text: &str) -> MachineFault {
    MachineFault(text.into())
}

impl Machine for Toy {
    type Effects = u64;

    fn apply(
        &mut self,
        context: &BlockContext<'_>,
        commands: &[Vec<u8>],
        rehead: bool,
    ) -> Result<AppliedBlock<u64>, MachineFault> {
        self.applied += 1;
        let rang = self.ring(context.now_ms);
        let mut results = Vec::new();
        for command in commands {
            self.timed |= command == b"timed";
            let alarm = command.strip_prefix(b"alarm ").and_then(|ms| std::str::from_utf8(ms).ok());
            self.alarms.extend(alarm.and_then(|ms| ms.parse::<u64>().ok()).map(|ms| self.now_ms + ms));
            if command == b"fault" {
                return Err(fault("asked to fault"));
            }
            if command == b"panic" {
                panic!("asked to panic");
            }
            self.counter += 1;
            if command.starts_with(b"quiet") {
                // It changes the state, and nothing that the block says.
                self.pages[0][..32].copy_from_slice(&Hash::of(command).0);
                results.push(self.counter.to_be_bytes().to_vec());
                continue;
            }
            let mut bytes = self.chain.0.to_vec();
            bytes.extend_from_slice(command);
            self.chain = Hash::of(&bytes);
            let page = usize::from(self.chain.0[0]) % PAGES;
            self.pages[page][..32].copy_from_slice(&self.chain.0);
            results.push(self.counter.to_be_bytes().to_vec());
        }
        let said = !commands.is_empty() || rehead || rang;
        let outbox_root = said.then(|| Hash::of(&[&self.chain.0[..], &context.epoch.to_be_bytes()].concat()));
        Ok(AppliedBlock { results, outbox_root, work: commands.len() as u64, effects: self.counter })
    }

    fn checkpoint(&mut self) -> Result<CheckpointParts, MachineFault> {
        let pages: Vec<(Hash, Vec<u8>)> = self.pages.iter().map(|page| (Hash::of(page), page.clone())).collect();
        let now: BTreeSet<Hash> = pages.iter().map(|(hash, _)| *hash).collect();
        let known = std::mem::replace(&mut self.known, now);
        let mut new_chunks: Vec<_> = pages.into_iter().filter(|(hash, _)| !known.contains(hash)).collect();
        new_chunks.sort();
        new_chunks.dedup();
        let manifest = self.manifest();
        Ok(CheckpointParts { root: Hash::of(&manifest), manifest, new_chunks })
    }

    fn restore(&mut self, manifest: &[u8], fetch: &mut FetchChunk<'_>) -> Result<(), MachineFault> {
        let info = Self::describe(manifest)?;
        self.counter = u64::from_be_bytes(manifest[..8].try_into().unwrap());
        self.chain = Hash(manifest[8..40].try_into().unwrap());
        self.restore_times(&manifest[FIXED_BYTES..]);
        self.pages = info.chunks.iter().map(&mut *fetch).collect::<Result<_, _>>()?;
        self.known = info.chunks.into_iter().collect();
        self.applied = 0;
        Ok(())
    }

    fn describe(manifest: &[u8]) -> Result<ManifestInfo, MachineFault> {
        if manifest.len() < FIXED_BYTES + 24 {
            return Err(fault("not a manifest"));
        }
        let chunks = manifest[40..FIXED_BYTES].chunks_exact(32).map(|hash| Hash(hash.try_into().unwrap())).collect();
        Ok(ManifestInfo { root: Hash::of(manifest), chunks })
    }

    fn time_wanted(&self) -> TimeWanted {
        TimeWanted { with_commands: self.timed, at_ms: self.alarms.iter().min().copied() }
    }
}

/// The system's clock, set ahead or back.
#[derive(Default)]
pub struct SetClock {
    pub ahead_ms: AtomicI64,
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst))
    }
}

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
    /// What liars make of the frames that they send.
    lies: Mutex<Option<Lies>>,
    /// Members that sign something else than their replicas.
    false_signers: Mutex<BTreeMap<HostId, FalseSigner>>,
}

/// Makes another frame of one: sender, receiver, channel.
pub type Lies = Box<dyn Fn(HostId, HostId, Channel, Vec<u8>) -> Vec<u8> + Send + Sync>;

impl Hub {
    pub fn add(&self, key: HostId, replica: ReplicaHandle) {
        self.replicas.lock().unwrap().insert(key, replica);
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
        let to = to.key;
        async move {
            assert!(frame.len() <= MAX_FRAME_BYTES);
            let hub = &self.hub;
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
            if hub.is_lost() {
                return Err(TransportError::Timeout);
            }
            hub.travel().await;
            answer
        }
        .boxed()
    }
}

/// What a replica reported.
#[derive(Default)]
pub struct Log {
    pub applied: Vec<(u64, Option<Statement>)>,
    pub certificates: BTreeMap<u64, Certificate>,
    pub memberships: Vec<MembershipCertificate>,
    pub evidence: Vec<EvidenceRecord>,
    pub restored: Vec<u64>,
    pub removed: bool,
    pub fault: Option<String>,
}

/// One host with one replica.
pub struct Node {
    pub key: SigningKey,
    pub store: Arc<MemoryStore>,
    pub handle: Option<ReplicaHandle>,
    pub log: Arc<Mutex<Log>>,
    pub lying: bool,
    pub approve: Approve,
    pub clock: Arc<SetClock>,
    /// Memberships that it was introduced with.
    pub chain: Vec<MembershipCertificate>,
}

impl Node {
    pub fn id(&self) -> HostId {
        HostId(self.key.verifying_key().to_bytes())
    }

    pub fn member(&self) -> Member {
        Member { key: self.id(), name: format!("m{}", &self.id().to_string()[..4]), addresses: vec![] }
    }

    pub fn up(&self) -> &ReplicaHandle {
        self.handle.as_ref().unwrap()
    }
}

/// Motions of the toy: it wants all of them but one.
#[derive(Default)]
pub struct ToyMotions(Mutex<Vec<(Vec<u8>, Vec<MemberSignature>)>>);

/// The motion that the toy does not want.
pub const UNWANTED: &[u8] = b"unwanted";

impl ToyMotions {
    /// The motions that commands were made of, with their approvals.
    pub fn carried_out(&self) -> Vec<(Vec<u8>, Vec<MemberSignature>)> {
        self.0.lock().unwrap().clone()
    }
}

impl Motions for ToyMotions {
    fn refuses(&self, motion: &[u8]) -> Option<String> {
        (motion == UNWANTED).then(|| "the toy does not want it".to_owned())
    }

    fn command(&self, motion: &[u8], approvals: Vec<MemberSignature>) -> Vec<u8> {
        self.0.lock().unwrap().push((motion.to_vec(), approvals));
        motion.to_vec()
    }
}

pub struct Cluster {
    pub motions: Arc<ToyMotions>,
    pub hub: Arc<Hub>,
    pub genesis: Genesis,
    pub nodes: Vec<Node>,
    /// Of replicas that are started from here on.
    pub timing: Timing,
    /// Commands that were proposed again although the first proposal may still take effect.
    uncertain: AtomicU64,
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn parameters() -> Parameters {
    Parameters { checkpoint_blocks: 1_000_000, checkpoint_commands: 1_000_000, ..Parameters::default() }
}

fn new_node(seed: u8) -> Node {
    let (store, log) = (Arc::new(MemoryStore::new()), Arc::new(Mutex::new(Log::default())));
    let (clock, approve) = (Arc::default(), Approve::Auto);
    Node { key: key(seed), store, handle: None, log, lying: false, approve, clock, chain: Vec::new() }
}

impl Cluster {
    /// A cluster whose replicas are not started yet.
    pub fn new(members: u8, threshold: u16, parameters: Parameters) -> Self {
        let nodes: Vec<Node> = (1..=members).map(new_node).collect();
        let genesis = Genesis {
            members: nodes.iter().map(Node::member).collect(),
            threshold,
            image: Hash::ZERO,
            creator: [7; 32],
            bundle: None,
            nonce: [members; 32],
            expires: 0,
            parameters,
        };
        Self {
            motions: Arc::default(),
            hub: Arc::default(),
            genesis,
            nodes,
            timing: Timing::quick(),
            uncertain: AtomicU64::default(),
        }
    }

    pub async fn started(members: u8, threshold: u16, parameters: Parameters) -> Self {
        let mut cluster = Self::new(members, threshold, parameters);
        for place in 0..cluster.nodes.len() {
            cluster.start(place).await;
        }
        cluster
    }

    /// One more host, which waits to be admitted.
    pub async fn learner(&mut self) -> usize {
        let place = self.nodes.len();
        self.nodes.push(new_node(u8::try_from(place).unwrap() + 1));
        self.start_as(place, true).await;
        place
    }

    /// The same, whose disk fails after so many writes.
    #[allow(dead_code, reason = "the crate's unit tests have these clusters, too")]
    pub async fn failing_learner(&mut self, writes: u64) -> Result<usize, ConsensusError> {
        let place = self.nodes.len();
        self.nodes.push(new_node(u8::try_from(place).unwrap() + 1));
        self.nodes[place].store.fail_after(writes);
        let handle = self.try_start(place, true).await?;
        self.hub.add(self.nodes[place].id(), handle.clone());
        self.nodes[place].handle = Some(handle);
        Ok(place)
    }

    pub async fn start(&mut self, place: usize) {
        let learner = !self.genesis.members.iter().any(|member| member.key == self.nodes[place].id());
        self.start_as(place, learner).await;
    }

    pub async fn try_start(&mut self, place: usize, learner: bool) -> Result<ReplicaHandle, ConsensusError> {
        let node = &mut self.nodes[place];
        let (events, mut receiver) = mpsc::channel(64);
        // One of its own for each life: events of the one before may still be on their way.
        node.log = Arc::default();
        let log = Arc::clone(&node.log);
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                let mut log = log.lock().unwrap();
                match event {
                    Event::Applied { block, statement, .. } => log.applied.push((block, statement)),
                    Event::Certified(certificate) => {
                        log.certificates.insert(certificate.statement.block, certificate);
                    }
                    Event::Reconfigured(certificate) => log.memberships.push(certificate),
                    Event::Evidence(record) => log.evidence.push(*record),
                    Event::Restored { block } => log.restored.push(block),
                    Event::Removed => log.removed = true,
                    Event::Fault(text) => log.fault = Some(text),
                }
            }
        });
        if node.lying {
            let lie = Arc::new(|statement: &mut Statement| statement.outbox_root = Hash([9; 32]));
            let signer = FalseSigner::new(node.key.clone(), lie);
            self.hub.false_signers.lock().unwrap().insert(node.id(), signer);
        }
        Replica::start(ReplicaOptions {
            genesis: self.genesis.clone(),
            chain: node.chain.clone(),
            key: node.key.clone(),
            machine: Toy::default(),
            store: Arc::clone(&node.store) as Arc<dyn Store>,
            transport: Arc::new(HubTransport { hub: Arc::clone(&self.hub), from: node.id() }),
            execution: Arc::new(Threads),
            events,
            timing: self.timing,
            clock: Arc::clone(&node.clock) as Arc<dyn Clock>,
            learner,
            approve: node.approve,
            motions: Arc::clone(&self.motions) as Arc<dyn Motions>,
        })
        .await
    }

    pub async fn start_as(&mut self, place: usize, learner: bool) {
        let handle = self.try_start(place, learner).await.unwrap();
        let node = &mut self.nodes[place];
        self.hub.add(node.id(), handle.clone());
        node.handle = Some(handle);
    }

    /// Stops a replica.
    pub async fn stop(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        self.hub.replicas.lock().unwrap().remove(&node.id());
        if let Some(handle) = node.handle.take() {
            handle.shutdown().await;
        }
    }

    /// Stops a replica, and its store loses what was not synced.
    pub async fn crash(&mut self, place: usize) {
        self.stop(place).await;
        self.nodes[place].store.crash();
    }

    pub fn leader(&self) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.handle.as_ref().is_some_and(|handle| handle.status().role == Role::Leader))
    }

    pub async fn wait_for_leader(&self) -> usize {
        wait("a leader", || self.leader()).await
    }

    /// Proposes at a member, again and again until it is certain.
    pub async fn propose(&self, place: usize, command: &[u8]) -> Proposed {
        for _ in 0..40 {
            match self.nodes[place].up().propose(command.to_vec(), Duration::from_secs(5)).await {
                Ok(proposed) => return proposed,
                Err(error) => {
                    eprintln!("again: {error}");
                    self.uncertain.fetch_add(u64::from(error == ProposeError::Unknown), Ordering::SeqCst);
                }
            }
        }
        panic!("not proposed");
    }

    /// Checks a counter after so many commands. A slow machine may hold an election at any time, so that one of them was proposed
    /// twice: it may count twice, but never not at all.
    #[track_caller]
    pub fn assert_counted(&self, counter: u64, commands: u64) {
        let most = commands + self.uncertain.load(Ordering::SeqCst);
        assert!(
            (commands..=most).contains(&counter),
            "{counter} after {commands} commands, of which some may count twice: {most}"
        );
    }

    pub async fn wait_applied(&self, block: u64) {
        for node in self.nodes.iter().filter(|node| node.handle.is_some()) {
            wait("applied", || (node.up().status().applied >= block).then_some(())).await;
        }
    }

    pub async fn wait_certified(&self, block: u64) {
        for node in self.nodes.iter().filter(|node| node.handle.is_some()) {
            wait("certified", || (node.up().status().certified_block >= block).then_some(())).await;
        }
    }

    /// Counter and chain of a replica.
    pub async fn state(&self, place: usize) -> (u64, Hash) {
        self.nodes[place].up().inspect(|toy: &mut Toy| (toy.counter, toy.chain)).await.unwrap()
    }

    pub async fn assert_equal_states(&self) {
        let mut states = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            if node.handle.is_some() {
                states.push(self.state(place).await);
            }
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{states:?}");
    }

    pub fn assert_no_trouble(&self) {
        for node in &self.nodes {
            let log = node.log.lock().unwrap();
            assert_eq!(log.fault, None);
            assert_eq!(log.evidence, []);
        }
    }
}

/// Polls until there is something; panics after a time far beyond what it takes.
pub async fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

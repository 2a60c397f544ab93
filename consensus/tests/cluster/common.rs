//! Clusters of replicas: toy machines on a network in memory.

#[path = "hub.rs"]
mod hub;
#[path = "toy.rs"]
mod toy;

use ed25519_dalek::SigningKey;
use quorate_consensus::testing::FalseSigner;
use quorate_consensus::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub use hub::*;
pub use toy::*;

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
    pub archive: Option<ArchiveOptions>,
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

pub struct Cluster {
    pub motions: Arc<ToyMotions>,
    pub hub: Arc<Hub>,
    pub genesis: Genesis,
    pub nodes: Vec<Node>,
    /// Of replicas that are started from here on.
    pub timing: Timing,
    /// Likewise.
    pub max_uncertified: u64,
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
    Node { key: key(seed), store, archive: None, handle: None, log, lying: false, approve, clock, chain: Vec::new() }
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
            max_uncertified: MAX_UNCERTIFIED,
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
            self.hub.sign_falsely(node.id(), signer);
        }
        Replica::start(ReplicaOptions {
            genesis: self.genesis.clone(),
            chain: node.chain.clone(),
            key: node.key.clone(),
            machine: Toy::default(),
            store: Arc::clone(&node.store) as Arc<dyn Store>,
            archive: node.archive.clone(),
            transport: Arc::new(HubTransport { hub: Arc::clone(&self.hub), from: node.id() }),
            execution: Arc::new(Threads),
            events,
            pace: Arc::new(Pace::new(1)),
            timing: self.timing,
            clock: Arc::clone(&node.clock) as Arc<dyn Clock>,
            learner,
            approve: node.approve,
            max_uncertified: self.max_uncertified,
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
        self.hub.remove(&node.id());
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

    /// Everybody who is up comes as far as whoever is furthest now, and to the same state. Members that nobody waited for may lag.
    pub async fn assert_equal_states(&self) {
        let applied = |node: &Node| node.handle.as_ref().map(|handle| handle.status().applied);
        self.wait_applied(self.nodes.iter().filter_map(applied).max().unwrap_or(0)).await;
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

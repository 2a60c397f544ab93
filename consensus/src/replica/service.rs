//! Starts a replica: from the store's records to running tasks. Wiring only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::RaftCell;
use super::applier::Applier;
use super::approval::{ApprovalParts, Approvals};
use super::awaited::Awaited;
use super::clock::Clocks;
use super::event::{Event, EventSink, Events};
use super::identity::Identity;
use super::intake::Intake;
use super::leader::{Candidates, LeaderSeen};
use super::lifecycle::Lifecycle;
use super::membership_view::{Members, MembershipView};
use super::options::ReplicaOptions;
use super::pace::Pace;
use super::rest::{Rest, RestParts};
use super::scrub::Scrubber;
use super::status::{ReplicaStatus, StatusCell};
use super::stored::{begin_mark, check_watermark, kept_fault, memberships, raft_id, verified_chain};
use super::tasks::approvals;
use super::tasks::checkpointer::Checkpointer;
use super::tasks::clock::ClockTask;
use super::tasks::complaints::{ComplaintParts, Complaints};
use super::tasks::early_order::EarlyOrder;
use super::tasks::election::{self, Election};
use super::tasks::leader_watch::LeaderWatch;
use super::tasks::membership::MembershipTask;
use super::tasks::order_teller::OrderTeller;
use super::tasks::own_key::{self, KeyWatch, OwnKey};
use super::tasks::proposer::{self, MAX_URGENT, MAX_WAITING, Proposal, Proposer};
use super::tasks::signer::{Signer, SignerInput, SignerParts};
use super::tasks::sleeper::{Sleeper, SleeperParts};
use super::wire::append::RaftServer;
use super::wire::share::{ShareClient, ShareServer};
use super::wire::snapshot::{SnapshotReceiver, SnapshotSender};
use crate::error::ConsensusError;
use crate::execution::executor::{Executor, ExecutorHandle};
use crate::execution::machine::{LogTime, Machine};
use crate::order::frames::WireEntry;
use crate::proof::order_evidence::OrderEvidence;
use crate::raft::gate::{GateParts, OrderGate};
use crate::raft::log::LogStore;
use crate::raft::ports::Voters;
use crate::raft::{RaftNode, RaftSetup};
use crate::state::{RaftMembership, ReplicatedState, genesis_raft_ids};
use crate::stats::StatsCell;
use crate::storage::VatStore;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints, fetcher};
use crate::transport::Transport;
use quorate_ids::HostId;

/// Inputs that wait for the signer at most; then applying waits, and shares from others are dropped and asked for later.
const SIGNER_INPUTS: usize = 4_096;
/// Inputs that wait for the checkpointer at most; then applying waits.
const CHECKPOINTER_INPUTS: usize = 4;

/// What the handle of a replica holds of it.
pub(crate) struct Service {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) leader: Arc<LeaderSeen>,
    pub(crate) own_key: Arc<OwnKey>,
    pub(crate) store: VatStore,
    pub(crate) executor: ExecutorHandle,
    pub(crate) proposer: mpsc::Sender<Proposal>,
    pub(crate) complaints: Arc<Complaints>,
    pub(crate) share: ShareServer,
    pub(crate) frames: RaftServer,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) motions: Arc<Approvals>,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) raft_starter: RaftStarter,
    pub(crate) intake: Arc<Intake>,
    pub(crate) rest: Arc<Rest>,
}

impl Service {
    /// Returns the scrub, which reads everything that this replica has on disk.
    pub(crate) fn scrubber(&self) -> Scrubber {
        let applier = &self.raft_starter.applier;
        Scrubber {
            store: self.store.clone(),
            log: self.raft_starter.log.clone(),
            checkpoints: Arc::clone(&applier.checkpoints),
            puller: self.snapshots.puller(),
            members: Arc::clone(&self.members),
            lifecycle: Arc::clone(&self.lifecycle),
            execution: Arc::clone(&applier.execution),
        }
    }
}

/// Starts a replica whose machine is `M`.
pub(crate) async fn start<M: Machine>(options: ReplicaOptions<M>) -> Result<Service, ConsensusError> {
    options.genesis.validate().map_err(ConsensusError::Genesis)?;
    let vat = options.genesis.vat_id();
    let key = HostId(options.signing_key_bytes());
    let store = VatStore::new(Arc::clone(&options.store), vat);
    let stats = Arc::new(StatsCell::default());
    let chain = verified_chain(&options, &store)?;
    let memberships = memberships(&options, &chain);
    // One that may not run promises nothing: not even an id.
    let raft_id = if kept_fault(&store)?.is_some() { store.raft_id()? } else { raft_id(&options, &store, &key)? };
    let log = LogStore::open(store.clone(), Arc::clone(&stats))?;
    let checkpoints = Arc::new(Checkpoints::load(store.clone(), M::describe, Arc::clone(&stats), options.archive)?);
    let watermark = store.watermark()?;
    let mark = store.mark().unwrap_or_default();
    let newest = checkpoints.newest();
    if let Some(record) = &newest {
        log.anchor(record.block(), record.statement.chain);
    }
    if let (Some(watermark), Some(record)) = (watermark, &newest)
        && watermark.block > mark.signs_after
    {
        check_watermark(&store, &watermark, record)?;
    }
    // The log was rolled back, or the replica repaired: this host has signed or acknowledged what it lacks now.
    let (log_ends, _) = log.ends();
    let promised = watermark.map_or(0, |watermark| watermark.block).max(mark.log).max(mark.votes_after);
    let recovering = Some(promised).filter(|block| *block > log_ends);
    let fault = kept_fault(&store)?;
    if fault.is_none() {
        begin_mark(&store, &log)?;
    }
    let life = own_key::new_life().map_err(ConsensusError::Random)?;
    let signed_through = watermark.map_or(0, |watermark| watermark.block).max(mark.signs_after);
    let own_key = OwnKey::new(life, signed_through, recovering);
    let own_key = Arc::new(own_key);
    let state = ReplicatedState::of_genesis(&options.genesis);
    let reported = options.events.clone();
    let (time_told, time) = watch::channel(LogTime::default());
    let executor = Executor {
        vat,
        parameters: options.genesis.parameters,
        machine: options.machine,
        state: state.clone(),
        report: Box::new(move |executed| {
            let reported = reported.clone();
            Box::pin(async move {
                // The node is gone if this fails; it is shutting down.
                let _ = reported.send(Event::from(executed)).await;
            })
        }),
        stats: Arc::clone(&stats),
        time: time_told,
    };
    let executor =
        executor.start(options.execution.as_ref()).map_err(|error| ConsensusError::Thread(error.to_string()))?;
    let (signer, signer_inputs) = mpsc::channel(SIGNER_INPUTS);
    let (checkpointer, checkpointer_inputs) = mpsc::channel(CHECKPOINTER_INPUTS);
    let (proposer, proposals) = mpsc::channel(MAX_WAITING);
    let (urgent, urgent_proposals) = mpsc::channel(MAX_URGENT);
    let mut status = ReplicaStatus::new(vat, key, state.membership.clone());
    status.raft_id = raft_id.unwrap_or(0);
    let totals = store.evidence_totals()?;
    status.equivocations = totals.equivocations;
    status.disagreements = totals.disagreements;
    status.certified_epoch = chain.len() as u64;
    status.recovering = recovering;
    let status = Arc::new(StatusCell::new(status));
    let events: Arc<dyn EventSink> = Arc::new(Events(options.events));
    let raft = Arc::new(RaftCell::new());
    let lifecycle = Lifecycle::new(store.clone(), Arc::clone(&status), Arc::clone(&events), &raft);
    let lifecycle = Arc::new(lifecycle);
    let began = state.last_log.map_or(0, |last| last.index);
    let view = MembershipView { chain, memberships, applied: Arc::new(state), began, raft_nodes: BTreeMap::new() };
    let members = Members::new(view, store.clone(), Arc::clone(&status), Arc::clone(&lifecycle));
    let members = Arc::new(members);
    let gate = GateParts {
        key: options.key.clone(),
        store: store.clone(),
        voters: Arc::clone(&members) as Arc<dyn Voters>,
        first: WireEntry::first(RaftMembership::of_genesis(&options.genesis)),
        convictions: told_of_convictions(signer.clone()),
    };
    let gate = OrderGate::open(gate, &log);
    if gate.is_err() {
        lifecycle.stop();
    }
    let gate = Arc::new(gate?);
    log.guarded_by(Arc::clone(&gate));
    let timing = options.timing;
    let (genesis, signing, clock) = (options.genesis, options.key, options.clock);
    let identity = Arc::new(Identity { vat, genesis, key, signing, timing, clock });
    let transport = options.transport;
    let share = ShareClient {
        timing,
        transport: Arc::clone(&transport),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        signer: signer.clone(),
    };
    let clocks = Arc::new(Clocks::new(Arc::clone(&identity), Arc::clone(&members), share.clone(), time));
    let awaited = Arc::new(Awaited::default());
    let applier = Applier {
        vat,
        execution: Arc::clone(&options.execution),
        executor: executor.clone(),
        checkpoints: Arc::clone(&checkpoints),
        members: Arc::clone(&members),
        status: Arc::clone(&status),
        lifecycle: Arc::clone(&lifecycle),
        signer: signer.clone(),
        checkpointer: checkpointer.clone(),
        awaited: Arc::clone(&awaited),
    };
    let key_watch = KeyWatch {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        members: Arc::clone(&members),
        share: share.clone(),
        store: store.clone(),
        log: log.clone(),
        own_key: Arc::clone(&own_key),
    };
    let signer_parts = SignerParts {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        stats: Arc::clone(&stats),
        members: Arc::clone(&members),
        store: store.clone(),
        log: log.clone(),
        own_key: Arc::clone(&own_key),
        share: share.clone(),
        checkpointer,
        events: Arc::clone(&events),
    };
    let checkpointer = Checkpointer {
        execution: Arc::clone(&options.execution),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        members: Arc::clone(&members),
        store: store.clone(),
        checkpoints: Arc::clone(&checkpoints),
        raft: Arc::clone(&raft),
        signer: signer.clone(),
    };
    let intake = Arc::new(Intake::default());
    let proposer_parts = Proposer {
        intake: Arc::clone(&intake),
        awaited,
        key,
        lifecycle: Arc::clone(&lifecycle),
        raft: Arc::clone(&raft),
        stats: Arc::clone(&stats),
        transport: Arc::clone(&transport),
        clocks: Arc::clone(&clocks),
        status: Arc::clone(&status),
        max_uncertified: options.max_uncertified,
    };
    let (leader, candidates) = (Arc::new(LeaderSeen::default()), Arc::new(Candidates::default()));
    let rest = Arc::new(Rest::new(RestParts {
        election_max: timing.election_max,
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        leader: Arc::clone(&leader),
        raft: Arc::clone(&raft),
        share: share.clone(),
        executor: executor.clone(),
    }));
    let complaints = Complaints::new(ComplaintParts {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        stats: Arc::clone(&stats),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        raft: Arc::clone(&raft),
        share: share.clone(),
        proposer: proposer.clone(),
        urgent,
        leader: Arc::clone(&leader),
        candidates: Arc::clone(&candidates),
        rest: Arc::clone(&rest),
        max_uncertified: options.max_uncertified,
    });
    let leader_watch = LeaderWatch {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        share: share.clone(),
    };
    let order_teller = OrderTeller {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        share: share.clone(),
    };
    let early_order = EarlyOrder {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        raft: Arc::clone(&raft),
        share: share.clone(),
    };
    let clock_task = ClockTask {
        clocks: Arc::clone(&clocks),
        lifecycle: Arc::clone(&lifecycle),
        raft: Arc::clone(&raft),
        complaints: Arc::clone(&complaints),
    };
    // What the checkpoint covers, or is signed no more, has been settled.
    let settled = newest.as_ref().map_or(0, |record| record.block()).max(mark.signs_after);
    let unreached = watermark.filter(|watermark| watermark.block > settled);
    let promised = OrderGate::promised(&store)?.filter(|(index, _)| *index > settled.max(signed_through));
    // A replica that has stopped for good starts nothing that could sign.
    if fault.is_none() {
        tokio::spawn(Signer::new(signer_parts, unreached, promised, mark.signs_after).run(signer_inputs));
        tokio::spawn(checkpointer.run(checkpointer_inputs));
        tokio::spawn(proposer::run(proposer_parts, proposals, urgent_proposals));
        tokio::spawn(Arc::clone(&complaints).run());
        tokio::spawn(clock_task.run());
        tokio::spawn(leader_watch.run());
        tokio::spawn(order_teller.run());
        tokio::spawn(early_order.run());
    }
    let approvals = Approvals::load(ApprovalParts {
        policy: options.approve,
        motions: Arc::clone(&options.motions),
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        members: Arc::clone(&members),
        store: store.clone(),
        share: share.clone(),
        complaints: Arc::clone(&complaints),
    });
    if approvals.is_err() {
        lifecycle.stop();
    }
    let (approvals, motions) = approvals?;
    let sleeper = Arc::new(Sleeper(SleeperParts {
        identity: Arc::clone(&identity),
        lifecycle: Arc::clone(&lifecycle),
        status: Arc::clone(&status),
        members: Arc::clone(&members),
        gate: Arc::clone(&gate),
        raft: Arc::clone(&raft),
        share: share.clone(),
        own_key: Arc::clone(&own_key),
        clocks: Arc::clone(&clocks),
        complaints: Arc::clone(&complaints),
        approvals: Arc::clone(&approvals),
        motions: Arc::clone(&motions),
        rest: Arc::clone(&rest),
    }));
    if fault.is_none() {
        tokio::spawn(Arc::clone(&sleeper).run());
    }
    let share_server = ShareServer {
        members: Arc::clone(&members),
        stats: Arc::clone(&stats),
        gate: Arc::clone(&gate),
        signer,
        presences: Mutex::default(),
        approvals: Arc::clone(&approvals),
        clocks: Arc::clone(&clocks),
        complaints: Arc::clone(&complaints),
        motions: Arc::clone(&motions),
        rest: Arc::clone(&rest),
        sleeper: Arc::clone(&sleeper),
    };
    let frames = RaftServer {
        timing,
        members: Arc::clone(&members),
        status: Arc::clone(&status),
        leader: Arc::clone(&leader),
        candidates,
        rest: Arc::clone(&rest),
        since: Instant::now(),
    };
    let service = Service {
        snapshots: SnapshotReceiver::new(
            &applier,
            timing,
            Arc::clone(&transport),
            Arc::clone(&stats),
            Arc::clone(&raft),
        ),
        raft_starter: RaftStarter {
            applier,
            transport,
            log,
            gate,
            share,
            leader: Arc::clone(&leader),
            stats: Arc::clone(&stats),
            events,
            key_watch: key_watch.clone(),
            raft: Arc::clone(&raft),
            pace: options.pace,
        },
        intake,
        rest,
        identity,
        lifecycle,
        status,
        stats,
        members,
        leader,
        own_key,
        store,
        executor,
        proposer,
        complaints,
        share: share_server,
        frames,
        approvals,
        clocks,
        motions,
        raft,
    };
    let restored = restore(&service.raft_starter.applier, newest).await;
    if let Some(fault) = fault {
        service.lifecycle.fault(fault);
        return Ok(service);
    }
    if restored.is_err() {
        // The tasks that were started end, and with them the executing thread and its memory.
        service.lifecycle.stop();
    }
    let restored = restored?;
    tokio::spawn(key_watch.clone().run());
    tokio::spawn(approvals::run(Arc::clone(&service.approvals)));
    tokio::spawn(approvals::run(Arc::clone(&service.motions)));
    if let Some(id) = raft_id {
        let (starter, lifecycle) = (service.raft_starter.clone(), Arc::clone(&service.lifecycle));
        tokio::spawn(async move {
            key_watch.ask_before_start().await;
            if lifecycle.is_stopped() {
                return;
            }
            if let Err(error) = starter.start(id, &restored).await {
                lifecycle.fault(error);
            }
        });
    }
    Ok(service)
}

impl<M: Machine> ReplicaOptions<M> {
    fn signing_key_bytes(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

/// Tells the signer, which keeps what convicts.
fn told_of_convictions(signer: mpsc::Sender<SignerInput>) -> Box<dyn Fn(OrderEvidence) + Send + Sync> {
    Box::new(move |evidence| {
        // Full: it is found again when the member goes on, or another member tells.
        let _ = signer.try_send(SignerInput::Convicted(evidence));
    })
}

/// Restores the newest checkpoint.
async fn restore(
    applier: &Applier,
    newest: Option<Arc<CheckpointRecord>>,
) -> Result<Arc<ReplicatedState>, ConsensusError> {
    let Some(record) = newest else { return Ok(Arc::clone(&applier.members.view().applied)) };
    let block = record.block();
    let failed = |fault| ConsensusError::Restore { block, fault };
    let state = record.restored_state().map_err(|text| failed(crate::error::MachineFault(text)))?;
    let fetch = fetcher(&applier.checkpoints, applier.vat);
    let restored = applier.executor.restore(Arc::clone(&record.manifest.0), state, fetch).await.map_err(failed)?;
    applier.restored(&record, Arc::clone(&restored)).await;
    if let Some(certified) = applier.checkpoints.certified() {
        let (block, root) = (certified.block(), certified.statement.state_root);
        applier.status.set(|status| {
            status.checkpoint_block = block;
            status.checkpoint_root = root;
            status.certified_block = status.certified_block.max(block);
        });
        // The signer is running and has room: it was just started.
        let _ = applier.signer.try_send(SignerInput::Floor(block));
    }
    Ok(restored)
}

/// Starts Raft, and the tasks that need it.
#[derive(Clone)]
pub(crate) struct RaftStarter {
    applier: Applier,
    transport: Arc<dyn Transport>,
    log: LogStore,
    gate: Arc<OrderGate>,
    share: ShareClient,
    leader: Arc<LeaderSeen>,
    stats: Arc<StatsCell>,
    events: Arc<dyn EventSink>,
    key_watch: KeyWatch,
    raft: Arc<RaftCell>,
    pace: Arc<Pace>,
}

impl RaftStarter {
    /// The newest certified checkpoint.
    pub(crate) fn certified_checkpoint(&self) -> Option<Arc<CheckpointRecord>> {
        self.applier.checkpoints.certified()
    }

    /// The last entry of the log that is on disk.
    pub(crate) fn log_end(&self) -> u64 {
        self.log.ends().0
    }

    /// Starts Raft under an id, once. The log after the checkpoint is executed before it returns.
    pub(crate) async fn start(&self, id: u64, restored: &ReplicatedState) -> Result<(), String> {
        let (identity, lifecycle) = (&self.key_watch.identity, &self.applier.lifecycle);
        let own_key = &self.key_watch.own_key;
        let begins = self.begin_log(id, restored)?;
        let started = self.raft.get_or_try_init(|| RaftNode::start(self.setup(), id, restored)).await;
        let raft = started.map_err(|error| format!("Q-C015 raft could not be started: {error}"))?.clone();
        if lifecycle.is_stopped() {
            raft.shutdown().await;
            return Ok(());
        }
        if own_key.is_recovering() {
            tokio::spawn(self.key_watch.clone().recover());
        }
        let membership = MembershipTask {
            identity: Arc::clone(identity),
            lifecycle: Arc::clone(lifecycle),
            status: Arc::clone(&self.applier.status),
            stats: Arc::clone(&self.stats),
            members: Arc::clone(&self.applier.members),
            leader: Arc::clone(&self.leader),
            own_key: Arc::clone(own_key),
            share: self.share.clone(),
            store: self.key_watch.store.clone(),
            events: Arc::clone(&self.events),
            raft: raft.clone(),
        };
        membership.publish(&raft.view());
        tokio::spawn(membership.run());
        // The first member of a new vat asks for its votes at once; the others leave it to that one for a while.
        let patience = match (begins, id) {
            (false, _) => Some(Duration::ZERO),
            (true, 1) => None,
            (true, _) => Some(identity.timing.election_min),
        };
        let election = Election {
            timing: identity.timing,
            lifecycle: Arc::clone(lifecycle),
            leader: Arc::clone(&self.leader),
            own_key: Arc::clone(own_key),
            pace: Arc::clone(&self.pace),
        };
        tokio::spawn(election::run(election, raft, patience));
        Ok(())
    }

    fn setup(&self) -> RaftSetup {
        let timing = self.key_watch.identity.timing;
        RaftSetup {
            name: self.key_watch.identity.vat.to_string(),
            timing,
            log: self.log.clone(),
            gate: Arc::clone(&self.gate),
            checkpoints: Arc::clone(&self.applier.checkpoints),
            transport: Arc::clone(&self.transport),
            apply: Arc::new(self.applier.clone()),
            peers: Arc::new(self.share.clone()),
            snapshots: Arc::new(SnapshotSender {
                timing,
                transport: Arc::clone(&self.transport),
                checkpoints: Arc::clone(&self.applier.checkpoints),
                share: self.share.clone(),
                stats: Arc::clone(&self.stats),
                gate: Arc::clone(&self.gate),
            }),
        }
    }

    /// Begins the log of a member of the genesis that has none and no checkpoint: with the membership of the genesis. Returns whether
    /// it did.
    ///
    /// This is the first thing that such a replica does, at every start, and before it hears anybody: whatever vote it has
    /// cast, and wherever its power was cut before, it knows who the voters are. Openraft's own way is for one replica to form
    /// the cluster, once; it refuses when a vote was cast, which a liar or an early candidate could bring about.
    fn begin_log(&self, id: u64, restored: &ReplicatedState) -> Result<bool, String> {
        let Identity { genesis, key, .. } = &*self.key_watch.identity;
        if restored.last_log.is_some() || genesis_raft_ids(genesis).get(key) != Some(&id) {
            return Ok(false);
        }
        let first = WireEntry::first(RaftMembership::of_genesis(genesis));
        self.log.begin(&first).map_err(|error| error.to_string())
    }
}

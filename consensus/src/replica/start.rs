//! Starting a replica: from what the store has to running tasks.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, watch};

use super::batcher::{self, MAX_WAITING};
use super::board::{Board, BoardInput};
use super::campaign;
use super::core::{Core, Events, Known};
use super::keeper;
use super::options::ReplicaOptions;
use super::own_key;
use super::reconcile;
use super::status::ReplicaStatus;
use crate::checkpoint::{CheckpointRecord, Checkpoints, fetcher};
use crate::error::ConsensusError;
use crate::executor::Executor;
use crate::ids::HostKey;
use crate::machine::Machine;
use crate::membership::{Introduction, Membership};
use crate::raft::RaftNode;
use crate::raft::links::Links;
use crate::raft::log::LogStore;
use crate::state::{ReplicatedState, genesis_raft_ids};
use crate::stats::StatsCell;
use crate::store::{Guard, VatStore};

/// Inputs that wait for the board at most; then applying waits, and shares from others are dropped and asked for later.
const BOARD_INPUTS: usize = 4_096;
/// Inputs that wait for the keeper at most; then applying waits.
const KEEPER_INPUTS: usize = 4;

/// Starts a replica whose machine is `M`.
pub(crate) async fn start<M: Machine>(options: ReplicaOptions<M>) -> Result<Arc<Core>, ConsensusError> {
    options.genesis.validate().map_err(ConsensusError::Genesis)?;
    let vat = options.genesis.vat_id();
    let key = HostKey(options.signing_key_bytes());
    let store = VatStore::new(Arc::clone(&options.store), vat);
    let stats = Arc::new(StatsCell::default());
    let chain = verified_chain(&options, &store)?;
    let memberships = memberships(&options, &chain);
    let raft_id = raft_id(&options, &store, &key)?;
    let log = LogStore::open(store.clone(), Arc::clone(&stats))?;
    let checkpoints = Arc::new(Checkpoints::load(store.clone(), M::describe, Arc::clone(&stats))?);
    let guard: Option<Guard> = store.named("guard")?;
    let newest = checkpoints.newest();
    if let (Some(guard), Some(record)) = (guard, &newest) {
        check_guard(&guard, record)?;
    }
    // The log was rolled back: this host has signed what it lacks now.
    let (log_ends, _) = log.ends();
    let recovering = guard.map(|guard| guard.block).filter(|block| *block > log_ends);
    let life = own_key::new_life().map_err(ConsensusError::Random)?;
    let state = ReplicatedState::of_genesis(&options.genesis);
    let executor = Executor {
        vat,
        parameters: options.genesis.parameters,
        machine: options.machine,
        state: state.clone(),
        events: options.events.clone(),
        stats: Arc::clone(&stats),
    };
    let executor = executor.spawn().map_err(|error| ConsensusError::Thread(error.to_string()))?;
    let (board, board_inputs) = mpsc::channel(BOARD_INPUTS);
    let (keeper, keeper_inputs) = mpsc::channel(KEEPER_INPUTS);
    let (batcher, proposals) = mpsc::channel(MAX_WAITING);
    let mut status = ReplicaStatus::new(vat, key, state.membership.clone());
    status.raft_id = raft_id.unwrap_or(0);
    status.conflicts = store.conflict_counts()?.values().sum();
    status.certified_epoch = chain.len() as u64;
    status.recovering = recovering;
    let applied = Arc::new(state);
    let core = Arc::new(Core {
        vat,
        genesis: options.genesis,
        key,
        signing: options.key,
        tamper: options.tamper,
        timing: options.timing,
        store,
        log,
        checkpoints,
        executor,
        transport: options.transport,
        stats,
        status: watch::channel(status).0,
        events: Arc::new(Events(options.events)),
        board,
        keeper,
        batcher,
        raft: OnceCell::new(),
        links: Links::default(),
        known: Mutex::new(Known { chain, memberships, applied, raft_nodes: BTreeMap::new() }),
        receiving: Mutex::new(None),
        stop: watch::channel(false).0,
        faulted: OnceLock::new(),
        heard: Mutex::new(None),
        leader_committed: AtomicU64::new(0),
        signed_through: AtomicU64::new(guard.map_or(0, |guard| guard.block)),
        recovering: AtomicU64::new(recovering.unwrap_or(0)),
        life,
        heard_of_self: Mutex::default(),
        presences: Mutex::default(),
        runtime: tokio::runtime::Handle::current(),
    });
    let hold = guard.filter(|guard| newest.as_ref().is_none_or(|record| record.block() < guard.block));
    tokio::spawn(Board::new(Arc::clone(&core), hold).run(board_inputs));
    tokio::spawn(keeper::run(Arc::clone(&core), keeper_inputs));
    tokio::spawn(batcher::run(Arc::clone(&core), proposals));
    let starter = Arc::clone(&core);
    let restored = restore(&core, newest).await;
    if restored.is_err() {
        // The tasks that were started end, and with them the executing thread and its memory.
        core.stop.send_replace(true);
    }
    let restored = restored?;
    tokio::spawn(own_key::run(Arc::clone(&core)));
    if let Some(id) = raft_id {
        tokio::spawn(async move {
            own_key::ask_before_start(&starter).await;
            if starter.is_stopped() {
                return;
            }
            if let Err(error) = starter.start_raft(id, &restored).await {
                starter.fault(error);
            }
        });
    }
    Ok(core)
}

impl<M: Machine> ReplicaOptions<M> {
    fn signing_key_bytes(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

/// The chain of the store, continued by that of the options; the whole of it is verified.
fn verified_chain<M: Machine>(
    options: &ReplicaOptions<M>,
    store: &VatStore,
) -> Result<Vec<crate::membership::MembershipCertificate>, ConsensusError> {
    let mut chain = store.chain()?;
    let known = chain.len();
    chain.extend(options.chain.iter().skip(known).cloned());
    let introduction = Introduction { genesis: options.genesis.clone(), chain };
    introduction.verify().map_err(ConsensusError::Chain)?;
    let added = introduction.chain[known..].iter().map(|certificate| store.put_membership(certificate)).collect();
    store.write(added)?;
    Ok(introduction.chain)
}

fn memberships<M: Machine>(
    options: &ReplicaOptions<M>,
    chain: &[crate::membership::MembershipCertificate],
) -> BTreeMap<u64, Membership> {
    let certified = chain.iter().map(|certificate| certificate.membership.clone());
    std::iter::once(options.genesis.membership()).chain(certified).map(|m| (m.epoch, m)).collect()
}

/// Raft's id of this replica: from the store, or from the genesis. A learner gets its own with the first message of a leader.
fn raft_id<M: Machine>(
    options: &ReplicaOptions<M>,
    store: &VatStore,
    key: &HostKey,
) -> Result<Option<u64>, ConsensusError> {
    if let Some(id) = store.named("raft-id")? {
        return Ok(Some(id));
    }
    match genesis_raft_ids(&options.genesis).get(key) {
        Some(id) if !options.learner => {
            store.write_synced(vec![store.put_named("raft-id", id)])?;
            Ok(Some(*id))
        }
        _ if options.learner => Ok(None),
        _ => Err(ConsensusError::NotAMember(*key)),
    }
}

fn check_guard(guard: &Guard, record: &CheckpointRecord) -> Result<(), ConsensusError> {
    let found = record.statement.hash();
    if guard.block == record.block() && guard.statement != found {
        return Err(ConsensusError::Guard { block: guard.block, signed: guard.statement, found });
    }
    Ok(())
}

/// Restores the newest checkpoint.
async fn restore(
    core: &Arc<Core>,
    newest: Option<Arc<CheckpointRecord>>,
) -> Result<Arc<ReplicatedState>, ConsensusError> {
    let Some(record) = newest else { return Ok(Arc::clone(&core.known().applied)) };
    let block = record.block();
    let failed = |fault| ConsensusError::Restore { block, fault };
    let state = record.restored_state().map_err(|text| failed(crate::error::MachineFault(text)))?;
    let fetch = fetcher(&core.checkpoints, core.vat);
    let restored = core.executor.restore(Arc::clone(&record.manifest.0), state, fetch).await.map_err(failed)?;
    core.restored(&record, Arc::clone(&restored)).await;
    if let Some(certified) = core.checkpoints.certified() {
        let (block, root) = (certified.block(), certified.statement.state_root);
        core.set_status(|status| {
            status.checkpoint_block = block;
            status.checkpoint_root = root;
            status.certified_block = status.certified_block.max(block);
        });
        // The board is running and has room: it was just started.
        let _ = core.board.try_send(BoardInput::Floor(block));
    }
    Ok(restored)
}

impl Core {
    /// Starts Raft under an id, once. The log after the checkpoint is executed before it returns.
    pub(crate) async fn start_raft(self: &Arc<Self>, id: u64, restored: &ReplicatedState) -> Result<(), String> {
        let pristine = self.log.is_pristine();
        let started = self.raft.get_or_try_init(|| RaftNode::start(self, id, restored)).await;
        let raft = started.map_err(|error| format!("Q-C015 raft could not be started: {error}"))?.clone();
        if self.is_stopped() {
            raft.shutdown().await;
            return Ok(());
        }
        if self.is_recovering() {
            tokio::spawn(own_key::recover(Arc::clone(self), raft.clone()));
        }
        reconcile::publish(self, &raft.view());
        tokio::spawn(reconcile::run(Arc::clone(self), raft.clone()));
        let ids = genesis_raft_ids(&self.genesis);
        if pristine && ids.get(&self.key) == Some(&id) {
            self.initialize(&raft, id).await;
        }
        // Whoever forms the cluster is a candidate already.
        let patience = if pristine { self.timing.election_min } else { Duration::ZERO };
        tokio::spawn(campaign::run(Arc::clone(self), raft, patience));
        Ok(())
    }

    /// Forms the cluster. The first member of the genesis does so at once; the others only if it stays away, which spares the
    /// usual start a split vote. All give the same membership, which makes that safe.
    async fn initialize(self: &Arc<Self>, raft: &RaftNode, id: u64) {
        let members = self.genesis.members.iter();
        let ids = genesis_raft_ids(&self.genesis);
        let nodes: BTreeMap<u64, _> = members.map(|member| (ids[&member.key], member.clone())).collect();
        if id > 1 {
            let patience = self.timing.election_max + self.timing.heartbeat * 4 * u32::try_from(id).unwrap_or(1);
            let mut stopping = self.stopping();
            tokio::select! {
                () = stopping.wait() => return,
                () = wait_for_log(&self.log, patience) => {}
            }
        }
        if self.log.is_pristine() {
            raft.initialize(nodes).await;
        }
    }
}

/// Returns when something is in the log, or after a while.
async fn wait_for_log(log: &LogStore, patience: Duration) {
    let pause = Duration::from_millis(20);
    let began = tokio::time::Instant::now();
    while log.is_pristine() && began.elapsed() < patience {
        tokio::time::sleep(pause).await;
    }
}

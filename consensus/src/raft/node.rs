//! A running Raft, as the rest of the crate uses it.

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::ProgressResponder;
use openraft::{ChangeMembers, Config, ServerState, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

use super::ballots::Ballots;
use super::executing::Executing;
use super::gate::OrderGate;
use super::instance::{Instances, Parts, RaftWatch};
use super::links::Links;
use super::log::LogStore;
use super::network::Shared;
use super::ports::{Apply, Peers, Snapshots};
use super::role::Role;
use super::state_machine::snapshot_meta;
use super::types::{self, BlockData, Snapshot};
use super::wire;
use crate::order::admissible::FrameCheck;
use crate::order::frames::{RaftMessage, RaftReply, WireVote};
use crate::proof::membership::Member;
use crate::state::block::{Block, BlockReply, LogContent};
use crate::state::{LogPosition, ReplicatedState};
use crate::storage::SCAN_BYTES;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints};
use crate::timing::Timing;
use crate::transport::Transport;
use quorate_ids::HostId;

/// Entries in one append message at most; their bytes are bounded by the log's reader.
const MAX_PAYLOAD_ENTRIES: u64 = 256;
/// A member this far behind would be sent a checkpoint though the log is there. Never wanted: a checkpoint is sent only when
/// the log it needs is gone.
const LAG_THRESHOLD: u64 = u64::MAX / 2;
/// Only a cap for openraft; progress is enforced request by request.
const INSTALL_TIMEOUT_MS: u64 = 24 * 3_600 * 1_000;
/// How long to wait for openraft to take note of a checkpoint before cutting the log. If it takes longer the log is cut later.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);

/// Why a block was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// It is not in the log and will not be.
    NotLeader,
    /// It may be in the log.
    Unknown,
    /// Raft has stopped.
    Stopped(String),
}

/// What Raft reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct RaftView {
    pub(crate) stopped: Option<String>,
    pub(crate) id: u64,
    pub(crate) term: u64,
    pub(crate) role: Role,
    pub(crate) leader: Option<u64>,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
    pub(crate) last_log: u64,
    pub(crate) purged: u64,
    /// The membership that is in force: the last one in the log, committed or not.
    pub(crate) configs: Vec<BTreeSet<u64>>,
    pub(crate) nodes: BTreeMap<u64, Member>,
    /// Its index in the log.
    pub(crate) membership_log: u64,
    /// When a quorum last acknowledged this leader.
    pub(crate) quorum_acknowledged: Option<Instant>,
    /// By raft id: the last index that the replica has, as far as the leader knows.
    pub(crate) matched: BTreeMap<u64, u64>,
}

impl RaftView {
    /// Returns whether this replica is the only voter.
    pub(crate) fn is_alone(&self) -> bool {
        self.configs == [BTreeSet::from([self.id])]
    }

    /// The leader, as a member.
    pub(crate) fn leader_member(&self) -> Option<&Member> {
        self.nodes.get(&self.leader?)
    }
}

/// A running Raft.
#[derive(Clone)]
pub(crate) struct RaftNode {
    instances: Arc<Instances>,
    id: u64,
    links: Arc<Links>,
    log: LogStore,
    gate: Arc<OrderGate>,
    /// The last index that was executed.
    executed: Arc<AtomicU64>,
}

/// What Raft runs on.
pub(crate) struct RaftSetup {
    /// For logs.
    pub(crate) name: String,
    pub(crate) timing: Timing,
    pub(crate) log: LogStore,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) apply: Arc<dyn Apply>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) snapshots: Arc<dyn Snapshots>,
}

fn config(timing: &Timing, name: String) -> Config {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: name,
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        install_snapshot_timeout: INSTALL_TIMEOUT_MS,
        max_payload_entries: MAX_PAYLOAD_ENTRIES,
        replication_lag_threshold: LAG_THRESHOLD,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX / 2,
        // Members stand in turn: `tasks::election`. Openraft's own pauses are of one length for all disks and lines.
        enable_elect: false,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        // A member whose log was rolled back is sent again what it lost; without this the leader would leave it where it is,
        // and say nothing. What such a member may do until then: see `own_key`.
        allow_log_reversion: Some(true),
        ..Config::default()
    }
}

impl RaftNode {
    /// Starts Raft on what the store has. Executes the committed log after the checkpoint before it returns.
    pub(crate) async fn start(setup: RaftSetup, id: u64, restored: &ReplicatedState) -> Result<Self, String> {
        let RaftSetup { name, timing, log, gate, checkpoints, transport, apply, peers, snapshots } = setup;
        gate.runs_as(id);
        let executing = Executing::new(apply, Arc::clone(&gate), restored);
        Executing::follow_order(&executing);
        let (links, running) = (Arc::new(Links::default()), Arc::new(OnceLock::new()));
        let network = Arc::new(Shared {
            transport,
            peers,
            snapshots,
            timing,
            links: Arc::clone(&links),
            gate: Arc::clone(&gate),
            named_terms: Mutex::default(),
            ballots: Ballots::default(),
            raft: Arc::clone(&running),
        });
        let executed = executing.executed_index();
        let parts = Parts { id, config: config(&timing, name), network, checkpoints, log: log.clone(), executing };
        let instances = Instances::begin(parts).await?;
        let node = Self { instances, id, links, log, gate, executed };
        // It was empty: this is the only place that sets it.
        let _ = running.set(node.clone());
        Ok(node)
    }

    /// The longest round trip to be expected to any member that Raft replicates to; zero while nothing was measured.
    pub(crate) fn longest_round_trip(&self, view: &RaftView) -> Duration {
        self.links.longest(view.nodes.values().map(|member| &member.key))
    }

    /// Asks the others whether they would vote for this replica, and stands for election if so. See `tasks::election` for why that
    /// harms no leader.
    pub(crate) async fn ask_to_lead(&self) {
        // It fails only if Raft has stopped, which its state tells.
        let _ = self.instances.raft().trigger().elect(true).await;
    }

    /// Returns whether this member has voted in a term: for itself or for another.
    pub(crate) fn has_voted(&self, term: u64) -> bool {
        self.gate.has_voted(term)
    }

    /// The id of this replica.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The present condition.
    pub(crate) fn view(&self) -> RaftView {
        let (metrics, reopens) = self.instances.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<types::LogId>| id.as_ref().map_or(0, |id| id.index);
        let membership = metrics.membership_config.membership();
        let matched = metrics.replication.iter().flatten().map(|(id, log)| (*id, index(log))).collect();
        RaftView {
            stopped: metrics.running_state.as_ref().err().filter(|_| !reopens).map(ToString::to_string),
            id: self.id,
            term: metrics.current_term,
            role: match metrics.state {
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Leader => Role::Leader,
                ServerState::Shutdown => Role::Stopped,
            },
            leader: metrics.current_leader,
            committed: index(&metrics.local_committed),
            // Openraft takes for applied what waits for its order.
            applied: index(&metrics.last_applied).min(self.executed.load(Ordering::SeqCst)),
            last_log: metrics.last_log_index.unwrap_or(0),
            purged: index(&metrics.purged),
            configs: membership.get_joint_config().clone(),
            quorum_acknowledged: metrics.last_quorum_acked.as_deref().map(|at| Instant::now() - at.elapsed()),
            nodes: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
            membership_log: index(metrics.membership_config.log_id()),
            matched,
        }
    }

    /// Returns when this member does not lead any more, as far as is known here, or Raft is gone.
    pub(crate) async fn leader_gone(&self, leader: HostId) {
        let mut watch = self.watch();
        loop {
            {
                let metrics = watch.metrics.borrow_watched();
                let membership = metrics.membership_config.membership();
                let present = metrics.current_leader.as_ref().and_then(|id| membership.get_node(id));
                if present.is_none_or(|member| member.key != leader) {
                    return;
                }
            }
            if !watch.changed().await {
                return;
            }
        }
    }

    /// To follow the condition.
    pub(crate) fn watch(&self) -> RaftWatch {
        RaftWatch::new(&self.instances)
    }

    /// Puts a block in the log. The first future orders it; the second resolves when it is executed here.
    pub(crate) async fn submit(
        &self,
        block: &Block,
    ) -> Result<impl Future<Output = Result<(u64, BlockReply), WriteError>> + Send + use<>, WriteError> {
        let (responder, answer) = ProgressResponder::complete_only();
        let written = self.instances.raft().client_write_ff(BlockData(block.encode()), Some(responder)).await;
        written.map_err(|fatal| WriteError::Stopped(fatal.to_string()))?;
        Ok(async move {
            match answer.await {
                Ok(Ok(response)) => Ok((response.log_id.index, response.data)),
                Ok(Err(openraft::errors::ClientWriteError::ForwardToLeader(_))) => Err(WriteError::NotLeader),
                Ok(Err(_)) | Err(_) => Err(WriteError::Unknown),
            }
        })
    }

    /// Puts a block in the log and waits for its execution.
    pub(crate) async fn write(&self, block: &Block) -> Result<(u64, BlockReply), WriteError> {
        let written = self.submit(block).await?;
        written.await
    }

    /// The last position in the log that this replica knows to be committed, under any leader.
    pub(crate) fn committed(&self) -> Option<LogPosition> {
        self.frame_check().committed
    }

    /// Tells openraft, at a follower, that what is proven of the present leader's order is committed: the proof came before the leader said so.
    pub(crate) async fn commit_proven(&self) {
        let vote = self.vote();
        if !vote.committed || vote.node == self.id {
            return;
        }
        let Some((proven, signers)) = self.gate.proven_in(vote.term) else { return };
        if self.committed().is_some_and(|committed| committed.index >= proven.index) {
            return;
        }
        // An order takes a threshold, a commit a majority, and of both memberships while one follows the other.
        let view = self.view();
        let has_it = |id: &&u64| view.nodes.get(*id).is_some_and(|member| signers.contains(&member.key));
        if view.configs.iter().all(|voters| types::is_majority(voters.iter().filter(has_it).count(), voters.len())) {
            let (prev, commit) = (Some(proven), Some(proven));
            // What it does not take, the leader tells soon.
            let _ = self.handle(RaftMessage::Append { vote, prev, entries: Vec::new(), commit, header: None }).await;
        }
    }

    /// Returns where this replica stands, to judge by what others say.
    pub(super) fn frame_check(&self) -> FrameCheck {
        let metrics = self.instances.raft().metrics();
        let metrics = metrics.borrow_watched();
        let committed = metrics.local_committed.as_ref().map(types::position);
        FrameCheck { id: self.id, term: metrics.current_term, committed }
    }

    /// Returns whether an answer is one that a replica which keeps the rules could give.
    pub(super) fn believe(&self, asked: &RaftMessage, reply: &RaftReply) -> Result<(), String> {
        self.frame_check().reply(asked, reply)
    }

    /// Checks what a message is before anything is made of it.
    pub(crate) fn admissible(&self, message: &RaftMessage) -> Result<(), String> {
        self.frame_check().message(message)
    }

    /// Hands on a message that is [admissible](RaftNode::admissible) and that the [gate](RaftNode::gate) lets pass.
    pub(crate) async fn handle(&self, message: RaftMessage) -> Result<RaftReply, String> {
        match message {
            RaftMessage::Append { vote, prev, entries, commit, .. } => {
                let request = wire::append_request(vote, prev, entries, commit).map_err(|error| error.to_string())?;
                let response =
                    self.instances.raft().append_entries(request).await.map_err(|error| error.to_string())?;
                Ok(wire::append_reply(&response))
            }
            RaftMessage::Vote { vote, last, pre, .. } => {
                // Nobody hands leadership on here, so nobody votes while a leader is alive.
                let request = wire::vote_request(vote, last, false);
                let response = if pre {
                    self.instances.raft().pre_vote(request).await
                } else {
                    self.instances.raft().vote(request).await
                };
                Ok(wire::vote_reply(&response.map_err(|error| error.to_string())?))
            }
            RaftMessage::Transfer { from, to, last } => {
                let request = wire::transfer_request(from, to, last);
                let response =
                    self.instances.raft().handle_transfer_leader(request).await.map_err(|error| error.to_string())?;
                Ok(RaftReply::Transfer { accepted: response.is_ok() })
            }
        }
    }

    /// Returns what has to be shown and signed before Raft hears of anything.
    pub(crate) fn gate(&self) -> &OrderGate {
        &self.gate
    }

    /// The log's last index: what was taken in beyond it has not come there.
    pub(crate) fn log_end(&self) -> u64 {
        self.log.ends().0
    }

    /// The log's last place.
    pub(crate) fn last_position(&self) -> Option<LogPosition> {
        self.log.last()
    }

    /// This replica's vote, for any candidate.
    pub(crate) fn vote(&self) -> WireVote {
        (&self.instances.raft().metrics().borrow_watched().vote).into()
    }

    /// Installs a checkpoint that is verified and complete in the store.
    pub(crate) async fn install(&self, vote: WireVote, record: Arc<CheckpointRecord>) -> Result<WireVote, String> {
        let meta = snapshot_meta(&record).map_err(|error| error.to_string())?;
        let last = meta.last_log_id.as_ref().map(types::position);
        let executed = self.executed.load(Ordering::SeqCst);
        let committed = self.committed().map_or(0, |committed| committed.index);
        // Of two logs the entries beyond the checkpoint have the same names, and openraft would keep what it has of them.
        let is_another = |last: &LogPosition| {
            self.log.chain(last.index).is_ok_and(|own| own != record.statement.chain) && last.index < self.log_end()
        };
        if last.is_some_and(|last| executed < last.index && (last.index <= committed || is_another(&last))) {
            // Openraft takes no checkpoint of what it calls committed. What is beyond the executed is not proven here.
            self.reopen(executed + 1).await?;
        }
        self.frame_check().install(&vote, last)?;
        // Raft cuts the log there at once.
        self.log.anchor(record.block(), record.statement.chain);
        let snapshot = Snapshot { meta, snapshot: record };
        let response = self.instances.raft().install_full_snapshot(vote.into(), snapshot).await;
        Ok((&response.map_err(|error| error.to_string())?.vote).into())
    }

    /// Takes the entries of the log from `from` on through `through` into account in what is known of the members (see
    /// [`ReplicatedState::foresee`]). Those that are not there are left out.
    ///
    /// # Errors
    /// The store fails, or an entry is damaged.
    pub(crate) fn foresee(&self, state: &mut ReplicatedState, from: u64, through: u64) -> Result<(), String> {
        let mut next = from;
        while next <= through {
            let entries = self.log.read(next, through + 1, SCAN_BYTES).map_err(|error| error.to_string())?;
            let Some(last) = entries.last().map(|entry| entry.log_id.index) else { break };
            for entry in &entries {
                state.foresee(entry.log_id.index, &types::log_content(entry));
            }
            next = last + 1;
        }
        Ok(())
    }

    /// Blocks of the log from an index on up to another, which is left out, as many as one reading brings, with their indexes; and where
    /// to read on. That is `from` at the log's end. What the log has no more is left out.
    ///
    /// # Errors
    /// The store fails, or an entry is damaged.
    pub(crate) fn blocks(&self, from: u64, to: u64) -> Result<(Vec<(u64, Block)>, u64), String> {
        let entries = self.log.read(from, to, SCAN_BYTES).map_err(|error| error.to_string())?;
        let next = entries.last().map_or(from, |last| last.log_id.index + 1);
        let block = |entry: &types::Entry| match types::log_content(entry) {
            LogContent::Block(bytes) => Some((entry.log_id.index, Block::decode(&bytes))),
            LogContent::Blank | LogContent::Raft(_) => None,
        };
        Ok((entries.iter().filter_map(block).collect(), next))
    }

    /// Returns where the log begins: what came before is certified, and gone.
    pub(crate) fn log_begin(&self) -> u64 {
        self.log.ends().1
    }

    /// Tells Raft of the newest certified checkpoint and lets it cut the log up to `purge`.
    pub(crate) async fn compact(&self, checkpoint: u64, purge: u64) {
        if self.instances.raft().trigger().snapshot().await.is_err() {
            return;
        }
        let wait = self.instances.raft().wait(Some(SNAPSHOT_PATIENCE));
        let reached = wait
            .metrics(|metrics| metrics.snapshot.as_ref().is_some_and(|id| id.index >= checkpoint), "checkpoint noted");
        if reached.await.is_ok() && purge > 0 {
            // It fails only if Raft has stopped, which its state tells.
            let _ = self.instances.raft().trigger().purge_log(purge).await;
        }
    }

    /// Has another instance of openraft go on with the log before an index: see [`super::instance`]. Entries and votes of others must
    /// not be taken meanwhile.
    ///
    /// # Errors
    /// As for [`Instances::reopen`].
    pub(crate) async fn reopen(&self, from: u64) -> Result<(), String> {
        let instances = Arc::clone(&self.instances);
        // It goes on if the caller gives up: half of it would leave nothing running.
        let reopened = tokio::spawn(async move { instances.reopen(from).await });
        reopened.await.map_err(|error| error.to_string())?
    }

    /// Begins to replicate to a new member.
    pub(crate) async fn add_learner(&self, id: u64, member: Member) -> Result<(), String> {
        self.instances.raft().add_learner(id, member, false).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Makes exactly these the voters. They are learners or voters already. Who is no voter any more stays as a learner.
    pub(crate) async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), String> {
        let change = ChangeMembers::ReplaceAllVoters(voters);
        self.instances.raft().change_membership(change, true).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Ends replication to learners that are not wanted any more.
    pub(crate) async fn remove_nodes(&self, nodes: BTreeSet<u64>) -> Result<(), String> {
        let change = ChangeMembers::RemoveNodes(nodes);
        self.instances.raft().change_membership(change, false).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Returns whether these members and this one elect a leader.
    pub(crate) fn would_be_elected(&self, others: &[HostId]) -> bool {
        self.gate.would_be_elected(others)
    }

    /// Has heartbeats go out every now and then, or none.
    pub(crate) fn tick(&self, beats: bool) {
        self.instances.raft().runtime_config().tick(beats);
    }

    /// Has heartbeats go out now.
    pub(crate) fn beat(&self) {
        let raft = self.instances.raft();
        // It fails only if Raft has stopped.
        tokio::spawn(async move { raft.trigger().heartbeat().await });
    }

    /// Stops.
    pub(crate) async fn shutdown(&self) {
        self.instances.shutdown().await;
    }
}

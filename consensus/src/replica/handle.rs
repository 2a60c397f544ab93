//! The node's handle to a running replica.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

use crate::codec::{self, MAX_COMMAND_BYTES};
use crate::error::{ConsensusError, ProposeError, ReconfigureError, StoreError};
use crate::execution::executor::STOP_PATIENCE;
use crate::execution::machine::Machine;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply};
use crate::proof::certificate::Certificate;
use crate::proof::equivocation::EvidenceRecord;
use crate::proof::membership::{Introduction, Member};
use crate::raft::RaftNode;
use crate::raft::role::Role;
use crate::replica::approval::WaitingChange;
use crate::replica::options::ReplicaOptions;
use crate::replica::scrub::{ScrubPace, VatScrub};
use crate::replica::service::{self, Service};
use crate::replica::status::ReplicaStatus;
use crate::replica::tasks::signer::SignerInput;
use crate::replica::wire::propose::{self, Payload, ProposeFrame};
use crate::replica::wire::share::ShareFrame;
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotReply, SnapshotStep};
use crate::state::change::Change;
use crate::storage::{Store, VatStore};
use crate::transport::{Channel, TransportError};
use quorate_ids::{Hash, HostId, VatId};

/// How far a raft id may be beyond those that are known here: more admissions than a newcomer could miss, and so few that a lie
/// does not use up the ids.
const MAX_IDS_AHEAD: u64 = 1 << 16;

/// How long the figures wait for the task that signs.
const FIGURES_PATIENCE: Duration = Duration::from_millis(200);

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The block that has it.
    pub block: u64,
    /// What the machine answered.
    pub result: Vec<u8>,
}

/// What a certified state root stands for, as far as it is short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// Of the checkpoint's block; its statement holds the root.
    pub certificate: Certificate,
    /// The state of consensus, as it is hashed.
    pub state: Vec<u8>,
    /// Root of the machine's state.
    pub machine_root: Hash,
}

/// What [`ReplicaHandle::figures`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// The members of the newest membership that is known, this host among them.
    pub members: BTreeMap<HostId, MemberFigures>,
    /// For how long the oldest statement without a certificate has waited for it.
    pub oldest_uncertified: Option<Duration>,
    /// The checkpoint that is being received.
    pub receiving: Option<Receiving>,
}

/// How a member stands, as far as this replica knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberFigures {
    /// The highest block of which its signature has come here; 0 if none has, and for this host itself.
    pub signed_block: u64,
    /// How many entries of the leader's log it lacks: known to the leader alone.
    pub lag_blocks: Option<u64>,
}

/// A checkpoint on its way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiving {
    /// The chunks that it consists of.
    pub chunks: u64,
    /// Those that have not come yet.
    pub missing: u64,
}

/// The place in [`PROPOSAL_OUTCOMES`](crate::PROPOSAL_OUTCOMES) of what became of a proposal.
fn outcome(proposed: &Result<Proposed, ProposeError>) -> usize {
    match proposed {
        Ok(_) => 0,
        Err(ProposeError::NoLeader) => 1,
        Err(ProposeError::Unknown) => 2,
        Err(ProposeError::TooLarge { .. }) => 3,
        Err(ProposeError::Overloaded) => 4,
        Err(ProposeError::Refused(_)) => 5,
        Err(ProposeError::Stopped(_)) => 6,
    }
}

/// Starts replicas.
pub struct Replica<M>(PhantomData<M>);

impl<M: Machine> Replica<M> {
    /// Starts a replica. It returns when the newest checkpoint is restored; the log after it is executed again in the
    /// background (see [`ReplicaStatus::role`]). Must be called in a tokio runtime.
    pub async fn start(options: ReplicaOptions<M>) -> Result<ReplicaHandle, ConsensusError> {
        Ok(ReplicaHandle { service: Arc::new(service::start(options).await?) })
    }
}

/// A running replica. Clones are the same replica.
#[derive(Clone)]
pub struct ReplicaHandle {
    service: Arc<Service>,
}

impl ReplicaHandle {
    /// The vat.
    pub fn vat(&self) -> VatId {
        self.service.identity.vat
    }

    /// Has a command ordered and executed, at whatever member this is. The command may take effect even if the answer is
    /// [`ProposeError::Unknown`], and, where a leader fails or does not order it, more than once: the members see to it that a leader
    /// orders what it was given, and any of them may propose anything at any time.
    pub async fn propose(&self, command: Vec<u8>, deadline: Duration) -> Result<Proposed, ProposeError> {
        let size = command.len();
        if size > MAX_COMMAND_BYTES {
            let refused = Err(ProposeError::TooLarge { size, limit: MAX_COMMAND_BYTES });
            self.service.stats.update(|stats| stats.proposals[outcome(&refused)] += 1);
            return refused;
        }
        let began = std::time::Instant::now();
        let proposed = self.service.complaints.order(Payload::Command(command.into()), deadline).await;
        self.service.stats.update(|stats| {
            stats.proposals[outcome(&proposed)] += 1;
            stats.propose.record(began.elapsed());
        });
        proposed
    }

    /// The last entry of the log that this replica has on disk.
    pub fn log_end(&self) -> u64 {
        self.service.raft_starter.log_end()
    }

    /// Figures that nobody needs but who watches the replica. They cost something when they are asked for, and nothing before.
    pub async fn figures(&self) -> ReplicaFigures {
        let service = &self.service;
        let (reply, answer) = oneshot::channel();
        // Full or gone: who watches looks again.
        let _ = service.share.signer.try_send(SignerInput::Look(reply));
        let told = tokio::time::timeout(FIGURES_PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or_default();
        let mut members: BTreeMap<HostId, MemberFigures> = BTreeMap::new();
        for member in &service.members.view().newest().members {
            let signed_block = told.signed.get(&member.key).copied().unwrap_or(0);
            members.insert(member.key, MemberFigures { signed_block, lag_blocks: None });
        }
        if let Some(view) = service.raft.get().map(RaftNode::view).filter(|view| view.role == Role::Leader) {
            for (id, matched) in &view.matched {
                let member = view.nodes.get(id).and_then(|member| members.get_mut(&member.key));
                if let Some(member) = member {
                    member.lag_blocks = Some(view.last_log.saturating_sub(*matched));
                }
            }
        }
        let applied = service.status.read().applied;
        let receiving = service.snapshots.progress(applied);
        ReplicaFigures {
            members,
            oldest_uncertified: told.uncertified_since.map(|since| since.elapsed()),
            receiving: receiving.map(|(chunks, missing)| Receiving { chunks, missing }),
        }
    }

    /// Proposes a change of membership to the owners of the present members, and has it recorded when a threshold of them approves.
    /// `threshold`: the new one; without it, see [`default_threshold`](crate::default_threshold). Returns the block that records it;
    /// [`ReplicaStatus::pending`] shows its progress.
    ///
    /// # Errors
    /// [`ReconfigureError::Waits`] if the change goes on waiting for approvals: it survives restarts, and
    /// [`ReplicaHandle::waiting_changes`] shows it.
    pub async fn reconfigure(
        &self,
        change: Change,
        threshold: Option<u16>,
        deadline: Duration,
    ) -> Result<u64, ReconfigureError> {
        self.service.rest.wake(None);
        self.service.approvals.propose(change, threshold, deadline).await
    }

    /// Puts a motion to the owners of the present members, and has the command that carries it out ordered when a threshold of them
    /// approves: see [`Motions`](crate::Motions).
    ///
    /// # Errors
    /// [`ReconfigureError::Waits`] if the motion goes on waiting for approvals, as for [`ReplicaHandle::reconfigure`].
    pub async fn put_motion(&self, motion: Vec<u8>, deadline: Duration) -> Result<Proposed, ReconfigureError> {
        self.service.rest.wake(None);
        self.service.motions.propose_motion(motion, deadline).await
    }

    /// Gives up the change that this host proposes and that is not recorded yet. `false`: there is none.
    pub fn withdraw(&self) -> bool {
        self.service.approvals.give_up()
    }

    /// The changes and motions that wait for approvals, as far as this host knows.
    pub fn waiting_changes(&self) -> Vec<WaitingChange> {
        let mut waiting = self.service.approvals.waiting_changes();
        waiting.extend(self.service.motions.waiting_changes());
        waiting
    }

    /// Answers a change or motion that waits, for this host's owner. `false`: none of that id waits here.
    pub fn answer_change(&self, id: &Hash, approves: bool) -> bool {
        self.service.rest.wake(None);
        self.service.approvals.answer_change(id, approves) || self.service.motions.answer_change(id, approves)
    }

    /// The present condition.
    pub fn status(&self) -> ReplicaStatus {
        let mut status = self.service.status.read().clone();
        status.stats = self.service.stats.get();
        status.log_time = self.service.clocks.log_time();
        status.time_overdue_ms = self.service.clocks.overdue_ms();
        status
    }

    /// To follow the condition. Its counters lag behind those of [`ReplicaHandle::status`].
    pub fn status_watch(&self) -> watch::Receiver<ReplicaStatus> {
        self.service.status.subscribe()
    }

    /// Waits until this replica has executed all that its log held when this was called, and returns the epoch of its state then.
    ///
    /// Whatever this host had acknowledged or signed before is then executed. So of the members of one epoch whose answers are a threshold,
    /// one at least is honest and has executed each block that a threshold had certified before they were asked. `None`: this replica does not
    /// run, or its log lacks something that it has signed.
    pub async fn execute_all(&self) -> Option<u64> {
        let service = &self.service;
        let log_end = service.raft.get()?.log_end();
        let is_sound = || !service.own_key.is_recovering() && !service.lifecycle.is_stopped();
        if !is_sound() {
            return None;
        }
        let mut status = self.status_watch();
        status.wait_for(|status| status.applied >= log_end || status.fault.is_some()).await.ok()?;
        is_sound().then(|| service.members.view().applied.membership.epoch)
    }

    /// Genesis and chain of memberships, as far as certified here.
    pub fn introduction(&self) -> Introduction {
        Introduction { genesis: self.service.identity.genesis.clone(), chain: self.service.members.chain() }
    }

    /// The newest certificate that is kept, of a block that said something; none before the first.
    ///
    /// # Errors
    /// The store fails, or the record is damaged.
    pub fn newest_certificate(&self) -> Result<Option<Certificate>, StoreError> {
        self.service.store.certificate(self.status().certified_block)
    }

    /// The certificates that are kept of blocks after `after`, the oldest first, and `limit` at most.
    ///
    /// # Errors
    /// The store fails, or a record is damaged.
    pub fn certificates(&self, after: u64, limit: usize) -> Result<Vec<Certificate>, StoreError> {
        self.service.store.certificates(after, limit)
    }

    /// The newest certified checkpoint, without the machine's part; none before the first.
    pub fn certified_checkpoint(&self) -> Option<CheckpointSummary> {
        let record = self.service.raft_starter.certified_checkpoint()?;
        let certificate = record.certificate.clone()?;
        let state = record.state.0.to_vec();
        Some(CheckpointSummary { certificate, state, machine_root: record.machine_root })
    }

    /// The evidence that is kept.
    pub fn evidence(&self) -> Result<Vec<EvidenceRecord>, StoreError> {
        self.service.store.evidence()
    }

    /// Returns whether frames of this host on this channel are served at all; `handle` checks it, too. On the share channel anybody is:
    /// a member that this replica has not heard of yet introduces itself there with a chain that proves it.
    pub fn permits(&self, from: HostId, channel: Channel) -> bool {
        channel == Channel::Share || self.service.members.view().takes_part(&from)
    }

    /// A frame from the network, whose sender is authenticated.
    pub async fn handle(&self, from: HostId, channel: Channel, frame: &[u8]) -> Result<Vec<u8>, TransportError> {
        if self.service.lifecycle.is_stopped() {
            return Err(TransportError::Refused("the replica is stopped".into()));
        }
        let refused = |text: String| TransportError::Refused(text);
        let malformed = TransportError::Malformed;
        let permitted = self.permits(from, channel);
        match channel {
            Channel::Append | Channel::Vote => {
                if !permitted {
                    return Ok(codec::encode(&RaftReply::WhoAreYou));
                }
                let frame: RaftFrame = codec::decode(frame).map_err(malformed)?;
                self.speaks_for_itself(&from, frame.message.speaker()).map_err(refused)?;
                let raft = self.addressed(frame.target).await.map_err(refused)?;
                let committed = match &frame.message {
                    RaftMessage::Append { commit, .. } => Some(commit.map_or(0, |commit| commit.index)),
                    RaftMessage::Vote { .. } | RaftMessage::Transfer { .. } if self.service.own_key.is_recovering() => {
                        return Err(refused("the log here lacks what this host has signed; it has no vote".into()));
                    }
                    RaftMessage::Vote { .. } | RaftMessage::Transfer { .. } => None,
                };
                let reply = self.service.frames.serve(&raft, &from, frame.message).await.map_err(refused)?;
                if let Some(committed) = committed.filter(|_| follows(&reply)) {
                    self.service.leader.note(committed);
                }
                Ok(codec::encode(&reply))
            }
            Channel::Share => {
                let frame: ShareFrame = codec::decode(frame).map_err(malformed)?;
                Ok(codec::encode(&self.service.share.serve(from, frame).await?))
            }
            _ if !permitted => Err(refused("not a member".into())),
            Channel::Snapshot => {
                self.service.rest.wake(Some(&from));
                let frame: SnapshotFrame = codec::decode(frame).map_err(malformed)?;
                if let SnapshotStep::Install { vote, .. } = &frame.step {
                    self.speaks_for_itself(&from, vote.node).map_err(refused)?;
                }
                if let SnapshotStep::Fetch { .. } = &frame.step {
                    return Ok(codec::encode(&self.service.snapshots.serve(from, frame.step).await));
                }
                let reply = match self.addressed(frame.target).await {
                    Ok(_) => self.service.snapshots.serve(from, frame.step).await,
                    Err(text) => SnapshotReply::Refused(text),
                };
                Ok(codec::encode(&reply))
            }
            Channel::Propose => {
                self.service.rest.wake(Some(&from));
                let frame: ProposeFrame = codec::decode(frame).map_err(malformed)?;
                Ok(codec::encode(&propose::serve(&self.service.proposer, frame).await))
            }
        }
    }

    fn speaks_for_itself(&self, from: &HostId, raft_id: u64) -> Result<(), String> {
        let may = self.service.members.view().may_speak_as(from, raft_id);
        may.then_some(()).ok_or_else(|| format!("replica {raft_id} is not that of {from}"))
    }

    /// The Raft of a message's target. A learner takes the id by which a member of the vat first calls it. A store that fails here
    /// is a fault like anywhere else: a replica that only refused would never say why it does not come.
    async fn addressed(&self, target: u64) -> Result<RaftNode, String> {
        let service = &self.service;
        if let Some(raft) = service.raft.get() {
            let id = raft.id();
            return if id == target { Ok(raft.clone()) } else { Err(self.admitted_anew(id, target)) };
        }
        let failed = || "the store failed".to_owned();
        let recorded: Option<u64> = service.lifecycle.check(service.store.raft_id()).ok_or_else(failed)?;
        match recorded {
            Some(id) if id != target => Err(format!("this is replica {id}, not {target}")),
            Some(_) => Err("starting".into()),
            None if (1..=service.members.view().applied.next_raft_id + MAX_IDS_AHEAD).contains(&target) => {
                let written = service.store.set_raft_id(target);
                service.lifecycle.check(written).ok_or_else(failed)?;
                service.status.set(|status| status.raft_id = target);
                let restored = Arc::clone(&service.members.view().applied);
                if let Err(error) = service.raft_starter.start(target, &restored).await {
                    service.lifecycle.fault(error.clone());
                    return Err(error);
                }
                service.raft.get().cloned().ok_or_else(|| "starting".into())
            }
            None => Err("not addressed to this replica".into()),
        }
    }

    /// A message for a later raft id than this replica has. If this host was never a member, the change that brought it here was
    /// given up and it is admitted again: it takes the new id with its next start. Its log and its vote may stay, since under
    /// the new id it has promised nothing yet, and under the old one it never speaks again. Returns why the message is refused.
    fn admitted_anew(&self, id: u64, target: u64) -> String {
        let service = &self.service;
        let was_member = service.members.view().was_member(&service.identity.key);
        if !was_member && target > id && target - id <= MAX_IDS_AHEAD {
            let written = service.store.set_raft_id(target);
            if service.lifecycle.check(written).is_some() {
                let text = "Q-C044 the change that brought this host to the vat was given up, and it was admitted again since; \
                            start the host again";
                service.lifecycle.fault(text.into());
            }
        }
        format!("this is replica {id}, not {target}")
    }

    /// Looks at the machine, in its own thread, between blocks. `None` if the replica has stopped or has another machine.
    pub async fn inspect<M: Machine, R: Send + 'static>(
        &self,
        look: impl FnOnce(&mut M) -> R + Send + 'static,
    ) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        self.service.executor.inspect(Box::new(move |machine| {
            // A look may take long: nobody waits for it any more where the caller has gone.
            if let Some(machine) = machine.downcast_mut::<M>().filter(|_| !reply.is_closed()) {
                let _ = reply.send(look(machine));
            }
        }));
        answer.await.ok()
    }

    /// Takes no new commands from now on when it leads, for this reason, or takes them again. As a follower it goes on.
    pub fn limit(&self, why: Option<String>) {
        self.service.intake.limit(why);
    }

    /// By how many milliseconds the clock of each other member is ahead of this host's, about. `None`: it does not answer in time.
    pub async fn compare_clocks(&self) -> Vec<(Member, Option<i64>)> {
        self.service.clocks.compare(self.service.identity.timing.request).await
    }

    /// Reads everything that this replica has on disk, checks it, and fetches what is damaged from the other members, where that is
    /// possible. Damage to what this member has promised to have stops the replica, unless the vat has no other.
    ///
    /// # Errors
    /// The store fails in another way than by damage.
    pub async fn scrub(&self, pace: &ScrubPace) -> Result<VatScrub, StoreError> {
        self.service.scrubber().run(pace).await
    }

    /// Wakes the replica, if it is asleep: it looks for its leader.
    pub fn wake(&self) {
        self.service.rest.wake(None);
    }

    /// Stops the replica. What it acknowledged is on disk.
    pub async fn shutdown(&self) {
        self.service.lifecycle.stop();
        if let Some(raft) = self.service.raft.get()
            && tokio::time::timeout(STOP_PATIENCE, raft.shutdown()).await.is_err()
        {
            tracing::warn!(vat = %self.service.identity.vat, "raft did not stop in time");
        }
        self.service.status.set(|status| {
            if status.role != Role::Faulted {
                status.role = Role::Stopped;
            }
        });
    }
}

/// Returns whether the answer is one to the present leader.
fn follows(reply: &RaftReply) -> bool {
    !matches!(reply, RaftReply::HigherVote(..) | RaftReply::WhoElectedYou)
}

/// The evidence that a store keeps of a vat, also of one that was carried here and is not any more.
///
/// # Errors
/// The store fails, or a record is damaged.
pub fn evidence_of(store: &Arc<dyn Store>, vat: VatId) -> Result<Vec<EvidenceRecord>, StoreError> {
    VatStore::new(Arc::clone(store), vat).evidence()
}

/// Removes all records of a vat from a store, except evidence. Its replica must not be running.
pub fn remove_vat(store: &Arc<dyn Store>, vat: VatId) -> Result<(), StoreError> {
    VatStore::new(Arc::clone(store), vat).remove()
}

/// Whether a host has promised anything for a vat, by its marks: it voted, acknowledged or signed. It must never act for the vat as if it had not,
/// also where its database has nothing of the vat.
pub fn has_promised(store: &Arc<dyn Store>, vat: VatId) -> bool {
    VatStore::new(Arc::clone(store), vat).mark().is_some_and(|mark| mark.binds())
}

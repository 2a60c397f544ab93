//! The snapshot channel: sends a checkpoint to another member, and receives one.
//!
//! The leader shows the checkpoint's record. The receiver pulls the chunks that it lacks from all members ([`super::pull`]). The
//! leader has the checkpoint installed when none is missing. If the pull makes no progress, the leader pushes them.
//!
//! Invariants: a replica installs only checkpoints that the membership following from the VatId has certified, with a state, manifest
//! and chunks that match the certified root. An interrupted transfer keeps its chunks, and continues from there.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

use super::pull::{PIECE, Puller};
use super::share::ShareClient;
use crate::codec::{self, Blob};
use crate::execution::executor::ExecutorHandle;
use crate::execution::place::{Execution, blocking};
use crate::order::frames::WireVote;
use crate::proof::membership::{MAX_CHAIN, Member, MembershipCertificate};
use crate::raft::gate::OrderGate;
use crate::raft::ports::{NotSent, Snapshots};
use crate::replica::RaftCell;
use crate::replica::applier::Applier;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::tasks::signer::SignerInput;
use crate::stats::StatsCell;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints, MAX_CHUNK_BYTES};
use crate::timing::Timing;
use crate::transport::{Channel, Transport};
use quorate_ids::{Hash, HostId};
use quorate_order::proofs::TermProof;

/// Bytes of chunks in one frame, about: after so many it is sent.
const CHUNK_FRAME_BYTES: usize = 1 << 20;
/// Hashes of missing chunks in one answer at most.
const MAX_MISSING: usize = 4_096;

/// How often the leader asks what a receiver that pulls still lacks.
const PULL_LOOK: Duration = Duration::from_millis(30);
/// How long a receiver may get nothing before the leader pushes.
const PULL_PATIENCE: Duration = Duration::from_secs(2);

/// A request on the snapshot channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotFrame {
    pub(crate) target: u64,
    pub(crate) step: SnapshotStep,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SnapshotStep {
    /// The memberships that verify it, and all of it but the chunks.
    Begin { chain: Vec<MembershipCertificate>, record: Box<CheckpointRecord> },
    /// Which chunks are missing (still)?
    Missing { block: u64 },
    /// Some of them.
    Chunks { block: u64, chunks: Vec<Blob> },
    /// None is missing.
    Install { block: u64, vote: WireVote, proof: Option<Box<TermProof>> },
    /// Asks any member for chunks; `target` says nothing.
    Fetch { chunks: Vec<Hash> },
}

/// An answer on the snapshot channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SnapshotReply {
    Missing(Vec<Hash>),
    Stored,
    Installed(WireVote),
    Refused(String),
    /// Those of the wanted chunks that are here, as far as they fit an answer.
    Chunks(Vec<Blob>),
}

/// Receives checkpoints.
pub(crate) struct SnapshotReceiver {
    execution: Arc<dyn Execution>,
    members: Arc<Members>,
    lifecycle: Arc<Lifecycle>,
    checkpoints: Arc<Checkpoints>,
    executor: ExecutorHandle,
    stats: Arc<StatsCell>,
    raft: Arc<RaftCell>,
    signer: mpsc::Sender<SignerInput>,
    puller: Arc<Puller>,
    /// What each member has shown last: none can take another one's place.
    receiving: Mutex<BTreeMap<HostId, Arc<CheckpointRecord>>>,
}

impl SnapshotReceiver {
    pub(crate) fn new(
        applier: &Applier,
        timing: Timing,
        transport: Arc<dyn Transport>,
        stats: Arc<StatsCell>,
        raft: Arc<RaftCell>,
    ) -> SnapshotReceiver {
        let puller = Puller {
            key: applier.status.read().key,
            timing,
            transport,
            execution: Arc::clone(&applier.execution),
            members: Arc::clone(&applier.members),
            lifecycle: Arc::clone(&applier.lifecycle),
            checkpoints: Arc::clone(&applier.checkpoints),
            stats: Arc::clone(&stats),
            running: Mutex::default(),
        };
        SnapshotReceiver {
            execution: Arc::clone(&applier.execution),
            members: Arc::clone(&applier.members),
            lifecycle: Arc::clone(&applier.lifecycle),
            checkpoints: Arc::clone(&applier.checkpoints),
            executor: applier.executor.clone(),
            stats,
            raft,
            signer: applier.signer.clone(),
            puller: Arc::new(puller),
            receiving: Mutex::default(),
        }
    }

    /// Returns the pull, which fetches chunks.
    pub(crate) fn puller(&self) -> Arc<Puller> {
        Arc::clone(&self.puller)
    }

    /// The checkpoint that is being received: how many chunks it has, and how many of them are missing.
    pub(crate) fn progress(&self, applied: u64) -> Option<(u64, u64)> {
        let newest = self.receiving().values().max_by_key(|record| record.block()).cloned();
        let record = newest.filter(|record| record.block() > applied)?;
        let missing = self.checkpoints.count_missing(&record);
        Some((record.chunks.len() as u64, missing))
    }

    /// Serves one step of a transfer.
    pub(crate) async fn serve(&self, from: HostId, step: SnapshotStep) -> SnapshotReply {
        let result = match step {
            SnapshotStep::Begin { chain, record } => self.begin_snapshot(from, chain, *record).await,
            SnapshotStep::Missing { block } => self.pull_missing(from, block).await,
            SnapshotStep::Chunks { block, chunks } => self.receive_chunks(from, block, chunks).await,
            SnapshotStep::Install { block, vote, proof } => self.install_received(from, block, vote, proof).await,
            SnapshotStep::Fetch { chunks } => self.give(chunks).await,
        };
        result.unwrap_or_else(SnapshotReply::Refused)
    }

    /// Gives chunks to a member that pulls them.
    async fn give(&self, chunks: Vec<Hash>) -> Result<SnapshotReply, String> {
        let checkpoints = Arc::clone(&self.checkpoints);
        let found = blocking(self.execution.as_ref(), move || {
            let (mut found, mut bytes) = (Vec::new(), 0);
            for hash in chunks.iter().take(PIECE) {
                let content = match checkpoints.chunk(hash) {
                    Ok(Some(content)) => content,
                    Ok(None) => continue,
                    Err(error) => {
                        // Damage at rest, of which this replica needs nothing just now.
                        tracing::error!(%error, "a chunk can't be given to another member");
                        continue;
                    }
                };
                if bytes > 0 && bytes + content.len() > CHUNK_FRAME_BYTES {
                    break;
                }
                bytes += content.len();
                found.push(Blob::from(content));
            }
            (found, bytes)
        });
        let (found, bytes) = found.await?;
        self.stats.update(|stats| stats.snapshot_bytes_sent += bytes as u64);
        Ok(SnapshotReply::Chunks(found))
    }

    /// Returns the missing chunks, and starts pulling them from all members.
    async fn pull_missing(&self, from: HostId, block: u64) -> Result<SnapshotReply, String> {
        let reply = self.missing_chunks(from, block).await?;
        if matches!(&reply, SnapshotReply::Missing(missing) if !missing.is_empty()) {
            self.puller.begin(self.transfer(from, block)?);
        }
        Ok(reply)
    }

    async fn begin_snapshot(
        &self,
        from: HostId,
        chain: Vec<MembershipCertificate>,
        record: CheckpointRecord,
    ) -> Result<SnapshotReply, String> {
        if chain.len() > MAX_CHAIN {
            return Err("the chain is too long".into());
        }
        let learned = self.members.learn(chain);
        if !learned.is_empty() {
            let (shares, certificates) = (Vec::new(), Vec::new());
            let input = SignerInput::Received { shares, certificates, memberships: learned };
            // Full or gone: the signer asks for what it lacks by itself.
            let _ = self.signer.try_send(input);
        }
        let epoch = record.statement.epoch;
        let newest = self.members.view().chain.len() as u64;
        // Each epoch begins with a checkpoint, so there is a newer one. Those who could sign for an early epoch may have left since.
        if epoch.saturating_add(1) < newest {
            return Err(format!("a checkpoint of epoch {epoch} is too old: epoch {newest} is certified"));
        }
        let membership = self.members.view().memberships.get(&epoch).cloned();
        let membership = membership.ok_or_else(|| format!("the membership of epoch {epoch} is not certified"))?;
        let describe = self.checkpoints.describe();
        let verify = move || record.verify(&membership, describe).map(|chunks| (record, chunks));
        let (mut record, chunks) = blocking(self.execution.as_ref(), verify).await??;
        // Not what the sender says: a checkpoint that lacks a chunk could not be restored, and so this replica not be started.
        record.chunks = self.executor.needed(chunks).await.map_err(|fault| fault.to_string())?;
        let record = Arc::new(record);
        let block = record.block();
        self.receiving().insert(from, record);
        self.missing_chunks(from, block).await
    }

    fn receiving(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostId, Arc<CheckpointRecord>>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transfer(&self, from: HostId, block: u64) -> Result<Arc<CheckpointRecord>, String> {
        let shown = self.receiving().get(&from).filter(|record| record.block() == block).cloned();
        shown.ok_or_else(|| format!("no transfer of block {block} is under way"))
    }

    async fn missing_chunks(&self, from: HostId, block: u64) -> Result<SnapshotReply, String> {
        let record = self.transfer(from, block)?;
        let checkpoints = Arc::clone(&self.checkpoints);
        let missing = blocking(self.execution.as_ref(), move || checkpoints.missing(&record, MAX_MISSING)).await?;
        Ok(SnapshotReply::Missing(missing))
    }

    async fn receive_chunks(&self, from: HostId, block: u64, chunks: Vec<Blob>) -> Result<SnapshotReply, String> {
        self.transfer(from, block)?;
        if chunks.iter().any(|chunk| chunk.0.len() > MAX_CHUNK_BYTES) {
            return Err(format!("a chunk over {MAX_CHUNK_BYTES} bytes"));
        }
        let bytes: usize = chunks.iter().map(|chunk| chunk.0.len()).sum();
        let checkpoints = Arc::clone(&self.checkpoints);
        let stored = blocking(self.execution.as_ref(), move || checkpoints.receive(chunks)).await?;
        let stored = self.lifecycle.check(stored).ok_or("the store failed")?;
        stored?;
        self.stats.update(|stats| stats.snapshot_bytes_received += bytes as u64);
        Ok(SnapshotReply::Stored)
    }

    async fn install_received(
        &self,
        from: HostId,
        block: u64,
        vote: WireVote,
        proof: Option<Box<TermProof>>,
    ) -> Result<SnapshotReply, String> {
        let record = self.transfer(from, block)?;
        if !self.checkpoints.missing(&record, 1).is_empty() {
            return Err("chunks are missing".into());
        }
        let raft = self.raft.get().ok_or("starting")?;
        let _turn = raft.gate().turn().await;
        let followed = raft.gate().follow(&from, vote.term, proof.map(|proof| *proof));
        followed.map_err(|barred| format!("Q-C050 not by the order of a leader that was elected: {barred:?}"))?;
        let vote = raft.install(vote, record).await?;
        self.receiving().clear();
        Ok(SnapshotReply::Installed(vote))
    }
}

/// Sends checkpoints.
pub(crate) struct SnapshotSender {
    pub(crate) timing: Timing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) share: ShareClient,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) gate: Arc<OrderGate>,
}

/// The replica of a member that a checkpoint goes to.
#[derive(Clone, Copy)]
struct Receiver<'a> {
    member: &'a Member,
    target: u64,
}

impl SnapshotSender {
    async fn step(&self, to: Receiver<'_>, step: SnapshotStep) -> Result<SnapshotReply, NotSent> {
        let frame = codec::encode(&SnapshotFrame { target: to.target, step });
        let answer = self.transport.request(to.member, Channel::Snapshot, frame, self.timing.snapshot_request).await?;
        codec::decode(&answer).map_err(|error| NotSent::Refused(error.to_string()))
    }

    /// The record, then whatever chunks the receiver lacks, then the order to install it.
    async fn send_checkpoint(
        &self,
        to: Receiver<'_>,
        vote: WireVote,
        record: &CheckpointRecord,
    ) -> Result<WireVote, NotSent> {
        let block = record.block();
        // The chain goes before, in as many frames as it takes: beside a large record there is little room.
        self.share.introduce_to(to.member).await?;
        let begin = SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record.clone()) };
        let mut reply = self.step(to, begin).await?;
        let mut still = (Vec::new(), tokio::time::Instant::now());
        loop {
            match reply {
                SnapshotReply::Missing(missing) if missing.is_empty() => break,
                SnapshotReply::Missing(missing) if missing != still.0 => {
                    still = (missing, tokio::time::Instant::now());
                    tokio::time::sleep(PULL_LOOK).await;
                }
                SnapshotReply::Missing(_) if still.1.elapsed() < PULL_PATIENCE => tokio::time::sleep(PULL_LOOK).await,
                SnapshotReply::Missing(missing) => self.send_chunks(to, block, &missing).await?,
                SnapshotReply::Refused(text) => return Err(NotSent::Refused(text)),
                other => return Err(NotSent::Refused(format!("unexpected answer {other:?}"))),
            }
            reply = self.step(to, SnapshotStep::Missing { block }).await?;
        }
        let (term, proof) = self.gate.proof();
        let proof = proof.filter(|_| term == vote.term);
        match self.step(to, SnapshotStep::Install { block, vote, proof }).await? {
            SnapshotReply::Installed(vote) => Ok(vote),
            other => Err(NotSent::Refused(format!("the checkpoint was not installed: {other:?}"))),
        }
    }

    async fn send_chunks(&self, to: Receiver<'_>, block: u64, missing: &[Hash]) -> Result<(), NotSent> {
        let mut batch: Vec<Blob> = Vec::new();
        let mut bytes = 0;
        for (place, hash) in missing.iter().enumerate() {
            let content = self.checkpoints.chunk(hash).map_err(|error| NotSent::Refused(error.to_string()))?;
            let content = content.ok_or_else(|| NotSent::Refused(format!("chunk {hash} is not here any more")))?;
            bytes += content.len();
            batch.push(content.into());
            if bytes >= CHUNK_FRAME_BYTES || place + 1 == missing.len() {
                let chunks = std::mem::take(&mut batch);
                match self.step(to, SnapshotStep::Chunks { block, chunks }).await? {
                    SnapshotReply::Stored => {}
                    other => return Err(NotSent::Refused(format!("chunks were not taken: {other:?}"))),
                }
                self.stats.update(|stats| stats.snapshot_bytes_sent += bytes as u64);
                bytes = 0;
            }
        }
        Ok(())
    }
}

impl Snapshots for SnapshotSender {
    fn send<'a>(
        &'a self,
        to: &'a Member,
        target: u64,
        vote: WireVote,
        record: &'a Arc<CheckpointRecord>,
    ) -> BoxFuture<'a, Result<WireVote, NotSent>> {
        Box::pin(self.send_checkpoint(Receiver { member: to, target }, vote, record))
    }
}

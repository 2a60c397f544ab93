//! Receiving a checkpoint from another member.
//!
//! Invariants: nothing is installed that is not certified by the membership that follows from the VatId, with a state, manifest
//! and chunks that match the certified root; an interrupted transfer keeps the chunks that came, and goes on from there.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError};

use super::core::Core;
use crate::checkpoint::{CheckpointRecord, MAX_CHUNK_BYTES};
use crate::codec::Blob;
use crate::ids::{Hash, HostKey};
use crate::membership::{MAX_CHAIN, MembershipCertificate};
use crate::raft::wire::WireVote;

/// Bytes of chunks in one frame, about: after so many it is sent.
pub(crate) const CHUNK_FRAME_BYTES: usize = 1 << 20;
/// Hashes of missing chunks in one answer at most.
const MAX_MISSING: usize = 4_096;

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
    Install { block: u64, vote: WireVote },
}

/// An answer on the snapshot channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SnapshotReply {
    Missing(Vec<Hash>),
    Stored,
    Installed(WireVote),
    Refused(String),
}

/// A transfer under way.
pub(crate) struct Receiving {
    from: HostKey,
    record: Arc<CheckpointRecord>,
}

impl Core {
    /// Serves one step of a transfer.
    pub(crate) async fn serve_snapshot(self: &Arc<Self>, from: HostKey, step: SnapshotStep) -> SnapshotReply {
        let result = match step {
            SnapshotStep::Begin { chain, record } => self.begin_snapshot(from, chain, *record).await,
            SnapshotStep::Missing { block } => self.missing_chunks(from, block).await,
            SnapshotStep::Chunks { block, chunks } => self.receive_chunks(from, block, chunks).await,
            SnapshotStep::Install { block, vote } => self.install_received(from, block, vote).await,
        };
        result.unwrap_or_else(SnapshotReply::Refused)
    }

    async fn begin_snapshot(
        self: &Arc<Self>,
        from: HostKey,
        chain: Vec<MembershipCertificate>,
        record: CheckpointRecord,
    ) -> Result<SnapshotReply, String> {
        if chain.len() > MAX_CHAIN {
            return Err("the chain is too long".into());
        }
        let learned = self.learn(chain);
        if !learned.is_empty() {
            let (shares, certificates) = (Vec::new(), Vec::new());
            let input = super::board::BoardInput::Received { shares, certificates, memberships: learned };
            // Full or gone: the board asks for what it lacks by itself.
            let _ = self.board.try_send(input);
        }
        let epoch = record.statement.epoch;
        let membership = self.known().memberships.get(&epoch).cloned();
        let membership = membership.ok_or_else(|| format!("the membership of epoch {epoch} is not certified"))?;
        let describe = self.checkpoints.describe();
        let verified =
            tokio::task::spawn_blocking(move || record.verify(&membership, describe).map(|chunks| (record, chunks)));
        let (mut record, chunks) = verified.await.map_err(|error| error.to_string())??;
        // Not what the sender says: a checkpoint that lacks a chunk could not be restored, and so this replica not be started.
        record.chunks = self.executor.needed(chunks).await.map_err(|fault| fault.to_string())?;
        let record = Arc::new(record);
        let block = record.block();
        *self.receiving() = Some(Receiving { from, record });
        self.missing_chunks(from, block).await
    }

    fn receiving(&self) -> std::sync::MutexGuard<'_, Option<Receiving>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transfer(&self, from: HostKey, block: u64) -> Result<Arc<CheckpointRecord>, String> {
        match &*self.receiving() {
            Some(receiving) if receiving.from == from && receiving.record.block() == block => {
                Ok(Arc::clone(&receiving.record))
            }
            _ => Err(format!("no transfer of block {block} is under way")),
        }
    }

    async fn missing_chunks(&self, from: HostKey, block: u64) -> Result<SnapshotReply, String> {
        let record = self.transfer(from, block)?;
        let checkpoints = Arc::clone(&self.checkpoints);
        let missing = tokio::task::spawn_blocking(move || checkpoints.missing(&record, MAX_MISSING)).await;
        Ok(SnapshotReply::Missing(missing.map_err(|error| error.to_string())?))
    }

    async fn receive_chunks(
        self: &Arc<Self>,
        from: HostKey,
        block: u64,
        chunks: Vec<Blob>,
    ) -> Result<SnapshotReply, String> {
        self.transfer(from, block)?;
        if chunks.iter().any(|chunk| chunk.0.len() > MAX_CHUNK_BYTES) {
            return Err(format!("a chunk over {MAX_CHUNK_BYTES} bytes"));
        }
        let bytes: usize = chunks.iter().map(|chunk| chunk.0.len()).sum();
        let checkpoints = Arc::clone(&self.checkpoints);
        let stored = tokio::task::spawn_blocking(move || checkpoints.receive(chunks)).await;
        let stored = self.check(stored.map_err(|error| error.to_string())?).ok_or("the store failed")?;
        stored?;
        self.stats.update(|stats| stats.snapshot_bytes_received += bytes as u64);
        Ok(SnapshotReply::Stored)
    }

    async fn install_received(
        self: &Arc<Self>,
        from: HostKey,
        block: u64,
        vote: WireVote,
    ) -> Result<SnapshotReply, String> {
        let record = self.transfer(from, block)?;
        if !self.checkpoints.missing(&record, 1).is_empty() {
            return Err("chunks are missing".into());
        }
        let raft = self.raft.get().ok_or("starting")?;
        let vote = raft.install(vote, record).await?;
        *self.receiving() = None;
        Ok(SnapshotReply::Installed(vote))
    }
}

//! Openraft's state machine: hands committed entries to the executor and passes on the outcomes.
//!
//! Invariants: state lives in memory. The disk has the last checkpoint. After a start, `applied_state` is the
//! checkpoint's, so that openraft gives the log after it again. A snapshot is a certified checkpoint and never made on demand.
//! Execution waits for the proof of the order: see [`super::executing`].

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use std::io;
use std::sync::Arc;

use super::executing::Executing;
use super::log::LogStore;
use super::ports::Answer;
use super::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, log_id, log_item, stored_membership};
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints};

/// Entries that are taken at once.
const APPLY_BATCH: usize = 64;

pub(crate) type SnapshotData = Arc<CheckpointRecord>;

/// See the head of the module.
pub(crate) struct StateMachine {
    executing: Arc<Executing>,
    /// The number of this instance of openraft.
    life: u64,
    checkpoints: Arc<Checkpoints>,
    log: LogStore,
}

impl StateMachine {
    /// Of an instance of openraft that has this number.
    pub(super) fn new(executing: Arc<Executing>, life: u64, checkpoints: Arc<Checkpoints>, log: LogStore) -> Self {
        Self { executing, life, checkpoints, log }
    }
}

fn snapshot_of(record: Arc<CheckpointRecord>) -> Result<Snapshot, io::Error> {
    Ok(Snapshot { meta: snapshot_meta(&record)?, snapshot: record })
}

/// Returns what openraft wants to know of a checkpoint: all of it is covered by the certified root.
pub(crate) fn snapshot_meta(record: &CheckpointRecord) -> Result<SnapshotMeta, io::Error> {
    let state = record.restored_state().map_err(io::Error::other)?;
    Ok(SnapshotMeta {
        last_log_id: state.last_log.map(log_id),
        last_membership: stored_membership(state.raft_membership_log, &state.raft_membership),
    })
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let reached = self.executing.reached().await;
        Ok((reached.last.map(log_id), stored_membership(reached.membership_log, &reached.membership)))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH);
        while let Some(batch) = batches.next().await {
            let mut committed = Vec::with_capacity(batch.len());
            for next in batch {
                let (entry, responder) = next?;
                let chain = self.log.chain(entry.log_id.index).map_err(io::Error::other)?;
                let item = log_item(&entry, chain);
                committed
                    .push((item, responder.map(|responder| Box::new(move |reply| responder.send(reply)) as Answer)));
            }
            self.executing.take(self.life, committed).await?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        // Openraft forces only when it has purged the log, which this crate lets it do up to certified checkpoints alone.
        self.checkpoints.certified().map(SnapshotBuilder)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        match self.checkpoints.certified() {
            Some(record) => SnapshotBuilder(record),
            None => unreachable!("openraft asks by try_create_snapshot_builder"),
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let state = snapshot.restored_state().map_err(io::Error::other)?;
        self.executing.install(self.life, snapshot, state).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.checkpoints.certified().map(snapshot_of).transpose()
    }
}

/// Hands out the certified checkpoint.
pub(crate) struct SnapshotBuilder(Arc<CheckpointRecord>);

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        snapshot_of(Arc::clone(&self.0))
    }
}

//! Executes entries that Raft has committed, and passes the outcomes to the signer, the checkpointer and the status.

use futures::future::BoxFuture;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

use super::awaited::Awaited;
use super::lifecycle::Lifecycle;
use super::membership_view::Members;
use super::status::StatusCell;
use super::tasks::checkpointer::CheckpointerInput;
use super::tasks::signer::SignerInput;
use crate::execution::executor::{ExecutorHandle, Outcome};
use crate::execution::place::{Execution, blocking};
use crate::raft::ports::{Answer, Apply};
use crate::state::ReplicatedState;
use crate::state::block::LogItem;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints, fetcher};
use quorate_ids::VatId;

/// See the head of the module.
#[derive(Clone)]
pub(crate) struct Applier {
    pub(crate) vat: VatId,
    pub(crate) execution: Arc<dyn Execution>,
    pub(crate) executor: ExecutorHandle,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) members: Arc<Members>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) signer: mpsc::Sender<SignerInput>,
    pub(crate) checkpointer: mpsc::Sender<CheckpointerInput>,
    /// What proposers at this member wait for.
    pub(crate) awaited: Arc<Awaited>,
}

impl Applier {
    /// An entry was executed.
    async fn applied(&self, outcome: Outcome) {
        let index = outcome.index;
        if let Some(view) = &outcome.view {
            self.members.note(view);
        }
        self.status.set(|status| status.applied = index);
        // The receivers below are gone only if the replica is stopping.
        if let Some(draft) = outcome.checkpoint {
            let _ = self.checkpointer.send(CheckpointerInput::Stage(Box::new(draft))).await;
        }
        if outcome.statement.is_some() || outcome.activated.is_some() {
            let input = SignerInput::Applied { statement: outcome.statement, activated: outcome.activated };
            let _ = self.signer.send(input).await;
        }
    }

    /// The state is that of a checkpoint.
    pub(crate) async fn restored(&self, record: &Arc<CheckpointRecord>, state: Arc<ReplicatedState>) {
        self.members.note(&state);
        self.checkpoints.restored(record);
        let block = record.block();
        let root = record.statement.state_root;
        let certified = record.certificate.is_some();
        self.status.set(|status| {
            status.applied = status.applied.max(block);
            status.local_checkpoint_block = block;
            if certified {
                status.checkpoint_block = block;
                status.checkpoint_root = root;
                status.certified_block = status.certified_block.max(block);
            }
        });
        // The receiver is gone only if the replica is stopping.
        let input = SignerInput::Restored { record: Arc::clone(record), state };
        let _ = self.signer.send(input).await;
    }

    /// On disk first and then in the machine.
    async fn installed(&self, record: Arc<CheckpointRecord>, state: ReplicatedState) -> Result<(), String> {
        let checkpoints = Arc::clone(&self.checkpoints);
        let stored = CheckpointRecord::clone(&record);
        let applied = self.status.read().applied;
        let install = move || {
            checkpoints.archive(Some(applied));
            checkpoints.install(stored)
        };
        let install = blocking(self.execution.as_ref(), install).await?;
        install.map_err(|error| error.to_string())?;
        let manifest = Arc::clone(&record.manifest.0);
        let fetch = fetcher(&self.checkpoints, self.vat);
        let state = self.executor.restore(manifest, state, fetch).await.map_err(|fault| fault.to_string())?;
        self.restored(&record, state).await;
        Ok(())
    }
}

impl Apply for Applier {
    fn apply(&self, entries: Vec<(LogItem, Option<Answer>)>) -> BoxFuture<'_, Result<(), io::Error>> {
        Box::pin(async move {
            let (items, answers): (Vec<LogItem>, Vec<Option<Answer>>) = entries.into_iter().unzip();
            let mut due = self.awaited.take(&items).into_iter().peekable();
            let outcomes = self.executor.apply(items).await.map_err(|fault| {
                // What is cut off as the replica stops is executed again when it starts.
                if !self.lifecycle.is_stopped() {
                    self.lifecycle.fault(fault.to_string());
                }
                io::Error::other(fault)
            })?;
            for (outcome, answer) in outcomes.into_iter().zip(answers) {
                if let Some(answer) = answer {
                    answer(outcome.reply.clone());
                }
                while let Some(due) = due.next_if(|due| due.index() == outcome.index) {
                    due.executed(&outcome.reply);
                }
                self.applied(outcome).await;
            }
            Ok(())
        })
    }

    fn install(&self, record: Arc<CheckpointRecord>, state: ReplicatedState) -> BoxFuture<'_, Result<(), io::Error>> {
        Box::pin(async move {
            self.awaited.skipped();
            self.installed(record, state).await.map_err(|error| {
                self.lifecycle.fault(error.clone());
                io::Error::other(error)
            })
        })
    }
}

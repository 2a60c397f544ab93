//! The task that stores checkpoints, promotes certified ones, and cuts the log.
//!
//! Invariants: checkpoints are staged in order. A certificate that comes before its checkpoint is stored waits for it. The log is
//! cut only up to a certified checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::error::StoreError;
use crate::execution::place::{Execution, blocking};
use crate::proof::certificate::Certificate;
use crate::replica::RaftCell;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::status::StatusCell;
use crate::replica::tasks::signer::SignerInput;
use crate::storage::VatStore;
use crate::storage::checkpoints::{CheckpointDraft, Checkpoints};

/// Certificates that wait for their checkpoint at most; the newest count.
const MAX_WAITING: usize = 16;

/// What the task is told.
#[allow(clippy::large_enum_variant, reason = "the channel that it goes through is bounded")]
pub(crate) enum CheckpointerInput {
    /// A checkpoint was made.
    Stage(Box<CheckpointDraft>),
    /// A checkpoint's statement is certified.
    Certified(Certificate),
}

/// See the head of the module.
pub(crate) struct Checkpointer {
    pub(crate) execution: Arc<dyn Execution>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) store: VatStore,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) raft: Arc<RaftCell>,
    pub(crate) signer: mpsc::Sender<SignerInput>,
}

impl Checkpointer {
    pub(crate) async fn run(self, mut inputs: mpsc::Receiver<CheckpointerInput>) {
        let mut stopping = self.lifecycle.stopping();
        let mut waiting: BTreeMap<u64, Certificate> = BTreeMap::new();
        loop {
            let input = tokio::select! {
                () = stopping.wait() => return,
                input = inputs.recv() => input,
            };
            let Some(input) = input else { return };
            match input {
                CheckpointerInput::Stage(draft) => {
                    let block = draft.statement.block;
                    let staged = self.blocking(move |checkpoints| checkpoints.stage(*draft)).await;
                    if self.lifecycle.check(staged).is_none() {
                        return;
                    }
                    self.status.set(|status| status.local_checkpoint_block = block);
                }
                CheckpointerInput::Certified(certificate) => {
                    waiting.insert(certificate.statement.block, certificate);
                    if waiting.len() > MAX_WAITING {
                        waiting.pop_first();
                    }
                }
            }
            if self.promote_newest(&mut waiting).await.is_none() {
                return;
            }
        }
    }

    /// Promotes the newest checkpoint that is both stored and certified. `None`: the store failed.
    async fn promote_newest(&self, waiting: &mut BTreeMap<u64, Certificate>) -> Option<()> {
        let candidates: Vec<Certificate> = waiting.values().rev().cloned().collect();
        for certificate in candidates {
            let (block, root) = (certificate.statement.block, certificate.statement.state_root);
            let promoted = self.blocking(move |checkpoints| {
                checkpoints.archive(None);
                checkpoints.promote(&certificate)
            });
            let promoted = promoted.await;
            if !self.lifecycle.check(promoted)? {
                continue;
            }
            *waiting = waiting.split_off(&(block + 1));
            let purge = self.checkpoints.purge_block();
            // The certificate of the block that recorded a change is needed to activate it.
            let pending = self.members.view().applied.pending.as_ref().map(|pending| pending.block);
            let unneeded = pending.map_or(purge, |pending| purge.min(pending));
            self.lifecycle.check(self.store.write(vec![self.store.prune_certificates(unneeded)]))?;
            self.status.set(|status| {
                status.checkpoint_block = block;
                status.checkpoint_root = root;
            });
            // The receiver is gone only if the replica is stopping.
            let _ = self.signer.try_send(SignerInput::Floor(block));
            if let Some(raft) = self.raft.get() {
                let raft = raft.clone();
                tokio::spawn(async move { raft.compact(block, purge).await });
            }
            break;
        }
        Some(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Checkpoints) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let checkpoints = Arc::clone(&self.checkpoints);
        let done = blocking(self.execution.as_ref(), move || work(&checkpoints)).await;
        done.unwrap_or_else(|died| Err(StoreError::Io(died)))
    }
}

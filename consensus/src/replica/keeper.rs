//! The task that stores checkpoints, promotes the certified ones, and has the log cut.
//!
//! Invariants: checkpoints are staged in order; a certificate may come before its checkpoint is stored, and waits; the log is
//! cut only up to a certified checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

use super::board::BoardInput;
use super::core::Core;
use crate::certificate::Certificate;
use crate::checkpoint::CheckpointDraft;
use crate::error::StoreError;

/// Certificates that wait for their checkpoint at most; the newest count.
const MAX_WAITING: usize = 16;

/// What the task is told.
pub(crate) enum KeeperInput {
    /// A checkpoint was made.
    Stage(Box<CheckpointDraft>),
    /// A checkpoint's statement is certified.
    Certified(Certificate),
}

pub(crate) async fn run(core: Arc<Core>, mut inputs: mpsc::Receiver<KeeperInput>) {
    let mut stopping = core.stopping();
    let mut waiting: BTreeMap<u64, Certificate> = BTreeMap::new();
    loop {
        let input = tokio::select! {
            () = stopping.wait() => return,
            input = inputs.recv() => input,
        };
        let Some(input) = input else { return };
        match input {
            KeeperInput::Stage(draft) => {
                let block = draft.statement.block;
                let staged = blocking(&core, move |core| core.checkpoints.stage(*draft)).await;
                if core.check(staged).is_none() {
                    return;
                }
                core.set_status(|status| status.local_checkpoint_block = block);
            }
            KeeperInput::Certified(certificate) => {
                waiting.insert(certificate.statement.block, certificate);
                if waiting.len() > MAX_WAITING {
                    waiting.pop_first();
                }
            }
        }
        if promote_newest(&core, &mut waiting).await.is_none() {
            return;
        }
    }
}

/// Promotes the newest checkpoint that is both stored and certified. `None`: the store failed.
async fn promote_newest(core: &Arc<Core>, waiting: &mut BTreeMap<u64, Certificate>) -> Option<()> {
    let candidates: Vec<Certificate> = waiting.values().rev().cloned().collect();
    for certificate in candidates {
        let (block, root) = (certificate.statement.block, certificate.statement.state_root);
        let promoted = blocking(core, move |core| core.checkpoints.promote(&certificate)).await;
        if !core.check(promoted)? {
            continue;
        }
        *waiting = waiting.split_off(&(block + 1));
        let purge = core.checkpoints.purge_block();
        core.check(core.store.write(vec![core.store.prune_certificates(purge)]))?;
        core.set_status(|status| {
            status.checkpoint_block = block;
            status.checkpoint_root = root;
        });
        // The receiver is gone only if the replica is stopping.
        let _ = core.board.try_send(BoardInput::Floor(block));
        if let Some(raft) = core.raft.get() {
            let raft = raft.clone();
            tokio::spawn(async move { raft.compact(block, purge).await });
        }
        break;
    }
    Some(())
}

async fn blocking<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&Core) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let core = Arc::clone(core);
    let done = tokio::task::spawn_blocking(move || work(&core)).await;
    done.unwrap_or_else(|error| Err(StoreError::Io(format!("a storage task died: {error}"))))
}

//! The running instance of openraft, and its replacement by another one.
//!
//! Openraft commits on a majority, and never gives up a committed entry. An order takes a threshold. So a former leader may have committed
//! entries whose order was never proven, and a newer leader may have other entries. Then this module stops the instance and starts
//! another one, for which only the proven entries are committed.
//!
//! Invariants: one instance at a time uses the log. No executed entry is given up. Watchers of the instance's condition keep
//! watching over a replacement.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::RaftLogStorage;
use openraft::{Config, RaftMetrics};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

use super::executing::Executing;
use super::log::LogStore;
use super::network::{Network, Shared};
use super::state_machine::StateMachine;
use super::types::{TypeConfig, log_id};
use crate::storage::checkpoints::Checkpoints;

pub(super) type Raft = openraft::Raft<TypeConfig, StateMachine>;
type Metrics = openraft::type_config::alias::WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// The instance of this number runs, or has stopped by itself.
    Runs(u64),
    /// Another one is about to.
    Reopens,
    /// No other one comes.
    Stopped,
}

/// What instances run on.
pub(super) struct Parts {
    pub(super) id: u64,
    pub(super) config: Config,
    pub(super) network: Arc<Shared>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) log: LogStore,
    pub(super) executing: Arc<Executing>,
}

impl Parts {
    async fn open(&self, life: u64) -> Result<Raft, String> {
        let config = self.config.clone().validate().map_err(|error| error.to_string())?;
        let (executing, checkpoints) = (Arc::clone(&self.executing), Arc::clone(&self.checkpoints));
        let machine = StateMachine::new(executing, life, checkpoints, self.log.clone());
        let network = Network(Arc::clone(&self.network));
        let raft = Raft::new(self.id, Arc::new(config), network, self.log.clone(), machine).await;
        raft.map_err(|error| error.to_string())
    }
}

/// See the head of the module.
pub(super) struct Instances {
    /// None as soon as no other instance can come: they know the one that runs.
    parts: Mutex<Option<Arc<Parts>>>,
    raft: RwLock<Raft>,
    life: watch::Sender<Life>,
}

impl Instances {
    /// Begins the first one.
    pub(super) async fn begin(parts: Parts) -> Result<Arc<Self>, String> {
        let raft = parts.open(0).await?;
        Ok(Arc::new(Self {
            parts: Mutex::new(Some(Arc::new(parts))),
            raft: RwLock::new(raft),
            life: watch::channel(Life::Runs(0)).0,
        }))
    }

    /// The present one.
    pub(super) fn raft(&self) -> Raft {
        self.raft.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The condition of the present one, and whether another one is about to take its place.
    pub(super) fn metrics(&self) -> (Metrics, bool) {
        let raft = self.raft.read().unwrap_or_else(PoisonError::into_inner);
        let reopens = *self.life.borrow() == Life::Reopens;
        (raft.metrics(), reopens)
    }

    fn parts(&self) -> Option<Arc<Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts the log before an index, beyond which nothing was executed, and has another instance go on there. Entries and votes of
    /// others must not be taken meanwhile.
    ///
    /// # Errors
    /// The log does not go there, something at or beyond the index was executed, the store fails, or Raft is stopping. Unless it is one
    /// of the former two, no instance runs any more.
    pub(super) async fn reopen(&self, from: u64) -> Result<(), String> {
        let parts = self.parts().ok_or("raft is stopping")?;
        let before = from.checked_sub(1).and_then(|before| parts.log.position(before));
        let before = before.ok_or_else(|| format!("the log does not go to entry {from}"))?;
        if parts.executing.executed() >= from {
            return Err(format!("entry {from} was executed"));
        }
        let begun = self.life.send_if_modified(|life| {
            let runs = matches!(life, Life::Runs(_));
            if runs {
                *life = Life::Reopens;
            }
            runs
        });
        if !begun {
            return Err("raft is stopping".into());
        }
        let reopened = self.replace(&parts, log_id(before)).await;
        if reopened.is_err() {
            self.life.send_replace(Life::Stopped);
            self.forget_parts();
        }
        reopened
    }

    async fn replace(&self, parts: &Parts, before: super::types::LogId) -> Result<(), String> {
        tracing::warn!(index = before.index, "openraft begins anew: a proven leader has other entries after this one");
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        let life = parts.executing.next_life().await;
        parts.log.clone().truncate_after(Some(before)).await.map_err(|error| error.to_string())?;
        let raft = parts.open(life).await?;
        if self.take_over(&raft, life) {
            return Ok(());
        }
        // It was stopped meanwhile.
        let _ = raft.shutdown().await;
        Err("raft is stopping".into())
    }

    /// Has an instance be the present one, unless Raft was stopped meanwhile. Returns whether it is.
    fn take_over(&self, raft: &Raft, life: u64) -> bool {
        let mut present = self.raft.write().unwrap_or_else(PoisonError::into_inner);
        *present = raft.clone();
        self.life.send_if_modified(|now| {
            let reopens = *now == Life::Reopens;
            if reopens {
                *now = Life::Runs(life);
            }
            reopens
        })
    }

    fn forget_parts(&self) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Stops; no other instance comes.
    pub(super) async fn shutdown(&self) {
        self.life.send_replace(Life::Stopped);
        self.forget_parts();
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
    }
}

/// Follows the condition of Raft.
pub(crate) struct RaftWatch {
    instances: Arc<Instances>,
    life: Life,
    pub(super) metrics: Metrics,
}

impl RaftWatch {
    pub(super) fn new(instances: &Arc<Instances>) -> Self {
        // In this order: if another instance begins meanwhile, it is noticed below.
        let life = *instances.life.borrow();
        Self { instances: Arc::clone(instances), life, metrics: instances.raft().metrics() }
    }

    /// Returns when the condition has changed; `false` if Raft is gone.
    pub(crate) async fn changed(&mut self) -> bool {
        if self.metrics.changed().await.is_ok() {
            return true;
        }
        let mut life = self.instances.life.subscribe();
        // It does not fail: the sender is held here.
        let now = life.wait_for(|life| *life != Life::Reopens).await.map_or(Life::Stopped, |life| *life);
        if now == Life::Stopped || now == self.life {
            return false;
        }
        *self = Self::new(&self.instances);
        true
    }
}

//! How a replica stops: on request, by a fault, or as it is out of the vat.
//!
//! Invariant: a fault is reported once and stops everything.

use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

use super::RaftCell;
use super::event::{EventSink, PlainEvent};
use super::status::StatusCell;
use crate::error::StoreError;
use crate::raft::role::Role;
use quorate_ids::VatId;

/// Follows the order to stop.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when the replica is to stop.
    pub(crate) async fn wait(&mut self) {
        // It fails only if the replica is gone, which is a stop.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// See the head of the module.
pub(crate) struct Lifecycle {
    vat: VatId,
    stop: watch::Sender<bool>,
    fault: OnceLock<String>,
    status: Arc<StatusCell>,
    events: Arc<dyn EventSink>,
    raft: Arc<RaftCell>,
    runtime: tokio::runtime::Handle,
}

impl Lifecycle {
    /// Of a replica that runs. Must be called in a tokio runtime.
    pub(crate) fn new(
        vat: VatId,
        status: Arc<StatusCell>,
        events: Arc<dyn EventSink>,
        raft: Arc<RaftCell>,
    ) -> Lifecycle {
        let (stop, fault) = (watch::channel(false).0, OnceLock::new());
        Lifecycle { vat, stop, fault, status, events, raft, runtime: tokio::runtime::Handle::current() }
    }

    /// Follows the order to stop.
    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Whether the order to stop was given.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Gives the order to stop to all tasks. Raft is shut down by the caller.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Why this host could not go on, if that is why it stopped.
    pub(crate) fn why(&self) -> Option<String> {
        self.fault.get().cloned()
    }

    /// This host cannot go on: reports it once, stops everything.
    pub(crate) fn fault(&self, text: String) {
        if self.fault.set(text.clone()).is_err() {
            return;
        }
        tracing::error!(vat = %self.vat, fault = %text, "replica stops");
        self.status.set(|status| {
            status.role = Role::Faulted;
            status.fault = Some(text.clone());
        });
        self.stop();
        let (raft, events) = (Arc::clone(&self.raft), Arc::clone(&self.events));
        self.runtime.spawn(async move {
            if let Some(raft) = raft.get() {
                raft.shutdown().await;
            }
            events.send(PlainEvent::Fault(text)).await;
        });
    }

    /// A failure of the store is a fault.
    pub(crate) fn check<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result.map_err(|error| self.fault(error.to_string())).ok()
    }
}

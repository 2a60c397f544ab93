//! How a replica stops: on request, by a fault, or because it is out of the vat. And how its tasks pause: not at all while it is asleep (see [`super::rest`]).
//!
//! Invariants: a fault is reported once and stops everything. A fault of this host's own state or log is
//! kept over restarts, until the member is repaired or replaced.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::watch;

use super::RaftCell;
use super::event::{EventSink, PlainEvent};
use super::status::StatusCell;
use crate::error::StoreError;
use crate::raft::role::Role;
use crate::storage::VatStore;

/// Follows the order to stop.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns when the replica is to stop.
    pub(crate) async fn wait(&mut self) {
        // It fails only if the replica is gone, which is a stop.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Faults that stay: this host contradicts what it signed (`Q-C041`), or what the others certified (`Q-C042`), or what it has on disk is
/// damaged (`Q-C049`).
const STICKY: [&str; 3] = ["Q-C041 ", "Q-C042 ", "Q-C049 "];

/// See the head of the module.
pub(crate) struct Lifecycle {
    store: VatStore,
    stop: watch::Sender<bool>,
    asleep: watch::Sender<bool>,
    fault: OnceLock<String>,
    status: Arc<StatusCell>,
    events: Arc<dyn EventSink>,
    /// What runs there knows this one, over the members.
    raft: Weak<RaftCell>,
    runtime: tokio::runtime::Handle,
}

impl Lifecycle {
    /// Of a replica that runs. Must be called in a tokio runtime.
    pub(crate) fn new(
        store: VatStore,
        status: Arc<StatusCell>,
        events: Arc<dyn EventSink>,
        raft: &Arc<RaftCell>,
    ) -> Lifecycle {
        let (stop, asleep, fault) = (watch::channel(false).0, watch::channel(false).0, OnceLock::new());
        let raft = Arc::downgrade(raft);
        Lifecycle { store, stop, asleep, fault, status, events, raft, runtime: tokio::runtime::Handle::current() }
    }

    /// Follows the order to stop.
    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Returns whether the order to stop was given.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Gives the order to stop to all tasks. Raft is shut down by the caller.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns whether the replica is asleep.
    pub(crate) fn is_asleep(&self) -> bool {
        *self.asleep.borrow()
    }

    /// Says whether it is. Returns whether it was not so before.
    pub(super) fn set_asleep(&self, asleep: bool) -> bool {
        self.asleep.send_if_modified(|now| std::mem::replace(now, asleep) != asleep)
    }

    /// Returns when the replica is awake.
    pub(crate) async fn awake(&self) {
        // It does not fail: the sender is held here.
        let _ = self.asleep.subscribe().wait_for(|asleep| !*asleep).await;
    }

    /// Returns after a pause, and not before the replica is awake.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.awake().await;
    }

    /// Returns why this host could not go on, if that is why it stopped.
    pub(crate) fn why(&self) -> Option<String> {
        self.fault.get().cloned()
    }

    /// This host cannot go on: reports it once, stops everything.
    pub(crate) fn fault(&self, text: String) {
        if self.fault.set(text.clone()).is_err() {
            return;
        }
        tracing::error!(vat = %self.store.vat(), fault = %text, "replica stops");
        if STICKY.iter().any(|code| text.starts_with(code)) {
            // Where the store fails the replica can't run either.
            let _ = self.store.set_fault(&text);
        }
        self.status.set(|status| {
            status.role = Role::Faulted;
            status.fault = Some(text.clone());
        });
        self.stop();
        let (raft, events) = (self.raft.upgrade(), Arc::clone(&self.events));
        self.runtime.spawn(async move {
            if let Some(raft) = raft.as_ref().and_then(|raft| raft.get()) {
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

//! Events of a replica for the node, in order and without loss.

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::execution::executor::Executed;
use crate::proof::certificate::{Certificate, Statement};
use crate::proof::equivocation::EvidenceRecord;
use crate::proof::membership::MembershipCertificate;

/// Something that happened.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // The channel that it goes through is bounded and short.
pub enum Event<E> {
    /// A block was applied. After a restart the blocks since the checkpoint are applied, and reported, again.
    Applied {
        /// Its number.
        block: u64,
        /// What it says, if it says anything.
        statement: Option<Statement>,
        /// What the machine brought about.
        effects: E,
    },
    /// A statement of this replica has its threshold of signatures.
    Certified(Certificate),
    /// A new epoch has the signatures of the one before it.
    Reconfigured(MembershipCertificate),
    /// Something is kept as evidence, or counted where enough of its kind is kept.
    Evidence(Box<EvidenceRecord>),
    /// This host is no longer a member and no longer needed: the replica has stopped.
    Removed,
    /// The replica has stopped because this host cannot go on. The text says why.
    Fault(String),
    /// The machine's state is now that of a checkpoint (at the start, or received from another member).
    Restored {
        /// The block of the checkpoint.
        block: u64,
    },
}

impl<E> From<Executed<E>> for Event<E> {
    fn from(executed: Executed<E>) -> Self {
        match executed {
            Executed::Applied { block, statement, effects } => Event::Applied { block, statement, effects },
            Executed::Restored { block } => Event::Restored { block },
        }
    }
}

/// Events that do not depend on the machine.
#[allow(clippy::large_enum_variant)] // Passed on at once, never stored.
pub(crate) enum PlainEvent {
    Certified(Certificate),
    Reconfigured(MembershipCertificate),
    Evidence(Box<EvidenceRecord>),
    Removed,
    Fault(String),
}

/// Where they go.
pub(crate) trait EventSink: Send + Sync {
    fn send(&self, event: PlainEvent) -> BoxFuture<'_, ()>;
}

/// The node's channel as a sink.
pub(crate) struct Events<E>(pub(crate) mpsc::Sender<Event<E>>);

impl<E: Send + 'static> EventSink for Events<E> {
    fn send(&self, event: PlainEvent) -> BoxFuture<'_, ()> {
        let event = match event {
            PlainEvent::Certified(certificate) => Event::Certified(certificate),
            PlainEvent::Reconfigured(certificate) => Event::Reconfigured(certificate),
            PlainEvent::Evidence(record) => Event::Evidence(record),
            PlainEvent::Removed => Event::Removed,
            PlainEvent::Fault(text) => Event::Fault(text),
        };
        Box::pin(async move {
            // The node is gone if this fails; it is shutting down.
            let _ = self.0.send(event).await;
        })
    }
}

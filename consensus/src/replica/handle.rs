//! What the node holds of a running replica.

use std::marker::PhantomData;
use std::time::Duration;
use tokio::sync::watch;

use super::options::ReplicaOptions;
use super::status::{Change, ReplicaStatus};
use crate::error::{ConsensusError, ProposeError, ReconfigureError};
use crate::ids::HostKey;
use crate::machine::Machine;
use crate::membership::Introduction;
use crate::transport::{Channel, TransportError};

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The block that has it.
    pub block: u64,
    /// What the machine answered.
    pub result: Vec<u8>,
}

/// Starts replicas.
pub struct Replica<M>(PhantomData<M>);

impl<M: Machine> Replica<M> {
    /// Starts a replica. It returns when the newest checkpoint is restored; the log after it is executed again in the
    /// background (see [`ReplicaStatus::role`]). Must be called in a tokio runtime.
    pub async fn start(options: ReplicaOptions<M>) -> Result<ReplicaHandle, ConsensusError> {
        let _ = options;
        Err(ConsensusError::Raft("not built yet".into()))
    }
}

/// A running replica. Clones are the same replica.
#[derive(Clone)]
pub struct ReplicaHandle {
    status: watch::Receiver<ReplicaStatus>,
}

impl ReplicaHandle {
    /// Has a command ordered and executed, at whatever member this is. The command may take effect even if the answer is
    /// [`ProposeError::Unknown`].
    pub async fn propose(&self, _command: Vec<u8>, _deadline: Duration) -> Result<Proposed, ProposeError> {
        Err(ProposeError::NoLeader)
    }

    /// Has a change of membership recorded. `threshold`: the new one; without it the old one is kept if it is still valid, else
    /// it is the smallest majority. Returns when it is in the log; [`ReplicaStatus::pending`] shows its progress.
    pub async fn reconfigure(
        &self,
        _change: Change,
        _threshold: Option<u16>,
        _deadline: Duration,
    ) -> Result<u64, ReconfigureError> {
        Err(ProposeError::NoLeader.into())
    }

    /// The present condition.
    pub fn status(&self) -> ReplicaStatus {
        self.status.borrow().clone()
    }

    /// To follow the condition.
    pub fn status_watch(&self) -> watch::Receiver<ReplicaStatus> {
        self.status.clone()
    }

    /// Genesis and chain of memberships, as far as certified here.
    pub fn introduction(&self) -> Introduction {
        unimplemented_yet()
    }

    /// Whether frames of this host on this channel are served at all; `handle` checks it, too.
    pub fn permits(&self, _from: HostKey, _channel: Channel) -> bool {
        false
    }

    /// A frame from the network, whose sender is authenticated.
    pub async fn handle(&self, _from: HostKey, _channel: Channel, _frame: &[u8]) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Refused("not built yet".into()))
    }

    /// Looks at the machine, in its own thread, between blocks. `None` if the replica has stopped or has another machine.
    pub async fn inspect<M: Machine, R: Send + 'static>(
        &self,
        _look: impl FnOnce(&mut M) -> R + Send + 'static,
    ) -> Option<R> {
        None
    }

    /// Stops the replica. What it acknowledged is on disk.
    pub async fn shutdown(&self) {}
}

fn unimplemented_yet() -> Introduction {
    panic!("not built yet")
}

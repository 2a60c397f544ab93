//! The interfaces that Raft needs from its surroundings. A replica implements them; Raft does not depend on replicas.

use futures::future::BoxFuture;
use std::io;
use std::sync::Arc;

use crate::error::TransportError;
use crate::order::frames::WireVote;
use crate::proof::membership::Member;
use crate::proof::order_evidence::OrderEvidence;
use crate::state::ReplicatedState;
use crate::state::block::{BlockReply, LogItem};
use crate::storage::checkpoints::CheckpointRecord;
use quorate_ids::HostId;

/// Takes the answer of one entry, at the member that put it in the log.
pub(crate) type Answer = Box<dyn FnOnce(BlockReply) + Send>;

/// Executes what is committed.
pub(crate) trait Apply: Send + Sync + 'static {
    /// Executes entries in order, answers each that has an answer, and passes on what it brought about. An error has been
    /// reported as a fault of this host already; nothing more is executed.
    fn apply(&self, entries: Vec<(LogItem, Option<Answer>)>) -> BoxFuture<'_, Result<(), io::Error>>;

    /// Replaces the state by that of a verified checkpoint whose chunks are stored. Errors as for `apply`.
    fn install(&self, record: Arc<CheckpointRecord>, state: ReplicatedState) -> BoxFuture<'_, Result<(), io::Error>>;
}

/// Members, and how many of them are enough.
pub(crate) type Enough = (Vec<HostId>, usize);

/// Whose votes and acknowledgements count. A membership counts when it is certified, and the one before up to the block that ended it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The newest membership that is executed and certified.
    pub(crate) present: Enough,
    /// The block that ended it, if one did: the membership that follows is executed, and not certified.
    pub(crate) through: Option<u64>,
    /// The one before, and the block that ended it.
    pub(crate) before: Option<(Enough, u64)>,
    /// The one before elects, too: Raft does not have the present one's voters yet.
    pub(crate) before_elects: bool,
    /// Those that are certified to come, in turn.
    pub(crate) coming: Vec<Enough>,
}

/// Knows who votes.
pub(crate) trait Voters: Send + Sync + 'static {
    /// The members whose votes and acknowledgements count, and how many of them must give theirs. A leader needs the votes of the present
    /// membership, or of one that is certified to come. An entry needs the acknowledgements of the membership in which it is.
    fn counted(&self) -> Counted;
}

/// Speaks to other members beside Raft.
pub(crate) trait Peers: Send + Sync + 'static {
    /// Proves to a member that does not know this host who is in the vat.
    fn introduce<'a>(&'a self, to: &'a Member) -> BoxFuture<'a, Result<(), TransportError>>;

    /// Shows a member what convicts another one.
    fn show_conviction<'a>(
        &'a self,
        to: &'a Member,
        evidence: OrderEvidence,
    ) -> BoxFuture<'a, Result<(), TransportError>>;
}

/// Why a checkpoint was not sent.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// A frame did not get through.
    Transport(TransportError),
    /// The receiver refused it, or answered something else; or it is not here any more.
    Refused(String),
}

impl From<TransportError> for NotSent {
    fn from(error: TransportError) -> Self {
        NotSent::Transport(error)
    }
}

/// Sends checkpoints.
pub(crate) trait Snapshots: Send + Sync + 'static {
    /// Sends a checkpoint to the replica `target` of a member and has it installed by the order of the leader whose `vote` this
    /// is. Returns the receiver's vote.
    fn send<'a>(
        &'a self,
        to: &'a Member,
        target: u64,
        vote: WireVote,
        record: &'a Arc<CheckpointRecord>,
    ) -> BoxFuture<'a, Result<WireVote, NotSent>>;
}

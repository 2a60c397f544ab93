//! What is in the log: blocks of commands, and what consensus itself records there.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Blob};
use crate::state::change::Change;

/// One log entry's content. All commands of a block are executed in order; a control is executed before them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) commands: Vec<Blob>,
    pub(crate) control: Option<Control>,
}

/// What consensus itself has ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Records a change of membership.
    Admit { change: Change, threshold: Option<u16> },
    /// The change that was recorded in block `admitted` takes effect: this epoch begins. Both are named, so that what was meant
    /// for a change that was given up never activates the one that came after it.
    Activate { epoch: u64, admitted: u64 },
}

impl Block {
    pub(crate) fn of_control(control: Control) -> Self {
        Self { commands: Vec::new(), control: Some(control) }
    }

    pub(crate) fn encode(&self) -> Blob {
        codec::encode(self).into()
    }

    /// A block that cannot be read is an empty one, on every replica alike: only a faulty leader makes it.
    pub(crate) fn decode(bytes: &Blob) -> Self {
        codec::decode(&bytes.0).unwrap_or_default()
    }
}

/// What a block's proposer gets back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockReply {
    /// One result for each command.
    pub(crate) results: Vec<Vec<u8>>,
    /// Why the control was refused.
    pub(crate) refused: Option<String>,
}

/// A log entry in the executor's terms.
#[derive(Clone, Debug)]
pub(crate) struct LogItem {
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) content: LogContent,
}

/// See [`LogItem`].
#[derive(Clone, Debug)]
pub(crate) enum LogContent {
    /// A new leader's first entry.
    Blank,
    /// Commands.
    Block(Blob),
    /// Raft's own membership.
    Raft(crate::state::RaftMembership),
}

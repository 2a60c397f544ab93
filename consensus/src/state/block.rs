//! The content of log entries: blocks of commands, and records of consensus itself.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Blob};
use crate::proof::certificate::{Certificate, MemberSignature};
use crate::proof::clock::ClockStatement;
use crate::proof::membership::MembershipCertificate;
use crate::state::change::Change;
use quorate_ids::Hash;

/// One log entry's content. All commands of a block are executed in order; a control is executed before them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) commands: Vec<Blob>,
    pub(crate) control: Option<Control>,
}

/// What consensus itself has ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Records a change of membership, or gives up the recorded one, upon the approval of its owners.
    Admit(Admission),
    /// The recorded change takes effect: its epoch begins, upon proof that the present members are at work.
    Activate(Activation),
    /// Time has passed, as members state. The only control that commands may follow in its block.
    Tick(Tick),
    /// Certified order is broken by hand: the members that are left over go on alone. It begins an epoch as an activation does.
    Recover(MembershipCertificate),
}

/// The passing of time, with the statements that bound it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// Of as many present members as are [needed](crate::proof::membership::Membership::one_is_honest). The log's time becomes the earliest.
    pub(crate) clocks: Vec<ClockStatement>,
}

/// A change of membership with the evidence that authorises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admission {
    pub(crate) change: Change,
    /// The threshold from then on; 0 if a change is given up.
    pub(crate) threshold: u16,
    /// Of at least a threshold of the present members.
    pub(crate) approvals: Vec<MemberSignature>,
    /// The newcomer's own.
    pub(crate) newcomer: Option<MemberSignature>,
}

/// The beginning of an epoch with the evidence that authorises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activation {
    pub(crate) epoch: u64,
    /// The block that recorded the change: what was meant for a change that was given up never activates the one after it.
    pub(crate) admitted: u64,
    /// That of the block `admitted`: as many members as must sign for the new epoch are at work.
    pub(crate) certificate: Certificate,
    /// What certifies the present epoch: signatures of the members before it. None for epoch 0.
    pub(crate) present: Vec<MemberSignature>,
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

impl BlockReply {
    /// Returns what a proposal of the block came to: the result of the command at that place, or (`None`) the reason for which its control
    /// was refused, empty if it was not. Nothing if there is no such command.
    pub(crate) fn result_of(&self, command: Option<usize>) -> Option<Vec<u8>> {
        match command {
            Some(place) => self.results.get(place).cloned(),
            None => Some(self.refused.clone().unwrap_or_default().into_bytes()),
        }
    }
}

/// A log entry in the executor's terms.
#[derive(Clone, Debug)]
pub(crate) struct LogItem {
    pub(crate) term: u64,
    pub(crate) index: u64,
    /// Stands for the entry and all before it.
    pub(crate) chain: Hash,
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

//! What a quorum orders: the commands in a vat's log, as `node` encodes them, and what applying each came to.

use crate::evidence::Slice;
use quorate_engine::machine::Install;
use serde::{Deserialize, Serialize};

/// One command of a vat's log. Every replica applies it, and any member can have any command ordered. So a command is one of
/// these only if what it does is justified by what is in it: the first code of a vat that has none, or messages with the
/// signatures of a threshold of their sender's members. All of it is checked again when it is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VatCommand {
    /// Gives the vat its code; once.
    Install(Box<Install>),
    /// Messages from another vat, with the evidence that it sent them.
    Deliver(Box<Slice>),
}

/// What came of a command, for whoever proposed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VatResult {
    /// The vat has its code.
    Installed,
    /// The code didn't start: what its author should read.
    InstallFailed { message: String },
    /// Messages up to here were taken, now or earlier: `next` is the number of the next one.
    Delivered { next: u64 },
    /// The vat has no code yet, or messages between `next` and the slice are missing.
    NotYet { next: u64 },
    /// Refused, for a reason that repeating does not mend.
    Refused { message: String },
}

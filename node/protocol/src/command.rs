//! The commands in a vat's log, as `node` encodes them, and their results.

use crate::{
    authority::{AccessOrder, SignedInstall},
    evidence::Slice,
    upgrade::UpgradeOrder,
};
use serde::{Deserialize, Serialize};

/// One command of a vat's log. Every replica applies it, and any member can have any command ordered. So a command is one of
/// these only if its type names the evidence that authorises it: the creator's signature, a threshold of a sender's members, or a
/// threshold of the vat's own. All of it is checked again when it is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VatCommand {
    /// Gives the vat its code; once. Its creator's signature goes with it.
    Install(Box<SignedInstall>),
    /// Messages from another vat, with the evidence that it sent them.
    Deliver(Box<Slice>),
    /// Changes who may use what, as the creator or a threshold of the members want.
    Access(AccessOrder),
    /// Gives the vat other code, or another engine image, as a threshold of the members want.
    Upgrade(Box<UpgradeOrder>),
}

/// The result of a command, for its proposer.
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
    /// Refused, for a reason that repeating does not remove.
    Refused { message: String },
    /// The grant or reference is there.
    Granted,
    /// It is gone.
    Revoked,
    /// The vat runs the new code.
    Upgraded,
    /// The new code did not take over, and the vat goes on as it was: why.
    UpgradeFailed { message: String },
    /// The peer is dropped, for good.
    Dropped,
}

//! The commands of a vat's log, and their results.
//!
//! The encodings go into logs: they are versioned, bounded, and have golden files.

use crate::abi::{Bundle, Value};
use crate::stream::Deliver;
use crate::wire::codec::{self, CodecError};
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};

const COMMAND_VERSION: u8 = 1;
/// Longest command, in bytes: a bundle with its arguments is the largest there is.
pub const MAX_COMMAND_BYTES: usize = 64 << 20;

/// One thing ordered by the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the vat its code. Once.
    Install(Install),
    /// Messages of another vat, with the evidence already checked.
    Deliver(Deliver),
    /// Lets another vat use the root, until log time reaches `expires_ms` if that is given.
    Grant { to: VatId, expires_ms: Option<u64> },
    /// Time passes.
    Tick { now_ms: u64 },
    /// Lets another vat no longer use the root.
    Revoke { from: VatId },
    /// Enters a bearer key, which opens the vat's own object `object`: see `Bearer` of the engine.
    AddBearer { key: [u8; 32], object: u64, expires_ms: Option<u64>, note: String },
    /// Removes one, and what was kept through it.
    RevokeBearer { key: [u8; 32] },
    /// Gives the vat other code, or has it run in another image.
    Upgrade(Upgrade),
    /// Ends with a peer that is gone, for good.
    DropPeer { peer: VatId },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Install {
    pub bundle: Bundle,
    /// Properties of the record that the bundle's default export is called with.
    pub argv: Vec<(String, ArgValue)>,
    /// Names of further properties of it that are functions of the host.
    pub endowments: Vec<String>,
    /// Vats that may use the root.
    pub grants: Vec<VatId>,
    /// Public keys that may redeem the root.
    pub bearers: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ArgValue {
    /// Data without capabilities.
    Data(Value),
    /// An object of another vat by the name that vat gave it; 0 is the root. `redeem` is a bearer key and its signature over
    /// [`crate::wire::redeem_payload`], which is said to that vat first.
    Reference { vat: VatId, object: u64, redeem: Option<([u8; 32], Vec<u8>)> },
}

/// Other code for a vat that has some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upgrade {
    pub bundle: Bundle,
    /// Properties of the record that the bundle's default export is called with.
    pub argv: Vec<(String, ArgValue)>,
    /// Names of further properties of it that are functions of the host.
    pub endowments: Vec<String>,
    /// The engine image that the code is to run in; nothing: the present one.
    pub image: Option<Hash>,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandResult {
    Installed,
    /// The code did not start; nothing has changed, another install may follow.
    InstallFailed {
        message: String,
    },
    /// All messages up to `next` (exclusive) are in. If there were more, what these burnt was enough for one command: send the rest again.
    Delivered {
        next: u64,
    },
    /// The messages begin after the next one, which is `next`. Nothing was taken in.
    Gap {
        next: u64,
    },
    /// No code is installed yet. Nothing was taken in; send again later.
    NotReady,
    Granted,
    Ticked,
    /// Not possible, and not later either.
    Refused {
        message: String,
    },
    Revoked,
    /// The messages were not taken in: the block has no fuel left, or the sender's messages have burnt more than those of others that have
    /// work. Send again later, from `next` on.
    Later {
        next: u64,
    },
    /// The vat runs its new code.
    Upgraded,
    /// The new code did not start, or cannot take over: the vat goes on as it was.
    UpgradeFailed {
        message: String,
    },
    /// The peer is gone, for good.
    Dropped,
}

impl Command {
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(COMMAND_VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
        codec::decode::<Command, MAX_COMMAND_BYTES>(COMMAND_VERSION, bytes)
    }
}

impl CommandResult {
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(COMMAND_VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<CommandResult, CodecError> {
        codec::decode::<CommandResult, MAX_COMMAND_BYTES>(COMMAND_VERSION, bytes)
    }
}

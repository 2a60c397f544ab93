//! Frames of hosts about vats, beside Raft: slices and their answers, and lookups of vats.

use crate::address_record::AddressRecord;
use crate::evidence::Slice;
use crate::published::Reading;
use quorate_ids::{Hash, VatId};
use quorate_proof::{HostId, Introduction};
use serde::{Deserialize, Serialize};

/// A slice on its way: purpose `Slice`, answered by [`SliceReply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VatFrame {
    /// The receiving vat.
    pub to: VatId,
    /// The sending vat; the slice proves it.
    pub from: VatId,
    pub slice: Box<Slice>,
}

/// What became of a slice, by the word of the one member that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SliceReply {
    /// Its messages are in the vat's log up to `next - 1`. A client that has all its answers sends its farewell along: the slice with
    /// its last acknowledgement, so that it need not stay to send it.
    Taken { next: u64, leader: Option<HostId>, farewell: Option<Box<Slice>> },
    /// Messages between `next` and the slice are missing, or the vat cannot take any just now.
    NotYet { next: u64, leader: Option<HostId> },
    /// The receiver needs the sender's introduction with it.
    Introduce,
    /// Not believed, or no such vat here.
    Refused { message: String },
    /// The vat has no code that could take it: none was installed yet, or it did not start, for this reason.
    NoCode { failure: Option<String> },
}

/// A question for a host: purpose `Directory`, answered by [`DirectoryReply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DirectoryRequest {
    /// Who are the members of this vat?
    WhoIs(VatId),
    /// Is anybody there? A host that is slow to take a slice answers it at once; one that hangs does not.
    Alive,
    /// The part of an engine image from this byte on. Images are public, and known by their hash.
    Image { hash: Hash, offset: u64 },
    /// What does this vat publish under this name?
    Read(ReadRequest),
    /// Where can these hosts be dialled? At most [`MAX_ASKED_HOSTS`]; the answer has the records that the asked host keeps.
    Addresses(Vec<HostId>),
    /// The sender can be dialled here from now on. The answer has the newest record of the sender that the asked host keeps, if any.
    Moved(Box<AddressRecord>),
}

/// Hosts that one question for addresses may name.
pub const MAX_ASKED_HOSTS: usize = 32;

/// A question for what a vat publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest {
    pub vat: VatId,
    pub name: String,
    /// The answer is to be of this block or a later one.
    pub at_least: u64,
    /// The answer is to have all that this host had in its log when it was asked: see [`ReadReply::Reading`].
    pub current: bool,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReadReply {
    Reading {
        /// Proves itself.
        reading: Box<Reading>,
        /// The epoch of the vat at that host, by its word.
        epoch: u64,
    },
    /// Nothing so new is certified here yet. This is the newest block that is, if any.
    NotYet { block: Option<u64>, why: String },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DirectoryReply {
    Known {
        /// Proves itself.
        introduction: Box<Introduction>,
        /// The vat's newest block, by the word of a host that carries it: what a client counts its time from.
        block: Option<u64>,
    },
    Unknown,
    Alive,
    /// Some bytes of an image, and how many it has as a whole.
    ImagePart {
        whole: u64,
        #[serde(with = "quorate_streams::wire::codec::bytes")]
        bytes: Vec<u8>,
    },
    /// The host has given away as much as it will just now; ask again later, or another one.
    Busy,
    Read(ReadReply),
    /// Each proves itself.
    Addresses(Vec<AddressRecord>),
}

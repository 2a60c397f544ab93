//! For fuzzing: each type of this crate that is read from a network or a disk, by a name.

use serde::{Serialize, de::DeserializeOwned};

use crate::codec;
use crate::order::frames::{RaftFrame, RaftReply, WireEntry};
use crate::proof::certificate::Certificate;
use crate::replica::wire::propose::{ProposeFrame, ProposeReply};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotReply};
use crate::state::ReplicatedState;
use crate::state::block::Block;
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::evidence::EvidenceCounts;
use crate::storage::marks::{Mark, read_slot};
use quorate_ids::{Hash, VatId};
use sha2::{Digest, Sha256};

/// Decodes bytes and encodes what came of them. `None`: they were refused.
pub type Decode = fn(&[u8]) -> Option<Vec<u8>>;

/// All of them.
pub const DECODERS: &[(&str, Decode)] = &[
    ("raft-frame", again::<RaftFrame>),
    ("raft-reply", again::<RaftReply>),
    ("share-frame", again::<ShareFrame>),
    ("share-reply", again::<ShareReply>),
    ("snapshot-frame", again::<SnapshotFrame>),
    ("snapshot-reply", again::<SnapshotReply>),
    ("propose-frame", again::<ProposeFrame>),
    ("propose-reply", again::<ProposeReply>),
    ("block", block),
    ("log-entry", again::<(Hash, WireEntry)>),
    ("checkpoint-record", again::<CheckpointRecord>),
    ("replicated-state", again::<ReplicatedState>),
    ("certificate", again::<Certificate>),
    ("evidence-counts", again::<EvidenceCounts>),
    ("mark", again::<(VatId, Mark)>),
    ("mark-slot", mark_slot),
];

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    codec::decode::<T>(bytes).ok().map(|value| codec::encode(&value))
}

/// A block that is malformed is an empty one.
fn block(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(codec::encode(&Block::decode(&bytes.to_vec().into())))
}

/// A copy of a mark, as it lies in its file: also with a checksum that is right, which is left out here.
fn mark_slot(bytes: &[u8]) -> Option<Vec<u8>> {
    let _ = read_slot(bytes);
    let right = [bytes, &Sha256::digest(bytes)[..]].concat();
    let (number, payload) = read_slot(&right).ok()??;
    let payload = again::<(VatId, Mark)>(payload)?;
    let length = u32::try_from(payload.len()).ok()?;
    Some([&number.to_be_bytes()[..], &length.to_be_bytes(), &payload].concat())
}

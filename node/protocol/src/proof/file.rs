//! The format of files of proofs, for readers that run nothing and know a VatId.
//!
//! ```text
//! file = "quorate-proof/2\n" ‖ SHA-256(body)[32] ‖ body            body = codec bytes of `ProofFile`
//! ```
//!
//! Invariants: the decoded file is bounded in bytes, vats and items before any of it is checked. The hash only tells damage
//! from lies; no conclusion is drawn from it.

use crate::{
    codec::{self, CodecError},
    evidence::{OutboxPath, Slice},
    published::Reading,
};
use quorate_ids::Hash;
use quorate_proof::{Certificate, EvidenceRecord, Introduction};
use quorate_streams::stream::StreamHead;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How every file begins. The number is the version of all that follows.
pub const MAGIC: &[u8] = b"quorate-proof/2\n";
/// What files of all versions begin with.
const MAGIC_STEM: &[u8] = b"quorate-proof/";
/// Bytes of the largest file.
pub const FILE_BYTES: usize = 32 << 20;
/// Vats in one file at most.
pub const FILE_VATS: usize = 256;
/// Items of one vat in a file at most.
pub const FILE_ITEMS: usize = 4_096;

/// What is proven, of one or several vats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofFile {
    /// One part for each vat.
    pub vats: Vec<VatProof>,
}

/// What is proven of one vat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VatProof {
    /// The proof of its members, from the VatId on.
    pub introduction: Introduction,
    /// What they said.
    pub items: Vec<Item>,
}

/// One thing that is to be checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a file holds at most `FILE_ITEMS`")]
pub enum Item {
    /// What a replica kept of members that contradict one another.
    Evidence(Box<EvidenceRecord>),
    /// Two certified heads of one stream that contradict each other.
    StreamContradiction(Box<StreamContradiction>),
    /// A statement that the vat certified.
    Certificate(Certificate),
    /// Messages of the vat to another one.
    Slice(Box<ProvenSlice>),
    /// The vat's answer to one call.
    Answer(Box<AnswerProof>),
    /// A certified checkpoint, without the pages of its heap.
    Checkpoint(Box<CheckpointProof>),
    /// What the vat publishes under a name.
    Reading(Box<Reading>),
}

/// A head of a stream with its way into a certified outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedHead {
    pub certificate: Certificate,
    pub head: StreamHead,
    pub path: OutboxPath,
}

/// What two certified heads of one stream can't both say. See [`CertifiedHead::contradicts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamContradiction {
    pub first: CertifiedHead,
    pub second: CertifiedHead,
}

/// A slice, and the stream's hash before its first message, which ties the messages to the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProvenSlice {
    pub slice: Slice,
    pub before: Hash,
}

impl ProvenSlice {
    /// Returns what a receiver can show to others of a slice that it believes: the messages from number `next` on, before which the stream has
    /// the hash `before`.
    pub fn of(slice: &Slice, next: u64, before: Hash) -> ProvenSlice {
        let known = usize::try_from(next.saturating_sub(slice.begin)).unwrap_or(usize::MAX);
        let messages = slice.messages.get(known..).unwrap_or_default().to_vec();
        let (certificate, path, tail) = (slice.certificate.clone(), slice.path.clone(), slice.tail.clone());
        let slice = Slice {
            genesis: None,
            chain: Vec::new(),
            certificate,
            head: slice.head,
            path,
            begin: next,
            messages,
            tail,
        };
        ProvenSlice { slice, before }
    }
}

/// One message of a stream, with what ties it to the hash of the stream after a later message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenMessage {
    /// The stream's hash before the message.
    pub before: Hash,
    pub message: Vec<u8>,
    /// Digests of the messages after it.
    pub after: Vec<Hash>,
}

/// An answer of the vat, and the call that it answers: both are tied to one certified head, which says what the vat sent to the
/// caller and what it had taken in of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerProof {
    pub head: CertifiedHead,
    /// In the caller's stream to the vat.
    pub call: ProvenMessage,
    /// In the vat's stream to the caller.
    pub answer: ProvenMessage,
}

/// What a certified state root stands for, as far as it is short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointProof {
    pub certificate: Certificate,
    /// The state of consensus: members, pending change, the log's position.
    pub state: Vec<u8>,
    /// Root of the machine's state.
    pub machine_root: quorate_proof::Hash,
}

/// Why a file is none that can be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error(
        "it is not a file of proofs; `vat call … --proof FILE`, `vat read … --save FILE`, `vat prove` and `vat evidence --export FILE` make these"
    )]
    Other,
    #[error("it was made by a version of this program with another format ({0}); this build reads quorate-proof/2")]
    Version(String),
    #[error("it is larger than {FILE_BYTES} bytes, more than any file of proofs")]
    TooLarge,
    #[error("it was damaged or changed after it was made: its content is not what its checksum says")]
    Damaged,
    #[error("its content does not decode: {0}")]
    Content(#[from] CodecError),
    #[error("it holds {0}, more than is checked at once")]
    TooMany(String),
}

impl ProofFile {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = codec::encode(self);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend(body);
        bytes
    }

    /// Reads a file. Nothing in it is checked yet.
    ///
    /// # Errors
    /// It is no file of proofs, or one that this build does not read.
    pub fn decode(bytes: &[u8]) -> Result<ProofFile, FileError> {
        if bytes.len() > FILE_BYTES {
            return Err(FileError::TooLarge);
        }
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            let Some(other) = bytes.strip_prefix(MAGIC_STEM) else { return Err(FileError::Other) };
            let version: Vec<u8> = other.iter().copied().take(8).take_while(u8::is_ascii_digit).collect();
            return Err(FileError::Version(format!("quorate-proof/{}", String::from_utf8_lossy(&version))));
        };
        let (hash, body) = rest.split_first_chunk::<32>().ok_or(FileError::Damaged)?;
        if <[u8; 32]>::from(Sha256::digest(body)) != *hash {
            return Err(FileError::Damaged);
        }
        let file: ProofFile = codec::decode(body)?;
        if file.vats.len() > FILE_VATS {
            return Err(FileError::TooMany(format!("{} vats", file.vats.len())));
        }
        if let Some(vat) = file.vats.iter().find(|vat| vat.items.len() > FILE_ITEMS) {
            return Err(FileError::TooMany(format!("{} items of one vat", vat.items.len())));
        }
        Ok(file)
    }

    /// Returns whether these are the bytes of a file of proofs of any version.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC_STEM)
    }
}

impl CertifiedHead {
    /// Returns why the vat can't have said both, or nothing: of one stream what was sent and what was taken in only grows with the blocks, and
    /// a number of messages has one hash. Marks may be of any time before their block.
    pub fn contradicts(&self, other: &CertifiedHead) -> Option<&'static str> {
        let (one, another) = (&self.head, &other.head);
        if self.certificate.statement.vat != other.certificate.statement.vat || one.peer != another.peer {
            return None;
        }
        if one.end == another.end && one.hash != another.hash {
            return Some("the same number of messages to one peer has two hashes: the vat said two different things");
        }
        if one.ack == another.ack && one.ack_hash != another.ack_hash {
            return Some("it took in two different runs of messages of one peer");
        }
        let (earlier, later) = if self.certificate.statement.block <= other.certificate.statement.block {
            (one, another)
        } else {
            (another, one)
        };
        let grows =
            self.certificate.statement.block != other.certificate.statement.block && !earlier.is_mark && !later.is_mark;
        if grows && (earlier.end > later.end || earlier.ack > later.ack) {
            return Some("a later block says less of a stream than an earlier one");
        }
        None
    }
}

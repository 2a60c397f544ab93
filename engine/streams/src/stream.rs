//! One direction of the messages between two vats: numbered, under a chained hash.
//!
//! Messages are numbered from 1. `h(0) = H("quorate/stream/1" || sender || receiver)` and
//! `h(n) = H("quorate/message/1" || h(n-1) || H(message n))`: one hash commits to all messages so far.
//!
//! A sender also says the hash at each [`MARK_EVERY`]th message: a *mark*. So a run of messages far behind the newest head leads to a mark, and needs no
//! digests of all that follows.
//!
//! Invariants: `end` only grows. A sender keeps exactly the messages after the last acknowledged one. A receiver's
//! `received` grows by one with each received message.
//!
//! Nothing here depends on the meaning of a message, or on certificates: the caller of [`Slice::verify`] has checked the head.

use crate::wire::codec::{self, SharedBytes};
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use thiserror::Error;

const HEAD_VERSION: u8 = 2;
const MARK_VERSION: u8 = 3;
/// In an encoded head, this bit of `ack` says that it is a mark.
const MARK_BIT: u64 = 1 << 63;
/// Messages whose numbers are multiples of this have marks.
pub const MARK_EVERY: u64 = 256;
/// Length of [`StreamHead::encode`].
pub const HEAD_BYTES: usize = 1 + 32 + 8 + 32 + 8 + 32;

/// The hash of the empty stream.
pub fn start_hash(sender: &VatId, receiver: &VatId) -> Hash {
    Hash::of_parts(&[b"quorate/stream/1", &sender.0, &receiver.0])
}

/// Returns what stands for a message that is not there, in the tail of a [`Slice`].
pub fn message_digest(message: &[u8]) -> Hash {
    Hash::of_parts(&[message])
}

/// The hash of the stream with one more message.
pub fn next_hash(previous: &Hash, message_digest: &Hash) -> Hash {
    Hash::of_parts(&[b"quorate/message/1", &previous.0, &message_digest.0])
}

/// A run of messages and what its sender has of the opposite stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    pub from: VatId,
    /// Number of the first message; they are numbered from 1.
    pub begin: u64,
    #[serde(with = "codec::byte_lists")]
    pub messages: Vec<Vec<u8>>,
    /// Number of the last message of the head that `ack` was said in, also if not all up to there are in `messages`.
    pub end: u64,
    pub ack: u64,
}

/// What a vat says about its stream to one peer: a leaf of its outbox.
///
/// A head speaks of the stream as it is after a block. A mark says how it was when message `end` was said, and may be said in any later block, too. An
/// acknowledgement counts in both once all messages up to `end` are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CodedHead", into = "CodedHead")]
pub struct StreamHead {
    pub peer: VatId,
    /// Number of the last message sent; 0 if there is none yet.
    pub end: u64,
    /// The chained hash after message `end`.
    pub hash: Hash,
    /// Number of the last message of the peer that was taken in.
    pub ack: u64,
    /// The peer's chained hash after message `ack`: what was taken in.
    pub ack_hash: Hash,
    /// Whether it is a mark: it does not say that `end` is the last message.
    pub is_mark: bool,
}

/// A head as it is stored and sent: as it was before there were marks.
#[derive(Serialize, Deserialize)]
struct CodedHead {
    peer: VatId,
    end: u64,
    hash: Hash,
    /// The highest bit: see [`MARK_BIT`].
    ack: u64,
    ack_hash: Hash,
}

impl From<CodedHead> for StreamHead {
    fn from(coded: CodedHead) -> StreamHead {
        let CodedHead { peer, end, hash, ack, ack_hash } = coded;
        StreamHead { peer, end, hash, ack: ack & !MARK_BIT, ack_hash, is_mark: ack & MARK_BIT != 0 }
    }
}

impl From<StreamHead> for CodedHead {
    fn from(head: StreamHead) -> CodedHead {
        let StreamHead { peer, end, hash, ack, ack_hash, is_mark } = head;
        CodedHead { peer, end, hash, ack: if is_mark { ack | MARK_BIT } else { ack }, ack_hash }
    }
}

impl StreamHead {
    /// The canonical bytes: version (which says whether it is a mark), peer, end, hash, ack, its hash; numbers big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.push(if self.is_mark { MARK_VERSION } else { HEAD_VERSION });
        bytes.extend_from_slice(&self.peer.0);
        bytes.extend_from_slice(&self.end.to_be_bytes());
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.ack.to_be_bytes());
        bytes.extend_from_slice(&self.ack_hash.0);
        bytes
    }

    /// Reads what [`StreamHead::encode`] made.
    pub fn decode(bytes: &[u8]) -> Option<StreamHead> {
        let (version, rest) = bytes.split_first()?;
        let is_mark = match *version {
            HEAD_VERSION => false,
            MARK_VERSION => true,
            _ => return None,
        };
        let (peer, rest) = rest.split_first_chunk::<32>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (ack, rest) = rest.split_first_chunk::<8>()?;
        let (ack_hash, rest) = rest.split_first_chunk::<32>()?;
        rest.is_empty().then_some(StreamHead {
            peer: VatId(*peer),
            end: u64::from_be_bytes(*end),
            hash: Hash(*hash),
            ack: u64::from_be_bytes(*ack),
            ack_hash: Hash(*ack_hash),
            is_mark,
        })
    }
}

/// The sending side of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutStream {
    /// Number of the last acknowledged message.
    acked: u64,
    /// Those after it.
    messages: VecDeque<SharedBytes>,
    hash: Hash,
    bytes: u64,
    /// The marks among those messages, in order. Encoded apart, by who encodes the stream.
    #[serde(skip)]
    marks: VecDeque<Mark>,
}

/// How the streams stood when a message was said: what a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    end: u64,
    hash: Hash,
    ack: u64,
    ack_hash: Hash,
}

impl OutStream {
    pub fn new(sender: &VatId, receiver: &VatId) -> OutStream {
        OutStream {
            acked: 0,
            messages: VecDeque::new(),
            hash: start_hash(sender, receiver),
            bytes: 0,
            marks: VecDeque::new(),
        }
    }

    /// Number of the last message.
    pub fn end(&self) -> u64 {
        self.acked + self.messages.len() as u64
    }

    pub fn hash(&self) -> Hash {
        self.hash
    }

    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Returns how many messages are kept, and how many bytes they take.
    pub fn unacked(&self) -> (u64, u64) {
        (self.messages.len() as u64, self.bytes)
    }

    /// Forgets what the stream was, as a check of all states compares them: by what can still happen.
    pub fn forget_hash(&mut self) {
        self.hash = Hash([0; 32]);
        self.marks.clear();
    }

    /// Appends a message and tells its number.
    pub fn push(&mut self, message: Arc<[u8]>) -> u64 {
        self.hash = next_hash(&self.hash, &message_digest(&message));
        self.bytes += message.len() as u64;
        self.messages.push_back(SharedBytes(message));
        self.end()
    }

    /// Keeps a mark if the last message is to have one. `opposite` is what has been taken in of the other stream by now: later messages know of it.
    pub fn mark(&mut self, opposite: &InStream) {
        if self.end().is_multiple_of(MARK_EVERY) && self.marks.back().is_none_or(|last| last.end < self.end()) {
            let (end, hash) = (self.end(), self.hash);
            self.marks.push_back(Mark { end, hash, ack: opposite.received, ack_hash: opposite.hash });
        }
    }

    /// The marks that are kept, to be encoded.
    pub fn kept_marks(&self) -> &VecDeque<Mark> {
        &self.marks
    }

    /// Sets marks that were encoded.
    pub fn set_marks(&mut self, marks: VecDeque<Mark>) {
        self.marks = marks;
    }

    /// The marks from message `first` on, before the last message.
    pub fn marks(&self, peer: VatId, first: u64) -> impl Iterator<Item = StreamHead> {
        let end = self.end();
        self.marks.iter().filter(move |mark| mark.end >= first && mark.end < end).map(move |mark| {
            let Mark { end, hash, ack, ack_hash } = *mark;
            StreamHead { peer, end, hash, ack, ack_hash, is_mark: true }
        })
    }

    /// Drops what the peer has; whether that was anything. An acknowledgement of what was never sent must be caught before.
    pub fn acknowledge(&mut self, through: u64) -> bool {
        let before = self.acked;
        while self.acked < through
            && let Some(message) = self.messages.pop_front()
        {
            self.acked += 1;
            self.bytes -= message.0.len() as u64;
        }
        while self.marks.front().is_some_and(|mark| mark.end <= self.acked) {
            self.marks.pop_front();
        }
        self.acked > before
    }

    /// The kept messages with their numbers, in order.
    pub fn messages(&self) -> impl Iterator<Item = (u64, &Arc<[u8]>)> {
        self.messages.iter().enumerate().map(|(index, message)| (self.acked + 1 + index as u64, &message.0))
    }
}

/// The receiving side of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InStream {
    received: u64,
    hash: Hash,
    broken: Option<String>,
    /// An acknowledgement that counts later: number of the message with which it does, and what is acknowledged then.
    awaited: Option<(u64, u64)>,
}

impl InStream {
    pub fn new(sender: &VatId, receiver: &VatId) -> InStream {
        InStream { received: 0, hash: start_hash(sender, receiver), broken: None, awaited: None }
    }

    /// Number of the last message that was taken in.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The chained hash after message [`InStream::received`].
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Returns why nothing more is taken in from this peer.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Takes in the next message.
    pub fn advance(&mut self, message: &[u8]) {
        self.hash = next_hash(&self.hash, &message_digest(message));
        self.received += 1;
    }

    /// Hears an acknowledgement that was said in a head which ends at message `end`, and returns what counts as acknowledged now. All up to
    /// `known` does already.
    ///
    /// An acknowledgement counts once all messages up to its head's end are in. Until then the first one that tells anything is kept: a
    /// sender that is always ahead of what is taken in never shows a head whose end is reached at once.
    pub fn acknowledged(&mut self, end: u64, ack: u64, known: u64) -> Option<u64> {
        let due = self.awaited.take_if(|(end, _)| *end <= self.received).map(|(_, ack)| ack);
        if end <= self.received {
            return due.max(Some(ack));
        }
        if ack > due.unwrap_or(known) {
            self.awaited.get_or_insert((end, ack));
        }
        due
    }

    /// Forgets what the stream was, as a check of all states compares them: by what can still happen.
    pub fn forget_hash(&mut self) {
        self.hash = Hash([0; 32]);
    }

    pub fn mark_broken(&mut self, reason: String) {
        self.broken.get_or_insert(reason);
    }
}

/// A run of messages of a stream, and digests for the rest up to a head. Whether the head was said is for certificates to tell.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a, M> {
    /// Number of the first message.
    pub begin: u64,
    pub messages: &'a [M],
    /// [`message_digest`]s of the messages after those, up to the head.
    pub tail: &'a [Hash],
    pub head: &'a StreamHead,
}

/// Why a slice is not what its head speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SliceError {
    #[error("the head ends at message {end}, but {received} are here already")]
    Stale { end: u64, received: u64 },
    #[error("the slice begins at message {begin}, but the next one is {next}")]
    Gap { begin: u64, next: u64 },
    #[error("the messages and digests do not end where the head does")]
    Length,
    #[error("the messages are not those that the head speaks of")]
    Hash,
}

impl<M: AsRef<[u8]>> Slice<'_, M> {
    /// Checks the slice against its head, given what the receiver has: the number of the last message it took in and
    /// the chained hash there. Messages that it has already are not looked at; the machine skips them.
    pub fn verify(&self, received: u64, hash: &Hash) -> Result<(), SliceError> {
        let next = received.checked_add(1).ok_or(SliceError::Length)?;
        if self.begin > next {
            return Err(SliceError::Gap { begin: self.begin, next });
        }
        if self.head.end < received {
            return Err(SliceError::Stale { end: self.head.end, received });
        }
        let count = (self.messages.len() + self.tail.len()) as u64;
        if self.begin.checked_add(count) != self.head.end.checked_add(1) || self.begin == 0 {
            return Err(SliceError::Length);
        }
        let known = usize::try_from(next - self.begin).map_err(|_| SliceError::Length)?;
        let digests = self.messages.iter().map(|message| message_digest(message.as_ref()));
        let mut reached = *hash;
        for digest in digests.chain(self.tail.iter().copied()).skip(known) {
            reached = next_hash(&reached, &digest);
        }
        if reached == self.head.hash { Ok(()) } else { Err(SliceError::Hash) }
    }
}

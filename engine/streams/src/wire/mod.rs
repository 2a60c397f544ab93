//! What vats say to each other in a stream: one [`Op`] a message.
//!
//! Invariants: what [`Op::decode`] accepts is within the limits below, its bodies are well-formed values whose slots exist and of which no
//! more than [`MAX_BUILT_BYTES`] are built, and a call's arguments are an array; hence neither the machine nor a guest ever sees worse from a peer. The bytes of a
//! message are what is hashed and kept; they are never made again from a decoded [`Op`].
//!
//! Nothing here knows which ids a peer may use: that is `comms`.

pub mod codec;
mod data;
mod price;

pub use price::MAX_BUILT_BYTES;

use crate::abi::value::Part;
use crate::abi::{CapData, DecodeError, Method, Value};
use quorate_ids::{Hash, VatId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First byte of every message.
pub const WIRE_VERSION: u8 = 3;
/// Longest message, in bytes: bounds what one send can cost the streams, the log and the receiver.
pub const MAX_MESSAGE_BYTES: usize = 512 << 10;
pub use crate::abi::{MAX_BIGINT_DIGITS, MAX_SLOTS, MAX_VALUES};
/// Longest method or property name, in bytes.
pub const MAX_METHOD_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefKind {
    Object,
    Promise,
}

/// Which of the two vats of a stream gave the id: an object's home, or the side that first sent a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The sender of the message that the reference is in.
    Sender,
    /// Its receiver.
    Receiver,
}

/// A capability as a pair of vats names it. Object 0 of a side is that vat's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WireRef {
    pub kind: RefKind,
    pub allocator: Side,
    pub id: u64,
}

impl WireRef {
    pub const fn object(allocator: Side, id: u64) -> WireRef {
        WireRef { kind: RefKind::Object, allocator, id }
    }

    pub const fn promise(allocator: Side, id: u64) -> WireRef {
        WireRef { kind: RefKind::Promise, allocator, id }
    }
}

/// A capability inside data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WireSlot {
    /// Something that both vats of the stream have a name for.
    Known(WireRef),
    /// An object of a third vat. The receiver withdraws it at `home`, where the sender deposits it under this number. The sender
    /// counts them for each home.
    Gift { home: VatId, number: u64 },
    /// As `Gift`, where another vat of the sender's owner deposits the object, under [`lent_number`]: a client is known to each vat
    /// that it talks to by another id. Only in calls.
    Lent { home: VatId, lender: VatId, number: u64 },
}

impl From<WireRef> for WireSlot {
    fn from(reference: WireRef) -> WireSlot {
        WireSlot::Known(reference)
    }
}

/// How a promise settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireResolution {
    Fulfilled(#[serde(with = "data")] CapData<WireSlot>),
    Rejected(#[serde(with = "data")] CapData<WireSlot>),
}

impl WireResolution {
    pub fn data(&self) -> &CapData<WireSlot> {
        match self {
            WireResolution::Fulfilled(data) | WireResolution::Rejected(data) => data,
        }
    }

    /// A rejection with the machine's own error.
    pub fn vat_error(message: &str) -> WireResolution {
        WireResolution::Rejected(vat_error(message))
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// The sender holds a bearer reference to `object`: the signature is ed25519 by the bearer key over [`redeem_payload`].
    /// A good one lets the sender use the object as long as the bearer is in the receiver's table; a bad one does nothing. `result`, if there is one,
    /// is a fresh promise id of the sender; the receiver settles it to the object, or rejects it.
    Redeem {
        object: u64,
        bearer: [u8; 32],
        #[serde(with = "codec::bytes")]
        signature: Vec<u8>,
        result: Option<u64>,
    },
    /// Does something to an object of the receiver or to a promise that the receiver decides. `result` is a fresh promise id
    /// of the sender; the receiver settles it. Fresh promise ids appear in ascending order: those in `args.slots`, then `result`.
    Send {
        target: WireRef,
        method: Method,
        #[serde(with = "data")]
        args: CapData<WireSlot>,
        result: Option<u64>,
    },
    /// A promise that the sender decides has settled; neither side names it again in what it sends after it knows. If it is
    /// fulfilled with nothing but an object of the receiver, a `Release` follows; if with nothing but a gift, its `Deposit`.
    Settle { promise: WireRef, resolution: WireResolution },
    /// The sender has given the receiver's object `object` to the vat `to`, as gift `number` (of the sender's, for this receiver).
    Deposit { to: VatId, number: u64, object: u64 },
    /// The vat `from` has given the sender an object of the receiver, as gift `number` of that vat. `result` is a fresh promise id
    /// of the sender; the receiver settles it to that object, or rejects it.
    Withdraw { from: VatId, number: u64, result: u64 },
    /// All that was sent to `promise`, which the sender has settled to an object of the receiver, has been passed on.
    Release { promise: WireRef },
    /// Gift `number` of the receiver's, of an object at `home`, comes to nothing. The home itself says so if it has no room for
    /// the deposit; else the vat that the gift was for says so.
    Declined { home: VatId, number: u64 },
    /// Gift `number` of the sender's, of an object at `home`, comes to nothing: it cannot be withdrawn there.
    Undo { home: VatId, number: u64 },
    /// Gift `number` of the sender's, which was deposited for `to`, will not be withdrawn; without a number, none of them.
    Cancel { to: VatId, number: Option<u64> },
    /// The sender holds these objects of the receiver no more: their ids, and how often each came to it since it last dropped it.
    Drop(Vec<(u64, u64)>),
    /// The sender does not want the answer to a call of its own any more: `result` is that of the `Send`. The receiver settles it as
    /// ever.
    Abandon { result: u64 },
    /// Asks the receiver to keep its object `object`, which the sender holds, for the holder of the secret half of `key`. `through` is a bearer
    /// that the sender has redeemed. `result` is a fresh promise id of the sender; the receiver settles it to its own number of the object.
    Keep { object: u64, key: [u8; 32], through: [u8; 32], result: u64 },
    /// The receiver shall no longer keep what it keeps for this bearer, which the sender has redeemed. `result` is as in `Keep`.
    Discard { bearer: [u8; 32], result: u64 },
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("not a message: {0}")]
    Codec(#[from] codec::CodecError),
    #[error("{count} capabilities in one message; at most {MAX_SLOTS} are allowed")]
    TooManySlots { count: usize },
    #[error("a method name of {length} bytes; at most {MAX_METHOD_BYTES} are allowed")]
    LongMethod { length: usize },
    #[error("a message has at most {MAX_VALUES} values and fields: send it in parts, or as text or bytes")]
    TooManyValues,
    #[error("a bigint in a message has at most {MAX_BIGINT_DIGITS} decimal digits: send it as text or bytes")]
    LongBigInt,
    #[error("a body that is not a well-formed value")]
    Body,
    #[error(
        "data that takes about {bytes} bytes of memory where it arrives; at most {MAX_BUILT_BYTES} are allowed: send it in parts, or as text or bytes"
    )]
    TooMuch { bytes: u64 },
    #[error("arguments that are not an array")]
    Arguments,
    #[error("a signature of {length} bytes instead of 64")]
    Signature { length: usize },
    #[error("{count} objects in one drop; at most {MAX_SLOTS} are allowed")]
    TooManyDrops { count: usize },
    #[error("a settlement or release of something that is not a promise")]
    NotAPromise,
}

impl Op {
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(WIRE_VERSION, self)
    }

    /// Reads one message from a peer and checks all that can be checked without tables.
    pub fn decode(bytes: &[u8]) -> Result<Op, WireError> {
        let op: Op = codec::decode::<Op, MAX_MESSAGE_BYTES>(WIRE_VERSION, bytes)?;
        match &op {
            Op::Redeem { signature, .. } if signature.len() != 64 => {
                return Err(WireError::Signature { length: signature.len() });
            }
            Op::Settle { promise, .. } | Op::Release { promise } if promise.kind != RefKind::Promise => {
                return Err(WireError::NotAPromise);
            }
            Op::Drop(objects) if objects.len() > MAX_SLOTS => {
                return Err(WireError::TooManyDrops { count: objects.len() });
            }
            Op::Send { method, args, .. } => check_send(method, args)?,
            Op::Settle { resolution, .. } => check_data(resolution.data())?,
            // Ids and vats: tables say what they mean.
            Op::Redeem { .. }
            | Op::Deposit { .. }
            | Op::Withdraw { .. }
            | Op::Release { .. }
            | Op::Declined { .. }
            | Op::Undo { .. }
            | Op::Cancel { .. }
            | Op::Abandon { .. }
            | Op::Drop(_)
            | Op::Keep { .. }
            | Op::Discard { .. } => {}
        }
        Ok(op)
    }
}

/// Checks what must hold of a call on either side of a stream.
pub fn check_send<S>(method: &Method, args: &CapData<S>) -> Result<(), WireError> {
    if let Method::Call(name) | Method::Get(name) = method
        && name.len() > MAX_METHOD_BYTES
    {
        return Err(WireError::LongMethod { length: name.len() });
    }
    if scan(args)? { Ok(()) } else { Err(WireError::Arguments) }
}

/// Checks what must hold of marshalled data on either side of a stream.
pub fn check_data<S>(data: &CapData<S>) -> Result<(), WireError> {
    scan(data).map(drop)
}

/// Checks data without making a value of it, and says whether it is an array.
fn scan<S>(data: &CapData<S>) -> Result<bool, WireError> {
    if data.slots.len() > MAX_SLOTS {
        return Err(WireError::TooManySlots { count: data.slots.len() });
    }
    let (mut first, mut bytes) = (None, 0_u64);
    let scanned = data.scan(&mut |part| {
        first.get_or_insert(matches!(part, Part::Array(_)));
        bytes = bytes.saturating_add(price::built_bytes(part));
    });
    match scanned {
        Err(DecodeError::TooMany) => Err(WireError::TooManyValues),
        Err(DecodeError::LongBigInt) => Err(WireError::LongBigInt),
        Err(_) => Err(WireError::Body),
        Ok(()) if bytes > MAX_BUILT_BYTES => Err(WireError::TooMuch { bytes }),
        Ok(()) => Ok(first == Some(true)),
    }
}

/// An upper bound of the bytes that a message with this data and method takes.
pub fn message_bound<S>(data: &CapData<S>, method_bytes: usize) -> usize {
    /// Tags, ids and length prefixes, each at its longest.
    const FRAME: usize = 64;
    // Loans are named by clients only, whose messages are measured.
    const REF: usize = 1 + 32 + 9;
    FRAME + data.body.len() + data.slots.len() * REF + method_bytes
}

/// Returns where among its slots what a promise is fulfilled with is, if it is one capability and nothing else.
pub fn bare_slot<S>(data: &CapData<S>) -> Option<usize> {
    if data.slots.is_empty() {
        return None;
    }
    let mut first = None;
    data.scan(&mut |part| {
        first.get_or_insert(part_slot(part));
    })
    .ok()?;
    first.flatten()
}

fn part_slot(part: Part<'_>) -> Option<usize> {
    match part {
        Part::Slot(index) | Part::Named(index, _) => Some(index as usize),
        _ => None,
    }
}

/// The machine's own rejections: an `Error` whose name is `VatError`.
pub fn vat_error<S>(message: &str) -> CapData<S> {
    CapData::data(&Value::error("VatError", message))
}

/// The number under which `lender` deposits what `borrower`, another vat of the same owner, names in a call as its loan `number`. Said by any
/// other vat, the same number stands for another deposit: a reader of the home's log, or of the call on its way, can't come first with
/// it. It is above all numbers of gifts, which are counted.
pub fn lent_number(borrower: &VatId, lender: &VatId, number: u64) -> u64 {
    let hash = Hash::of_parts(&[b"quorate/lent/1", &borrower.0, &lender.0, &number.to_be_bytes()]);
    hash.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) | 1 << 63
}

/// Returns what a bearer key signs to hand its authority over `target`'s `object` to `sender`.
pub fn redeem_payload(target: &VatId, sender: &VatId, object: u64) -> Vec<u8> {
    let mut payload = b"quorate/redeem/1".to_vec();
    payload.extend_from_slice(&target.0);
    payload.extend_from_slice(&sender.0);
    payload.extend_from_slice(&object.to_be_bytes());
    payload
}

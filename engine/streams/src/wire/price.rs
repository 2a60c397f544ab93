//! What data takes where it arrives: bytes of a guest's heap for each kind of value, at fixed prices.
//!
//! Half a megabyte of empty arrays makes a quarter of a million objects. So a message is judged by what is built of it, before
//! anything is. The prices are what the image was measured to take, rounded up; they are part of the protocol, not of the image.

use crate::abi::value::Part;

/// Most that the data of one message may take in a heap.
pub const MAX_BUILT_BYTES: u64 = 8 << 20;

/// Any value as an element: number, boolean, `null`, `undefined`, the place of a reference.
const SCALAR: u64 = 64;
/// Strings, bigints and symbols, beside what they hold.
const TEXT: u64 = 96;
/// A byte of text: two where it is kept as UTF-16.
const TEXT_BYTE: u64 = 2;
const ARRAY: u64 = 96;
const RECORD: u64 = 160;
/// A property, with its place in the shape of its record.
const FIELD: u64 = 160;
const BYTES: u64 = 288;
const ERROR: u64 = 160;
const TAGGED: u64 = 256;

fn text(length: usize) -> u64 {
    TEXT + TEXT_BYTE * length as u64
}

/// The bytes that a part of a value takes at most, beside what is in it.
pub(super) fn built_bytes(part: Part<'_>) -> u64 {
    match part {
        Part::Scalar | Part::Slot(_) => SCALAR,
        Part::String(content) | Part::BigInt(content) | Part::Symbol(content) => text(content.len()),
        Part::Named(_, name) => SCALAR + text(name.len()),
        Part::Array(_) => ARRAY,
        Part::Record(_) => RECORD,
        Part::Key(key) => FIELD + TEXT_BYTE * key.len() as u64,
        Part::Error { name, message } => ERROR + TEXT_BYTE * (name.len() + message.len()) as u64,
        Part::Bytes(bytes) => BYTES + bytes.len() as u64,
        Part::Tagged(tag) => TAGGED + text(tag.len()),
    }
}

//! The bytes of a [`Value`]: what `CapData::body` holds.
//!
//! A version byte, then one tagged tree. Invariants: what [`Value::decode`] accepts is at most [`MAX_VALUE_DEPTH`] deep and
//! has at most [`MAX_VALUES`] nodes, so that neither recursion nor a length prefix nor a short message that stands for much can hurt the
//! decoder; every NaN is the canonical one; re-encoding an accepted value gives the same bytes.
//!
//! It knows nothing of what a slot stands for: [`Value::Slot`] is an index and its bound is checked by whoever has the slots.

use super::{CapData, DecodeError, MAX_BIGINT_DIGITS, MAX_INTERFACE_BYTES, MAX_VALUE_DEPTH, MAX_VALUES, Value};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// First byte of every encoded value.
pub const VALUE_VERSION: u8 = 1;

const UNDEFINED: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const BIGINT: u8 = 6;
const SYMBOL: u8 = 7;
const ARRAY: u8 = 8;
const RECORD: u8 = 9;
const ERROR: u8 = 10;
const SLOT: u8 = 11;
const BYTES: u8 = 12;
const TAGGED: u8 = 13;
const NAMED: u8 = 14;

impl Value {
    /// The canonical bytes. A value deeper than [`MAX_VALUE_DEPTH`] encodes, but no decoder will take it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(VALUE_VERSION);
        write(self, &mut out);
        out
    }

    /// Reads what [`Value::encode`] made; refuses other versions, trailing bytes, ill-formed text and deep nesting.
    pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if version != VALUE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let mut reader = Reader { rest, left: MAX_VALUES };
        let value = reader.value(0)?;
        if reader.rest.is_empty() { Ok(value) } else { Err(DecodeError::Malformed) }
    }

    /// Reads what [`Value::encode`] made without making a value of it, and shows each part to `see`, the outer before the inner ones and in
    /// order. Refuses what [`Value::decode`] refuses; what was shown until then counts for nothing.
    pub fn scan(bytes: &[u8], see: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if version != VALUE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let mut reader = Reader { rest, left: MAX_VALUES };
        reader.scan(0, see)?;
        if reader.rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed) }
    }

    /// The index of the capability that this value is as a whole; `None` for data.
    pub fn as_slot(&self) -> Option<u32> {
        match self {
            Value::Slot(index) | Value::Named(index, _) => Some(*index),
            _ => None,
        }
    }

    /// One more than the greatest index of a slot in the tree: how many slots must be beside it.
    pub fn slot_bound(&self) -> u64 {
        match self {
            Value::Slot(index) | Value::Named(index, _) => u64::from(*index) + 1,
            Value::Array(items) => items.iter().map(Value::slot_bound).max().unwrap_or(0),
            Value::Record(fields) => fields.iter().map(|(_, value)| value.slot_bound()).max().unwrap_or(0),
            Value::Tagged(_, value) => value.slot_bound(),
            _ => 0,
        }
    }

    /// An `Error` with the given name and message.
    pub fn error(name: impl Into<String>, message: impl Into<String>) -> Value {
        Value::Error { name: name.into(), message: message.into() }
    }
}

/// What [`Value::scan`] shows of a value: what it is, without what is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part<'a> {
    /// `undefined`, `null`, a boolean or a number.
    Scalar,
    String(&'a str),
    /// The digits of a bigint.
    BigInt(&'a str),
    /// The key of a symbol.
    Symbol(&'a str),
    /// So many items follow.
    Array(usize),
    /// So many fields follow, the key of each before its value.
    Record(usize),
    Key(&'a str),
    Error {
        name: &'a str,
        message: &'a str,
    },
    Slot(u32),
    Named(u32, &'a str),
    Bytes(&'a [u8]),
    /// The payload follows.
    Tagged(&'a str),
}

impl<S> CapData<S> {
    /// Shows the parts of the value in the body, as [`Value::scan`]; refuses one that names a slot that is not there.
    pub fn scan(&self, see: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        let mut bound = 0;
        Value::scan(&self.body, &mut |part| {
            if let Part::Slot(index) | Part::Named(index, _) = part {
                bound = bound.max(u64::from(index) + 1);
            }
            see(part);
        })?;
        if bound > self.slots.len() as u64 { Err(DecodeError::Malformed) } else { Ok(()) }
    }

    /// Marshalled `value` without a capability in it.
    pub fn data(value: &Value) -> Self {
        CapData { body: value.encode(), slots: Vec::new() }
    }

    /// Marshalled `value` in which [`Value::Slot`] and [`Value::Named`] index `slots`.
    pub fn new(value: &Value, slots: Vec<S>) -> Self {
        CapData { body: value.encode(), slots }
    }

    /// The value in the body; refuses one that names a slot that is not there.
    pub fn value(&self) -> Result<Value, DecodeError> {
        let value = Value::decode(&self.body)?;
        if value.slot_bound() > self.slots.len() as u64 {
            return Err(DecodeError::Malformed);
        }
        Ok(value)
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Undefined => out.push(UNDEFINED),
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Number(number) => {
            out.push(NUMBER);
            let number = if number.is_nan() { f64::NAN } else { *number };
            let bits = if number.is_nan() { CANONICAL_NAN } else { number.to_bits() };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        Value::String(text) => write_text(STRING, text, out),
        Value::BigInt(digits) => write_text(BIGINT, digits, out),
        Value::Symbol(key) => write_text(SYMBOL, key, out),
        Value::Array(items) => {
            out.push(ARRAY);
            write_count(items.len() as u64, out);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Record(fields) => {
            out.push(RECORD);
            write_count(fields.len() as u64, out);
            for (key, value) in fields {
                write_count(key.len() as u64, out);
                out.extend_from_slice(key.as_bytes());
                write(value, out);
            }
        }
        Value::Error { name, message } => {
            write_text(ERROR, name, out);
            write_count(message.len() as u64, out);
            out.extend_from_slice(message.as_bytes());
        }
        Value::Slot(index) => {
            out.push(SLOT);
            write_count(u64::from(*index), out);
        }
        Value::Named(index, name) => {
            out.push(NAMED);
            write_count(u64::from(*index), out);
            write_count(name.len() as u64, out);
            out.extend_from_slice(name.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            write_count(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Value::Tagged(tag, value) => {
            write_text(TAGGED, tag, out);
            write(value, out);
        }
    }
}

/// The one NaN that is ever written.
const CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

fn write_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    write_count(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// LEB128.
fn write_count(mut count: u64, out: &mut Vec<u8>) {
    while count >= 0x80 {
        out.push((count as u8 & 0x7f) | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Values and fields that may still come.
    left: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(DecodeError::Malformed)?;
        self.rest = tail;
        Ok(head)
    }

    /// LEB128 in its shortest form.
    fn count(&mut self) -> Result<u64, DecodeError> {
        let mut count = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(DecodeError::Malformed);
            }
            count |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(count);
            }
        }
        Err(DecodeError::Malformed)
    }

    /// A count of things that take at least one byte each, so that it can be trusted for a reservation.
    fn length(&mut self) -> Result<usize, DecodeError> {
        let count = self.count()?;
        if count > self.rest.len() as u64 {
            return Err(DecodeError::Malformed);
        }
        Ok(count as usize)
    }

    fn borrowed_text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        self.borrowed_text().map(str::to_owned)
    }

    /// Notes `count` more values or fields, before anything is made of them.
    fn count_values(&mut self, count: usize) -> Result<(), DecodeError> {
        self.left = self.left.checked_sub(count).ok_or(DecodeError::TooMany)?;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_VALUE_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        self.count_values(1)?;
        Ok(match self.take(1)?[0] {
            UNDEFINED => Value::Undefined,
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            NUMBER => Value::Number(self.number()?),
            STRING => Value::String(self.text()?),
            BIGINT => Value::BigInt(self.digits()?.to_owned()),
            SYMBOL => Value::Symbol(self.text()?),
            ARRAY => {
                let length = self.length()?;
                if length > self.left {
                    return Err(DecodeError::TooMany);
                }
                Value::Array((0..length).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            RECORD => {
                let length = self.length()?;
                self.count_values(length)?;
                let field = |_| Ok((self.text()?, self.value(depth + 1)?));
                Value::Record((0..length).map(field).collect::<Result<_, _>>()?)
            }
            ERROR => Value::Error { name: self.text()?, message: self.text()? },
            SLOT => Value::Slot(self.index()?),
            NAMED => {
                let (index, name) = self.named()?;
                Value::Named(index, name.to_owned())
            }
            BYTES => {
                let length = self.length()?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            TAGGED => Value::Tagged(self.text()?, Box::new(self.value(depth + 1)?)),
            _ => return Err(DecodeError::Malformed),
        })
    }

    /// As [`Reader::value`], without making one.
    fn scan(&mut self, depth: usize, see: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        if depth > MAX_VALUE_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        self.count_values(1)?;
        match self.take(1)?[0] {
            UNDEFINED | NULL | FALSE | TRUE => see(Part::Scalar),
            NUMBER => {
                self.number()?;
                see(Part::Scalar);
            }
            STRING => see(Part::String(self.borrowed_text()?)),
            BIGINT => see(Part::BigInt(self.digits()?)),
            SYMBOL => see(Part::Symbol(self.borrowed_text()?)),
            ARRAY => {
                let length = self.length()?;
                if length > self.left {
                    return Err(DecodeError::TooMany);
                }
                see(Part::Array(length));
                for _ in 0..length {
                    self.scan(depth + 1, see)?;
                }
            }
            RECORD => {
                let length = self.length()?;
                self.count_values(length)?;
                see(Part::Record(length));
                for _ in 0..length {
                    see(Part::Key(self.borrowed_text()?));
                    self.scan(depth + 1, see)?;
                }
            }
            ERROR => see(Part::Error { name: self.borrowed_text()?, message: self.borrowed_text()? }),
            SLOT => see(Part::Slot(self.index()?)),
            NAMED => {
                let (index, name) = self.named()?;
                see(Part::Named(index, name));
            }
            BYTES => {
                let length = self.length()?;
                see(Part::Bytes(self.take(length)?));
            }
            TAGGED => {
                see(Part::Tagged(self.borrowed_text()?));
                self.scan(depth + 1, see)?;
            }
            _ => return Err(DecodeError::Malformed),
        }
        Ok(())
    }

    /// An index and an interface name.
    fn named(&mut self) -> Result<(u32, &'a str), DecodeError> {
        let (index, name) = (self.index()?, self.borrowed_text()?);
        if is_interface_name(name) { Ok((index, name)) } else { Err(DecodeError::Malformed) }
    }

    fn index(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.count()?).map_err(|_| DecodeError::Malformed)
    }

    fn number(&mut self) -> Result<f64, DecodeError> {
        let bytes: [u8; 8] = self.take(8)?.try_into().expect("take gives as many bytes as were asked for");
        let number = f64::from_bits(u64::from_le_bytes(bytes));
        if number.is_nan() && number.to_bits() != CANONICAL_NAN {
            return Err(DecodeError::Malformed);
        }
        Ok(number)
    }

    /// Decimal digits as JavaScript prints a bigint: no leading zero, no `-0`.
    fn digits(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.borrowed_text()?;
        match text.len() {
            length if length > MAX_BIGINT_DIGITS => Err(DecodeError::LongBigInt),
            _ if is_decimal(text) => Ok(text),
            _ => Err(DecodeError::Malformed),
        }
    }
}

/// Whether `text` is what a bigint prints as.
pub fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && (!digits.starts_with('0') || text == "0")
}

/// Whether `text` can travel as the interface name of a reference: it is not empty, takes at most [`MAX_INTERFACE_BYTES`], and has no
/// control characters, since people read it in logs and on terminals.
pub fn is_interface_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_INTERFACE_BYTES && !text.chars().any(char::is_control)
}

/// Inside other encodings a value is its own bytes: the bounds of [`Value::decode`] hold wherever one is read.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Value;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the bytes of an encoded value")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
                Value::decode(bytes).map_err(|error| E::custom(format!("not an encoded value: {error:?}")))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

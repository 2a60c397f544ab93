//! Encodes values for the disk and the wire, and decodes them. No other module of this crate does.
//!
//! Invariants: every encoding begins with a version byte; decoding is bounded, never panics, and refuses trailing bytes.
//! Hashed and signed bytes do not come from here (see [`quorate_ids::Canonical`]).

use quorate_ids::decode_body;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

use crate::error::CodecError;

/// Version of every encoding made here.
pub const CODEC_VERSION: u8 = 4;

/// Bytes in the largest frame of proposals that is handed on to a leader.
pub(crate) const MAX_PROPOSE_FRAME_BYTES: usize = 8 << 20;

/// Bytes in the largest command: it must fit such a frame, beside what surrounds it. The largest real one is an installation with
/// its bundle of modules.
pub const MAX_COMMAND_BYTES: usize = MAX_PROPOSE_FRAME_BYTES - (4 << 10);

/// Bytes of commands after which a block is closed; a single larger command has a block for itself.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// Bytes in the largest manifest of a checkpoint: hashes of 131,072 pages of 4 KiB (a heap of 512 MiB), and the tables.
pub const MAX_MANIFEST_BYTES: usize = 8 << 20;

/// Bytes in the largest frame that this crate sends: one largest command or manifest, and room for what surrounds it.
pub const MAX_FRAME_BYTES: usize = MAX_PROPOSE_FRAME_BYTES + (2 << 20);

/// Bytes in the largest frame of a checkpoint transfer.
pub const MAX_SNAPSHOT_FRAME_BYTES: usize = 4 << 20;

/// Encodes a value, version first.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard());
    let mut bytes = vec![CODEC_VERSION];
    bytes.append(&mut body.expect("plain data always encodes into memory"));
    bytes
}

/// Decodes a value that [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != CODEC_VERSION {
        return Err(CodecError::Version { found: *version, expected: CODEC_VERSION });
    }
    if body.len() > MAX_FRAME_BYTES {
        return Err(CodecError::TooLarge { size: body.len(), limit: MAX_FRAME_BYTES });
    }
    let (value, used) =
        decode_body::<T, { MAX_FRAME_BYTES + 64 }>(body).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if used != body.len() {
        return Err(CodecError::Trailing(body.len() - used));
    }
    Ok(value)
}

/// Bytes that are shared and encode as one run rather than one by one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Arc<[u8]>);

impl Default for Blob {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;
        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = sequence.next_element::<u8>()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

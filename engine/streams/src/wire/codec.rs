//! The one place where this crate meets bincode.
//!
//! Every encoding begins with a version byte. Decoding is bounded by a limit given by the caller, refuses other versions
//! and trailing bytes, and never panics. Received bytes are kept, signed and hashed as they came: nothing is re-encoded.

use quorate_ids::decode_body;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use thiserror::Error;

/// Why bytes were not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("empty")]
    Empty,
    #[error("version {found}, but only {expected} is known")]
    Version { expected: u8, found: u8 },
    #[error("{0} bytes are more than allowed")]
    TooLong(usize),
    #[error("malformed")]
    Malformed,
}

/// The version byte, then the value in bincode's standard configuration.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("plain data always encodes into memory");
    bytes
}

/// Reads what [`encode`] made from at most `LIMIT` bytes.
pub fn decode<T: DeserializeOwned, const LIMIT: usize>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (&found, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if bytes.len() > LIMIT {
        return Err(CodecError::TooLong(bytes.len()));
    }
    if found != version {
        return Err(CodecError::Version { expected: version, found });
    }
    match decode_body::<T, LIMIT>(rest) {
        Ok((value, used)) if used == rest.len() => Ok(value),
        _ => Err(CodecError::Malformed),
    }
}

/// Shared bytes that encode as one run instead of one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBytes(pub Arc<[u8]>);

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes::deserialize(deserializer).map(|bytes| SharedBytes(bytes.into()))
    }
}

/// `#[serde(with = …)]` for `Vec<u8>`: the same bytes as the default, read and written in one run.
pub mod bytes {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Run;
        impl de::Visitor<'_> for Run {
            type Value = Vec<u8>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Run)
    }
}

/// `#[serde(with = …)]` for `Vec<Vec<u8>>`.
pub mod byte_lists {
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    struct Owned(#[serde(with = "super::bytes")] Vec<u8>);

    #[derive(Serialize)]
    struct Borrowed<'a>(#[serde(serialize_with = "super::bytes::serialize")] &'a [u8]);

    pub fn serialize<S: Serializer>(lists: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(lists.len()))?;
        for list in lists {
            sequence.serialize_element(&Borrowed(list))?;
        }
        sequence.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Ok(Vec::<Owned>::deserialize(deserializer)?.into_iter().map(|owned| owned.0).collect())
    }
}

//! The identifiers of vats and hosts, hashes, and the canonical writer for hashes and signatures. All other crates share these,
//! and share nothing else.
//!
//! Invariants: an identifier is 32 bytes. Its text is 64 lowercase hexadecimal digits, its encoding the bytes, its order theirs.
//! Hashed and signed bytes never come from a serialisation library, but from [`Canonical`], whose layout is fixed here
//! (big-endian integers, length-prefixed bytes, a domain string first). So two different values never share an encoding, and
//! no upgrade of an encoder changes an identity.

mod bounded;

pub use bounded::decode_body;

use serde::de::Error as _;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Text that is not the hexadecimal form of an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {expected} (64 hexadecimal digits): {text:?}")]
pub struct IdError {
    /// The type that was expected.
    pub expected: &'static str,
    /// What was found, shortened.
    pub text: String,
}

macro_rules! bytes32 {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), &hex::encode(self.0)[..12])
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0u8; 32];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| IdError { expected: stringify!($name), text: text.chars().take(80).collect() })?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&hex::encode(self.0))
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

bytes32! {
    /// A vat: the hash of its genesis. It never changes.
    VatId
}
bytes32! {
    /// A SHA-256.
    Hash
}
bytes32! {
    /// A host: its Ed25519 public key. It authenticates the host's connections and verifies what it signs as a member.
    HostId
}

impl Hash {
    /// All zeroes: "there is none" (no previous statement, nothing newly said).
    pub const ZERO: Hash = Hash([0; 32]);

    /// SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }

    /// SHA-256 of the parts, one after another. A caller that joins parts of variable length includes their lengths.
    pub fn of_parts(parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }
}

/// `#[serde(with = "quorate_ids::hash_list")]` for `Vec<Hash>`: one run of bytes, 32 for each hash. One byte at a time, as serde has arrays, some
/// thousands of them take milliseconds.
pub mod hash_list {
    use super::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::fmt;

    /// Writes the hashes; where people read, as a list of their texts.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_seq(hashes);
        }
        let mut bytes = Vec::with_capacity(hashes.len() * 32);
        hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
        serializer.serialize_bytes(&bytes)
    }

    /// Reads what [`serialize`] wrote.
    ///
    /// # Errors
    /// Those of the deserializer, and a run that is no whole number of hashes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        struct Run;
        impl de::Visitor<'_> for Run {
            type Value = Vec<Hash>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("hashes of 32 bytes each")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<Hash>, E> {
                let (hashes, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(hashes.iter().copied().map(Hash).collect())
            }
        }
        if deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        deserializer.deserialize_bytes(Run)
    }
}

/// Builds the bytes that are hashed or signed. Begins with a domain, so that no two kinds of things collide.
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// Begins with the domain: a string with a version in it.
    pub fn new(domain: &str) -> Self {
        let mut writer = Self(Vec::with_capacity(256));
        writer.bytes(domain.as_bytes());
        writer
    }

    /// Adds an integer, big-endian.
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds 32 bytes.
    pub fn fixed(&mut self, value: &[u8; 32]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    /// Adds bytes, their length first.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(value.len() as u64).to_be_bytes());
        self.0.extend_from_slice(value);
        self
    }

    /// The bytes so far.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// The hash of the bytes so far.
    pub fn hash(self) -> Hash {
        Hash::of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let hash = Hash::of_parts(&[b"quo", b"rate"]);
        assert_eq!(hash, Hash::of(b"quorate"));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string(), hash.to_string().to_lowercase());
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            let expected = IdError { expected: "VatId", text: text.to_owned() };
            assert_eq!(text.parse::<VatId>(), Err(expected), "{text}");
        }
        let long = "1".repeat(1_000).parse::<HostId>();
        assert!(long.is_err_and(|error| error.text.len() == 80), "an error does not repeat all that was given");
        assert_eq!(format!("{:?}", VatId([0xab; 32])), "VatId(abababababab)");
    }

    #[test]
    fn canonical_bytes_have_a_fixed_layout() {
        let mut writer = Canonical::new("d/1");
        writer.number(258).bytes(&[7]).fixed(&[9; 32]);
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 3];
        expected.extend(b"d/1");
        expected.extend([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
        expected.extend([9; 32]);
        assert_eq!(writer.finish(), expected);
    }
}

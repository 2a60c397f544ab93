//! The two 32-byte names of this crate: a [`Hash`] of content and a [`VatId`].
//!
//! Invariants: text form is 64 lowercase hex digits both ways; ordering is that of the bytes. Other crates have their own
//! newtypes over the same bytes; `node` converts.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct ParseIdError;

macro_rules! bytes32 {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes of the name.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&hex::encode(self.0))
            }
        }

        /// Short, for logs and failed assertions: the first four bytes.
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({}…)"), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
                Ok($name(bytes))
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                $name(bytes)
            }
        }
    };
}

bytes32! {
    /// SHA-256 of something.
    Hash
}

bytes32! {
    /// A vat's name: the hash of its genesis, which other crates compute.
    VatId
}

impl Hash {
    /// SHA-256 of the parts, one after another. Whoever joins parts of variable length puts their lengths in.
    pub fn of(parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let hash = Hash::of(&[b"quo", b"rate"]);
        assert_eq!(hash, Hash::of(&[b"quorate"]));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string(), hash.to_string().to_lowercase());
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(text.parse::<VatId>(), Err(ParseIdError), "{text}");
        }
        assert_eq!(format!("{:?}", VatId([0xab; 32])), "VatId(abababab…)");
    }
}

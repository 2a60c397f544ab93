//! Encodes and decodes `node`'s values: a version byte, then bincode's standard configuration. No other module does.
//!
//! Decoding refuses other versions, trailing bytes, and length prefixes that claim more than [`DECODE_LIMIT_BYTES`]. Bytes
//! that were signed or hashed are kept as they came, and never encoded again.

use quorate_ids::decode_body;
use serde::{Serialize, de::DeserializeOwned};

/// First byte of every encoding made here.
pub const NODE_CODEC_VERSION: u8 = 4;

/// The most that a decoder will reserve: above the largest frame of any purpose.
pub const DECODE_LIMIT_BYTES: usize = 64 << 20;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Made by another version of the software.
    #[error("encoding version {0} is not known here (this build reads version {NODE_CODEC_VERSION})")]
    Version(u8),
    /// Empty, truncated, oversized, trailing or malformed.
    #[error("malformed bytes")]
    Malformed,
}

/// Encodes `value` with the version byte in front.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![NODE_CODEC_VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("plain data always encodes into memory");
    bytes
}

/// Decodes what [`encode`] made.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Malformed)?;
    if version != NODE_CODEC_VERSION {
        return Err(CodecError::Version(version));
    }
    match decode_body::<T, DECODE_LIMIT_BYTES>(rest) {
        Ok((value, used)) if used == rest.len() => Ok(value),
        _ => Err(CodecError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_versions_truncation_and_trailing_bytes() {
        let bytes = encode(&("vat", 7u64));
        assert_eq!(decode::<(String, u64)>(&bytes), Ok(("vat".to_owned(), 7)));
        assert_eq!(decode::<(String, u64)>(&[]), Err(CodecError::Malformed));
        assert_eq!(decode::<(String, u64)>(&bytes[..bytes.len() - 1]), Err(CodecError::Malformed));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(String, u64)>(&longer), Err(CodecError::Malformed));
        let mut other = bytes;
        other[0] = 9;
        assert_eq!(decode::<(String, u64)>(&other), Err(CodecError::Version(9)));
    }

    #[test]
    fn a_length_prefix_cannot_make_the_decoder_reserve_memory() {
        // A vector that claims u64::MAX elements.
        let mut bytes = vec![NODE_CODEC_VERSION, 253];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<Vec<u8>>(&bytes), Err(CodecError::Malformed));
        // A text of 38 MB in an answer of 17 bytes (a `SliceReply`), as fuzzing has found it.
        let found = hex::decode("0403fc3df846026efd5690ace39343f843").expect("hex");
        assert_eq!(decode::<(u8, String)>(&found), Err(CodecError::Malformed));
    }

    #[test]
    fn small_numbers_that_are_many_are_within_the_limit() {
        for count in [10, 200, 255, 300, 4_000, 4_090, 5_000, 65_000, 70_000] {
            let numbers = vec![1_u128; count];
            assert_eq!(decode::<Vec<u128>>(&encode(&numbers)), Ok(numbers), "{count}");
        }
    }

    #[test]
    fn a_list_of_hashes_is_one_run_of_whole_hashes() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Hashes(#[serde(with = "quorate_ids::hash_list")] Vec<quorate_ids::Hash>);
        let hashes = Hashes(vec![quorate_ids::Hash([1; 32]), quorate_ids::Hash([2; 32])]);
        let bytes = encode(&hashes);
        assert_eq!(bytes[..3], [NODE_CODEC_VERSION, 64, 1]);
        assert_eq!(decode::<Hashes>(&bytes).as_ref(), Ok(&hashes));
        for length in [0, 1, 31, 33, 63] {
            let run = [&[NODE_CODEC_VERSION, length][..], &bytes[2..2 + usize::from(length)]].concat();
            let expected = if length == 0 { Ok(Hashes(vec![])) } else { Err(CodecError::Malformed) };
            assert_eq!(decode::<Hashes>(&run), expected, "{length} bytes");
        }
        assert_eq!(serde_json::to_string(&hashes.0[..1]).expect("JSON"), format!("[\"{}\"]", "01".repeat(32)));
    }
}

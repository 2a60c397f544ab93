//! Decoding whose claims are believed only as far as the bytes go: for the codecs of all crates, each with versions and limits of its own.

use bincode::error::DecodeError;
use bincode::serde::decode_from_slice;
use serde::de::DeserializeOwned;

/// Reads a value from the beginning of some bytes, in bincode's standard configuration, and returns how many it took. A length in them is believed only as far
/// as the bytes are many: a few must not make the reader set aside `LIMIT`. (A number of one byte counts up to sixteen, so the classes are wide.)
///
/// # Errors
/// They are no such value, or claim more than they may.
pub fn decode_body<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    let config = bincode::config::standard();
    match bytes.len() {
        0..=0xff => decode_from_slice(bytes, config.with_limit::<{ 8 << 10 }>()),
        0x100..=0xfff => decode_from_slice(bytes, config.with_limit::<{ 128 << 10 }>()),
        0x1000..=0xffff => decode_from_slice(bytes, config.with_limit::<{ 2 << 20 }>()),
        _ => decode_from_slice(bytes, config.with_limit::<LIMIT>()),
    }
}

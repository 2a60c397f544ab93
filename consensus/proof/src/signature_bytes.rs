//! A 64-byte signature for serde, which knows arrays up to 32 only.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(value: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.serialize_str(&hex::encode(value));
    }
    let (mut first, mut second) = ([0u8; 32], [0u8; 32]);
    first.copy_from_slice(&value[..32]);
    second.copy_from_slice(&value[32..]);
    (first, second).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
    use serde::de::Error;
    let mut value = [0u8; 64];
    if deserializer.is_human_readable() {
        let text = String::deserialize(deserializer)?;
        hex::decode_to_slice(&text, &mut value).map_err(|_| D::Error::custom("not a signature of 128 digits"))?;
        return Ok(value);
    }
    let (first, second) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
    value[..32].copy_from_slice(&first);
    value[32..].copy_from_slice(&second);
    Ok(value)
}

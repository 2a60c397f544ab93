//! `#[serde(with = …)]` for [`CapData`]: the same bytes as the default, but the body is read and written in one run. (The type itself is the guest's, too.)

use super::{CapData, codec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
struct Borrowed<'a, S> {
    #[serde(serialize_with = "codec::bytes::serialize")]
    body: &'a [u8],
    slots: &'a [S],
}

#[derive(Deserialize)]
struct Owned<S> {
    #[serde(with = "codec::bytes")]
    body: Vec<u8>,
    slots: Vec<S>,
}

pub(super) fn serialize<T: Serialize, S: Serializer>(data: &CapData<T>, serializer: S) -> Result<S::Ok, S::Error> {
    Borrowed { body: &data.body, slots: &data.slots }.serialize(serializer)
}

pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<CapData<T>, D::Error> {
    Owned::deserialize(deserializer).map(|Owned { body, slots }| CapData { body, slots })
}

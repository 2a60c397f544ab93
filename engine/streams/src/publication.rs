//! The data that a vat can publish: values under names, which anybody reads without a message.

use crate::abi::value::Part;
use crate::abi::{MAX_PUBLISHED_NAME_BYTES, MAX_PUBLISHED_VALUE_BYTES, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Encoded values by their names, in the order of the names' bytes. Cheap to clone.
pub type Publications = Arc<BTreeMap<Arc<str>, Arc<[u8]>>>;

/// Returns whether something can be published under this name.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_PUBLISHED_NAME_BYTES).contains(&name.len())
}

/// Returns whether these bytes are a value that can be published: data of a bounded size.
pub fn is_publishable(value: &[u8]) -> bool {
    let mut is_data = true;
    let read = value.len() <= MAX_PUBLISHED_VALUE_BYTES
        && Value::scan(value, &mut |part| is_data &= !matches!(part, Part::Slot(_) | Part::Named(..))).is_ok();
    read && is_data
}

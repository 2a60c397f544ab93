//! Published data: values under names, which anybody reads without a message.
//!
//! The guest publishes by [`Output::Publish`](crate::abi::Output::Publish). The data is part of the state, and so of state roots. The
//! caller makes a tree over it, whose root the members sign with each block.
//!
//! Invariants: names and bytes are bounded, whatever a guest does. Values are data, without references. An undone crank publishes
//! nothing. All published data is that of the present code, since an upgrade clears it.

use crate::abi::{MAX_PUBLISHED, MAX_PUBLISHED_BYTES};
use crate::wire::codec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

pub use quorate_streams::publication::{Publications, is_name, is_publishable};

/// What is published now, and whether the present block has changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    entries: Publications,
    /// Bytes of all names and values.
    bytes: usize,
    changed: bool,
}

impl Published {
    /// Publishes a value under a name, or nothing any more. What the guest should have refused is left out. Returns how many bytes were looked
    /// at.
    pub fn set(&mut self, name: &str, value: Option<Vec<u8>>) -> usize {
        let looked_at = name.len() + value.as_ref().map_or(0, Vec::len);
        let before = self.entries.get(name).map(|value| name.len() + value.len());
        let left = self.bytes - before.unwrap_or(0);
        match value {
            None if before.is_none() => {}
            None => {
                Arc::make_mut(&mut self.entries).remove(name);
                (self.bytes, self.changed) = (left, true);
            }
            Some(value) => {
                let has_room = before.is_some() || self.entries.len() < MAX_PUBLISHED;
                let fits = has_room && left.saturating_add(looked_at) <= MAX_PUBLISHED_BYTES;
                if fits && is_name(name) && is_publishable(&value) {
                    Arc::make_mut(&mut self.entries).insert(name.into(), value.into());
                    (self.bytes, self.changed) = (left + looked_at, true);
                }
            }
        }
        looked_at
    }

    /// Withdraws everything.
    pub fn clear(&mut self) {
        self.changed |= !self.entries.is_empty();
        (self.entries, self.bytes) = (Publications::default(), 0);
    }

    /// Everything.
    pub fn all(&self) -> Publications {
        Arc::clone(&self.entries)
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everything, if it may have changed since this was last called.
    pub fn take_changed(&mut self) -> Option<Publications> {
        std::mem::take(&mut self.changed).then(|| self.all())
    }
}

/// In the tables: a list of names and values.
impl Serialize for Published {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(self.entries.iter().map(|(name, value)| (&**name, codec::SharedBytes(Arc::clone(value)))))
    }
}

impl<'de> Deserialize<'de> for Published {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<(String, codec::SharedBytes)>::deserialize(deserializer)?;
        let sorted = list.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !sorted || list.len() > MAX_PUBLISHED {
            return Err(D::Error::custom("what is published is out of order, or too much"));
        }
        let bytes = list.iter().map(|(name, value)| name.len() + value.0.len()).sum();
        let entries = list.into_iter().map(|(name, value)| (name.into(), value.0)).collect();
        Ok(Published { entries: Arc::new(entries), bytes, changed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{MAX_PUBLISHED_NAME_BYTES, MAX_PUBLISHED_VALUE_BYTES, Value};

    fn text(length: usize) -> Vec<u8> {
        Value::String("x".repeat(length)).encode()
    }

    fn names(published: &Published) -> Vec<String> {
        published.all().keys().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_is_published_is_there_until_it_is_withdrawn() {
        let mut published = Published::default();
        for name in ["b", "a", "é", "a"] {
            published.set(name, Some(text(1)));
        }
        assert_eq!(names(&published), ["a", "b", "é"]);
        assert!(published.take_changed().is_some());
        assert!(published.take_changed().is_none(), "once");
        published.set("c", None);
        assert!(published.take_changed().is_none(), "nothing was there");
        published.set("a", None);
        assert_eq!((names(&published), published.len()), (vec!["b".to_owned(), "é".to_owned()], 2));
        assert!(published.take_changed().is_some());
        published.clear();
        assert_eq!((published.len(), published.bytes), (0, 0));
        assert!(published.take_changed().is_some_and(|all| all.is_empty()));
        published.clear();
        assert!(published.take_changed().is_none());
    }

    #[test]
    fn whatever_a_guest_says_what_is_kept_is_bounded_and_is_data() {
        let mut published = Published::default();
        let with_slot = Value::Array(vec![Value::Slot(0)]).encode();
        let named = Value::Tagged("t".into(), Box::new(Value::Named(0, "Purse".into()))).encode();
        let cases = [
            ("", text(1)),
            (&*"n".repeat(MAX_PUBLISHED_NAME_BYTES + 1), text(1)),
            ("large", text(MAX_PUBLISHED_VALUE_BYTES)),
            ("slot", with_slot),
            ("named", named),
            ("malformed", vec![1, 99]),
            ("empty", vec![]),
        ];
        for (name, value) in cases {
            published.set(name, Some(value));
            assert_eq!(names(&published), Vec::<String>::new(), "{name}");
        }
        for number in 0..MAX_PUBLISHED + 10 {
            published.set(&format!("{number:04}"), Some(text(1)));
        }
        assert_eq!(published.len(), MAX_PUBLISHED);
        published.set("0000", Some(text(2)));
        assert_eq!(published.all().get("0000").map(|value| value.to_vec()), Some(text(2)), "one that is there");
        published.clear();
        for number in 0..40 {
            published.set(&format!("{number:04}"), Some(text(60 << 10)));
            assert!(published.bytes <= MAX_PUBLISHED_BYTES);
        }
        assert_eq!(published.len(), 17);
        // What makes room again is taken.
        published.set("0000", Some(text(1)));
        published.set("0020", Some(text(50 << 10)));
        assert_eq!(published.len(), 18);
    }

    #[test]
    fn what_is_published_is_the_same_after_a_checkpoint() {
        let mut published = Published::default();
        published.set("a", Some(text(3)));
        published.set("b", Some(text(9)));
        published.take_changed();
        let bytes = codec::encode(1, &published);
        assert_eq!(codec::decode::<Published, 1_000>(1, &bytes), Ok(published));
        let twice =
            codec::encode(1, &[("a", codec::SharedBytes(text(1).into())), ("a", codec::SharedBytes(text(2).into()))]);
        // An array has no length in front; a list has.
        let list = [&[twice[0], 2][..], &twice[1..]].concat();
        assert!(codec::decode::<Published, 1_000>(1, &list).is_err());
    }
}

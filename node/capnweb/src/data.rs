//! Values, and what they refer to.

use quorate_ids::VatId;
use quorate_streams::abi::Value;
use quorate_streams::client::ClientRef;

/// Something of a vat that the session talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Which of the session's vats.
    pub vat: usize,
    pub reference: ClientRef,
}

impl Remote {
    /// Returns whether the vat counts who holds it: an object other than its root.
    pub fn is_counted(&self) -> bool {
        matches!(self.reference, ClientRef::Object(id) if id != 0)
    }
}

/// What a value refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cap {
    /// An object of a vat, or a promise that the vat settles.
    Remote(Remote),
    /// What an export of this session stands for, or will.
    Entry(i64),
    /// An import: an object of the other side, or what it will answer.
    Mine(i64),
    /// An object of a vat that the session does not talk to.
    Elsewhere(VatId),
}

/// A value; [`Value::Slot`]s in it index `slots`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    pub value: Value,
    pub slots: Vec<Cap>,
}

impl Data {
    pub fn plain(value: Value) -> Data {
        Data { value, slots: Vec::new() }
    }

    pub fn error(name: &str, message: impl Into<String>) -> Data {
        Data::plain(Value::Error { name: name.to_owned(), message: message.into() })
    }

    /// A reference and nothing else.
    pub fn of(cap: Cap) -> Data {
        Data { value: Value::Slot(0), slots: vec![cap] }
    }

    /// Returns what it refers to, if it is a reference and nothing else.
    pub fn bare(&self) -> Option<Cap> {
        match self.value {
            Value::Slot(place) | Value::Named(place, _) => self.slots.get(place as usize).copied(),
            _ => None,
        }
    }

    /// The part of it that a property names.
    pub fn property(&self, name: &str) -> Option<Data> {
        let value = match &self.value {
            Value::Record(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()),
            Value::Array(items) if name == "length" => Some(Value::Number(items.len() as f64)),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|place| items.get(place).cloned()),
            Value::String(text) if name == "length" => Some(Value::Number(text.encode_utf16().count() as f64)),
            Value::Error { name: own, .. } if name == "name" => Some(Value::String(own.clone())),
            Value::Error { message, .. } if name == "message" => Some(Value::String(message.clone())),
            Value::Undefined | Value::Null => return None,
            _ => None,
        };
        Some(Data { value: value.unwrap_or(Value::Undefined), slots: self.slots.clone() })
    }
}

/// Makes slots of a value index a list in which theirs begin at `by`.
pub(super) fn shifted(value: Value, by: u32) -> Value {
    match value {
        Value::Slot(place) => Value::Slot(place + by),
        Value::Named(place, name) => Value::Named(place + by, name),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| shifted(item, by)).collect()),
        Value::Record(fields) => {
            Value::Record(fields.into_iter().map(|(key, value)| (key, shifted(value, by))).collect())
        }
        Value::Tagged(tag, value) => Value::Tagged(tag, Box::new(shifted(*value, by))),
        other => other,
    }
}

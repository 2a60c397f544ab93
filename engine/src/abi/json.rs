//! [`Value`] as JSON, for people: the command line and the HTTP interface.
//!
//! What JSON has stands for itself; the rest is an object with one key that begins with `@`:
//! `{"@bigint":"123"}`, `{"@number":"NaN"}`, `{"@slot":0}`, `{"@slot":[0,"interface name"]}`, `{"@error":{"name":…,"message":…}}`, `{"@symbol":"key"}`,
//! `{"@bytes":"00ff"}`, `{"@undefined":true}`, `{"@tagged":["tag",…]}`. A record with a single key that begins with `@` is
//! written as `{"@record":[[key,value]]}`, so that every value comes back as it was. Not a wire format.

use super::value::{is_decimal, is_interface_name};
use super::{MAX_VALUE_DEPTH, Value};
use serde_json::{Map, Number, Value as Json, json};
use thiserror::Error;

/// Why JSON does not stand for a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    #[error("nested deeper than {MAX_VALUE_DEPTH}")]
    TooDeep,
    #[error("{{\"{key}\": …}} is not well formed: {expected}")]
    Escape { key: String, expected: &'static str },
}

impl Value {
    /// JSON for people; an `undefined` that is the whole value is `null`.
    pub fn to_json(&self) -> Json {
        if *self == Value::Undefined { Json::Null } else { to_json(self) }
    }

    /// Reads what [`Value::to_json`] writes, and any other JSON.
    pub fn from_json(json: &Json) -> Result<Value, JsonError> {
        from_json(json, 0)
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Undefined => json!({ "@undefined": true }),
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => number_to_json(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::BigInt(digits) => json!({ "@bigint": digits }),
        Value::Symbol(key) => json!({ "@symbol": key }),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Record(fields) if needs_escape(fields) => {
            let pairs: Vec<Json> = fields.iter().map(|(key, value)| json!([key, to_json(value)])).collect();
            json!({ "@record": pairs })
        }
        Value::Record(fields) => {
            Json::Object(fields.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
        Value::Error { name, message } => json!({ "@error": { "name": name, "message": message } }),
        Value::Slot(index) => json!({ "@slot": index }),
        Value::Named(index, name) => json!({ "@slot": [index, name] }),
        Value::Bytes(bytes) => json!({ "@bytes": hex::encode(bytes) }),
        Value::Tagged(tag, value) => json!({ "@tagged": [tag, to_json(value)] }),
    }
}

fn needs_escape(fields: &[(String, Value)]) -> bool {
    matches!(fields, [(key, _)] if key.starts_with('@'))
}

fn number_to_json(number: f64) -> Json {
    /// Above this a double is not every integer.
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if number == 0.0 && number.is_sign_negative() {
        return json!({ "@number": "-0" });
    }
    if number.fract() == 0.0 && number.abs() <= SAFE {
        return Json::Number(Number::from(number as i64));
    }
    match Number::from_f64(number) {
        Some(finite) => Json::Number(finite),
        None if number.is_nan() => json!({ "@number": "NaN" }),
        None if number > 0.0 => json!({ "@number": "Infinity" }),
        None => json!({ "@number": "-Infinity" }),
    }
}

fn from_json(json: &Json, depth: usize) -> Result<Value, JsonError> {
    if depth > MAX_VALUE_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => {
            Value::Array(items.iter().map(|item| from_json(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => match single_escape(fields) {
            Some((key, content)) => escaped(key, content, depth)?,
            None => Value::Record(
                fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), from_json(value, depth + 1)?)))
                    .collect::<Result<_, _>>()?,
            ),
        },
    })
}

fn single_escape(fields: &Map<String, Json>) -> Option<(&str, &Json)> {
    let (key, content) = fields.iter().next()?;
    (fields.len() == 1 && key.starts_with('@')).then_some((key.as_str(), content))
}

fn escaped(key: &str, content: &Json, depth: usize) -> Result<Value, JsonError> {
    let wrong = |expected| JsonError::Escape { key: key.to_owned(), expected };
    let text = || content.as_str().map(str::to_owned);
    match key {
        "@undefined" => Ok(Value::Undefined),
        "@bigint" => {
            let digits = text().filter(|digits| is_decimal(digits));
            digits.map(Value::BigInt).ok_or_else(|| wrong("a string of decimal digits is needed"))
        }
        "@number" => match content.as_str() {
            Some("NaN") => Ok(Value::Number(f64::NAN)),
            Some("Infinity") => Ok(Value::Number(f64::INFINITY)),
            Some("-Infinity") => Ok(Value::Number(f64::NEG_INFINITY)),
            Some("-0") => Ok(Value::Number(-0.0)),
            _ => Err(wrong("one of \"NaN\", \"Infinity\", \"-Infinity\", \"-0\" is needed")),
        },
        "@symbol" => text().map(Value::Symbol).ok_or_else(|| wrong("a string is needed")),
        "@slot" => slot(content).ok_or_else(|| wrong("a small number, or one with an interface name, is needed")),
        "@bytes" => {
            let bytes = content.as_str().and_then(|digits| hex::decode(digits).ok());
            bytes.map(Value::Bytes).ok_or_else(|| wrong("a string of hexadecimal digits is needed"))
        }
        "@error" => {
            let part = |name| content.get(name).and_then(Json::as_str).map(str::to_owned);
            match (part("name"), part("message")) {
                (Some(name), Some(message)) => Ok(Value::Error { name, message }),
                _ => Err(wrong("an object with the strings name and message is needed")),
            }
        }
        "@tagged" => match content.as_array().map(Vec::as_slice) {
            Some([Json::String(tag), value]) => Ok(Value::Tagged(tag.clone(), Box::new(from_json(value, depth + 1)?))),
            _ => Err(wrong("an array of a string and a value is needed")),
        },
        "@record" => {
            let pairs = content.as_array().ok_or_else(|| wrong("an array of pairs is needed"))?;
            let field = |pair: &Json| match pair.as_array().map(Vec::as_slice) {
                Some([Json::String(name), value]) => Ok((name.clone(), from_json(value, depth + 1)?)),
                _ => Err(wrong("an array of pairs is needed")),
            };
            Ok(Value::Record(pairs.iter().map(field).collect::<Result<_, _>>()?))
        }
        _ => Err(wrong("this escape is unknown; to write such a record use {\"@record\": [[key, value]]}")),
    }
}

/// `0`, or `[0, "interface name"]`.
fn slot(content: &Json) -> Option<Value> {
    let index = |json: &Json| json.as_u64().and_then(|index| u32::try_from(index).ok());
    match content.as_array().map(Vec::as_slice) {
        None => index(content).map(Value::Slot),
        Some([number, Json::String(name)]) if is_interface_name(name) => {
            Some(Value::Named(index(number)?, name.clone()))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Value {
        Value::Array(vec![
            Value::Undefined,
            Value::Null,
            Value::Bool(true),
            Value::Number(1.5),
            Value::Number(-7.0),
            Value::Number(-0.0),
            Value::Number(f64::INFINITY),
            Value::Number(f64::NEG_INFINITY),
            Value::String("né".into()),
            Value::BigInt("-123456789012345678901234567890".into()),
            Value::Symbol("a.b".into()),
            Value::Record(vec![("z".into(), Value::Null), ("a".into(), Value::Array(vec![]))]),
            Value::Record(vec![("@slot".into(), Value::Number(1.0))]),
            Value::error("RangeError", "too far"),
            Value::Slot(3),
            Value::Named(2, "Purse é".into()),
            Value::Bytes(vec![0, 255]),
            Value::Tagged("t".into(), Box::new(Value::Null)),
        ])
    }

    #[test]
    fn bytes_and_json_round_trip() {
        let value = every_kind();
        assert_eq!(Value::decode(&value.encode()).unwrap(), value);
        assert_eq!(Value::from_json(&value.to_json()).unwrap(), value);
        assert_eq!(value.slot_bound(), 4);
        let through_serde: Value = super::super::decode(&super::super::encode(&value)).unwrap();
        assert_eq!(through_serde, value);
    }

    #[test]
    fn nan_is_canonical() {
        let odd = Value::Number(f64::from_bits(0xfff8_0000_0000_0001));
        assert_eq!(odd.encode(), Value::Number(f64::NAN).encode());
        assert_eq!(odd.to_json(), json!({ "@number": "NaN" }));
        let mut bytes = odd.encode();
        bytes[2] = 1;
        assert_eq!(Value::decode(&bytes), Err(super::super::DecodeError::Malformed));
    }

    #[test]
    fn truncations_and_bombs_are_refused() {
        let bytes = every_kind().encode();
        for end in 0..bytes.len() {
            assert!(Value::decode(&bytes[..end]).is_err(), "a prefix of {end} bytes was accepted");
        }
        let deep: Vec<u8> = [vec![1], [8, 1].repeat(100_000), vec![0]].concat();
        assert_eq!(Value::decode(&deep), Err(super::super::DecodeError::TooDeep));
        // Counted before anything is made of it: lists of nothing, leaves, and fields with their values.
        let many = |value: Value, count: usize| Value::decode(&Value::Array(vec![value; count]).encode()).err();
        let limit = super::super::MAX_VALUES;
        let fields = |count: usize| Value::Record((0..count).map(|i| (i.to_string(), Value::Null)).collect());
        for value in [Value::Array(vec![]), Value::Null, Value::Bytes(vec![])] {
            assert_eq!(many(value.clone(), limit - 1), None);
            assert_eq!(many(value, limit), Some(super::super::DecodeError::TooMany));
        }
        assert_eq!(Value::decode(&fields(limit / 2).encode()), Err(super::super::DecodeError::TooMany));
        assert!(Value::decode(&fields(limit / 2 - 1).encode()).is_ok());
        let limit_digits = super::super::MAX_BIGINT_DIGITS;
        let digits = |count: usize| Value::BigInt("9".repeat(count)).encode();
        assert!(Value::decode(&digits(limit_digits)).is_ok());
        assert_eq!(Value::decode(&digits(limit_digits + 1)), Err(super::super::DecodeError::LongBigInt));
        let wide = [1, 8, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Value::decode(&wide), Err(super::super::DecodeError::Malformed));
    }

    #[test]
    fn interface_names_are_bounded_and_printable() {
        for name in ["", "a\nb", "\u{1b}[2J", &"x".repeat(129)] {
            let bytes = Value::Named(0, name.to_owned()).encode();
            assert_eq!(Value::decode(&bytes), Err(super::super::DecodeError::Malformed), "{name:?}");
        }
        let longest = Value::Named(0, "x".repeat(128));
        assert_eq!(Value::decode(&longest.encode()), Ok(longest.clone()));
        assert_eq!((longest.as_slot(), longest.slot_bound()), (Some(0), 1));
    }

    #[test]
    fn json_escapes_are_checked() {
        let bad = [
            r#"{"@bigint":"01"}"#,
            r#"{"@slot":-1}"#,
            r#"{"@slot":[0]}"#,
            r#"{"@slot":[0,""]}"#,
            r#"{"@what":1}"#,
            r#"{"@error":{}}"#,
            r#"{"@bytes":"0"}"#,
        ];
        for bad in bad {
            let json: Json = serde_json::from_str(bad).unwrap();
            assert!(matches!(Value::from_json(&json), Err(JsonError::Escape { .. })), "{bad}");
        }
    }
}

//! Parses JSON without changing it.
//!
//! Invariant: a number arrives as it was written, or the text is refused. JavaScript's numbers are doubles, and a call with another
//! number than the intended one is worse than none. A text with two values of the same key is refused, too.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use std::fmt;

/// A text as it is named in messages: its beginning, if it is long.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

const DUPLICATE: &str = "is there twice";

/// Why a text is not read as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExactJsonError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// It is JSON that would arrive as something else: a number that no double is equal to, or an object with a key twice.
    #[error("{0}")]
    Changed(String),
}

/// Reads JSON of which nothing would be changed on the way.
///
/// # Errors
/// It is no JSON, or a part of it would be changed; the error says what to write instead.
pub fn read(text: &str) -> Result<Json, ExactJsonError> {
    if let Some(why) = inexact_number(text) {
        return Err(ExactJsonError::Changed(why));
    }
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(json)) => Ok(json),
        Err(error) if error.to_string().contains(DUPLICATE) => Err(ExactJsonError::Changed(error.to_string())),
        Err(error) => Err(ExactJsonError::Syntax(error.to_string())),
    }
}

/// JSON whose objects have each key once.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = fields.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key {key:?} {DUPLICATE}; only one of the values could be passed"
                )));
            }
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

/// Returns what is wrong with the first number in a JSON text that no double is equal to, and what to write instead.
fn inexact_number(text: &str) -> Option<String> {
    let structured = text.trim_start().starts_with(['{', '[']);
    if !structured {
        let text = text.trim();
        return (is_json_number(text) && !is_exact(text)).then(|| no_number(text));
    }
    // Numbers stand outside of strings.
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| letter == '"' || letter == '-' || letter.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(string) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = string.find(|letter: char| {
                let ends = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                ends
            });
            rest = &string[end? + 1..];
            continue;
        }
        let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.' | 'e' | 'E');
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let number = &rest[..end];
        if is_json_number(number) && !is_exact(number) {
            return Some(no_number(number));
        }
        rest = &rest[end..];
    }
    None
}

/// Returns why a text that looks like a number can't be passed as one, and what can.
pub fn no_number(text: &str) -> String {
    let digits: String = text.strip_suffix('n').unwrap_or(text).replace('_', "");
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    let (sign, absolute) = digits.strip_prefix('-').map_or(("", digits), |absolute| ("-", absolute));
    let string = Json::String(text.to_owned());
    let shown = shortened(text);
    if matches!(absolute, "NaN" | "Infinity") {
        return format!(
            r#"{shown} is no JSON; write {{"@number":"{sign}{absolute}"}} for that number, or {string} for a string"#
        );
    }
    let integer = absolute.trim_start_matches('0');
    let as_string = if string.to_string().len() > 100 { "it in quotes".to_owned() } else { string.to_string() };
    if !absolute.is_empty() && absolute.bytes().all(|byte| byte.is_ascii_digit()) {
        let integer = if integer.is_empty() { "0" } else { integer };
        let bigint = if integer.len() > 60 { "DIGITS" } else { integer };
        let sign = if integer == "0" { "" } else { sign };
        return format!(
            r#"{shown} is not exactly a JavaScript number; write {{"@bigint":"{sign}{bigint}"}} for a bigint, or {as_string} for a string"#
        );
    }
    match text.parse::<f64>() {
        Ok(nearest) if nearest.is_finite() => {
            format!(
                "{shown} is not exactly a JavaScript number; write {nearest:?} for the nearest one, or {as_string} for a string"
            )
        }
        Ok(_) => format!("{shown} is larger than any JavaScript number; write {as_string} for a string"),
        Err(_) => format!("{shown} is no number in JSON; write it as JSON does, or {as_string} for a string"),
    }
}

/// Returns whether a text is a number by JSON's grammar.
fn is_json_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    all_digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|exponent| all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Returns whether the double that a JSON number is read as is shown as that number again: the digits that were written are all there.
fn is_exact(text: &str) -> bool {
    let Ok(number) = text.parse::<f64>() else { return false };
    number.is_finite() && decimal(text) == decimal(&format!("{number:e}"))
}

/// A number's digits without zeros around them, and the power of ten of the last one; none if that is out of all bounds.
fn decimal(text: &str) -> Option<(String, i64)> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    let exponent: i64 = exponent.parse().ok()?;
    let shift = i64::try_from(digits.len() - significant.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    Some((significant.to_owned(), exponent.checked_add(shift)?))
}

/// Returns whether a text that is no JSON was probably meant as a number.
pub fn looks_like_number(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(rest, "NaN" | "Infinity") {
        return true;
    }
    let rest = rest.strip_suffix('n').unwrap_or(rest);
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
        if let Some(digits) = rest.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix) || digit == '_');
        }
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let dots = mantissa.bytes().filter(|byte| *byte == b'.').count();
    let begins_well = mantissa.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    let fits = mantissa.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'));
    exponent_fits && digits > 0 && dots <= 1 && begins_well && fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_changed_is_told_from_what_is_no_json() {
        assert_eq!(read(r#"{"a":[1.5,"1e400"]}"#), Ok(serde_json::json!({ "a": [1.5, "1e400"] })));
        for text in ["12345678901234567890", r#"[1e400]"#, r#"{"a":1,"a":2}"#, r#"[{"a":1,"\u0061":2}]"#] {
            assert!(matches!(read(text), Err(ExactJsonError::Changed(_))), "{text}");
        }
        for text in ["", "[", "{]", "hello", "[1] 2"] {
            assert!(matches!(read(text), Err(ExactJsonError::Syntax(_))), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read(&deep), Err(ExactJsonError::Syntax(_))));
    }

    /// The shortest text of a double is that double again. Of these, every third was read as a neighbour once.
    #[test]
    fn numbers_arrive_to_the_last_bit() {
        assert_eq!(read("96e23").map(|json| json.to_string()).as_deref(), Ok("9.6e+24"));
        let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            if number.is_finite() {
                let text = format!("[{number:e}]");
                assert_eq!(read(&text).map(|json| json[0].as_f64()), Ok(Some(number)), "{text}");
            }
        }
    }
}

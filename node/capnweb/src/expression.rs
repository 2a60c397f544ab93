//! Expressions of Cap'n Web: what stands in its messages for values and references
//! (<https://github.com/cloudflare/capnweb>, the page *Wire Protocol* of its documentation).
//!
//! All of JSON but arrays stands for itself; an array is a form, named by its first element, and one array in another is an array. What vats
//! have no value for (dates, blobs, streams, requests) is refused by name, where it is used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use quorate_streams::abi::value::is_decimal;
use quorate_streams::abi::{MAX_BIGINT_DIGITS, MAX_VALUE_DEPTH, Value};
use serde_json::{Map, Number, Value as Json, json};

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// A value without parts.
    Plain(Value),
    Array(Vec<Expression>),
    Record(Vec<(String, Expression)>),
    /// Something that this side has exported, a property of it, or the result of calling that.
    Import(Import),
    /// An object of the other side.
    Export(i64),
    /// A promise of the other side.
    Promise(i64),
    /// What can't be given to a vat, and why.
    Refused(String),
}

/// A reference to an export.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Import {
    pub id: i64,
    /// Whether it is meant itself, and not what becomes of it.
    pub is_stub: bool,
    pub path: Vec<String>,
    /// Those of the call, if it is one.
    pub args: Option<Vec<Expression>>,
}

impl Import {
    /// An export as it is, or what becomes of it.
    pub fn whole(id: i64, is_stub: bool) -> Import {
        Import { id, is_stub, path: Vec::new(), args: None }
    }

    /// Returns whether nothing is done to it.
    pub fn is_whole(&self) -> bool {
        self.path.is_empty() && self.args.is_none()
    }
}

/// Reads an expression.
///
/// # Errors
/// It is none, which ends a session: the text says why.
pub(super) fn read(json: &Json) -> Result<Expression, String> {
    read_at(json, 0)
}

fn read_at(json: &Json, depth: usize) -> Result<Expression, String> {
    if depth > MAX_VALUE_DEPTH {
        return Err(format!("an expression that is nested deeper than {MAX_VALUE_DEPTH}"));
    }
    Ok(match json {
        Json::Null => Expression::Plain(Value::Null),
        Json::Bool(flag) => Expression::Plain(Value::Bool(*flag)),
        Json::Number(number) => Expression::Plain(Value::Number(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => Expression::Plain(Value::String(text.clone())),
        Json::Object(fields) => {
            let read = |(key, value): (&String, &Json)| Ok((key.clone(), read_at(value, depth + 1)?));
            Expression::Record(fields.iter().map(read).collect::<Result<_, String>>()?)
        }
        Json::Array(items) => match &items[..] {
            [Json::Array(items)] => Expression::Array(read_all(items, depth)?),
            [Json::String(form), rest @ ..] => read_form(form, rest, depth)?,
            _ => return Err("an array that is no expression".to_owned()),
        },
    })
}

fn read_all(items: &[Json], depth: usize) -> Result<Vec<Expression>, String> {
    items.iter().map(|item| read_at(item, depth + 1)).collect()
}

fn read_form(form: &str, rest: &[Json], depth: usize) -> Result<Expression, String> {
    let wrong = || format!("a malformed `{form}` expression");
    let plain = |value| Ok(Expression::Plain(value));
    match (form, rest) {
        ("undefined", []) => plain(Value::Undefined),
        ("inf", []) => plain(Value::Number(f64::INFINITY)),
        ("-inf", []) => plain(Value::Number(f64::NEG_INFINITY)),
        ("nan", []) => plain(Value::Number(f64::NAN)),
        ("bigint", [Json::String(digits)]) if digits.len() > MAX_BIGINT_DIGITS => Ok(Expression::Refused(format!(
            "a bigint has at most {MAX_BIGINT_DIGITS} digits; send it as text or bytes"
        ))),
        ("bigint", [Json::String(digits)]) if is_decimal(digits) => plain(Value::BigInt(digits.clone())),
        ("bytes", [Json::String(text), kind @ ..]) => match kind {
            [] => bytes(text).map(|bytes| Expression::Plain(Value::Bytes(bytes))).ok_or_else(wrong),
            [Json::String(kind)] if kind == "Uint8Array" || kind == "ArrayBuffer" => {
                bytes(text).map(|bytes| Expression::Plain(Value::Bytes(bytes))).ok_or_else(wrong)
            }
            [Json::String(kind)] => {
                Ok(Expression::Refused(format!("a vat has no {kind}: send an ArrayBuffer or a Uint8Array")))
            }
            _ => Err(wrong()),
        },
        ("error", [Json::String(name), Json::String(message), ..]) => {
            plain(Value::Error { name: name.clone(), message: message.clone() })
        }
        ("import" | "pipeline", [id, rest @ ..]) => {
            let id = read_id(id).ok_or_else(wrong)?;
            let (path, args) = match rest {
                [] => (Vec::new(), None),
                [path] => (read_path(path).ok_or_else(wrong)?, None),
                [path, Json::Array(args)] => (read_path(path).ok_or_else(wrong)?, Some(read_all(args, depth)?)),
                _ => return Err(wrong()),
            };
            Ok(Expression::Import(Import { id, is_stub: form == "import", path, args }))
        }
        ("export", [id]) => read_id(id).map(Expression::Export).ok_or_else(wrong),
        ("promise", [id]) => read_id(id).map(Expression::Promise).ok_or_else(wrong),
        ("date" | "url", [_]) => Ok(Expression::Refused(format!("a vat has no {form}: send its number or text"))),
        ("remap", _) => Ok(Expression::Refused("`map` is not done for vats: call a method that does it there".into())),
        ("blob" | "headers" | "request" | "response" | "readable" | "writable", _) => {
            Ok(Expression::Refused(format!("a vat has no {form}: send its content as text or bytes")))
        }
        ("undefined" | "inf" | "-inf" | "nan" | "bigint" | "error" | "date" | "url", _) => Err(wrong()),
        _ => Err(format!("`{form}` is no expression that is known here")),
    }
}

/// A number of a table's entry.
pub(super) fn read_id(json: &Json) -> Option<i64> {
    /// Above this a double is not every integer.
    const MAX: u64 = (1 << 53) - 1;
    json.as_i64().filter(|id| id.unsigned_abs() <= MAX)
}

/// Names of properties, or places in arrays.
fn read_path(json: &Json) -> Option<Vec<String>> {
    let name = |step: &Json| match step {
        Json::String(name) => Some(name.clone()),
        Json::Number(place) => place.as_u64().map(|place| place.to_string()),
        _ => None,
    };
    match json {
        Json::Null => Some(Vec::new()),
        Json::Array(steps) => steps.iter().map(name).collect(),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Writes a value; `slot` gives the expression of a reference.
///
/// # Errors
/// Cap'n Web has no form for it, or `slot` has none.
pub(super) fn write(value: &Value, slot: &mut impl FnMut(u32) -> Result<Json, String>) -> Result<Json, String> {
    Ok(match value {
        Value::Undefined => json!(["undefined"]),
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(number) => match Number::from_f64(*number) {
            Some(_)
                if number.fract() == 0.0 && number.abs() < 9e15 && (*number != 0.0 || number.is_sign_positive()) =>
            {
                Json::Number(Number::from(*number as i64))
            }
            Some(finite) => Json::Number(finite),
            None if number.is_nan() => json!(["nan"]),
            None if *number > 0.0 => json!(["inf"]),
            None => json!(["-inf"]),
        },
        Value::String(text) => Json::String(text.clone()),
        Value::BigInt(digits) => json!(["bigint", digits]),
        Value::Array(items) => {
            let items: Vec<Json> = items.iter().map(|item| write(item, slot)).collect::<Result<_, _>>()?;
            json!([items])
        }
        Value::Record(fields) => {
            let mut record = Map::new();
            for (key, value) in fields {
                record.insert(key.clone(), write(value, slot)?);
            }
            Json::Object(record)
        }
        Value::Error { name, message } => json!(["error", name, message]),
        Value::Slot(place) | Value::Named(place, _) => slot(*place)?,
        Value::Bytes(bytes) => json!(["bytes", STANDARD_NO_PAD.encode(bytes)]),
        Value::Symbol(key) => return Err(format!("Cap'n Web has no form for a symbol (`{key}`)")),
        Value::Tagged(tag, _) => return Err(format!("Cap'n Web has no form for tagged data (`{tag}`)")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Expression, String> {
        read(&serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn what_vats_have_comes_back_as_it_was() {
        let values = [
            Value::Undefined,
            Value::Null,
            Value::Bool(true),
            Value::Number(1.5),
            Value::Number(-7.0),
            Value::Number(1e300),
            Value::Number(f64::INFINITY),
            Value::Number(f64::NEG_INFINITY),
            Value::String("é\"\n".into()),
            Value::BigInt("-123456789012345678901234567890".into()),
            Value::Error { name: "TypeError".into(), message: "no".into() },
            Value::Bytes(vec![]),
            Value::Bytes(vec![0, 255, 7, 9]),
        ];
        for value in &values {
            let written = write(value, &mut |_| Err("no slots".into())).expect("it can be written");
            let text = written.to_string();
            assert_eq!(read_text(&text), Ok(Expression::Plain(value.clone())), "{text}");
        }
        let zero = write(&Value::Number(-0.0), &mut |_| Err(String::new())).expect("it can be written");
        let Ok(Expression::Plain(Value::Number(zero))) = read_text(&zero.to_string()) else { panic!("{zero}") };
        assert!(zero == 0.0 && zero.is_sign_negative());
        let nan = write(&Value::Number(f64::NAN), &mut |_| Err(String::new())).expect("it can be written");
        assert_eq!(nan, json!(["nan"]));
        let nested = Value::Record(vec![("list".into(), Value::Array(vec![Value::Number(1.0), Value::Slot(3)]))]);
        let written = write(&nested, &mut |place| Ok(json!(["export", -i64::from(place)]))).expect("written");
        assert_eq!(written, json!({ "list": [[1, ["export", -3]]] }));
    }

    #[test]
    fn forms_are_read_and_what_vats_lack_is_refused_by_name() {
        let call = Expression::Import(Import {
            id: 3,
            is_stub: false,
            path: vec!["a".into(), "0".into()],
            args: Some(vec![Expression::Export(-2)]),
        });
        assert_eq!(read_text(r#"["pipeline",3,["a",0],[["export",-2]]]"#), Ok(call));
        assert_eq!(read_text(r#"["import",0]"#), Ok(Expression::Import(Import::whole(0, true))));
        assert_eq!(read_text(r#"["promise",-1]"#), Ok(Expression::Promise(-1)));
        assert_eq!(read_text(r#"["bytes","AAE=","ArrayBuffer"]"#), Ok(Expression::Plain(Value::Bytes(vec![0, 1]))));
        for (text, named) in [
            (r#"["date",17]"#, "date"),
            (r#"["blob","",["readable",1]]"#, "blob"),
            (r#"["headers",[]]"#, "headers"),
            (r#"["request","http://x",{}]"#, "request"),
            (r#"["writable",-1]"#, "writable"),
            (r#"["remap",1,[],[],[]]"#, "map"),
            (r#"["bytes","AA","Float64Array"]"#, "Float64Array"),
        ] {
            let Ok(Expression::Refused(why)) = read_text(text) else { panic!("{text}") };
            assert!(why.contains(named), "{why}");
        }
        let long = format!(r#"["bigint","{}"]"#, "9".repeat(MAX_BIGINT_DIGITS + 1));
        assert!(matches!(read_text(&long), Ok(Expression::Refused(_))));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        let deep = format!("{}1{}", "[[".repeat(MAX_VALUE_DEPTH + 2), "]]".repeat(MAX_VALUE_DEPTH + 2));
        for text in [
            "[]",
            "[1]",
            "[[1],2]",
            r#"["nothing"]"#,
            r#"["bigint","x"]"#,
            r#"["bigint",1]"#,
            r#"["bytes","*"]"#,
            r#"["bytes",1]"#,
            r#"["import"]"#,
            r#"["import","1"]"#,
            r#"["pipeline",1,"a"]"#,
            r#"["pipeline",1,[{}]]"#,
            r#"["pipeline",1,[],{}]"#,
            r#"["export"]"#,
            r#"["promise",1.5]"#,
            r#"["error","only a name"]"#,
            r#"["undefined",1]"#,
        ] {
            assert!(read_text(text).is_err(), "{text}");
        }
        // JSON as deep as this is refused when it is read.
        assert!(serde_json::from_str::<Json>(&deep).is_err());
    }
}

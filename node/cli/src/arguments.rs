//! Arguments of calls and of code, as people write them: JSON, a bare string, or a file with either.
//!
//! A number arrives as it was written, or the argument is refused ([`exact_json`]).

use super::{Exit, Failure, output};
use quorate_engine::abi::Value;
use quorate_protocol::exact_json::{self, ExactJsonError, looks_like_number, no_number, shortened};
use serde_json::Value as Json;
use std::{
    fmt, fs,
    io::{self, Read},
};

/// Bytes of an argument that is read from a file; more than a message to a vat may have.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

fn usage(message: impl fmt::Display) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Reads an argument of `vat call`: `@FILE` is what the file holds, `@-` what standard input does, `@@…` a text that begins with `@`.
/// `references` finds what a reference is that is written `ref:NAME`, or `{"@ref":"NAME"}` in JSON.
pub fn read_argument(text: &str, references: &mut dyn References) -> Result<Value, Failure> {
    if let Some(name) = text.strip_prefix("ref:") {
        return Ok(Value::Slot(references.slot(name)?));
    }
    match text.strip_prefix('@') {
        None => parse_named(&shortened(text), text, references),
        Some(rest) if rest.starts_with('@') => parse_named(&shortened(rest), rest, references),
        Some("-") => parse_file("standard input", io::stdin().lock(), references),
        Some("") => {
            Err(usage("@: the name of a file is missing; write @FILE, @- for standard input, or @@ for the text @"))
        }
        Some(file) => {
            let opened = fs::File::open(file).map_err(|error| {
                usage(format!("{text}: {error}; a text that begins with @ is written with two: @{text}"))
            })?;
            parse_file(file, opened, references)
        }
    }
}

fn parse_file(name: &str, file: impl Read, references: &mut dyn References) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| usage(format!("{name}: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(usage(format!("{name}: over {MAX_FILE_BYTES} bytes, more than a call can carry")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| usage(format!("{name}: not text in UTF-8; bytes are written as JSON: {{\"@bytes\":\"00ff\"}}")))?;
    // The last line's end belongs to the file, not to the text.
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    parse_named(name, text, references)
}

/// References that arguments may name.
pub trait References {
    /// The number of a reference among those of the call.
    ///
    /// # Errors
    /// There is none of this name, or it can't be an argument here.
    fn slot(&mut self, name: &str) -> Result<u32, Failure>;
}

/// For arguments that name no references.
pub struct NoReferences;

impl References for NoReferences {
    fn slot(&mut self, name: &str) -> Result<u32, Failure> {
        Err(usage(format!("ref:{name}: a kept reference can be an argument of `vat call` only")))
    }
}

/// An argument's text: JSON, or else a bare string.
pub fn parse_value(text: &str) -> Result<Value, Failure> {
    parse_named(&shortened(text), text, &mut NoReferences)
}

/// Puts the numbers of references in the place of their names. A number that stands there already means nothing from outside.
fn number_references(json: &mut Json, references: &mut dyn References) -> Result<(), Failure> {
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(|item| number_references(item, references)),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@slot") => Err(usage(
            "{\"@slot\": …}: a reference in a result has a number only there; `vat call` prints a name for it, and {\"@ref\":\"NAME\"} or ref:NAME passes it on",
        )),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@ref") => {
            let Some(name) = fields["@ref"].as_str() else {
                return Err(usage(
                    "{\"@ref\": …}: the name of a kept reference is needed, a string; `vat ref kept` lists them",
                ));
            };
            let name = name.strip_prefix("ref:").unwrap_or(name);
            *json = serde_json::json!({ "@slot": references.slot(name)? });
            Ok(())
        }
        Json::Object(fields) => fields.values_mut().try_for_each(|value| number_references(value, references)),
        _ => Ok(()),
    }
}

fn parse_named(name: &str, text: &str, references: &mut dyn References) -> Result<Value, Failure> {
    let mut json = match exact_json::read(text) {
        Ok(json) => json,
        Err(ExactJsonError::Changed(why)) => return Err(usage(format!("{name}: {why}"))),
        Err(ExactJsonError::Syntax(error)) => {
            if text.trim_start().starts_with(['{', '[']) {
                output::note(format!("note: {name} is not JSON ({error}), so it is passed as a string"));
            } else if looks_like_number(text.trim()) {
                return Err(usage(format!("{name}: {}", no_number(text.trim()))));
            }
            Json::String(text.to_owned())
        }
    };
    number_references(&mut json, references)?;
    Value::from_json(&json).map_err(|error| usage(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn refusal(text: &str) -> String {
        match parse_value(text) {
            Ok(value) => panic!("{text} is taken as {value:?}"),
            Err(failure) => {
                assert_eq!(failure.exit, Exit::Usage, "{text}");
                failure.error.to_string()
            }
        }
    }

    #[test]
    fn numbers_arrive_as_they_were_written() {
        let numbers = [
            ("0", 0.0),
            ("5", 5.0),
            ("-7", -7.0),
            ("1.50", 1.5),
            ("0.1", 0.1),
            ("100e-2", 1.0),
            ("0.30000000000000004", 0.30000000000000004),
            ("9007199254740992", 9007199254740992.0),
            ("9007199254740993000e-3", f64::NAN),
            ("1e308", 1e308),
            ("5e-324", 5e-324),
            ("1E+2", 100.0),
            ("0e999999", 0.0),
            (" 12 ", 12.0),
        ];
        for (text, number) in numbers {
            if number.is_nan() {
                refusal(text);
                continue;
            }
            assert_eq!(parse_value(text).expect(text), Value::Number(number), "{text}");
        }
        let Ok(Value::Number(zero)) = parse_value("-0") else { panic!("-0 is a number") };
        assert!(zero == 0.0 && zero.is_sign_negative(), "the sign is kept");
    }

    #[test]
    fn a_number_that_would_be_changed_is_refused_with_what_to_write() {
        let big = refusal("12345678901234567890");
        assert!(
            big.contains(r#"{"@bigint":"12345678901234567890"}"#) && big.contains(r#""12345678901234567890""#),
            "{big}"
        );
        assert!(refusal("-9007199254740993").contains(r#"{"@bigint":"-9007199254740993"}"#));
        for text in [
            "1e400",
            "-1e400",
            "1e99999999999999999999",
            "1e-400",
            "0.1000000000000000055511151231257827",
            "123456789.123456789123",
            "NaN",
            "-Infinity",
            "Infinity",
            "+5",
            "007",
            ".5",
            "5.",
            "1_000",
            "12n",
            "0x10",
            r#"{"a":12345678901234567890}"#,
            r#"[1, [2, {"b": 1e400}]]"#,
            r#"{"1e400":"1e400","a":[-1e400]}"#,
        ] {
            let why = refusal(text);
            assert!(why.contains("write"), "{text}: {why}");
        }
        assert!(refusal("NaN").contains(r#"{"@number":"NaN"}"#));
        assert!(refusal("-Infinity").contains(r#"{"@number":"-Infinity"}"#));
        assert!(refusal("007").contains(r#"{"@bigint":"7"}"#));
    }

    #[test]
    fn texts_stay_texts() {
        for text in
            ["", "hello", "2026-11-28", "192.0.2.7", "1.2.3", "1abc", "e5", "-", "+", "n", "0x", "5 apples", "x1e400"]
        {
            assert_eq!(parse_value(text).expect(text), Value::String(text.to_owned()), "{text}");
        }
        assert_eq!(
            parse_value(r#""12345678901234567890""#).expect("a string"),
            Value::String("12345678901234567890".into())
        );
        let quoted = parse_value(r#"{"a":"say \"1e400\" \\","b":[true,null]}"#).expect("JSON");
        assert!(matches!(quoted, Value::Record(fields) if fields.len() == 2));
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"b":1,"c":2,"b":1}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(refusal(text).contains("twice"), "{text}");
        }
    }

    #[test]
    fn an_argument_may_be_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("it can be written");
            format!("@{}", path.display())
        };
        let large = "x".repeat(500_000);
        let cases = [
            (write("json", b"{\"amount\": 10}\n"), Value::Record(vec![("amount".into(), Value::Number(10.0))])),
            (write("text", b"two\nlines\n"), Value::String("two\nlines".into())),
            (write("large", large.as_bytes()), Value::String(large.clone())),
            ("@@home".to_owned(), Value::String("@home".into())),
            ("@@".to_owned(), Value::String("@".into())),
        ];
        for (text, value) in cases {
            assert!(read_argument(&text, &mut NoReferences).is_ok_and(|read| read == value), "{text}");
        }
        for (text, wanted) in [
            (write("bytes", &[0xff, 0xfe]), "UTF-8"),
            (write("number", b"12345678901234567890\n"), "@bigint"),
            (format!("@{}/none", folder.path().display()), "is written with two"),
            (format!("@{}", folder.path().display()), "directory"),
            ("@".to_owned(), "missing"),
        ] {
            let failure = read_argument(&text, &mut NoReferences).expect_err(&text);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.error.to_string().contains(wanted), "{text}: {}", failure.error);
        }
    }
}

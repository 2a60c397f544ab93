//! Arguments and results as JSON: as [`quorate_streams::abi::Value::to_json`] writes values, with references as text, `{"@ref":"vat://…#…"}`.

use quorate_client::{Answer, Kept};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{DecodeError, MAX_BIGINT_DIGITS, MAX_VALUE_DEPTH, MAX_VALUES, Value};
use quorate_streams::client::ClientRef;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Reads the arguments of a call, and the references that they name.
///
/// # Errors
/// They can't be passed; the text says why, and what to write.
pub(crate) fn read_arguments(mut arguments: Json) -> Result<(Vec<Value>, Vec<Sturdyref>), String> {
    let mut references = Vec::new();
    number_references(&mut arguments, &mut references)?;
    let value = Value::from_json(&arguments).map_err(|error| error.to_string())?;
    // As the vat would: what it refuses need not wait here.
    Value::scan(&value.encode(), &mut |_| ()).map_err(|error| match error {
        DecodeError::TooMany => format!("the arguments have more than {MAX_VALUES} values"),
        DecodeError::LongBigInt => format!("a bigint has at most {MAX_BIGINT_DIGITS} digits"),
        _ => format!("the arguments are nested deeper than {MAX_VALUE_DEPTH}"),
    })?;
    match value {
        Value::Array(values) => Ok((values, references)),
        _ => Err("the arguments are a JSON array: [] for none, [5] for one".to_owned()),
    }
}

/// Puts the places of references among those of the call where their texts are.
fn number_references(json: &mut Json, references: &mut Vec<Sturdyref>) -> Result<(), String> {
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(|item| number_references(item, references)),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@slot") => {
            Err(r#"{"@slot": …}: a reference is written {"@ref":"vat://…#…"}, as results have it"#.to_owned())
        }
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@ref") => {
            let text = fields["@ref"].as_str().ok_or(r#"{"@ref": …}: the text of a reference is needed"#)?;
            let reference: Sturdyref = text.parse().map_err(|error| format!("{error}"))?;
            if !reference.is_bearer() {
                return Err(format!("{reference}: only a reference with its secret (vat://…#…) can be passed"));
            }
            let place = references.iter().position(|other| *other == reference).unwrap_or_else(|| {
                references.push(reference);
                references.len() - 1
            });
            *json = json!({ "@slot": place });
            Ok(())
        }
        Json::Object(fields) => fields.values_mut().try_for_each(|value| number_references(value, references)),
        _ => Ok(()),
    }
}

/// Returns what an answer is as JSON. A reference that was not kept is `{"@lost":"why"}`.
pub(crate) fn written(answer: &Answer, kept: &[Kept]) -> Json {
    let kept: BTreeMap<ClientRef, &Result<Sturdyref, String>> =
        kept.iter().map(|(object, kept)| (*object, kept)).collect();
    let references: Vec<Json> = answer
        .slots
        .iter()
        .map(|slot| match kept.get(slot) {
            Some(Ok(reference)) => json!({ "@ref": reference.to_string() }),
            Some(Err(why)) => json!({ "@lost": why }),
            None => json!({ "@lost": "the host stopped before the vat was asked to keep it" }),
        })
        .collect();
    with_references(answer.value.to_json(), &references)
}

fn with_references(json: Json, references: &[Json]) -> Json {
    match json {
        Json::Array(items) => items.into_iter().map(|item| with_references(item, references)).collect(),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key("@slot") => {
            let content = &fields["@slot"];
            let place = content.get(0).unwrap_or(content).as_u64().and_then(|place| usize::try_from(place).ok());
            let reference = place.and_then(|place| references.get(place));
            reference.cloned().unwrap_or_else(|| json!({ "@lost": "the answer names nothing by it" }))
        }
        Json::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, with_references(value, references))).collect()
        }
        other => other,
    }
}

/// A rejection in words.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Error { name, message } => format!("{name}: {message}"),
        Value::String(text) => text.clone(),
        other => other.to_json().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ids::VatId;

    fn reference(object: u64) -> Sturdyref {
        Sturdyref::bearer(VatId([7; 32]), object, [9; 32])
    }

    #[test]
    fn references_go_in_and_come_out_as_text() {
        let (one, other) = (reference(0).to_string(), reference(3).to_string());
        let arguments = json!([{ "@ref": one }, { "a": [{ "@ref": other }, { "@ref": one }] }, { "@bigint": "7" }]);
        let (values, references) = read_arguments(arguments).expect("they can be passed");
        assert_eq!(references, [reference(0), reference(3)]);
        let list = Value::Array(vec![Value::Slot(1), Value::Slot(0)]);
        let record = Value::Record(vec![("a".into(), list)]);
        assert_eq!(values, [Value::Slot(0), record.clone(), Value::BigInt("7".into())]);
        let answer = Answer {
            promise: ClientRef::Result(1),
            fulfilled: true,
            value: Value::Array(vec![record, Value::Named(2, "Purse".into())]),
            slots: vec![ClientRef::Object(5), ClientRef::Object(6), ClientRef::Object(8)],
        };
        let kept = vec![
            (ClientRef::Object(5), Ok(reference(0))),
            (ClientRef::Object(6), Err("a promise".to_owned())),
            (ClientRef::Object(8), Ok(reference(3))),
        ];
        let wanted = json!([{ "a": [{ "@lost": "a promise" }, { "@ref": one }] }, { "@ref": other }]);
        assert_eq!(written(&answer, &kept), wanted);
        assert!(written(&answer, &[]).to_string().contains("the host stopped"));
    }

    #[test]
    fn data_that_looks_like_a_reference_stays_data() {
        for key in ["@slot", "@ref", "@lost"] {
            let value = Value::Array(vec![Value::Record(vec![(key.to_owned(), Value::Number(0.0))])]);
            let answer =
                Answer { promise: ClientRef::Result(1), fulfilled: true, value, slots: vec![ClientRef::Object(5)] };
            let json = written(&answer, &[(ClientRef::Object(5), Ok(reference(0)))]);
            assert_eq!(json, json!([{ "@record": [[key, 0]] }]));
            let (values, references) = read_arguments(json).expect("it can be passed");
            assert_eq!((Value::Array(values), references), (answer.value, vec![]));
        }
    }

    #[test]
    fn what_can_not_be_passed_is_refused_with_what_to_write() {
        for (arguments, wanted) in [
            (json!({ "a": 1 }), "JSON array"),
            (json!(5), "JSON array"),
            (json!([{ "@slot": 0 }]), "@ref"),
            (json!([{ "@ref": 1 }]), "text"),
            (json!([{ "@ref": "vat://x" }]), "names no object"),
            (json!([{ "@ref": Sturdyref::grantee(VatId([7; 32]), 0).to_string() }]), "secret"),
            (json!([{ "@what": 0 }]), "@record"),
            (Json::Array(vec![json!([]); 200_000]), "32768 values"),
            (json!([{ "@bigint": "9".repeat(MAX_BIGINT_DIGITS + 1) }]), "digits"),
        ] {
            let why = read_arguments(arguments.clone()).expect_err("it can't be passed");
            assert!(why.contains(wanted), "{arguments}: {why}");
        }
        let secret = reference(0).to_string().replace("vat://", "vat:/");
        let why = read_arguments(json!([{ "@ref": secret }])).expect_err("it is no reference");
        assert!(!why.contains(&"09".repeat(32)), "the secret is shown: {why}");
    }
}

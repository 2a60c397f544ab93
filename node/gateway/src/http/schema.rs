//! What a method takes, as JSON Schema (2020-12), from the interface guard that an object has: `M.interface(…)` of `@endo/patterns`, as JSON.
//!
//! The vat checks what it is called with, whatever stands here. So a pattern that JSON Schema can't express becomes a wider one, never a narrower one.

use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Patterns in patterns, at most. Deeper ones let anything pass.
const MAX_DEPTH: usize = 16;

/// An interface: its name, and what its methods take.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Interface {
    pub name: String,
    methods: BTreeMap<String, Json>,
}

impl Interface {
    /// Reads an interface guard; nothing if it is none.
    pub fn read(guard: &Json) -> Option<Interface> {
        let payload = tagged(guard, "guard:interfaceGuard")?;
        let name = payload.get("interfaceName").and_then(Json::as_str).unwrap_or_default().to_owned();
        let guards = payload.get("methodGuards")?.as_object()?;
        let methods = guards.iter().filter_map(|(method, guard)| Some((method.clone(), arguments(guard)?)));
        Some(Interface { name, methods: methods.collect() })
    }

    /// The schema of a method's list of arguments; nothing if the interface does not say.
    pub fn arguments(&self, method: &str) -> Option<&Json> {
        self.methods.get(method)
    }
}

/// What is tagged so.
fn tagged<'a>(value: &'a Json, tag: &str) -> Option<&'a Json> {
    let (own, payload) = any_tagged(value)?;
    (own == tag).then_some(payload)
}

fn any_tagged(value: &Json) -> Option<(&str, &Json)> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    match &fields.get("@tagged")?.as_array()?[..] {
        [Json::String(tag), payload] => Some((tag, payload)),
        _ => None,
    }
}

fn is_undefined(value: &Json) -> bool {
    *value == json!({ "@undefined": true })
}

/// A part of a payload that may be left out.
fn optional<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    value.get(name).filter(|value| !is_undefined(value))
}

/// The schema of what a method guard lets pass.
fn arguments(guard: &Json) -> Option<Json> {
    let payload = tagged(guard, "guard:methodGuard")?;
    let required = payload.get("argGuards")?.as_array()?;
    let none = Vec::new();
    let more = optional(payload, "optionalArgGuards").and_then(Json::as_array).unwrap_or(&none);
    let rest = optional(payload, "restArgGuard");
    let items: Vec<Json> = required.iter().chain(more).map(|guard| schema(guard, 0)).collect();
    let mut list = Map::new();
    list.insert("type".into(), "array".into());
    list.insert("minItems".into(), required.len().into());
    if rest.is_none() {
        list.insert("maxItems".into(), items.len().into());
    }
    let rest = rest.map_or(Json::Bool(false), |rest| elements(rest, 0));
    if items.is_empty() && rest == Json::Bool(false) {
        return Some(Json::Object(list));
    }
    if !items.is_empty() {
        list.insert("prefixItems".into(), items.into());
    }
    list.insert("items".into(), rest);
    Some(Json::Object(list))
}

/// The schema of the elements of a list that a pattern lets pass.
fn elements(pattern: &Json, depth: usize) -> Json {
    match tagged(pattern, "match:arrayOf").and_then(|payload| payload.get(0)) {
        Some(element) => schema(element, depth + 1),
        None => json!({}),
    }
}

/// A value that JSON lacks, as `{"@name": …}`.
fn written(name: &str, content: Json) -> Json {
    json!({ "type": "object", "properties": { name: content }, "required": [name], "additionalProperties": false })
}

fn digits(pattern: &str) -> Json {
    written("@bigint", json!({ "type": "string", "pattern": pattern }))
}

fn reference(label: Option<&str>) -> Json {
    let mut schema = written("@ref", json!({ "type": "string", "pattern": "^vat://" }));
    if let Some(label) = label {
        schema["description"] = format!("A reference to {label}").into();
    }
    schema
}

/// The schema of what a pattern lets pass.
fn schema(pattern: &Json, depth: usize) -> Json {
    if depth > MAX_DEPTH {
        return json!({});
    }
    match any_tagged(pattern) {
        Some((tag, payload)) => matcher(tag, payload, depth + 1),
        None => literal(pattern, depth + 1),
    }
}

fn matcher(tag: &str, payload: &Json, depth: usize) -> Json {
    let all = |patterns: &Json| -> Vec<Json> {
        patterns.as_array().into_iter().flatten().map(|pattern| schema(pattern, depth)).collect()
    };
    match tag {
        "guard:awaitArgGuard" => payload.get("argGuard").map_or_else(|| json!({}), |guard| schema(guard, depth)),
        "match:or" => json!({ "anyOf": all(payload) }),
        "match:and" => json!({ "allOf": all(payload) }),
        "match:string" => json!({ "type": "string" }),
        "match:bigint" => digits("^-?[0-9]+$"),
        "match:nat" => digits("^[0-9]+$"),
        "match:symbol" => written("@symbol", json!({ "type": "string" })),
        "match:byteArray" => written("@bytes", json!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" })),
        "match:remotable" => reference(payload.get("label").and_then(Json::as_str)),
        "match:kind" => kind(payload.as_str().unwrap_or_default()),
        "match:lt" | "match:lte" | "match:gt" | "match:gte" if payload.is_number() => {
            let bound = match tag {
                "match:lt" => "exclusiveMaximum",
                "match:lte" => "maximum",
                "match:gt" => "exclusiveMinimum",
                _ => "minimum",
            };
            json!({ "type": "number", bound: payload })
        }
        "match:arrayOf" => {
            json!({ "type": "array", "items": payload.get(0).map_or_else(|| json!({}), |element| schema(element, depth)) })
        }
        "match:recordOf" => {
            let value = payload.get(1).map_or_else(|| json!({}), |value| schema(value, depth));
            json!({ "type": "object", "additionalProperties": value })
        }
        "match:splitArray" => split_array(payload, depth),
        "match:splitRecord" => split_record(payload, depth),
        // Whatever passes, or what JSON Schema can't say.
        _ => json!({}),
    }
}

/// A kind of value that has no matcher of its own.
fn kind(name: &str) -> Json {
    match name {
        "null" | "boolean" | "string" => json!({ "type": name }),
        // Also those that JSON lacks.
        "number" => json!({ "anyOf": [{ "type": "number" }, written("@number", json!({ "type": "string" }))] }),
        "undefined" => json!({ "const": { "@undefined": true } }),
        "bigint" => digits("^-?[0-9]+$"),
        "copyArray" => json!({ "type": "array" }),
        "copyRecord" => json!({ "type": "object" }),
        "remotable" => reference(None),
        _ => json!({}),
    }
}

/// A value that is its own pattern: it, or with patterns in it.
fn literal(pattern: &Json, depth: usize) -> Json {
    match pattern {
        Json::Array(items) => {
            let items: Vec<Json> = items.iter().map(|item| schema(item, depth)).collect();
            let count = items.len();
            if count == 0 {
                return json!({ "type": "array", "maxItems": 0 });
            }
            json!({ "type": "array", "prefixItems": items, "minItems": count, "maxItems": count })
        }
        // A value that JSON lacks, such as a bigint.
        Json::Object(fields) if fields.len() == 1 && fields.keys().all(|key| key.starts_with('@')) => {
            json!({ "const": pattern })
        }
        Json::Object(fields) => record(fields, None, true, depth),
        other => json!({ "const": other }),
    }
}

fn record(required: &Map<String, Json>, more: Option<&Map<String, Json>>, is_all: bool, depth: usize) -> Json {
    let fields = required.iter().chain(more.into_iter().flatten());
    let properties: Map<String, Json> = fields.map(|(name, value)| (name.clone(), schema(value, depth))).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = required.keys().cloned().collect();
    }
    if is_all {
        schema["additionalProperties"] = Json::Bool(false);
    }
    schema
}

fn split_array(payload: &Json, depth: usize) -> Json {
    let (Some(required), none) = (payload.get(0).and_then(Json::as_array), Vec::new()) else { return json!({}) };
    let more = payload.get(1).and_then(Json::as_array).unwrap_or(&none);
    let items: Vec<Json> = required.iter().chain(more).map(|item| schema(item, depth)).collect();
    json!({ "type": "array", "prefixItems": items, "minItems": required.len() })
}

fn split_record(payload: &Json, depth: usize) -> Json {
    let Some(required) = payload.get(0).and_then(Json::as_object) else { return json!({}) };
    let more = payload.get(1).filter(|more| !is_undefined(more)).and_then(Json::as_object);
    let is_all = payload.get(2) == Some(&json!({}));
    record(required, more, is_all, depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, payload: &Json) -> Json {
        json!({ "@tagged": [name, payload] })
    }

    fn method(payload: &Json) -> Json {
        tag("guard:methodGuard", payload)
    }

    #[test]
    fn what_methods_take_is_read_from_an_interface_guard() {
        let undefined = json!({ "@undefined": true });
        let deposit = method(&json!({
            "callKind": "sync",
            "argGuards": [tag("match:nat", &json!([])), tag("guard:awaitArgGuard", &json!({ "argGuard": tag("match:remotable", &json!({ "label": "Purse" })) }))],
            "optionalArgGuards": [tag("match:string", &json!([]))],
            "restArgGuard": undefined,
            "returnGuard": tag("match:any", &undefined),
        }));
        let read = method(&json!({ "callKind": "sync", "argGuards": [], "returnGuard": tag("match:any", &undefined) }));
        let all = method(&json!({
            "argGuards": [], "restArgGuard": tag("match:arrayOf", &json!([tag("match:kind", &json!("boolean"))])),
        }));
        let guard = tag(
            "guard:interfaceGuard",
            &json!({ "interfaceName": "Purse", "methodGuards": { "deposit": deposit, "read": read, "all": all, "odd": 7 } }),
        );
        let interface = Interface::read(&guard).expect("an interface");
        assert_eq!(interface.name, "Purse");
        let reference = json!({
            "type": "object", "properties": { "@ref": { "type": "string", "pattern": "^vat://" } }, "required": ["@ref"],
            "additionalProperties": false, "description": "A reference to Purse",
        });
        let nat = json!({
            "type": "object", "properties": { "@bigint": { "type": "string", "pattern": "^[0-9]+$" } }, "required": ["@bigint"],
            "additionalProperties": false,
        });
        let expected = json!({ "type": "array", "minItems": 2, "maxItems": 3, "prefixItems": [nat, reference, { "type": "string" }], "items": false });
        assert_eq!(interface.arguments("deposit"), Some(&expected));
        assert_eq!(interface.arguments("read"), Some(&json!({ "type": "array", "minItems": 0, "maxItems": 0 })));
        assert_eq!(
            interface.arguments("all"),
            Some(&json!({ "type": "array", "minItems": 0, "items": { "type": "boolean" } }))
        );
        assert_eq!(interface.arguments("odd"), None);
        for none in [json!(7), json!({}), tag("guard:interfaceGuard", &json!(7)), tag("match:any", &json!({}))] {
            assert_eq!(Interface::read(&none), None, "{none}");
        }
    }

    #[test]
    fn patterns_are_schemas_that_let_pass_what_they_do() {
        let string = tag("match:string", &json!([]));
        for (pattern, expected) in [
            (json!("buy"), json!({ "const": "buy" })),
            (json!({ "@bigint": "5" }), json!({ "const": { "@bigint": "5" } })),
            (tag("match:any", &json!({ "@undefined": true })), json!({})),
            (tag("match:not", &json!("buy")), json!({})),
            (tag("match:or", &json!(["buy", "sell"])), json!({ "anyOf": [{ "const": "buy" }, { "const": "sell" }] })),
            (tag("match:gte", &json!(3)), json!({ "type": "number", "minimum": 3 })),
            (tag("match:arrayOf", &json!([string])), json!({ "type": "array", "items": { "type": "string" } })),
            (
                tag("match:recordOf", &json!([string, string])),
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            ),
            (
                json!({ "name": string }),
                json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false }),
            ),
            (
                tag("match:splitRecord", &json!([{ "a": string }, { "b": string }])),
                json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } }, "required": ["a"] }),
            ),
            (
                json!([1, string]),
                json!({ "type": "array", "prefixItems": [{ "const": 1 }, { "type": "string" }], "minItems": 2, "maxItems": 2 }),
            ),
        ] {
            assert_eq!(schema(&pattern, 0), expected, "{pattern}");
        }
        // Depth is bounded; what is too deep lets anything pass.
        let deep = (0..60).fold(json!(1), |inner, _| tag("match:arrayOf", &json!([inner])));
        assert!(schema(&deep, 0).to_string().len() < 2_000);
    }
}

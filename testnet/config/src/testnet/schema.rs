//! JSON schemas of the config files, for editors: what there is, of which type, and what it is for.
//!
//! The parser decides; it also knows what no schema can say (that names resolve, files exist, a threshold is possible). Invariant, which tests
//! hold with the parser's own tables of keys: a schema has the keys that the parser knows, and refuses nothing that the parser takes.

use super::{MAX_MEMBERS, MEMORY_MB, archive, check::Key, disk, gateway, host_file, hosts, reach, traces, vats};
use quorate_protocol::names::MAX_NAME_LENGTH;
use serde_json::{Map, Value, json};

/// The dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// A size such as `512 MiB`.
const SIZE: &str = r"^\s*[0-9]+\s*(KiB|MiB|GiB|TiB)\s*$";

/// The schema of a testnet's config.
pub fn testnet_schema() -> Value {
    let (host, vat) = (object(&hosts::KEYS, &["name"]), object(&vats::VAT_KEYS, &["name", "hosts", "source"]));
    json!({
        "$schema": DIALECT,
        "title": "Quorate testnet",
        "description": "Hosts, the vats that they carry, and what each vat is given at its start.",
        "type": "object",
        "additionalProperties": false,
        "required": ["host"],
        "properties": {
            "version": { "const": vats::FORMAT_VERSION, "description": "The version of this format." },
            "host": { "type": "array", "minItems": 1, "items": host, "description": "A host: a process with a key of its own." },
            "vat": { "type": "array", "items": vat, "description": "A vat, and the hosts that keep it together." },
            "limits": limits("Limits of all vats."),
        },
    })
}

/// The schema of a host's `host.toml`.
pub fn host_schema() -> Value {
    let mut schema = object(&host_file::KEYS, &["name", "listen", "http"]);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".into(), DIALECT.into());
        schema.insert("title".into(), "Quorate host.toml".into());
        // A testnet's host listens and is dialled at one address, and a host at several.
        schema["properties"]["announce"] =
            words("What the others dial, where that differs from `listen`.", "192.0.2.7:7001");
        schema["properties"]["listen"] = json!({
            "type": "array", "items": { "type": "string", "minLength": 1 },
            "description": "Where other hosts and callers connect: multiaddrs, or IP:PORT for TCP.",
            "examples": [["/ip4/0.0.0.0/tcp/7001", "/ip4/0.0.0.0/udp/7001/quic-v1"]],
        });
    }
    schema
}

/// An array of words.
fn words(what: &str, example: &str) -> Value {
    json!({
        "type": "array", "items": { "type": "string", "minLength": 1 },
        "description": what, "examples": [[example]],
    })
}

/// A table with these keys.
fn object(keys: &[Key], required: &[&str]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key.name))).collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn limits(what: &str) -> Value {
    let mut schema = object(&vats::LIMIT_KEYS, &[]);
    schema["description"] = what.into();
    schema
}

/// What may stand for a key. Keys of one name mean the same wherever they are, but for `listen` and `announce`.
fn property(key: &str) -> Value {
    let text = |what: &str| json!({ "type": "string", "minLength": 1, "description": what });
    let size = |what: &str| json!({ "type": "string", "pattern": SIZE, "description": what, "examples": ["512 MiB"] });
    let number = |least: u64, what: &str| json!({ "type": "integer", "minimum": least, "description": what });
    let (soft, hard, quota) = (disk::SOFT.name, disk::HARD.name, disk::VAT_QUOTA.name);
    match key {
        "name" => json!({
            "type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "maxLength": MAX_NAME_LENGTH,
            "description": "The name, for people and commands; unique among hosts and vats.",
        }),
        "listen" => {
            text("Where other hosts and callers connect: IP:PORT, or a multiaddr. Without it, a free loopback port.")
        }
        "announce" => text("What the others dial, where that differs from `listen`."),
        "http" => text("IP:PORT of metrics, health and status. They only read, and tell everything."),
        "approve" => json!({
            "enum": ["auto", "ask"],
            "description": "\"auto\": changes of members are approved without asking. \"ask\": they wait for `vat approve`.",
        }),
        key if key == soft => size("With less room on the disk, the vat that takes most takes no new messages."),
        key if key == hard => size("With less room on the disk, vats stop until there is more."),
        key if key == quota => size("What one vat may take of the disk."),
        key if key == archive::FOLDER.name => {
            text("The folder for what is cut from the logs of vats, in the home if it is relative.")
        }
        key if key == archive::BYTES.name => size("What the archive of one vat may take."),
        key if key == archive::BLOCKS.name => number(1, "How many of a vat's newest blocks its archive keeps."),
        key if key == gateway::LISTEN.name => text("IP:PORT at which programs that know nothing of vats call them."),
        key if key == gateway::ORIGINS.name => json!({
            "type": "array", "items": { "type": "string", "pattern": "^https?://[^/]+$" },
            "description": "Origins of the web pages that may connect to the gateway.",
        }),
        key if key == gateway::PROXIES.name => json!({
            "type": "array", "items": { "type": "string", "minLength": 1 },
            "description": "Addresses of proxies on other machines that name the client of each request.",
        }),
        key if key == reach::RELAYS.name => words("Hosts through which others reach this one.", "KEY@192.0.2.9:4001"),
        key if key == reach::RELAY_FOR.name => words("Keys of the hosts that this one relays for.", "KEY"),
        key if key == reach::OPERATORS.name => {
            words("Keys whose holders may administrate the host from other machines.", "KEY")
        }
        key if key == traces::OTLP.name => json!({
            "type": "string", "pattern": "^http://", "description": "The collector to which traces of messages go.",
            "examples": ["http://127.0.0.1:4318"],
        }),
        key if key == traces::SAMPLE.name => json!({
            "type": "integer", "minimum": 1, "maximum": 1_000_000_000, "description": "One message of so many is traced.",
        }),
        "hosts" => json!({
            "type": "array", "minItems": 1, "maxItems": MAX_MEMBERS, "uniqueItems": true, "items": { "type": "string" },
            "description": "Names of the hosts that keep the vat together: its members.",
        }),
        "threshold" => number(
            1,
            "How many members must sign what the vat says: over half of them. Needed where there are several.",
        ),
        "source" => text("The entry file of the vat's code, relative to this file."),
        "argv" => json!({
            "type": "object",
            "description": "What the entry function gets. { file = \"…\" }, { vat = \"…\" }, { sturdyref = \"…\" } and { endowment = \"…\" } stand for something else.",
        }),
        "limits" => limits("Limits of this vat."),
        "fuel_per_delivery" => number(vats::MIN_FUEL, "Fuel that one delivery may burn."),
        "fuel_per_turn" => {
            number(1, "Fuel that one sender's messages may burn more than those of others before they wait.")
        }
        "fuel_per_block" => number(1, "Fuel after which a block takes in no more messages."),
        "memory_mb" => json!({
            "type": "integer", "minimum": MEMORY_MB.start(), "maximum": MEMORY_MB.end(),
            "description": "Megabytes of memory that the vat may have.",
        }),
        "checkpoint_deliveries" => number(1, "Commands between two checkpoints."),
        // The tests find a key that is missing here.
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::TestnetConfig;
    use std::{fs, path::Path};

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| key.name).collect()
    }

    #[test]
    fn schemas_have_the_keys_that_the_parser_knows() {
        let testnet = testnet_schema();
        let keys_of = |schema: &Value| -> Vec<String> {
            schema["properties"].as_object().expect("properties").keys().cloned().collect()
        };
        let sorted = |mut keys: Vec<String>| {
            keys.sort();
            keys
        };
        let wanted = |keys: &[Key]| sorted(names(keys).into_iter().map(str::to_owned).collect());
        assert_eq!(sorted(keys_of(&testnet)), wanted(&vats::DOCUMENT));
        assert_eq!(sorted(keys_of(&testnet["properties"]["host"]["items"])), wanted(&hosts::KEYS));
        assert_eq!(sorted(keys_of(&testnet["properties"]["vat"]["items"])), wanted(&vats::VAT_KEYS));
        assert_eq!(sorted(keys_of(&testnet["properties"]["limits"])), wanted(&vats::LIMIT_KEYS));
        assert_eq!(sorted(keys_of(&host_schema())), wanted(&host_file::KEYS));
        let all = [&hosts::KEYS[..], &vats::VAT_KEYS, &vats::LIMIT_KEYS, &host_file::KEYS];
        for key in all.into_iter().flat_map(names) {
            assert!(property(key)["description"].is_string(), "{key} is not described");
        }
    }

    /// Whether a schema takes a value: the part of JSON schema that is used here, and no word beside it.
    fn takes(schema: &Value, value: &Value) -> bool {
        let rules = schema.as_object().expect("a schema is an object").iter();
        let mut rules = rules.map(|(word, rule)| takes_by(schema, word, rule, value));
        rules.all(|takes| takes)
    }

    fn takes_by(schema: &Value, word: &str, rule: &Value, value: &Value) -> bool {
        let size = || rule.as_u64().expect("a size") as usize;
        match (word, value) {
            ("$schema" | "title" | "description" | "examples", _) => true,
            ("const", value) => rule == value,
            ("enum", value) => rule.as_array().expect("values").contains(value),
            ("type", value) => match rule.as_str().expect("a type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("no value here is of type {other}"),
            },
            ("minLength", Value::String(text)) => text.chars().count() >= size(),
            ("maxLength", Value::String(text)) => text.chars().count() <= size(),
            ("pattern", Value::String(text)) => matches(rule.as_str().expect("a pattern"), text),
            ("minimum", Value::Number(number)) => number.as_i64() >= rule.as_i64(),
            ("maximum", Value::Number(number)) => number.as_i64() <= rule.as_i64(),
            ("minItems", Value::Array(items)) => items.len() >= size(),
            ("maxItems", Value::Array(items)) => items.len() <= size(),
            ("uniqueItems", Value::Array(items)) => {
                items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
            }
            ("items", Value::Array(items)) => items.iter().all(|item| takes(rule, item)),
            ("required", Value::Object(members)) => {
                let names = rule.as_array().expect("names").iter();
                names.map(|name| name.as_str().expect("a name")).all(|name| members.contains_key(name))
            }
            ("properties", Value::Object(members)) => {
                members.iter().all(|(name, member)| rule.get(name).is_none_or(|rule| takes(rule, member)))
            }
            ("additionalProperties", Value::Object(members)) => {
                members.keys().all(|name| schema["properties"].get(name).is_some())
            }
            (
                "minLength" | "maxLength" | "pattern" | "minimum" | "maximum" | "minItems" | "maxItems" | "uniqueItems"
                | "items",
                _,
            ) => true,
            ("required" | "properties" | "additionalProperties", _) => true,
            (word, _) => panic!("{word} is not looked at"),
        }
    }

    /// The four patterns that there are.
    fn matches(pattern: &str, text: &str) -> bool {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter);
        match pattern {
            "^[a-z][a-z0-9_-]*$" => {
                text.starts_with(|letter: char| letter.is_ascii_lowercase()) && text.chars().all(is_name)
            }
            "^http://" => text.starts_with("http://"),
            "^https?://[^/]+$" => {
                let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
                rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
            }
            SIZE => {
                let number = ["KiB", "MiB", "GiB", "TiB"].iter().find_map(|unit| text.trim().strip_suffix(unit));
                number.is_some_and(|number| {
                    !number.trim().is_empty() && number.trim().bytes().all(|byte| byte.is_ascii_digit())
                })
            }
            other => panic!("{other} is not looked at"),
        }
    }

    /// Whether the schema and the parser take a text.
    fn both(schema: &Value, text: &str, parse: impl Fn(&str) -> Result<(), String>) -> (bool, bool) {
        let parsed = parse(text);
        let value: toml::Value = match toml::from_str(text) {
            Ok(value) => value,
            Err(error) => panic!("{text}: {error}"),
        };
        let value = serde_json::to_value(value).expect("TOML without dates is JSON");
        (takes(schema, &value), parsed.is_ok())
    }

    /// Values of all kinds, as they are written.
    const VALUES: [&str; 18] = [
        "\"\"",
        "\"a\"",
        "\"ask\"",
        "\"127.0.0.1:7001\"",
        "\"/ip4/127.0.0.1/tcp/7001\"",
        "\"1 GiB\"",
        "\"https://example.org\"",
        "\"a.js\"",
        "0",
        "2",
        "100000000",
        "-1",
        "true",
        "[]",
        "[\"alpha\", \"beta\"]",
        "[\"127.0.0.1:7001\"]",
        "[\"https://example.org\"]",
        "{ x = 1 }",
    ];

    /// Holds a schema against the parser with each key set to each value in an otherwise good text.
    fn compare(
        schema: &Value,
        keys: &[Key],
        place: impl Fn(&str) -> String,
        parse: impl Fn(&str) -> Result<(), String>,
    ) {
        let (mut taken, mut refused) = (0, 0);
        for key in names(keys).into_iter().chain(["colour"]) {
            for value in VALUES {
                let text = place(&format!("{key} = {value}\n"));
                let (by_schema, by_parser) = both(schema, &text, &parse);
                assert!(by_schema || !by_parser, "the schema refuses what the parser takes:\n{text}");
                taken += usize::from(by_schema && by_parser);
                refused += usize::from(!by_schema);
            }
        }
        assert!(taken >= 5 && refused > 5 * keys.len(), "{taken} taken, {refused} refused");
    }

    /// The lines of a section without the one that sets a key.
    fn without(lines: &[&str], set: &str) -> String {
        let key = set.split(" = ").next().unwrap_or_default();
        let kept = lines.iter().filter(|line| line.split(" = ").next() != Some(key));
        kept.map(|line| format!("{line}\n")).collect::<String>() + set
    }

    #[test]
    fn a_schema_refuses_nothing_that_the_parser_takes() {
        let host = |set: &str| {
            without(
                &[
                    "name = \"alpha\"",
                    "listen = [\"127.0.0.1:0\"]",
                    "http = \"127.0.0.1:1\"",
                    "gateway = \"127.0.0.1:2\"",
                ],
                set,
            )
        };
        let parse = |text: &str| {
            host_file::host_file(text, Path::new("host.toml")).map(drop).map_err(|error| error.to_string())
        };
        compare(&host_schema(), &host_file::KEYS, host, parse);

        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.js"), "").expect("writable");
        let file = folder.path().join("testnet.toml");
        let parse = |text: &str| TestnetConfig::parse(text, &file).map(drop).map_err(|error| error.to_string());
        let schema = testnet_schema();
        let (hosts_lines, vat_lines) = (
            ["name = \"gamma\"", "listen = \"127.0.0.1:9\"", "gateway = \"127.0.0.1:8\""],
            ["name = \"v\"", "hosts = [\"alpha\", \"beta\"]", "threshold = 2", "source = \"a.js\""],
        );
        let two = "[[host]]\nname = \"alpha\"\n[[host]]\nname = \"beta\"\n";
        compare(&schema, &hosts::KEYS, |set| format!("{two}[[host]]\n{}", without(&hosts_lines, set)), parse);
        compare(&schema, &vats::VAT_KEYS, |set| format!("{two}[[vat]]\n{}", without(&vat_lines, set)), parse);
        compare(&schema, &vats::LIMIT_KEYS, |set| format!("{two}[limits]\n{set}"), parse);
    }

    #[test]
    fn what_is_required_is_required_by_both() {
        let good = "name = \"alpha\"\nlisten = []\nhttp = \"127.0.0.1:1\"\n";
        let parse = |text: &str| {
            host_file::host_file(text, Path::new("host.toml")).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(both(&host_schema(), good, parse), (true, true));
        for line in good.lines() {
            let text = good.replace(line, "");
            assert_eq!(both(&host_schema(), &text, parse), (false, false), "{text}");
        }
        let parse =
            |text: &str| TestnetConfig::parse(text, Path::new("t.toml")).map(drop).map_err(|error| error.to_string());
        for text in [
            "",
            "version = 2\n[[host]]\nname = \"a\"\n",
            "[[host]]\n",
            "[[host]]\nname = \"a\"\n[[vat]]\nname = \"v\"\n",
        ] {
            assert_eq!(both(&testnet_schema(), text, parse), (false, false), "{text}");
        }
    }

    #[test]
    fn the_example_of_a_host_is_good() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/host.toml");
        let text = fs::read_to_string(&file).expect("the example");
        let parse = |text: &str| host_file::host_file(text, &file).map(drop).map_err(|error| error.to_string());
        assert_eq!(both(&host_schema(), &text, parse), (true, true));
        for key in names(&host_file::KEYS) {
            assert!(text.contains(&format!("\n{key} = ")), "{key} is not in it");
        }
    }
}

//! `[vat.argv]`: what a vat is given at its start.
//!
//! Data may nest; references and endowments are values of `argv` itself, because the machine keeps them by name.

use super::check::{Checker, Key};
use super::syntax::{Entry, Node, Table, Value};
use super::{Argument, MAX_ARGUMENT_FILE_BYTES, nearest};
use quorate_engine::abi;

/// Whole numbers beyond this are not exact in JavaScript.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Tables with one of these keys stand for something else than a record.
pub(super) const SPECIAL: [Key; 4] = [
    Key::new("file", "{ file = \"data.txt\" }", &[]),
    Key::new("vat", "{ vat = \"name\" }", &[]),
    Key::new("sturdyref", "{ sturdyref = \"vat://…\" }", &[]),
    Key::new("endowment", "{ endowment = \"exit\" }", &[]),
];
const ENDOWMENTS: [&str; 3] = [EXIT, "timer", "publisher"];
/// The one that only a vat on one host can have.
const EXIT: &str = "exit";

/// What the arguments of one vat are checked against.
pub(super) struct Scope<'a> {
    /// The vat's own name, if it has one.
    pub vat: Option<&'a str>,
    /// Number of its hosts, if that is known.
    pub members: Option<usize>,
    /// Every vat's name.
    pub vats: &'a [&'a str],
    /// Whether some vat's name could not be read, so that an unknown one may be that.
    pub vats_uncertain: bool,
}

/// Arguments and endowments.
pub(super) type Arguments = (Vec<(String, Argument)>, Vec<String>);

pub(super) fn arguments(table: &Table, scope: &Scope<'_>, checker: &mut Checker) -> Arguments {
    let mut arguments = Vec::new();
    let mut endowments = Vec::new();
    for entry in &table.entries {
        if let Err((problem, fix)) = check_argument_name(&entry.key) {
            checker.mistake(entry.place, problem, fix);
            continue;
        }
        match special(&entry.node, checker) {
            Err(()) => {}
            Ok(Some(inner)) if inner.key == "endowment" => {
                endowments.extend(endowment(&entry.key, inner, scope, checker))
            }
            Ok(Some(inner)) if inner.key != "file" => {
                let reference = reference(inner, scope, checker);
                arguments.extend(reference.map(|reference| (entry.key.clone(), reference)));
            }
            Ok(_) => {
                let data = data(&entry.key, &entry.node, checker);
                arguments.extend(data.map(|data| (entry.key.clone(), Argument::Data(data))));
            }
        }
    }
    (arguments, endowments)
}

/// Returns whether a text can be the name of an argument, or a key of a record in one; if not, the problem and the remedy.
pub fn check_argument_name(name: &str) -> Result<(), (String, String)> {
    let why = match name {
        "" => "is empty",
        // A property of this name is not one: it would set the object's prototype.
        "__proto__" => "is no name of a property in JavaScript",
        _ if name.contains(char::is_control) => "has a control character in it",
        _ => return Ok(()),
    };
    Err((format!("the argument name `{}` {why}", name.escape_debug()), "give it another name".to_string()))
}

/// The entry that makes a table special, if one does; an error (reported) where it has other keys too.
fn special<'t>(node: &'t Node, checker: &mut Checker) -> Result<Option<&'t Entry>, ()> {
    let Value::Table(table) = &node.value else { return Ok(None) };
    let is_special = |entry: &&Entry| SPECIAL.iter().any(|key| key.name == entry.key);
    let Some(entry) = table.entries.iter().find(is_special) else { return Ok(None) };
    if table.entries.len() == 1 {
        return Ok(Some(entry));
    }
    let problem = format!("a table with the key `{}` has other keys beside it", entry.key);
    checker.mistake(entry.place, problem, "a record needs another name for this key; a special value has no other key");
    Err(())
}

fn special_key(name: &str) -> &'static Key {
    SPECIAL.iter().find(|key| key.name == name).unwrap_or(&SPECIAL[0])
}

fn endowment(key: &str, entry: &Entry, scope: &Scope<'_>, checker: &mut Checker) -> Option<String> {
    let name = checker.string(entry, special_key("endowment"))?;
    let place = entry.node.place;
    if !ENDOWMENTS.contains(&name) {
        let fix = ENDOWMENTS.map(|name| format!("{{ endowment = \"{name}\" }}")).join(" or ");
        checker.mistake(place, format!("there is no endowment `{name}`"), format!("write {fix}"));
        return None;
    }
    if key != name {
        let problem = format!("the endowment `{name}` is called `{name}` in argv, not `{key}`");
        checker.mistake(place, problem, format!("write {name} = {{ endowment = \"{name}\" }}"));
    }
    if let Some(members) = scope.members.filter(|&members| name == EXIT && members > 1) {
        let problem = format!(
            "a vat on {members} hosts cannot have the endowment `{name}`: its members exit as one or not at all"
        );
        checker.mistake(place, problem, "remove it, or give the vat one host");
    }
    Some(name.to_string())
}

fn reference(entry: &Entry, scope: &Scope<'_>, checker: &mut Checker) -> Option<Argument> {
    let text = checker.string(entry, special_key(&entry.key))?;
    let place = entry.node.place;
    if entry.key == "sturdyref" {
        return match text.parse() {
            Ok(sturdyref) => Some(Argument::Sturdyref(sturdyref)),
            Err(error) => {
                // The error shows no secret part; it says what is expected.
                checker.mistake(place, error.to_string(), "paste the whole line of a .ref file");
                None
            }
        };
    }
    if scope.vat == Some(text) {
        let fix = "pass the root within the vat's own code instead";
        checker.mistake(place, format!("vat `{text}` is given a reference to itself"), fix);
    } else if !scope.vats.contains(&text) {
        if !scope.vats_uncertain {
            let fix = unknown_name(text, scope.vats, "[[vat]]");
            checker.mistake(place, format!("there is no vat `{}`", text.escape_debug()), fix);
        }
        return None;
    }
    Some(Argument::Vat(text.to_string()))
}

/// The remedy for a name that nothing has.
pub(super) fn unknown_name(name: &str, names: &[&str], section: &str) -> String {
    match (nearest(name, names.iter().copied()), names) {
        (Some(nearest), _) => format!("did you mean `{nearest}`?"),
        (None, []) => format!("add a {section} of that name"),
        (None, names) => format!("add a {section} of that name, or use one of {}", names.join(", ")),
    }
}

fn data(key: &str, node: &Node, checker: &mut Checker) -> Option<abi::Value> {
    let place = node.place;
    match &node.value {
        Value::Broken => None,
        Value::Bool(flag) => Some(abi::Value::Bool(*flag)),
        Value::String(text) => Some(abi::Value::String(text.clone())),
        Value::Float(number) => Some(abi::Value::Number(if number.is_nan() { f64::NAN } else { *number })),
        Value::Integer(number) => {
            let exact = number.value.filter(|number| number.unsigned_abs() <= MAX_SAFE_INTEGER);
            if exact.is_none() {
                let problem = format!("the number in `{key}` is not exact in JavaScript");
                checker.mistake(place, problem, "write it as a string, and make a BigInt of it in the vat");
            }
            exact.map(|number| abi::Value::Number(number as f64))
        }
        Value::Datetime => {
            checker.mistake(place, format!("`{key}` is a date, which no vat can be given"), "write it as a string");
            None
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| data(key, item, checker)).collect();
            items.into_iter().collect::<Option<_>>().map(abi::Value::Array)
        }
        Value::Table(table) => match special(node, checker) {
            Err(()) => None,
            Ok(Some(entry)) if entry.key == "file" => file(entry, checker),
            Ok(Some(entry)) => {
                let problem = format!("{} is inside of `{key}`", special_key(&entry.key).example);
                checker.mistake(place, problem, "give it a name of its own in [vat.argv]: only data may be nested");
                None
            }
            Ok(None) => record(table, checker),
        },
    }
}

fn record(table: &Table, checker: &mut Checker) -> Option<abi::Value> {
    let mut entry = |entry: &Entry| {
        if let Err((problem, fix)) = check_argument_name(&entry.key) {
            checker.mistake(entry.place, problem, fix);
            return None;
        }
        Some((entry.key.clone(), data(&entry.key, &entry.node, checker)?))
    };
    let entries: Vec<_> = table.entries.iter().map(&mut entry).collect();
    entries.into_iter().collect::<Option<_>>().map(abi::Value::Record)
}

/// The text of a file.
fn file(entry: &Entry, checker: &mut Checker) -> Option<abi::Value> {
    let name = checker.string(entry, special_key("file"))?;
    let place = entry.node.place;
    let path = checker.file(place, "the file", name)?;
    let (problem, fix) = match std::fs::metadata(&path).map(|metadata| metadata.len()) {
        Ok(length) if length > MAX_ARGUMENT_FILE_BYTES => (
            format!("the file `{name}` has {length} bytes, over the limit of {MAX_ARGUMENT_FILE_BYTES}"),
            "make it smaller, or send its parts to the vat".to_string(),
        ),
        _ => match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => return Some(abi::Value::String(text)),
            Ok(Err(_)) => {
                (format!("the file `{name}` is not UTF-8 text"), "encode it as text, base64 for example".into())
            }
            Err(error) => {
                (format!("the file `{name}` cannot be read ({error})"), "make it readable for this user".into())
            }
        },
    };
    checker.mistake(place, problem, fix);
    None
}

//! The guest's behaviour, as scripts: `guest_cases/*.txt`.

mod guest_support;

use guest_support::{Vat, describe};
use quorate_engine::heap::with_engine_stack;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Runs a script and gives it back with what really came of each command.
fn replay(script: &str) -> String {
    let mut out = String::new();
    let mut vat = Vat::new();
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut module = None;
    let mut running = false;
    for line in script.lines() {
        let mut said = Vec::new();
        if let Some(mark) = line.strip_prefix("@@ ") {
            module = None;
            match mark {
                "go" => {
                    said = describe(&vat.start(std::mem::take(&mut modules)));
                    running = true;
                }
                "new" => {
                    vat = Vat::new();
                    running = false;
                }
                path => module = Some(modules.entry(path.to_owned()).or_default()),
            }
        } else if let Some(text) = module.as_mut() {
            text.push_str(line);
            text.push('\n');
        } else if running && line.starts_with('>') {
            continue;
        } else if running && !line.is_empty() && !line.starts_with('#') {
            said = describe(&vat.command(line));
        }
        out.push_str(line);
        out.push('\n');
        for line in said {
            out.push_str(&format!("> {line}\n"));
        }
    }
    out
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest_cases").join(name);
    let script = fs::read_to_string(&path).expect("the case is there");
    let actual = with_engine_stack(|| replay(&script));
    if std::env::var_os("QUORATE_BLESS").is_some() {
        fs::write(&path, actual).expect("the case can be written");
        return;
    }
    for (number, (expected, actual)) in script.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(actual.lines().count(), script.lines().count(), "{name}");
}

#[test]
fn passables() {
    check("passables.txt");
}

#[test]
fn sends() {
    check("sends.txt");
}

#[test]
fn pipelining() {
    check("pipelining.txt");
}

#[test]
fn promises() {
    check("promises.txt");
}

#[test]
fn vows() {
    check("vows.txt");
}

#[test]
fn starting() {
    check("starting.txt");
}

#[test]
fn presences() {
    check("presences.txt");
}

#[test]
fn timers() {
    check("timers.txt");
}

#[test]
fn cancelling() {
    check("cancelling.txt");
}

#[test]
fn environment() {
    check("environment.txt");
}

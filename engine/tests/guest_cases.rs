//! The guest's behaviour, as scripts: `guest_cases/*.txt`.

mod guest_support;

use guest_support::{Vat, describe, replay};
use quorate_engine::heap::with_engine_stack;
use std::fs;
use std::path::Path;

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest_cases").join(name);
    let script = fs::read_to_string(&path).expect("the case is there");
    let actual = with_engine_stack(|| replay(&script, Vat::new, |_, crank| describe(crank)));
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
fn guards() {
    check("guards.txt");
}

#[test]
fn presences() {
    check("presences.txt");
}

#[test]
fn publishing() {
    check("publishing.txt");
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

#[test]
fn handled_promises() {
    check("handled.txt");
}

#[test]
fn what_packages_of_endo_make_and_ask() {
    check("endo.txt");
}

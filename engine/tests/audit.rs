//! What a program can reach, and what it cannot: a walk over everything, and attempts to get out. The programs are in `audit/`; that each
//! attempt gets through when its defence is taken out is shown by `make audit-plants`.

#[path = "audit/attempts.rs"]
mod attempts;
mod guest_support;

use attempts::{Attempts, LIMITS, WALK, answer, started};
use quorate_engine::heap::with_engine_stack;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Fewer objects than this were not a walk over the language.
const MIN_OBJECTS: u64 = 600;
/// How many attempts there are at least.
const MIN_ATTEMPTS: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit")
}

#[test]
fn all_that_can_be_reached_is_frozen_and_tells_nothing() {
    let folder = folder();
    let walk = Attempts::of(&folder, LIMITS).text(WALK);
    with_engine_stack(|| {
        let mut vat = started(&[("main.js", &walk)], LIMITS).expect("it starts");
        for method in ["module", "compartment", "confined"] {
            let found = answer(&mut vat, method);
            assert_eq!(found["wrong"], json!([]), "{method}: {found}");
            let objects = found["objects"].as_u64().unwrap_or_default();
            assert!(objects > MIN_OBJECTS, "{method} walked over {objects} objects");
            assert!(found["asked"].as_u64().unwrap_or_default() >= 2, "{method} asked for no clock: {found}");
        }
        let planted = answer(&mut vat, "planted").to_string();
        for expected in
            ["soft is not frozen", "soft.deep is not frozen", "soft.deep can be configured", "clock.now gives 12"]
        {
            assert!(planted.contains(expected), "the walk passes over {expected:?}: {planted}");
        }
    });
}

#[test]
fn nobody_gets_out() {
    let folder = folder();
    let attempts = Attempts::of(&folder, LIMITS);
    let names = attempts.names();
    assert!(names.len() >= MIN_ATTEMPTS, "{} attempts", names.len());
    with_engine_stack(|| {
        let mut through = Vec::new();
        for name in &names {
            let text = attempts.text(name);
            assert!(text.starts_with("// tries: ") && text.contains("\n// defence: "), "{name} says what it tries");
            let found = attempts.run(name, "").expect("it starts");
            if !found.holds() {
                through.push(format!("{name}: {found:?}"));
            }
        }
        assert!(through.is_empty(), "{}", through.join("\n"));
    });
}

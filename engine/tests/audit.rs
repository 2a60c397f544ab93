//! What a program can reach, and what it cannot: a walk over everything, and attempts to get out. The programs are in `audit/`.

mod guest_support;

use guest_support::{Vat, describe};
use quorate_engine::abi::Value;
use quorate_engine::heap::{CrankOutcome, Limits, with_engine_stack};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LIMITS: Limits = Limits { fuel_per_delivery: 20_000_000_000, memory_bytes: 128 << 20 };
/// Fewer objects than this were not a walk over the language.
const MIN_OBJECTS: u64 = 600;
/// How many attempts there are at least.
const MIN_ATTEMPTS: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("the file is there")
}

fn started(modules: &[(&str, &str)]) -> Vat {
    let mut vat = Vat::with_limits(LIMITS);
    let modules = modules.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let crank = vat.start(modules.collect::<BTreeMap<_, _>>());
    assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{}", describe(&crank).join("\n"));
    vat
}

/// The answer of a method without arguments.
fn answer(vat: &mut Vat, method: &str) -> Json {
    let crank = vat.call(method, &Value::Array(vec![]));
    let said = describe(&crank);
    let found =
        said.iter().rev().find_map(|line| line.strip_prefix("settle p").and_then(|line| line.split_once(" ok ")));
    match found {
        Some((_, data)) => serde_json::from_str(data).expect("JSON"),
        None => json!({ "came to": said }),
    }
}

#[test]
fn all_that_can_be_reached_is_frozen_and_tells_nothing() {
    with_engine_stack(|| {
        let mut vat = started(&[("main.js", &read("walk.js"))]);
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
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".js") && name != "lib.js" && name != "walk.js")
        .collect();
    names.sort();
    assert!(names.len() >= MIN_ATTEMPTS, "{} attempts", names.len());
    let (main, lib) = (
        "import { attempt } from './attempt.js'; export default argv => Far('root', { attempt() { return attempt(argv); } });",
        read("lib.js"),
    );
    with_engine_stack(|| {
        let mut through = Vec::new();
        for name in &names {
            let text = read(name);
            assert!(text.starts_with("// tries: ") && text.contains("\n// defence: "), "{name} says what it tries");
            let found = answer(&mut started(&[("main.js", main), ("attempt.js", &text), ("lib.js", &lib)]), "attempt");
            let tried = found["tried"].as_u64().unwrap_or_default();
            if found["escaped"] != json!([]) || tried == 0 {
                through.push(format!("{name}: {found}"));
            }
        }
        assert!(through.is_empty(), "{}", through.join("\n"));
    });
}

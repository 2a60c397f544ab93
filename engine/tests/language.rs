//! The language gives the values that it should, in the image: `language_cases/*.js`, and whole vats in `language_cases/inputs/`.

mod guest_support;

use guest_support::{Vat, describe};
use quorate_engine::abi::{Output, Resolution, Value};
use quorate_engine::heap::{Crank, CrankOutcome, Limits, with_engine_stack};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lists of cases are long, and are run in one delivery.
const LIMITS: Limits = Limits { fuel_per_delivery: 50_000_000_000, memory_bytes: 128 << 20 };

const MAIN: &str = "
    import cases from './cases.js';
    import { run } from './runner.mjs';
    export default () => ({
        count: () => cases.length,
        run: async () => (await run(cases)).map(({ name, got, want }) => `${name}: got ${got}, want ${want}`),
    });
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language_cases")
}

/// Files with an ending, by name without it, in order.
fn files(folder: &Path, ending: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
        Some((name, fs::read_to_string(&path).expect("readable")))
    });
    named.collect()
}

/// The modules that cases may import.
fn helpers(folder: &Path) -> BTreeMap<String, String> {
    files(folder, ".mjs").into_iter().map(|(name, text)| (format!("{name}.mjs"), text)).collect()
}

/// What the one settlement of a delivery says.
fn answer(crank: &Crank) -> Option<Value> {
    let CrankOutcome::Done { outputs } = &crank.outcome else { return None };
    outputs.iter().find_map(|output| match output {
        Output::Settle { resolution: Resolution::Fulfilled(data), .. } => data.value().ok(),
        _ => None,
    })
}

/// Runs one list of cases and says which fail.
fn failures(name: &str, text: &str) -> Vec<String> {
    let mut modules = helpers(&folder());
    modules.insert("cases.js".into(), text.into());
    modules.insert("main.js".into(), MAIN.into());
    let mut vat = Vat::with_limits(LIMITS);
    let started = vat.start(modules);
    if !matches!(started.outcome, CrankOutcome::Done { .. }) {
        return vec![format!("{name}: {:?}", describe(&started))];
    }
    match answer(&vat.call("count", &Value::Array(vec![]))) {
        Some(Value::Number(count)) if count > 0.0 => {}
        other => return vec![format!("{name} has no cases: {other:?}")],
    }
    let crank = vat.call("run", &Value::Array(vec![]));
    match answer(&crank) {
        Some(Value::Array(failed)) => failed
            .iter()
            .map(|line| match line {
                Value::String(line) => format!("{name}: {line}"),
                other => format!("{name}: {other:?}"),
            })
            .collect(),
        _ => vec![format!("{name}: {:?}", describe(&crank))],
    }
}

fn run_share(share: usize, shares: usize) {
    let lists = files(&folder(), ".js");
    let failed: Vec<String> = with_engine_stack(|| {
        let mine = lists.iter().skip(share).step_by(shares);
        mine.flat_map(|(name, text)| failures(name, text)).collect()
    });
    assert!(failed.is_empty(), "{} cases fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn cases_of_the_language_part_one() {
    run_share(0, 2);
}

#[test]
fn cases_of_the_language_part_two() {
    run_share(1, 2);
}

/// What a whole vat comes to: its exit value, or why there is none.
fn outcome(text: &str, helpers: &BTreeMap<String, String>) -> String {
    let mut modules = helpers.clone();
    modules.insert("main.js".into(), text.into());
    let crank = Vat::with_limits(LIMITS).start(modules);
    if let CrankOutcome::Done { outputs } = &crank.outcome
        && let Some(Output::Exit { value }) = outputs.iter().find(|output| matches!(output, Output::Exit { .. }))
    {
        return value.value().expect("well formed").to_json().to_string();
    }
    describe(&crank).join(" ")
}

/// Whether an outcome is what a line of an expectation says. Many vats exit with a JSON text, and texts differ in how they write
/// numbers, so values are compared.
fn is_expected(line: &str, outcome: &str) -> bool {
    if line.starts_with("does not start") {
        return outcome.starts_with(line);
    }
    let read = |text: &str| Some(numbers(serde_json::from_str::<serde_json::Value>(text).ok()?));
    let (Some(wanted), Some(got)) = (read(line), read(outcome)) else { return false };
    got == wanted || got.as_str().and_then(read) == Some(wanted)
}

/// The same value with all numbers as floating-point numbers.
fn numbers(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) => number.as_f64().into(),
        serde_json::Value::Array(items) => items.into_iter().map(numbers).collect(),
        other => other,
    }
}

#[test]
fn whole_vats_exit_with_what_is_right() {
    let folder = folder().join("inputs");
    let (vats, expected, helpers) = (files(&folder, ".js"), files(&folder, ".expect"), helpers(&folder));
    assert!(!vats.is_empty() && vats.keys().eq(expected.keys()), "each vat has its expectation");
    let failed: Vec<String> = with_engine_stack(|| {
        let wrong = vats.iter().filter_map(|(name, text)| {
            let got = outcome(text, &helpers);
            let right = expected[name].lines().any(|line| is_expected(line, &got));
            (!right).then(|| format!("{name}: got {got}, want {}", expected[name].trim()))
        });
        wrong.collect()
    });
    assert!(failed.is_empty(), "{} vats are wrong:\n{}", failed.len(), failed.join("\n"));
}

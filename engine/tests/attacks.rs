//! What somebody tried against a vat, in files: `attacks/*.js`. See `attacks/README.md` for their form.

mod guest_support;

use guest_support::{Vat, describe, image};
use quorate_engine::abi::{Delivery, News, Value};
use quorate_engine::error::EngineError;
use quorate_engine::heap::{Crank, CrankOutcome, Heap, Limits, with_engine_stack};
use quorate_engine::machine::Guest;
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a vat has by default.
const LIMITS: Limits = Limits { fuel_per_delivery: 5_000_000_000, memory_bytes: 128 << 20 };
/// A start may do all that the file tries, many times over.
const START_FUEL: u64 = 40_000_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks")
}

/// A line `// call METHOD ARGUMENTS => WHAT`.
struct Call<'a> {
    line: &'a str,
    method: &'a str,
    arguments: Value,
    expected: &'a str,
}

fn calls(source: &str) -> Vec<Call<'_>> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("// call "));
    let calls = lines.map(|line| {
        let (call, expected) = line.rsplit_once(" => ").expect("a call says what must come of it");
        let (method, arguments) = call.split_once(' ').unwrap_or((call, ""));
        let list = serde_json::from_str(&format!("[{arguments}]")).expect("arguments are JSON");
        Call { line, method, arguments: Value::from_json(&list).expect("values"), expected }
    });
    calls.collect()
}

/// What is wrong with what came of a call.
fn complaint(crank: &Crank, call: &Call<'_>) -> Option<String> {
    let said = describe(crank);
    let settled = said.iter().find_map(|line| line.strip_prefix("settle p")).map(|line| {
        let (_, line) = line.split_once(' ').expect("a settlement has a value");
        line.split_once(" | ").map_or(line, |(data, _)| data).to_owned()
    });
    let good = match (&crank.outcome, call.expected.split_once(' ').unwrap_or((call.expected, ""))) {
        (CrankOutcome::RolledBack { limit }, ("limit", name)) => name.is_empty() || limit.as_str() == name,
        (CrankOutcome::Done { .. }, ("ok", text)) => settled.as_deref().is_some_and(|settled| {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            settled.strip_prefix("ok ").is_some_and(|found| text.is_empty() || value(found) == value(text))
        }),
        (CrankOutcome::Done { .. }, ("no", text)) => settled.as_deref().is_some_and(|settled| {
            let found = settled.strip_prefix("no ").map(|found| found.replace("\\\\", "\\"));
            found.is_some_and(|found| found.contains(text))
        }),
        _ => false,
    };
    (!good).then(|| {
        let mut said = said.join("\n  ");
        if let Some((end, _)) = said.char_indices().nth(600) {
            said.truncate(end);
        }
        format!("{}\n  came to: {said}", call.line)
    })
}

/// A delivery as on a host: what finds no room is tried again after a collection.
fn deliver(vat: &mut Vat, call: &Call<'_>) -> Crank {
    let delivery = vat.next_call(call.method, &call.arguments);
    Guest::deliver(&mut vat.heap, &delivery, &News::default()).expect("no fault of the host")
}

/// What was done must not hurt anybody later: a hundred ordinary calls, a collection, and the same after a restart.
fn goes_on(vat: &mut Vat, pages: &mut Pages) -> Option<String> {
    let call = Call {
        line: "an ordinary call afterwards",
        method: "no such method",
        arguments: Value::Array(vec![]),
        expected: "no target has no method",
    };
    let hundred = |vat: &mut Vat| {
        let wrong = (0..100).find_map(|_| complaint(&deliver(vat, &call), &call));
        let collection = vat.heap.deliver(&Delivery::Collect).expect("no fault of the host");
        let done = matches!(collection.outcome, CrankOutcome::Done { .. });
        wrong.or_else(|| (!done).then(|| format!("a collection afterwards: {:?}", collection.outcome)))
    };
    let mut other = restarted(vat, pages);
    hundred(vat).or_else(|| hundred(&mut other))
}

/// The pages of all checkpoints of a vat.
type Pages = BTreeMap<Hash, Vec<u8>>;

/// The same vat on another heap, which has the limits of an ordinary one.
fn restarted(vat: &mut Vat, pages: &mut Pages) -> Vat {
    let checkpoint = vat.heap.checkpoint().expect("checkpoints");
    pages.extend(checkpoint.new_pages);
    let mut fetch = |hash: &Hash| {
        let page = pages.get(hash).cloned();
        page.ok_or_else(|| EngineError::Checkpoint(format!("page {hash} is not there")))
    };
    vat.on(Heap::restore(image(), LIMITS, &checkpoint.manifest, &mut fetch).expect("restores"))
}

/// All that is wrong with what came of one file.
fn wrong(name: &str) -> Vec<String> {
    let source = std::fs::read_to_string(folder().join(name)).expect("the file is there");
    let mut vat = Vat::with_limits(Limits { fuel_per_delivery: START_FUEL, ..LIMITS });
    let crank = vat.start(BTreeMap::from([("main.js".to_owned(), source.clone())]));
    let said = describe(&crank);
    if !matches!(crank.outcome, CrankOutcome::Done { .. }) {
        return vec![format!("does not start: {}", said.join("\n"))];
    }
    let mut wrong: Vec<String> = said.into_iter().filter(|line| line.contains("BAD")).collect();
    let mut pages = Pages::new();
    vat = restarted(&mut vat, &mut pages);
    let calls = calls(&source);
    assert!(!calls.is_empty(), "{name} says what to call");
    for call in &calls {
        let crank = deliver(&mut vat, call);
        wrong.extend(complaint(&crank, call));
        wrong.extend(describe(&crank).into_iter().filter(|line| line.contains("BAD")));
    }
    wrong.extend(goes_on(&mut vat, &mut pages));
    wrong
}

fn try_all(part: impl Fn(&str) -> bool) {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".js") && part(name))
        .collect();
    names.sort();
    assert!(names.len() > 8, "the files are there: {names:?}");
    let found: Vec<String> = with_engine_stack(|| {
        names.iter().flat_map(|name| wrong(name).into_iter().map(move |line| format!("{name}: {line}"))).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nobody_gets_through_a_to_l() {
    try_all(|name| name < "m");
}

#[test]
fn nobody_gets_through_m_to_r() {
    try_all(|name| ("m".."s").contains(&name));
}

#[test]
fn nobody_gets_through_s_to_z() {
    try_all(|name| name >= "s");
}

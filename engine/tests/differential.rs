//! Programs of fixed seeds end in a vat as they end in Node: the same trace, the same result.
//!
//! `make differential` runs more of them, other seeds, and shrinks what differs. What the programs are made of is in
//! `differential/generate/`.

#[path = "differential/runner.rs"]
mod runner;

use runner::Comparison;
use std::collections::BTreeMap;
use std::path::Path;

const PROGRAMS: u32 = 400;

fn comparison(name: &str) -> Comparison {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Comparison::new(folder.join(name), &folder.join("engine-cache")).expect("the image loads")
}

#[test]
fn programs_of_fixed_seeds_end_as_in_node() {
    let comparison = comparison("differential-programs");
    comparison.generate(1, PROGRAMS).expect("the programs are generated");
    let differences = comparison.differences().expect("they run");
    let show = |one: &runner::Difference| {
        let (node, vat) = one.first_lines();
        format!("{}: node: {node}; vat: {vat}", one.name)
    };
    let shown: Vec<String> = differences.iter().take(10).map(show).collect();
    assert!(
        differences.is_empty(),
        "{} of {PROGRAMS} programs differ; reproduce one with `make differential SEED=n SEEDS=1`:\n{}",
        differences.len(),
        shown.join("\n")
    );
}

/// A generator that makes programs which all fail at once, or that are no programs, would find nothing.
#[test]
fn most_programs_run_to_their_end() {
    let comparison = comparison("differential-ends");
    comparison.generate(1, PROGRAMS).expect("the programs are generated");
    let results = comparison.node_results().expect("they run");
    let mut ends = BTreeMap::new();
    for result in results.values() {
        let end = result.lines().last().and_then(|line| line.split(' ').next()).unwrap_or_default();
        *ends.entry(end).or_insert(0) += 1;
        assert!(!result.ends_with("error SyntaxError!"), "{result}");
    }
    assert_eq!(results.len(), PROGRAMS as usize);
    assert!(ends["value"] * 2 > PROGRAMS, "{ends:?}");
    let lines: usize = results.values().map(|result| result.lines().count()).sum();
    assert!(lines > 10 * results.len(), "{lines} lines of trace");
}

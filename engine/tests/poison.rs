//! Scripts that hurt a JavaScript host, delivered to a vat: every one ends cleanly, leaves no trace if it was rolled back,
//! and ends alike on every replica. The scripts are in `poison/`; each is evaluated whole, and its value is the answer.

mod vat;

use quorate_engine::abi::Value;
use quorate_engine::heap::{Crank, CrankOutcome, LimitKind, with_engine_stack};
use std::path::Path;
use vat::{EVALUATOR, LIMITS, Vat, settled};

/// Where the interpreter gives up instead of naming a limit: it meets its limit of recursion where it starts an async function.
const FAULTS: [&str; 1] = ["async-recursion"];

fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poison");
    let entries = std::fs::read_dir(&folder).expect("the folder is there");
    let mut scripts: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("readable"))
        })
        .collect();
    scripts.sort();
    assert!(scripts.len() > 90);
    scripts
}

fn describe(crank: &Crank) -> String {
    match &crank.outcome {
        CrankOutcome::Done { .. } => format!("done {:.60}", format!("{:?}", settled_or_pending(crank))),
        other => format!("{other:?}"),
    }
}

fn settled_or_pending(crank: &Crank) -> Option<Result<Value, Value>> {
    let CrankOutcome::Done { outputs } = &crank.outcome else { return None };
    (!outputs.is_empty()).then(|| settled(crank))
}

/// Runs a share of the scripts one after another in one vat, twice: the second vat gets only those that were not rolled back.
fn survive(share: usize, shares: usize) {
    let scripts = scripts();
    with_engine_stack(|| {
        let (mut poisoned, mut clean) = (Vat::start(LIMITS, EVALUATOR), Vat::start(LIMITS, EVALUATOR));
        let mut pings = 0.0;
        for (name, text) in scripts.iter().skip(share).step_by(shares) {
            let crank = poisoned.run(text);
            println!("{name}: {} fuel {}", describe(&crank), crank.fuel);
            let is_fault = matches!(&crank.outcome, CrankOutcome::RolledBack { limit: LimitKind::Abort });
            assert_eq!(
                is_fault,
                FAULTS.contains(&name.as_str()),
                "{name}: a fault of the interpreter, or one of the limits"
            );
            if matches!(crank.outcome, CrankOutcome::Done { .. }) {
                assert_eq!(clean.run(text), crank, "{name} on a second replica");
            } else {
                clean.call("run", vec![]);
            }
            pings += 1.0;
            let ping = poisoned.deliver("ping", vec![]);
            assert_eq!(settled(&ping), Ok(Value::Number(pings)), "after {name}");
            assert_eq!(clean.deliver("ping", vec![]), ping, "after {name}");
            let roots =
                [&mut poisoned, &mut clean].map(|vat| vat.heap.checkpoint().expect("checkpoints").manifest.root());
            assert_eq!(roots[0], roots[1], "the heap after {name}");
        }
    });
}

#[test]
fn poison_is_survived_part_one() {
    survive(0, 2);
}

#[test]
fn poison_is_survived_part_two() {
    survive(1, 2);
}

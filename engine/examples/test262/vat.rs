//! Runs tests in vats: some hundreds share one, each in a delivery of its own.

use crate::suite::{Suite, Test};
use quorate_engine::abi::{Bundle, CapData, Delivery, Method, Output, Resolution, Slot, Value};
use quorate_engine::heap::{CrankOutcome, Heap, Limits};
use quorate_engine::image::Image;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one test may use. The largest that pass use a third of it.
const LIMITS: Limits = Limits { fuel_per_delivery: 10_000_000_000, memory_bytes: 1 << 30 };

const ENTRY: &str = "
    import { Far } from '@endo/far';
    const nameOf = error => {
        try {
            const name = Object(error) === error ? error.constructor.name : typeof error;
            return `${name}: ${Object(error) === error ? error.message : String(error)}`;
        } catch {
            return 'an error without a name';
        }
    };
    export default () => Far('root', {
        async go(path) {
            try {
                const { t262 } = await import(`./${path}`);
                await t262;
                return '';
            } catch (error) {
                return nameOf(error);
            }
        },
    });
";

/// Returns how each test failed, or `None` if it passed, in the order of `tests`.
pub fn run(image: &Arc<Image>, suite: &Suite, tests: &[&Test]) -> Result<Vec<Option<String>>, String> {
    let mut modules = BTreeMap::from([("main.js".to_owned(), ENTRY.to_owned())]);
    for test in tests {
        modules.insert(test.path.clone(), suite.module(test)?);
        modules.extend(suite.fixtures(test)?);
    }
    let bundle = Bundle { entry: "main.js".into(), modules };
    let argv = CapData::data(&Value::Record(vec![]));
    let mut heap = Heap::new(image.clone(), LIMITS).map_err(|error| error.to_string())?;
    let crank = heap.deliver(&Delivery::Start { bundle, argv, endowments: vec![] });
    let crank = crank.map_err(|error| error.to_string())?;
    if !matches!(crank.outcome, CrankOutcome::Done { .. }) {
        return Err(format!("the vat does not start: {:?}", crank.outcome));
    }
    let mut results = Vec::new();
    for (number, test) in (1..).zip(tests) {
        let crank = heap.deliver(&Delivery::Call {
            target: Slot::VatObject(0),
            method: Method::Call("go".into()),
            args: CapData::data(&Value::Array(vec![Value::String(test.path.clone())])),
            result: Some(Slot::HostPromise(number)),
        });
        results.push(verdict(test, &crank.map_err(|error| error.to_string())?.outcome));
    }
    Ok(results)
}

fn verdict(test: &Test, outcome: &CrankOutcome) -> Option<String> {
    let end = match outcome {
        CrankOutcome::Done { outputs } => outputs.iter().find_map(|output| match output {
            Output::Settle { resolution: Resolution::Fulfilled(data), .. } => data.value().ok(),
            _ => None,
        }),
        CrankOutcome::RolledBack { limit } => return Some(format!("exceeded the {} limit", limit.as_str())),
        CrankOutcome::StartFailed { message } => return Some(message.clone()),
    };
    let Some(Value::String(end)) = end else { return Some("did not end".to_owned()) };
    match &test.negative {
        None => (!end.is_empty()).then_some(end),
        Some(wanted) if end.starts_with(&format!("{wanted}: ")) => None,
        Some(wanted) if end.is_empty() => Some(format!("ended well; must end with {wanted}")),
        Some(wanted) => Some(format!("must end with {wanted}; {end}")),
    }
}

//! A vat on the real image, driven by hand: for tests of the heap.
#![allow(dead_code, reason = "each test file uses its part")]

use quorate_engine::abi::{Bundle, CapData, Delivery, Method, Output, Resolution, Slot, Value};
use quorate_engine::heap::{Crank, CrankOutcome, Heap, Limits};
use quorate_engine::image::Image;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Small, so that what never ends takes a fraction of a second to be stopped.
pub const LIMITS: Limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 64 << 20 };

/// A root that evaluates text, and counts.
pub const EVALUATOR: &str = "
    import { Far } from '@endo/far';
    export default function (argv) {
        let n = 0;
        return Far('root', { run(text) { return (0, eval)(text); }, ping() { n += 1; return n; } });
    }
";

pub fn image() -> Arc<Image> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-cache");
    Image::load(&cache).expect("the image compiles")
}

pub struct Vat {
    pub heap: Heap,
    next_result: u64,
}

impl Vat {
    pub fn start(limits: Limits, source: &str) -> Vat {
        let mut heap = Heap::new(image(), limits).expect("a new heap");
        let crank = heap.deliver(&Vat::delivery_of(source)).expect("no fault of the host");
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        Vat { heap, next_result: 0 }
    }

    /// A vat that was started on this heap.
    pub fn over(heap: Heap) -> Vat {
        Vat { heap, next_result: 0 }
    }

    /// The start of a vat with this one module.
    pub fn delivery_of(source: &str) -> Delivery {
        let modules = BTreeMap::from([("main.js".to_owned(), source.to_owned())]);
        let bundle = Bundle { entry: "main.js".into(), modules };
        Delivery::Start { bundle, argv: CapData::data(&Value::Record(vec![])), endowments: vec![] }
    }

    /// The same vat on another heap.
    pub fn restored(&self, heap: Heap) -> Vat {
        Vat { heap, next_result: self.next_result }
    }

    /// The call as it is handed to the guest.
    pub fn call(&mut self, method: &str, arguments: Vec<Value>) -> Delivery {
        self.next_result += 1;
        Delivery::Call {
            target: Slot::VatObject(0),
            method: Method::Call(method.into()),
            args: CapData::data(&Value::Array(arguments)),
            result: Some(Slot::HostPromise(self.next_result)),
        }
    }

    pub fn deliver(&mut self, method: &str, arguments: Vec<Value>) -> Crank {
        let delivery = self.call(method, arguments);
        self.heap.deliver(&delivery).expect("no fault of the host")
    }

    pub fn run(&mut self, text: &str) -> Crank {
        self.deliver("run", vec![Value::String(text.into())])
    }
}

/// What the one settlement of a good delivery says: `Ok` with a fulfilment, `Err` with a reason.
pub fn settled(crank: &Crank) -> Result<Value, Value> {
    let CrankOutcome::Done { outputs } = &crank.outcome else { panic!("rolled back: {crank:?}") };
    let resolution = outputs.iter().find_map(|output| match output {
        Output::Settle { resolution, .. } => Some(resolution),
        _ => None,
    });
    match resolution.expect("the result has settled") {
        Resolution::Fulfilled(data) => Ok(data.value().expect("well formed")),
        Resolution::Rejected(data) => Err(data.value().expect("well formed")),
    }
}

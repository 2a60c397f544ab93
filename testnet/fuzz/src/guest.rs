//! Values through a real guest: what it is given, it says again.

use crate::{Decoder, GUEST_MEMORY};
use quorate_engine::heap::{CrankOutcome, Heap, Limits};
use quorate_engine::image::Image;
use quorate_streams::abi::{Bundle, CapData, Delivery, Method, Output, Resolution, Slot, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;

/// All of them.
pub(crate) fn all() -> Vec<Decoder> {
    vec![Decoder { name: "guest-value", from: "another vat, in the guest", run: echo, memory: GUEST_MEMORY, runs: 20 }]
}

const LIMITS: Limits = Limits { fuel_per_delivery: 400_000_000, memory_bytes: 64 << 20 };
const ECHO: &str = "export default () => Far('echo', { echo: x => x });";
/// What may be named.
const SLOTS: [Slot; 3] = [Slot::HostObject(1), Slot::HostObject(2), Slot::VatObject(0)];
/// The sandbox asks for 17 MiB.
const STACK_BYTES: usize = 64 << 20;
/// Deliveries after which another heap is begun.
const DELIVERIES: u64 = 4_096;

struct Guest {
    heap: Heap,
    results: u64,
}

impl Guest {
    fn new() -> Guest {
        let cache = std::env::current_exe().expect("this program has a path").with_file_name("image-cache");
        let image = Image::load(&cache).expect("the image loads");
        let mut heap = Heap::new(image, LIMITS).expect("a heap");
        let start = Delivery::Start {
            bundle: Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".into(), ECHO.into())]) },
            argv: CapData::data(&Value::Record(Vec::new())),
            endowments: Vec::new(),
        };
        let crank = heap.deliver(&start).expect("the host is well");
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        Guest { heap, results: 0 }
    }

    /// What the guest answers. `None`: the delivery was undone, or it was refused.
    fn echo(&mut self, value: Value) -> Option<Value> {
        self.results += 1;
        let result = Slot::HostPromise(self.results);
        let args = CapData::new(&Value::Array(vec![value]), SLOTS.to_vec());
        let method = Method::Call("echo".into());
        let call = Delivery::Call { target: Slot::VatObject(0), method, args, result: Some(result) };
        let crank = self.heap.deliver(&call).expect("a value is no fault of the host");
        let CrankOutcome::Done { outputs } = crank.outcome else { return None };
        outputs.into_iter().find_map(|output| match output {
            Output::Settle { promise, resolution: Resolution::Fulfilled(data) } if promise == result => {
                Some(data.value().expect("a guest says well-formed values"))
            }
            _ => None,
        })
    }
}

/// What goes to the guest's thread, which has a large stack, and comes back.
type Ways = (mpsc::Sender<Value>, mpsc::Receiver<Option<Value>>);

static GUEST: LazyLock<Mutex<Ways>> = LazyLock::new(|| {
    let (give, given) = mpsc::channel::<Value>();
    let (say, said) = mpsc::channel();
    let serve = move || {
        let mut guest = Guest::new();
        for value in given {
            if guest.results >= DELIVERIES {
                guest = Guest::new();
            }
            if say.send(guest.echo(value)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(serve).expect("a thread");
    Mutex::new((give, said))
});

/// A value as another vat may send it. Data comes back as it was; what the guest refuses, it refuses in words.
fn echo(bytes: &[u8]) -> bool {
    let Ok(value) = Value::decode(bytes) else { return false };
    // What `wire` refuses never reaches a guest.
    let args = CapData::new(&Value::Array(vec![value.clone()]), SLOTS.to_vec());
    if quorate_streams::wire::check_data(&args).is_err() {
        return false;
    }
    let said = {
        let guest = GUEST.lock().expect("the guest's host is well");
        guest.0.send(value.clone()).expect("the guest's host is well");
        guest.1.recv().expect("the guest's host is well")
    };
    if let Some(said) = &said
        && value.slot_bound() == 0
        && is_plain(&value)
    {
        assert_eq!(*said, value, "the guest says something else than it was given");
    }
    said.is_some()
}

/// Whether a value has only what a guest keeps as it is: keys of records once each, and none that the language orders or means otherwise.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_plain),
        Value::Record(fields) => {
            let keys: BTreeSet<&String> = fields.iter().map(|(key, _)| key).collect();
            keys.len() == fields.len()
                && fields
                    .iter()
                    .all(|(key, value)| key.starts_with(|first: char| first.is_ascii_lowercase()) && is_plain(value))
        }
        Value::Tagged(..) | Value::Error { .. } | Value::Symbol(_) => false,
        _ => true,
    }
}

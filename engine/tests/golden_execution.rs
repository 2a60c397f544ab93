//! What must never change under vats that exist: what executing costs and leaves behind, and the bytes between host and guest.
//!
//! `golden/execution.txt` belongs to one image. If its first line has changed too, the image is a new one, vats that exist stay
//! on theirs, and the file is written anew (`QUORATE_GOLDEN=write cargo test -p quorate-engine --test golden_execution`). If not, the
//! same image costs or computes something else than it did, most likely by another wasmtime: replicas with and without the
//! change would part, so it needs a new image or a parameter of the genesis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::golden;
use quorate_engine::Hash;
use quorate_engine::abi::{
    self, Bundle, CapData, Delivery, Method, News, Outcome, Output, Resolution, Slot, Turn, Value,
};
use quorate_engine::heap::{GlobalValue, Heap, HeapManifest, with_engine_stack};
use quorate_engine::image::image_hash;
use quorate_engine::wire::codec;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use vat::{EVALUATOR, LIMITS, Vat, image};

/// A bit of everything that could cost or come out differently: calls, numbers, text, objects, a limit.
const SCRIPTS: [&str; 5] = [
    "const f = n => n < 2 ? n : f(n - 1) + f(n - 2); f(15)",
    "[Math.sin(1e10), Math.exp(1.5), 0.1 + 0.2, 2 ** 0.5, 1 / 3, (1234.5678).toFixed(2), 3n ** 300n].map(String).join()",
    "JSON.stringify(JSON.parse('[1,{\"a\":[true,null,\"é\"]}]'.repeat(1))) + /(a+)b\\1/.exec('xaabaay')[0] + 'ß'.normalize('NFD')",
    "Array.from({ length: 500 }, (_, i) => ({ key: (i * 7919) % 503 })).sort((a, b) => a.key - b.key).map(o => o.key).join()",
    "const deep = n => deep(n + 1) + 1; deep(0)",
];

#[test]
fn an_image_costs_and_leaves_what_it_always_did() {
    let actual = with_engine_stack(|| {
        let mut text = format!("image {}\n", image_hash());
        let base = Heap::new(image(), LIMITS).unwrap().checkpoint().unwrap().manifest;
        writeln!(text, "base heap {} in {} pages", base.root(), base.pages.len()).unwrap();
        let mut vat = Vat::start(LIMITS, EVALUATOR);
        for (index, script) in SCRIPTS.iter().enumerate() {
            writeln!(text, "script {} fuel {}", index + 1, vat.run(script).fuel).unwrap();
        }
        writeln!(text, "heap after them {}", vat.heap.checkpoint().unwrap().manifest.root()).unwrap();
        text
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/execution.txt");
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    let same_image = actual.lines().next() == expected.lines().next();
    let advice = if same_image {
        "the same image costs or computes something else: this needs a new image or a parameter of the genesis"
    } else {
        "the image is a new one: write the file anew, as the head of this test says"
    };
    assert_eq!(actual, expected, "{advice}");
}

#[test]
fn a_heap_manifest_and_its_root_are_those_of_the_golden_files() {
    let manifest = HeapManifest {
        image: Hash([7; 32]),
        globals: vec![
            GlobalValue::I32(-1),
            GlobalValue::I64(i64::MIN),
            GlobalValue::F32(1.5f32.to_bits()),
            GlobalValue::F64((-0.0f64).to_bits()),
        ],
        pages: (1..=3).map(|byte| Hash([byte; 32])).collect(),
    };
    golden("heap-manifest", &codec::encode(1, &manifest));
    golden("heap-root", manifest.root().as_bytes());
    // As docs/protocol.md writes it.
    let leaf = |byte: u8| Hash::of_parts(&[&[0], &[byte; 32]]);
    let two = Hash::of_parts(&[&[1], leaf(1).as_bytes(), leaf(2).as_bytes()]);
    let tree = Hash::of_parts(&[&[1], two.as_bytes(), leaf(3).as_bytes()]);
    let mut globals = Vec::new();
    for (tag, bits) in [(0u8, 0xffff_ffffu64), (1, 1 << 63), (2, 0x3fc0_0000), (3, 1 << 63)] {
        globals.push(tag);
        globals.extend_from_slice(&bits.to_le_bytes());
    }
    let (four, three) = (4u64.to_le_bytes(), 3u64.to_le_bytes());
    let root = Hash::of_parts(&[b"quorate/heap/1", &[7; 32], &four, &globals, &three, tree.as_bytes()]);
    assert_eq!(manifest.root(), root);
}

/// Values of every kind, and slots of every kind.
fn data() -> CapData<Slot> {
    let items = vec![
        Value::Undefined,
        Value::Null,
        Value::Bool(true),
        Value::Number(-1.5),
        Value::String("é".into()),
        Value::BigInt("-12".into()),
        Value::Symbol("s".into()),
        Value::Record(vec![("k".into(), Value::Bytes(vec![1, 2]))]),
        Value::error("RangeError", "no"),
        Value::Tagged("t".into(), Box::new(Value::Slot(3))),
        Value::Named(1, "Purse".into()),
    ];
    let slots = vec![Slot::VatObject(1), Slot::HostObject(200), Slot::VatPromise(70_000), Slot::HostPromise(4)];
    CapData::new(&Value::Array(items), slots)
}

fn deliveries() -> Vec<(&'static str, Delivery)> {
    let modules = BTreeMap::from([("main.js".to_owned(), "export default () => 1".to_owned())]);
    let bundle = Bundle { entry: "main.js".into(), modules };
    let result = Some(Slot::HostPromise(300));
    let call = |method| Delivery::Call { target: Slot::VatObject(0), method, args: data(), result };
    let settle = vec![
        (Slot::VatPromise(1), Resolution::Fulfilled(data())),
        (Slot::HostPromise(2), Resolution::Rejected(CapData::data(&Value::Null))),
    ];
    vec![
        ("abi-start", Delivery::Start { bundle, argv: data(), endowments: vec!["exit".into()] }),
        ("abi-call", call(Method::Call("m".into()))),
        ("abi-apply", call(Method::Apply)),
        ("abi-get", call(Method::Get("p".into()))),
        ("abi-settle", Delivery::Settle(settle)),
        ("abi-hold", Delivery::Hold(Slot::VatPromise(9))),
        ("abi-collect", Delivery::Collect),
        ("abi-cancel", Delivery::Cancel(Slot::HostPromise(9))),
        ("abi-make-room", Delivery::MakeRoom),
        ("abi-wake", Delivery::Wake { timer: 300, failure: None }),
        ("abi-wake-failed", Delivery::Wake { timer: 1, failure: Some("no".into()) }),
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let send = |method, result| Output::Send { target: Slot::HostObject(1), method, args: data(), result };
    let outputs = vec![
        send(Method::Call("m".into()), Some(Slot::VatPromise(1))),
        send(Method::Apply, None),
        Output::Settle { promise: Slot::HostPromise(1), resolution: Resolution::Fulfilled(data()) },
        Output::Exit { value: data() },
        Output::Setup { failure: None },
        Output::Setup { failure: Some("no".into()) },
        Output::Cancel { result: Slot::VatPromise(2) },
        Output::Drop { slots: vec![Slot::HostObject(1), Slot::HostObject(300)] },
        Output::SetTimer { timer: 1, at_ms: 1_764_000_000_000 },
        Output::CancelTimer { timer: 300 },
    ];
    vec![
        ("abi-done", Outcome::Done { outputs }),
        ("abi-start-failed", Outcome::StartFailed { message: "no".into() }),
        ("abi-limit", Outcome::Limit { name: "stack".into() }),
    ]
}

#[test]
fn what_host_and_guest_say_to_each_other_is_that_of_the_golden_files() {
    for (name, delivery) in deliveries() {
        let retired = vec![Slot::HostPromise(1), Slot::VatPromise(256)];
        let news = News { now_ms: 1_764_000_000_000, retired, freed: vec![1, 300] };
        let bytes = Turn::encode_parts(&delivery, &news);
        golden(name, &bytes);
        let turn = Turn { delivery, news };
        assert_eq!(abi::encode(&turn), bytes, "{name}: the parts are encoded like the whole");
        assert_eq!(abi::decode::<Turn>(&bytes), Ok(turn), "{name}");
    }
    for (name, outcome) in outcomes() {
        golden(name, &abi::encode(&outcome));
        assert_eq!(abi::decode::<Outcome>(&abi::encode(&outcome)), Ok(outcome), "{name}");
    }
}

//! What must never change under vats that exist: what executing costs and leaves behind, and the bytes between host and guest.
//!
//! `golden/executions/HASH.txt` is a script of deliveries in the form of `guest_cases/README.md`, with all that each said, cost and left
//! in the heap of the image with that hash. The images that have such a file are those that the release supports.
//!
//! A new image gets a file of its own: `QUORATE_GOLDEN=write cargo test -p quorate-engine --test golden_execution` makes it from
//! `golden/executions/script.txt`. The files of older images stay as they are, script and all, as long as their vats are supported. The
//! bytes of older images are not part of the sources: `QUORATE_IMAGES=folder`, with a folder of `HASH.wasm` such as the `images` of a home,
//! runs them all. For an image that has no file yet, copy the script to one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod guest_support;

use comms_support::golden;
use guest_support::{Vat, describe, replay};
use quorate_engine::Hash;
use quorate_engine::abi::{
    self, Bundle, CapData, Delivery, Durable, Holding, Method, News, Outcome, Output, Resolution, Slot, Turn, Value,
};
use quorate_engine::heap::{GlobalValue, Heap, HeapManifest, Limits, with_engine_stack};
use quorate_engine::image::{Image, image_hash};
use quorate_engine::wire::codec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Small, so that the limits in the script are met soon.
const LIMITS: Limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 64 << 20 };

/// What it means that a line differs.
const ADVICE: &str = "the same image costs or computes something else than it did, most likely by another wasmtime: replicas with and without \
    the change would part, so it needs a new image or a parameter of the genesis";

/// The folder of golden executions: `HASH.txt` for each image, and `script.txt`, from which a new one is made.
fn executions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/executions")
}

/// What every delivery of a script said, cost, and left behind in this image.
fn execution(image: &Arc<Image>, hash: &str, script: &str) -> String {
    with_engine_stack(|| {
        let base = Heap::new(image.clone(), LIMITS).unwrap().checkpoint().unwrap().manifest;
        let head = format!("image {hash}\nbase heap {} in {} pages\n", base.root(), base.pages.len());
        let fresh = || Vat::in_image(image.clone(), LIMITS);
        let told = replay(script, fresh, |vat, crank| {
            let mut said = describe(crank);
            said.push(format!("fuel {}, heap {}", crank.fuel, vat.heap.checkpoint().unwrap().manifest.root()));
            said
        });
        head + &told
    })
}

/// The image with this hash, of which there is a golden execution: the program's own, or one of the folder that `QUORATE_IMAGES` names.
fn image_of(hash: &str) -> Option<Arc<Image>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    if hash == image_hash().to_string() {
        return Some(Image::load(&cache).expect("the image loads"));
    }
    let Some(folder) = std::env::var_os("QUORATE_IMAGES") else {
        println!(
            "image {hash}: not run, its bytes are not part of the sources; QUORATE_IMAGES names a folder with them"
        );
        return None;
    };
    let file = Path::new(&folder).join(format!("{hash}.wasm"));
    let wasm = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(Hash::of_parts(&[&wasm]).to_string(), hash, "{} is another image", file.display());
    Some(Image::from_wasm(&wasm, &cache).expect("the image loads"))
}

#[test]
fn an_image_costs_and_leaves_what_it_always_did() {
    let writes = std::env::var("QUORATE_GOLDEN").is_ok_and(|what| what == "write");
    let own = image_hash().to_string();
    let own_file = executions().join(format!("{own}.txt"));
    if writes && !own_file.exists() {
        std::fs::copy(executions().join("script.txt"), &own_file).unwrap();
    }
    let files = std::fs::read_dir(executions()).unwrap();
    let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    let mut images: Vec<String> = names.filter(|name| name != "script").collect();
    images.sort();
    assert!(images.contains(&own), "{own} has no golden execution: write one, as the head of this test says");
    for hash in images {
        let Some(image) = image_of(&hash) else { continue };
        let path = executions().join(format!("{hash}.txt"));
        let expected = std::fs::read_to_string(&path).unwrap();
        let script = expected.find("@@ ").map_or("", |begin| &expected[begin..]);
        let actual = execution(&image, &hash, script);
        if writes && (hash == own || !expected.contains("\n>")) {
            std::fs::write(&path, actual).unwrap();
            continue;
        }
        for (number, (expected, actual)) in expected.lines().zip(actual.lines()).enumerate() {
            assert_eq!(actual, expected, "{}, line {}: {ADVICE}", path.display(), number + 1);
        }
        assert_eq!(actual.lines().count(), expected.lines().count(), "{}", path.display());
    }
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

fn durable() -> Durable {
    let entry = (CapData::data(&Value::String("k".into())), data());
    Durable {
        holdings: vec![Holding { kind: "Purse".into(), facets: vec![("owner".into(), 3)], entries: vec![entry] }],
        answers: vec![(Slot::HostPromise(4), Resolution::Fulfilled(data()))],
    }
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
    let upgrade = abi::Upgrade {
        bundle: bundle.clone(),
        argv: data(),
        endowments: vec!["exit".into()],
        durable: durable(),
        held: vec![3, 70_000],
        first_number: 1 << 32,
    };
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
        ("abi-hand-over", Delivery::HandOver),
        ("abi-upgrade", Delivery::Upgrade(Box::new(upgrade))),
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
    let published = vec![
        Output::Publish { name: "rate".into(), value: Some(Value::Number(1.5).encode()) },
        Output::Publish { name: "rate".into(), value: None },
    ];
    vec![
        ("abi-done", Outcome::Done { outputs }),
        ("abi-handed-over", Outcome::Done { outputs: vec![Output::HandOver(durable())] }),
        ("abi-published", Outcome::Done { outputs: published }),
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

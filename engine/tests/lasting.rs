//! What hurt once must not hurt for ever: structures that stay in a vat, or become garbage there, and every later delivery and
//! collection has to live with them. The vats are in `lasting/`.

mod vat;

use quorate_engine::abi::{Delivery, News, Value};
use quorate_engine::heap::{Crank, CrankOutcome, Heap, Limits, with_engine_stack};
use quorate_engine::machine::Guest;
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::path::Path;
use vat::{Vat, image, settled};

/// What a vat has by default, but for the fuel.
const LIMITS: Limits = Limits { fuel_per_delivery: 5_000_000_000, memory_bytes: 128 << 20 };
/// What a collection may cost: some multiple of what it takes to look at every object in the largest of these heaps once.
const COLLECTION_FUEL: u64 = 600_000_000;

/// The calls in the first lines of a vat: `// call METHOD ARGUMENTS`.
fn calls(source: &str) -> Vec<(String, Vec<Value>)> {
    let lines = source.lines().map_while(|line| line.strip_prefix("// call "));
    let calls = lines.map(|line| {
        let (method, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let list = serde_json::from_str(&format!("[{}]", arguments.replace(' ', ","))).expect("arguments are JSON");
        match Value::from_json(&list).expect("values") {
            Value::Array(values) => (method.to_owned(), values),
            other => panic!("not a list: {other:?}"),
        }
    });
    calls.collect()
}

fn done(crank: &Crank, what: &str) {
    assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{what}: {:?}", crank.outcome);
}

/// A delivery as on a host: if it finds no room, it is tried again after a collection.
fn deliver(vat: &mut Vat, method: &str, arguments: Vec<Value>) -> Crank {
    let delivery = vat.call(method, arguments);
    Guest::deliver(&mut vat.heap, &delivery, &News::default()).expect("no fault of the host")
}

/// Does what a vat must still be able to do, and gives the root of its heap.
fn work_on(vat: &mut Vat, name: &str) -> Hash {
    for round in 0..100 {
        let crank = deliver(vat, "work", vec![]);
        done(&crank, &format!("{name}, work {round}"));
        assert!(matches!(settled(&crank), Ok(Value::Number(_))), "{name}, work {round}: {crank:?}");
    }
    let crank = vat.heap.deliver(&Delivery::Collect).expect("no fault of the host");
    done(&crank, &format!("{name}, collection"));
    assert!(crank.fuel < COLLECTION_FUEL, "{name}: a collection cost {} fuel", crank.fuel);
    vat.heap.checkpoint().expect("checkpoints").manifest.root()
}

fn survive(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lasting").join(name);
    let source = std::fs::read_to_string(&path).expect("the vat is there");
    let calls = calls(&source);
    assert!(!calls.is_empty(), "{name} says what to call");
    with_engine_stack(|| {
        let mut vat = Vat::start(LIMITS, &source);
        for (method, arguments) in calls {
            let what = format!("{name}, {method} {arguments:?}");
            let crank = deliver(&mut vat, &method, arguments);
            done(&crank, &what);
            assert!(settled(&crank).is_ok(), "{what}: {:?}", settled(&crank));
        }
        let checkpoint = vat.heap.checkpoint().expect("checkpoints");
        let pages: BTreeMap<_, _> = checkpoint.new_pages.into_iter().collect();
        let mut fetch = |hash: &Hash| Ok(pages[hash].clone());
        let heap = Heap::restore(image(), LIMITS, &checkpoint.manifest, &mut fetch).expect("restores");
        let mut restored = vat.restored(heap);
        assert_eq!(
            work_on(&mut vat, name),
            work_on(&mut restored, name),
            "{name}: a restored vat goes on as the other does"
        );
    });
}

#[test]
fn a_chain_of_slices_is_let_go() {
    survive("slices-of-slices.js");
}

#[test]
fn a_chain_of_slices_is_held() {
    survive("slices-that-are-held.js");
}

#[test]
fn a_parser_gives_what_is_left() {
    survive("parser-of-rests.js");
}

#[test]
fn texts_are_shortened_in_every_way() {
    survive("ways-to-shorten.js");
}

#[test]
fn a_chain_of_ephemerons_is_held() {
    survive("ephemerons.js");
}

#[test]
fn a_chain_of_ephemerons_is_let_go() {
    survive("ephemerons-let-go.js");
}

#[test]
fn long_chains_of_all_kinds_are_let_go() {
    survive("long-chains.js");
}

#[test]
fn further_chains_are_let_go() {
    survive("more-chains.js");
}

#[test]
fn every_vat_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lasting");
    let here = include_str!("lasting.rs");
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || here.contains(&format!("survive(\"{name}\")")), "{name} is not tried");
    }
}

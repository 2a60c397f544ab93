//! The heap's promises, on the real image.

mod vat;

use quorate_engine::abi::{Delivery, Value};
use quorate_engine::error::EngineError;
use quorate_engine::heap::{CrankOutcome, Heap, LimitKind, Limits, with_engine_stack};
use quorate_engine::image::{IMAGE_WASM, Image, image_hash};
use quorate_ids::Hash;
use std::collections::BTreeMap;
use std::path::Path;
use vat::{EVALUATOR, LIMITS, Vat, image, settled};

/// What vats do, good and bad. `keep` is what they remember: `globalThis` is frozen.
const SCRIPTS: [&str; 12] = [
    "keep.set('a', Array.from({ length: 3000 }, (_, i) => ({ i, text: `value ${i}` }))); keep.size",
    "JSON.stringify(keep.get('a')).length",
    "for (;;) ;",
    "for (let i = 0; i < 20000; i++) keep.set(i, { i }); keep.size",
    "keep.clear(); (0, eval)('('.repeat(20000))",
    "keep.size",
    "keep.set('large', 'x'.repeat(2 ** 22)); const all = []; for (;;) all.push(new Array(1000).fill(keep))",
    "keep.set('b', [1.5, NaN, -0, 2n ** 200n, Math.sin(1e10), 0.1 + 0.2].map(String)); keep.get('b').join()",
    "(function f() { return f() + 1 })()",
    "[...keep.keys()].length + Math.exp(1.5) ** 0.3",
    "for (let i = 0; i < 200; i += 2) keep.delete(i); keep.size",
    "Array.from({ length: 2000 }, (_, i) => (i * 7919) % 2003).sort((a, b) => a - b).slice(0, 5).join()",
];

const KEEPER: &str = "
    import { Far } from '@endo/far';
    export default function (argv) {
        const keep = new Map();
        return Far('root', { run(text) { return (0, eval)('keep => { ' + text.replace(/; ([^;]*)$/, '; return $1') + ' }')(keep); } });
    }
";

fn root(vat: &mut Vat) -> Hash {
    let root = vat.heap.checkpoint().expect("checkpoints").manifest.root();
    assert_eq!(root, vat.heap.full_manifest().expect("hashes").root(), "what changed was found");
    root
}

#[test]
fn a_restored_vat_goes_on_as_the_other_does() {
    with_engine_stack(|| {
        let mut vat = Vat::start(LIMITS, KEEPER);
        let mut pages = BTreeMap::new();
        for (index, script) in SCRIPTS.iter().enumerate() {
            let checkpoint = vat.heap.checkpoint().expect("checkpoints");
            pages.extend(checkpoint.new_pages);
            let mut fetch = |hash: &Hash| Ok(pages[hash].clone());
            let heap = Heap::restore(image(), LIMITS, &checkpoint.manifest, &mut fetch).expect("restores");
            let mut restored = vat.restored(heap);
            assert_eq!(root(&mut restored), checkpoint.manifest.root(), "before {script}");
            for script in SCRIPTS.iter().skip(index).take(2) {
                assert_eq!(restored.run(script), vat.run(script), "{script}");
            }
            let crank = Delivery::Collect;
            assert_eq!(restored.heap.deliver(&crank).expect("collects"), vat.heap.deliver(&crank).expect("collects"));
            let checkpoint = vat.heap.checkpoint().expect("checkpoints");
            assert_eq!(root(&mut restored), checkpoint.manifest.root(), "after {script}");
            pages.extend(checkpoint.new_pages);
        }
    });
}

#[test]
fn a_heap_that_rested_is_what_it_was() {
    with_engine_stack(|| {
        let (mut rested, mut awake) = (Vat::start(LIMITS, KEEPER), Vat::start(LIMITS, KEEPER));
        for (index, script) in SCRIPTS.iter().enumerate() {
            for _ in 0..=index % 2 {
                let before = rested.heap.memory_bytes();
                rested.heap.rest().expect("it rests");
                assert_eq!(rested.heap.memory_bytes(), before);
            }
            assert_eq!(rested.run(script), awake.run(script), "{script}");
            rested.heap.rest().expect("it rests");
            if index % 3 == 0 {
                assert_eq!(root(&mut rested), root(&mut awake), "{script}");
            }
        }
        assert_eq!(root(&mut rested), root(&mut awake));
    });
}

#[test]
fn what_was_rolled_back_is_as_if_it_had_never_been() {
    with_engine_stack(|| {
        let (mut poisoned, mut clean) = (Vat::start(LIMITS, KEEPER), Vat::start(LIMITS, KEEPER));
        let mut limits = Vec::new();
        for script in SCRIPTS {
            let crank = poisoned.run(script);
            match crank.outcome {
                CrankOutcome::RolledBack { limit } => {
                    limits.push(limit);
                    clean.call("run", vec![]);
                }
                _ => {
                    println!("fuel {} for {script}", crank.fuel);
                    assert_eq!(clean.run(script), crank, "{script}");
                }
            }
            assert_eq!(poisoned.heap.memory_bytes(), clean.heap.memory_bytes(), "{script}");
        }
        let expected = [LimitKind::Fuel, LimitKind::Stack, LimitKind::Memory, LimitKind::Recursion];
        assert_eq!(limits, expected);
        assert_eq!(root(&mut poisoned), root(&mut clean));
    });
}

#[test]
fn a_long_journal_is_replayed_exactly() {
    with_engine_stack(|| {
        let (mut poisoned, mut clean) = (Vat::start(LIMITS, EVALUATOR), Vat::start(LIMITS, EVALUATOR));
        for round in 1..=2500u32 {
            let ping = poisoned.deliver("ping", vec![]);
            assert_eq!(settled(&ping), Ok(Value::Number(f64::from(round))));
            assert_eq!(clean.deliver("ping", vec![]), ping);
            if round % 600 == 0 {
                let crank = poisoned.run(&"(".repeat(20_000));
                assert_eq!(crank.outcome, CrankOutcome::RolledBack { limit: LimitKind::Stack });
                clean.call("run", vec![]);
            }
        }
        assert_eq!(root(&mut poisoned), root(&mut clean));
    });
}

#[test]
fn the_base_heap_is_a_function_of_the_image() {
    assert_eq!(image().hash(), image_hash());
    assert_eq!(image_hash().to_string(), include_str!("../image.sha256").trim());
    // Only the compiled module is taken over, so the base heap is made once more.
    let folder = tempfile::tempdir().expect("folder");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine-cache");
    for entry in std::fs::read_dir(&cache).expect("the cache is there") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|extension| extension == "module") {
            std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copies");
        }
    }
    let again = Image::from_wasm(IMAGE_WASM, folder.path()).expect("boots");
    let root = |image| Heap::new(image, LIMITS).expect("a heap").checkpoint().expect("checkpoints").manifest.root();
    assert_eq!(root(image()), root(again));
}

#[test]
fn limits_below_the_base_heap_are_refused() {
    let limits = Limits { memory_bytes: 1 << 20, ..LIMITS };
    assert!(matches!(Heap::new(image(), limits), Err(EngineError::MemoryLimit { .. })));
}

#[test]
fn a_start_that_fails_says_why_and_leaves_the_heap_as_it_was() {
    with_engine_stack(|| {
        let mut heap = Heap::new(image(), LIMITS).expect("a heap");
        let before = heap.checkpoint().expect("checkpoints").manifest.root();
        for source in ["export default 7;", "syntax error", "throw new Error('own body')", "for (;;) ;"] {
            let outcome = heap.deliver(&Vat::delivery_of(source)).expect("no fault of the host").outcome;
            let expected = matches!(&outcome, CrankOutcome::StartFailed { message } if !message.is_empty())
                || outcome == CrankOutcome::RolledBack { limit: LimitKind::Fuel };
            assert!(expected, "{source}: {outcome:?}");
            assert_eq!(heap.checkpoint().expect("checkpoints").manifest.root(), before, "{source}");
        }
        let crank = heap.deliver(&Vat::delivery_of(EVALUATOR)).expect("no fault of the host");
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
    });
}

/// Fills a map, and tells in which order it has its keys.
const MAPPER: &str = "
    import { Far } from '@endo/far';
    export default function (argv) {
        const keep = new Map();
        return Far('root', {
            fill(count) {
                const seen = new Set();
                for (let i = 0; i < count; i += 1) { keep.set(`key ${keep.size}`, i); seen.add(`${i}`); }
                return [...keep.keys(), ...seen].join();
            },
        });
    }
";

/// A heap with this seed after a few calls, and what they gave; restored from a checkpoint half-way if asked for.
fn mapped(seed: u64, restored: bool) -> (Hash, Vec<Value>) {
    let mut heap = Heap::new(image(), LIMITS).expect("a new heap");
    heap.set_seed(seed);
    assert!(matches!(heap.deliver(&Vat::delivery_of(MAPPER)).expect("delivers").outcome, CrankOutcome::Done { .. }));
    let mut vat = Vat::over(heap);
    let mut answers = Vec::new();
    for round in 0..4 {
        let crank = vat.deliver("fill", vec![Value::Number(50.0)]);
        answers.push(settled(&crank).expect("it is answered"));
        if restored && round == 1 {
            let checkpoint = vat.heap.checkpoint().expect("checkpoints");
            let pages: BTreeMap<Hash, Vec<u8>> = checkpoint.new_pages.into_iter().collect();
            let mut fetch = |hash: &Hash| Ok(pages[hash].clone());
            let mut heap = Heap::restore(image(), LIMITS, &checkpoint.manifest, &mut fetch).expect("restores");
            heap.set_seed(seed);
            vat = vat.restored(heap);
        }
    }
    (root(&mut vat), answers)
}

#[test]
fn hash_tables_are_seeded_alike_on_replicas_and_differently_in_other_vats() {
    with_engine_stack(|| {
        let (one, answers) = mapped(1, false);
        assert_eq!(mapped(1, false).0, one);
        assert_eq!(mapped(1, true).0, one);
        // The order of keys is the language's, whatever the seed; where they are in memory is not.
        let (other, same) = mapped(2, false);
        assert_eq!(same, answers);
        assert_ne!(other, one);
    });
}

//! The heap's promises, on a guest without an interpreter.

mod stub;

use quorate_engine::error::EngineError;
use quorate_engine::heap::{
    CrankOutcome, Heap, HeapCheckpoint, LimitKind, Limits, LogLevel, MAX_LOG_LINES, with_engine_stack,
};
use quorate_engine::image::Image;
use quorate_ids::Hash;
use stub::{LIMITS, Pages, command, counter, delivery, heap, image, limit, run};

fn checkpoint(heap: &mut Heap) -> HeapCheckpoint {
    let checkpoint = heap.checkpoint().expect("checkpoints");
    assert_eq!(checkpoint.manifest, heap.full_manifest().expect("hashes"), "what changed was found");
    checkpoint
}

fn root(heap: &mut Heap) -> Hash {
    checkpoint(heap).manifest.root()
}

#[test]
fn deliveries_change_the_heap_and_cost_the_same_everywhere() {
    with_engine_stack(|| {
        let (mut one, mut other) = (heap(), heap());
        for expected in 101..120 {
            let (first, second) = (run(&mut one, command::COUNT, 0), run(&mut other, command::COUNT, 0));
            assert_eq!(counter(&first), expected);
            assert_eq!(first, second);
            assert!(first.fuel > 10 && first.fuel < 1000, "{}", first.fuel);
        }
        assert_eq!(root(&mut one), root(&mut other));
        run(&mut one, command::COUNT, 0);
        assert_ne!(root(&mut one), root(&mut other));
    });
}

/// Every way not to come to an answer, with the limit it is named by.
const BAD: [(u64, LimitKind); 9] = [
    (command::LOOP, LimitKind::Fuel),
    (command::ABORT, LimitKind::Abort),
    (command::GROW_FOR_EVER, LimitKind::Memory),
    (command::RECURSE, LimitKind::Stack),
    (command::LIMIT, LimitKind::Recursion),
    (command::GARBAGE, LimitKind::Abort),
    (command::PROCESS_EXIT, LimitKind::Abort),
    (command::BAD_POINTER, LimitKind::Abort),
    (command::LOOP, LimitKind::Fuel),
];

/// Enough for the recursion to reach the end of the stack.
const DEEP: Limits = Limits { fuel_per_delivery: 50_000_000, ..LIMITS };

#[test]
fn a_bad_delivery_leaves_no_trace() {
    with_engine_stack(|| {
        let new = || Heap::new(image(), DEEP).expect("a new heap");
        let (mut poisoned, mut clean) = (new(), new());
        for (round, (bad, expected)) in BAD.into_iter().enumerate() {
            for heap in [&mut poisoned, &mut clean] {
                run(heap, command::FILL, 20 + round as u8);
                run(heap, command::GROW, 1);
                run(heap, command::TICK, 0);
            }
            let crank = run(&mut poisoned, bad, 0);
            assert_eq!(limit(&crank), expected, "command {bad}");
            if !matches!(bad, command::LIMIT | command::GARBAGE | command::BAD_POINTER) {
                assert_eq!(crank.fuel, DEEP.fuel_per_delivery);
            }
            let (after, without) = (run(&mut poisoned, command::COUNT, 0), run(&mut clean, command::COUNT, 0));
            assert_eq!(after, without, "after command {bad}");
            assert_eq!(poisoned.memory_bytes(), clean.memory_bytes());
            assert_eq!(root(&mut poisoned), root(&mut clean), "after command {bad}");
        }
        // Twice in a row, and as the very first delivery.
        let mut fresh = new();
        let before = root(&mut fresh);
        for _ in 0..2 {
            for (bad, expected) in BAD {
                assert_eq!(limit(&run(&mut fresh, bad, 0)), expected);
            }
        }
        assert_eq!(root(&mut fresh), before);
    });
}

#[test]
fn the_interpreters_limits_go_by_their_names() {
    with_engine_stack(|| {
        for (parameter, expected) in [(0, LimitKind::Recursion), (1, LimitKind::Stack), (2, LimitKind::Abort)] {
            assert_eq!(limit(&run(&mut heap(), command::LIMIT, parameter)), expected);
        }
    });
}

#[test]
fn a_start_that_fails_is_rolled_back_too() {
    with_engine_stack(|| {
        let mut heap = heap();
        let before = root(&mut heap);
        let crank = run(&mut heap, command::START_FAILED, 0);
        assert_eq!(crank.outcome, CrankOutcome::StartFailed { message: String::new() });
        assert_eq!(root(&mut heap), before);
    });
}

#[test]
fn growth_stops_at_the_limit_and_the_guest_can_go_on() {
    with_engine_stack(|| {
        let mut heap = heap();
        for _ in 0..62 {
            counter(&run(&mut heap, command::GROW, 1));
        }
        assert_eq!(heap.memory_bytes(), LIMITS.memory_bytes);
        assert_eq!(limit(&run(&mut heap, command::GROW, 1)), LimitKind::Memory);
        assert_eq!(counter(&run(&mut heap, command::COUNT, 0)), 163);
        assert_eq!(heap.memory_bytes(), LIMITS.memory_bytes);
    });
}

#[test]
fn a_restored_heap_goes_on_as_the_other_does() {
    with_engine_stack(|| {
        let mut heap = heap();
        let mut pages = Pages::default();
        for round in 0..6u8 {
            run(&mut heap, command::FILL, 10 + 3 * round);
            run(&mut heap, command::GROW, 1);
            run(&mut heap, command::TICK, 0);
            if round == 3 {
                run(&mut heap, command::CLEAR, 5);
            }
            let checkpoint = checkpoint(&mut heap);
            pages.keep(&checkpoint);
            let mut restored = pages.restore(&checkpoint);
            assert_eq!(root(&mut restored), checkpoint.manifest.root());
            assert_eq!(restored.memory_bytes(), heap.memory_bytes());
            for (bad, parameter) in [(command::COUNT, 0), (command::FILL, 40), (command::ABORT, 0), (command::COUNT, 0)]
            {
                assert_eq!(run(&mut restored, bad, parameter), run(&mut heap, bad, parameter));
            }
            let later = self::checkpoint(&mut heap);
            assert_eq!(root(&mut restored), later.manifest.root());
            pages.keep(&later);
        }
    });
}

#[test]
fn checkpoints_carry_only_what_is_new() {
    with_engine_stack(|| {
        let mut heap = heap();
        assert!(checkpoint(&mut heap).new_pages.is_empty(), "the base heap is everyone's");
        run(&mut heap, command::FILL, 20);
        // Twenty pages with the same content, the one of the counter and the one with the delivery's bytes.
        assert_eq!(checkpoint(&mut heap).new_pages.len(), 3);
        assert!(checkpoint(&mut heap).new_pages.is_empty(), "nothing happened");
        run(&mut heap, command::CLEAR, 20);
        let cleared = checkpoint(&mut heap);
        assert_eq!(cleared.new_pages.len(), 2, "pages of zeros are everyone's");
        for (hash, bytes) in &cleared.new_pages {
            assert_eq!(Hash::of_parts(&[bytes]), *hash);
        }
    });
}

#[test]
fn the_shadow_may_be_refreshed_at_any_time() {
    // One heap is refreshed often (a checkpoint does that), the other by its own rule.
    with_engine_stack(|| {
        let (mut one, mut other) = (heap(), heap());
        for round in 0..3000u32 {
            let (what, parameter) = match round % 97 {
                13 => (command::ABORT, 0),
                50 => (command::GROW, 1),
                51..60 => (command::FILL, (round % 30) as u8 + 1),
                60 => (command::GROW_FOR_EVER, 0),
                61..64 => (command::CLEAR, 9),
                _ => (command::COUNT, 0),
            };
            assert_eq!(run(&mut one, what, parameter), run(&mut other, what, parameter), "round {round}");
            if round % 7 == 0 {
                checkpoint(&mut one);
            }
        }
        assert_eq!(root(&mut one), root(&mut other));
    });
}

#[test]
fn logs_are_bounded_and_kept_of_what_was_rolled_back() {
    with_engine_stack(|| {
        let mut heap = heap();
        let crank = run(&mut heap, command::TALK, 0);
        assert_eq!(crank.logs.len(), MAX_LOG_LINES + 1);
        assert_eq!((crank.logs[0].level, crank.logs[0].text.as_str()), (LogLevel::Warn, "hello from the stub"));
        assert_eq!(crank.logs[MAX_LOG_LINES].text, "… 800 more lines left out");
        assert!(run(&mut heap, command::COUNT, 0).logs.is_empty());
        let crank = run(&mut heap, command::WASI, 0);
        assert_eq!(crank.logs.len(), 1);
        assert_eq!((crank.logs[0].level, crank.logs[0].text.as_str()), (LogLevel::Error, "hello from the stub"));
    });
}

#[test]
fn restoring_checks_what_it_is_given() {
    with_engine_stack(|| {
        let mut heap = heap();
        run(&mut heap, command::FILL, 20);
        run(&mut heap, command::GROW, 1);
        let good = checkpoint(&mut heap);
        let mut pages = Pages::default();
        pages.keep(&good);
        let restore = |manifest: &_, limits: Limits, spoil: fn(&mut Vec<u8>)| {
            let mut fetch = |hash: &Hash| {
                let mut page = pages.0[hash].clone();
                spoil(&mut page);
                Ok(page)
            };
            Heap::restore(image(), limits, manifest, &mut fetch)
        };
        assert!(restore(&good.manifest, LIMITS, |_| ()).is_ok());
        let spoilers: [fn(&mut Vec<u8>); 3] = [|page| page[9] ^= 1, |page| page.truncate(9), |page| page.push(0)];
        for spoil in spoilers {
            assert!(matches!(restore(&good.manifest, LIMITS, spoil), Err(EngineError::Checkpoint(_))));
        }
        let other_image = {
            let mut other = good.manifest.clone();
            other.image = Hash([1; 32]);
            other
        };
        assert!(matches!(restore(&other_image, LIMITS, |_| ()), Err(EngineError::ImageMismatch { .. })));
        let small = {
            let mut other = good.manifest.clone();
            other.pages.truncate(16);
            other
        };
        let odd = {
            let mut other = good.manifest.clone();
            other.pages.truncate(33);
            other
        };
        let no_globals = {
            let mut other = good.manifest.clone();
            other.globals.clear();
            other
        };
        for damaged in [small, odd, no_globals] {
            assert!(matches!(restore(&damaged, LIMITS, |_| ()), Err(EngineError::Checkpoint(_))));
        }
        let tight = Limits { memory_bytes: 128 << 10, ..LIMITS };
        assert!(matches!(restore(&good.manifest, tight, |_| ()), Err(EngineError::MemoryLimit { .. })));
        let missing = |hash: &Hash| Err(EngineError::MissingPage { hash: *hash, message: "gone".into() });
        let result = Heap::restore(image(), LIMITS, &good.manifest, &mut { missing });
        assert!(matches!(result, Err(EngineError::MissingPage { .. })));
    });
}

#[test]
fn threads_with_too_little_stack_are_refused_and_harm_nothing() {
    let mut heap = heap();
    let refused = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let refuse = || heap.deliver(&delivery(command::COUNT, 0)).expect_err("too small");
        thread.spawn_scoped(scope, refuse).expect("thread").join().expect("no panic")
    });
    assert!(matches!(refused, EngineError::ThreadStack { .. }), "{refused}");
    with_engine_stack(|| assert_eq!(counter(&run(&mut heap, command::COUNT, 0)), 101));
}

#[test]
fn caches_are_used_and_damaged_ones_remade() {
    let folder = tempfile::tempdir().expect("folder");
    let wasm = stub::stub_wasm();
    let first = Image::from_wasm(&wasm, folder.path()).expect("compiles");
    let files = || {
        let entries = std::fs::read_dir(folder.path()).expect("folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
        paths.retain(|path| path.file_name().is_some_and(|name| name != "lock"));
        paths
    };
    assert_eq!(files().len(), 2);
    for path in files() {
        let whole = std::fs::read(&path).expect("read");
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        std::fs::write(&path, &damaged).expect("write");
        let again = Image::from_wasm(&wasm, folder.path()).expect("remade");
        assert_eq!(again.hash(), first.hash());
        assert_eq!(std::fs::read(&path).expect("read").len(), whole.len());
        with_engine_stack(|| {
            let mut heap = Heap::new(again.clone(), LIMITS).expect("heap");
            assert_eq!(counter(&run(&mut heap, command::COUNT, 0)), 101);
        });
    }
}

#[test]
fn modules_whose_state_could_not_be_saved_are_refused() {
    let exports = r#"(func (export "quorate_abi") (result i32) (i32.const 1))"#;
    let cases = [
        ("", "exactly one memory"),
        (r#"(import "env" "memory" (memory 1))"#, "exactly one memory"),
        (r#"(memory (export "memory") 1) (global (mut i64) (i64.const 0))"#, "not exported"),
        (r#"(memory (export "memory") 1) (start 0)"#, "start function"),
        (r#"(memory (export "memory") 1) (data "x")"#, "not active"),
        (r#"(memory (export "memory") 1) (import "env" "now" (func))"#, ""),
        (r#"(memory (export "memory") 1)"#, "quorate_alloc"),
    ];
    for (body, expected) in cases {
        let folder = tempfile::tempdir().expect("folder");
        let text = if body.contains("start") {
            format!("(module (func) {body} {exports})")
        } else if body.contains("(import \"env\" \"now\"") {
            r#"(module (import "env" "now" (func)) (memory (export "memory") 1))"#.to_owned()
        } else {
            format!("(module {body} {exports})")
        };
        let wasm = wat::parse_str(&text).expect("well formed");
        let error = Image::from_wasm(&wasm, folder.path()).expect_err(body);
        assert!(matches!(&error, EngineError::Image(why) if why.contains(expected)), "{body}: {error}");
    }
    assert!(matches!(
        Image::from_wasm(b"junk", tempfile::tempdir().expect("folder").path()),
        Err(EngineError::Image(_))
    ));
}

//! What a vat has let go of, it gets back: memory does not grow with how often something was done. The vats are in `leaks/`.

mod vat;

use quorate_engine::abi::{News, Value};
use quorate_engine::heap::{Limits, with_engine_stack};
use quorate_engine::machine::Guest;
use std::path::Path;
use vat::{Vat, settled};

/// Memory is what is tried: three times the base heap.
const LIMITS: Limits = Limits { fuel_per_delivery: 25_000_000_000, memory_bytes: 128 << 20 };
/// What memory may still grow by after a fifth of the deliveries, in bytes: the collector's thresholds have not settled then. What each
/// vat does leaves several times as much behind if it is kept.
const SLACK_BYTES: u64 = 2 << 20;

/// The first line of a vat: `// work COUNT x DELIVERIES`, and where a multiple of the slack is allowed `, slack TIMES`.
fn plan(source: &str) -> (f64, u64, u64) {
    let line = source.lines().next().and_then(|line| line.strip_prefix("// work "));
    let (count, rest) = line.and_then(|line| line.split_once(" x ")).expect("the first line is a plan");
    let (deliveries, times) = rest.split_once(", slack ").unwrap_or((rest, "1"));
    let number = |text: &str| text.parse().expect("a number");
    (count.parse().expect("a number"), number(deliveries), number(times))
}

fn stays_flat(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks").join(name);
    let source = std::fs::read_to_string(&path).expect("the vat is there");
    let (count, deliveries, times) = plan(&source);
    with_engine_stack(|| {
        let mut vat = Vat::start(LIMITS, &source);
        let mut work = |deliveries: u64| {
            for _ in 0..deliveries {
                let delivery = vat.call("work", vec![Value::Number(count)]);
                let crank = Guest::deliver(&mut vat.heap, &delivery, &News::default()).expect("no fault of the host");
                assert!(matches!(settled(&crank), Ok(Value::Number(_))), "{name}: {crank:?}");
            }
            vat.heap.memory_bytes()
        };
        let warm = work(deliveries / 5);
        let after = work(deliveries - deliveries / 5);
        println!("{name}: {warm} bytes after {}, {after} after {deliveries} deliveries", deliveries / 5);
        assert!(after <= warm + times * SLACK_BYTES, "{name}: memory grew from {warm} to {after} bytes");
    });
}

macro_rules! vats {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            stays_flat($file);
        })*

        #[test]
        fn every_vat_is_tried() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks");
            for entry in std::fs::read_dir(folder).expect("the folder is there") {
                let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
                assert!(name == "README.md" || [$($file),*].contains(&name.as_str()), "{name} is not tried");
            }
        }
    };
}

vats! {
    bytes: "bytes.js",
    compartments: "compartments.js",
    confined_texts: "confined-texts.js",
    dictionaries: "dictionaries.js",
    evaluated_names: "evaluated-names.js",
    evaluated_texts: "evaluated-texts.js",
    function_constructors: "function-constructors.js",
    json_large: "json-large.js",
    json_texts: "json-texts.js",
    long_keys: "long-keys.js",
    names_for_passing: "names-for-passing.js",
    new_keys: "new-keys.js",
    objects: "objects.js",
    patterns: "patterns.js",
    prototypes: "prototypes.js",
    registered_symbols: "registered-symbols.js",
    short_slices: "short-slices.js",
    suspended_code: "suspended-code.js",
    tagged_templates: "tagged-templates.js",
    vows: "vows.js",
    weak_keys: "weak-keys.js",
}

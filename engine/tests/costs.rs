//! What is done twice as often costs about twice as much: nothing that code or messages can be made of is quadratic. Fuel is exact, so it
//! is what is compared.

mod vat;

use quorate_engine::abi::{Delivery, Value};
use quorate_engine::heap::{CrankOutcome, Heap, Limits, with_engine_stack};
use vat::{Vat, image, settled};

const LIMITS: Limits = Limits { fuel_per_delivery: 25_000_000_000, memory_bytes: 256 << 20 };
/// Twice the work, and something for collections, which come at other moments.
const MAX_RATIO: f64 = 2.7;

/// Functions of `n`, each in a vat of its own; what they return is thrown away.
const WORK: [(&str, u32, &str); 15] = [
    (
        "a map that is a queue",
        4_000,
        "const m = new Map(); for (let i = 0; i < n; i += 1) m.set(i, i); while (m.size > 0) m.delete(m.keys().next().value);",
    ),
    (
        "a set that is a queue",
        4_000,
        "const s = new Set(); for (let i = 0; i < n; i += 1) s.add(i);
         for (let i = 0; i < n; i += 1) { for (const x of s) { s.delete(x); break; } s.add(n + i); }",
    ),
    (
        "rejections that are handled later",
        8_000,
        "const all = []; for (let i = 0; i < n; i += 1) all.push(Promise.reject(i)); for (const p of all) p.catch(() => {});",
    ),
    (
        "references in an answer",
        500,
        "const list = []; for (let i = 0; i < n; i += 1) list.push(Far('x', { m() {} })); return harden(list);",
    ),
    (
        "references that are far too many",
        4_000,
        "const list = []; for (let i = 0; i < n; i += 1) list.push(Far('x', { m() {} }));
         return E(Far('r', { take() { return harden(list); } })).take().then(all => all.length);",
    ),
    ("a text shortened from the front", 40_000, "let s = 'x'.repeat(n); while (s.length > 0) s = s.slice(1);"),
    ("a text shortened from the end", 40_000, "let s = 'x'.repeat(n); while (s.length > 0) s = s.slice(0, -1);"),
    (
        "a text trimmed and shortened",
        20_000,
        "let s = ' x'.repeat(n); while (s.length > 0) s = s.trimStart().slice(1);",
    ),
    (
        "rests that are all kept",
        20_000,
        "let s = 'x'.repeat(n); const all = []; while (s.length > 0) { s = s.slice(1); all.push(s); }",
    ),
    ("a text that grows", 40_000, "let s = ''; for (let i = 0; i < n; i += 1) s += 'abc'; return s.length;"),
    (
        "a text of wide characters that grows, and is kept in between",
        20_000,
        "let s = '\u{1234}'; const all = []; for (let i = 0; i < n; i += 1) { s += i; if (i % 1000 === 0) all.push(s); } return s.length;",
    ),
    ("registered symbols", 20_000, "const all = []; for (let i = 0; i < n; i += 1) all.push(Symbol.for(`key ${i}`));"),
    (
        "hardened records",
        4_000,
        "const all = []; for (let i = 0; i < n; i += 1) all.push({ i, list: [i] }); harden(all);",
    ),
    ("parts of a text", 40_000, "return 'a,'.repeat(n).split(',').map(part => part.trim()).join(';').length;"),
    (
        "JSON",
        4_000,
        "return JSON.stringify(JSON.parse(JSON.stringify(Array.from({ length: n }, (_, i) => ({ i, text: `${i}` }))))).length;",
    ),
];

fn fuel_of(body: &str, n: u32) -> u64 {
    let source = format!("export default () => ({{ work(n) {{ {body} }} }});");
    let mut vat = Vat::start(LIMITS, &source);
    let crank = vat.deliver("work", vec![Value::Number(f64::from(n))]);
    assert!(settled(&crank).is_ok(), "{body}: {crank:?}");
    crank.fuel
}

fn check(name: &str, once: u64, twice: u64) -> Option<String> {
    let ratio = twice as f64 / once as f64;
    println!("{name}: {once} and {twice} fuel, {ratio:.2}");
    (ratio > MAX_RATIO).then(|| format!("{name}: {once} fuel, and {twice} for twice as much"))
}

#[test]
fn twice_the_work_costs_twice_as_much() {
    with_engine_stack(|| {
        let wrong: Vec<String> =
            WORK.iter().filter_map(|(name, n, body)| check(name, fuel_of(body, *n), fuel_of(body, 2 * n))).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Fuel of a collection after a chain of `n` WeakMap entries was built, the newest first.
/// Copies are single instructions of the image, and still cost what they are long.
#[test]
fn copies_cost_what_they_are_long() {
    let work = [
        "let s = 'x'.repeat(n), t; for (let i = 0; i < 100; i += 1) t = 'y' + s; return t.length;",
        "let s = new Uint8Array(n), t; for (let i = 0; i < 100; i += 1) t = s.slice(1); return t.length;",
        "let s = new Uint8Array(n); for (let i = 0; i < 100; i += 1) s.copyWithin(1, 0); return s.length;",
    ];
    with_engine_stack(|| {
        for body in work {
            let (once, twice) = (fuel_of(body, 1_000_000), fuel_of(body, 2_000_000));
            println!("{body}: {once} and {twice} fuel");
            assert!(twice as f64 > 1.8 * once as f64, "{body}: {once} fuel, and {twice} for copies twice as long");
        }
    });
}

fn collection_of_chain(n: u32) -> u64 {
    let source = "let newest = {}; const map = new WeakMap();
        export default () => ({ build(n) { for (let i = 0; i < n; i += 1) { const key = {}; map.set(key, newest); newest = key; } } });";
    let mut vat = Vat::start(LIMITS, source);
    let empty = vat.heap.deliver(&Delivery::Collect).expect("collects").fuel;
    settled(&vat.deliver("build", vec![Value::Number(f64::from(n))])).expect("builds");
    vat.heap.deliver(&Delivery::Collect).expect("collects").fuel - empty
}

#[test]
fn a_collection_is_linear_in_chains_of_ephemerons() {
    with_engine_stack(|| {
        let wrong = check("a chain of ephemerons", collection_of_chain(20_000), collection_of_chain(40_000));
        assert_eq!(wrong, None);
    });
}

/// Fuel of starting a vat with this text before its default export.
fn start_of(text: &str) -> u64 {
    let mut heap = Heap::new(image(), LIMITS).expect("a new heap");
    let crank = heap.deliver(&Vat::delivery_of(&format!("{text}\nexport default () => ({{}});"))).expect("delivers");
    assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{:?}", crank.outcome);
    crank.fuel
}

#[test]
fn long_modules_cost_as_much_as_they_are_long() {
    with_engine_stack(|| {
        let empty = start_of("");
        let of = |n: usize, line: &dyn Fn(usize) -> String| {
            start_of(&(0..n).map(line).collect::<Vec<_>>().join("\n")) - empty
        };
        let kinds: [(&str, &dyn Fn(usize) -> String); 3] = [
            ("variables", &|i| format!("var v{i} = {i};")),
            ("functions", &|i| format!("function f{i}(a) {{ return a + {i}; }}")),
            ("constants", &|i| format!("const c{i} = {{ v: {i} }};")),
        ];
        let wrong: Vec<String> =
            kinds.iter().filter_map(|(name, line)| check(name, of(1_000, line), of(2_000, line))).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Fuel of a call that is rejected, with this argument.
fn fuel_of_argument(argument: Value) -> u64 {
    let mut vat = Vat::start(LIMITS, "export default () => ({});");
    let crank = vat.deliver("nothing", vec![argument]);
    assert!(settled(&crank).is_err(), "{crank:?}");
    crank.fuel
}

#[test]
fn digits_in_an_argument_cost_less_than_their_square() {
    with_engine_stack(|| {
        let digits = |n: usize| fuel_of_argument(Value::BigInt("9".repeat(n)));
        let (once, twice) = (digits(120_000), digits(240_000));
        println!("240,000 digits cost {twice} fuel, half of them {once}");
        // Schoolbook arithmetic takes four times as much.
        assert!(twice < 3 * once + once / 3, "{once} and {twice}");
        assert!(twice < 2_000_000_000, "{twice}");
    });
}

#[test]
fn values_in_an_argument_cost_what_they_are_many() {
    with_engine_stack(|| {
        type Many = fn(usize) -> Value;
        let kinds: [(&str, Many); 4] = [
            ("lists", |n| Value::Array(vec![Value::Array(vec![]); n])),
            ("numbers", |n| Value::Array((0..n).map(|i| Value::Number(i as f64)).collect())),
            ("fields", |n| Value::Record((0..n).map(|i| (format!("key {i}"), Value::Null)).collect())),
            ("symbols", |n| Value::Array((0..n).map(|i| Value::Symbol(format!("key {i}"))).collect())),
        ];
        let wrong: Vec<String> = kinds
            .iter()
            .filter_map(|(name, make)| check(name, fuel_of_argument(make(6_000)), fuel_of_argument(make(12_000))))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

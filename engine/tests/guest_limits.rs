//! Scripts that hurt a JavaScript host end as a clean result, cost only their sender, and leave the vat as it was.

mod guest_support;

use guest_support::{LIMITS, Vat, describe};
use quorate_engine::abi::{CapData, Delivery, MAX_TIMERS, Method, News, Slot, Value};
use quorate_engine::heap::{self, CrankOutcome, with_engine_stack};
use quorate_engine::machine::{Guest, LimitKind};
use std::collections::BTreeMap;

const VAT: &str =
    "let n = 0; export default () => ({ run(text) { return `${(0, eval)(text)}`; }, next() { n += 1; return n; } });";

/// What may come of a script: one of these limits, or an error or value of the guest's own.
enum Expected {
    Limits(&'static [&'static str]),
    Answer,
}
use Expected::{Answer, Limits};

const POISON: [(&str, &str, Expected); 15] = [
    ("loop", "for(;;){}", Limits(&["fuel"])),
    ("regexp", "/^(a+)+$/.test('a'.repeat(40)+'b')", Limits(&["fuel"])),
    ("arrays", "var a=[]; while(true) a.push(new Array(1000).fill(1))", Limits(&["memory", "fuel"])),
    ("text", "'x'.repeat(2**29).length", Limits(&["memory", "abort", "fuel"])),
    ("bigint", "(2n**(2n**26n)).toString().length", Limits(&["fuel", "memory"])),
    (
        "bind",
        "var f=()=>1; for (let i=0;i<50000;i++) f=f.bind(null); f()",
        Limits(&["stack", "memory", "abort", "recursion"]),
    ),
    ("proxies", "var p={}; for (let i=0;i<20000;i++) p=new Proxy(p,{}); p.x", Limits(&["stack", "fuel"])),
    ("brackets", "(0,eval)('('.repeat(20000)+'1'+')'.repeat(20000))", Limits(&["stack", "fuel"])),
    ("sums", "(0,eval)('1'+'+a'.repeat(100000))", Limits(&["stack", "memory", "abort", "fuel"])),
    (
        "toString",
        "var a=[], b=a; for (let i=0;i<50000;i++){ const c=[]; b.push(c); b=c } String(a)",
        Limits(&["stack", "fuel"]),
    ),
    ("calls", "function r(n){ return r(n+1)+1 } try { r(0) } catch (e) { 'caught' }", Limits(&["recursion"])),
    ("comparator", "[3,1,2].sort(function s(a,b){ return [3,1,2].sort(s)[0] })", Limits(&["recursion"])),
    ("deep JSON", "JSON.parse('['.repeat(100000)+']'.repeat(100000)).length", Answer),
    ("deep JSON as text", "JSON.parse('['.repeat(100000)+']'.repeat(100000))", Limits(&["stack", "recursion"])),
    ("jobs", "(async () => { for (;;) await null })(); 'started'", Limits(&["fuel"])),
];

#[test]
fn poison_costs_only_its_sender() {
    with_engine_stack(|| {
        let mut vat = Vat::started(VAT);
        let mut count = 0;
        for (name, text, expected) in &POISON {
            let crank = vat.call("run", &Value::Array(vec![Value::String((*text).into())]));
            match (&crank.outcome, expected) {
                (CrankOutcome::RolledBack { limit }, Limits(limits)) => {
                    assert!(limits.contains(&limit.as_str()), "{name}: {}", limit.as_str());
                }
                (CrankOutcome::Done { .. }, Answer) => {}
                (outcome, _) => panic!("{name}: {outcome:?}"),
            }
            count += 1;
            let crank = vat.call("next", &Value::Array(vec![]));
            let settled = describe(&crank);
            assert!(settled[0].ends_with(&format!(" ok {count}")), "{name}: {settled:?}");
        }
    });
}

#[test]
fn what_was_rolled_back_left_nothing_behind() {
    with_engine_stack(|| {
        let mut poisoned = Vat::started(VAT);
        let mut clean = Vat::started(VAT);
        for (_, text, _) in &POISON[..3] {
            poisoned.call("run", &Value::Array(vec![Value::String((*text).into())]));
            let crank = poisoned.call("next", &Value::Array(vec![]));
            clean.call("next", &Value::Array(vec![]));
            assert!(matches!(crank.outcome, CrankOutcome::Done { .. }));
        }
        assert_eq!(poisoned.heap.memory_bytes(), clean.heap.memory_bytes());
        // The numbers of results differ, so the heaps do; what both were told the same since, they say the same.
        let answers: Vec<Vec<String>> = [&mut poisoned, &mut clean]
            .into_iter()
            .map(|vat| describe(&vat.call("run", &Value::Array(vec![Value::String("[1,2,3].map(x => x * 2)".into())]))))
            .map(|lines| lines.iter().map(|line| line.split(" ok ").nth(1).unwrap_or(line).to_owned()).collect())
            .collect();
        assert_eq!(answers[0], answers[1]);
    });
}

#[test]
fn memory_that_is_full_of_garbage_is_no_limit() {
    with_engine_stack(|| {
        // Few objects with much in them: nothing that makes the interpreter collect by itself.
        let text = (400_000, "next", Value::String("x".repeat(400_000)));
        let bytes = (1 << 20, "run", Value::String("new Uint8Array(1 << 20).length".into()));
        for (size, method, argument) in [text, bytes] {
            let mut vat = Vat::started(VAT);
            let args = CapData::data(&Value::Array(vec![Value::Array(vec![argument])]));
            for call in 1..=2 * LIMITS.memory_bytes / size {
                let (target, method) = (Slot::VatObject(0), Method::Call(method.into()));
                let delivery =
                    Delivery::Call { target, method, args: args.clone(), result: Some(Slot::HostPromise(call)) };
                let crank = Guest::deliver(&mut vat.heap, &delivery, &News::default()).expect("no fault of the host");
                assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "call {call}: {:?}", crank.outcome);
            }
        }
    });
}

#[test]
fn two_vats_that_are_told_the_same_are_the_same() {
    with_engine_stack(|| {
        let tell = |vat: &mut Vat| {
            for text in
                ["Object.keys(globalThis).length", "Array.from({length: 1000}, (_, i) => ({i})).length", "Math.sin(1)"]
            {
                vat.call("run", &Value::Array(vec![Value::String(text.into())]));
            }
            vat.heap.checkpoint().expect("a checkpoint").manifest.root()
        };
        let (mut one, mut other) = (Vat::started(VAT), Vat::started(VAT));
        assert_eq!(tell(&mut one), tell(&mut other));
    });
}

#[test]
fn symbols_that_messages_bring_are_kept_no_longer_than_somebody_holds_them() {
    with_engine_stack(|| {
        let mut vat = Vat::started("let n = 0; export default () => ({ take(list) { n += list.length; return n; } });");
        let mut last = 0;
        let mut memory = Vec::new();
        for round in 0..60 {
            let symbols = (0..8_000).map(|number| Value::Symbol(format!("symbol {round} {number}"))).collect();
            last = (round + 1) * 8_000;
            let delivery = vat.next_call("take", &Value::Array(vec![Value::Array(symbols)]));
            let crank = Guest::deliver(&mut vat.heap, &delivery, &News::default()).expect("no fault of the host");
            let said = describe(&crank).join("\n");
            assert!(said.ends_with(&format!("ok {last}")), "{said}");
            memory.push(vat.heap.memory_bytes());
        }
        assert_eq!(last, 480_000);
        // Kept, they would take some 50 MB.
        assert!(memory[59] <= memory[9] + (2 << 20), "memory grew: {memory:?}");
    });
}

#[test]
fn timers_are_bounded() {
    with_engine_stack(|| {
        let source = "export default ({ timer }) => ({
            async many(count) {
                let refused;
                for (let i = 0; i < count; i += 1) timer.delay(1).catch(error => { refused = error; });
                await null;
                await null;
                return refused;
            },
        });";
        let mut vat = Vat::with_limits(heap::Limits { fuel_per_delivery: 10_000_000_000, memory_bytes: 256 << 20 });
        vat.start(BTreeMap::from([("main.js".to_owned(), source.to_owned())]));
        let many = |vat: &mut Vat, count: usize| {
            let crank = vat.call("many", &Value::Array(vec![Value::Number(count as f64)]));
            describe(&crank).pop().unwrap_or_default()
        };
        assert!(many(&mut vat, MAX_TIMERS).ends_with(" ok null"));
        let refused = many(&mut vat, 1);
        assert!(refused.contains("65536 timers are waiting, and no more are kept"), "{refused}");
        let woken = vat.deliver(&Delivery::Wake { timer: 9, failure: None });
        assert!(matches!(woken.outcome, CrankOutcome::Done { .. }), "{woken:?}");
        assert!(many(&mut vat, 1).ends_with(" ok null"), "one has fired, so another one fits");
    });
}

#[test]
fn a_start_may_burn_more_than_a_delivery() {
    with_engine_stack(|| {
        let limits = heap::Limits { fuel_per_delivery: 20_000_000, memory_bytes: 64 << 20 };
        let start = |rounds: &str| {
            let source = format!(
                "const run = rounds => {{ let n = 0; for (let i = 0; i < rounds; i += 1) n += i; return n; }};
                 run({rounds}); export default () => ({{ run }});"
            );
            let mut vat = Vat::with_limits(limits);
            let crank = vat.start(BTreeMap::from([("main.js".to_owned(), source)]));
            (vat, crank)
        };
        let rounds = 60_000;
        let (mut vat, crank) = start(&rounds.to_string());
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        assert!(crank.fuel > limits.fuel_per_delivery && crank.fuel < limits.start_fuel(), "{}", crank.fuel);
        let again = vat.call("run", &Value::Array(vec![Value::Number(f64::from(rounds))]));
        assert!(matches!(again.outcome, CrankOutcome::RolledBack { limit: LimitKind::Fuel }), "{again:?}");
        assert_eq!(again.fuel, limits.fuel_per_delivery);
        let (_, endless) = start("Infinity");
        assert!(matches!(endless.outcome, CrankOutcome::RolledBack { limit: LimitKind::Fuel }), "{endless:?}");
        assert_eq!(endless.fuel, limits.start_fuel());
    });
}

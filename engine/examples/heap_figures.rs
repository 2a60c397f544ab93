//! Measures the heap: `cargo run -p quorate-engine --example heap_figures`. One table on standard output; times are medians, and in the
//! micro table those of the cheapest of three runs.
//! With a path, another image is measured: `… --example heap_figures -- before.wasm`; with `deliveries` after it, only deliveries, with
//! `sends`, only what `E` costs, with `micro`, only the micro table, or only its lines that are named after that.
//!
//! For people who change the engine. Differences below 30 % on a shared machine are noise; fuel is exact.

use quorate_engine::abi::{Bundle, CapData, Delivery, Method, Slot, Value};
use quorate_engine::heap::{Crank, CrankOutcome, Heap, HeapCheckpoint, Limits, with_engine_stack};
use quorate_engine::image::Image;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MICRO: &str = include_str!("micro.js");
const ROOT: &str = "
import { E, Far } from '@endo/far';
export default function (argv) {
    let n = 0;
    const keep = new Map();
    const echo = Far('echo', { ping: value => value });
    return Far('root', {
        ping() { n += 1; return n; },
        micro(name) { return holder.micro[name](); },
        json(text) { return JSON.stringify(JSON.parse(text)); },
        fresh(count) {
            for (let i = 0; i < count; i += 1) {
                n += 1;
                const text = JSON.stringify({ [`key ${n}`]: `text ${n}` });
                if (JSON.parse(text)[`key ${n}`] !== `text ${n}`) throw Error(text);
            }
            return n;
        },
        fill(count) { for (let i = 0; i < count; i += 1) keep.set('key ' + keep.size, { i, text: 'value ' + i }); },
        loop() { for (;;); },
        grow() { const all = []; for (;;) all.push(new Array(1000).fill(1)); },
        evaluate(text) { return (0, eval)(text); },
        loopOnly(count) { for (let i = 0; i < count; i += 1) n += 1; },
        eOnly(count, x) { for (let i = 0; i < count; i += 1) E(x); },
        eMethod(count, x) { for (let i = 0; i < count; i += 1) E(x).ping; },
        eSend(count, x) { for (let i = 0; i < count; i += 1) E(x).ping(i); },
        eSendOnly(count, x) { for (let i = 0; i < count; i += 1) E.sendOnly(x).ping(i); },
        eGet(count, x) { for (let i = 0; i < count; i += 1) E.get(x).name; },
        eApply(count, x) { for (let i = 0; i < count; i += 1) E(x)(i); },
        eSendHere(count) { const x = echo; for (let i = 0; i < count; i += 1) E(x).ping(i); },
        eSendOnlyHere(count) { const x = echo; for (let i = 0; i < count; i += 1) E.sendOnly(x).ping(i); },
    });
}
";

fn main() {
    let cache = std::env::temp_dir().join("quorate-heap-figures");
    let (image, loading) = timed(|| match std::env::args_os().nth(1) {
        Some(path) => Image::from_wasm(&std::fs::read(path).expect("the image is there"), &cache).expect("it loads"),
        None => Image::load(&cache).expect("the image loads"),
    });
    row("image: load (compiled if this is the first run)", loading, "");
    println!("{:<58}{:>12.1} MiB", "image: base heap", image.base_heap_bytes() as f64 / MIB);
    match std::env::args().nth(2).as_deref() {
        Some("deliveries") => return with_engine_stack(|| deliveries(&image)),
        Some("sends") => return with_engine_stack(|| sends(&image)),
        Some("micro") => return with_engine_stack(|| micro(&image)),
        _ => {}
    }
    with_engine_stack(|| {
        instances(&image);
        deliveries(&image);
        sends(&image);
        micro(&image);
        fresh_texts(&image);
        for megabytes in [0, 8, 32] {
            sized(&image, megabytes);
        }
    });
}

const MIB: f64 = 1_048_576.0;

fn limits(fuel: u64) -> Limits {
    Limits { fuel_per_delivery: fuel, memory_bytes: 512 << 20 }
}

struct Vat(Heap);

impl Vat {
    fn start(image: &Arc<Image>, fuel: u64) -> Vat {
        let micro = MICRO.replace("})(globalThis);", "})(holder);");
        let source = format!("const holder = {{}};\n{micro}\n{ROOT}");
        let modules = BTreeMap::from([("main.js".to_owned(), source)]);
        let mut heap = Heap::new(image.clone(), limits(fuel)).expect("a heap");
        let bundle = Bundle { entry: "main.js".into(), modules };
        let argv = CapData::data(&Value::Record(vec![]));
        let crank = heap.deliver(&Delivery::Start { bundle, argv, endowments: vec![] }).expect("delivers");
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        Vat(heap)
    }

    fn call(&mut self, method: &str, arguments: Vec<Value>) -> Crank {
        self.call_with(method, arguments, vec![])
    }

    fn call_with(&mut self, method: &str, arguments: Vec<Value>, slots: Vec<Slot>) -> Crank {
        let delivery = Delivery::Call {
            target: Slot::VatObject(0),
            method: Method::Call(method.into()),
            args: CapData::new(&Value::Array(arguments), slots),
            result: Some(Slot::HostPromise(1_000_000)),
        };
        self.0.deliver(&delivery).expect("no fault of the host")
    }

    fn checkpoint(&mut self) -> HeapCheckpoint {
        self.0.checkpoint().expect("checkpoints")
    }
}

fn instances(image: &Arc<Image>) {
    let before = resident_bytes();
    let (mut heaps, time) = timed(|| {
        let new = || Heap::new(image.clone(), limits(1 << 40)).expect("a heap");
        (0..100).map(|_| new()).collect::<Vec<_>>()
    });
    row("instance: new, over the base heap", time / 100, "");
    println!("{:<58}{:>12.1} KiB", "instance: memory, idle", (resident_bytes() - before) as f64 / 100.0 / 1024.0);
    for heap in &mut heaps {
        heap.deliver(&Delivery::Collect).expect("delivers");
    }
    println!(
        "{:<58}{:>12.1} KiB",
        "instance: memory, after a collection",
        (resident_bytes() - before) as f64 / 102_400.0
    );
}

fn deliveries(image: &Arc<Image>) {
    const COUNT: u32 = 20_000;
    let mut vat = Vat::start(image, 1 << 40);
    (0..1000).for_each(|_| drop(vat.call("ping", vec![])));
    let (_, time) = timed(|| (0..COUNT).for_each(|_| drop(vat.call("ping", vec![]))));
    let fuel = vat.call("ping", vec![]).fuel;
    row("delivery: ping() with a result", time / COUNT, &format!("fuel {fuel}"));
    let text = Value::String(format!("[{}1]", r#"{"a":1,"b":"text"},"#.repeat(20)));
    let (_, time) = timed(|| (0..COUNT / 10).for_each(|_| drop(vat.call("json", vec![text.clone()]))));
    row("delivery: 380 bytes of JSON in and out", time / (COUNT / 10), "");
    let text = Value::String("1 + 1".into());
    let (_, time) = timed(|| (0..COUNT / 10).for_each(|_| drop(vat.call("evaluate", vec![text.clone()]))));
    row("delivery: eval of 1 + 1", time / (COUNT / 10), "");
}

/// What `E` costs: time and fuel of one of many in a delivery, less those of the loop around it.
fn sends(image: &Arc<Image>) {
    const COUNT: u32 = 2000;
    let mut vat = Vat::start(image, 1 << 40);
    let mut measure = |method: &str| {
        let count = Value::Number(f64::from(COUNT));
        let mut fuel = 0;
        let time = median(9, || {
            let (arguments, slots) = if method.ends_with("Here") || method == "loopOnly" {
                (vec![count.clone()], vec![])
            } else {
                (vec![count.clone(), Value::Slot(0)], vec![Slot::HostObject(1)])
            };
            let crank = vat.call_with(method, arguments, slots);
            assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
            fuel = crank.fuel;
        });
        // Garbage of one kind of send is not to be collected at the cost of another.
        vat.0.deliver(&Delivery::MakeRoom).expect("delivers");
        (time, fuel)
    };
    let (loop_time, loop_fuel) = measure("loopOnly");
    let rows = [
        ("eOnly", "E(x)"),
        ("eMethod", "E(x).ping"),
        ("eSend", "E(x).ping(i), x of another vat"),
        ("eSendOnly", "E.sendOnly(x).ping(i), x of another vat"),
        ("eGet", "E.get(x).name, x of another vat"),
        ("eApply", "E(x)(i), x of another vat"),
        ("eSendHere", "E(x).ping(i), x of this vat, and the call"),
        ("eSendOnlyHere", "E.sendOnly(x).ping(i), x of this vat, and the call"),
    ];
    for (method, what) in rows {
        let (time, fuel) = measure(method);
        let fuel = fuel.saturating_sub(loop_fuel) / u64::from(COUNT);
        row(&format!("send: {what}"), time.saturating_sub(loop_time) / COUNT, &format!("fuel {fuel}"));
    }
}

fn micro(image: &Arc<Image>) {
    let chosen: Vec<String> = std::env::args().skip(3).collect();
    for name in ["fib25", "loop1e6", "sort1e5", "json1mb", "strcat1e5", "objects1e5", "map1e5"] {
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        let mut vat = Vat::start(image, 1 << 40);
        vat.call("micro", vec![Value::String(name.into())]);
        // The cheapest run: a collection of garbage falls due in some and not in others.
        let runs = (0..3).map(|_| {
            let (crank, time) = timed(|| vat.call("micro", vec![Value::String(name.into())]));
            (crank.fuel, time)
        });
        let (fuel, time) = runs.min().expect("three runs");
        let rate = fuel as f64 / time.as_secs_f64() / 1e9;
        row(&format!("micro: {name}"), time, &format!("fuel {fuel}, {rate:.1}e9/s"));
    }
}

/// Memory over a million JSON texts, each with a new key and a new string.
fn fresh_texts(image: &Arc<Image>) {
    let mut vat = Vat::start(image, 1 << 40);
    for round in 1..=100 {
        let (crank, time) = timed(|| vat.call("fresh", vec![Value::Number(10_000.0)]));
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
        if [1, 2, 10, 50, 100].contains(&round) {
            let memory = format!("{:.1} MiB, fuel {}", vat.0.memory_bytes() as f64 / MIB, crank.fuel);
            row(&format!("{} JSON texts: the last 10000", round * 10_000), time, &memory);
        }
    }
}

/// Rollbacks and checkpoints of a heap that holds so much more than the base heap.
fn sized(image: &Arc<Image>, megabytes: u64) {
    let mut vat = Vat::start(image, 5_000_000_000);
    let empty = vat.0.memory_bytes();
    while vat.0.memory_bytes() < empty + (megabytes << 20) {
        let crank = vat.call("fill", vec![Value::Number(2000.0)]);
        assert!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
    }
    let size = format!("{:.0} MiB heap", vat.0.memory_bytes() as f64 / MIB);
    let (checkpoint, time) = timed(|| vat.checkpoint());
    row(&format!("{size}: first checkpoint"), time, &format!("{} new pages", checkpoint.new_pages.len()));
    let (_, time) = timed(|| checkpoint.manifest.root());
    row(&format!("{size}: root of a manifest"), time, "");
    let time = median(5, || {
        vat.checkpoint();
    });
    row(&format!("{size}: checkpoint, nothing to do"), time, "");
    vat.call("ping", vec![]);
    let (checkpoint, time) = timed(|| vat.checkpoint());
    row(&format!("{size}: checkpoint after a ping"), time, &format!("{} new pages", checkpoint.new_pages.len()));
    (0..1000).for_each(|_| drop(vat.call("ping", vec![])));
    let (checkpoint, time) = timed(|| vat.checkpoint());
    row(&format!("{size}: checkpoint after 1000 pings"), time, &format!("{} new pages", checkpoint.new_pages.len()));
    let pages: BTreeMap<_, _> = checkpoint.manifest.pages.iter().map(|hash| (*hash, ())).collect();
    println!("{:<58}{:>12} of {}", format!("{size}: different pages"), pages.len(), checkpoint.manifest.pages.len());
    for (name, journal) in [("nothing", 0), ("150 pings", 150)] {
        // A checkpoint empties the journal; the memory bomb is over as soon as the memory is full.
        let time = median(5, || {
            vat.checkpoint();
            (0..journal).for_each(|_| drop(vat.call("ping", vec![])));
            let started = Instant::now();
            let crank = vat.call("evaluate", vec![Value::String("(".repeat(20_000))]);
            assert!(matches!(crank.outcome, CrankOutcome::RolledBack { .. }), "{crank:?}");
            BAD.with(|bad| bad.set(started.elapsed()));
        });
        let bad = BAD.with(std::cell::Cell::get);
        row(&format!("{size}: bad delivery over a journal of {name}"), bad, &format!("of {time:.1?} with the rest"));
    }
}

thread_local! {
    static BAD: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let value = work();
    (value, started.elapsed())
}

fn median(times: usize, mut work: impl FnMut()) -> Duration {
    let mut all: Vec<Duration> = (0..times).map(|_| timed(&mut work).1).collect();
    all.sort();
    all[times / 2]
}

fn row(what: &str, time: Duration, note: &str) {
    println!("{what:<58}{:>12} {note}", format!("{time:.2?}"));
}

/// Memory of this process that is its own, where the system tells.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    (kilobytes("Private_Dirty:").unwrap_or(0) + kilobytes("Private_Clean:").unwrap_or(0)) * 1024
}

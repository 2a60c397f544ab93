//! The speed of the interpreter: `engine/examples/micro.js` in the image, with fuel counted, and beside it in the same interpreter
//! compiled for this machine.
//!
//! The second is a program of its own, which `make bench` builds of the guest's patched sources and names by the environment
//! variable `NATIVE_MICRO`; without it the table has the image's column alone. The fastest run of each counts, and the least fuel: a collection of
//! garbage falls due in some runs and not in others.

use super::Figure;
use anyhow::{Context, bail, ensure};
use quorate_engine::{
    abi::{Bundle, CapData, Delivery, Method, Output, Resolution, Slot, Value},
    heap::{CrankOutcome, Heap, Limits, with_engine_stack},
    image::Image,
};
use quorate_node::run::engine_cache;
use std::{collections::BTreeMap, process::Command, sync::Arc, time::Instant};

const MICRO: &str = include_str!("../../../engine/examples/micro.js");
const ROOT: &str = "
import { Far } from '@endo/far';
export default () => Far('root', { run: name => holder.micro[name]() });
";
const NAMES: [&str; 7] = ["fib25", "loop1e6", "sort1e5", "json1mb", "strcat1e5", "objects1e5", "map1e5"];
/// Runs of each program, after one that is not counted.
const RUNS: usize = 3;

/// Measures each line of the table, and the geometric mean of the quotients.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let image = Image::load(&engine_cache()?)?;
    let mut native: BTreeMap<String, f64> = BTreeMap::new();
    let mut in_image = Vec::new();
    let program = std::env::var_os("NATIVE_MICRO");
    with_engine_stack(|| -> anyhow::Result<()> {
        let mut vat = start(&image)?;
        for name in NAMES {
            run(&mut vat, name)?;
            let (mut best, mut fuel) = (f64::INFINITY, u64::MAX);
            for _ in 0..RUNS {
                let started = Instant::now();
                fuel = fuel.min(run(&mut vat, name)?);
                best = best.min(started.elapsed().as_secs_f64() * 1e3);
            }
            in_image.push((name, best, fuel));
        }
        Ok(())
    })?;
    if let Some(program) = program {
        let done = Command::new(&program).output().with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(done.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&done.stderr));
        for line in String::from_utf8(done.stdout)?.lines() {
            let (name, time) = line.split_once(' ').with_context(|| format!("{}: {line}", program.display()))?;
            native.insert(name.to_owned(), time.parse().with_context(|| line.to_owned())?);
        }
    }
    Ok(figures(&in_image, &native))
}

fn figures(in_image: &[(&str, f64, u64)], native: &BTreeMap<String, f64>) -> Vec<Figure> {
    let mut quotients = Vec::new();
    let mut figures: Vec<Figure> = Vec::new();
    for (name, time, fuel) in in_image {
        let note = match native.get(*name) {
            Some(native) => {
                quotients.push(time / native);
                format!("native {native:.1} ms, {:.2} times; fuel {fuel}", time / native)
            }
            None => format!("fuel {fuel}"),
        };
        figures.push(Figure::new(format!("micro.js in the image: {name}"), *time, "ms").note(note));
    }
    if !quotients.is_empty() {
        let mean = (quotients.iter().map(|quotient| quotient.ln()).sum::<f64>() / quotients.len() as f64).exp();
        figures.push(Figure::new("micro.js: image to native, geometric mean", mean, "times"));
    }
    figures
}

fn start(image: &Arc<Image>) -> anyhow::Result<Heap> {
    let micro = MICRO.replace("})(globalThis);", "})(holder);");
    let source = format!("const holder = {{}};\n{micro}\n{ROOT}");
    let bundle = Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".to_owned(), source)]) };
    let limits = Limits { fuel_per_delivery: 1 << 40, memory_bytes: 512 << 20 };
    let mut heap = Heap::new(image.clone(), limits)?;
    let argv = CapData::data(&Value::Record(vec![]));
    let crank = heap.deliver(&Delivery::Start { bundle, argv, endowments: vec![] })?;
    ensure!(matches!(crank.outcome, CrankOutcome::Done { .. }), "{crank:?}");
    Ok(heap)
}

/// Runs one line of the table; the fuel that it took.
fn run(heap: &mut Heap, name: &str) -> anyhow::Result<u64> {
    let delivery = Delivery::Call {
        target: Slot::VatObject(0),
        method: Method::Call("run".into()),
        args: CapData::data(&Value::Array(vec![Value::String(name.into())])),
        result: Some(Slot::HostPromise(1_000_000)),
    };
    let crank = heap.deliver(&delivery)?;
    let CrankOutcome::Done { outputs } = &crank.outcome else { bail!("{name}: {crank:?}") };
    let fulfilled = |output: &Output| matches!(output, Output::Settle { resolution: Resolution::Fulfilled(_), .. });
    ensure!(outputs.iter().any(fulfilled), "{name}: {outputs:?}");
    Ok(crank.fuel)
}

//! Runs `engine/examples/micro.js` in the interpreter of the guest, compiled for this machine: no image, no fuel.
//!
//! `make bench` builds it and shows what it says beside what the image needs. Prints one line for each name: the name, and the
//! milliseconds of the fastest of three runs after one that is not counted.

use boa_engine::{Context, JsResult, Source};
use std::process::ExitCode;
use std::time::Instant;

const MICRO: &str = include_str!("../../../examples/micro.js");
const RUNS: u32 = 3;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-micro: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> JsResult<()> {
    let mut context = Context::default();
    context.eval(Source::from_bytes(MICRO))?;
    let names = context.eval(Source::from_bytes("Object.keys(micro).join()"))?.to_string(&mut context)?;
    for name in names.to_std_string_escaped().split(',') {
        let call = format!("micro.{name}()");
        context.eval(Source::from_bytes(&call))?;
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            let started = Instant::now();
            context.eval(Source::from_bytes(&call))?;
            best = best.min(started.elapsed().as_secs_f64() * 1e3);
        }
        println!("{name} {best:.3}");
    }
    Ok(())
}

//! Many seeds, each in a process of its own.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{number, world_of};

/// Broken seeds that are shown in full; more are named only.
const SHOWN: usize = 3;

/// Runs `count` seeds from `first` on.
///
/// # Errors
/// Arguments that are none, and a program that cannot be started.
pub fn run(first: &str, count: &str, world: &str, jobs: Option<&str>) -> Result<ExitCode, String> {
    let (first, count) = (number(first)?, number(count)?);
    world_of(world)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = jobs.map_or(Ok(cores), number)?.clamp(1, 256);
    let program = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let (next, broken) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || -> Result<(), String> {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count {
                return Ok(());
            }
            let run = Command::new(&program).args(["one", &seed.to_string(), world]).output();
            let run = run.map_err(|error| format!("{}: {error}", program.display()))?;
            if !run.status.success() {
                let text = [run.stdout, run.stderr].concat();
                let report = format!("{}\n{}", run.status, String::from_utf8_lossy(&text));
                broken.lock().unwrap_or_else(PoisonError::into_inner).push((seed, report));
            }
        }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a worker died".into())));
        ended.filter_map(Result::err).collect()
    });
    if let Some(error) = failed.into_iter().next() {
        return Err(error);
    }
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort();
    for (seed, report) in broken.iter().take(SHOWN) {
        println!("--- seed {seed} of {world}: {report}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let each_ms = seconds * 1_000.0 * jobs as f64 / count.max(1) as f64;
    println!(
        "{count} seeds of {world} from {first} on: {} broken; {seconds:.1} s, {each_ms:.0} ms a seed with {jobs} at once",
        broken.len()
    );
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let seeds: Vec<String> = broken.iter().map(|(seed, _)| seed.to_string()).collect();
    println!("broken seeds: {}", seeds.join(" "));
    println!("to reproduce one: make sim SEED={} SEEDS=1 WORLD={world}", broken[0].0);
    Ok(ExitCode::FAILURE)
}

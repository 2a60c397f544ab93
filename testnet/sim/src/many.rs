//! Many seeds, each in a process of its own.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{number, world_of};

/// Broken seeds that are shown in full; more are named only.
const SHOWN: usize = 3;

/// What became of the seeds.
struct Run {
    first: u64,
    count: u64,
    jobs: u64,
    seconds: f64,
    /// Those that broke a promise, with what they printed.
    broken: Vec<(u64, String)>,
}

/// Runs `count` seeds from `first` on.
///
/// # Errors
/// Arguments that are none, and a program that cannot be started.
pub fn run(first: &str, count: &str, world: &str, jobs: Option<&str>) -> Result<ExitCode, String> {
    let run = seeds(first, count, world, jobs, false)?;
    for (seed, report) in run.broken.iter().take(SHOWN) {
        println!("--- seed {seed} of {world}: {report}");
    }
    let each_ms = run.seconds * 1_000.0 * run.jobs as f64 / run.count.max(1) as f64;
    println!(
        "{} seeds of {world} from {} on: {} broken; {:.1} s, {each_ms:.0} ms a seed with {} at once",
        run.count,
        run.first,
        run.broken.len(),
        run.seconds,
        run.jobs
    );
    let Some((reproduced, _)) = run.broken.first() else { return Ok(ExitCode::SUCCESS) };
    let seeds: Vec<String> = run.broken.iter().map(|(seed, _)| seed.to_string()).collect();
    println!("broken seeds: {}", seeds.join(" "));
    println!("to reproduce one: make sim SEED={reproduced} SEEDS=1 WORLD={world}");
    Ok(ExitCode::FAILURE)
}

/// Runs seeds up to the first that breaks a promise, and says how many it took: for bugs that were planted.
///
/// # Errors
/// As for [`run`].
pub fn hunt(first: &str, count: &str, world: &str, jobs: Option<&str>) -> Result<ExitCode, String> {
    let run = seeds(first, count, world, jobs, true)?;
    let Some((seed, report)) = run.broken.first() else {
        println!("not found in {} seeds of {world}", run.count);
        return Ok(ExitCode::FAILURE);
    };
    // The line before the last says what was broken; a world that died says so in its first.
    let lines: Vec<&str> = report.lines().collect();
    let broken = lines.iter().rev().find(|line| line.contains(" ms: ")).or(lines.first()).copied().unwrap_or_default();
    println!("found by seed {seed} of {world}, number {}: {broken}", seed - run.first + 1);
    Ok(ExitCode::SUCCESS)
}

fn seeds(first: &str, count: &str, world: &str, jobs: Option<&str>, only_first: bool) -> Result<Run, String> {
    let (first, count) = (number(first)?, number(count)?);
    world_of(world)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = jobs.map_or(Ok(cores), number)?.clamp(1, 256);
    let program = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let end = first.checked_add(count).ok_or_else(|| format!("{count} seeds from {first} on are too many"))?;
    let (next, end, broken) = (AtomicU64::new(first), AtomicU64::new(end), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || -> Result<(), String> {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end.load(Ordering::SeqCst) {
                return Ok(());
            }
            let run = Command::new(&program).args(["one", &seed.to_string(), world]).output();
            let run = run.map_err(|error| format!("{}: {error}", program.display()))?;
            if !run.status.success() {
                let text = [run.stdout, run.stderr].concat();
                let report = format!("{}\n{}", run.status, String::from_utf8_lossy(&text));
                eprintln!("seed {seed} of {world} is broken");
                broken.lock().unwrap_or_else(PoisonError::into_inner).push((seed, report));
                if only_first {
                    end.fetch_min(seed, Ordering::SeqCst);
                }
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
    Ok(Run { first, count, jobs, seconds: began.elapsed().as_secs_f64(), broken })
}

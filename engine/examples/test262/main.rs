//! `make test262 TEST262=checkout`: runs the parts of test262 that concern vats in the real image, and compares what fails with
//! `engine/tests/test262-failures.txt`. Exits 1 if a test fails that is not listed, or passes that is.
//!
//! Arguments: the checkout; then any of `--only PART-OF-A-PATH`, `--every N` (a sample), `--threads N`, `--verbose` (how each
//! failed), `--update` (writes the list; new failures need a reason by hand).

mod failures;
mod suite;
mod vat;

use failures::Failures;
use quorate_engine::heap::with_engine_stack;
use quorate_engine::image::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use suite::{Suite, Test};

/// Tests that share a vat.
const TESTS_PER_VAT: usize = 200;

struct Options {
    checkout: PathBuf,
    only: String,
    every: usize,
    threads: usize,
    verbose: bool,
    update: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("test262: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let checkout = arguments.next().ok_or("name a checkout of tc39/test262: make test262 TEST262=folder")?.into();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { checkout, only: String::new(), every: 1, threads, verbose: false, update: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number = |text: String| match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{text:?} is not a number above 0")),
        };
        match argument.as_str() {
            "--only" => options.only = value()?,
            "--every" => options.every = number(value()?)?,
            "--threads" => options.threads = number(value()?)?,
            "--verbose" => options.verbose = true,
            "--update" => options.update = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(options)
}

/// Returns whether the run is as the list says.
fn run(options: &Options) -> Result<bool, String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/test262-failures.txt");
    let mut known = Failures::read(&list)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let cache = program.parent().ok_or("this program is in no folder")?.join("differential-work/image-cache");
    let image = image(&cache)?;
    let suite = Suite::read(&options.checkout, &options.only)?;
    let tests: Vec<&Test> = suite.tests.iter().step_by(options.every).collect();
    let chunks: Vec<&[&Test]> = tests.chunks(TESTS_PER_VAT).collect();
    let (next, results, faults) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            match with_engine_stack(|| vat::run(&image, &suite, chunk)) {
                Ok(ends) => lock(&results).extend(chunk.iter().map(|test| test.path.as_str()).zip(ends)),
                Err(fault) => lock(&faults).push(fault),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    if let Some(fault) = lock(&faults).first() {
        return Err(fault.clone());
    }
    let results = results.into_inner().map_err(|_| "a thread panicked")?;
    let run: BTreeSet<&str> = results.keys().copied().collect();
    let failed: BTreeMap<&str, String> = results.iter().filter_map(|(path, end)| Some((*path, end.clone()?))).collect();
    report(&suite, &run, &failed, options.verbose);
    let changes = known.changes(&run, &failed);
    for (words, paths) in [("fails and is not listed", &changes.new), ("is listed and passes", &changes.gone)] {
        for path in paths {
            println!("{words}: {path} {}", failed.get(path.as_str()).map_or("", String::as_str));
        }
    }
    println!(
        "{} failures listed, {} not listed, {} listed that pass",
        known.count(),
        changes.new.len(),
        changes.gone.len()
    );
    known.reasons().for_each(|(reason, count)| println!("{count:>8} listed: {reason}"));
    if options.update {
        known.update(&changes);
        known.write(&list)?;
    }
    Ok(changes.new.is_empty() && changes.gone.is_empty())
}

/// The program's own image, or the file that `QUORATE_TEST_IMAGE` names.
fn image(cache: &Path) -> Result<Arc<Image>, String> {
    let Some(other) = std::env::var_os("QUORATE_TEST_IMAGE") else {
        return Image::load(cache).map_err(|error| error.to_string());
    };
    let wasm = std::fs::read(&other).map_err(|error| format!("{}: {error}", Path::new(&other).display()))?;
    Image::from_wasm(&wasm, cache).map_err(|error| error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(suite: &Suite, run: &BTreeSet<&str>, failed: &BTreeMap<&str, String>, verbose: bool) {
    let mut folders: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for path in run {
        let depth = if path.starts_with("test/annexB") { 4 } else { 3 };
        let folder: Vec<&str> = path.split('/').take(depth).skip(1).collect();
        let counts = folders.entry(folder.join("/")).or_default();
        counts.0 += 1;
        counts.1 += usize::from(failed.contains_key(path));
    }
    println!("{:<52}{:>8}{:>8}{:>8}", "folder", "run", "passed", "failed");
    for (folder, (run, failed)) in &folders {
        println!("{folder:<52}{run:>8}{:>8}{failed:>8}", run - failed);
    }
    println!("{:<52}{:>8}{:>8}{:>8}", "all", run.len(), run.len() - failed.len(), failed.len());
    println!("left out:");
    suite.left_out.iter().for_each(|(reason, count)| println!("{count:>8} {reason}"));
    if verbose {
        failed.iter().for_each(|(path, end)| println!("{path}\t{}", end.replace('\n', " ")));
    }
}

//! `vat test`: files of tests that start vats in memory, send messages between them and assert what comes of it.

use super::{Exit, Failure, Outcome, create::wrong_code, output};
use quorate_engine::{
    heap::with_engine_stack,
    image::{Image, image_hash},
};
use quorate_node::run::engine_cache;
use quorate_tools::{
    TrialError,
    driver::Budget,
    source::{Place, Sources},
    suite::{Listed, Report, Suite},
    world::ConsoleLine,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Fuel that one test may burn: about twenty seconds.
const FUEL_PER_TEST: u64 = 100_000_000_000;
/// How the names of files of tests end.
const ENDINGS: [&str; 4] = [".test.js", ".test.mjs", ".test.ts", ".test.mts"];
/// Folders that hold no tests of the author's.
const PASSED_OVER: [&str; 3] = ["node_modules", "quorate-testnet", "target"];
/// Folders within one another that are looked through.
const MAX_DEPTH: usize = 16;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat test                                  all *.test.js and *.test.ts below this folder\n  vat test shop.test.js --filter refund     those of its tests that have `refund` in their names\n  vat test --seeds 100                      each test a hundred times, with messages in other orders\n  vat test --json | jq -c 'select(.outcome == \"failed\")'\n\nA file of tests:\n  import { E } from '@endo/far';\n  export default ({ test }) => {\n    test('counts', async t => {\n      const counter = await t.vat('./counter.js', { start: 3 });\n      t.is(await E(counter).increment(), 4);\n    });\n  };\n\nAll vats of a test are in this process, in memory, and the same seed gives the same run. Exit code 1 if a test fails."
)]
pub struct Args {
    /// Files of tests, and folders that hold some (default: this folder)
    files: Vec<PathBuf>,
    /// Run only tests that have this text in their names
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// What decides the order in which messages of different vats arrive
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run each test with so many seeds, one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// Fuel that one test may burn, all its vats together
    #[arg(long, value_name = "FUEL", default_value_t = FUEL_PER_TEST)]
    fuel: u64,
    /// Show the consoles, and what each vat costs, also of tests that pass
    #[arg(short, long)]
    verbose: bool,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let files = find(&args.files)?;
    let progress = output::Progress::start(output::COMPILING);
    let cache = engine_cache()?;
    let image = tokio::task::spawn_blocking(move || Image::load(&cache)).await??;
    progress.done();
    tokio::task::spawn_blocking(move || with_engine_stack(|| Run::new(args, json).all(&image, &files))).await?
}

/// The files of tests that the command line names.
fn find(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let here = [PathBuf::from(".")];
    let mut files = Vec::new();
    for path in if named.is_empty() { &here[..] } else { named } {
        if path.is_dir() {
            collect(path, 0, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    // One that is named twice is run once.
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    if files.is_empty() {
        let message = "there is no file of tests here: name one, or call it NAME.test.js or NAME.test.ts (`vat test --help` shows one)";
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let read =
        fs::read_dir(folder).map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", folder.display())))?;
    let mut entries: Vec<fs::DirEntry> = read.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder == Path::new(".") { PathBuf::from(&name) } else { folder.join(&name) };
        // Links are not followed: they may lead back here.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEPTH && !name.starts_with('.') && !PASSED_OVER.contains(&name.as_str()) {
            collect(&path, depth + 1, files)?;
        } else if kind.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    Ok(())
}

/// What came of all tests so far.
struct Run {
    args: Args,
    json: bool,
    passed: u64,
    failed: u64,
    skipped: u64,
    fuel: u64,
}

impl Run {
    fn new(args: Args, json: bool) -> Run {
        Run { args, json, passed: 0, failed: 0, skipped: 0, fuel: 0 }
    }

    fn all(mut self, image: &Arc<Image>, files: &[PathBuf]) -> Outcome {
        // What is wrong with any file is said before a test is run.
        let mut sources = Sources::default();
        let mut mistakes = Vec::new();
        for file in files {
            if let Err(error) = sources.read(file) {
                mistakes.extend(error.mistakes);
            }
        }
        if !mistakes.is_empty() {
            mistakes.sort();
            mistakes.dedup();
            return Err(wrong_code(quorate_config::bundle::BundleError { mistakes }));
        }
        for file in files {
            let budget = Budget { fuel: self.args.fuel };
            let mut suite = Suite::read(image.clone(), file, sources, budget).map_err(wrong_code)?;
            self.file(file, &mut suite)?;
            sources = suite.into_sources();
        }
        self.finish()
    }

    fn file(&mut self, file: &Path, suite: &mut Suite) -> Result<(), Failure> {
        let listed = suite.list().map_err(|error| match error {
            TrialError::Engine(error) => error.into(),
            other => Failure::new(Exit::Usage, other),
        })?;
        let filter = self.args.filter.clone().unwrap_or_default();
        let wanted = listed.iter().enumerate().filter(|(_, test)| test.name.contains(&filter));
        let wanted: Vec<(usize, &Listed)> = wanted.collect();
        if !wanted.is_empty() && !self.json {
            output::line(file.display());
        }
        for (index, test) in wanted {
            if test.skipped {
                self.skipped += 1;
                self.skip(file, test);
                continue;
            }
            let report = self.with_seeds(suite, index, test)?;
            self.fuel = self.fuel.saturating_add(report.spent.fuel);
            match report.outcome {
                Ok(_) => self.passed += 1,
                Err(_) => self.failed += 1,
            }
            if self.json {
                output::json_line(&as_json(file, test, &report));
            } else {
                self.show(test, &report);
            }
        }
        Ok(())
    }

    /// Runs a test with one seed after the other, until it fails. The report is that of the first that fails, or else of the first.
    fn with_seeds(&self, suite: &mut Suite, index: usize, test: &Listed) -> Result<Report, Failure> {
        let mut first = None;
        for seed in (0..self.args.seeds).map(|more| self.args.seed.wrapping_add(more)) {
            let report = suite.run(index, test, seed).map_err(|error| Failure::new(Exit::Failed, error))?;
            if report.outcome.is_err() {
                return Ok(report);
            }
            first.get_or_insert(report);
        }
        first.ok_or_else(|| Failure::new(Exit::Usage, "--seeds: at least one is needed"))
    }

    fn skip(&self, file: &Path, test: &Listed) {
        if self.json {
            return output::json_line(&json!({ "file": file, "test": test.name, "outcome": "skipped" }));
        }
        output::line(format!("  skipped  {}", test.name));
    }

    fn show(&self, test: &Listed, report: &Report) {
        let word = if report.outcome.is_ok() { "ok" } else { "FAILED" };
        let cost = format!("{} deliveries, {} fuel", report.spent.deliveries, grouped(report.spent.fuel));
        output::line(format!("  {word:<7}  {} ({cost})", test.name));
        if let Err(failed) = &report.outcome {
            let mut lines: Vec<String> = failed.message.lines().map(str::to_owned).collect();
            if let Some(place) = failed.place.as_ref().map(Place::shown) {
                lines.extend(place.lines().map(str::to_owned));
            }
            if self.args.seeds > 1 {
                lines.push(format!("seed {}: `vat test --seed {0}` runs it again", report.seed));
            }
            lines.iter().for_each(|line| output::line(format!("             {line}")));
        }
        if report.outcome.is_err() || self.args.verbose {
            report.console.iter().for_each(|line| output::line(format!("           | {}", shown(line))));
        }
        if self.args.verbose {
            for (vat, usage) in report.vats.iter().skip(1) {
                let fuel = grouped(usage.fuel);
                output::line(format!("           {vat}: {} deliveries, {fuel} fuel", usage.deliveries));
            }
        }
    }

    fn finish(self) -> Outcome {
        let Run { passed, failed, skipped, .. } = self;
        if passed + failed + skipped == 0 {
            let message = match &self.args.filter {
                Some(filter) => format!("no test has {filter:?} in its name"),
                None => "the files have no tests".to_owned(),
            };
            return Err(Failure::new(Exit::Usage, message));
        }
        let summary = json!({
            "passed": passed, "failed": failed, "skipped": skipped, "fuel": self.fuel,
            "seed": self.args.seed, "seeds": self.args.seeds, "image": image_hash().to_string(),
        });
        if failed > 0 {
            let failure = Failure::new(Exit::Rejected, format!("{failed} of {} tests failed", passed + failed));
            return Err(if self.json { failure.with_result(summary) } else { failure });
        }
        if self.json {
            output::json_line(&summary);
        } else {
            let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
            output::line(format!("{passed} passed{skipped}"));
        }
        Ok(Exit::Success)
    }
}

fn as_json(file: &Path, test: &Listed, report: &Report) -> Value {
    let failure = report.outcome.as_ref().err().map(|failed| {
        let place = failed.place.as_ref();
        json!({
            "message": failed.message,
            "file": place.map(|place| &place.file),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column).filter(|column| *column > 0),
            "source": place.map(|place| &place.text),
        })
    });
    let vats = report.vats.iter().skip(1);
    let vats: Vec<Value> = vats
        .map(|(vat, usage)| {
            json!({ "vat": vat, "fuel": usage.fuel, "deliveries": usage.deliveries, "rolled_back": usage.rolled_back })
        })
        .collect();
    let line = |line: &ConsoleLine| json!({ "vat": line.vat, "level": line.level.as_str(), "text": line.text });
    json!({
        "file": file, "test": test.name, "outcome": if report.outcome.is_ok() { "passed" } else { "failed" },
        "assertions": report.outcome.as_ref().ok(), "seed": report.seed, "fuel": report.spent.fuel,
        "deliveries": report.spent.deliveries, "failure": failure, "vats": vats,
        "console": report.console.iter().map(line).collect::<Vec<Value>>(),
    })
}

/// A line of a console, with whose it is.
pub fn shown(line: &ConsoleLine) -> String {
    if line.vat.is_empty() { line.text.clone() } else { format!("[{}] {}", line.vat, line.text) }
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for start in (first..digits.len()).step_by(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&digits[start..start + 3]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [(0, "0"), (12, "12"), (123, "123"), (1_234, "1,234"), (123_456_789, "123,456,789")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn files_of_tests_are_found_in_order_and_those_of_packages_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["node_modules/a", "sub", ".hidden"] {
            fs::create_dir_all(path(name)).expect("made");
        }
        for name in
            ["b.test.ts", "a.test.js", "a.js", "sub/c.test.mjs", "node_modules/a/d.test.js", ".hidden/e.test.js"]
        {
            fs::write(path(name), "").expect("written");
        }
        let found = find(&[folder.path().to_owned(), path("a.test.js")]).expect("some");
        assert_eq!(found, [path("a.test.js"), path("b.test.ts"), path("sub/c.test.mjs")]);
        assert!(
            find(&[path("sub/nothing")]).is_ok_and(|found| found.len() == 1),
            "it is said later that it is missing"
        );
        fs::create_dir(path("empty")).expect("made");
        assert!(find(&[path("empty")]).is_err());
    }
}

//! `make audit-plants [PLANTS='NAME…']`: takes out each defence of the image, one at a time, and says which attempts of `tests/audit` get
//! through. `tests/audit/plants/run` builds the planted image and names it in `QUORATE_TEST_IMAGE`.
//!
//! Exits 1 if an attempt gets through without a plant, if one holds that a plant should let through, or if no plant lets an attempt through.

#[path = "../tests/audit/attempts.rs"]
mod attempts;
#[path = "../tests/guest_support/mod.rs"]
mod guest_support;
#[path = "../tests/audit/plants/list.rs"]
mod list;

use attempts::{Attempts, Found, WALK};
use list::{Plant, read};
use quorate_engine::heap::{Limits, with_engine_stack};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

/// As the test has them, and what setting up the interpreter costs, which the planted image does when a vat starts.
const LIMITS: Limits = Limits { fuel_per_delivery: 100_000_000_000, memory_bytes: 256 << 20 };

/// What must work with any plant: otherwise an attempt fails because nothing works, and shows nothing.
const ORDINARY: &str = "\
// tries: what any program does
import { trying } from './lib.js';
export const attempt = () => trying({
  sends: async () => await E(Far('x', { m: y => y + 1 })).m(1) !== 2,
  waits: async () => await Vow.resolve(1) !== 1,
  confines: () => SES.confine('1 + 1') !== 2,
  hardens: () => harden({ a: [1] }).a[0] !== 1,
  collects: () => new Map([[1, new Set([2])]]).get(1).has(2) !== true,
});
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, names)) = arguments.split_first() else {
        eprintln!(
            "usage: audit_plants FOLDER [PLANT]…   FOLDER is engine/tests/audit; `all` tries every attempt with every plant"
        );
        return ExitCode::FAILURE;
    };
    match with_engine_stack(|| run(Path::new(folder), names)) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("\nnot as it should be:\n{}", wrong.join("\n"));
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("audit_plants: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what is not as it should be.
fn run(folder: &Path, names: &[String]) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(folder.join("plants/list")).map_err(|error| error.to_string())?;
    let list = read(&text)?;
    let all = names.iter().any(|name| name == "all");
    let chosen: Vec<&Plant> =
        list.iter().filter(|plant| names.is_empty() || all || names.contains(&plant.name)).collect();
    if let Some(unknown) = names.iter().find(|name| *name != "all" && !list.iter().any(|plant| plant.name == **name)) {
        return Err(format!("no plant is called {unknown}: see {}", folder.join("plants/list").display()));
    }
    let attempts = Attempts::of(folder, LIMITS);
    let files = attempts.names();
    let mut wrong = Vec::new();
    let mut ways = BTreeMap::new();
    let whole = names.is_empty() || all;
    if whole {
        for file in files.iter().map(String::as_str).chain([WALK]) {
            let found = one(&attempts, file, "")?;
            if !found.holds() {
                wrong.push(format!("{file} gets through without a plant: {}", shown(&found)));
            }
            ways.insert(file.to_owned(), found.tried);
        }
        println!("without a plant: {} programs, {} hold\n", ways.len(), ways.len() - wrong.len());
    }
    let mut through: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for plant in chosen {
        println!("{}: {}", plant.name, plant.takes_out);
        let every = files.iter().cloned().chain([WALK.to_owned()]);
        let tried: Vec<String> =
            if all { every.collect() } else { plant.through.iter().chain(&plant.holds).cloned().collect() };
        wrong.extend(planted(plant, &attempts, &tried, &mut through));
    }
    if whole {
        wrong.extend(summary(&files, &ways, &through));
    }
    Ok(wrong)
}

fn one(attempts: &Attempts<'_>, file: &str, plant: &str) -> Result<Found, String> {
    if file == WALK { attempts.walk(plant) } else { attempts.run(file, plant) }
}

/// Runs attempts with one plant, and returns what is not as it should be.
fn planted(
    plant: &Plant,
    attempts: &Attempts<'_>,
    files: &[String],
    through: &mut BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    match attempts.run_text(ORDINARY, &plant.text) {
        Ok(found) if found.holds() => {}
        Ok(found) => wrong.push(format!("{}: ordinary programs do not run any more: {}", plant.name, shown(&found))),
        Err(message) => return vec![format!("{}: nothing starts with it: {message}", plant.name)],
    }
    for file in files {
        let found = match one(attempts, file, &plant.text) {
            Ok(found) => found,
            Err(message) => {
                wrong.push(format!("{}: {file} does not start: {message}", plant.name));
                continue;
            }
        };
        if !found.holds() {
            println!("  {file}: {}", shown(&found));
            let ways = found.escaped.iter().map(|way| way.split(": ").next().unwrap_or_default().to_owned());
            through.entry(file.clone()).or_default().extend(ways);
        } else if plant.holds.contains(file) {
            println!("  {file} holds: another defence is there");
        }
        if plant.through.contains(file) && found.holds() {
            wrong.push(format!("{}: {file} holds, and should not", plant.name));
        }
        if plant.holds.contains(file) && !found.holds() {
            wrong.push(format!("{}: {file} gets through, and should not", plant.name));
        }
    }
    wrong
}

fn shown(found: &Found) -> String {
    let ways: Vec<String> = found.escaped.iter().map(|way| way.chars().take(160).collect()).collect();
    format!("{} of {}: {}", ways.len(), found.tried, ways.join(", ").chars().take(400).collect::<String>())
}

/// Returns how many ways of each attempt some plant lets through; returns the attempts of which none does.
fn summary(
    files: &[String],
    ways: &BTreeMap<String, u64>,
    through: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    println!("\nways that some plant lets through, of those that are tried:");
    for file in files {
        let some = through.get(file).map_or(0, BTreeSet::len);
        println!("  {file}: {some} of {}", ways.get(file).copied().unwrap_or_default());
        if some == 0 {
            wrong.push(format!("no plant lets {file} through: it shows nothing"));
        }
    }
    wrong
}

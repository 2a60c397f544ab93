//! `make differential [SEEDS=n] [SEED=first]`: runs generated programs in Node and in a vat on the real image, prints which
//! differ, and shrinks the first of each kind. Exits 1 if any differ.

#[path = "../tests/differential/runner.rs"]
mod runner;

use runner::{Comparison, Difference};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Programs that are generated and run at once.
const BATCH: u32 = 500;
/// Kinds of difference that are shrunk: each takes a minute or so.
const SHRUNK: usize = 10;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("differential: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of programs that differ.
fn run() -> Result<usize, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, count] = &arguments[..] else { return Err("usage: differential FIRST_SEED COUNT".into()) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is not a seed or a number of seeds"));
    let (first, count) = (number(first)?, number(count)?);
    let end = first.checked_add(count).ok_or("seeds are less than 4294967296")?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let base: PathBuf = program.parent().ok_or("this program is in no folder")?.join("differential-work");
    std::fs::create_dir_all(&base).map_err(|error| format!("{}: {error}", base.display()))?;
    let comparison = Comparison::new(base.join("programs"), &base.join("image-cache"))?;
    let mut kinds: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut differing = 0;
    for from in (first..end).step_by(BATCH as usize) {
        let some = BATCH.min(end - from);
        comparison.generate(from, some)?;
        let differences = comparison.differences()?;
        println!("seeds {from} to {}: {} programs, {} differ", from + some - 1, some, differences.len());
        differing += differences.len();
        for one in differences {
            let (node, vat) = one.first_lines();
            println!("  {}: Node: {node}", one.name);
            println!("  {}  vat:  {vat}", " ".repeat(one.name.len()));
            kinds.entry(kind(&one)).or_default().push(one.name);
        }
    }
    println!("{count} programs, {differing} differ, {} kinds by their first lines", kinds.len());
    for names in kinds.values().take(SHRUNK) {
        explain(&comparison, names)?;
    }
    Ok(differing)
}

/// Returns what two differences have in common, if they come from the same fault.
fn kind(difference: &Difference) -> (String, String) {
    let (node, vat) = difference.first_lines();
    let bare = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
    (bare(node), bare(vat))
}

/// Shrinks the first program of a kind and prints it.
fn explain(comparison: &Comparison, names: &[String]) -> Result<(), String> {
    let seed = names[0].trim_start_matches('p').trim_end_matches(".js");
    comparison.generate(seed.parse().map_err(|_| format!("{} is no program", names[0]))?, 1)?;
    let Some(difference) = comparison.differences()?.pop() else {
        println!("\nseed {seed} differs only after the programs before it");
        return Ok(());
    };
    let (text, smallest) = comparison.shrink(difference)?;
    println!("\nseed {seed} ({} programs of this kind), made smaller:\n\n{}", names.len(), text.trim_end());
    println!("\nNode:\n{}\n\nvat:\n{}", smallest.node.trim_end(), smallest.vat.trim_end());
    println!("\nreproduce it with: make differential SEED={seed} SEEDS=1");
    Ok(())
}

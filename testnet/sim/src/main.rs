//! Runs simulated worlds: one in this process, or many in processes of their own.

mod entropy;
mod many;

use quorate_sim::plan::{Kind, Plan};
use quorate_sim::world;
use std::fs::File;
use std::process::ExitCode;

const USAGE: &str = "\
quorate-sim one SEED WORLD [--trace FILE] [--plan]   run one world; exit code 1: a promise was broken
quorate-sim many FIRST COUNT WORLD [JOBS]            run COUNT seeds from FIRST on, each in a process of its own
quorate-sim hunt FIRST COUNT WORLD [JOBS]            the same, up to the first that breaks a promise: exit code 0 if there is one
WORLD is MEMBERS@THRESHOLD, such as 3@2; with a ! behind it (4@3!) as many hosts lie as the vat is built for, and lead when they can;
with a ~ (4@3~, 4@3!~) all disks are slow";

/// Longest that one seed may compute, in seconds: a hundred times what it takes.
const CPU_SECONDS: u64 = 120;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match arguments.as_slice() {
        ["one", seed, world, rest @ ..] => one(seed, world, rest),
        ["many", first, count, world, rest @ ..] => many::run(first, count, world, rest.first().copied()),
        ["hunt", first, count, world, rest @ ..] => many::hunt(first, count, world, rest.first().copied()),
        _ => Err(USAGE.to_owned()),
    };
    code.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

/// Reads the kind of a world.
fn world_of(text: &str) -> Result<Kind, String> {
    let wrong = || {
        format!(
            "{text:?} is no world: name members and threshold, such as 3@2 with liars that lead 4@3!, with slow disks 4@3~"
        )
    };
    let (text, slow_disks) = text.strip_suffix('~').map_or((text, false), |text| (text, true));
    let (numbers, liars_lead) = text.strip_suffix('!').map_or((text, false), |numbers| (numbers, true));
    let (members, threshold) = numbers.split_once('@').ok_or_else(wrong)?;
    let (members, threshold) = (members.parse().map_err(|_| wrong())?, threshold.parse().map_err(|_| wrong())?);
    Ok(Kind { members, threshold, liars_lead, slow_disks })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn one(seed: &str, world: &str, rest: &[&str]) -> Result<ExitCode, String> {
    let (number, kind) = (number(seed)?, world_of(world)?);
    limit_time();
    entropy::seed(number);
    let plan = Plan::of_seed(number, kind);
    let trace = match rest.iter().position(|argument| *argument == "--trace") {
        None => None,
        Some(place) => {
            let path = rest.get(place + 1).ok_or("--trace needs a file")?;
            Some(File::create(path).map_err(|error| format!("{path}: {error}"))?)
        }
    };
    if rest.contains(&"--plan") {
        show(&plan);
    }
    let outcome = world::run(number, &plan, trace).map_err(|error| format!("no runtime: {error}"))?;
    let figures: Vec<String> = outcome.figures.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let verdict = if outcome.violations.is_empty() { "ok" } else { "BROKEN" };
    let (hash, lines) = outcome.trace;
    println!(
        "seed {number} of {world}: {verdict}; {} ms, {}; trace {} of {lines} lines",
        outcome.lasted_ms,
        figures.join(", "),
        &hash.to_string()[..16]
    );
    if outcome.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    show(&plan);
    outcome.tail.iter().for_each(|line| println!("{line}"));
    for violation in &outcome.violations {
        println!("{} at {} ms: {}", violation.oracle, violation.at_ms, violation.text);
    }
    println!("to reproduce: make sim SEED={number} SEEDS=1 WORLD={world}");
    Ok(ExitCode::FAILURE)
}

fn show(plan: &Plan) {
    println!("{:?}", plan.setup);
    plan.steps.iter().for_each(|step| println!("{step}"));
}

/// Has the system end this process when it computes for too long: a world that never ends is a violation, too.
fn limit_time() {
    let limit = libc::rlimit { rlim_cur: CPU_SECONDS, rlim_max: CPU_SECONDS };
    // SAFETY: the structure is valid for the call. If it fails the limit is missing, and nothing else.
    unsafe { libc::setrlimit(libc::RLIMIT_CPU, &limit) };
}

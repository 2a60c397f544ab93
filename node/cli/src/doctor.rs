//! `vat doctor`: looks for what is wrong with a host, or soon will be, and says what to do about it.
//!
//! It looks from outside: at the home, the machine, and what the host says of itself if it runs; it changes nothing. Each check is a function
//! from what it looks at to findings, and none stops the others.

mod home;
mod machine;
mod network;
mod vats;

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_config::home::{Home, HomeError, running_process};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat doctor /var/lib/quorate        one host, running or not\n  vat doctor                         the hosts of the testnet in ./quorate-testnet, or the host of QUORATE_HOME\n  vat doctor --json | jq '.hosts[].findings[] | select(.level != \"ok\")'\n\nLooks at the clock (the machine's, and against other members), the room and the speed of the disk, limits, ports, the key and who may\nread it, the config, versions and images, the cache of compiled code, damage on the disk, and whether other members can be reached.\nRun it as the user that the host runs as. Exit code 0 if nothing must be changed; warnings (!) are no reason for another one.\nExit code 1 if something must (x)."
)]
pub struct Args {
    /// The host's home (may be repeated) [default: QUORATE_HOME, or the hosts of the testnet]
    #[arg(value_name = "HOME")]
    places: Vec<PathBuf>,
    /// Show what is well, too
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Could not be looked at.
    Skipped,
    /// May become a fault, or is a choice that has a price.
    Warning,
    /// Must be changed: the host does not run, or not as it should.
    Problem,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    pub level: Level,
    /// What is there.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, found: found.into(), fix: None }
    }

    pub fn skipped(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, level: Level::Skipped, found: found.into(), fix: None }
    }

    pub fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    pub fn problem(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, level: Level::Problem, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What is looked at: a host's home, what of it can be read, and the host if it runs.
pub struct Patient {
    pub path: PathBuf,
    /// The home, or why it can't be used.
    pub home: Result<Home, HomeError>,
    pub host: LocalHost,
    /// The process that runs on the home.
    pub process: Option<u32>,
}

impl Patient {
    async fn look(path: &Path) -> Patient {
        let host = match LocalHost::open(path).await {
            Ok(host) => host,
            Err(_) => LocalHost::at(path, path.display().to_string()),
        };
        Patient { path: path.to_owned(), home: Home::open(path), process: running_process(path), host }
    }
}

#[derive(Serialize)]
struct Report {
    host: String,
    home: PathBuf,
    running: bool,
    healthy: bool,
    findings: Vec<Finding>,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let homes = if args.places.is_empty() { args.hosts.home_paths()? } else { args.places.clone() };
    let mut patients = Vec::new();
    for home in &homes {
        patients.push(Patient::look(home).await);
    }
    if let [only] = &patients[..]
        && let Err(error @ (HomeError::Missing { .. } | HomeError::Exported { .. })) = &only.home
        && only.host.status.is_none()
    {
        return Err(Failure::new(Exit::Usage, error));
    }
    let mut reports = Vec::new();
    for patient in &patients {
        let mut findings = home::check(patient);
        findings.extend(machine::check(patient));
        findings.extend(network::check(patient).await);
        findings.extend(vats::check(patient).await);
        let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        reports.push(Report {
            host: patient.host.name.clone(),
            home: patient.path.clone(),
            running: patient.process.is_some() || patient.host.status.is_some(),
            healthy: worst < Level::Problem,
            findings,
        });
    }
    let is_well = reports.iter().all(|report| report.healthy);
    if json {
        output::json(&serde_json::json!({ "healthy": is_well, "hosts": reports }));
    } else {
        reports.iter().for_each(|report| show(report, args.verbose));
    }
    Ok(if is_well { Exit::Success } else { Exit::Rejected })
}

fn show(report: &Report, verbose: bool) {
    let state = if report.running { "runs" } else { "does not run" };
    output::line(format!("{} in {} {state}", report.host, report.home.display()));
    for Finding { check, level, found, fix } in &report.findings {
        let mark = match level {
            Level::Ok if !verbose => continue,
            Level::Ok => ' ',
            Level::Skipped => '-',
            Level::Warning => '!',
            Level::Problem => 'x',
        };
        output::line(format!("{mark} {check}: {found}"));
        fix.iter().for_each(|fix| output::line(format!("    do: {fix}")));
    }
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let several = |level, noun: &str| match count(level) {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    };
    let (warnings, problems) = (several(Level::Warning, "warning"), several(Level::Problem, "problem"));
    output::line(format!("{} are well, {warnings}, {problems}", several(Level::Ok, "check")));
}

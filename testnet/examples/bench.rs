//! `make bench`: measures what the design promises in figures and says which promises hold on this machine.
//!
//! It takes about three quarters of an hour. Other work on the machine shows in every figure: run it on an idle one.

use quorate_testnet::{
    bench::{Part, Report, Sizes},
    process::built,
};
use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
Usage: bench [--quick] [--json] [--folder FOLDER] [PART...]

  --quick    smaller sizes: some minutes instead of the whole time; for trying the benchmark itself
  --json     the figures as JSON on standard output, instead of a table
  --folder   where pictures go (.)
  PART       only these: engine, interpreter, vats (calls, reads, restarts), outside (calls of programs outside, beside etcd where
             that is installed), far (calls where members are far from each other), routes (from vat to vat, by members and sizes),
             streams (messages without answers, long queues of them, large ones), idle (memory), curves (by members, peers, heap and
             vats; draws curves.svg)

The `vat` command to measure is named by the environment variable VAT; without it, the one built beside this program is taken.
Exit codes: 0 all figures were taken (whether or not they keep the promises), 1 some could not be, 2 usage.";

fn main() -> ExitCode {
    let (mut quick, mut json, mut folder, mut parts) = (false, false, PathBuf::from("."), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => json = true,
            "--folder" => match arguments.next() {
                Some(named) => folder = named.into(),
                None => {
                    eprintln!("bench: --folder names no folder\n\n{USAGE}");
                    return ExitCode::from(2);
                }
            },
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => match Part::ALL.iter().find(|(_, name)| *name == other) {
                Some((part, _)) => parts.push(*part),
                None => {
                    eprintln!("bench: unknown argument {other}\n\n{USAGE}");
                    return ExitCode::from(2);
                }
            },
        }
    }
    if parts.is_empty() {
        parts.extend(Part::ALL.map(|(part, _)| part));
    }
    let binary = std::env::var_os("VAT").map_or_else(|| built("vat"), PathBuf::from);
    let sizes = if quick { Sizes::quick() } else { Sizes::full() };
    let runtime = tokio::runtime::Runtime::new().expect("the system gives this process threads");
    let report = runtime.block_on(async {
        tokio::select! {
            report = Report::measure(&binary, sizes, &parts, &folder) => Some(report),
            // What was started is killed as it is dropped.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    let Some(report) = report else { return ExitCode::FAILURE };
    if json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        print!("{}", report.table());
    }
    if report.unfinished.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

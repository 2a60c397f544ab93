//! `make bench`: measures what the design promises in figures and says which promises hold on this machine.
//!
//! It takes less than five minutes. Other work on the machine shows in every figure: run it on an idle one.

use quorate_testnet::{
    bench::{Report, Sizes},
    process::built,
};
use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
Usage: bench [--quick] [--json] [--outside]

  --quick    smaller sizes: a minute instead of several; for trying the benchmark itself
  --json     the figures as JSON on standard output, instead of a table
  --outside  only the calls of programs outside, beside etcd where that is installed

The `vat` command to measure is named by the environment variable VAT; without it, the one built beside this program is taken.
Exit codes: 0 all figures were taken (whether or not they keep the promises), 1 some could not be, 2 usage.";

fn main() -> ExitCode {
    let (mut quick, mut json, mut outside) = (false, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => json = true,
            "--outside" => outside = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("bench: unknown argument {other}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let binary = std::env::var_os("VAT").map_or_else(|| built("vat"), PathBuf::from);
    let sizes = if quick { Sizes::quick() } else { Sizes::full() };
    let runtime = tokio::runtime::Runtime::new().expect("the system gives this process threads");
    let report = runtime.block_on(async {
        tokio::select! {
            report = Report::measure(&binary, sizes, outside) => Some(report),
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

//! `make worst`, `make million` and `make flat`: what a sender that does its worst costs others, what very many ordinary calls leave behind, and whether
//! memory and disk of hosts stay flat meanwhile.
//!
//! Other work on the machine shows in every figure: run it on an idle one. The attacker's host runs at the lowest priority, as if it were another
//! machine.

use quorate_testnet::{
    bench::{Figure, Report, flat, worst},
    process::built,
};
use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
Usage: worst attacks [MINUTES [KIND...]]   each kind of attack for so long (10): spin, outputs, fill, garbage
       worst calls [COUNT]                 so many ordinary calls (1,000,000)
       worst flat [COUNT [FOLDER]]         so many messages (1,000,000); what hosts take after each 10,000 goes to flat.csv and flat.svg in the folder (.)

The `vat` command to measure is named by the environment variable VAT; without it, the one built beside this program is taken.
Exit codes: 0 all figures were taken (whether or not they keep the promises), 1 some could not be, 2 usage.";

enum Mode {
    Attacks(u64, Vec<String>),
    Calls(u32),
    Flat(u32, PathBuf),
}

fn mode(arguments: &[String]) -> Option<Mode> {
    let number = |default: u64| arguments.get(1).map_or(Some(default), |text| text.parse().ok());
    match arguments.first()?.as_str() {
        "attacks" => Some(Mode::Attacks(number(10)?, arguments.iter().skip(2).cloned().collect())),
        "flat" => {
            let folder = arguments.get(2).map_or_else(|| PathBuf::from("."), PathBuf::from);
            Some(Mode::Flat(u32::try_from(number(1_000_000)?).ok()?, folder))
        }
        "calls" => Some(Mode::Calls(u32::try_from(number(1_000_000)?).ok()?)),
        _ => None,
    }
}

/// Prints figures as soon as there are some: the next ones may be long in coming.
fn show(figures: Vec<Figure>) {
    println!("{}", Report::of(figures).table());
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(mode) = mode(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let binary = std::env::var_os("VAT").map_or_else(|| built("vat"), PathBuf::from);
    let runtime = tokio::runtime::Runtime::new().expect("the system gives this process threads");
    let measured = runtime.block_on(async {
        let figures = async {
            match &mode {
                Mode::Attacks(minutes, kinds) => worst::attacks(&binary, *minutes, kinds, show).await,
                Mode::Calls(count) => worst::calls(&binary, *count).await.map(show),
                Mode::Flat(count, folder) => flat::deliveries(&binary, *count, folder).await.map(show),
            }
        };
        tokio::select! {
            done = figures => Some(done),
            // What was started is killed as it is dropped.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match measured {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("worst: {error:#}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

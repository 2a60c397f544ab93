//! `make chaos`: real faults happen to real hosts, and what their clients saw is judged.

use quorate_testnet::{
    chaos::{
        Options,
        faults::{KINDS, Kind},
        hosts::HOSTS,
        network::{Network, leave_the_machines_network},
        run,
    },
    process::built,
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const USAGE: &str = "\
Usage: chaos [SECONDS [SEED [KIND...]]]    so long (60), by a seed (of the clock), these kinds of faults alone

Hosts are in network namespaces; where this process may not make any, and with QUORATE_LOOPBACK=1, they are on loopback, and the network has no faults.
The `vat` command is named by the environment variable VAT; without it, the one built beside this program is taken.
Exit codes: 0 all is well, 1 something was lost, doubled or not linearizable, or a host did not recover, 2 usage.
Kinds:";

fn name(kind: Kind) -> String {
    format!("{kind:?}")
}

fn options() -> Option<Options> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| arguments.get(place).map_or(Some(default), |text| text.parse().ok());
    let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let kinds = arguments.iter().skip(2).map(|text| KINDS.into_iter().find(|kind| name(*kind) == *text));
    Some(Options {
        time: Duration::from_secs(number(0, 60)?),
        seed: number(1, now)?,
        kinds: kinds.collect::<Option<_>>()?,
    })
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE} {}", KINDS.map(name).join(" "));
        return ExitCode::from(2);
    };
    let binary = std::env::var_os("VAT").map_or_else(|| built("vat"), PathBuf::from);
    let network = match std::env::var_os("QUORATE_LOOPBACK") {
        Some(_) => Err(std::io::Error::other("QUORATE_LOOPBACK is set")),
        None => leave_the_machines_network().and_then(|()| Network::new(HOSTS.len() + 1, options.seed)),
    };
    let network = match network {
        Ok(network) => Some(network),
        Err(why) => {
            println!("chaos: hosts are on loopback, and the network has no faults: {why}");
            None
        }
    };
    println!("chaos: seed {}", options.seed);
    let runtime = tokio::runtime::Runtime::new().expect("the system gives this process threads");
    let ran = runtime.block_on(async {
        tokio::select! {
            ran = run(&binary, &options, network) => Some(ran),
            // What was started is killed as it is dropped.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match ran {
        Some(Ok(report)) => {
            println!("{}", report.table());
            if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some(Err(error)) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

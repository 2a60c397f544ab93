//! The `vat` command for tests: the same command line, but a host that is named in `QUORATE_TEST_LIAR` signs outputs that it
//! did not compute, one that is named in `QUORATE_TEST_EQUIVOCATOR` signs one thing for one member and another for the rest, and one
//! that is named in `QUORATE_TEST_PANIC` has a thread that panics. `QUORATE_TEST_LEADER` holds a host's name and how it lies as a leader
//! (`two-faced`, `unelected`, `later-terms`, `starves`), which it does while the file `lie` is in its home. `QUORATE_TEST_READS` holds a host's
//! name and how it lies to readers of what vats publish (`forged`, `stale`, `hidden`, `epoch`). The real command has no such switches.

use quorate_cli::logging::{log_panics, log_to_stderr};
use quorate_config::home::Home;
use quorate_consensus::{
    Hash, Statement,
    testing::{FalseSigner, LeaderLie},
};
use quorate_node::run::{RunOptions, run_until_signalled};
use quorate_testnet::{
    liar::Liar,
    lying_leader::LyingLeader,
    lying_reader::{LyingReader, ReadLie},
};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, node, run, option, home] = args.as_slice()
        && (node.as_str(), run.as_str(), option.as_str()) == ("node", "run", "--home")
        && let Ok(home) = Home::open(Path::new(home))
    {
        let is_meant = |switch: &str| std::env::var(switch).is_ok_and(|name| name == home.config.name);
        if is_meant("QUORATE_TEST_LIAR") {
            let liar = Liar::consistent(FalseSigner::new(home.key.clone(), Arc::new(lie)));
            return run_host(&home, RunOptions { between: Some(Arc::new(liar)), ..RunOptions::default() });
        }
        if is_meant("QUORATE_TEST_EQUIVOCATOR") {
            let liar = Liar::two_faced(FalseSigner::new(home.key.clone(), Arc::new(lie)));
            return run_host(&home, RunOptions { between: Some(Arc::new(liar)), ..RunOptions::default() });
        }
        if let Some(lie) = leader_lie(&home.config.name) {
            let liar = LyingLeader::new(home.key.clone(), lie, home.path().join("lie"));
            return run_host(&home, RunOptions { between: Some(Arc::new(liar)), ..RunOptions::default() });
        }
        if let Some(lie) = read_lie(&home.config.name) {
            return run_host(
                &home,
                RunOptions { between: Some(Arc::new(LyingReader::new(lie))), ..RunOptions::default() },
            );
        }
        if is_meant("QUORATE_TEST_PANIC") {
            return run_host(&home, RunOptions::default());
        }
    }
    quorate_cli::main()
}

/// Returns how a host lies as a leader, if it does.
fn leader_lie(host: &str) -> Option<LeaderLie> {
    let switch = std::env::var("QUORATE_TEST_LEADER").ok()?;
    match switch.split_once(' ').filter(|(name, _)| *name == host)?.1 {
        "two-faced" => Some(LeaderLie::TwoFaced),
        "unelected" => Some(LeaderLie::Unelected),
        "later-terms" => Some(LeaderLie::LaterTerms),
        "starves" => Some(LeaderLie::Starves),
        _ => None,
    }
}

/// Returns how a host lies to readers, if it does.
fn read_lie(host: &str) -> Option<ReadLie> {
    let switch = std::env::var("QUORATE_TEST_READS").ok()?;
    match switch.split_once(' ').filter(|(name, _)| *name == host)?.1 {
        "forged" => Some(ReadLie::Forged),
        "stale" => Some(ReadLie::Stale),
        "hidden" => Some(ReadLie::Hidden),
        "epoch" => Some(ReadLie::Epoch),
        _ => None,
    }
}

/// Gives a statement another outbox root than its replica computed.
fn lie(statement: &mut Statement) {
    statement.outbox_root = Hash([0x66; 32]);
}

/// Runs a host as the real command does. In one that does not lie, a thread panics.
fn run_host(home: &Home, options: RunOptions) -> ExitCode {
    if let Err(error) = log_to_stderr(true) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    log_panics();
    if options.between.is_none() {
        // Its end is in the log, which is what the test looks at.
        let _ = std::thread::Builder::new()
            .name("unlucky".into())
            .spawn(|| panic!("{} bad luck", 13))
            .map(|thread| thread.join());
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run_until_signalled(home, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

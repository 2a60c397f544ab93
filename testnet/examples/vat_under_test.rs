//! The `vat` command for tests: the same command line, but a host that is named in `QUORATE_TEST_LIAR` signs outputs that it
//! did not compute, and one that is named in `QUORATE_TEST_PANIC` has a thread that panics. The real command has no such switches.

use quorate_consensus::{Hash, Statement};
use quorate_node::{
    cli,
    home::Home,
    logging::{log_panics, log_to_stderr},
    run::{RunOptions, run_until_signalled},
};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let liar = std::env::var("QUORATE_TEST_LIAR").unwrap_or_default();
    if let [_, node, run, option, home] = args.as_slice()
        && (node.as_str(), run.as_str(), option.as_str()) == ("node", "run", "--home")
        && let Ok(home) = Home::open(Path::new(home))
    {
        if home.config.name == liar {
            return run_host(&home, RunOptions { tamper: Some(Arc::new(lie)) });
        }
        if std::env::var("QUORATE_TEST_PANIC").is_ok_and(|name| name == home.config.name) {
            return run_host(&home, RunOptions::default());
        }
    }
    cli::main()
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
    if options.tamper.is_none() {
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

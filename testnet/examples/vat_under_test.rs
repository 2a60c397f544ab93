//! The `vat` command for tests: the same command line, but a host that is named in `QUORATE_TEST_LIAR` signs outputs that it
//! did not compute. The real command has no such switch.

use quorate_consensus::{Hash, Statement};
use quorate_node::{
    cli,
    home::Home,
    run::{RunOptions, log_to_stderr, run_until_signalled},
};
use std::{path::Path, process::ExitCode, sync::Arc};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let liar = std::env::var("QUORATE_TEST_LIAR").unwrap_or_default();
    if let [_, node, run, option, home] = args.as_slice()
        && (node.as_str(), run.as_str(), option.as_str()) == ("node", "run", "--home")
        && let Ok(home) = Home::open(Path::new(home))
        && home.config.name == liar
    {
        return lie(&home);
    }
    cli::main()
}

/// Runs a host whose every statement has another outbox root than its replica computed.
fn lie(home: &Home) -> ExitCode {
    log_to_stderr(true);
    let tamper = |statement: &mut Statement| statement.outbox_root = Hash([0x66; 32]);
    let options = RunOptions { tamper: Some(Arc::new(tamper)) };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run_until_signalled(home, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

//! `vat node`.

use super::{Build, Exit, Failure, Outcome, output};
use crate::logging::{log_panics, log_to_stderr};
use quorate_config::{
    home::{Home, HostConfig},
    testnet::listen_address,
};
use quorate_consensus::{Approve, HostId};
use quorate_node::run::{Remedy, RunError, RunOptions, run_until_signalled};
use quorate_protocol::{disk::DiskLimits, names::check_name};
use std::{net::SocketAddr, path::PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a host's home with a new key
    #[command(
        after_help = "Example:\n  vat node init --home /srv/quorate --name alpha --listen /ip4/192.0.2.7/tcp/4001 --http 127.0.0.1:9464"
    )]
    Init {
        /// Where to make it
        #[arg(long, env = "QUORATE_HOME")]
        home: PathBuf,
        /// The host's name: at most 48 of `a-z`, `0-9`, `-` and `_`, a letter first
        #[arg(long)]
        name: String,
        /// Where to listen for other hosts (may be repeated)
        #[arg(long, default_value = "/ip4/127.0.0.1/tcp/4001")]
        listen: Vec<String>,
        /// Where to serve metrics and status
        #[arg(long, default_value = "127.0.0.1:9464")]
        http: SocketAddr,
        /// How changes of members that others propose are answered: `ask` waits for `vat approve`, `auto` approves
        #[arg(long, default_value = "ask", value_parser = ["ask", "auto"])]
        approve: String,
    },
    /// Run a host until it is told to stop (SIGINT, SIGTERM)
    #[command(
        after_help = "Example:\n  vat node run --home /srv/quorate\n\nLogs JSON lines on standard error; QUORATE_LOG=debug says more.\n\nExit codes: 2 what it was started with must be changed; 4 anything else; 5 the disk is full or failed: start it again\nwhen there is room; 6 this home must not run as it is: repair it (`vat member repair`), or\nput a host with a new home in its place."
    )]
    Run {
        /// The host's home
        #[arg(long, env = "QUORATE_HOME")]
        home: PathBuf,
    },
}

pub async fn run(command: Command, json: bool, build: Build) -> Outcome {
    match command {
        Command::Init { home, name, listen, http, approve } => {
            let approve = Approve::from_word(&approve).unwrap_or_default();
            check_name(&name).map_err(|(problem, fix)| Failure::new(Exit::Usage, format!("{problem}; {fix}")))?;
            let listen = listen.iter().map(|text| listen_at(text)).collect::<Result<Vec<_>, _>>()?;
            let home = Home::init(
                &home,
                HostConfig {
                    name,
                    listen,
                    http,
                    approve,
                    disk: DiskLimits::default(),
                    archive: None,
                    gateway: None,
                    reach: Default::default(),
                    traces: None,
                },
            )
            .map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
            if !home.config.http.ip().is_loopback() {
                output::note(everybody_reads(&home.config.name, home.config.http));
            }
            let key = HostId(home.key.verifying_key().to_bytes()).to_string();
            if json {
                output::json(&serde_json::json!({ "home": home.path(), "name": home.config.name, "key": key }));
            } else {
                output::line(key);
            }
            Ok(Exit::Success)
        }
        Command::Run { home } => {
            log_to_stderr(true).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
            log_panics();
            let home = Home::open(&home).map_err(|error| not_started(error.into()))?;
            let options = RunOptions { commit: build.commit, ..RunOptions::default() };
            run_until_signalled(&home, options).await.map_err(not_started)?;
            Ok(Exit::Success)
        }
    }
}

/// Returns why a host does not run, with the exit code that says what helps.
pub fn not_started(error: RunError) -> Failure {
    Failure { exit: exit_of(error.remedy()), error: error.into() }
}

/// Returns how a host ends that does not run.
fn exit_of(remedy: Remedy) -> Exit {
    match remedy {
        Remedy::Mend => Exit::Usage,
        Remedy::Unknown => Exit::Failed,
        Remedy::Room => Exit::Disk,
        Remedy::NewHome => Exit::NeverAgain,
    }
}

/// Returns what to know of a host whose HTTP interface is not on loopback.
pub fn everybody_reads(host: &str, http: SocketAddr) -> String {
    format!(
        "note: {host} serves metrics and status at {http} to everybody who can reach it; it only reads, and it tells everything"
    )
}

/// An address to listen at, as the home has it.
fn listen_at(text: &str) -> Result<String, Failure> {
    listen_address(text).map_err(|why| {
        let message = format!(
            "--listen {text}: {why}; write IP:PORT, or a multiaddr such as /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1"
        );
        Failure::new(Exit::Usage, message)
    })
}

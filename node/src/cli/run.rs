//! `vat run`: a solo vat at once, in a temporary home.

use super::{Exit, Failure, Outcome, create::parse_value, logs::Console, output};
use crate::{
    bundle,
    home::{Home, HostConfig},
    provision::Provision,
    run::{RunOptions, Running},
    testnet::init::random_bytes,
};
use quorate_consensus::{Genesis, Hash, Parameters};
use quorate_engine::{
    image::image_hash,
    machine::{ArgValue, Install},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

const POLL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat run hello.js\n  vat run contract.js --arg price=10 --seconds 5\n\nThe vat gets the endowment `exit`: argv.exit(value) ends the run and prints the value as JSON. Ctrl-C ends it as well."
)]
pub struct Args {
    /// The code's entry file
    file: PathBuf,
    /// An argument: JSON or a bare string (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
    /// End the run after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

pub async fn run(args: Args, _json: bool) -> Outcome {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let bundle = bundle::bundle(&args.file).map_err(|error| usage(error.to_string()))?;
    let mut argv = Vec::new();
    for argument in &args.arguments {
        let (name, text) =
            argument.split_once('=').ok_or_else(|| usage(format!("--arg {argument}: expected NAME=VALUE")))?;
        argv.push((name.to_owned(), ArgValue::Data(parse_value(text)?)));
    }
    let install = Install { bundle, argv, endowments: vec!["exit".into()], grants: Vec::new(), bearers: Vec::new() };
    // From here on a signal ends the run and not the process, or the folder would stay.
    let mut stop = Stop::listen()?;
    let folder = temporary_folder()?;
    let outcome = run_in(&folder, install, args.seconds, &mut stop).await;
    let _ = fs::remove_dir_all(&folder);
    outcome
}

/// SIGINT or SIGTERM.
struct Stop(Signal, Signal);

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

fn temporary_folder() -> Result<PathBuf, Failure> {
    let folder = std::env::temp_dir().join(format!("vat-run-{}", hex::encode(&random_bytes()?[..8])));
    fs::create_dir(&folder)?;
    Ok(folder)
}

async fn run_in(folder: &Path, install: Install, seconds: Option<u64>, stop: &mut Stop) -> Outcome {
    let config = HostConfig {
        name: "here".into(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        http: ([127, 0, 0, 1], 0).into(),
    };
    let home = Home::init(&folder.join("home"), config)?;
    let progress = output::Progress::start("starting");
    let node = tokio::select! {
        node = Running::start(&home, RunOptions::default()) => node?,
        () = stop.come() => return Ok(Exit::Success),
    };
    let genesis = Genesis {
        members: vec![node.host.as_member()],
        threshold: 1,
        image: Hash(image_hash().0),
        creator: random_bytes()?,
        nonce: random_bytes()?,
        expires: 0,
        parameters: Parameters::default(),
    };
    let vat =
        node.host.carry(Provision { name: "vat".into(), genesis, install: Some(install), joining: false }).await?;
    progress.done();
    let vat = vat.to_string();
    let outcome = tokio::select! {
        outcome = follow(&node, &vat, &home) => outcome,
        () = stop.come() => Ok(Exit::Success),
        () = pause(seconds) => Ok(Exit::Success),
    };
    node.stop().await;
    outcome
}

async fn pause(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Prints the console until the vat exits.
async fn follow(node: &Running, vat: &str, home: &Home) -> Outcome {
    let mut console = Console::new(vec![home.console("vat")]);
    let mut said = false;
    loop {
        let status = node.host.find(vat)?.status().await;
        print_new(&mut console);
        if let Some(error) = status.install_error {
            return Err(Failure::new(Exit::Usage, format!("the code did not start: {error}")));
        }
        if let Some(fault) = status.fault {
            return Err(Failure::new(Exit::Failed, fault));
        }
        if let Some(value) = status.exited {
            print_rest(&mut console).await;
            if !value.is_null() {
                output::line(value);
            }
            return Ok(Exit::Success);
        }
        if let Some(error) = status.setup_error {
            print_rest(&mut console).await;
            return Err(Failure::new(Exit::Rejected, format!("the vat's setup failed: {error}")));
        }
        if status.installed && !said {
            said = true;
            output::note("the vat runs; Ctrl-C ends it");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints what is still to come of what a vat has said that says nothing more: its state is ahead of its console's file.
async fn print_rest(console: &mut Console) {
    tokio::time::sleep(POLL).await;
    while print_new(console) {
        tokio::time::sleep(POLL).await;
    }
}

/// Prints what has come. Returns whether there was anything.
fn print_new(console: &mut Console) -> bool {
    let lines = console.next_lines();
    for line in &lines {
        match line.level.as_str() {
            "warn" | "error" => output::note(&line.text),
            _ => output::line(&line.text),
        }
    }
    !lines.is_empty()
}

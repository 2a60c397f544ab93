//! `vat run`: a solo vat at once, in a temporary home.

use super::{
    Exit, Failure, Outcome,
    arguments::parse_value,
    create::{named_arguments, wrong_code},
    logs::Console,
    node::not_started,
    output,
    signals::Signals,
};
use crate::{
    authority::{SignedInstall, bundle_hash},
    bundle,
    home::{Home, HostConfig},
    provision::{Provision, default_parameters},
    run::{RunOptions, Running},
    sturdyref::{ROOT_OBJECT, Sturdyref},
    testnet::init::random_bytes,
};
use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use quorate_consensus::{Approve, Genesis, Member};
use quorate_engine::{
    image::image_hash,
    machine::{ArgValue, Install},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const POLL: Duration = Duration::from_millis(50);
/// How often it is tried to remove the folder.
const REMOVALS: usize = 40;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat run hello.js\n  vat run contract.js --arg price=10 --seconds 5\n\nOnce the code runs, the command that calls the vat from another terminal is printed on standard error.\nThe vat gets two endowments: argv.exit(value) ends the run and prints the value as JSON, and argv.timer is the time. Ctrl-C ends the run as well. With --json, the console goes to standard error."
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

pub async fn run(args: Args, json: bool) -> Outcome {
    let bundle = bundle::bundle(&args.file).map_err(wrong_code)?;
    let endowments = vec!["exit".to_owned(), "timer".to_owned()];
    let mut argv = Vec::new();
    for (name, text) in named_arguments(&args.arguments, &endowments)? {
        argv.push((name, ArgValue::Data(parse_value(text)?)));
    }
    let install = Install { bundle, argv, endowments, grants: Vec::new(), bearers: Vec::new() };
    // From here on a signal ends the run and not the process, or the folder would stay.
    let mut signals = Signals::listen()?;
    let folder = temporary_folder()?;
    let outcome = run_in(&folder, install, &args, json, &mut signals).await;
    remove(&folder).await;
    outcome
}

/// Removes the folder. The database of a start that was interrupted may still be closing, and put files in between.
async fn remove(folder: &Path) {
    for _ in 0..REMOVALS {
        let _ = fs::remove_dir_all(folder);
        if !folder.exists() {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    output::note(format!("! {} could not be removed; remove it", folder.display()));
}

fn temporary_folder() -> Result<PathBuf, Failure> {
    let folder = std::env::temp_dir().join(format!("vat-run-{}", hex::encode(&random_bytes()?[..8])));
    fs::create_dir(&folder).with_context(|| format!("making the temporary folder {}", folder.display()))?;
    Ok(folder)
}

async fn run_in(folder: &Path, mut install: Install, args: &Args, json: bool, signals: &mut Signals) -> Outcome {
    let config = HostConfig {
        name: "here".into(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        http: ([127, 0, 0, 1], 0).into(),
        approve: Approve::Auto,
    };
    let home = Home::init(&folder.join("home"), config)?;
    let progress = output::Progress::start(output::COMPILING);
    let node = tokio::select! {
        // With the exit code that a host ends with for the same reason.
        node = Running::start(&home, RunOptions::default()) => node.map_err(not_started)?,
        () = signals.any() => return Ok(Exit::Success),
    };
    // Nobody needs it again: it goes with this function.
    let creator = SigningKey::from_bytes(&random_bytes()?);
    let genesis = Genesis {
        members: vec![node.host.as_member()],
        threshold: 1,
        image: image_hash(),
        creator: creator.verifying_key().to_bytes(),
        bundle: Some(bundle_hash(&install.bundle)),
        nonce: random_bytes()?,
        expires: 0,
        parameters: default_parameters(),
    };
    let bearer = Sturdyref::bearer(genesis.vat_id(), ROOT_OBJECT, random_bytes()?);
    install.bearers.extend(bearer.bearer_key());
    let install = Some(SignedInstall::sign(&genesis.vat_id(), install, &creator));
    let vat = node.host.carry(Provision { name: "vat".into(), genesis, install, joining: false }).await?;
    progress.done();
    let vat = vat.to_string();
    let runs = format!("the vat runs; Ctrl-C ends it\n{}", how_to_call(&bearer, &node.host.as_member()));
    let outcome = tokio::select! {
        outcome = follow(&node, &vat, &home, &runs, json) => outcome,
        () = signals.any() => Ok(Exit::Success),
        () = pause(args.seconds) => Ok(Exit::Success),
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

/// The command that calls the vat's root from another terminal, ready to be pasted there.
fn how_to_call(bearer: &Sturdyref, member: &Member) -> String {
    let at = member.addresses.first().map(|address| format!(" --at {address}/p2p/{}", member.key)).unwrap_or_default();
    format!("call it from another terminal: vat call '{bearer}' METHOD{at}")
}

/// Prints the console until the vat exits. `runs` is said once it has its code.
async fn follow(node: &Running, vat: &str, home: &Home, runs: &str, json: bool) -> Outcome {
    let mut console = Printed { console: Console::new(vec![home.console("vat")]), json };
    let mut said = false;
    loop {
        let service = node.host.find(vat)?;
        let status = service.status().await;
        console.print_new();
        if let Some(error) = status.install_error {
            return Err(Failure::new(Exit::Usage, format!("the code did not start: {error}")));
        }
        if let Some(fault) = status.fault {
            return Err(Failure::new(Exit::Failed, fault));
        }
        if let Some(value) = status.exited {
            // It says nothing more, but its state is ahead of its console's file.
            service.console_written().await;
            console.print_new();
            if !value.is_null() {
                output::json_line(&value);
            }
            return Ok(Exit::Success);
        }
        if let Some(error) = status.setup_error {
            service.console_written().await;
            console.print_new();
            return Err(Failure::new(Exit::Rejected, format!("the vat's setup failed: {error}")));
        }
        if status.installed && !said {
            said = true;
            output::note(runs);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The vat's console, as it is printed. With `--json`, standard output is for the value of `exit` alone.
struct Printed {
    console: Console,
    json: bool,
}

impl Printed {
    /// Prints what has come.
    fn print_new(&mut self) {
        let lines = self.console.next_lines();
        for line in &lines {
            match line.level.as_str() {
                "warn" | "error" => output::note(&line.text),
                _ if self.json => output::note(&line.text),
                _ => output::line(&line.text),
            }
        }
    }
}

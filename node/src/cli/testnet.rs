//! `vat testnet`.

use super::{DirOption, Exit, Failure, Outcome, logs, output};
use crate::{
    run::engine_cache,
    testnet::{
        cluster::{Cluster, HostState},
        config::TestnetConfig,
        init::Plan,
        layout::TestnetDir,
    },
};
use quorate_consensus::Hash;
use quorate_engine::image::{Image, image_hash};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long vats may take to get a leader and their code.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a testnet's directory from its config, and run all its hosts
    #[command(
        after_help = "Examples:\n  vat testnet up testnet.toml                 in the foreground; Ctrl-C stops it\n  vat testnet up testnet.toml --detach        in the background\n  vat testnet up testnet.toml --without h4    with one host left out"
    )]
    Up {
        /// The testnet config
        file: PathBuf,
        #[command(flatten)]
        dir: DirOption,
        /// Leave the hosts running in the background
        #[arg(long)]
        detach: bool,
        /// Do not start this host (may be repeated)
        #[arg(long, value_name = "HOST")]
        without: Vec<String>,
    },
    /// Only make the hosts' homes, to be copied to their machines and run with `vat node run`
    #[command(
        after_help = "Example:\n  vat testnet init testnet.toml --dir net\n  scp -r net/hosts/h2 other-machine:quorate-home          there: vat node run --home quorate-home\n\nFor machines of their own, the config gives each host the addresses to `listen` at and to `announce`."
    )]
    Init {
        /// The testnet config
        file: PathBuf,
        #[command(flatten)]
        dir: DirOption,
    },
    /// How the hosts and their vats stand
    #[command(
        after_help = "Examples:\n  vat testnet status\n  vat testnet status --json\n\nExit code 1 if a host does not run."
    )]
    Status {
        #[command(flatten)]
        dir: DirOption,
    },
    /// What a vat's console printed, or what a host logged
    Logs(logs::Args),
    /// Kill a host's process as a power failure would (SIGKILL)
    #[command(after_help = "Example:\n  vat testnet kill h2")]
    Kill {
        /// The host's name
        host: String,
        #[command(flatten)]
        dir: DirOption,
    },
    /// Start a host that does not run; kill it first if it does
    #[command(after_help = "Example:\n  vat testnet restart h2")]
    Restart {
        /// The host's name
        host: String,
        #[command(flatten)]
        dir: DirOption,
    },
    /// Stop all hosts
    #[command(after_help = "Example:\n  vat testnet down")]
    Down {
        #[command(flatten)]
        dir: DirOption,
    },
}

pub async fn run(command: Command, json: bool) -> Outcome {
    match command {
        Command::Up { file, dir, detach, without } => up(file, dir, detach, &without).await,
        Command::Init { file, dir } => {
            let dir = init(&file, dir)?.0;
            output::line(dir.path().display());
            Ok(Exit::Success)
        }
        Command::Status { dir } => status(&dir.cluster()?, json).await,
        Command::Logs(args) => logs::run(args, json).await,
        Command::Kill { host, dir } => {
            let cluster = dir.cluster()?;
            cluster.home(&host).map_err(wrong)?;
            match cluster.kill(&host)? {
                Some(pid) => output::note(format!("killed {host} (process {pid})")),
                None => output::note(format!("{host} was not running")),
            }
            Ok(Exit::Success)
        }
        Command::Restart { host, dir } => {
            let cluster = dir.cluster()?;
            cluster.home(&host).map_err(wrong)?;
            cluster.kill(&host)?;
            let child = cluster.spawn(&host)?;
            let status = cluster.wait_up(&host, child).await?;
            output::note(format!("{host} runs (process {})", status.process));
            Ok(Exit::Success)
        }
        Command::Down { dir } => {
            let stopped = dir.cluster()?.down()?;
            output::note(format!("stopped {stopped} hosts"));
            Ok(Exit::Success)
        }
    }
}

fn wrong(error: anyhow::Error) -> Failure {
    Failure { exit: Exit::Usage, error }
}

/// Reads and checks the config and all code, then makes the directory if it is not there yet.
fn init(file: &Path, dir: DirOption) -> Result<(TestnetDir, bool), Failure> {
    let config = TestnetConfig::load(file).map_err(|error| wrong(error.into()))?;
    let plan = Plan::new(config).map_err(wrong)?;
    let dir = TestnetDir::new(dir.dir);
    if let Some(layout) = dir.read()? {
        if layout.digest == plan.digest {
            return Ok((dir, false));
        }
        let message = format!(
            "{0} holds a testnet that was made from {1} as it was then; choose another directory with --dir, or stop it (`vat testnet down --dir {0}`) and remove {0}",
            dir.path().display(),
            layout.config.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    if dir.path().read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let message =
            format!("{} is not empty and not a testnet; choose another directory with --dir", dir.path().display());
        return Err(Failure::new(Exit::Usage, message));
    }
    plan.write(&dir, Hash(image_hash().0))?;
    Ok((dir, true))
}

async fn up(file: PathBuf, dir: DirOption, detach: bool, without: &[String]) -> Outcome {
    let (dir, new) = init(&file, dir)?;
    let cluster = Cluster::open(dir)?;
    for host in without {
        cluster.home(host).map_err(wrong)?;
    }
    let shown = cluster.dir.path().display().to_string();
    output::note(format!("{} testnet in {shown}", if new { "made a" } else { "found the" }));
    let progress = output::Progress::start("compiling the engine for this machine, if it is the first time");
    // Once here, instead of once in each host.
    tokio::task::spawn_blocking(|| Image::load(&engine_cache()).map(drop)).await??;
    let mut children = Vec::new();
    for place in cluster.layout.hosts.iter().filter(|place| !without.contains(&place.name)) {
        children.push((place.name.clone(), cluster.spawn(&place.name)?));
    }
    for (host, child) in children {
        progress.say(format!("starting {host}"));
        cluster.wait_up(&host, child).await?;
    }
    progress.say("waiting for leaders and code");
    let late = wait_ready(&cluster).await?;
    progress.done();
    if !late.is_empty() {
        output::note(format!("not ready yet: {}", late.join(", ")));
    }
    output::note(format!("metrics: prometheus --config.file={}", cluster.dir.prometheus().display()));
    let hint = if shown == "quorate-testnet" { String::new() } else { format!(" --dir {shown}") };
    output::note(format!(
        "look: vat testnet status{hint}   call: vat call{hint} VAT METHOD   stop: vat testnet down{hint}"
    ));
    if detach {
        return Ok(Exit::Success);
    }
    follow_until_interrupted(&cluster).await?;
    let stopped = cluster.down()?;
    output::note(format!("stopped {stopped} hosts"));
    Ok(Exit::Success)
}

/// Waits until every vat has a leader and its code, as far as enough of its hosts run. Returns what did not come in time.
async fn wait_ready(cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let deadline = tokio::time::Instant::now() + READY_DEADLINE;
    loop {
        let mut waiting = Vec::new();
        let states = cluster.states().await?;
        for place in &cluster.layout.vats {
            let statuses: Vec<_> = states
                .iter()
                .filter_map(|(_, state)| match state {
                    HostState::Up(status) => status.vats.iter().find(|vat| vat.vat == place.vat),
                    _ => None,
                })
                .collect();
            if let Some(error) = statuses.iter().find_map(|vat| vat.install_error.as_ref()) {
                return Err(Failure::new(Exit::Usage, format!("the code of {} did not start: {error}", place.name)));
            }
            let enough = statuses.len() * 2 > place.hosts.len();
            if enough && !statuses.iter().all(|vat| vat.installed) {
                waiting.push(place.name.clone());
            }
        }
        if waiting.is_empty() || tokio::time::Instant::now() > deadline {
            return Ok(waiting);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn follow_until_interrupted(cluster: &Cluster) -> Result<(), Failure> {
    let names: Vec<String> = cluster.layout.vats.iter().map(|vat| vat.name.clone()).collect();
    output::note("the vats' consoles follow; Ctrl-C stops the testnet");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = logs::follow(cluster, &names) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn status(cluster: &Cluster, json: bool) -> Outcome {
    let states = cluster.states().await?;
    if json {
        let hosts: Vec<serde_json::Value> = states
            .iter()
            .map(|(name, state)| match state {
                HostState::Up(status) => serde_json::json!({ "host": name, "state": "up", "status": status }),
                HostState::Starting(pid) => serde_json::json!({ "host": name, "state": "starting", "process": pid }),
                HostState::Down => serde_json::json!({ "host": name, "state": "down" }),
            })
            .collect();
        output::json(&hosts);
    } else {
        let mut table = output::table(["HOST", "STATE", "PROCESS", "UPTIME", "METRICS", "VATS"]);
        for (name, state) in &states {
            match state {
                HostState::Up(status) => {
                    let vats: Vec<String> =
                        status.vats.iter().map(|vat| format!("{} ({})", vat.name, vat.role)).collect();
                    let uptime = humantime(status.uptime_s);
                    let metrics = format!("http://{}/metrics", status.http);
                    table.add_row([
                        name.clone(),
                        "up".into(),
                        status.process.to_string(),
                        uptime,
                        metrics,
                        vats.join(", "),
                    ]);
                }
                HostState::Starting(pid) => {
                    table.add_row([
                        name.clone(),
                        "starting".into(),
                        pid.to_string(),
                        String::new(),
                        String::new(),
                        String::new(),
                    ]);
                }
                HostState::Down => {
                    table.add_row([name.as_str(), "down", "", "", "", ""]);
                }
            }
        }
        output::line(table);
    }
    let all_up = states.iter().all(|(_, state)| matches!(state, HostState::Up(_)));
    Ok(if all_up { Exit::Success } else { Exit::Rejected })
}

fn humantime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

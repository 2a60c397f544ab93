//! `vat testnet`.

mod fresh;
mod up;

use super::{DirOption, Exit, Failure, Outcome, logs, output};
use quorate_admin::client::LOOK_DEADLINE;
use quorate_config::{
    cluster::{Cluster, HostState, Started},
    home::export,
    layout::TestnetDir,
};
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a testnet's directory from its config, and run all its hosts
    #[command(
        after_help = "Examples:\n  vat testnet up testnet.toml                 in the foreground; Ctrl-C stops it, and so does a failure\n  vat testnet up testnet.toml --detach        in the background\n  vat testnet up testnet.toml --without h4    with one host left out\n  vat testnet up testnet.toml --fresh         a new one in the place of the one that is there\n  vat testnet up testnet.toml --watch         a new one whenever the config or the code changes\n\nExit code 1 if a host's home can't be used, 3 if a vat is not ready, and none got ready for a minute."
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
        /// Stop and remove the testnet that is there, with all its state, and make a new one
        #[arg(long)]
        fresh: bool,
        /// Do that whenever the config, or code that it names, has changed
        #[arg(long, conflicts_with = "detach")]
        watch: bool,
    },
    /// Only make the hosts' homes: to be run here by `vat testnet up`, or to be moved to machines of their own
    #[command(
        after_help = "Example:\n  vat testnet init testnet.toml --dir net\n  vat testnet export h2 out/h2 --dir net\n  rsync -a --remove-source-files out/h2/ other-machine:quorate-home/     there: vat node run --home quorate-home\n\nFor machines of their own, the config gives each host the addresses to `listen` at and to `announce`. Never copy a\nhome: two processes with one key break the safety of every vat that the host is a member of."
    )]
    Init {
        /// The testnet config
        file: PathBuf,
        #[command(flatten)]
        dir: DirOption,
    },
    /// Move a host's home to where it shall run, so that it never runs twice
    #[command(
        after_help = "Example:\n  vat testnet export h2 out/h2 --dir net\n  rsync -a --remove-source-files out/h2/ other-machine:quorate-home/     there: vat node run --home quorate-home\n\nWhat stays in the testnet has no secret key, and does not run: only the host's name and public key, for `vat status`."
    )]
    Export {
        /// The host's name; it must not run
        host: String,
        /// Where to move its home: a folder that is not there yet, or an empty one
        to: PathBuf,
        #[command(flatten)]
        dir: DirOption,
    },
    /// How the hosts and their vats stand
    #[command(
        after_help = "Examples:\n  vat testnet status\n  vat testnet status --json\n\nAll hosts are asked at once. One that has not answered for 5 s is `hung`; one whose home was moved away\nis `exported`, unless its admin socket is forwarded to here.\n\nExit code 1 if a host does not run, hangs, or can't be asked."
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
        Command::Up { file, dir, detach, without, fresh, watch } => {
            if fresh {
                fresh::clear(&file, &TestnetDir::new(&dir.dir))?;
            }
            if watch {
                up::watch(&file, dir, &without, json).await
            } else {
                up::up(&file, dir, detach, &without, json).await
            }
        }
        Command::Init { file, dir } => up::init(&file, dir, json),
        Command::Export { host, to, dir } => export_home(&dir.cluster()?, &host, &to, json),
        Command::Status { dir } => status(&dir.cluster()?, json).await,
        Command::Logs(args) => logs::run(args, json).await,
        Command::Kill { host, dir } => kill(&dir.cluster()?, &host, json),
        Command::Restart { host, dir } => restart(&dir.cluster()?, &host, json).await,
        Command::Down { dir } => down(&dir.cluster()?, json),
    }
}

fn wrong(error: anyhow::Error) -> Failure {
    Failure { exit: Exit::Usage, error }
}

fn kill(cluster: &Cluster, host: &str, json: bool) -> Outcome {
    cluster.place(host).map_err(wrong)?;
    let killed = cluster.kill(host)?;
    match killed {
        _ if json => output::json(&serde_json::json!({ "host": host, "killed": killed })),
        Some(pid) => output::note(format!("killed {host} (process {pid})")),
        None => output::note(format!("{host} was not running")),
    }
    Ok(Exit::Success)
}

async fn restart(cluster: &Cluster, host: &str, json: bool) -> Outcome {
    cluster.home(host).map_err(wrong)?;
    cluster.kill(host)?;
    let mut child = cluster.spawn(host)?;
    let status = cluster.wait_up(host, child.as_mut()).await?;
    if json {
        output::json(&serde_json::json!({ "host": host, "process": status.process }));
    } else {
        output::note(format!("{host} runs (process {})", status.process));
    }
    Ok(Exit::Success)
}

fn export_home(cluster: &Cluster, host: &str, to: &Path, json: bool) -> Outcome {
    cluster.home(host).map_err(wrong)?;
    let from = cluster.dir.home(host);
    let exported = export::export(&from, to).map_err(|error| wrong(error.into()))?;
    if json {
        output::json(&serde_json::json!({ "host": host, "key": exported.key, "home": exported.to }));
    } else {
        output::line(exported.to.display());
        output::note(format!(
            "{host} runs from there only: move it on (never copy it), then `vat node run --home HOME`; {} keeps its public key",
            from.display()
        ));
    }
    Ok(Exit::Success)
}

fn down(cluster: &Cluster, json: bool) -> Outcome {
    let stopped = cluster.down(&mut Started::default())?;
    if json {
        output::json(&serde_json::json!({ "stopped": stopped }));
    } else {
        output::note(format!("stopped {} hosts", stopped.len()));
    }
    Ok(Exit::Success)
}

async fn status(cluster: &Cluster, json: bool) -> Outcome {
    let states = cluster.states().await?;
    if json {
        let hosts: Vec<serde_json::Value> = states
            .iter()
            .map(|(name, state)| match state {
                HostState::Up(status) => serde_json::json!({ "host": name, "state": "up", "status": status }),
                HostState::Starting(pid) => serde_json::json!({ "host": name, "state": "starting", "process": pid }),
                HostState::Hung(pid) => serde_json::json!({ "host": name, "state": "hung", "process": pid }),
                HostState::Exported(to) => serde_json::json!({ "host": name, "state": "exported", "to": to }),
                HostState::Down => serde_json::json!({ "host": name, "state": "down" }),
                HostState::Unusable(problem) => {
                    serde_json::json!({ "host": name, "state": "unusable", "problem": problem })
                }
            })
            .collect();
        output::json(&hosts);
    } else {
        show(&states);
    }
    let all_up = states.iter().all(|(_, state)| matches!(state, HostState::Up(_)));
    Ok(if all_up { Exit::Success } else { Exit::Rejected })
}

fn show(states: &[(String, HostState)]) {
    let mut table = output::table(["HOST", "STATE", "PROCESS", "UPTIME", "METRICS", "VATS"]);
    for (name, state) in states {
        let (shown, process, status) = match state {
            HostState::Up(status) => ("up", status.process.to_string(), Some(status)),
            HostState::Starting(pid) => ("starting", pid.to_string(), None),
            HostState::Hung(pid) => ("hung", pid.to_string(), None),
            HostState::Exported(_) => ("exported", String::new(), None),
            HostState::Down => ("down", String::new(), None),
            HostState::Unusable(_) => ("unusable", String::new(), None),
        };
        let [uptime, metrics, vats] = status.map_or_else(Default::default, |status| {
            let vats: Vec<String> = status.vats.iter().map(|vat| format!("{} ({})", vat.name, vat.role)).collect();
            [humantime(status.uptime_s), format!("http://{}/metrics", status.http), vats.join(", ")]
        });
        table.add_row([name.clone(), shown.to_owned(), process, uptime, metrics, vats]);
    }
    output::line(table);
    for (name, state) in states {
        match state {
            HostState::Unusable(problem) => output::line(format!("! {name}: {problem}")),
            HostState::Up(status) => {
                let failed = status.failed_vats.iter();
                failed.for_each(|(vat, error)| output::line(format!("! {vat} on {name}: {error}")));
            }
            HostState::Hung(pid) => output::line(format!(
                "! {name}: process {pid} has not answered for {} s; its log may say why, else `vat testnet restart {name}` ends it and starts it again",
                LOOK_DEADLINE.as_secs()
            )),
            HostState::Exported(to) => output::line(format!(
                "! {name}: exported to {}; to ask it from here, forward its admin.sock",
                to.display()
            )),
            HostState::Down | HostState::Starting(_) => {}
        }
    }
}

fn humantime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

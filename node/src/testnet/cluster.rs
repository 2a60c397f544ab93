//! A testnet's hosts as processes on this machine: start, look, kill, stop.
//!
//! A host's process is known by the lock on its home, so nothing is ever signalled that isn't a node on that home.

use super::layout::{Layout, TestnetDir};
use crate::{
    api::client::{ApiClientError, Endpoint},
    home::Home,
    status::HostStatus,
};
use anyhow::{Context, bail};
use nix::{sys::signal, unistd::Pid};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take from its start until its interface answers: making the engine's cache the first time included.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long a process may take to stop by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// A testnet on this machine.
pub struct Cluster {
    pub dir: TestnetDir,
    pub layout: Layout,
    /// The `vat` binary, or a stand-in for tests.
    pub binary: PathBuf,
}

/// How a host stands.
#[derive(Clone, Debug)]
pub enum HostState {
    /// Not running.
    Down,
    /// Running, but its interface doesn't answer (yet).
    Starting(u32),
    /// Running.
    Up(Box<HostStatus>),
}

impl Cluster {
    /// The testnet in `dir`.
    pub fn open(dir: TestnetDir) -> anyhow::Result<Cluster> {
        let Some(layout) = dir.read()? else {
            bail!(
                "there is no testnet in {}; make one with `vat testnet up FILE --dir {0}`, or name its directory with --dir",
                dir.path().display()
            );
        };
        let binary = std::env::current_exe().context("finding this program's file")?;
        Ok(Cluster { dir, layout, binary })
    }

    /// A host's home.
    pub fn home(&self, host: &str) -> anyhow::Result<Home> {
        if !self.layout.hosts.iter().any(|place| place.name == host) {
            let names: Vec<_> = self.layout.hosts.iter().map(|place| place.name.as_str()).collect();
            bail!("there is no host {host} in this testnet; its hosts are {}", names.join(", "));
        }
        Ok(Home::open(&self.dir.home(host))?)
    }

    /// Starts a host's process, unless it runs. It outlives this one.
    pub fn spawn(&self, host: &str) -> anyhow::Result<Option<Child>> {
        let home = self.home(host)?;
        if home.running_process().is_some() {
            return Ok(None);
        }
        let log_path = self.dir.host_log(host);
        let log = fs::File::options().create(true).append(true).open(&log_path)?;
        let child = Command::new(&self.binary)
            .args(["node", "run", "--home"])
            .arg(fs::canonicalize(home.path())?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        Ok(Some(child))
    }

    /// Waits until a host's interface answers. `child` is its process, where this one has started it.
    pub async fn wait_up(&self, host: &str, mut child: Option<Child>) -> anyhow::Result<HostStatus> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let HostState::Up(status) = self.state(host).await? {
                return Ok(*status);
            }
            if let Some(child) = &mut child
                && child.try_wait()?.is_some()
            {
                bail!("host {host} has stopped; {}", self.last_words(host));
            }
            if Instant::now() > deadline {
                bail!("host {host} did not start in {} s; {}", START_DEADLINE.as_secs(), self.last_words(host));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn last_words(&self, host: &str) -> String {
        let path = self.dir.host_log(host);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("its log {} ends with:\n{}", path.display(), tail.join("\n"))
    }

    /// How a host stands.
    pub async fn state(&self, host: &str) -> anyhow::Result<HostState> {
        let home = self.home(host)?;
        match Endpoint::socket(&home.admin_socket()).get::<HostStatus>("/api/v1/status").await {
            Ok(status) => Ok(HostState::Up(Box::new(status))),
            Err(ApiClientError::NotRunning(_) | ApiClientError::Deadline | ApiClientError::Answer(_)) => {
                Ok(home.running_process().map_or(HostState::Down, HostState::Starting))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How all hosts stand, in the config's order.
    pub async fn states(&self) -> anyhow::Result<Vec<(String, HostState)>> {
        let mut states = Vec::new();
        for place in &self.layout.hosts {
            states.push((place.name.clone(), self.state(&place.name).await?));
        }
        Ok(states)
    }

    /// Kills a host's process, as a power failure would (SIGKILL). Returns the process, or `None` if it wasn't running.
    pub fn kill(&self, host: &str) -> anyhow::Result<Option<u32>> {
        let home = self.home(host)?;
        let Some(pid) = home.running_process() else { return Ok(None) };
        send(pid, signal::Signal::SIGKILL)?;
        self.wait_down(&home)?;
        Ok(Some(pid))
    }

    fn wait_down(&self, home: &Home) -> anyhow::Result<()> {
        let deadline = Instant::now() + STOP_DEADLINE;
        while home.running_process().is_some() {
            if Instant::now() > deadline {
                bail!("the process on {} does not stop", home.path().display());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Stops all hosts: politely, then not.
    pub fn down(&self) -> anyhow::Result<usize> {
        let mut running = Vec::new();
        for place in &self.layout.hosts {
            let home = self.home(&place.name)?;
            if let Some(pid) = home.running_process() {
                send(pid, signal::Signal::SIGTERM)?;
                running.push(home);
            }
        }
        for home in &running {
            if self.wait_down(home).is_err()
                && let Some(pid) = home.running_process()
            {
                send(pid, signal::Signal::SIGKILL)?;
                self.wait_down(home)?;
            }
        }
        Ok(running.len())
    }
}

fn send(pid: u32, signal: signal::Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid).context("a process number out of range")?);
    match signal::kill(pid, signal) {
        // Gone already.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signalling process {pid}")),
    }
}

//! A testnet's hosts as processes on this machine: start, look, kill, stop.
//!
//! A host's process is known by the lock on its home, so nothing is ever signalled that isn't a node on that home, or was started
//! here. Invariant: a home that is gone or damaged is a host that is down; it is never in the way of the other hosts.

use super::layout::{HostPlace, Layout, TestnetDir};
use crate::home::{Home, HomeError, admin_socket, export::Exported, running_process};
use anyhow::{Context, bail};
use nix::{sys::signal, unistd::Pid};
use quorate_admin::client::{ApiClientError, Endpoint, LOOK_DEADLINE};
use quorate_protocol::status::HostStatus;
use std::{
    fs,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take from its start until its interface answers: making the engine's cache the first time included.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long a process may take to stop by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a host's log that are shown where it left no other word.
const LAST_LINES: usize = 5;

/// Begins the line below a command's error that says where to read on.
pub const EXPLAIN: &str = "vat explain ";

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
    /// Not running, and it can't be: what is wrong with its home, and what to do.
    Unusable(String),
    /// Not running here, since its home was moved there, and it can't be asked from here.
    Exported(PathBuf),
    /// Running, but its interface isn't there yet.
    Starting(u32),
    /// Running, and it doesn't answer.
    Hung(u32),
    /// Running.
    Up(Box<HostStatus>),
}

/// Processes of hosts that this one has started. Each is known here before it has locked its home.
#[derive(Default)]
pub struct Started(Vec<(String, Child)>);

impl Started {
    /// Adds a host's process.
    pub fn add(&mut self, host: &str, child: Child) {
        self.0.push((host.to_owned(), child));
    }

    /// A host's process, if it was started here.
    pub fn child(&mut self, host: &str) -> Option<&mut Child> {
        self.0.iter_mut().rev().find(|(name, _)| name == host).map(|(_, child)| child)
    }

    /// The number of a host's process, while it runs.
    fn running(&mut self, host: &str) -> Option<u32> {
        let child = self.child(host)?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }
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

    /// A host of this testnet by its name.
    pub fn place(&self, host: &str) -> anyhow::Result<&HostPlace> {
        self.layout.hosts.iter().find(|place| place.name == host).with_context(|| {
            let names: Vec<_> = self.layout.hosts.iter().map(|place| place.name.as_str()).collect();
            format!("there is no host {host} in this testnet; its hosts are {}", names.join(", "))
        })
    }

    /// A host's home.
    pub fn home(&self, host: &str) -> anyhow::Result<Home> {
        self.place(host)?;
        Home::open(&self.dir.home(host)).map_err(|error| match error {
            HomeError::Missing { path } => anyhow::anyhow!(
                "{path}: the home of {host} is gone, and with it the key that it was known by; it cannot come back; `vat status` says what its vats can do without it"
            ),
            other => other.into(),
        })
    }

    /// The process of a host, if it runs: also one whose home is gone or damaged.
    pub fn process(&self, host: &str) -> Option<u32> {
        running_process(&self.dir.home(host))
    }

    /// Starts a host's process, unless it runs. It outlives this one.
    pub fn spawn(&self, host: &str) -> anyhow::Result<Option<Child>> {
        let home = self.home(host)?;
        if home.running_process().is_some() {
            return Ok(None);
        }
        let log_path = self.dir.host_log(host);
        let log = fs::File::options().create(true).append(true).mode(0o600).open(&log_path);
        let log = log.with_context(|| log_path.display().to_string())?;
        let child = Command::new(&self.binary)
            .args(["node", "run", "--home"])
            .arg(fs::canonicalize(home.path())?)
            // A service manager waits for what started the testnet, not for each host.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        Ok(Some(child))
    }

    /// Waits until a host's interface answers. `child` is its process, where this one has started it.
    pub async fn wait_up(&self, host: &str, mut child: Option<&mut Child>) -> anyhow::Result<HostStatus> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match self.state(host).await? {
                HostState::Up(status) => return Ok(*status),
                HostState::Unusable(problem) => bail!("{problem}"),
                HostState::Exported(to) => bail!("host {host} was exported to {}; run it there", to.display()),
                HostState::Down | HostState::Starting(_) | HostState::Hung(_) => {}
            }
            if let Some(child) = &mut child
                && child.try_wait()?.is_some()
            {
                bail!("host {host} has stopped: {}", self.last_words(host));
            }
            if Instant::now() > deadline {
                bail!("host {host} did not start in {} s: {}", START_DEADLINE.as_secs(), self.last_words(host));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns why a host stopped, as it said at its end; where it said nothing, the end of its log.
    fn last_words(&self, host: &str) -> String {
        let path = self.dir.host_log(host);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(EXPLAIN)).collect();
        // What a node logs is JSON; what a command says at its end is not.
        let words = lines.iter().rev().take_while(|line| !line.starts_with('{')).count();
        match words {
            0 => {
                let tail = &lines[lines.len().saturating_sub(LAST_LINES)..];
                format!("its log {} ends with:\n{}", path.display(), tail.join("\n"))
            }
            words => {
                let said = lines[lines.len() - words..].join("\n");
                format!("{} (its log: {})", said.trim_start_matches("error:").trim(), path.display())
            }
        }
    }

    /// Returns how a host stands.
    pub async fn state(&self, host: &str) -> anyhow::Result<HostState> {
        self.place(host)?;
        let path = self.dir.home(host);
        // Its socket may be forwarded from where it runs now.
        let asked = Endpoint::socket(&admin_socket(&path));
        let answer = tokio::time::timeout(LOOK_DEADLINE, asked.get::<HostStatus>("/api/v1/status")).await;
        if let Ok(Some(Exported { to, .. })) = Exported::read(&path) {
            return Ok(match answer {
                Ok(Ok(status)) => HostState::Up(Box::new(status)),
                _ => HostState::Exported(to),
            });
        }
        if let Err(error) = self.home(host) {
            let running = self.process(host).map(|process| format!(" (process {process} still runs on it)"));
            return Ok(HostState::Unusable(format!("{error}{}", running.unwrap_or_default())));
        }
        match answer {
            Ok(Ok(status)) => Ok(HostState::Up(Box::new(status))),
            Ok(Err(ApiClientError::NotRunning(_) | ApiClientError::Answer(_))) => {
                Ok(self.process(host).map_or(HostState::Down, HostState::Starting))
            }
            Err(_) | Ok(Err(ApiClientError::Deadline)) => {
                Ok(self.process(host).map_or(HostState::Down, HostState::Hung))
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// Returns how all hosts stand, in the config's order. They are asked side by side: one that hangs holds up none of the others.
    pub async fn states(&self) -> anyhow::Result<Vec<(String, HostState)>> {
        let hosts = self.layout.hosts.iter();
        let asked = hosts.map(async |place| Ok((place.name.clone(), self.state(&place.name).await?)));
        futures::future::try_join_all(asked).await
    }

    /// Kills a host's process, as a power failure would (SIGKILL). Returns the process, or `None` if it wasn't running.
    pub fn kill(&self, host: &str) -> anyhow::Result<Option<u32>> {
        self.place(host)?;
        let Some(pid) = self.process(host) else { return Ok(None) };
        send(pid, signal::Signal::SIGKILL)?;
        self.wait_down(host, &mut Started::default(), Instant::now() + STOP_DEADLINE)?;
        Ok(Some(pid))
    }

    /// A host's process, also one of `started` that has not locked its home yet.
    pub fn running(&self, host: &str, started: &mut Started) -> Option<u32> {
        started.running(host).or_else(|| self.process(host))
    }

    fn wait_down(&self, host: &str, started: &mut Started, deadline: Instant) -> anyhow::Result<()> {
        while let Some(pid) = self.running(host, started) {
            if Instant::now() > deadline {
                bail!("the process of host {host} ({pid}) does not stop");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Stops all hosts: politely, then not. Returns those that ran.
    ///
    /// # Errors
    /// What could not be stopped; everything else is.
    pub fn down(&self, started: &mut Started) -> anyhow::Result<Vec<String>> {
        let (mut stopping, mut problems) = (Vec::new(), Vec::new());
        for place in &self.layout.hosts {
            let Some(pid) = self.running(&place.name, started) else { continue };
            match send(pid, signal::Signal::SIGTERM) {
                Ok(()) => stopping.push(place.name.clone()),
                Err(error) => problems.push(format!("host {}: {error:#}", place.name)),
            }
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        for host in &stopping {
            if self.wait_down(host, started, deadline).is_ok() {
                continue;
            }
            let killed = match self.running(host, started) {
                Some(pid) => send(pid, signal::Signal::SIGKILL)
                    .and_then(|()| self.wait_down(host, started, Instant::now() + STOP_DEADLINE)),
                None => Ok(()),
            };
            problems.extend(killed.err().map(|error| format!("host {host}: {error:#}")));
        }
        if !problems.is_empty() {
            bail!("{}", problems.join("\n"));
        }
        Ok(stopping)
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

//! Testnets of real processes, driven by the `vat` command line as a person would.
//!
//! Invariant: whatever a test starts it stops, also when it panics: dropping a [`TestNet`] kills every host that it started.

use quorate_consensus::Member;
use quorate_node::{
    api::client::Endpoint,
    status::{HostStatus, VatStatus},
    testnet::{
        cluster::{Cluster, HostState},
        layout::{HostPlace, TestnetDir},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a command of the command line came to.
#[derive(Clone, Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics, with everything that was said, unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// A testnet in a temporary directory.
pub struct TestNet {
    binary: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl TestNet {
    /// An empty place for a testnet, run by `binary`: `vat`, or a stand-in with the same command line.
    pub fn new(binary: impl Into<PathBuf>) -> TestNet {
        let folder = tempfile::Builder::new().prefix("quorate-").tempdir().expect("a temporary directory");
        TestNet { binary: binary.into(), folder, environment: Vec::new() }
    }

    /// Sets a variable for every command from here on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file beside the config and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        path
    }

    /// The testnet's directory.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// Runs a command line and waits for it.
    pub fn vat(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary runs");
        Ran::of(output)
    }

    /// A command line that is not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env("QUORATE_DIR", self.dir()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `vat testnet up CONFIG --detach`, with further arguments.
    pub fn up(&self, config: &Path, more: &[&str]) -> Ran {
        let config = config.to_str().expect("paths of tests are text");
        self.vat(&[&["testnet", "up", config, "--detach"], more].concat())
    }

    /// Calls a vat and returns the JSON of the result.
    #[track_caller]
    pub fn call(&self, vat: &str, method: &str, args: &[&str]) -> serde_json::Value {
        let ran = self.vat(&[&["call", vat, method], args].concat()).ok();
        serde_json::from_str(ran.stdout.trim()).expect("a result is JSON")
    }

    /// What a vat's console printed so far.
    pub fn console(&self, vat: &str) -> String {
        self.vat(&["logs", vat]).stdout
    }

    /// The testnet as the library sees it.
    pub fn cluster(&self) -> Cluster {
        Cluster::open(TestnetDir::new(self.dir())).expect("a testnet was made")
    }

    /// A running host's status.
    pub fn host(&self, host: &str) -> Option<HostStatus> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        match runtime.block_on(self.cluster().state(host)) {
            Ok(HostState::Up(status)) => Some(*status),
            _ => None,
        }
    }

    /// Every running replica of a vat: host and status.
    pub fn replicas(&self, vat: &str) -> Vec<(String, VatStatus)> {
        let places = self.cluster().layout.hosts;
        let hosts = places.iter().filter_map(|place| Some((place.name.clone(), self.host(&place.name)?)));
        hosts
            .flat_map(|(host, status)| status.vats.into_iter().map(move |vat| (host.clone(), vat)))
            .filter(|(_, status)| status.name == vat)
            .collect()
    }

    /// The host that leads a vat, waiting for one.
    #[track_caller]
    pub fn leader(&self, vat: &str) -> String {
        self.wait("a leader", || self.replicas(vat).into_iter().find(|(_, status)| status.role == "leader")).0
    }

    /// A host's metrics page.
    pub fn metrics(&self, host: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let place = self.cluster().layout.hosts.into_iter().find(|place| place.name == host).expect("a known host");
        runtime.block_on(Endpoint::Tcp(place.http).get_text("/metrics")).unwrap_or_default()
    }

    /// Where a host serves metrics.
    pub fn http(&self, host: &str) -> String {
        let places = self.cluster().layout.hosts;
        places.into_iter().find(|place| place.name == host).map(|place| place.http.to_string()).unwrap_or_default()
    }

    /// Waits for something to be there.
    ///
    /// # Panics
    /// When it is not there within a minute and a half, with the hosts' last words.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in time\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends of all hosts' logs, and the status.
    pub fn last_words(&self) -> String {
        let mut text = self.vat(&["status"]).stdout;
        let Ok(Some(layout)) = TestnetDir::new(self.dir()).read() else { return text };
        for place in layout.hosts {
            let log = fs::read_to_string(TestnetDir::new(self.dir()).host_log(&place.name)).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            text.push_str(&format!("--- {}\n", place.name));
            tail.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }
}

impl Drop for TestNet {
    fn drop(&mut self) {
        if let Ok(cluster) = Cluster::open(TestnetDir::new(self.dir())) {
            for place in &cluster.layout.hosts {
                // The directory goes next; a host that can't be killed is said below.
                if let Err(error) = cluster.kill(&place.name) {
                    eprintln!("killing {}: {error}", place.name);
                }
            }
        }
    }
}

/// The hosts of a testnet, as a client asks them.
pub fn members(net: &TestNet) -> Vec<Member> {
    let member = |place: HostPlace| Member {
        key: place.key.parse().expect("a layout's keys are keys"),
        name: place.name,
        addresses: vec![place.address],
    };
    net.cluster().layout.hosts.into_iter().map(member).collect()
}

/// A binary that cargo built beside the running test: examples of this crate are in `examples/`.
pub fn built(relative: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own file");
    let folder = own.parent().and_then(Path::parent).expect("tests are built into deps/, examples into examples/");
    let path = folder.join(relative);
    assert!(path.exists(), "{} is not built; run the tests by `make test`", path.display());
    path
}

/// The stand-in for `vat` in tests: the same command line, and hosts that can be made to lie.
pub fn stand_in() -> PathBuf {
    built("examples/vat_under_test")
}

/// A file of this crate, such as an example's config.
pub fn own_file(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

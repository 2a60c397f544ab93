//! Testnets of real processes, driven by the `vat` command line as a person would.
//!
//! Invariant: whatever a test starts it stops, also when it panics: dropping a [`TestNet`] kills every host that it started, unless it
//! was given away by [`TestNet::keep`].

use quorate_admin::client::Endpoint;
use quorate_config::{
    cluster::{Cluster, HostState},
    layout::TestnetDir,
};
use quorate_consensus::Member;
use quorate_protocol::status::{HostStatus, VatStatus};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
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
    /// What a command that was run elsewhere left.
    pub fn of(output: Output) -> Ran {
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

    /// Returns what the command printed.
    ///
    /// # Errors
    /// It did not succeed.
    pub fn succeeded(self) -> anyhow::Result<String> {
        anyhow::ensure!(self.code == 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// A testnet in a temporary directory. Commands are run in it, and name the testnet's directory relative to it.
pub struct TestNet {
    binary: PathBuf,
    folder: TempDir,
    /// Where config and testnet lie: `folder`, or below it.
    place: PathBuf,
    environment: Vec<(String, String)>,
    /// It is to go on.
    kept: bool,
}

/// The testnet's directory in its place.
const DIR: &str = "net";

impl TestNet {
    /// An empty place for a testnet, run by `binary`: `vat`, or a stand-in with the same command line.
    pub fn new(binary: impl Into<PathBuf>) -> TestNet {
        TestNet::below(binary, "")
    }

    /// The same in folders below the temporary directory.
    pub fn below(binary: impl Into<PathBuf>, folders: &str) -> TestNet {
        let folder = tempfile::Builder::new().prefix("quorate-").tempdir().expect("a temporary directory");
        let place = folder.path().join(folders);
        fs::create_dir_all(&place).expect("the temporary directory is writable");
        let binary = std::path::absolute(binary.into()).expect("the working directory is there");
        TestNet { binary, folder, place, environment: Vec::new(), kept: false }
    }

    /// Moves everything to other folders below the temporary directory.
    pub fn move_below(&mut self, folders: &str) {
        let place = self.folder.path().join(folders);
        let parent = place.parent().expect("a place below the temporary directory");
        fs::create_dir_all(parent).and_then(|()| fs::rename(&self.place, &place)).expect("it can be moved");
        self.place = place;
    }

    /// Sets a variable for every command from here on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Leaves the testnet as it is, running, and returns its directory. Nobody stops it any more.
    pub fn keep(mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.kept = true;
        self.dir()
    }

    /// The path of a file beside the config.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// Writes a file beside the config and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        path
    }

    /// The testnet's directory.
    pub fn dir(&self) -> PathBuf {
        self.path(DIR)
    }

    /// Runs a command line and waits for it.
    pub fn vat(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary runs");
        Ran::of(output)
    }

    /// Runs a command line, and hands on each line of its standard error when it comes.
    pub fn vat_aloud(&self, args: &[&str], mut hear: impl FnMut(&str)) -> Ran {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let (mut stdout, heard) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What can't be read any more is missing in what is shown.
            let _ = stdout.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stderr = String::new();
        for line in BufReader::new(heard).lines().map_while(Result::ok) {
            hear(&line);
            stderr.push_str(&line);
            stderr.push('\n');
        }
        let code = child.wait().expect("it is ours").code().unwrap_or(-1);
        Ran { code, stdout: reading.join().expect("reading does not panic"), stderr }
    }

    /// A command line that is not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        self.placed(Command::new(&self.binary), args)
    }

    /// The same, and SIGHUP reaches it also where the tests were started by `nohup`: a program then keeps ignoring it, and so does
    /// `vat`, as it should.
    pub fn command_with_hangup(&self, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(&self.binary);
        self.placed(command, args)
    }

    fn placed(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .current_dir(&self.place)
            .env("QUORATE_DIR", DIR)
            .env_remove("QUORATE_HOME")
            .stdin(Stdio::null());
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

    /// Returns what a vat's console printed so far.
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

    /// Returns where a host serves metrics.
    pub fn http(&self, host: &str) -> String {
        let places = self.cluster().layout.hosts;
        places.into_iter().find(|place| place.name == host).map(|place| place.http.to_string()).unwrap_or_default()
    }

    /// Waits for something to be there.
    ///
    /// # Panics
    /// When it is not there within four minutes, with the hosts' last words.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(240);
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
        if self.kept {
            return;
        }
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
    net.cluster().layout.members().expect("a layout's keys are keys")
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

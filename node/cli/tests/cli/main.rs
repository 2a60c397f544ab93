//! The `vat` command from outside: its help, its exit codes, what it prints where, and hosts run by hand.

mod authors;
mod failures;
mod hosts;
mod names;
mod run;
mod words;

use serde_json::{Value, json};
use std::{
    cell::RefCell,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Long enough for anything that happens at all, compiling the engine the first time included.
const DEADLINE: Duration = Duration::from_secs(300);

const COUNTER: &str = "
import { Far } from '@endo/far';
export default ({ start = 0, name = 'counter' }) => {
  let count = start;
  console.log(`${name} begins at ${start}`);
  return Far('counter', {
    increment(by = 1) { count += by; return count; },
    read: () => count,
    echo: value => value,
    fail: message => { throw RangeError(message); },
  });
};
";

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A folder to work in. Whatever was started from it is stopped with it, also when a test fails.
struct Bench {
    folder: TempDir,
    hosts: RefCell<Vec<Child>>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::Builder::new().prefix("quorate-cli-").tempdir().expect("a folder");
        Bench { folder, hosts: RefCell::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writable");
    }

    fn command(&self, args: &[&str]) -> Command {
        self.placed(Command::new(env!("CARGO_BIN_EXE_vat")), args)
    }

    /// The same, and SIGHUP reaches it also where the tests were started by `nohup`: `vat` then ignores it, as it should.
    fn command_with_hangup(&self, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(env!("CARGO_BIN_EXE_vat"));
        self.placed(command, args)
    }

    fn placed(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("QUORATE_DIR")
            .env_remove("QUORATE_HOME")
            .stdin(Stdio::null());
        command
    }

    fn vat(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the command runs");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a host by hand, and waits until it answers.
    fn run_host(&self, home: &str) {
        let log = fs::File::create(self.path(&format!("{}.log", home.replace('/', "-")))).expect("writable");
        let mut command = self.command(&["node", "run", "--home", home]);
        self.hosts.borrow_mut().push(command.stdout(Stdio::null()).stderr(log).spawn().expect("it starts"));
        wait("the host", || {
            let status = self.vat(&["status", "--json", "--home", home]);
            (status.code != 2 && status.json()["hosts_down"] == json!([])).then_some(())
        });
    }

    /// Stops a host as a service manager does, and returns how it ended.
    fn stop_host(&self, number: usize) -> Option<i32> {
        self.signal_host(number, nix::sys::signal::Signal::SIGTERM)
    }

    fn signal_host(&self, number: usize, signal: nix::sys::signal::Signal) -> Option<i32> {
        let mut hosts = self.hosts.borrow_mut();
        let child = &mut hosts[number];
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
        nix::sys::signal::kill(pid, signal).expect("it is ours");
        wait("the host's end", || child.try_wait().expect("it can be waited for")).code()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for host in self.hosts.get_mut() {
            // It may have ended already.
            let _ = host.kill();
            let _ = host.wait();
        }
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.path().join("testnet.json").exists() {
                let _ = self.vat(&["testnet", "down", "--dir", &entry.path().display().to_string()]);
            }
        }
    }
}

#[track_caller]
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Ports that nobody uses now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

//! What an operator can do wrong, or has to find out: caches and homes that others can write to, homes that run twice, members that are
//! missing, databases that are damaged.

mod support;

use quorate_testnet::process::{Ran, TestNet, stand_in};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use support::{FOUR_HOSTS, SmallDisk, counter_net, with_files_up_to};

const MORE: &str = r#"
[[vat]]
name = "strict"
hosts = ["alpha", "beta", "gamma"]
threshold = 3
source = "counter.js"
"#;

fn config_text() -> String {
    [FOUR_HOSTS, MORE].concat()
}

const SOLO: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"

[[vat]]
name = "counter"
hosts = ["alpha"]
source = "counter.js"
"#;

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

#[track_caller]
fn refused(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A host's process that a test started by itself; it ends with the test.
struct Host(Child);

impl Host {
    fn start(net: &TestNet, home: &Path) -> Host {
        let log = fs::File::options().create(true).append(true).open(net.path("host.log")).expect("writable");
        Host(net.command(&["node", "run", "--home", text(home)]).stderr(log).spawn().expect("it starts"))
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_none()
    }

    /// Its exit code, once it has ended.
    fn exit_code(&mut self, net: &TestNet) -> Option<i32> {
        net.wait("the host's end", || self.0.try_wait().expect("it is ours")).code()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Everything below a path that others than its owner can use, with its mode.
fn open_to_others(path: &Path) -> Vec<String> {
    let found = fs::symlink_metadata(path).expect("it is there");
    let mut open = Vec::new();
    if found.mode() & 0o077 != 0 && !found.is_symlink() {
        open.push(format!("{} {:o}", path.display(), found.mode()));
    }
    if found.is_dir() {
        let entries = fs::read_dir(path).expect("readable").map(|entry| entry.expect("an entry").path());
        entries.for_each(|path| open.extend(open_to_others(&path)));
    }
    open
}

#[test]
fn compiled_code_is_run_from_nowhere_that_others_can_write_to() {
    let net = TestNet::new(stand_in());
    let home = net.path("home");
    let run = ["node", "run", "--home", text(&home)];
    net.vat(&["node", "init", "--home", text(&home), "--name", "alpha", "--listen", "127.0.0.1:0"]).ok();
    let bare = |variables: &[(&str, &str)]| {
        let mut command = net.command(&run);
        command.env_clear().envs(variables.iter().copied());
        ran(command.output().expect("it runs"))
    };
    refused(&bare(&[]), 2, &["Q-R005", "QUORATE_CACHE"]);
    refused(&bare(&[("HOME", "")]), 2, &["Q-R005", "QUORATE_CACHE"]);
    // Somebody was here first, and may put there what this process would run.
    let shared = net.path("shared");
    fs::create_dir(&shared).expect("writable");
    for mode in [0o777, 0o1777, 0o770] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("ours");
        let ran = bare(&[("QUORATE_CACHE", text(&shared))]);
        refused(&ran, 2, &["Q-R002", text(&shared), "may be written by other users", "QUORATE_CACHE"]);
        assert_eq!(fs::read_dir(&shared).expect("it is there").count(), 0, "nothing is made in it");
    }
    // The other commands that load code refuse as well.
    fs::write(net.path("a.js"), "export default () => {};").expect("writable");
    let mut command = net.command(&["run", "a.js", "--seconds", "1"]);
    let ran = ran(command.env("QUORATE_CACHE", &shared).output().expect("it runs"));
    refused(&ran, 2, &["Q-R002", "may be written by other users"]);
}

#[test]
fn a_testnet_is_its_owners_alone_whatever_the_umask_and_a_home_that_was_open_is_narrowed() {
    let (net, config) = counter_net(SOLO);
    let up = net.command(&["testnet", "up", text(&config), "--detach"]);
    // Everything may be written by everybody, if nothing says otherwise.
    let mut wide = Command::new("sh");
    wide.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(up.get_program()).args(up.get_args());
    wide.current_dir(net.path("")).env("QUORATE_DIR", "net").stdin(Stdio::null());
    ran(wide.output().expect("it runs")).ok();
    net.call("counter", "increment", &[]);
    for file in
        ["hosts/alpha/data/CURRENT", "hosts/alpha/admin.sock", "hosts/alpha/logs/counter.console", "refs/counter.ref"]
    {
        assert!(net.dir().join(file).exists(), "{file}");
    }
    assert_eq!(open_to_others(&net.dir()), Vec::<String>::new());

    // As an earlier version left it.
    net.vat(&["testnet", "down"]).ok();
    let home = net.dir().join("hosts/alpha");
    for (file, mode) in [("", 0o755), ("data", 0o755), ("data/CURRENT", 0o644), ("host.toml", 0o664), ("logs", 0o777)] {
        fs::set_permissions(home.join(file), fs::Permissions::from_mode(mode)).expect("ours");
    }
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert_eq!(open_to_others(&home), Vec::<String>::new());
    assert!(net.vat(&["logs", "alpha"]).ok().stdout.contains("other users could use"), "it says so");
}

#[test]
fn an_exported_host_runs_where_it_was_moved_to_and_can_be_asked_and_changed_from_here() {
    let (net, config) = counter_net(&config_text());
    net.up(&config, &["--without", "delta"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    let away = net.path("away/gamma");
    refused(&net.vat(&["testnet", "export", "gamma", text(&away)]), 2, &["another `vat node run` is using this home"]);
    net.vat(&["testnet", "down"]).ok();
    let exported = net.vat(&["testnet", "export", "gamma", text(&away), "--json"]).ok();
    let exported: Value = serde_json::from_str(&exported.stdout).expect("JSON");
    assert_eq!(exported["key"], json!(net.cluster().layout.hosts[2].key));

    // The original is a name and a public key, and never runs.
    let stub = net.dir().join("hosts/gamma");
    let left: Vec<_> = fs::read_dir(&stub).expect("there").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["EXPORTED"], "no secret key stays behind");
    let why = [text(&away), "must run in one place only"];
    refused(&net.vat(&["testnet", "restart", "gamma"]), 2, &why);
    refused(&net.vat(&["node", "run", "--home", text(&stub)]), 2, &why);
    refused(&net.vat(&["node", "init", "--home", text(&stub), "--name", "gamma"]), 2, &why);
    refused(&net.vat(&["testnet", "export", "gamma", text(&net.path("again"))]), 2, &why);
    refused(&net.up(&config, &["--without", "delta"]), 1, &why);
    let listed = net.vat(&["testnet", "status"]);
    assert!(listed.code == 1 && listed.stdout.contains("exported"), "{listed:?}");

    // It runs there, and is seen through the others before it can be asked.
    let mut host = Host::start(&net, &away);
    net.wait("three members that are connected", || {
        assert!(host.is_running(), "{}", fs::read_to_string(net.path("host.log")).unwrap_or_default());
        let status: Value = serde_json::from_str(&net.vat(&["status", "--json"]).stdout).expect("JSON");
        status["vats"].as_array()?.iter().all(|vat| vat["reachable"] == json!(3)).then_some(())
    });
    assert_eq!(net.call("counter", "increment", &[]), json!(2));
    // What `ssh -L` does: the socket appears beside the stub, or anywhere.
    symlink(away.join("admin.sock"), stub.join("admin.sock")).expect("writable");
    let status =
        net.wait("a status without complaints", || Some(net.vat(&["status"])).filter(|status| status.code == 0));
    assert!(status.stdout.contains("gamma"), "{}", status.stdout);
    let anywhere = net.path("remote");
    fs::create_dir(&anywhere).expect("writable");
    symlink(away.join("admin.sock"), anywhere.join("admin.sock")).expect("writable");
    let remote = net.vat(&["status", "counter", "--home", text(&anywhere)]).ok();
    assert!(remote.stdout.contains("gamma"), "{}", remote.stdout);
    net.vat(&["member", "remove", "--vat", "counter", "--out", "beta", "--home", text(&anywhere)]).ok();
    drop(host);
    let gone = net.vat(&["status", "--home", text(&anywhere)]);
    assert!(gone.code == 1 && gone.stdout.contains("not running: remote"), "{gone:?}");
}

/// Stops a process as it is, or lets it go on.
fn signal(process: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

#[test]
fn missing_members_are_named_with_what_can_still_be_done_and_what_can_not_is_refused() {
    let (net, config) = counter_net(&config_text());
    net.up(&config, &[]).ok();
    let gamma = net.host("gamma").expect("it runs").process;
    net.wait("a status without complaints", || (net.vat(&["status"]).code == 0).then_some(()));

    signal(gamma, "-STOP");
    let parts = [
        "! counter: 2 signatures needed, 2 of 3 members reachable; gamma hangs",
        "! strict: 3 signatures needed, 2 of 3 members reachable; gamma hangs",
        "this vat can't order anything, nor speak, nor can its members be changed, until one more is back",
    ];
    // On a slow machine another host may look as if it hung, too, for a moment.
    let status = net.wait("what is wrong", || {
        let status = net.vat(&["status"]);
        assert_eq!(status.code, 1, "{}", status.stdout);
        parts.iter().all(|part| status.stdout.contains(part)).then_some(status)
    });
    assert!(!status.stdout.contains("member replace --vat strict"), "that can't work: {}", status.stdout);
    let status = net.wait("one host that hangs", || {
        let status: Value = serde_json::from_str(&net.vat(&["status", "--json"]).stdout).expect("JSON");
        (status["hosts_hung"] == json!(["gamma"])).then_some(status)
    });
    let strict =
        status["vats"].as_array().expect("vats").iter().find(|vat| vat["name"] == "strict").expect("it is here");
    assert_eq!((&status["healthy"], &status["hosts_hung"]), (&json!(false), &json!(["gamma"])));
    assert_eq!(
        (&strict["can_speak"], &strict["can_order"], &strict["reachable"]),
        (&json!(false), &json!(false), &json!(2))
    );
    assert_eq!(strict["members"][2]["state"], json!("hung"));
    let hosts = net.vat(&["testnet", "status"]);
    assert!(hosts.code == 1 && hosts.stdout.contains("hung") && !hosts.stdout.contains("starting"), "{hosts:?}");

    // What can't finish is not begun.
    let member = |verb: &str, more: &[&str]| net.vat(&[&["member", verb], more].concat());
    let silent = ["3 signatures needed, 2 of 3 members reachable", "nothing was changed"];
    refused(&member("replace", &["--vat", "strict", "--out", "gamma", "--in", "delta"]), 3, &silent);
    refused(&member("remove", &["--vat", "strict", "--out", "gamma"]), 3, &silent);
    refused(&member("threshold", &["--vat", "strict", "--threshold", "2"]), 3, &silent);
    refused(&member("add", &["--vat", "strict", "--in", "delta"]), 3, &silent);
    let after = ["the vat would fall silent", "nothing was changed"];
    refused(&member("remove", &["--vat", "counter", "--out", "beta"]), 3, &after);
    refused(&member("threshold", &["--vat", "counter", "--threshold", "3"]), 3, &after);
    for (host, replica) in net.replicas("strict").into_iter().chain(net.replicas("counter")) {
        assert_eq!((replica.pending_change, replica.epoch), (None, 0), "{host}");
    }

    // What can, is done; and when the member is back, nothing is left to complain about.
    member("replace", &["--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    signal(gamma, "-CONT");
    member("remove", &["--vat", "counter", "--out", "delta"]).ok();
    let status = net.wait("a status without complaints", || {
        let status = net.vat(&["status"]);
        (status.code == 0 && !status.stdout.contains('!')).then_some(status)
    });
    assert!(status.stdout.contains("removed"), "{}", status.stdout);
}

/// The one table or log of a home's database that holds the most.
fn largest(home: &Path, suffix: &str) -> PathBuf {
    let files = fs::read_dir(home.join("data")).expect("a database").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == suffix));
    files.max_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len())).expect("one of them")
}

#[test]
fn a_damaged_database_is_called_damaged_and_its_host_is_not_started_again_and_again() {
    let (net, config) = counter_net(SOLO);
    net.up(&config, &[]).ok();
    (0..5).for_each(|_| drop(net.call("counter", "increment", &[])));
    net.vat(&["testnet", "down"]).ok();
    // What is in the log comes into tables with the next start.
    net.vat(&["testnet", "restart", "alpha"]).ok();
    net.vat(&["testnet", "down"]).ok();
    let home = net.dir().join("hosts/alpha");
    let table = largest(&home, "sst");
    let whole = fs::read(&table).expect("readable");
    fs::write(&table, whole.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>()).expect("ours");
    let run = ["node", "run", "--home", text(&home)];
    let damaged = net.vat(&run);
    refused(&damaged, 6, &["Q-C002", "vat member replace"]);
    assert!(!damaged.stderr.contains("in use by another process"), "{}", damaged.stderr);
    // As it was, it runs.
    fs::write(&table, whole).expect("ours");
    net.vat(&["testnet", "restart", "alpha"]).ok();
    net.vat(&["testnet", "down"]).ok();
    fs::write(home.join("data/CURRENT"), "nonsense").expect("ours");
    refused(&net.vat(&run), 6, &["Q-C002"]);
}

const KEEPER: &str = "
import { Far } from '@endo/far';
export default () => {
  let n = 0;
  return Far('keeper', { keep(text) { n += 1; return n; }, count() { return n; } });
};
";

/// Calls with large arguments until one is not answered. Returns how many were.
fn call_while_answered(net: &TestNet) -> u64 {
    let large = "x".repeat(100_000);
    let answered = (0..400).take_while(|_| net.vat(&["call", "counter", "keep", &large, "--timeout", "10"]).code == 0);
    answered.count() as u64
}

/// Calls with large arguments until the host ends. Returns how many were answered, and the host's exit code.
fn call_until_it_ends(net: &TestNet, host: &mut Host) -> (u64, Option<i32>) {
    let mut answered = 0;
    for _ in 0..400 {
        // Without an answer the host has ended, or is slow.
        answered += call_while_answered(net);
        if !host.is_running() {
            return (answered, host.exit_code(net));
        }
    }
    panic!("the disk did not get full\n{}", fs::read_to_string(net.path("host.log")).unwrap_or_default());
}

#[test]
fn a_host_whose_disk_fills_takes_no_more_work_then_stops_its_vats_and_goes_on_by_itself_with_room() {
    let net = TestNet::new(stand_in());
    net.file("counter.js", KEEPER);
    let config = net.file("testnet.toml", SOLO);
    net.vat(&["testnet", "init", text(&config)]).ok();
    // RocksDB would take more for its log at once, if it could have it. Where no disk can be had, the next test shows what it can.
    let Some(disk) = SmallDisk::mount(&net.path("small"), 32) else { return };
    let home = disk.0.join("home");
    net.vat(&["testnet", "export", "alpha", text(&home)]).ok();
    let mut host = Host::start(&net, &home);
    let count = || -> Option<u64> {
        let called = net.vat(&["call", "counter", "count"]);
        (called.code == 0).then(|| called.stdout.trim().parse().expect("a number"))
    };
    assert_eq!(net.wait("the vat", count), 0);
    let ballast = disk.fill(3 << 20);
    let status = || net.vat(&["status", "--home", text(&home)]).stdout;
    assert!(status().contains("are left on its disk"), "{}", status());
    let answered = call_while_answered(&net);
    // Two percent of the disk are left for what is under way.
    let said = net.wait("the limit", || Some(status()).filter(|said| said.contains("Q-N017")));
    assert!(said.contains("make room"), "{said}");
    let turned_away = net.vat(&["call", "counter", "keep", "x", "--timeout", "10", "--json"]);
    assert!(turned_away.code != 0 && turned_away.stdout.contains("Q-N017"), "{}", turned_away.stdout);
    assert!(host.is_running(), "{}", fs::read_to_string(net.path("host.log")).unwrap_or_default());

    assert_eq!(disk.fill(400 << 10), ballast);
    net.wait("the order to stop", || status().contains("Q-N016").then_some(()));
    assert!(host.is_running(), "{}", fs::read_to_string(net.path("host.log")).unwrap_or_default());
    fs::remove_file(&ballast).expect("ours");
    let counted = net.wait("the vat", count);
    assert!(counted >= answered && host.is_running(), "{answered} calls were acknowledged, {counted} were done");
    net.wait("its health", || net.vat(&["status", "--home", text(&home)]).stdout.contains("leader").then_some(()));

    // Started by a supervisor before there is room: it ends, and nothing is lost.
    drop(host);
    disk.fill(0);
    let again = net.vat(&["node", "run", "--home", text(&home)]);
    refused(&again, 5, &["o space left on device"]);
    fs::remove_file(&ballast).expect("ours");
    let _host = Host::start(&net, &home);
    let counted = net.wait("the vat", count);
    assert!(counted >= answered, "{answered} calls were acknowledged, {counted} were done");
}

/// A limit on the size of files is met by the database's log as a full disk is. It is above the base heap, which is a file as well, and
/// below what RocksDB's log grows to.
#[test]
fn a_host_that_may_write_no_further_ends_and_loses_nothing() {
    let net = TestNet::new(stand_in());
    net.file("counter.js", KEEPER);
    let config = net.file("testnet.toml", SOLO);
    net.vat(&["testnet", "init", text(&config)]).ok();
    let home = net.dir().join("hosts/alpha");
    let log = fs::File::create(net.path("host.log")).expect("writable");
    let mut limited = with_files_up_to(24 << 20, &net.command(&["node", "run", "--home", text(&home)]));
    let child = limited.current_dir(net.path("")).stdin(Stdio::null()).stderr(log).spawn();
    let mut host = Host(child.expect("it starts"));
    net.wait("the vat", || {
        assert!(host.is_running(), "{}", fs::read_to_string(net.path("host.log")).unwrap_or_default());
        Some(net.vat(&["call", "counter", "count"])).filter(|ran| ran.code == 0)
    });
    let (answered, code) = call_until_it_ends(&net, &mut host);
    assert_eq!(code, Some(5), "{}", fs::read_to_string(net.path("host.log")).expect("its log"));
    net.vat(&["testnet", "restart", "alpha"]).ok();
    let count: u64 = net.call("counter", "count", &[]).as_u64().expect("a number");
    assert!(count >= answered && answered > 0, "{answered} calls were acknowledged, {count} were done");
}

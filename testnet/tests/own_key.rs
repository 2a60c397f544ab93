//! Hosts that are not what they were: a log that was rolled back, a copy of a home beside the home, a member that was replaced.

mod support;

use quorate_protocol::status::VatStatus;
use quorate_testnet::process::TestNet;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};
use support::{FOUR_HOSTS, counter_net};

fn replica(net: &TestNet, host: &str) -> Option<VatStatus> {
    net.replicas("counter").into_iter().find(|(name, _)| name == host).map(|(_, status)| status)
}

/// The newest write-ahead log of a host's store, and its length.
fn wal(net: &TestNet, host: &str) -> (PathBuf, u64) {
    let data = net.dir().join("hosts").join(host).join("data");
    let files = fs::read_dir(data).expect("a store").flatten().map(|entry| entry.path());
    let newest = files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max();
    let newest = newest.expect("a write-ahead log");
    let length = fs::metadata(&newest).expect("it is there").len();
    (newest, length)
}

#[test]
fn a_host_whose_log_was_cut_says_so_and_comes_back_without_a_vote() {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    let victim = ["beta", "gamma"].into_iter().find(|host| *host != net.leader("counter")).expect("two are no leader");
    let (log, early) = wal(&net, victim);
    let marks = net.dir().join("hosts").join(victim).join("MARKS");
    let early_marks = fs::read(&marks).expect("a host has marks");
    for count in 2..12 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    net.wait("its part", || (replica(&net, victim)?.certified_block > 10).then_some(()));
    net.vat(&["testnet", "kill", victim]).ok();
    let (same, late) = wal(&net, victim);
    assert!(same == log && late > early, "one write-ahead log, which has grown from {early} to {late}");
    fs::File::options().write(true).open(&log).and_then(|file| file.set_len(early)).expect("it can be cut");
    // All of the home, as an older copy that is put back: the host itself knows nothing better.
    fs::write(&marks, early_marks).expect("ours");

    net.vat(&["testnet", "restart", victim]);
    let fault = net.wait("the fault", || replica(&net, victim)?.fault);
    assert!(fault.starts_with("Q-C045"), "{fault}");
    let status = net.vat(&["status", "counter"]);
    assert!(status.code == 1 && status.stdout.contains("Q-C045"), "{}", status.stdout);

    // Started again it fetches what it lacks, and is a member like the others.
    net.vat(&["testnet", "kill", victim]).ok();
    net.vat(&["testnet", "restart", victim]);
    net.wait("its return", || {
        let status = replica(&net, victim)?;
        assert_eq!(status.fault, None);
        (status.standstill.is_none() && status.role == "follower").then_some(())
    });
    let other = ["alpha", "beta", "gamma"].into_iter().find(|host| *host != victim).expect("two others");
    net.vat(&["testnet", "kill", other]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(12));
}

/// Copies a folder with the modes of what is in it, but no sockets.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("ours");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a kind");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

/// Ends a process when the test does.
struct Copy(Child);

impl Drop for Copy {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn of_a_home_and_its_copy_only_one_goes_on() {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    net.vat(&["testnet", "kill", "gamma"]).ok();
    let home = net.dir().join("hosts/gamma");
    let twin = net.path("twin");
    copy(&home, &twin);
    let text = fs::read_to_string(twin.join("host.toml")).expect("a config");
    let moved: Vec<String> = text
        .lines()
        .map(|line| match line.split('=').next().map(str::trim) {
            Some("listen") => "listen = [\"/ip4/127.0.0.1/tcp/0\"]".to_owned(),
            Some("http") => "http = \"127.0.0.1:0\"".to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(twin.join("host.toml"), moved.join("\n")).expect("ours");

    net.vat(&["testnet", "restart", "gamma"]);
    let errors = fs::File::create(net.path("twin.err")).expect("ours");
    let mut second = net.command(&["node", "run", "--home", "twin"]);
    let second = second.stdout(Stdio::null()).stderr(Stdio::from(errors)).spawn().expect("it starts");
    let mut second = Copy(second);
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        if let Some(status) = second.0.try_wait().expect("it is ours") {
            let said = fs::read_to_string(net.path("twin.err")).expect("ours");
            assert!(status.code() == Some(2) && said.contains("Q-R007"), "{said}");
            break;
        }
        let log = fs::read_to_string(net.dir().join("hosts/gamma/logs/host.log")).unwrap_or_default();
        if log.contains("Q-R007") {
            break;
        }
        assert!(Instant::now() < deadline, "both run\n{}", net.last_words());
        std::thread::sleep(Duration::from_millis(200));
    }
    // The vat needs neither.
    assert_eq!(net.call("counter", "increment", &[]), json!(2));
}

#[test]
fn whoever_was_replaced_while_it_was_down_is_refused_when_it_is_added_again() {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    net.vat(&["testnet", "kill", "gamma"]).ok();
    net.vat(&["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    net.vat(&["testnet", "restart", "gamma"]);
    let added = net.vat(&["member", "add", "--vat", "counter", "--in", "gamma"]);
    assert_eq!((added.code, added.stdout.as_str()), (2, ""), "{}", added.stderr);
    assert!(added.stderr.contains("gamma") && added.stderr.contains("was a member of"), "{}", added.stderr);
    let status = replica(&net, "alpha").expect("it runs");
    assert_eq!((status.epoch, status.pending_change), (1, None));
    net.wait("its end", || (replica(&net, "gamma")?.role == "removed").then_some(()));
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
}

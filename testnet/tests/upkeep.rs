//! Looking after hosts: `vat list`, `vat delete`, `vat doctor`, `vat top`.

mod support;

use nix::pty::{Winsize, openpty};
use quorate_testnet::process::{Ran, TestNet};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    num::NonZero,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};
use support::{FOUR_HOSTS, counter_net};

/// A testnet that runs.
fn running(config: &str) -> TestNet {
    let (net, config) = counter_net(config);
    net.up(&config, &[]).ok();
    net
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

/// The replica of a vat on a host, as `vat list` shows it.
fn listed(net: &TestNet, vat: &str, host: &str) -> Option<Value> {
    let list = json(&net.vat(&["list", "--json"]).ok());
    let vats = list["vats"].as_array().expect("vats").iter().filter(|entry| entry["name"] == vat);
    vats.flat_map(|entry| entry["hosts"].as_array().expect("hosts")).find(|replica| replica["host"] == host).cloned()
}

#[test]
fn a_replica_that_was_removed_is_deleted_and_never_comes_back() {
    let net = running(FOUR_HOSTS);
    net.call("counter", "increment", &["5"]);
    let replica = listed(&net, "counter", "gamma").expect("gamma has it");
    assert!(replica["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{replica}");
    assert!(listed(&net, "counter", "delta").is_none());

    // A member is needed.
    let refused = net.vat(&["delete", "counter", "--host", "gamma", "--yes"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in ["Q-N025", "one of its members", "vat member replace", "--force counter"] {
        assert!(refused.stderr.contains(part), "no {part}: {}", refused.stderr);
    }
    // Nobody is asked where nobody can answer, and no other vat is meant.
    assert_eq!(net.vat(&["delete", "counter", "--host", "gamma"]).code, 2);
    assert_eq!(net.vat(&["delete", "counter", "--host", "gamma", "--yes", "--force", "conuter"]).code, 2);
    assert!(net.vat(&["delete", "counter", "--yes"]).stderr.contains("say which by --host"));
    assert_eq!(net.vat(&["delete", "nosuch", "--yes"]).code, 2);

    net.vat(&["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    net.wait("gamma's removal", || {
        listed(&net, "counter", "gamma").filter(|replica| replica["role"] == "removed").map(drop)
    });
    let introduced = net.vat(&["introduce", "counter"]).ok().stdout;
    let vat_file = net.file("counter.vat", &introduced);
    let home = net.dir().join("hosts/gamma");
    let deleted = json(&net.vat(&["delete", "counter", "--host", "gamma", "--yes", "--json"]).ok());
    assert!(deleted["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{deleted}");
    let id = deleted["vat"].as_str().expect("an id").to_owned();
    assert!(listed(&net, "counter", "gamma").is_none());
    for gone in [format!("carried/{id}"), format!("provision/{id}.vat"), "logs/counter.console".to_owned()] {
        assert!(!home.join(&gone).exists(), "{gone} is there");
    }
    assert!(home.join("MARKS").exists(), "what the host has promised stays");
    let disk = json(&net.vat(&["disk", "--home", text(&home), "--json"]).ok());
    assert_eq!(disk["hosts"][0]["vats"].as_array().map(Vec::len), Some(0), "{disk}");

    // Neither by its file, nor after a restart.
    for _ in 0..2 {
        let again = net.vat(&["join", text(&vat_file), "--home", text(&home), "--yes"]);
        assert_eq!(again.code, 2, "{}", again.stderr);
        assert!(again.stderr.contains("Q-N008"), "{}", again.stderr);
        net.vat(&["testnet", "restart", "gamma"]).ok();
        net.wait("gamma", || net.host("gamma").map(drop));
        assert!(listed(&net, "counter", "gamma").is_none());
    }
    assert_eq!(net.call("counter", "increment", &["1"]), 6);
}

#[test]
fn a_member_is_deleted_only_by_the_name_of_the_vat_and_the_others_go_on() {
    let net = running(FOUR_HOSTS);
    net.call("counter", "increment", &["2"]);
    net.vat(&["delete", "counter", "--host", "beta", "--force", "counter", "--yes"]).ok();
    assert_eq!(net.call("counter", "increment", &["3"]), 5);
    let doctor = net.vat(&["doctor", text(&net.dir().join("hosts/alpha"))]);
    assert!(doctor.stdout.contains("counter") || doctor.code == 0, "{}", doctor.stdout);
    net.vat(&["testnet", "restart", "beta"]).ok();
    net.wait("beta", || net.host("beta").map(drop));
    assert!(listed(&net, "counter", "beta").is_none(), "it is not carried again by what lies in the home");
    assert_eq!(net.call("counter", "increment", &["1"]), 6);
}

/// What `vat doctor` finds that is not well, by check and level.
fn findings(net: &TestNet, home: &Path) -> Vec<(String, String, String)> {
    let ran = net.vat(&["doctor", text(home), "--json"]);
    let report = json(&ran);
    assert_eq!(ran.code, i32::from(report["healthy"] == false), "{}", ran.stdout);
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found =
        report["hosts"][0]["findings"].as_array().unwrap_or_else(|| panic!("{}{}", ran.stdout, ran.stderr)).clone();
    for finding in &found {
        let is_bad = finding["level"] == "problem" || finding["level"] == "warning";
        assert_eq!(is_bad, finding["fix"].is_string(), "what is wrong comes with what to do: {finding}");
    }
    found.iter().map(|finding| (of(&finding["check"]), of(&finding["level"]), of(&finding["found"]))).collect()
}

#[track_caller]
fn has(found: &[(String, String, String)], check: &str, level: &str, part: &str) {
    let is_it =
        |finding: &&(String, String, String)| finding.0 == check && finding.1 == level && finding.2.contains(part);
    assert!(found.iter().any(|finding| is_it(&finding)), "no {level} of {check} with {part:?} in {found:#?}");
}

#[test]
fn a_doctor_finds_what_is_wrong_with_a_host_that_runs_and_with_one_that_does_not() {
    let net = running(FOUR_HOSTS);
    net.call("counter", "increment", &["1"]);
    let home = net.dir().join("hosts/alpha");
    let found = findings(&net, &home);
    has(&found, "process", "ok", "answers");
    has(&found, "config", "ok", "no mistakes");
    has(&found, "modes", "ok", "nobody but its owner");
    has(&found, "vats", "ok", "3 of 3 members can be reached");
    has(&found, "members", "ok", "2 other members");
    has(&found, "clocks", "ok", "2 other members");
    has(&found, "sync", "ok", "a sync takes");
    assert!(found.iter().all(|(_, level, _)| level != "problem"), "{found:#?}");

    // A member is gone, and others could read the key.
    net.vat(&["testnet", "kill", "beta"]).ok();
    fs::set_permissions(home.join("host.key"), fs::Permissions::from_mode(0o644)).expect("ours");
    net.wait("the loss of beta", || {
        let found = findings(&net, &home);
        found.iter().any(|(check, level, _)| check == "members" && level == "warning").then_some(())
    });
    let found = findings(&net, &home);
    has(&found, "members", "warning", "beta can't be reached");
    has(&found, "vats", "warning", "2 of 3 members reachable");
    has(&found, "modes", "problem", "host.key (mode 0644)");

    // It does not run.
    net.vat(&["testnet", "kill", "alpha"]).ok();
    fs::set_permissions(home.join("host.key"), fs::Permissions::from_mode(0o600)).expect("ours");
    let found = findings(&net, &home);
    has(&found, "process", "skipped", "nothing runs on this home");
    has(&found, "members", "ok", "gamma takes connections");
    has(&found, "members", "warning", "beta takes no connections");
    has(&found, "ports", "ok", "is free");
    let config = fs::read_to_string(home.join("host.toml")).expect("a config");
    let address = config
        .lines()
        .find_map(|line| line.strip_prefix("http = \"")?.strip_suffix('"'))
        .expect("an address")
        .to_owned();
    let taken = std::net::TcpListener::bind(&address).expect("it is free");
    has(&findings(&net, &home), "ports", "problem", "can't be had");
    drop(taken);
    fs::write(home.join("host.toml"), config.replace("http = ", "htpp = ")).expect("writable");
    let found = findings(&net, &home);
    has(&found, "config", "problem", "did you mean `http`");
    fs::write(home.join("host.toml"), &config).expect("writable");
    fs::write(home.join("data/DAMAGED"), "log\t000012.sst\tbad block\n").expect("writable");
    has(&findings(&net, &home), "tables", "problem", "000012.sst");
    fs::rename(home.join("data"), home.join("data.whole")).expect("ours");
    let found = findings(&net, &home);
    has(&found, "data", "problem", "Q-R004");
    has(&found, "repair", "problem", "was interrupted");

    let missing = net.vat(&["doctor", text(&net.path("nosuch"))]);
    assert_eq!(missing.code, 2, "{}{}", missing.stdout, missing.stderr);
    assert!(missing.stderr.contains("vat node init"), "{}", missing.stderr);
}

/// A program on a terminal of its own, whose screen can be read.
struct Terminal {
    child: Child,
    keys: fs::File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(net: &TestNet, args: &[&str]) -> Terminal {
        let (rows, columns) = (30, 130);
        let winsize = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&winsize, None).expect("a pseudo-terminal");
        let other = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let mut command = net.command(args);
        command.stdin(other()).stdout(other()).stderr(other()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = command.spawn().expect("it starts");
        drop(pair.slave);
        let mut drawn = fs::File::from(pair.master.try_clone().expect("a descriptor"));
        let size = |letters| NonZero::new(letters).expect("a screen has letters");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let seen = screen.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Reading fails when nobody has the other end any more.
            while let Ok(length @ 1..) = drawn.read(&mut bytes) {
                seen.lock().expect("nobody panics with it").process(&bytes[..length]);
            }
        });
        Terminal { child, keys: fs::File::from(pair.master), screen }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    fn text(&self) -> String {
        self.screen.lock().expect("nobody panics with it").screen().contents()
    }

    #[track_caller]
    fn shows(&self, net: &TestNet, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = (0..1_200).find_map(|_| {
            last = self.text();
            if is_it(&last) {
                return Some(last.clone());
            }
            thread::sleep(std::time::Duration::from_millis(100));
            None
        });
        found.unwrap_or_else(|| panic!("no {what} on the screen:\n{last}\n{}", net.last_words()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn top_shows_hosts_and_vats_on_a_terminal_and_obeys_keys() {
    let config = format!("{FOUR_HOSTS}\n[[vat]]\nname = \"other\"\nhosts = [\"delta\"]\nsource = \"counter.js\"\n");
    let net = running(&config);
    net.call("counter", "increment", &["1"]);
    let without = net.vat(&["top"]);
    assert_eq!(without.code, 2, "{}{}", without.stdout, without.stderr);
    assert!(
        without.stderr.contains("needs a terminal") && without.stderr.contains("vat status --watch"),
        "{}",
        without.stderr
    );

    let mut top = Terminal::start(&net, &["top"]);
    let row = |screen: &str, vat: &str, host: &str| {
        screen
            .lines()
            .find(|line| line.starts_with(vat) && line.split_whitespace().nth(1) == Some(host))
            .map(str::to_owned)
    };
    let screen =
        top.shows(&net, "replicas", |screen| row(screen, "other", "delta").is_some_and(|row| row.contains("leader")));
    assert!(screen.starts_with("4 of 4 hosts are up"), "{screen}");
    assert!(screen.contains("VAT v") && screen.contains("MARGIN") && screen.contains("q quit"), "{screen}");
    for host in ["alpha", "beta", "gamma"] {
        assert!(row(&screen, "counter", host).is_some(), "{screen}");
    }
    // The margin of the counter: three of three, of whom two sign.
    let figures: Vec<String> =
        row(&screen, "counter", "alpha").expect("a row").split_whitespace().map(str::to_owned).collect();
    assert_eq!(figures[figures.len() - 2], "1", "{figures:?}");
    top.press("/oth\r");
    top.shows(&net, "the filter", |screen| screen.contains("[oth]") && row(screen, "counter", "alpha").is_none());
    top.press("/\x1b");
    // Escape and a letter at once would be one key.
    top.shows(&net, "all again", |screen| screen.contains("/ filter ") && row(screen, "counter", "alpha").is_some());
    top.press("s");
    top.shows(&net, "the other order", |screen| screen.contains("HOST v") && row(screen, "counter", "alpha").is_some());
    top.press("r");
    top.shows(&net, "the order reversed", |screen| screen.contains("HOST ^"));
    net.vat(&["testnet", "kill", "gamma"]).ok();
    top.shows(&net, "the loss of gamma", |screen| {
        screen.starts_with("3 of 4 hosts are up")
            && screen.contains("! counter:")
            && screen.contains("gamma does not run")
    });
    top.press("q");
    let code = net.wait("the command's end", || top.child.try_wait().expect("it is ours")).code();
    assert_eq!(code, Some(0));
    // The terminal's own screen is back.
    top.shows(&net, "own screen", |screen| !screen.contains("q quit"));
}

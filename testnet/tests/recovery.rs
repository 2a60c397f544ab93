//! Members that come back after a fault, under the key that they had: with a damaged table, a log that was rolled back, a state that
//! contradicts what they signed. The others never stop, and nothing that was acknowledged is lost when another one fails after that.

mod support;

use quorate_protocol::status::VatStatus;
use quorate_testnet::process::{Ran, TestNet};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use support::{FOUR_HOSTS, SmallDisk, THREE_MEMBERS, counter_net, falsify_guard, metric};

/// Beside a counter on three hosts, one that lives on one of them alone.
const SOLO_BESIDE: &str = r#"
[[vat]]
name = "alone"
hosts = ["alpha"]
source = "counter.js"
"#;

fn replica(net: &TestNet, host: &str) -> Option<VatStatus> {
    net.replicas("counter").into_iter().find(|(name, _)| name == host).map(|(_, status)| status)
}

fn home(net: &TestNet, host: &str) -> PathBuf {
    net.dir().join("hosts").join(host)
}

/// A member of the vat that does not lead it.
fn follower(net: &TestNet) -> &'static str {
    ["beta", "gamma", "alpha"].into_iter().find(|host| *host != net.leader("counter")).expect("two follow")
}

fn increment(net: &TestNet, counts: std::ops::Range<u64>) {
    for count in counts {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
}

/// The files of a host's database whose names end so, the largest last.
fn files(net: &TestNet, host: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(home(net, host).join("data")).expect("a store").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == suffix)).collect();
    files.sort_by_key(|path| fs::metadata(path).expect("it is there").len());
    files
}

fn flip_all(path: &Path) {
    let bytes = fs::read(path).expect("readable");
    fs::write(path, bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>()).expect("ours");
}

fn answer(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr))
}

/// Waits until a host is a member like the others, under the key that it had.
#[track_caller]
fn comes_back(net: &TestNet, host: &str, key: &str) {
    net.wait("its return", || {
        let status = replica(net, host)?;
        assert_eq!(status.fault, None);
        (status.standstill.is_none() && matches!(status.role.as_str(), "follower" | "leader")).then_some(())
    });
    let status = replica(net, host).expect("it runs");
    assert_eq!(status.epoch, 0, "no change of members was needed");
    assert!(status.members.iter().any(|member| member.name == host && member.key == key));
}

/// One of the others dies: what was acknowledged is still there, and goes on.
fn survives_one_more(net: &TestNet, back: &str, count: u64) {
    let other = ["alpha", "beta", "gamma"].into_iter().find(|host| *host != back).expect("two others");
    net.vat(&["testnet", "kill", other]).ok();
    assert_eq!(net.call("counter", "read", &[]), json!(count));
    increment(net, count + 1..count + 3);
}

/// A counter on three hosts that has counted so far, and a member of it that does not lead, with its key.
fn begun(count: u64) -> (TestNet, &'static str, String) {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    increment(&net, 1..count + 1);
    let victim = follower(&net);
    let key = key_of(&net, victim);
    (net, victim, key)
}

fn key_of(net: &TestNet, host: &str) -> String {
    net.host(host).expect("it runs").key
}

#[test]
fn a_member_with_a_damaged_table_is_repaired_under_its_own_key() {
    let (net, victim, key) = begun(10);
    net.wait("its part", || (replica(&net, victim)?.certified_block > 10).then_some(()));
    // What is in the log comes into tables with the next start.
    net.vat(&["testnet", "kill", victim]).ok();
    net.vat(&["testnet", "restart", victim]).ok();
    let refused = net.vat(&["member", "repair", "counter", "--host", victim, "--json"]);
    assert!(refused.code == 2 && refused.stdout.contains("Q-N013"), "{}", refused.stdout);
    net.vat(&["testnet", "kill", victim]).ok();
    let sound = net.vat(&["member", "repair", "--host", victim, "--json"]).ok();
    assert_eq!((&answer(&sound)["sound"], &answer(&sound)["kept"]), (&json!(true), &Value::Null));
    let tables = files(&net, victim, "sst");
    assert!(!tables.is_empty());
    tables.iter().for_each(|table| flip_all(table));
    let run = net.vat(&["node", "run", "--home", home(&net, victim).to_str().expect("text")]);
    assert!(
        run.code == 6 && run.stderr.contains("Q-C002") && run.stderr.contains("vat member repair"),
        "{}",
        run.stderr
    );
    increment(&net, 11..14);

    let repaired = net.vat(&["member", "repair", "--host", victim, "--json"]).ok();
    let repaired = answer(&repaired);
    assert_eq!((&repaired["sound"], &repaired["vats"][0]["outcome"]), (&json!(false), &json!("anew")), "{repaired}");
    assert_eq!(repaired["vats"][0]["name"], json!("counter"));
    assert!(repaired["vats"][0]["signs_after"].as_u64().is_some_and(|block| block > 10), "{repaired}");
    assert!(repaired["kept"].as_str().is_some_and(|kept| Path::new(kept).is_dir() || net.path(kept).is_dir()));
    net.vat(&["testnet", "restart", victim]).ok();
    increment(&net, 14..17);
    comes_back(&net, victim, &key);
    survives_one_more(&net, victim, 16);
}

#[test]
fn a_member_whose_data_are_gone_is_repaired_as_long_as_its_marks_are_there() {
    let (net, victim, key) = begun(4);
    net.vat(&["testnet", "kill", victim]).ok();
    let home = home(&net, victim);
    fs::remove_dir_all(home.join("data")).expect("it is there");
    let run = net.vat(&["node", "run", "--home", home.to_str().expect("text")]);
    assert!(
        run.code == 6 && run.stderr.contains("Q-R004") && run.stderr.contains("vat member repair"),
        "{}",
        run.stderr
    );
    // Without its marks as well nobody knows what it has signed: that home has to go.
    let marks = fs::read(home.join("MARKS")).expect("they are there");
    fs::rename(home.join("MARKS"), home.join("aside")).expect("ours");
    let forgotten = net.vat(&["member", "repair", "--host", victim, "--json"]);
    let words = answer(&forgotten);
    assert_eq!((forgotten.code, &words["vats"][0]["outcome"]), (1, &json!("forgotten")), "{words}");
    net.vat(&["testnet", "restart", victim]);
    let fault = net.wait("the fault", || replica(&net, victim)?.fault);
    assert!(fault.starts_with("Q-C047") && fault.contains("vat member replace"), "{fault}");
    net.vat(&["testnet", "kill", victim]).ok();

    fs::rename(home.join("aside"), home.join("MARKS")).expect("ours");
    assert_eq!(fs::read(home.join("MARKS")).expect("they are there"), marks);
    let repaired = net.vat(&["member", "repair", "counter", "--host", victim, "--json"]).ok();
    assert_eq!(answer(&repaired)["vats"][0]["outcome"], json!("anew"), "{}", repaired.stdout);
    net.vat(&["testnet", "restart", victim]).ok();
    increment(&net, 5..8);
    comes_back(&net, victim, &key);
    survives_one_more(&net, victim, 7);
}

#[test]
fn a_member_whose_log_was_cut_notices_it_and_comes_back_without_a_vote() {
    let (net, victim, key) = begun(1);
    let log = files(&net, victim, "log").pop().expect("a write-ahead log");
    let early = fs::metadata(&log).expect("it is there").len();
    increment(&net, 2..12);
    net.wait("its part", || (replica(&net, victim)?.certified_block > 10).then_some(()));
    net.vat(&["testnet", "kill", victim]).ok();
    fs::File::options().write(true).open(&log).and_then(|file| file.set_len(early)).expect("it can be cut");
    // The leader is gone as well: this one must not vote for a log that lacks what it has acknowledged.
    let leader = net.leader("counter");
    net.vat(&["testnet", "kill", &leader]).ok();
    net.vat(&["testnet", "restart", victim]);
    let standstill = net.wait("what it says", || replica(&net, victim)?.standstill);
    assert!(standstill.contains("rolled back"), "{standstill}");
    net.vat(&["testnet", "restart", &leader]).ok();
    comes_back(&net, victim, &key);
    let other = ["alpha", "beta", "gamma"].into_iter().find(|host| *host != victim).expect("two others");
    net.vat(&["testnet", "kill", other]).ok();
    increment(&net, 12..14);
}

#[test]
fn a_fault_stays_until_somebody_acts_and_a_repair_ends_it() {
    let (net, victim, key) = begun(5);
    net.wait("its part", || (replica(&net, victim)?.certified_block > 3).then_some(()));
    net.vat(&["testnet", "kill", victim]).ok();
    falsify_guard(&net, victim);
    net.vat(&["testnet", "restart", victim]).ok();
    let fault = net.wait("the fault", || replica(&net, victim)?.fault);
    assert!(fault.starts_with("Q-C041"), "{fault}");
    // As if nothing had been wrong: what was found is not forgotten.
    net.vat(&["testnet", "kill", victim]).ok();
    falsify_guard(&net, victim);
    net.vat(&["testnet", "restart", victim]).ok();
    assert_eq!(net.wait("the fault", || replica(&net, victim)?.fault), fault);
    let status = net.vat(&["status", "counter"]);
    assert!(status.code == 1 && status.stdout.contains("vat member repair"), "{}", status.stdout);

    let repaired = net.vat(&["member", "repair", "counter", "--json"]).ok();
    assert_eq!(answer(&repaired)["outcome"], json!("anew"), "{}", repaired.stdout);
    increment(&net, 6..9);
    comes_back(&net, victim, &key);
    survives_one_more(&net, victim, 8);
}

#[test]
fn a_member_that_is_muted_is_not_heard_by_that_host_and_the_vat_goes_on() {
    let (net, host, _) = begun(2);
    let leader = net.leader("counter");
    let loud = ["alpha", "beta", "gamma"].into_iter().find(|other| *other != host && *other != leader);
    let loud = loud.expect("three members");
    let key = key_of(&net, loud);
    let wrong = net.vat(&["member", "mute", "nobody", "--vat", "counter", "--host", host]);
    assert!(wrong.code == 2 && wrong.stderr.contains("its members are"), "{}", wrong.stderr);
    assert_eq!(net.vat(&["member", "mute", loud, "--vat", "counter"]).code, 2, "whose matter it is has to be said");
    assert_eq!(net.vat(&["member", "mute", host, "--vat", "counter", "--host", host]).code, 2, "not itself");

    let refused = || metric(&net.metrics(host), "quorate_net_rejected_total", &["reason=\"forbidden\""]);
    let before = refused();
    let muted = net.vat(&["member", "mute", loud, "--vat", "counter", "--host", host, "--json"]).ok();
    assert!(
        answer(&muted)["message"].as_str().is_some_and(|said| said.contains("does not listen")),
        "{}",
        muted.stdout
    );
    increment(&net, 3..8);
    net.wait("frames that are refused", || (refused() > before).then_some(()));
    let status = net.vat(&["status", "counter"]);
    assert!(status.stdout.contains(&format!("{host} does not listen to {key}")), "{}", status.stdout);
    net.vat(&["testnet", "restart", host]).ok();
    assert_eq!(net.host(host).expect("it runs").muted, [key]);
    net.vat(&["member", "mute", loud, "--vat", "counter", "--host", host, "--off"]).ok();
    assert!(net.host(host).expect("it runs").muted.is_empty());
    increment(&net, 8..10);
}

/// The victim's database is moved to a small disk of its own; the others have room.
#[test]
fn a_member_whose_disk_is_full_stops_in_order_and_comes_back_and_the_others_never_stop() {
    let (net, victim, key) = begun(5);
    net.vat(&["testnet", "kill", victim]).ok();
    let (data, aside) = (home(&net, victim).join("data"), net.path("aside"));
    fs::rename(&data, &aside).expect("ours");
    // Where this process may not mount, a limit on files shows what it can: see `operators`.
    let Some(disk) = SmallDisk::mount(&data, 48) else { return };
    for file in fs::read_dir(&aside).expect("readable").flatten() {
        fs::copy(file.path(), data.join(file.file_name())).expect("there is room");
    }
    net.vat(&["testnet", "restart", victim]).ok();
    comes_back(&net, victim, &key);
    let failed = || net.host(victim).expect("it runs").failed_vats.get("counter").cloned();
    disk.fill(500 << 10);
    let why = net.wait("the order to stop", failed);
    assert!(why.starts_with("Q-N016") && why.contains("make room"), "{why}");
    increment(&net, 6..9);
    // It dies on its full disk, and does not run before there is room.
    net.vat(&["testnet", "kill", victim]).ok();
    disk.fill(0);
    let run = net.vat(&["node", "run", "--home", home(&net, victim).to_str().expect("text")]);
    assert!(run.code == 5 && run.stderr.contains("make room"), "{} {}", run.code, run.stderr);
    increment(&net, 9..11);
    fs::remove_file(data.join("ballast")).expect("ours");
    net.vat(&["testnet", "restart", victim]).ok();
    comes_back(&net, victim, &key);
    net.wait("the rest", || {
        (replica(&net, victim)?.certified_block >= replica(&net, &net.leader("counter"))?.certified_block).then_some(())
    });
    survives_one_more(&net, victim, 10);
}

#[test]
fn a_repair_that_is_killed_again_and_again_is_done_again() {
    let (net, victim, key) = begun(8);
    net.wait("its part", || (replica(&net, victim)?.certified_block > 8).then_some(()));
    net.vat(&["testnet", "kill", victim]).ok();
    // What is in the log comes into tables with the next start.
    net.vat(&["testnet", "restart", victim]).ok();
    net.vat(&["testnet", "kill", victim]).ok();
    let tables = files(&net, victim, "sst");
    assert!(!tables.is_empty());
    tables.iter().for_each(|table| flip_all(table));
    for pause in [2, 5, 10, 20, 30, 40, 60, 90] {
        let mut repair = net.command(&["member", "repair", "--host", victim]);
        let mut child = repair.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().and_then(|()| child.wait()).expect("ours");
    }
    increment(&net, 9..11);
    net.vat(&["member", "repair", "--host", victim, "--json"]).ok();
    net.vat(&["testnet", "restart", victim]).ok();
    increment(&net, 11..13);
    comes_back(&net, victim, &key);
    survives_one_more(&net, victim, 12);
}

/// A vat without other members has nobody to fetch its state from: what a repair has saved of it must not be lost with the repair.
#[test]
fn a_repair_that_dies_between_its_last_steps_is_finished_by_the_next_one() {
    let (net, config) = counter_net(&format!("{THREE_MEMBERS}{SOLO_BESIDE}"));
    net.up(&config, &[]).ok();
    for count in 1..6 {
        assert_eq!(net.call("alone", "increment", &[]), json!(count));
    }
    net.vat(&["testnet", "kill", "alpha"]).ok();
    // One vat begins anew, and the other one is taken over as it is.
    let repaired = answer(&net.vat(&["member", "repair", "counter", "--host", "alpha", "--json"]).ok());
    let outcomes: Vec<&Value> = repaired["vats"].as_array().expect("vats").iter().map(|vat| &vat["outcome"]).collect();
    assert!(outcomes.contains(&&json!("anew")) && outcomes.contains(&&json!("whole")), "{repaired}");
    // As if it had died before the new database was in the place of the old one.
    let home = home(&net, "alpha");
    fs::rename(home.join("data"), home.join("data.whole")).expect("ours");
    let run = net.vat(&["node", "run", "--home", home.to_str().expect("text")]);
    assert!(
        run.code == 6 && run.stderr.contains("Q-R004") && run.stderr.contains("vat member repair"),
        "{} {}",
        run.code,
        run.stderr
    );
    net.vat(&["member", "repair", "--host", "alpha", "--json"]).ok();
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert_eq!(net.call("alone", "increment", &[]), json!(6));
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
}

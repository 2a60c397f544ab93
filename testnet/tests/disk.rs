//! What a host does before its disk is full, by the limits that its owner sets; and damage on a disk that is found before it is needed.

mod support;

use quorate_protocol::status::VatStatus;
use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use support::{THREE_MEMBERS, counter_net, metric};

const KEEPER: &str = "
import { Far } from '@endo/far';
export default () => {
  let n = 0;
  return Far('keeper', { keep(text) { n += 1; return n; }, count() { return n; } });
};
";

/// Two vats on three hosts, of which the first one has limits of its own.
fn config(limits: &str) -> String {
    format!(
        "[[host]]\nname = \"alpha\"\n{limits}\n[[host]]\nname = \"beta\"\n[[host]]\nname = \"gamma\"\n
[[vat]]\nname = \"large\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\nsource = \"keeper.js\"\n
[[vat]]\nname = \"small\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\nsource = \"keeper.js\"\n"
    )
}

fn begun(limits: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("keeper.js", KEEPER);
    let config = net.file("testnet.toml", &config(limits));
    net.up(&config, &[]).ok();
    net
}

fn replica(net: &TestNet, vat: &str, host: &str) -> VatStatus {
    let found = net.replicas(vat).into_iter().find(|(name, _)| name == host).map(|(_, status)| status);
    found.unwrap_or_else(|| panic!("{host} runs {vat}"))
}

/// What `vat disk` says of a host, and its exit code.
fn disk(net: &TestNet, host: &str, more: &[&str]) -> (i32, Value) {
    let home = net.dir().join("hosts").join(host);
    let args = [&["disk", "--json", "--home", home.to_str().expect("text")], more].concat();
    let ran = net.vat(&args);
    let said: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr));
    (ran.code, said)
}

fn of_vat<'a>(said: &'a Value, vat: &str) -> &'a Value {
    let vats = said["hosts"][0]["vats"].as_array().expect("vats");
    vats.iter().find(|found| found["name"] == json!(vat)).unwrap_or_else(|| panic!("no {vat} in {said}"))
}

/// Keeps a large text that does not compress well.
fn keep(net: &TestNet, vat: &str) -> u64 {
    let mut number = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64) | 1;
    let mut letter = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEF"[(number >> 40) as usize % 32])
    };
    let text: String = (0..100_000).map(|_| letter()).collect();
    net.call(vat, "keep", &[&text]).as_u64().expect("a number")
}

/// The host takes no new work for the larger vat: the vat goes on by its other members, which also lead it; the host stores what they
/// order; and the other vat does not notice.
fn check_limited(net: &TestNet, code: &str) {
    let said = net.wait("the limit", || {
        let (exit, said) = disk(net, "alpha", &[]);
        let why = of_vat(&said, "large")["limited"].as_str()?.to_owned();
        assert_eq!((exit, said["healthy"].as_bool()), (1, Some(false)));
        Some(why)
    });
    assert!(said.starts_with(code), "{said}");
    let before = keep(net, "large");
    net.wait("another leader", || (net.leader("large") != "alpha").then_some(()));
    assert_eq!(keep(net, "large"), before + 1);
    let certified = replica(net, "large", &net.leader("large")).certified_block;
    net.wait("alpha's part", || (replica(net, "large", "alpha").certified_block >= certified).then_some(()));
    assert_eq!(replica(net, "large", "alpha").fault, None);
    // Its vote still counts: with it, one more may fail.
    let third = ["beta", "gamma"].into_iter().find(|host| *host != net.leader("large")).expect("two others");
    net.vat(&["testnet", "kill", third]).ok();
    assert_eq!(keep(net, "large"), before + 2);
    net.vat(&["testnet", "restart", third]).ok();
    let small = keep(net, "small");
    assert!(of_vat(&disk(net, "alpha", &[]).1, "small")["limited"].is_null());
    assert_eq!(keep(net, "small"), small + 1);
    let status = net.vat(&["status", "large"]);
    assert!(status.code == 1 && status.stdout.contains(code), "{}", status.stdout);
    assert_eq!(metric(&net.metrics("alpha"), "quorate_intake_limited", &["vat=\"large\""]), 1.0);
    assert_eq!(metric(&net.metrics("alpha"), "quorate_intake_limited", &["vat=\"small\""]), 0.0);
}

/// Sets other limits in a host's file, and starts it again.
fn set(net: &TestNet, host: &str, change: impl Fn(&str) -> String) {
    let file = net.dir().join("hosts").join(host).join("host.toml");
    net.vat(&["testnet", "kill", host]).ok();
    fs::write(&file, change(&fs::read_to_string(&file).expect("it is there"))).expect("ours");
    net.vat(&["testnet", "restart", host]).ok();
}

#[test]
fn a_vat_at_its_quota_takes_no_new_work_at_that_host_and_goes_on_by_others() {
    let net = begun("disk_vat_quota = \"6 MiB\"");
    keep(&net, "small");
    let (code, said) = disk(&net, "alpha", &[]);
    assert_eq!(code, 0, "{said}");
    let quota = 6 << 20;
    assert_eq!(said["hosts"][0]["vat_quota_bytes"], json!(quota));
    for vat in ["large", "small"] {
        let parts = ["log_bytes", "checkpoint_bytes", "certificate_bytes", "evidence_bytes"];
        let sum: u64 = parts.iter().map(|part| of_vat(&said, vat)[part].as_u64().expect("bytes")).sum();
        assert_eq!(of_vat(&said, vat)["total_bytes"], json!(sum));
    }
    let is_limited = || of_vat(&disk(&net, "alpha", &[]).1, "large")["limited"].is_string();
    let kept = (0..200).take_while(|_| !is_limited()).map(|_| keep(&net, "large")).last().expect("some are taken");
    assert!(kept > 1 && is_limited(), "{kept}: {:?}", disk(&net, "alpha", &[]));
    let bytes = of_vat(&disk(&net, "alpha", &[]).1, "large")["total_bytes"].as_u64();
    assert!(bytes.is_some_and(|bytes| bytes > quota - quota / 8), "{bytes:?}");
    check_limited(&net, "Q-N024");
    set(&net, "alpha", |text| text.replace("6 MiB", "4 GiB"));
    net.wait("new work", || (!is_limited()).then_some(()));
    keep(&net, "large");
}

/// All that a disk has is less than this limit.
#[test]
fn below_the_soft_limit_the_largest_vat_takes_no_new_work_at_that_host_and_goes_on_by_others() {
    let net = begun("");
    assert!((0..12).fold(0, |_, _| keep(&net, "large")) == 12 && keep(&net, "small") == 1);
    assert_eq!(disk(&net, "alpha", &[]).0, 0);
    set(&net, "alpha", |text| format!("{text}disk_soft_limit = \"900 TiB\"\ndisk_hard_limit = \"1 MiB\"\n"));
    check_limited(&net, "Q-N017");
    let (_, said) = disk(&net, "alpha", &[]);
    assert_eq!(said["hosts"][0]["soft_limit_bytes"], json!(900u64 << 40));
    assert!(said["remarks"].to_string().contains("below its soft limit"), "{said}");
    // A host that has no room at all stops its replicas, one after the other, and goes on.
    set(&net, "alpha", |text| text.replace("\"1 MiB\"", "\"800 TiB\""));
    net.wait("the order to stop", || {
        let failed = net.host("alpha")?.failed_vats;
        (failed.len() == 2 && failed.values().all(|why| why.starts_with("Q-N016"))).then_some(())
    });
    assert!(of_vat(&disk(&net, "alpha", &[]).1, "small")["limited"].to_string().contains("Q-N016"));
    assert_eq!(keep(&net, "small") + 1, keep(&net, "small"));
    set(&net, "alpha", |text| text.replace("900 TiB", "2 MiB").replace("800 TiB", "1 MiB"));
    net.wait("its return", || net.host("alpha")?.failed_vats.is_empty().then_some(()));
    assert_eq!(net.call("large", "count", &[]), json!(12 + 3));
}

/// Flips a bit in the middle of a file, in place: the host that has it open finds it there.
fn flip(path: &Path) {
    let place = fs::metadata(path).expect("it is there").len() / 2;
    let file = fs::File::options().read(true).write(true).open(path).expect("ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("readable");
    file.write_all_at(&[byte[0] ^ 1], place).expect("writable");
}

/// The largest table of a host's database with records of a family. RocksDB notes the family's name in a block of its own, behind the word
/// `name`, as it writes each key after the one before.
fn table(net: &TestNet, host: &str, family: &str) -> PathBuf {
    let data = net.dir().join("hosts").join(host).join("data");
    let entries = fs::read_dir(data).expect("a store").flatten().map(|entry| entry.path());
    let note = format!("name{family}").into_bytes();
    let is_of = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "sst")
            && fs::read(path).is_ok_and(|bytes| bytes.windows(note.len()).any(|part| part == note))
    };
    let largest = entries.filter(is_of).max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    largest.unwrap_or_else(|| panic!("{host} has no table of {family}"))
}

/// A counter with a checkpoint and a log in tables of a member that does not lead, and has read all of it.
fn at_rest() -> (TestNet, &'static str) {
    let (net, config) = counter_net(&format!("{THREE_MEMBERS}\n[vat.limits]\ncheckpoint_deliveries = 3\n"));
    net.up(&config, &[]).ok();
    (1..8).for_each(|count| assert_eq!(net.call("counter", "increment", &[]), json!(count)));
    net.wait("a checkpoint", || {
        net.replicas("counter").iter().all(|(_, status)| status.certified_checkpoint_block > 0).then_some(())
    });
    let leader = net.leader("counter");
    let victim = ["beta", "gamma", "alpha"].into_iter().find(|host| *host != leader).expect("two follow");
    net.wait("its part", || (replica(&net, "counter", victim).certified_block > 7).then_some(()));
    let (code, said) = disk(&net, victim, &["--scrub"]);
    assert_eq!((code, &said["hosts"][0]["damage"]), (0, &json!([])), "{said}");
    let scrub = &said["hosts"][0]["scrub"];
    assert!(scrub["passes"] == json!(1) && scrub["read_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000), "{said}");
    assert!(metric(&net.metrics(victim), "quorate_scrub_read_bytes_total", &[]) > 1_000.0);
    (net, victim)
}

#[test]
fn a_damaged_chunk_is_found_before_it_is_needed_and_comes_again_from_other_members() {
    let (net, victim) = at_rest();
    flip(&table(&net, victim, "chunk"));
    let (code, said) = disk(&net, victim, &["--scrub"]);
    let scrub = &said["hosts"][0]["scrub"];
    assert_eq!((&scrub["tables"], &scrub["lost"]), (&json!(1), &json!(0)), "{said}");
    assert!(scrub["fetched"].as_u64().is_some_and(|fetched| fetched > 0), "{said}");
    // The table is of the highest level: it is out of use, and stays until a repair.
    let damage = said["hosts"][0]["damage"].to_string();
    assert!(code == 1 && damage.contains("Q-C049") && damage.contains("(chunk)"), "{said}");
    assert!(damage.contains("vat member repair"), "{said}");
    let status = net.vat(&["status", "counter"]);
    assert!(status.code == 1 && status.stdout.contains("Q-C049"), "{}", status.stdout);
    assert!(metric(&net.metrics(victim), "quorate_disk_damage", &[]) > 0.0);
    assert_eq!(replica(&net, "counter", victim).fault, None);
    // It starts with what it has fetched, and says the same.
    net.vat(&["testnet", "kill", victim]).ok();
    net.vat(&["testnet", "restart", victim]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(8));
    net.wait("its part", || (replica(&net, "counter", victim).certified_block > 8).then_some(()));
    assert_eq!(replica(&net, "counter", victim).fault, None);
    assert_eq!(disk(&net, victim, &[]).0, 1);
    net.vat(&["testnet", "kill", victim]).ok();
    let repaired = net.vat(&["member", "repair", "--host", victim, "--json"]).ok();
    let repaired: Value = serde_json::from_str(&repaired.stdout).expect("JSON");
    assert_eq!((&repaired["sound"], &repaired["vats"][0]["outcome"]), (&json!(false), &json!("whole")), "{repaired}");
    net.vat(&["testnet", "restart", victim]).ok();
    assert_eq!(disk(&net, victim, &["--scrub"]).0, 0);
    assert_eq!(net.call("counter", "increment", &[]), json!(9));
}

#[test]
fn damage_to_what_a_member_has_promised_stops_it_until_it_is_repaired_and_its_host_goes_on() {
    let (net, victim) = at_rest();
    flip(&table(&net, victim, "log"));
    let (code, said) = disk(&net, victim, &["--scrub"]);
    assert_eq!((code, &said["hosts"][0]["scrub"]["tables"]), (1, &json!(1)), "{said}");
    let fault = net.wait("the fault", || replica(&net, "counter", victim).fault);
    assert!(fault.starts_with("Q-C049") && fault.contains("vat member repair"), "{fault}");
    assert_eq!(net.call("counter", "increment", &[]), json!(8));
    let comes_back = |block: u64| {
        net.wait("its return", || {
            let status = replica(&net, "counter", victim);
            (status.standstill.is_none() && status.certified_block > block && status.fault.is_none()).then_some(())
        });
    };
    net.vat(&["testnet", "kill", victim]).ok();
    net.vat(&["member", "repair", "--host", victim, "--json"]).ok();
    net.vat(&["testnet", "restart", victim]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(9));
    comes_back(8);
    assert_eq!(disk(&net, victim, &["--scrub"]).0, 0);
}

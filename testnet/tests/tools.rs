//! The tools of authors that need hosts: replaying a stored log, following a call, testnets that are made anew; and the tests of the examples.

mod support;

use quorate_consensus::{Family, RocksStore, Store, Write};
use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use support::{FOUR_HOSTS, with_counter};

/// A testnet of four hosts that runs, with a counter on three of them.
fn counter_net() -> TestNet {
    let (net, config) = support::counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    net
}

/// Waits until each member has executed so many deliveries.
fn wait_deliveries(net: &TestNet, count: u64) {
    net.wait("deliveries", || {
        let replicas = net.replicas("counter");
        (replicas.len() == 3 && replicas.iter().all(|(_, vat)| vat.deliveries >= count)).then_some(())
    });
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Every file below a folder, with what it holds.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.insert(path.clone(), fs::read(&path).expect("readable"));
        }
    }
    found
}

#[test]
fn the_examples_pass_their_own_tests() {
    let net = TestNet::new(stand_in());
    for example in ["counter", "exchange"] {
        let folder = own_file(&format!("examples/{example}"));
        let ran = net.vat(&["test", folder.to_str().expect("a path that is text")]).ok();
        assert!(ran.stdout.contains(" passed"), "{}", ran.stdout);
    }
}

#[test]
fn a_stored_log_is_executed_again_to_what_was_certified() {
    let net = counter_net();
    for by in 1..=5 {
        net.call("counter", "increment", &[&by.to_string()]);
    }
    net.vat(&["call", "counter", "increment", "x"]);
    let home = "net/hosts/alpha";
    let running = net.vat(&["replay", home, "counter"]);
    assert_eq!(running.code, 2, "{}", running.stderr);
    assert!(running.stderr.contains("stop it first"), "{}", running.stderr);
    wait_deliveries(&net, 7);
    net.vat(&["testnet", "down"]).ok();

    let before = files(&net.path(home));
    let ran = net.vat(&["replay", home, "counter"]).ok();
    assert_eq!(net.vat(&["replay", home, "counter"]).ok().stdout, ran.stdout, "it is the same each time");
    assert!(files(&net.path(home)) == before, "the home is as it was");
    for by in 1..=5 {
        let place = ran.stdout.find(&format!("  root.increment({by}) from ")).expect("the call");
        let rest = &ran.stdout[place..];
        let answer = rest.lines().nth(1).expect("what it came to");
        assert_eq!(answer, format!("    answers {}", (1..=by).sum::<u32>()), "{rest}");
    }
    assert!(ran.stdout.contains("    rejects: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("certified by "), "{}", ran.stdout);
    let last = ran.stdout.lines().last().expect("a summary");
    assert!(last.starts_with("blocks 0 to ") && last.contains(" as they were certified"), "{last}");

    // Another member has executed the same.
    let deliveries = |host: &str| {
        let ran = net.vat(&["replay", &format!("net/hosts/{host}"), "counter", "--json"]).ok();
        let blocks = lines(&ran.stdout);
        let cranks = blocks.iter().flat_map(|block| block["deliveries"].as_array().cloned().unwrap_or_default());
        cranks.map(|crank| (crank["delivery"].clone(), crank["fuel"].clone())).collect::<Vec<_>>()
    };
    let (alpha, beta) = (deliveries("alpha"), deliveries("beta"));
    let common = alpha.len().min(beta.len());
    assert!(common >= 7 && alpha[..common] == beta[..common], "{alpha:?}\n{beta:?}");

    let all = lines(&net.vat(&["replay", home, "counter", "--json"]).ok().stdout);
    let summary = all.last().expect("a summary");
    assert!(summary["certified_blocks"].as_u64().is_some_and(|count| count > 0), "{summary}");
    let end = summary["last_block"].as_u64().expect("a number");
    let part = net.vat(&["replay", home, "counter", "--from", &end.to_string(), "--json"]).ok();
    assert_eq!(lines(&part.stdout).len(), 2, "one block and the summary: {}", part.stdout);
    for (args, wanted) in
        [(&["--from", "99999"][..], "the log ends at block"), (&["--from", "3", "--to", "2"], "is after --to")]
    {
        let ran = net.vat(&[&["replay", home, "counter"], args].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
    }
    let unknown = net.vat(&["replay", home, "purse"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("its vats: counter"), "{}", unknown.stderr);
}

/// Changes what a stopped host has logged: the word in one of its entries.
fn falsify_log(net: &TestNet, host: &str, word: &[u8], other: &[u8]) -> u64 {
    let store = RocksStore::open(net.dir().join("hosts").join(host).join("data")).expect("nobody uses it");
    let entries = store.scan(Family::Log, &[], &[0xff; 80], usize::MAX).expect("readable");
    let holds = |value: &Vec<u8>| value.windows(word.len()).position(|part| part == word);
    let (key, mut value) = entries.into_iter().find(|(_, value)| holds(value).is_some()).expect("an entry has it");
    let at = holds(&value).expect("found above");
    value[at..at + word.len()].copy_from_slice(other);
    let index = u64::from_be_bytes(key[32..40].try_into().expect("eight bytes"));
    store.write(vec![Write::Put(Family::Log, key, value)]).expect("writable");
    store.sync().expect("writable");
    index
}

#[test]
fn a_log_that_was_changed_differs_from_its_first_changed_block_on() {
    let net = counter_net();
    net.call("counter", "increment", &["5"]);
    net.call("counter", "once", &["\"key-of-a-call\"", "2"]);
    net.call("counter", "increment", &["1"]);
    wait_deliveries(&net, 4);
    net.vat(&["testnet", "down"]).ok();
    let index = falsify_log(&net, "beta", b"key-of-a-call", b"key-of-a-cell");
    let ran = net.vat(&["replay", "net/hosts/beta", "counter", "--json"]);
    let first = format!("block {index} of counter is the first that comes out otherwise than ");
    assert!(ran.code == 1 && ran.stderr.contains(&first), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("chain: kept "), "{}", ran.stderr);
    let reports = lines(&ran.stdout);
    let report = reports.last().expect("a report");
    assert_eq!((&report["error"]["exit"], &report["last_block"]), (&json!(1), &json!(index)), "{report}");
    net.vat(&["replay", "net/hosts/alpha", "counter"]).ok();
}

#[test]
fn blocks_that_were_cut_from_a_log_are_executed_again_from_the_archive() {
    let hosts = FOUR_HOSTS.replacen("name = \"alpha\"\n", "name = \"alpha\"\narchive = \"kept\"\n", 1);
    let (net, config) = support::counter_net(&format!("{hosts}\n[vat.limits]\ncheckpoint_deliveries = 3\n"));
    net.up(&config, &[]).ok();
    let purged = |host: &str| {
        let page = net.metrics(host);
        let kept =
            page.lines().find_map(|line| line.strip_prefix("quorate_log_blocks{vat=\"counter\"} ")?.parse().ok());
        let replicas = net.replicas("counter");
        let committed = replicas.iter().find(|(at, _)| at == host).map_or(0, |(_, vat)| vat.committed_block);
        kept.map_or(0, |kept: u64| committed.saturating_sub(kept))
    };
    let mut calls = 0_u32;
    while purged("alpha") < 20 || purged("beta") < 20 {
        net.call("counter", "increment", &["1"]);
        calls += 1;
        assert!(calls < 2_000, "the log is never cut");
    }
    net.vat(&["testnet", "down"]).ok();

    // The host without an archive has forgotten the beginning.
    let gone = net.vat(&["replay", "net/hosts/beta", "counter", "--from", "0"]);
    assert!(gone.code == 2 && gone.stderr.contains("the log is kept from block"), "{}", gone.stderr);
    let (home, kept) = (net.path("net/hosts/alpha"), net.path("net/hosts/alpha/kept"));
    let before = files(&home);
    let ran = net.vat(&["replay", "net/hosts/alpha", "counter", "--from", "0", "--json"]).ok();
    assert!(files(&home) == before, "the home is as it was");
    let blocks = lines(&ran.stdout);
    let (summary, blocks) = blocks.split_last().expect("a summary");
    assert_eq!((&summary["first_block"], &blocks[0]["block"]), (&json!(0), &json!(0)), "{summary}");
    let numbers: Vec<u64> = blocks.iter().filter_map(|block| block["block"].as_u64()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "no block is left out, and none is there twice");
    let increments = ran.stdout.matches("root.increment(1)").count();
    assert!(increments as u32 >= calls, "{increments} of {calls} calls");
    let certified = blocks.iter().take(20).filter(|block| block["verdict"] == "certified by 2 of 3").count();
    assert!(certified > 5, "{}", ran.stdout);

    // Somewhere else, and for another member's home.
    let elsewhere = net.path("copy");
    fs::rename(&kept, &elsewhere).expect("on one disk");
    let other = ["replay", "net/hosts/beta", "counter", "--from", "3", "--archive", "copy"];
    let ran = net.vat(&other).ok();
    assert!(ran.stdout.starts_with("block 3 "), "{}", ran.stdout);

    let file = files(&elsewhere).into_keys().find(|path| path.extension().is_some_and(|end| end == "blocks"));
    let file = file.expect("a file of blocks");
    let content = fs::read(&file).expect("readable");
    fs::write(&file, &content[..content.len() - 1]).expect("writable");
    let torn = net.vat(&other);
    let named = torn.stderr.contains(&*file.file_name().expect("a name").to_string_lossy());
    assert!(torn.code != 0 && named && torn.stderr.contains("take another member's archive"), "{}", torn.stderr);
}

#[test]
fn a_call_can_be_followed() {
    let net = counter_net();
    let ran = net.vat(&["call", "counter", "increment", "5", "--trace"]).ok();
    assert_eq!(ran.stdout, "5\n");
    for wanted in [
        "trace: answered after ",
        "to find the vat's members",
        "certified in block ",
        "(2 of 3 must sign)",
        "executed in block ",
    ] {
        assert!(ran.stderr.contains(wanted), "no {wanted:?} in {}", ran.stderr);
    }
    let ran = net.vat(&["call", "counter", "increment", "--trace", "--json"]).ok();
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let trace = &report["trace"];
    assert_eq!(report["result"], json!(6), "{report}");
    assert!(trace["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{trace}");
    let signers = trace["signers"].as_array().expect("a list");
    assert!(
        signers.len() >= 2
            && signers.iter().all(|name| ["alpha", "beta", "gamma"].contains(&name.as_str().unwrap_or(""))),
        "{trace}"
    );
    let work = trace["work"][0]["block"].as_u64().expect("a block");
    assert!(trace["block"].as_u64().is_some_and(|block| block >= work), "certified no earlier than executed: {trace}");
    assert!(trace["members_ms"].is_null() && trace["answer_ms"].as_f64().is_some(), "remembered: {trace}");
    let rejected = net.vat(&["call", "counter", "increment", "x", "--trace", "--json"]);
    let report: Value = serde_json::from_str(&rejected.stdout).expect("JSON");
    assert_eq!(rejected.code, 1);
    assert!(report["trace"]["fuel"].as_u64().is_some() && report["error"]["rejection"].is_object(), "{report}");
}

#[test]
fn a_session_speaks_with_a_vat_of_hosts_as_a_vat_does() {
    let net = counter_net();
    let mut command = net.command(&["repl", "counter"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let typed = "await E(root).increment(5)\nE(root).increment('x')\nroot\nconst n = await E(root).read()\nn + 1\nawait vat('./counter.js')\n";
    child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed: Vec<&str> = stdout.lines().collect();
    assert_eq!(printed.len(), 5, "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((printed[0], printed[3]), ("5", "6"), "{stdout}");
    assert!(printed[1].starts_with("! RangeError: a counter counts whole numbers"), "{stdout}");
    assert!(printed[2].starts_with('['), "{stdout}");
    assert!(printed[4].starts_with("! Error: this is for sessions in memory"), "{stdout}");
    assert_eq!(net.call("counter", "read", &[]), json!(5));
    let unknown = net.vat(&["repl", "purse"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("its vats are counter"), "{}", unknown.stderr);
}

#[test]
fn a_testnet_is_made_anew_where_that_is_asked_for() {
    let net = counter_net();
    let config = net.path("testnet.toml");
    assert_eq!(net.call("counter", "increment", &["5"]), json!(5));
    // A config that is wrong takes nothing down.
    let good = fs::read_to_string(&config).expect("readable");
    net.file("testnet.toml", "[[host]]\n");
    let wrong = net.up(&config, &["--fresh"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert_eq!(net.call("counter", "read", &[]), json!(5));
    net.file("testnet.toml", &good);
    let ran = net.up(&config, &["--fresh"]).ok();
    assert!(ran.stderr.contains("stopped 4 hosts, and removed the testnet in net"), "{}", ran.stderr);
    assert_eq!(net.call("counter", "read", &[]), json!(0));
    // What is no testnet is left alone.
    net.vat(&["testnet", "down"]).ok();
    fs::create_dir(net.path("mine")).and_then(|()| fs::write(net.path("mine/notes"), "mine")).expect("writable");
    let config = config.to_str().expect("text");
    let refused = net.vat(&["testnet", "up", config, "--fresh", "--detach", "--dir", "mine"]);
    assert!(refused.code == 2 && refused.stderr.contains("not empty and not a testnet"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(net.path("mine/notes")).expect("there"), "mine");
}

#[test]
fn a_testnet_that_watches_is_made_anew_with_each_change() {
    let net = TestNet::new(stand_in());
    let config = with_counter(&net, FOUR_HOSTS);
    let code = fs::read_to_string(net.path("counter.js")).expect("readable");
    let mut command = net.command(&["testnet", "up", config.to_str().expect("text"), "--watch"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = child.stderr.take().expect("piped");
    let mut said = BufReader::new(stderr).lines().map_while(Result::ok);
    let mut hear = |wanted: &str| said.find(|line| line.contains(wanted)).unwrap_or_else(|| panic!("no {wanted:?}"));
    hear("the vats' consoles follow");
    assert_eq!(net.call("counter", "increment", &["5"]), json!(5));
    // Wrong code is said, and the testnet stays.
    net.file("counter.js", "export default [1 2];\n");
    hear("the testnet stays as it is until that is corrected");
    assert_eq!(net.call("counter", "read", &[]), json!(5));
    net.file("counter.js", &code.replace("read()", "look()"));
    hear("the config or its code has changed");
    hear("the vats' consoles follow");
    assert_eq!(net.call("counter", "look", &[]), json!(0));
    let ended = Command::new("kill").arg(child.id().to_string()).status().and_then(|_| child.wait());
    assert_eq!(ended.expect("it is ours").code(), Some(0));
}

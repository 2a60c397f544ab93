//! `vat recover`: a vat that has lost so many members for good that it can certify nothing any more goes on with those that are left,
//! if their owners say so, so many of them that one is honest. Everybody sees that certified order was broken by hand.

mod support;

use quorate_testnet::process::{Ran, TestNet};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use support::{FOUR_MEMBERS, THREE_MEMBERS, counter_net};

/// Beside a counter on four hosts, three of which sign: a vat of somebody else that calls it.
const SHOP_BESIDE: &str = r#"
[[host]]
name = "epsilon"

[[vat]]
name = "shop"
hosts = ["epsilon"]
source = "shop.js"
[vat.argv]
counter = { vat = "counter" }
"#;

const SHOP: &str = "import { E, Far } from '@endo/far';\nexport default ({ counter }) => Far('shop', { buy: by => E(counter).increment(by) });\n";

fn home(net: &TestNet, host: &str) -> PathBuf {
    net.dir().join("hosts").join(host)
}

fn increment(net: &TestNet, counts: std::ops::Range<u64>) {
    for count in counts {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
}

fn answer(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr))
}

/// Recovers the counter, with further words.
fn recover(net: &TestNet, words: &[&str]) -> Ran {
    net.vat(&[&["recover", "counter", "--json"], words].concat())
}

#[track_caller]
fn refused(ran: &Ran, code: &str) {
    assert_eq!((ran.code, &answer(ran)["error"]["code"]), (2, &json!(code)), "{}{}", ran.stdout, ran.stderr);
}

/// The host dies, and its home is put out of the way. Returns where it is then.
fn lose(net: &TestNet, host: &str) -> PathBuf {
    net.vat(&["testnet", "kill", host]).ok();
    let aside = net.path(&format!("{host}-aside"));
    fs::rename(home(net, host), &aside).expect("ours");
    aside
}

fn role(net: &TestNet, host: &str) -> Option<String> {
    net.replicas("counter").into_iter().find(|(name, _)| name == host).map(|(_, status)| status.role)
}

fn fault(net: &TestNet, host: &str) -> Option<String> {
    net.replicas("counter").into_iter().find(|(name, _)| name == host).and_then(|(_, status)| status.fault)
}

#[test]
fn two_of_four_go_on_by_hand_and_lose_nothing_that_was_answered() {
    let (net, config) = counter_net(&format!("{FOUR_MEMBERS}{SHOP_BESIDE}"));
    net.file("shop.js", SHOP);
    net.up(&config, &[]).ok();
    increment(&net, 1..11);
    assert_eq!(net.call("shop", "buy", &["1"]), json!(11));
    refused(&recover(&net, &["--yes"]), "Q-A020");

    // Whoever leads is among the lost.
    let leader = net.leader("counter");
    let lost = if ["alpha", "beta"].contains(&leader.as_str()) { ["alpha", "beta"] } else { ["gamma", "delta"] };
    let left = if lost[0] == "alpha" { ["gamma", "delta"] } else { ["alpha", "beta"] };
    net.vat(&["testnet", "kill", lost[0]]).ok();
    refused(&recover(&net, &["--yes"]), "Q-A020");
    net.vat(&["testnet", "kill", lost[1]]).ok();
    // Their homes are there: they are not lost.
    refused(&recover(&net, &["--yes"]), "Q-A021");
    let aside = lose(&net, lost[0]);
    lose(&net, lost[1]);
    let asked = recover(&net, &[]);
    refused(&asked, "Q-A022");
    assert!(asked.stderr.contains(&format!("Left out for ever: {}, {}", lost[0], lost[1])), "{}", asked.stderr);
    assert!(left.iter().all(|host| fault(&net, host).is_none() && role(&net, host).is_some()), "they go on as before");

    let recovered = answer(&recover(&net, &["--yes"]).ok());
    assert_eq!(
        (&recovered["recovered"], &recovered["epoch"], &recovered["members"], &recovered["threshold"]),
        (&json!(true), &json!(1), &json!(left), &json!(2)),
        "{recovered}"
    );
    assert_eq!(recovered["left_out"], json!(lost));
    assert_eq!(net.call("counter", "read", &[]), json!(11));
    increment(&net, 12..15);
    assert_eq!(net.call("shop", "buy", &["1"]), json!(15), "whom it spoke with before believes it");

    let words = "certified order was broken by hand";
    let status = net.vat(&["status", "counter"]);
    assert!(status.stdout.contains(words), "{}", status.stdout);
    net.vat(&["prove", "counter", "counter.proof"]).ok();
    let verified = net.vat(&["verify", "counter.proof"]).ok();
    assert!(verified.stdout.contains(words) && verified.stdout.contains(lost[1]), "{}", verified.stdout);
    let introduced = net.vat(&["introduce", "counter"]).ok();
    net.file("counter.vat", &introduced.stdout);
    let inspected = net.vat(&["inspect", "counter.vat"]).ok();
    assert!(inspected.stdout.contains(words), "{}", inspected.stdout);

    // One of the lost is found: it hears that the others went on without it, and does no harm.
    fs::rename(aside, home(&net, lost[0])).expect("ours");
    net.vat(&["testnet", "restart", lost[0]]).ok();
    net.wait("its leaving", || (role(&net, lost[0])? == "removed").then_some(()));
    increment(&net, 16..18);
    // The vat grows again, and what it has survives one more loss.
    net.vat(&["member", "add", "--vat", "counter", "--in", "epsilon"]).ok();
    net.vat(&["testnet", "kill", left[0]]).ok();
    increment(&net, 18..20);
    assert_eq!(net.call("shop", "buy", &["1"]), json!(20));
}

#[test]
fn the_word_of_one_is_no_evidence_and_owners_of_lost_homes_can_give_theirs() {
    let (net, config) = counter_net(THREE_MEMBERS);
    net.up(&config, &[]).ok();
    increment(&net, 1..6);
    let beta = lose(&net, "beta");
    lose(&net, "gamma");
    refused(&recover(&net, &["--yes"]), "Q-A023");
    assert!(role(&net, "alpha").is_some() && fault(&net, "alpha").is_none(), "it goes on as before");
    // Of one of the two everything is lost but its key.
    ["data", "MARKS"].iter().for_each(|part| {
        let part = beta.join(part);
        if part.is_dir() { fs::remove_dir_all(part) } else { fs::remove_file(part) }.expect("ours");
    });
    fs::rename(&beta, home(&net, "beta")).expect("ours");
    let asked = recover(&net, &[]);
    refused(&asked, "Q-A022");
    assert!(asked.stderr.contains("WHAT MAY BE LOST"), "{}", asked.stderr);
    let recovered = answer(&recover(&net, &["--yes"]).ok());
    assert_eq!((&recovered["members"], &recovered["threshold"]), (&json!(["alpha"]), &json!(1)), "{recovered}");
    let count = net.call("counter", "read", &[]);
    assert!(count == json!(5) || count == json!(4), "{count}: alpha may not have heard of the last one");
    net.vat(&["testnet", "kill", "alpha"]).ok();
    net.vat(&["testnet", "restart", "alpha"]).ok();
    increment(&net, count.as_u64().expect("a number") + 1..count.as_u64().expect("a number") + 3);
}

#[test]
fn owners_pass_a_file_around_and_hosts_that_die_meanwhile_keep_their_word() {
    let (net, config) = counter_net(&format!("{FOUR_MEMBERS}{SHOP_BESIDE}"));
    net.file("shop.js", SHOP);
    net.up(&config, &[]).ok();
    increment(&net, 1..6);
    lose(&net, "gamma");
    lose(&net, "delta");
    let [alpha, beta] = ["alpha", "beta"].map(|host| home(&net, host).display().to_string());
    let of = |home: &str, words: &[&str]| recover(&net, &[&["--home", home, "--file", "round"], words].concat());
    of(&alpha, &[]).ok();
    // It has signed nothing: a start of the host ends what was begun.
    assert!(net.host("alpha").expect("it runs").failed_vats["counter"].starts_with("Q-N018"));
    let waits = answer(&of(&beta, &["--close", "--yes"]).ok());
    let key = net.host("alpha").expect("it runs").key;
    assert_eq!((&waits["recovered"], &waits["waits_for"]), (&json!(false), &json!([key])), "{waits}");

    // Beta has agreed: from then on it says nothing more with the members of before.
    net.vat(&["testnet", "kill", "beta"]).ok();
    net.vat(&["testnet", "restart", "beta"]).ok();
    let why = net.wait("what it says", || fault(&net, "beta"));
    assert!(why.starts_with("Q-C048") && why.contains("vat recover"), "{why}");
    let repair = net.vat(&["member", "repair", "counter", "--host", "beta", "--json"]);
    refused(&repair, "Q-N021");

    let done = answer(&of(&alpha, &["--yes"]).ok());
    assert_eq!(done["recovered"], json!(true), "{done}");
    net.vat(&["testnet", "kill", "alpha"]).ok();
    net.vat(&["testnet", "restart", "alpha"]).ok();
    of(&beta, &[]).ok();
    increment(&net, 6..9);
    assert!(fault(&net, "beta").is_none() && fault(&net, "alpha").is_none());
}

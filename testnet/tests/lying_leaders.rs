//! Members that lead, or would like to, and break the rules of it: the vat goes on, and who can be convicted is.

mod support;

use quorate_testnet::process::TestNet;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf};
use support::{FOUR_MEMBERS, counter_net, metric};

/// A testnet in which one host lies so as soon as it is told to.
fn net_with(liar: &str, lie: &str) -> TestNet {
    let (mut net, config) = counter_net(FOUR_MEMBERS);
    net.environment("QUORATE_TEST_LEADER", &format!("{liar} {lie}"));
    net.up(&config, &[]).ok();
    for count in 1..=3 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    net
}

/// Where a host looks whether it is to lie, and counts its lies.
fn switch(net: &TestNet, host: &str) -> PathBuf {
    net.dir().join("hosts").join(host).join("lie")
}

fn lies(net: &TestNet, host: &str) -> u64 {
    fs::metadata(switch(net, host)).map_or(0, |file| file.len())
}

fn key(net: &TestNet, host: &str) -> String {
    let status = net.replicas("counter").into_iter().next().expect("it runs").1;
    status.members.iter().find(|member| member.name == host).expect("a member").key.clone()
}

/// Has a host lead, by stopping those that do for a while.
fn have_it_lead(net: &TestNet, host: &str) {
    for _ in 0..8 {
        let leader = net.leader("counter");
        if leader == host {
            return;
        }
        net.vat(&["testnet", "kill", &leader]).ok();
        net.wait("another leader", || {
            let leading = net.replicas("counter").into_iter().find(|(_, status)| status.role == "leader");
            leading.filter(|(name, _)| *name != leader)
        });
        net.vat(&["testnet", "restart", &leader]).ok();
    }
    panic!("{host} never leads");
}

fn accused(net: &TestNet) -> BTreeSet<String> {
    let ran = net.vat(&["evidence", "counter", "--json"]).ok();
    let shown: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let pieces = shown["evidence"].as_array().expect("a list").clone();
    let keys = pieces.iter().flat_map(|piece| piece["accused"].as_array().expect("a list").clone());
    keys.map(|key| key.as_str().expect("a key").to_owned()).collect()
}

#[test]
fn a_two_faced_leader_is_named_and_the_vat_goes_on_under_another() {
    let net = net_with("alpha", "two-faced");
    have_it_lead(&net, "alpha");
    let guilty = key(&net, "alpha");
    fs::write(switch(&net, "alpha"), "").expect("writable");
    for count in 4..=12 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    net.wait("the proof", || (!accused(&net).is_empty()).then_some(()));
    assert_eq!(accused(&net), BTreeSet::from([guilty.clone()]));
    assert!(lies(&net, "alpha") > 0);
    net.wait("another leader", || {
        let mut leading = net.replicas("counter").into_iter();
        leading.find(|(name, status)| name != "alpha" && status.role == "leader")
    });
    for count in 13..=20 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    for (host, status) in net.replicas("counter").into_iter().filter(|(host, _)| host != "alpha") {
        assert_eq!(status.fault, None, "{host}");
    }

    // A stranger, who has the VatId and the file.
    let vat = net.replicas("counter").into_iter().next().expect("it runs").1.vat;
    net.vat(&["evidence", "counter", "--export", "evidence.proof"]).ok();
    let said = net.vat(&["verify", "evidence.proof", &vat]).ok().stdout;
    assert!(said.contains(&format!("accused: {guilty}")) && said.contains("showed two logs"), "{said}");
}

#[test]
fn a_leader_that_starves_one_sender_is_left_and_the_vat_goes_on_under_another() {
    let net = net_with("alpha", "starves");
    have_it_lead(&net, "alpha");
    fs::write(switch(&net, "alpha"), "").expect("writable");
    // It leads the others as it should.
    for count in 4..=6 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    assert_eq!(lies(&net, "alpha"), 0);
    assert_eq!(net.call("counter", "once", &["\"starve-me\"", "10"]), json!(16));
    assert!(lies(&net, "alpha") > 0, "it was answered under a leader that did not starve it");
    net.wait("another leader", || {
        let mut leading = net.replicas("counter").into_iter();
        leading.find(|(name, status)| name != "alpha" && status.role == "leader")
    });
    for count in 17..=20 {
        assert_eq!(net.call("counter", "increment", &[]), json!(count));
    }
    // Nobody can prove that a message came to it, so nobody is accused; who left it says so.
    assert_eq!(accused(&net), BTreeSet::new());
    let left: f64 = ["beta", "gamma", "delta"]
        .iter()
        .map(|host| metric(&net.metrics(host), "quorate_leaders_left_total", &["vat=\"counter\""]))
        .sum();
    assert!(left > 0.0, "nobody has left a leader");
    for (host, status) in net.replicas("counter") {
        assert_eq!(status.fault, None, "{host}");
    }
}

#[test]
fn whoever_says_that_it_leads_disturbs_nobody_unless_it_was_elected() {
    let net = net_with("delta", "unelected");
    goes_on(&net, "delta");
}

#[test]
fn a_storm_of_later_terms_does_not_keep_a_vat_from_its_work() {
    let net = net_with("delta", "later-terms");
    goes_on(&net, "delta");
}

/// The vat works while a follower lies, as often as a member hears from its leader; nobody is accused, and no term used up.
fn goes_on(net: &TestNet, liar: &str) {
    if net.leader("counter") == liar {
        have_it_lead(net, "alpha");
    }
    let term = |net: &TestNet| net.replicas("counter").into_iter().map(|(_, status)| status.term).max();
    let began = term(net).expect("it runs");
    fs::write(switch(net, liar), "").expect("writable");
    let mut count = 3;
    while count < 12 || lies(net, liar) < 400 {
        count += 1;
        // Elections take as long as the disk's syncs make them.
        let called = net.vat(&["call", "--timeout", "180", "counter", "increment"]).ok();
        assert_eq!(called.stdout.trim(), count.to_string());
    }
    let ended = term(net).expect("it runs");
    assert!(ended - began < 40, "{} terms for {} lies", ended - began, lies(net, liar));
    assert_ne!(net.leader("counter"), liar);
    assert_eq!(accused(net), BTreeSet::new());
}

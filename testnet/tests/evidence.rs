//! Evidence as people meet it: a member that signs two stories, an answer that is to be shown to others, and files that are checked
//! where nothing runs.

mod support;

use quorate_testnet::process::{Ran, TestNet};
use std::{collections::BTreeSet, fs};
use support::{FOUR_MEMBERS, counter_net};

/// A place where nothing of the testnet is but what is copied there.
struct Elsewhere(TestNet);

impl Elsewhere {
    fn verify(&self, name: &str, bytes: &[u8], args: &[&str]) -> Ran {
        let file = self.0.file(name, "");
        fs::write(&file, bytes).expect("writable");
        let words: Vec<&str> = ["verify", name].into_iter().chain(args.iter().copied()).collect();
        self.0.vat(&words)
    }

    /// Every byte of a file matters: one that was flipped has it refused, with a reason.
    fn refuses_what_was_changed(&self, bytes: &[u8], vat: &str) {
        let step = (bytes.len() / 12).max(1);
        for place in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 1;
            let refused = self.verify("flipped", &flipped, &[vat]);
            assert!([1, 2].contains(&refused.code), "byte {place}: {refused:?}");
            assert!(refused.stdout.is_empty() && refused.stderr.contains("Q-V001"), "byte {place}: {refused:?}");
        }
    }
}

fn elsewhere() -> Elsewhere {
    let (net, _) = counter_net(FOUR_MEMBERS);
    Elsewhere(net)
}

fn read(net: &TestNet, name: &str) -> Vec<u8> {
    fs::read(net.path(name)).expect("the file was written")
}

/// A VatId of no vat.
fn other_vat() -> String {
    "9f".repeat(32)
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_member_that_signs_two_stories_is_convicted_before_anybody_who_knows_the_vat_id() {
    let (mut net, config) = counter_net(FOUR_MEMBERS);
    net.environment("QUORATE_TEST_EQUIVOCATOR", "gamma");
    net.up(&config, &[]).ok();
    for count in 1..=20 {
        assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(count));
    }
    let status = net.replicas("counter").into_iter().next().expect("it runs").1;
    let gamma = status.members.iter().find(|member| member.name == "gamma").expect("a member").key.clone();
    let evidence = net.wait("the proof at an honest member", || {
        let shown = json(&net.vat(&["evidence", "counter", "--json"]).ok());
        let pieces = shown["evidence"].as_array().expect("a list").clone();
        pieces.iter().any(|piece| piece["kind"] == "equivocation").then_some(pieces)
    });
    // Whatever is kept accuses the liar alone.
    let accused: BTreeSet<&str> = evidence
        .iter()
        .flat_map(|piece| piece["accused"].as_array().expect("a list"))
        .map(|key| key.as_str().expect("a key"))
        .collect();
    assert_eq!(accused, BTreeSet::from([gamma.as_str()]), "{evidence:?}");
    let listed = net.vat(&["evidence", "counter"]).ok().stdout;
    assert!(listed.contains("equivocation") && listed.contains("gamma"), "{listed}");
    for host in ["alpha", "beta", "delta"] {
        for line in net.metrics(host).lines().filter(|line| line.starts_with("quorate_equivocations_total{")) {
            assert!(line.ends_with(" 0") || line.contains(&gamma), "{host}: {line}");
        }
        let log = net.vat(&["logs", host]).stdout;
        for line in log.lines().filter(|line| line.contains("Q-EQUIVOCATION")) {
            assert!(line.contains(&gamma), "{host}: {line}");
        }
    }
    let told = net.vat(&["status", "counter"]);
    assert_eq!(told.code, 1);
    assert!(told.stdout.contains("vat evidence counter"), "{}", told.stdout);

    // A stranger, who has the VatId and the file.
    net.vat(&["evidence", "counter", "--export", "evidence.proof"]).ok();
    let bytes = read(&net, "evidence.proof");
    let stranger = elsewhere();
    let vat = status.vat.as_str();
    let said = stranger.verify("evidence.proof", &bytes, &[vat]).ok().stdout;
    assert!(said.contains(vat) && said.contains(&format!("accused: {gamma}")), "{said}");
    let said = json(&stranger.verify("evidence.proof", &bytes, &[vat, "--json"]).ok());
    assert_eq!((&said["proven"], &said["accused"]), (&serde_json::json!(true), &serde_json::json!([gamma])));
    let refused = stranger.verify("evidence.proof", &bytes, &[&other_vat()]);
    assert!(refused.code == 1 && refused.stderr.contains("Q-V002") && refused.stderr.contains(vat), "{refused:?}");
    stranger.refuses_what_was_changed(&bytes, vat);
    let again = net.vat(&["evidence", "counter", "--export", "evidence.proof"]);
    assert_eq!(again.code, 2, "a file that is there is not overwritten: {again:?}");
}

#[test]
fn an_answer_is_proven_to_whoever_knows_the_vat_id() {
    let (net, config) = counter_net(FOUR_MEMBERS);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(1));
    let answered = net.vat(&["call", "counter", "increment", "41", "--proof", "answer.proof"]).ok();
    let value = answered.stdout.trim().to_owned();
    let bytes = read(&net, "answer.proof");
    let vat = net.replicas("counter").into_iter().next().expect("it runs").1.vat;
    let stranger = elsewhere();
    let said = stranger.verify("answer.proof", &bytes, &[&vat]).ok().stdout;
    assert!(said.contains("increment(41)") && said.contains(&format!("the result is {value}")), "{said}");
    assert!(said.contains("not proven") && said.contains("no member is accused"), "{said}");
    let shown = json(&stranger.verify("answer.proof", &bytes, &[&vat, "--json"]).ok());
    let finding = &shown["vats"][0]["findings"][0];
    assert_eq!((&finding["kind"], finding["values"]["value"].to_string()), (&serde_json::json!("answer"), value));
    stranger.refuses_what_was_changed(&bytes, &vat);
    // A rejection is an answer, too.
    let rejected = net.vat(&["call", "counter", "nothing", "--proof", "rejection.proof"]);
    assert_eq!(rejected.code, 1);
    let said = stranger.verify("rejection.proof", &read(&net, "rejection.proof"), &[&vat]).ok().stdout;
    assert!(said.contains("was rejected with"), "{said}");
    // Nothing is sent where the file could not be written.
    let twice = net.vat(&["call", "counter", "increment", "--proof", "answer.proof"]);
    assert_eq!(twice.code, 2, "{twice:?}");
    // What it certified last, checked by somebody else.
    net.vat(&["prove", "counter", "counter.proof"]).ok();
    let certified = read(&net, "counter.proof");
    let said = stranger.verify("counter.proof", &certified, &[&vat]).ok().stdout;
    assert!(said.contains("certificate") && said.contains("what was ordered up to that block"), "{said}");
    stranger.refuses_what_was_changed(&certified, &vat);
    let unheard = net.vat(&["prove", "counter", "said.proof", "--from", &other_vat()]);
    assert!(unheard.code == 1 && unheard.stderr.contains("it said nothing"), "{unheard:?}");
    assert_eq!(net.vat(&["prove", "counter", "said.proof", "--from", "No Name"]).code, 2);
    assert!(!net.path("said.proof").exists());
    // Vat files and cards are read as well; anything else is none of it.
    let home = net.dir().join("hosts/alpha");
    let introduced = net.vat(&["introduce", "counter"]).ok().stdout;
    let said = stranger.verify("counter.vat", introduced.as_bytes(), &[&vat]).ok().stdout;
    assert!(said.contains("its members in epoch 0") && said.contains("3 of them must sign"), "{said}");
    let card = net.vat(&["card", "--home", &home.to_string_lossy(), "--announce", "192.0.2.7:4001"]).ok().stdout;
    let said = stranger.verify("alpha.card", card.as_bytes(), &[]).ok().stdout;
    assert!(said.contains("card of host alpha"), "{said}");
    assert_eq!(stranger.verify("hello", b"hello", &[]).code, 2);
}

//! Changes of members wait for the owners of the members, and a host runs no other code than its owner was given.

mod support;

use quorate_admin::CarryRequest;
use quorate_protocol::{
    codec,
    provision::{Contacts, Provision},
    status::{VatStatus, WaitingStatus},
};
use quorate_testnet::process::{Ran, TestNet};
use serde_json::{Value, json};
use std::fs;
use support::counter_net;

/// Three hosts whose owners are asked, and one that may come.
const ASKING: &str = r#"
[[host]]
name = "alpha"
approve = "ask"
[[host]]
name = "beta"
approve = "ask"
[[host]]
name = "gamma"
approve = "ask"
[[host]]
name = "delta"
[[host]]
name = "epsilon"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "counter.js"
"#;

fn vat(net: &TestNet, args: &[&str]) -> Ran {
    let output = net.command(args).output().expect("the binary runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn replica(net: &TestNet, host: &str) -> VatStatus {
    net.wait("a replica", || net.replicas("counter").into_iter().find(|(name, _)| name == host).map(|found| found.1))
}

/// What waits at a host.
fn waiting(net: &TestNet, host: &str) -> Vec<WaitingStatus> {
    replica(net, host).approvals
}

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

fn propose(net: &TestNet) {
    let proposed = vat(net, &["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]);
    assert_eq!(proposed.code, 3, "{} {}", proposed.stdout, proposed.stderr);
    assert!(proposed.stderr.contains("vat approvals counter"), "{}", proposed.stderr);
    for host in HOSTS {
        net.wait("the question", || (!waiting(net, host).is_empty()).then_some(()));
    }
}

#[test]
fn a_replacement_waits_for_two_of_three_owners_and_ends_when_it_is_rejected() {
    let (net, config) = counter_net(ASKING);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    assert_eq!(vat(&net, &["approvals"]).ok().stdout, "");
    assert_eq!(vat(&net, &["approve", "counter"]).code, 2, "there is nothing to approve");

    propose(&net);
    let listed = vat(&net, &["approvals", "counter"]).ok().stdout;
    for part in
        ["replace gamma by delta", "fingerprint", "2 of 3 now, 2 of 3 then", "goes on with 1 member down", "0 of 2"]
    {
        assert!(listed.contains(part), "no {part:?} in {listed}");
    }
    let listed: Value = serde_json::from_str(&vat(&net, &["approvals", "--json"]).ok().stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    assert_eq!((&listed[0]["in"]["name"], &listed[0]["out"]["name"]), (&json!("delta"), &json!("gamma")));
    let status = vat(&net, &["status", "counter"]);
    assert!(status.stdout.contains("waits for the answer of this host's owner"), "{}", status.stdout);
    let page = net.metrics("beta");
    assert!(page.contains("quorate_approvals_waiting{vat=\"counter\"} 1"), "{page}");

    vat(&net, &["reject", "counter"]).ok();
    for host in HOSTS {
        net.wait("the end", || waiting(&net, host).is_empty().then_some(()));
    }
    assert_eq!(replica(&net, "alpha").epoch, 0);

    // Another one: what was rejected stays so in this epoch.
    let add = vat(&net, &["member", "replace", "--vat", "counter", "--out", "beta", "--in", "delta"]);
    assert_eq!(add.code, 3, "{}", add.stderr);
    for host in HOSTS {
        net.wait("the question", || (!waiting(&net, host).is_empty()).then_some(()));
    }
    vat(&net, &["approve", "counter", "--host", "gamma"]).ok();
    let one = |status: &VatStatus| status.approvals.iter().any(|change| change.is_own && change.approved == ["gamma"]);
    net.wait("the first approval", || HOSTS.iter().any(|host| one(&replica(&net, host))).then_some(()));
    // What waits survives restarts.
    for host in HOSTS {
        vat(&net, &["testnet", "kill", host]).ok();
        vat(&net, &["testnet", "restart", host]).ok();
    }
    assert_eq!(net.call("counter", "increment", &[]), json!(2));
    for host in HOSTS {
        let status = replica(&net, host);
        assert_eq!((status.epoch, status.pending_change.as_deref()), (0, None), "{host}");
        assert_eq!(status.approvals.len(), 1, "{host}");
    }
    vat(&net, &["approve", "counter", "--host", "alpha"]).ok();
    net.wait("the new epoch", || {
        let status = replica(&net, "delta");
        (status.certified_epoch == 1 && status.approvals.is_empty()).then_some(())
    });
    assert_eq!(net.call("counter", "increment", &[]), json!(3));
}

/// Changes a vat file as a partner who means ill could do before passing it on.
fn altered(file: &str, alter: impl FnOnce(&mut Provision)) -> String {
    let request: CarryRequest = serde_json::from_str(file).expect("a vat file");
    let digits = request.provision.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("hex"));
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    let mut provision: Provision = codec::decode(&bytes).expect("a provision");
    alter(&mut provision);
    serde_json::to_string(&CarryRequest::new(&provision, &Contacts::default())).expect("plain data")
}

#[test]
fn a_host_that_was_given_other_code_stops_and_names_the_file() {
    let (net, config) = counter_net(ASKING);
    net.up(&config, &[]).ok();
    let card = |host: &str| {
        let home = format!("net/hosts/{host}");
        net.file(&format!("{host}.card"), &vat(&net, &["card", "--home", &home]).ok().stdout);
    };
    ["alpha", "beta", "gamma"].into_iter().for_each(card);
    let made = vat(
        &net,
        &[
            "create",
            "purse",
            "--on",
            "alpha.card,beta.card,gamma.card",
            "--threshold",
            "2",
            "--source",
            "counter.js",
            "--home",
            "net/hosts/alpha",
        ],
    )
    .ok();
    let file = fs::read_to_string(net.path("purse.vat")).expect("it was made");
    net.file(
        "other.vat",
        &altered(&file, |provision| {
            let install = &mut provision.install.as_mut().expect("it has code").install;
            install.bundle.modules.values_mut().for_each(|text| text.push_str("\n// more\n"));
        }),
    );
    let shown = vat(&net, &["inspect", "other.vat"]).ok().stdout;
    assert!(shown.contains("! authority"), "{shown}");
    vat(&net, &["join", "other.vat", "--home", "net/hosts/gamma", "--yes"]).ok();
    vat(&net, &["join", "purse.vat", "--home", "net/hosts/beta", "--yes"]).ok();
    let purse = |host: &str| net.replicas("purse").into_iter().find(|(name, _)| name == host).map(|found| found.1);
    let fault = net.wait("the fault", || purse("gamma")?.fault);
    assert!(fault.contains("Q-N009") && fault.contains("counter.js differs"), "{fault}");
    net.wait("the code", || purse("alpha").filter(|status| status.installed));
    let called = vat(&net, &["call", made.stdout.trim(), "increment", "--at", "beta.card"]).ok();
    assert_eq!(called.stdout, "1\n");
    // The others are well; it stops again when it is started again.
    vat(&net, &["testnet", "kill", "gamma"]).ok();
    vat(&net, &["testnet", "restart", "gamma"]);
    let fault = net.wait("the fault", || purse("gamma")?.fault);
    assert!(fault.contains("Q-N009"), "{fault}");
}

//! Changes of members as operators make them: partners who each see one host only, members that are dead or have stopped by a
//! fault, changes that are mistaken or given up.

mod support;

use quorate_admin::{CarryRequest, client::Endpoint};
use quorate_protocol::{
    codec,
    provision::{Contacts, Provision},
    status::VatStatus,
};
use quorate_testnet::process::{Ran, TestNet};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Stdio};
use support::{counter_net, falsify_guard};

/// A counter on three of five hosts.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
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

fn five_hosts() -> TestNet {
    let (net, config) = counter_net(CONFIG);
    net.up(&config, &[]).ok();
    net
}

/// The folder that the config lies in.
fn folder(net: &TestNet) -> PathBuf {
    net.dir().parent().expect("it lies in a folder").to_owned()
}

/// Runs a command line in that folder.
fn vat(net: &TestNet, args: &[&str]) -> Ran {
    let output = net.command(args).current_dir(folder(net)).output().expect("the binary runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn refused(net: &TestNet, args: &[&str], wanted: &str) {
    let ran = vat(net, args);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
    assert!(ran.stderr.contains(wanted), "{args:?}: no {wanted:?} in {}", ran.stderr);
}

fn replica(net: &TestNet, vat: &str, host: &str) -> Option<VatStatus> {
    net.replicas(vat).into_iter().find(|(name, _)| name == host).map(|(_, status)| status)
}

fn names(status: &VatStatus) -> Vec<&str> {
    status.members.iter().map(|member| member.name.as_str()).collect()
}

#[test]
fn partners_who_see_one_host_each_make_and_change_a_vat() {
    let net = five_hosts();
    let home = |host: &str| format!("net/hosts/{host}");
    for host in ["alpha", "beta", "gamma", "delta"] {
        let address = net.cluster().layout.hosts.into_iter().find(|place| place.name == host).expect("a host").address;
        // The way to it that its card names is the one that the vat must name.
        let address = address.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
        let card = vat(&net, &["card", "--home", &home(host), "--announce", &address]).ok().stdout;
        net.file(&format!("{host}.card"), &card);
    }
    let cards = "alpha.card,beta.card,gamma.card";
    let create =
        ["create", "purse", "--on", cards, "--threshold", "2", "--source", "counter.js", "--home", &home("alpha")];
    let made = vat(&net, &create).ok();
    assert!(made.stderr.contains("vat join purse.vat"), "{}", made.stderr);
    refused(&net, &create, "another name");
    for host in ["beta", "gamma"] {
        let joined = vat(&net, &["join", "purse.vat", "--home", &home(host), "--json"]).ok();
        let joined: Value = serde_json::from_str(&joined.stdout).expect("JSON");
        assert_eq!((&joined["host"], &joined["name"]), (&json!(host), &json!("purse")));
    }
    // Files of a host are named after its vats, and the maker of a vat names it.
    net.file(
        "evil.vat",
        &renamed(&fs::read_to_string(folder(&net).join("purse.vat")).expect("it was made"), "../purse"),
    );
    refused(&net, &["join", "evil.vat", "--home", &home("epsilon")], "Q-A011");
    net.wait("the code", || net.replicas("purse").iter().any(|(_, status)| status.installed).then_some(()));
    let call = |method: &str| vat(&net, &["call", made.stdout.trim(), method, "--at", "beta.card"]).ok().stdout;
    assert_eq!(call("increment"), "1\n");
    for (host, status) in net.replicas("purse") {
        let addresses: Vec<_> = status.members.iter().flat_map(|member| &member.addresses).collect();
        assert!(
            addresses.len() == 3 && addresses.iter().all(|address| address.contains("/dns4/")),
            "{host}: {addresses:?}"
        );
    }

    // A newcomer, by the word of a member that does not lead.
    let leader = net.leader("purse");
    let speaker = ["alpha", "beta", "gamma"].into_iter().find(|host| *host != leader).expect("two follow");
    let introduction = vat(&net, &["introduce", "purse", "--home", &home(speaker)]).ok().stdout;
    net.file("newcomer.vat", &introduction);
    vat(&net, &["join", "newcomer.vat", "--home", &home("delta")]).ok();
    let waiting = vat(&net, &["status", "purse", "--home", &home("delta")]).ok();
    assert!(waiting.stdout.contains("waits until"), "{}", waiting.stdout);
    assert_eq!(page(&net, "delta", "/readyz"), "ready\n", "to wait for others is no fault");
    let add = ["member", "add", "--vat", "purse", "--in", "delta.card", "--home", &home(speaker), "--json"];
    let added: VatStatus = serde_json::from_str(&vat(&net, &add).ok().stdout).expect("a status");
    assert_eq!((added.epoch, names(&added)), (1, vec!["alpha", "beta", "gamma", "delta"]));
    assert_eq!(call("increment"), "2\n");
    // Its own way out, which it sees the end of only as one who is out.
    vat(&net, &["member", "remove", "--vat", "purse", "--out", speaker, "--home", &home(speaker)]).ok();
    net.wait("the end of its part", || (replica(&net, "purse", speaker)?.role == "removed").then_some(()));
    vat(&net, &["status", "purse", "--home", &home(speaker)]).ok();
    let call = |method: &str| vat(&net, &["call", made.stdout.trim(), method, "--at", "delta.card"]).ok().stdout;
    assert_eq!(call("increment"), "3\n");
}

#[test]
fn mistaken_changes_leave_nothing_and_members_that_are_no_use_are_replaced() {
    let net = five_hosts();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));

    // Refused before anything is asked of the newcomer.
    let replace = |out: &'static str, newcomer: &'static str| {
        ["member", "replace", "--vat", "counter", "--out", out, "--in", newcomer]
    };
    refused(&net, &replace("gamme", "delta"), "its members are alpha, beta, gamma");
    refused(&net, &[&replace("gamma", "delta")[..], &["--threshold", "1"]].concat(), "of 3 members, 2 to 3");
    refused(&net, &replace("gamma", "beta"), "a member of counter already");
    refused(&net, &["member", "cancel", "--vat", "counter"], "no change is under way");
    assert!(replica(&net, "counter", "delta").is_none(), "a mistake has made delta carry the vat");

    // A newcomer that never comes, and so does not sign its own admission: the change waits, and is given up.
    vat(&net, &["node", "init", "--home", "absent", "--name", "absent", "--listen", "/ip4/127.0.0.1/tcp/9"]).ok();
    net.file("absent.card", &vat(&net, &["card", "--home", "absent"]).ok().stdout);
    let mut add = net.command(&["member", "add", "--vat", "counter", "--in", "absent.card"]);
    let add = add.current_dir(folder(&net)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    net.wait("the change", || {
        let mut waiting = replica(&net, "counter", "alpha")?.approvals.into_iter();
        waiting.find(|change| change.change.contains("absent") && change.waits_for_newcomer)
    });
    refused(&net, &replace("gamma", "delta"), "vat member cancel");
    vat(&net, &["member", "cancel", "--vat", "counter"]).ok();
    let waited = add.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(waited.status.code() == Some(1) && (said.contains("given up") || said.contains("rejected")), "{said}");
    let status = replica(&net, "counter", "alpha").expect("it runs");
    assert_eq!((status.epoch, status.pending_change.as_deref(), status.approvals.len()), (0, None, 0));

    // One that has stopped by a fault: what it remembers to have signed is not what it computes.
    net.vat(&["testnet", "kill", "gamma"]).ok();
    falsify_guard(&net, "gamma");
    net.vat(&["testnet", "restart", "gamma"]).ok();
    let fault = net.wait("the fault", || replica(&net, "counter", "gamma")?.fault);
    assert!(fault.contains("Q-C041"), "{fault}");
    assert_eq!(net.vat(&["status", "counter"]).code, 1);
    vat(&net, &replace("gamma", "delta")).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(2));

    // One whose disk is lost.
    net.vat(&["testnet", "kill", "beta"]).ok();
    fs::remove_dir_all(net.dir().join("hosts/beta")).expect("it is there");
    vat(&net, &replace("beta", "epsilon")).ok();
    vat(&net, &["member", "threshold", "--vat", "counter", "--threshold", "3"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(3));
    net.vat(&["testnet", "down"]).ok();
    fs::remove_dir_all(net.dir().join("hosts/gamma")).expect("it is there");
    for host in ["alpha", "delta", "epsilon"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    assert_eq!(net.call("counter", "read", &[]), json!(3));
    let replicas = net.replicas("counter");
    assert_eq!(replicas.len(), 3);
    for (host, status) in &replicas {
        assert_eq!(
            (status.epoch, status.threshold, names(status)),
            (3, 3, vec!["alpha", "epsilon", "delta"]),
            "{host}"
        );
    }
}

/// When a change is said to be over, nobody that is out is needed any more: not its signature, and not its vote.
#[test]
fn whoever_is_out_may_die_as_soon_as_the_change_is_over() {
    let hosts = ["h1", "h2", "h3", "h4", "h5", "h6"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let section = "[[vat]]\nname = \"counter\"\nhosts = [\"h1\", \"h2\", \"h3\", \"h4\"]\nthreshold = 3\nsource = \"counter.js\"\n";
    let (net, config) = counter_net(&[&hosts, section].concat());
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    // By the word of one member, which sees no other.
    let home = "net/hosts/h4";
    for newcomer in ["h5", "h6"] {
        let file = format!("{newcomer}.vat");
        net.file(&file, &vat_file(&net, home));
        let theirs = format!("net/hosts/{newcomer}");
        vat(&net, &["join", &file, "--home", &theirs]).ok();
        net.file(&format!("{newcomer}.card"), &vat(&net, &["card", "--home", &theirs]).ok().stdout);
    }
    for (out, newcomer) in [("h1", "h5.card"), ("h2", "h6.card")] {
        vat(&net, &["member", "replace", "--vat", "counter", "--out", out, "--in", newcomer, "--home", home]).ok();
    }
    // Those that are out, and as many members as may be missing.
    for host in ["h1", "h2", "h3"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    assert_eq!(net.call("counter", "increment", &[]), json!(2));
}

fn vat_file(net: &TestNet, home: &str) -> String {
    vat(net, &["introduce", "counter", "--home", home]).ok().stdout
}

/// A vat file with another name in it.
fn renamed(file: &str, name: &str) -> String {
    let request: CarryRequest = serde_json::from_str(file).expect("a vat file");
    let digits = request.provision.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("hex"));
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    let mut provision: Provision = codec::decode(&bytes).expect("a provision");
    provision.name = name.to_owned();
    serde_json::to_string(&CarryRequest::new(&provision, &Contacts::default())).expect("plain data")
}

/// A page of a host's public interface.
fn page(net: &TestNet, host: &str, path: &str) -> String {
    let address = net.http(host).parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Endpoint::Tcp(address).get_text(path)).expect("it answers")
}

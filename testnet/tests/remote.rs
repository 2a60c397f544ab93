//! Administration of a host from another machine: by a card and an operator's key, without the host's home.

mod support;

use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _};
use support::{FOUR_HOSTS, counter_net};

#[test]
fn an_operator_administrates_a_host_without_its_home() {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    for host in ["alpha", "delta"] {
        let card = net.vat(&["card", "--home", &format!("net/hosts/{host}")]).ok().stdout;
        net.file(&format!("{host}.card"), &card);
    }
    let key = net.vat(&["operator", "init", "remote/alpha", "--card", "alpha.card"]).ok().stdout.trim().to_owned();
    assert_eq!(key.len(), 64, "{key}");
    let again = net.vat(&["operator", "init", "remote/alpha", "--card", "alpha.card"]);
    assert!(again.code == 2 && again.stderr.contains("not there yet"), "{}", again.stderr);
    let mode = fs::metadata(net.path("remote/alpha/operator.key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The host takes no requests of a key that its config does not list.
    let list = ["list", "--home", "remote/alpha", "--json"];
    let refused = net.vat(&["approvals", "counter", "--home", "remote/alpha"]);
    assert!(refused.code != 0 && !refused.stdout.contains("counter"), "{}", refused.stdout);
    let file = net.dir().join("hosts/alpha/host.toml");
    let text = fs::read_to_string(&file).expect("a config");
    fs::write(&file, format!("operators = [\"{key}\"]\n{text}")).expect("ours");
    net.vat(&["testnet", "restart", "alpha"]).ok();

    // Now the folder is as good as a home.
    let listed: Value = net.wait("an answer", || {
        let ran = net.vat(&list);
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).expect("JSON"))
    });
    assert!(listed.to_string().contains("counter"), "{listed}");
    let status = net.wait("a healthy status", || {
        let ran = net.vat(&["status", "counter", "--home", "remote/alpha"]);
        (ran.code == 0).then_some(ran.stdout)
    });
    assert!(status.contains("alpha") && !status.contains("beta"), "only that host is asked: {status}");
    // It changes something: delta is to carry the vat, and alpha, from afar, proposes it.
    let introduced = net.vat(&["introduce", "counter", "--home", "remote/alpha"]).ok().stdout;
    net.file("counter.vat", &introduced);
    net.vat(&["join", "counter.vat", "--home", "net/hosts/delta", "--yes"]).ok();
    net.vat(&["member", "add", "--vat", "counter", "--in", "delta.card", "--home", "remote/alpha"]).ok();
    net.wait("delta to be a member", || {
        let replicas = net.replicas("counter");
        let delta = replicas.iter().find(|(host, _)| host == "delta")?;
        (delta.1.members.len() == 4 && delta.1.role == "follower").then_some(())
    });
    let log = fs::read_to_string(quorate_config::layout::TestnetDir::new(net.dir()).host_log("alpha")).expect("a log");
    assert!(log.contains(&key) && log.contains("an operator changes something"), "who did it is logged");

    // Another key stays outside.
    net.vat(&["operator", "init", "remote/other", "--card", "alpha.card"]).ok();
    let refused = net.vat(&["list", "--home", "remote/other", "--json"]);
    assert!(!refused.stdout.contains("counter"), "{}", refused.stdout);
    // The first key, for another host.
    let shared =
        net.vat(&["operator", "init", "remote/delta", "--card", "delta.card", "--key-of", "remote/alpha"]).ok();
    assert_eq!(shared.stdout.trim(), key);
}

//! Hosts that move are found again: by the vat's other members, by hosts of other vats, and by callers. Nobody changes a config elsewhere.

mod support;

use quorate_testnet::process::TestNet;
use serde_json::json;
use std::{fs, net::TcpListener};
use support::{FOUR_HOSTS, counter_net, metric};

/// A vat on a host that is no member of the counter, and that sends to the counter.
const WITH_A_SENDER: &str = r#"
[[vat]]
name = "sender"
hosts = ["delta"]
threshold = 1
source = "sender.js"
[vat.argv]
counter = { vat = "counter" }
"#;

const SENDER: &str = "
import { E, Far } from '@endo/far';
export default ({ counter }) => Far('sender', { pass: () => E(counter).increment() });
";

/// A port that nobody listens at now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Stops a host, and starts it again at another port. Only the host's own config changes.
fn move_host(net: &TestNet, host: &str) -> String {
    net.vat(&["testnet", "kill", host]).ok();
    let file = net.dir().join("hosts").join(host).join("host.toml");
    let address = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let text = fs::read_to_string(&file).expect("a config");
    let moved: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("listen = ") { format!("listen = [\"{address}\"]") } else { line.to_owned() })
        .collect();
    fs::write(&file, moved.join("\n")).expect("ours");
    net.vat(&["testnet", "restart", host]).ok();
    address
}

/// Waits until a host looks for another one at this address, and has it.
fn knows(net: &TestNet, host: &str, other: &str, address: &str) {
    let key = net.cluster().layout.hosts.iter().find(|place| place.name == other).expect("a host").key.clone();
    net.wait(&format!("{host} to find {other} at {address}"), || {
        let peers = net.host(host)?.peers;
        let peer = peers.iter().find(|peer| peer.key == key)?;
        (peer.connected && peer.addresses.iter().any(|known| known == address)).then_some(())
    });
}

#[test]
fn hosts_that_move_are_found_again_without_a_change_elsewhere() {
    let (net, config) = counter_net(&format!("{FOUR_HOSTS}{WITH_A_SENDER}"));
    net.file("sender.js", SENDER);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));
    assert_eq!(net.call("sender", "pass", &[]), json!(2));

    // One member moves: all that deal with it hear of it.
    let gamma = move_host(&net, "gamma");
    for host in ["alpha", "beta"] {
        knows(&net, host, "gamma", &gamma);
    }
    assert_eq!(net.host("gamma").map(|status| status.announced), Some(vec![gamma.clone()]));
    assert_eq!(net.call("counter", "increment", &[]), json!(3));

    // Two that moved while neither ran find each other by the third.
    net.vat(&["testnet", "kill", "gamma"]).ok();
    let alpha = move_host(&net, "alpha");
    let gamma = move_host(&net, "gamma");
    knows(&net, "alpha", "gamma", &gamma);
    knows(&net, "gamma", "alpha", &alpha);
    // A host with another vat hears of them before the last address that it knew is gone.
    net.wait("records at delta", || {
        (metric(&net.metrics("delta"), "quorate_address_records", &[]) >= 2.0).then_some(())
    });
    net.vat(&["testnet", "kill", "beta"]).ok();
    // The sender's host reaches the counter at its new addresses alone, also after a restart of its own.
    assert_eq!(net.call("sender", "pass", &[]), json!(4));
    net.vat(&["testnet", "kill", "delta"]).ok();
    net.vat(&["testnet", "restart", "delta"]).ok();
    assert_eq!(net.call("sender", "pass", &[]), json!(5));
    // And a caller does: the host that has not moved says where the others are.
    assert_eq!(net.call("counter", "increment", &[]), json!(6));
}

//! What a running host is not hurt by, and what it will not start with: mistaken configs, frames of strangers, forged and replayed
//! slices, and homes that are not what they should be. Broken bytes on its ports are in `strangers.rs`.

mod frames;
mod slices;
mod starts;
#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use quorate_config::home::Home;
use quorate_consensus::HostId;
use quorate_net::{BoxFuture, Handler, Libp2pNetwork, NetLimits, NetOptions, NetReach, Network, Purpose};
use quorate_testnet::process::TestNet;
use std::sync::{Arc, Mutex};
use support::counter_net;

/// A counter on three hosts, another one that knows it, and one that alpha shares with a host that never runs: the tests use its
/// key.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "absent"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "counter.js"
[vat.limits]
checkpoint_deliveries = 5

[[vat]]
name = "other"
hosts = ["alpha"]
source = "counter.js"
[vat.argv]
known = { vat = "counter" }

[[vat]]
name = "shared"
hosts = ["alpha", "beta", "absent"]
threshold = 2
source = "counter.js"
"#;

fn three_hosts() -> TestNet {
    let (net, config) = counter_net(CONFIG);
    net.up(&config, &["--without", "absent"]).ok();
    net
}

fn host_id(net: &TestNet, host: &str) -> HostId {
    let place = net.cluster().layout.hosts.into_iter().find(|place| place.name == host).expect("a known host");
    place.key.parse().expect("a layout's keys are keys")
}

fn home(net: &TestNet, host: &str) -> Home {
    net.cluster().home(host).expect("a home")
}

/// Keeps the slices that it gets, and takes none.
#[derive(Default)]
struct Mailbox(Mutex<Vec<Bytes>>);

impl Handler for Mailbox {
    fn permits(&self, _from: HostId, _purpose: Purpose) -> bool {
        true
    }

    fn handle(&self, _from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        // A courier may also ask, on another purpose, whether this host is there.
        if purpose == Purpose::Slice {
            self.0.lock().expect("no panic holds it").push(frame);
        }
        Box::pin(async { Err("not now".to_owned()) })
    }
}

/// A network of its own key that knows the testnet's hosts.
async fn outsider(net: &TestNet, secret: [u8; 32]) -> (Arc<Libp2pNetwork>, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::default());
    let options = NetOptions {
        secret,
        listen: vec![],
        handler: mailbox.clone(),
        reach: NetReach::default(),
        limits: NetLimits::default(),
    };
    let network = Libp2pNetwork::start(options).await.expect("a network");
    for place in net.cluster().layout.hosts.into_iter().filter(|place| place.name != "absent") {
        network.set_addresses(place.key.parse().expect("a key"), vec![place.address]);
    }
    (network, mailbox)
}

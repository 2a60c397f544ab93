//! Relays: hosts that take no connections are reached through a host that relays for them, and nobody else uses it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Script, ask};
use quorate_net::{HostId, Libp2pNetwork, NetLimits, NetOptions, NetReach, Network, PeerName};

async fn start(seed: u8, listen: &[&str], reach: NetReach) -> Arc<dyn Network> {
    let listen = listen.iter().map(|address| (*address).to_owned()).collect();
    let (handler, limits) = (Script::new(), NetLimits::default());
    Libp2pNetwork::start(NetOptions { secret: [seed; 32], listen, reach, handler, limits }).await.unwrap()
}

/// A host that listens nowhere, with its addresses through the relay.
async fn hidden(seed: u8, relay: &Arc<dyn Network>) -> Arc<dyn Network> {
    let reach = NetReach { relays: vec![(relay.local(), relay.listen_addresses())], relay_for: vec![] };
    let host = start(seed, &[], reach).await;
    host.set_addresses(relay.local(), relay.listen_addresses());
    host
}

async fn reserved(host: &Arc<dyn Network>) -> Vec<String> {
    let agreed = async {
        while host.relayed_addresses().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), agreed).await.expect("the relay agrees");
    host.relayed_addresses()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_serves_the_hosts_on_its_list_and_no_others() {
    let [one, two, stranger] = [2, 3, 4].map(|seed| HostId::of_secret(&[seed; 32]));
    let relay_for = NetReach { relays: vec![], relay_for: vec![one, two] };
    let relay = start(1, &["/ip4/127.0.0.1/tcp/0"], relay_for).await;
    relay.set_addresses(one, vec![]);
    relay.set_addresses(two, vec![]);
    let hosts = [hidden(2, &relay).await, hidden(3, &relay).await, hidden(4, &relay).await];
    let addresses = [reserved(&hosts[0]).await, reserved(&hosts[1]).await];
    let through = format!("{}/p2p/{}/p2p-circuit", relay.listen_addresses()[0], relay.local().peer_id());
    assert_eq!(addresses[0], std::slice::from_ref(&through));
    assert!(hosts[0].listen_addresses().is_empty());

    // Each reaches the other, whose key it has checked itself.
    hosts[0].set_addresses(two, addresses[1].clone());
    assert!(ask(&hosts[0], two, "echo").await.is_ok());
    let peer = hosts[0].peers().into_iter().find(|peer| peer.host == two).unwrap();
    assert!(peer.remote_address.unwrap().contains("/p2p-circuit"));
    assert!(ask(&hosts[1], one, "echo").await.is_ok(), "over the same connection");
    let stats = relay.stats().connections;
    assert!(stats.circuits == 1 && stats.circuits_opened == 1, "{stats:?}");

    // One that is not on the list reaches nobody through the relay, and is not reached.
    hosts[2].set_addresses(one, addresses[0].clone());
    assert!(ask(&hosts[2], relay.local(), "echo").await.is_ok(), "it is connected with the relay");
    assert!(ask(&hosts[2], one, "echo").await.is_err());
    hosts[0].set_addresses(stranger, vec![through]);
    assert!(ask(&hosts[0], stranger, "echo").await.is_err());
    assert!(hosts[2].relayed_addresses().is_empty());
    assert_eq!(relay.stats().connections.circuits_opened, 1);
    for host in hosts.iter().chain([&relay]) {
        host.shutdown().await;
    }
}

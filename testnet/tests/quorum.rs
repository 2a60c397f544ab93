//! The quorum example: three vats that need one another, whole and with hosts left out.

use quorate_testnet::process::{TestNet, own_file, stand_in};
use std::time::Duration;

const EVERYTHING: &str = "++ EVERYTHING WORKS";

fn quorum() -> TestNet {
    TestNet::new(stand_in())
}

#[test]
fn all_hosts_up_everything_works() {
    let net = quorum();
    net.up(&own_file("examples/quorum/testnet.toml"), &[]).ok();
    net.wait("the last line of one's console", || net.console("one").contains(EVERYTHING).then_some(()));
    // Each message came once.
    let heard = net.call("one", "heard", &[]);
    assert_eq!(heard.as_array().map(Vec::len), Some(3), "{heard}");
    net.wait("a status without complaints", || (net.vat(&["status"]).code == 0).then_some(()));
    net.vat(&["testnet", "down"]).ok();
}

#[test]
fn two_of_three_speaks_without_its_third_host() {
    let net = quorum();
    net.up(&own_file("examples/quorum/testnet.toml"), &["--without", "h4"]).ok();
    net.wait("the last line of one's console", || net.console("one").contains(EVERYTHING).then_some(()));
}

#[test]
fn three_of_three_is_silent_without_its_third_host_and_speaks_when_it_comes() {
    let net = quorum();
    net.up(&own_file("examples/quorum/testnet.toml"), &["--without", "h7"]).ok();
    net.wait("two's messages at one", || net.console("one").contains("a greeting from two").then_some(()));
    // Long enough for a message that could be sent to have been sent.
    std::thread::sleep(Duration::from_secs(4));
    assert!(!net.console("one").contains("passed on by three"), "nobody may believe two of three");
    assert_eq!(net.console("three"), "", "two of three elect no leader, and execute nothing");
    net.vat(&["testnet", "restart", "h7"]).ok();
    net.wait("the last line of one's console", || net.console("one").contains(EVERYTHING).then_some(()));
}

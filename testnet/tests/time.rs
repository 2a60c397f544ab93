//! Time in processes: timers that are pending when hosts die, deadlines, and callees that hear of them.

mod support;

use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::{Value, json};
use std::path::PathBuf;
use support::agree;

const NET: &str = r#"
[[host]]
name = "h1"
[[host]]
name = "h2"
[[host]]
name = "h3"

[[vat]]
name = "waiter"
hosts = ["h1", "h2", "h3"]
threshold = 2
source = "CODE/waiter.js"
[vat.argv]
timer = { endowment = "timer" }
slow = { vat = "slow" }
[vat.limits]
checkpoint_deliveries = 5

[[vat]]
name = "slow"
hosts = ["h2", "h3"]
threshold = 2
source = "CODE/slow.js"
"#;

fn net() -> (TestNet, PathBuf) {
    let net = TestNet::new(stand_in());
    let code = own_file("tests/time");
    let config = net.file("testnet.toml", &NET.replace("CODE", code.to_str().expect("a path that is text")));
    net.up(&config, &[]).ok();
    (net, config)
}

/// How late the reminders were, once there are so many.
fn fired(net: &TestNet, count: usize) -> Vec<Value> {
    net.wait("the reminders", || {
        let ran = net.vat(&["call", "waiter", "fired"]);
        let late: Vec<Value> = serde_json::from_str(ran.stdout.trim()).ok()?;
        (late.len() >= count).then_some(late)
    })
}

#[test]
fn timers_fire_once_though_the_leader_is_killed_and_after_a_power_cut_of_all() {
    let (net, config) = net();
    let now = net.call("waiter", "now", &[]).as_u64().expect("a time");
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert!(u128::from(now) <= clock, "the vat's time {now} is ahead of the clock {clock}");
    assert!(u128::from(now) + 600_000 > clock, "the vat's time {now} is none");
    for round in 1..=2 {
        net.call("waiter", "remind", &["3000"]);
        let leader = net.leader("waiter");
        net.vat(&["testnet", "kill", &leader]).ok();
        fired(&net, round);
        net.vat(&["testnet", "restart", &leader]).ok();
    }
    net.call("waiter", "remind", &["3000"]);
    for host in ["h1", "h2", "h3"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    net.up(&config, &[]).ok();
    let late = fired(&net, 3);
    assert!(late.iter().all(|late| late.as_i64().is_some_and(|late| late >= 0)), "a timer fired early: {late:?}");
    agree(&net, "waiter", 3, 0);
    assert_eq!(fired(&net, 3).len(), 3, "each fires once");
    net.vat(&["testnet", "down"]).ok();
}

#[test]
fn a_deadline_passes_and_the_callee_hears_that_nobody_waits() {
    let (net, _) = net();
    assert_eq!(net.call("waiter", "ask", &["500"]), json!("TimeoutError"));
    net.wait("the callee to hear", || (net.call("slow", "heard", &[]) == json!(1)).then_some(()));
    net.vat(&["testnet", "down"]).ok();
}

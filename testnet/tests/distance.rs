//! Members far from each other, as real processes: every connection between them goes through a line that takes its time.

mod support;

use quorate_testnet::line::{self, Line};
use quorate_testnet::process::TestNet;
use serde_json::json;
use std::{sync::Arc, thread, time::Duration};
use support::counter_net;

/// Three hosts, and a vat that none of the others needs.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "other"

[[vat]]
name = "counter"
hosts = ["other"]
threshold = 1
source = "counter.js"
"#;

/// Longer than a leader is believed in without a word, three times over.
const IDLE: Duration = Duration::from_secs(5);

/// The term and the leader that each member knows.
fn leaders(net: &TestNet) -> Vec<(u64, Option<String>)> {
    net.replicas("purse").into_iter().map(|(_, status)| (status.term, status.leader)).collect()
}

#[test]
fn members_20_to_400_ms_apart_answer_after_idling() {
    let (net, config) = counter_net(CONFIG);
    net.up(&config, &[]).ok();
    let line = Arc::new(Line::default());
    line::cards(&net, &line).expect("cards");
    let purse = line::vat(&net, "purse", &["alpha", "beta", "gamma"], 2, "counter.js").expect("a vat");
    net.wait("the code", || net.replicas("purse").iter().any(|(_, status)| status.installed).then_some(()));
    for (count, (one_way_ms, jitter_ms)) in [(10, 0), (50, 0), (100, 0), (80, 40), (200, 0)].into_iter().enumerate() {
        line.delay(one_way_ms, jitter_ms);
        thread::sleep(IDLE);
        // A busy machine may hold an election. A line that is merely long may not hold one after the other.
        let is_calm = || {
            let before = leaders(&net);
            thread::sleep(IDLE);
            before.len() == 3 && before.iter().all(|(_, leader)| leader.is_some()) && before == leaders(&net)
        };
        assert!((0..5).any(|_| is_calm()), "{one_way_ms} ms: elections without end: {:?}", leaders(&net));
        let called = net.vat(&["call", &purse, "increment", "--at", "beta.card", "--timeout", "60"]).ok();
        assert_eq!(called.stdout.trim(), json!(count + 1).to_string(), "{one_way_ms} ms");
    }
}

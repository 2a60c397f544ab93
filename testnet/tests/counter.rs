//! A 2-of-3 counter under load while machines die: nothing acknowledged is lost, nothing counts twice, replicas agree.

mod support;

use quorate_client::Client;
use quorate_engine::{abi::Method, comms::client::ClientRef};
use quorate_testnet::process::{TestNet, members};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{FOUR_HOSTS, agree, counter_net, metric, sturdyref};

/// A counter that makes a checkpoint every few deliveries, so that restarts and purges come with the load.
const MORE: &str = r#"
[vat.limits]
checkpoint_deliveries = 40
"#;

fn config_text() -> String {
    [FOUR_HOSTS, MORE].concat()
}

fn counter() -> TestNet {
    let (net, config) = counter_net(&config_text());
    net.up(&config, &[]).ok();
    net
}

/// Calls that go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    /// Waits until so many calls were answered, stops, and returns how many it were in the end.
    fn end(self, net: &TestNet, least: u64) -> u64 {
        net.wait("answers", || (self.answered.load(Ordering::Relaxed) > least).then_some(()));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends well");
        self.answered.load(Ordering::Relaxed)
    }
}

/// Calls `increment` from several sides at once.
fn load(net: &TestNet) -> Load {
    let (sturdyref, members) = (sturdyref(net, "counter"), members(net));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load = (stop.clone(), answered.clone());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let client = Arc::new(Client::connect(&sturdyref, &members).await.expect("a client"));
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    let (client, stop, answered) = (client.clone(), stop.clone(), answered.clone());
                    tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            let method = Method::Call("increment".into());
                            let deadline = Duration::from_secs(240);
                            let answer = client.call(ClientRef::Object(0), method, vec![], deadline).await;
                            let answer = answer.expect("every call is answered in the end");
                            assert!(answer.fulfilled, "{answer:?}");
                            answered.fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("no caller fails");
            }
        })
    });
    Load { stop: load.0, answered: load.1, thread }
}

#[test]
fn every_acknowledged_increment_counts_once_while_members_die_in_turn() {
    let net = counter();
    let load = load(&net);
    let hosts = ["alpha", "beta", "gamma"];
    for round in 0..10 {
        // The leader every other time.
        let victim = if round % 2 == 0 { net.leader("counter") } else { hosts[round % 3].to_owned() };
        net.vat(&["testnet", "kill", &victim]).ok();
        std::thread::sleep(Duration::from_millis(700));
        net.vat(&["testnet", "restart", &victim]).ok();
        std::thread::sleep(Duration::from_millis(700));
    }
    let answered = load.end(&net, 100);
    assert_eq!(net.call("counter", "read", &[]), serde_json::json!(answered));
    agree(&net, "counter", 3, 0);
}

#[test]
fn all_hosts_killed_at_once_go_on_from_a_checkpoint() {
    let net = counter();
    for _ in 0..60 {
        net.call("counter", "increment", &[]);
    }
    let checkpoint = agree(&net, "counter", 3, 0);
    for host in ["alpha", "beta", "gamma", "delta"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    assert_eq!(net.call("counter", "read", &[]), serde_json::json!(60));
    assert_eq!(net.call("counter", "increment", &["2"]), serde_json::json!(62));
    let replicas = net.replicas("counter");
    assert_eq!(replicas.len(), 3);
    for (host, status) in replicas {
        assert!(status.certified_checkpoint_block >= checkpoint, "{host} lost its checkpoint");
        // From a checkpoint, not from the beginning: 60 calls and their acknowledgements were before.
        let deliveries = metric(&net.metrics(&host), "quorate_deliveries_total", &["vat=\"counter\""]);
        assert!(deliveries < 60.0, "{host} executed {deliveries} deliveries again");
    }
}

#[test]
fn a_member_is_swapped_under_load_and_the_old_one_is_out() {
    let net = counter();
    let load = load(&net);
    std::thread::sleep(Duration::from_millis(500));
    net.vat(&["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    std::thread::sleep(Duration::from_millis(500));
    // Without the old member, the new one is needed for the threshold.
    net.vat(&["testnet", "kill", "gamma"]).ok();
    net.vat(&["testnet", "kill", "alpha"]).ok();
    std::thread::sleep(Duration::from_secs(1));
    let answered = load.end(&net, 20);
    assert_eq!(net.call("counter", "read", &[]), serde_json::json!(answered));
    net.vat(&["testnet", "restart", "alpha"]).ok();
    agree(&net, "counter", 3, 0);
    for (_, status) in net.replicas("counter") {
        let names: Vec<_> = status.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!((status.epoch, names), (1, vec!["alpha", "beta", "delta"]));
    }
    // It comes back, and is nobody.
    net.vat(&["testnet", "restart", "gamma"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(answered + 1));
}

#[test]
fn a_solo_vat_grows_to_three_and_shrinks_again() {
    let config = config_text()
        .replace(r#"["alpha", "beta", "gamma"]"#, r#"["alpha"]"#)
        .replace("threshold = 2", "threshold = 1");
    let (net, config) = counter_net(&config);
    net.up(&config, &[]).ok();
    for _ in 0..50 {
        net.call("counter", "increment", &[]);
    }
    net.vat(&["member", "add", "--vat", "counter", "--in", "beta", "--threshold", "2"]).ok();
    net.vat(&["member", "add", "--vat", "counter", "--in", "gamma"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(51));
    net.vat(&["testnet", "kill", "alpha"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(52));
    net.vat(&["testnet", "restart", "alpha"]).ok();
    net.vat(&["member", "remove", "--vat", "counter", "--out", "alpha"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(53));
    let leader = net.leader("counter");
    let status = net.replicas("counter").into_iter().find(|(host, _)| *host == leader).expect("it leads").1;
    assert_eq!((status.members.len(), status.threshold), (2, 2));
}

#[test]
fn a_lying_member_is_believed_by_nobody_and_shown_to_everybody() {
    let (mut net, config) = counter_net(&config_text());
    net.environment("QUORATE_TEST_LIAR", "gamma");
    net.up(&config, &[]).ok();
    for count in 1..=5 {
        assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(count));
    }
    net.wait("the disagreement in the metrics", || {
        let page = net.metrics("alpha");
        let mut counts = page.lines().filter(|line| line.starts_with("quorate_disagreements_total{"));
        counts.any(|line| line.contains("vat=\"counter\"") && !line.ends_with(" 0")).then_some(())
    });
    let log = net.vat(&["logs", "alpha"]).stdout;
    assert!(log.contains("Q-DISAGREEMENT"), "{log}");
    // A person who asks is told, too.
    let status = net.vat(&["status", "counter"]);
    assert_eq!(status.code, 1);
    assert!(status.stdout.contains("accuses nobody"), "{}", status.stdout);
}

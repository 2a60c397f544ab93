//! What Prometheus reads of hosts: every family that is promised is there, and moves with what happens and with nothing else.

mod support;

use quorate_engine::abi::Value;
use quorate_testnet::{
    exposition::{Exposition, Family},
    process::TestNet,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use support::{ask, client, listened_to_counter};

const HOSTS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const MEMBERS: [&str; 3] = ["alpha", "beta", "gamma"];
const COUNTER_VAT: (&str, &str) = ("vat", "counter");
const LISTENER_VAT: (&str, &str) = ("vat", "listener");
const FUEL: f64 = 150_000_000.0;

/// The pages of some hosts at about one time.
struct View(BTreeMap<&'static str, Exposition>);

impl View {
    fn of(net: &TestNet, hosts: &[&'static str]) -> View {
        let read = |host: &&'static str| {
            let page = Exposition::parse(&net.metrics(host)).unwrap_or_else(|error| panic!("{host}: {error}"));
            (*host, page)
        };
        View(hosts.iter().map(read).collect())
    }

    /// Reads pages until they show something.
    #[track_caller]
    fn showing(net: &TestNet, what: &str, hosts: &[&'static str], shows: impl Fn(&View) -> bool) -> View {
        net.wait(what, || Some(View::of(net, hosts)).filter(&shows))
    }

    fn hosts(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// A host's sample, or the sum of several; not there counts as a failure.
    #[track_caller]
    fn at(&self, host: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0[host].sum(name, labels).unwrap_or_else(|| panic!("{host} has no {name} {labels:?}"))
    }

    /// The counter vat's samples, at each host.
    #[track_caller]
    fn counter(&self, name: &str) -> Vec<f64> {
        self.hosts().map(|host| self.at(host, name, &[COUNTER_VAT])).collect()
    }

    /// The hosts that lead the counter vat.
    fn leaders(&self) -> Vec<&'static str> {
        self.hosts().filter(|host| self.at(host, "quorate_raft_leader", &[COUNTER_VAT]) == 1.0).collect()
    }

    /// The roles that a host has in the counter vat: there should be one.
    fn roles(&self, host: &str) -> Vec<String> {
        let labels = [COUNTER_VAT];
        let held = self.0[host].samples("quorate_raft_role", &labels).filter(|sample| sample.value == 1.0);
        held.map(|sample| sample.labels["role"].clone()).collect()
    }
}

/// Calls methods of the counter vat's root, one after the other; returns which were fulfilled.
fn call_all(net: &TestNet, methods: &[&str]) -> Vec<bool> {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let client = client(net, "counter").await;
        let mut fulfilled = Vec::new();
        for method in methods {
            let args = if *method == "tell" { vec![Value::String("news".to_owned())] } else { Vec::new() };
            fulfilled.push(ask(&client, method, args).await.fulfilled);
        }
        client.close().await;
        fulfilled
    })
}

#[test]
fn every_figure_moves_with_what_happens_and_with_nothing_else() {
    let net = listened_to_counter();
    let before = View::showing(&net, "code on all hosts", &MEMBERS, |view| {
        view.counter("quorate_deliveries_total") == [1.0; 3] && view.counter("quorate_crank_seconds_count") == [1.0; 3]
    });
    every_promised_family_is_there(&before);
    the_configuration_lists_all_hosts(&net);
    calls_are_seen(&net, &before);
    a_silent_peer_is_seen(&net);
    a_swap_is_seen(&net);
    a_lost_leader_is_seen(&net);
    a_lost_quorum_is_seen(&net);
    let end = View::of(&net, &["alpha", "beta", "delta"]);
    assert_eq!(end.counter("quorate_equivocations_total"), [0.0; 3]);
    assert_eq!(end.counter("quorate_disagreements_total"), [0.0; 3]);
    assert_eq!(end.counter("quorate_replica_fault"), [0.0; 3]);
}

/// Families of the reference: name, type, names of labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let text = fs::read_to_string(page).expect("the reference is there");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `quorate_")?.splitn(4, '|').map(str::trim);
        let name = format!("quorate_{}", cells.next()?.strip_suffix('`')?);
        let (kind, labels) = (cells.next()?.to_owned(), cells.next()?);
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        Some((name, (kind, labels)))
    };
    text.lines().filter_map(row).collect()
}

fn every_promised_family_is_there(view: &View) {
    let documented = documented();
    assert!(documented.len() > 50, "{documented:?}");
    for (host, page) in &view.0 {
        for (name, (kind, labels)) in &documented {
            let Some(Family { kind: found, samples, .. }) = page.families.get(name) else {
                panic!("{host}: no {name}")
            };
            assert_eq!(found, kind, "{host}: {name}");
            assert!(!samples.is_empty(), "{host}: {name} has no series");
            for sample in samples {
                let own: BTreeSet<String> = sample.labels.keys().filter(|label| *label != "le").cloned().collect();
                assert_eq!(own, *labels, "{host}: {name}");
            }
        }
        let own = page.families.keys().filter(|name| name.starts_with("quorate_"));
        let unknown: Vec<_> = own.filter(|name| !documented.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "{host}: {unknown:?} are not in the reference");
        assert!(page.families.keys().any(|name| name.starts_with("libp2p_")), "{host}: nothing of libp2p");
    }
}

fn the_configuration_lists_all_hosts(net: &TestNet) {
    let text = fs::read_to_string(net.dir().join("prometheus-hosts.json")).expect("it was written");
    let listed: serde_json::Value = serde_json::from_str(&text).expect("a list of targets");
    let expected = HOSTS.map(|host| serde_json::json!({ "targets": [net.http(host)], "labels": { "host": host } }));
    assert_eq!(listed, serde_json::json!(expected));
}

/// Ten calls, one that takes memory, and one that never ends.
fn calls_are_seen(net: &TestNet, before: &View) {
    let methods = [&["increment"; 10][..], &["grow", "forever"]].concat();
    let fulfilled = call_all(net, &methods);
    assert_eq!(fulfilled, [[true; 11].as_slice(), &[false]].concat());
    let after = View::showing(net, "all calls, signed and in checkpoints", &MEMBERS, |view| {
        let gone = |name: &str, by: f64| {
            let pairs = before.counter(name).into_iter().zip(view.counter(name));
            pairs.into_iter().all(|(before, after)| after >= before + by)
        };
        gone("quorate_deliveries_total", 12.0)
            && gone("quorate_crank_seconds_count", 12.0)
            && gone("quorate_crank_fuel_count", 12.0)
            && gone("quorate_checkpoints_total", 2.0)
            && gone("quorate_certified_checkpoint_block", 1.0)
            && view.counter("quorate_uncertified_statements") == [0.0; 3]
            && view.leaders().len() == 1
    });
    no_counter_falls(before, &after);
    for host in MEMBERS {
        cranks_have_moved(before, &after, host);
        agreement_has_moved(before, &after, host);
        checkpoints_have_moved(before, &after, host);
        the_host_has_moved(net, before, &after, host);
    }
    let fuel = after.counter("quorate_crank_fuel_sum");
    assert_eq!(fuel, [fuel[0]; 3], "equal on all replicas");
    let leader = after.leaders()[0];
    for host in MEMBERS {
        assert_eq!(after.roles(host), [if host == leader { "leader" } else { "follower" }], "{host}");
    }
}

/// Of the same processes: what counts never falls, and no series goes away.
fn no_counter_falls(before: &View, after: &View) {
    for (host, page) in &before.0 {
        let families = page.families.values().filter(|family| family.kind != "gauge");
        let now: BTreeMap<_, f64> = after.0[host]
            .families
            .values()
            .flat_map(|family| &family.samples)
            .map(|sample| (sample.series(), sample.value))
            .collect();
        for sample in families.flat_map(|family| &family.samples).filter(|sample| sample.name.starts_with("quorate_")) {
            let value = now.get(&sample.series()).unwrap_or_else(|| panic!("{host}: {sample:?} is gone"));
            assert!(*value >= sample.value, "{host}: {sample:?} has become {value}");
        }
    }
}

/// By how much a figure of a host has risen.
#[track_caller]
fn rise(before: &View, after: &View, host: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    after.at(host, name, labels) - before.at(host, name, labels)
}

fn cranks_have_moved(before: &View, after: &View, host: &str) {
    let risen = |name| rise(before, after, host, name, &[COUNTER_VAT]);
    assert_eq!(risen("quorate_deliveries_total"), 12.0, "{host}");
    assert_eq!(risen("quorate_crank_seconds_count"), 12.0, "{host}");
    assert_eq!(risen("quorate_crank_fuel_count"), 12.0, "{host}");
    // What never ends has used all fuel that there is; the others together less than another such.
    assert!((FUEL..2.0 * FUEL).contains(&risen("quorate_crank_fuel_sum")), "{host}");
    let (cranks, blocks) = (risen("quorate_crank_seconds_sum"), risen("quorate_block_seconds_sum"));
    assert!(0.0 < cranks && cranks <= blocks + 1e-6, "{host}: {cranks} seconds of cranks in {blocks} of blocks");
    for limit in ["fuel", "memory", "stack", "recursion", "abort"] {
        let undone =
            rise(before, after, host, "quorate_rolled_back_deliveries_total", &[COUNTER_VAT, ("limit", limit)]);
        assert_eq!(undone, if limit == "fuel" { 1.0 } else { 0.0 }, "{host}: {limit}");
    }
    assert!(before.at(host, "quorate_heap_bytes", &[COUNTER_VAT]) > 0.0, "{host}");
    assert!(risen("quorate_heap_bytes") > 0.0, "{host}: eight more megabytes");
}

fn agreement_has_moved(before: &View, after: &View, host: &str) {
    let risen = |name| rise(before, after, host, name, &[COUNTER_VAT]);
    for name in [
        "quorate_committed_block",
        "quorate_applied_block",
        "quorate_certified_block",
        "quorate_blocks_total",
        "quorate_signature_shares_signed_total",
        "quorate_signature_shares_sent_total",
        "quorate_signature_shares_received_total",
        "quorate_certificates_total",
        "quorate_certify_seconds_count",
        "quorate_log_flush_seconds_count",
    ] {
        assert!(risen(name) > 0.0, "{host}: {name}");
    }
    assert!(after.at(host, "quorate_raft_term", &[COUNTER_VAT]) >= 1.0, "{host}");
    for (name, value) in [("quorate_epoch", 0.0), ("quorate_members", 3.0), ("quorate_threshold", 2.0)] {
        assert_eq!(after.at(host, name, &[COUNTER_VAT]), value, "{host}: {name}");
    }
    let labels = [COUNTER_VAT];
    let equivocations: Vec<f64> =
        after.0[host].samples("quorate_equivocations_total", &labels).map(|sample| sample.value).collect();
    assert_eq!(equivocations, [0.0; 2], "{host}: one for each other member");
}

fn checkpoints_have_moved(before: &View, after: &View, host: &str) {
    let risen = |name| rise(before, after, host, name, &[COUNTER_VAT]);
    for name in ["quorate_checkpoint_block", "quorate_certified_checkpoint_block", "quorate_checkpoint_bytes_total"] {
        assert!(risen(name) > 0.0, "{host}: {name}");
    }
    assert_eq!(risen("quorate_checkpoint_seconds_count"), risen("quorate_checkpoints_total"), "{host}");
    assert!(risen("quorate_checkpoint_seconds_sum") > 0.0, "{host}");
    let size = |part| after.at(host, "quorate_checkpoint_bytes", &[COUNTER_VAT, ("part", part)]);
    let (whole, new) = (size("whole"), size("new"));
    assert!(0.0 < new && new <= whole, "{host}: {new} of {whole}");
}

fn the_host_has_moved(net: &TestNet, before: &View, after: &View, host: &str) {
    let status = net.host(host).expect("it runs");
    let build = [("image", status.image.as_str()), ("version", status.version.as_str())];
    assert_eq!(after.at(host, "quorate_build_info", &build), 1.0, "{host}");
    assert_eq!(after.at(host, "quorate_vats", &[]), 1.0, "{host}");
    assert!(after.at(host, "quorate_connected_peers", &[]) >= 2.0, "{host}: the other members");
    for direction in ["in", "out"] {
        let bytes = rise(before, after, host, "quorate_net_bytes_total", &[("direction", direction)]);
        assert!(bytes > 0.0, "{host}: {direction}");
    }
    for family in ["log", "chunk"] {
        let risen = rise(before, after, host, "quorate_store_bytes", &[("family", family)]);
        assert!(risen > 0.0, "{host}: {family}");
    }
    assert!(rise(before, after, host, "quorate_store_wal_bytes", &[]) > 0.0, "{host}");
    for name in ["quorate_store_sync_seconds_count", "quorate_store_sync_seconds_sum"] {
        assert!(rise(before, after, host, name, &[]) > 0.0, "{host}: {name}");
    }
}

/// What is said to a vat whose host is down waits, at each member, and goes out when it is back.
fn a_silent_peer_is_seen(net: &TestNet) {
    let peer = ("peer", "listener");
    let waiting = |view: &View| -> Vec<f64> {
        view.hosts().map(|host| view.at(host, "quorate_unacknowledged_messages", &[COUNTER_VAT, peer])).collect()
    };
    let sum = |view: &View, name: &str, labels: &[(&str, &str)]| -> f64 {
        view.hosts().map(|host| view.at(host, name, labels)).sum()
    };
    let unreachable = [COUNTER_VAT, ("outcome", "unreachable")];
    let taken = [COUNTER_VAT, ("outcome", "taken")];
    // Once it was heard, the listener is one of the vat's peers.
    assert_eq!(call_all(net, &["tell"]), [true]);
    let before = View::showing(net, "the first news", &MEMBERS, |view| {
        view.0.values().all(|page| page.sum("quorate_unacknowledged_messages", &[COUNTER_VAT, peer]) == Some(0.0))
    });
    net.vat(&["testnet", "kill", "delta"]).ok();
    assert_eq!(call_all(net, &["tell", "tell", "tell"]), [true; 3]);
    let down = View::showing(net, "messages that wait", &MEMBERS, |view| {
        waiting(view) == [3.0; 3]
            && sum(view, "quorate_slices_shipped_total", &unreachable)
                > sum(&before, "quorate_slices_shipped_total", &unreachable)
    });
    assert!(down.counter("quorate_outbox_messages").iter().all(|messages| *messages >= 3.0));
    net.vat(&["testnet", "restart", "delta"]).ok();
    let up = View::showing(net, "messages that got through", &MEMBERS, |view| waiting(view) == [0.0; 3]);
    let shipped = |view: &View| sum(view, "quorate_slices_shipped_total", &taken);
    assert!(shipped(&up) > shipped(&before));
    View::showing(net, "the listener's lines", &["delta"], |view| {
        let lines = view.at("delta", "quorate_console_lines_total", &[LISTENER_VAT, ("level", "info")]);
        let received = view.at("delta", "quorate_slices_received_total", &[LISTENER_VAT, ("outcome", "taken")]);
        lines >= 3.0 && received >= 1.0
    });
}

/// A newcomer gets the state, the old member is out, and everybody shows it.
fn a_swap_is_seen(net: &TestNet) {
    net.vat(&["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    let members = ["alpha", "beta", "delta"];
    let after = View::showing(net, "the new epoch", &HOSTS, |view| {
        let applied: Vec<f64> =
            members.iter().map(|host| view.at(host, "quorate_applied_block", &[COUNTER_VAT])).collect();
        members.iter().all(|host| view.at(host, "quorate_epoch", &[COUNTER_VAT]) == 1.0)
            && applied == [applied[0]; 3]
            && view.roles("gamma") == ["removed"]
            && view.leaders().len() == 1
    });
    assert!(members.contains(&after.leaders()[0]));
    let waiting = after.at("gamma", "quorate_uncertified_statements", &[COUNTER_VAT]);
    assert_eq!(waiting, 0.0, "it waits for nothing any more");
    assert!(after.at("delta", "quorate_snapshot_received_bytes_total", &[COUNTER_VAT]) > 0.0);
    assert!(after.counter("quorate_snapshot_sent_bytes_total").iter().sum::<f64>() > 0.0);
    for host in members {
        assert_eq!(after.at(host, "quorate_members", &[COUNTER_VAT]), 3.0, "{host}");
    }
}

/// Another leads in a later term; who comes back has new counters and a checkpoint to begin from.
fn a_lost_leader_is_seen(net: &TestNet) {
    let members = ["alpha", "beta", "delta"];
    let before = View::showing(net, "a leader", &members, |view| view.leaders().len() == 1);
    let lost = before.leaders()[0];
    let survivors: Vec<_> = members.into_iter().filter(|host| *host != lost).collect();
    net.vat(&["testnet", "kill", lost]).ok();
    assert_eq!(call_all(net, &["increment"]), [true]);
    let after = View::showing(net, "another leader", &survivors, |view| {
        let applied = |host: &&str| rise(&before, view, host, "quorate_applied_block", &[COUNTER_VAT]) > 0.0;
        view.leaders().len() == 1 && survivors.iter().all(applied)
    });
    for host in &survivors {
        assert!(rise(&before, &after, host, "quorate_raft_term", &[COUNTER_VAT]) >= 1.0, "{host}");
        assert_eq!(after.at(host, "quorate_epoch", &[COUNTER_VAT]), 1.0, "{host}");
    }
    net.vat(&["testnet", "restart", lost]).ok();
    let back = View::showing(net, "the lost one at work", &members, |view| {
        let applied = view.counter("quorate_applied_block");
        applied == [applied[0]; 3]
            && view.roles(lost).iter().all(|role| ["leader", "follower"].contains(&role.as_str()))
    });
    let whole = back.at(lost, "quorate_checkpoint_bytes", &[COUNTER_VAT, ("part", "whole")]);
    assert!(whole > 0.0, "{lost} began from a checkpoint");
    // One of the others has been there from the beginning.
    let most = back.counter("quorate_deliveries_total").into_iter().fold(0.0, f64::max);
    assert!(back.at(lost, "quorate_deliveries_total", &[COUNTER_VAT]) < most, "{lost} executed everything again");
}

/// Who is left alone says by itself that nobody leads, as its readiness does, and so does nobody else.
fn a_lost_quorum_is_seen(net: &TestNet) {
    let leaderless = |view: &View, host: &str| view.at(host, "quorate_raft_leaderless", &[COUNTER_VAT]);
    let all = View::showing(net, "a leader that all know", &HOSTS, |view| {
        view.leaders().len() == 1 && HOSTS.iter().all(|host| leaderless(view, host) == 0.0)
    });
    assert_eq!(all.roles("gamma"), ["removed"]);
    for host in ["alpha", "beta"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    let alone = View::showing(net, "nobody leading", &["gamma", "delta"], |view| leaderless(view, "delta") == 1.0);
    assert_eq!(leaderless(&alone, "gamma"), 0.0, "it is no member any more");
    for host in ["alpha", "beta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    View::showing(net, "a leader again", &["alpha", "beta", "delta"], |view| {
        view.hosts().all(|host| leaderless(view, host) == 0.0)
    });
}

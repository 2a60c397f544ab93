//! The examples of contracts, run as their configs say: in processes, by the command line.

mod support;

use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::{Value, json};
use support::agree;

/// Runs one of the exchange's configs.
fn exchange(config: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    net.up(&own_file(&format!("examples/exchange/{config}")), &[]).ok();
    net
}

/// How a trade ended, and who has how much of money and goods.
fn ended(outcome: &str, bob: &str, of_alice: [u64; 2], of_bob: [u64; 2]) -> Value {
    json!({ "outcome": outcome, "bob": bob, "balances": { "alice": of_alice, "bob": of_bob } })
}

fn traded(times: u64) -> Value {
    ended("traded", "offered", [1000 - 30 * times, 10 * times], [30 * times, 300 - 10 * times])
}

#[test]
fn five_vats_on_five_hosts_exchange_in_both_orders() {
    let net = exchange("testnet.toml");
    assert_eq!(net.call("driver", "trade", &["alice"]), traded(1));
    assert_eq!(net.call("driver", "trade", &["bob"]), traded(2));
    let cheap = net.call("driver", "trade", &["alice", "10"]);
    assert_eq!(cheap, ended("cancelled", "refused: too cheap", [940, 20], [60, 280]));
    // The machines of all vats stop and start: purses and seats are where they were.
    for host in ["h1", "h2", "h3", "h4", "h5"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    net.up(&own_file("examples/exchange/testnet.toml"), &[]).ok();
    assert_eq!(net.call("driver", "trade", &["bob"]), traded(3));
}

#[test]
fn whoever_trades_with_a_liar_gets_back_what_was_given() {
    let net = exchange("lying.toml");
    let lies = [
        ("silent", "did nothing"),
        ("forger", "refused: this is no purse of goods"),
        ("other mint", "refused: this is no purse of goods"),
        ("poor", "refused: 10 of goods are more than this purse holds"),
        ("thief", "refused: this token is for another contract or for another role; it was not used"),
    ];
    for first in ["alice", "bob"] {
        for (lie, end) in lies {
            let found = net.call("driver", "cheat", &[first, lie]);
            assert_eq!(found, ended("cancelled", end, [1000, 0], [0, 300]), "{first} first, {lie}");
        }
    }
}

/// The most deliveries that a member of the vat has had.
fn deliveries(net: &TestNet, vat: &str) -> u64 {
    net.replicas(vat).iter().map(|(_, status)| status.deliveries).max().unwrap_or_default()
}

#[test]
fn a_quorum_escrow_exchanges_while_its_leaders_are_killed() {
    let net = exchange("quorum.toml");
    for run in 0..10 {
        let first = if run % 2 == 0 { "alice" } else { "bob" };
        let vat = if run % 4 < 2 { "contracts" } else { "mint" };
        let moment = deliveries(&net, vat) + 3 + 2 * (run % 3);
        let found = std::thread::scope(|scope| {
            let trade = scope.spawn(|| net.call("driver", "trade", &[first]));
            net.wait("the middle of the trade", || (deliveries(&net, vat) >= moment).then_some(()));
            let victim = net.leader(vat);
            net.vat(&["testnet", "kill", &victim]).ok();
            net.vat(&["testnet", "restart", &victim]).ok();
            trade.join().expect("the call was answered")
        });
        assert_eq!(found, traded(run + 1), "run {run}");
    }
    agree(&net, "contracts", 4, 0);
    agree(&net, "mint", 3, 0);
}

/// The checks of `tests/examples`, run by a vat of its own against the contracts in vats of theirs.
const CHECKS: &str = r#"
[[host]]
name = "h1"
[[host]]
name = "h2"
[[host]]
name = "h3"

[[vat]]
name = "mint"
hosts = ["h1", "h2", "h3"]
threshold = 2
source = "EXAMPLES/mint/mint.js"
[vat.limits]
checkpoint_deliveries = 20

[[vat]]
name = "clock"
hosts = ["h1"]
source = "CHECKS/clock.js"

[[vat]]
name = "contracts"
hosts = ["h1", "h2", "h3"]
threshold = 2
source = "EXAMPLES/contracts/host.js"
[vat.argv]
timer = { vat = "clock" }
[vat.limits]
checkpoint_deliveries = 20

[[vat]]
name = "names"
hosts = ["h1", "h2", "h3"]
threshold = 3
source = "EXAMPLES/names/names.js"
[vat.limits]
checkpoint_deliveries = 20

[[vat]]
name = "room"
hosts = ["h2"]
source = "EXAMPLES/chat/chat.js"
[vat.argv]
timer = { vat = "clock" }

[[vat]]
name = "checks"
hosts = ["h3"]
source = "CHECKS/checks.js"
[vat.argv]
mint = { vat = "mint" }
host = { vat = "contracts" }
names = { vat = "names" }
chat = { vat = "room" }
clock = { vat = "clock" }
escrow = { file = "EXAMPLES/contracts/escrow.js" }
coveredCall = { file = "EXAMPLES/contracts/covered-call.js" }
auction = { file = "EXAMPLES/contracts/auction.js" }
"#;

#[test]
fn all_contracts_keep_their_promises_between_processes() {
    let net = TestNet::new(stand_in());
    let path = |folder: &str| own_file(folder).to_str().expect("a path that is text").to_owned();
    let config = CHECKS.replace("EXAMPLES", &path("examples")).replace("CHECKS", &path("tests/examples"));
    let config = net.file("testnet.toml", &config);
    net.up(&config, &[]).ok();
    for part in ["mints", "hosts", "escrows", "options", "auctions", "registries", "chats"] {
        assert_eq!(net.call("checks", "run", &[&json!([part]).to_string()]), json!([]), "{part}");
    }
    for vat in ["mint", "contracts", "names"] {
        agree(&net, vat, 3, 0);
    }
}

#[test]
fn a_room_on_three_hosts_knows_who_is_there() {
    let net = TestNet::new(stand_in());
    net.up(&own_file("examples/chat/testnet.toml"), &[]).ok();
    net.wait("all three in the room", || {
        (sorted(net.call("ann", "others", &[])) == ["Ann", "Ben", "Cyd"]).then_some(())
    });
    net.call("ann", "say", &["hello"]);
    net.vat(&["testnet", "kill", &net.leader("room")]).ok();
    net.call("ben", "say", &["hi"]);
    net.call("cyd", "leave", &[]);
    let heard = |vat: &str| net.call(vat, "heard", &[]).as_array().cloned().unwrap_or_default();
    let ends_with = |vat: &str| heard(vat).ends_with(&[json!("Ann: hello"), json!("Ben: hi"), json!("Cyd left")]);
    net.wait("the farewell", || (ends_with("ann") && ends_with("ben")).then_some(()));
    assert_eq!(sorted(net.call("ben", "others", &[])), ["Ann", "Ben"]);
    let late = net.vat(&["call", "cyd", "say", "still here"]);
    assert!(late.code == 1 && late.stderr.contains("not there"), "{late:?}");
}

/// The story of the read-me, where a partner lies: what its host signs convicts it, and the others go on.
#[test]
fn a_partner_that_signs_two_results_is_convicted_and_the_account_goes_on() {
    let mut net = TestNet::new(stand_in());
    net.environment("QUORATE_TEST_EQUIVOCATOR", "cedar");
    net.up(&own_file("examples/account/testnet.toml"), &[]).ok();
    net.call("account", "seat", &["supplier"]);
    net.call("account", "seat", &["buyer"]);
    for delivery in 1..=8 {
        assert_eq!(net.call("ref:supplier-1", "deliver", &["wheat", "100"]), json!(delivery));
        assert_eq!(net.call("ref:buyer-1", "accept", &[&delivery.to_string()]), json!(100 * delivery));
    }
    let members = net.replicas("account").into_iter().next().expect("it runs").1.members;
    let cedar = members.iter().find(|member| member.name == "cedar").expect("a member").key.clone();
    let accused = net.wait("the evidence", || {
        let listed = net.vat(&["evidence", "account", "--json"]).ok().stdout;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let pieces = listed["evidence"].as_array().expect("a list").clone();
        let mut accused: Vec<Value> =
            pieces.iter().flat_map(|piece| piece["accused"].as_array().expect("a list").clone()).collect();
        accused.dedup();
        (!accused.is_empty()).then_some(accused)
    });
    assert_eq!(accused, [json!(cedar)]);
    net.vat(&["evidence", "account", "--export", "evidence.proof"]).ok();
    let verified = net.vat(&["verify", "evidence.proof"]).ok().stdout;
    assert!(verified.contains(&format!("accused: {cedar}")), "{verified}");
}

/// The tests that lie beside the example.
#[test]
fn the_account_passes_its_own_tests() {
    let net = TestNet::new(stand_in());
    let folder = own_file("examples/account");
    let ran = net.vat(&["test", folder.to_str().expect("a path that is text")]).ok();
    assert!(ran.stdout.contains("4 passed"), "{}", ran.stdout);
}

fn sorted(names: Value) -> Vec<String> {
    let mut names: Vec<String> =
        names.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort();
    names
}

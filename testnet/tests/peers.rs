//! `vat peer drop`: a vat ends for good with a peer that is gone, over processes.

mod support;

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::fs;

const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[[vat]]
name = "bank"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "bank.js"
[vat.limits]
checkpoint_deliveries = 5

[[vat]]
name = "shop"
hosts = ["delta"]
source = "shop.js"
[vat.argv]
bank = { vat = "bank" }
"#;

const BANK: &str = "
import { E, Far } from '@endo/far';
const tags = [];
let outcome = 'open';
export default () => Far('Bank', {
  ping: () => 'pong',
  open: () => Far('Purse', {}),
  take(tag) {
    tags.push(tag);
    E(tag).never().then(() => { outcome = 'answered'; }, error => { outcome = error.message; });
  },
  ask: () => E(tags[0]).name(),
  outcome: () => outcome,
});
";

const SHOP: &str = "
import { E, Far } from '@endo/far';
let purse;
export default ({ bank }) => Far('Shop', {
  async visit() {
    purse = await E(bank).open();
    return E(bank).take(Far('Tag', { name: () => 'tag', never: () => new Promise(() => {}) }));
  },
  poke() { E.sendOnly(bank).ping(); },
});
";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What the bank's members keep of the shop, in bytes, the largest first; nothing if none of them knows it.
fn kept(net: &TestNet) -> Option<u64> {
    let of = |(_, status): (String, quorate_protocol::status::VatStatus)| {
        status.streams.into_iter().find(|stream| stream.peer == "shop").map(|stream| stream.kept_bytes)
    };
    net.replicas("bank").into_iter().filter_map(of).max()
}

#[track_caller]
fn refused(net: &TestNet, args: &[&str], wanted: &str) {
    let ran = net.vat(args);
    assert_eq!(ran.code, 2, "{args:?}: {} {}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(wanted), "{args:?}: no {wanted:?} in {}", ran.stderr);
}

#[test]
fn a_peer_that_is_dropped_leaves_nothing_and_never_comes_back() {
    let net = TestNet::new(stand_in());
    net.file("bank.js", BANK);
    net.file("shop.js", SHOP);
    let config = net.file("testnet.toml", CONFIG);
    net.up(&config, &[]).ok();
    net.call("shop", "visit", &[]);
    assert_eq!(net.call("bank", "ask", &[]), "tag");
    assert_eq!(net.call("bank", "outcome", &[]), "open");
    net.wait("what the bank keeps for the shop", || kept(&net).filter(|bytes| *bytes > 0));

    refused(&net, &["peer", "drop", "bank", "shop"], "--yes");
    refused(&net, &["peer", "drop", "bank", "nosuch", "--yes"], "there is no vat nosuch here");
    refused(&net, &["peer", "drop", "bank", &"ab".repeat(32), "--yes"], "no peer of this one");

    let dropped = parsed(&net.vat(&["peer", "drop", "bank", "shop", "--yes", "--json"]).ok().stdout);
    assert_eq!(dropped["vat"], "bank");
    assert!(dropped["block"].as_u64().is_some_and(|block| block > 0), "{dropped}");
    net.wait("the end of the shop's tables", || kept(&net).is_none().then_some(()));
    let shop = dropped["dropped"].as_str().expect("an id").to_owned();
    let objects = net.vat(&["objects", "bank", "--json"]).ok().stdout;
    assert!(!objects.contains(&shop), "{objects}");

    // Who waited for it hears of it, and so does whoever calls its objects.
    let outcome = net.call("bank", "outcome", &[]);
    assert!(
        outcome.as_str().is_some_and(|outcome| outcome.contains("has gone") || outcome.contains("dropped")),
        "{outcome}"
    );
    let asked = net.vat(&["call", "bank", "ask"]);
    assert_eq!(asked.code, 1, "{}{}", asked.stdout, asked.stderr);

    // Its own words are refused, and say why; and no grant makes it a peer again.
    net.call("shop", "poke", &[]);
    let log = || {
        let files = fs::read_dir(net.dir().join("hosts/delta/logs")).ok()?;
        let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
        texts.into_iter().any(|text| text.contains("has dropped that peer for good")).then_some(())
    };
    net.wait("the refusal of what the shop says", log);
    refused(&net, &["grant", "bank", "shop"], "has dropped that peer for good");
    refused(&net, &["peer", "drop", "bank", "shop", "--yes"], "dropped before");

    // A checkpoint keeps that it was dropped.
    for _ in 0..12 {
        net.call("bank", "ping", &[]);
    }
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    net.leader("bank");
    assert_eq!(net.call("bank", "ping", &[]), json!("pong"));
    refused(&net, &["grant", "bank", "shop"], "has dropped that peer for good");
    assert_eq!(kept(&net), None);
    let faults: Vec<_> = net.replicas("bank").into_iter().filter_map(|(_, status)| status.fault).collect();
    assert_eq!(faults, Vec::<String>::new());
}

//! Grants, bearer references and what calls keep, as operators and holders use them: by commands, over restarts and changes of members.

mod support;

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};

const MINT: &str = "
import { Far } from '@endo/far';
const makePurse = balance => Far('Purse', {
  balance: () => balance,
  take(amount) { if (amount > balance) throw RangeError('not enough'); balance -= amount; },
  deposit(amount, { from } ) { from.take(amount); balance += amount; },
  pay(amount, from) { from.take(amount); balance += amount; },
});
export default () => Far('Mint', {
  makePurse,
  pair: () => [makePurse(1), makePurse(2)],
  makeOdd: () => Far('../Odd Name', {}),
  later: () => ({ purse: new Promise(() => {}) }),
});
";

/// Holds the root of the mint by a grant, and passes on what a call of it gives.
const SHOP: &str = "
import { E, Far } from '@endo/far';
export default ({ mint }) => Far('Shop', {
  open: () => E(E(mint).makePurse(7)).balance(),
  purse: () => E(mint).makePurse(7),
});
";

/// Takes purses of whatever vat.
const TILL: &str = "
import { E, Far } from '@endo/far';
export default () => {
  let held = [];
  return Far('Till', {
    makeTag: () => Far('Tag', { number: () => 7 }),
    async take(tag, purse, { more }) {
      held = [purse, more[0]];
      const [number, ...balances] = await Promise.all([E(tag).number(), ...[purse, ...more].map(it => E(it).balance())]);
      return [number, ...balances];
    },
    async balance() {
      const balances = await Promise.all(held.map(it => E(it).balance()));
      return balances.reduce((sum, balance) => sum + balance, 0);
    },
  });
};
";

/// Was given a purse with its code.
const BOX: &str = "
import { E, Far } from '@endo/far';
export default ({ purse }) => {
  const early = E(purse).balance();
  return Far('Box', { early: () => early, now: () => E(purse).balance() });
};
";

const HOSTS: &str = r#"
[[host]]
name = "alpha"
APPROVE
[[host]]
name = "beta"
APPROVE
[[host]]
name = "gamma"
APPROVE
[[host]]
name = "delta"

[[vat]]
name = "mint"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "mint.js"
"#;

fn mint(approve: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("mint.js", MINT);
    net.file("shop.js", SHOP);
    let config = net.file("testnet.toml", &HOSTS.replace("APPROVE", approve));
    net.up(&config, &[]).ok();
    net
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a command that succeeds prints as JSON.
#[track_caller]
fn shown(net: &TestNet, args: &[&str]) -> Value {
    parsed(&net.vat(&[args, &["--json"]].concat()).ok().stdout)
}

/// The code and message of a command that fails.
#[track_caller]
fn fails(net: &TestNet, args: &[&str], exit: i32, wanted: &str) {
    let ran = net.vat(args);
    assert_eq!(ran.code, exit, "{args:?}: {} {}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(wanted), "{args:?}: no {wanted:?} in {}", ran.stderr);
    let with_json = parsed(&net.vat(&[args, &["--json"]].concat()).stdout);
    assert_eq!(with_json["error"]["exit"], json!(exit), "{args:?}: {with_json}");
}

fn references(net: &TestNet) -> Vec<Value> {
    shown(net, &["ref", "list", "mint"]).as_array().expect("a list").clone()
}

#[test]
fn a_reference_in_an_answer_is_target_and_argument_of_later_calls_over_restarts_and_changes_of_members() {
    let net = mint("");
    let call = |args: &[&str]| parsed(&net.vat(&[&["call"], args].concat()).ok().stdout);
    assert_eq!(call(&["mint", "makePurse", "100"]), json!({ "@ref": "purse-1" }));
    assert_eq!(call(&["mint", "pair"]), json!([{ "@ref": "purse-2" }, { "@ref": "purse-3" }]));
    assert_eq!(call(&["mint", "makeOdd"]), json!({ "@ref": "odd-name-1" }));
    call(&["ref:purse-3", "pay", "30", "ref:purse-1"]);
    call(&["ref:purse-3", "deposit", "1", r#"{"from":{"@ref":"purse-1"}}"#]);
    let balances = || ["1", "2", "3"].map(|number| call(&[&format!("ref:purse-{number}"), "balance"]));
    let wanted = [json!(69), json!(1), json!(33)];
    assert_eq!(balances(), wanted);
    // Clients that have ended are forgotten a moment later, unless hosts are killed before they note the farewell.
    let held = |wanted: u64| {
        let held = || shown(&net, &["objects", "mint"])["held"].as_u64().expect("a number");
        net.wait("the objects that are held", || (held() == wanted).then_some(()));
    };
    held(4);
    assert_eq!(call(&["mint", "makePurse", "5"]), json!({ "@ref": "purse-4" }));
    held(5);
    net.vat(&["ref", "forget", "purse-4"]).ok();
    held(4);

    let folder = net.dir().join("kept");
    let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(folder.clone()), mode(folder.join("purse-1.ref"))), (0o700, 0o600));

    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    net.leader("mint");
    assert_eq!(balances(), wanted, "the hosts were started again");
    net.vat(&["member", "replace", "--vat", "mint", "--out", "gamma", "--in", "delta"]).ok();
    assert_eq!(balances(), wanted, "a member was replaced");

    let kept = shown(&net, &["ref", "kept"]);
    assert_eq!((kept.as_array().map(Vec::len), &kept[1]["name"]), (Some(4), &json!("purse-1")), "{kept}");
    assert_eq!(kept[1]["vat_name"], json!("mint"));
    let listed = references(&net);
    assert_eq!(listed.len(), 5, "that of the testnet, and four that are kept: {listed:?}");
    let purse = listed.iter().find(|it| it["object"] == kept[1]["object"]).expect("purse 1");
    assert_eq!((&purse["interface"], &purse["expires_ms"]), (&json!("Purse"), &Value::Null));

    // What is written in another place opens the same purse; what is forgotten opens nothing, and is not held.
    let text = net.vat(&["ref", "show", "ref:purse-1"]).ok().stdout;
    assert_eq!(call(&[text.trim(), "balance"]), json!(69));
    net.vat(&["ref", "forget", "purse-1", "ref:odd-name-1"]).ok();
    fails(&net, &["call", "ref:purse-1", "balance"], 2, "vat ref kept");
    fails(&net, &["call", text.trim(), "balance"], 1, "revoked");
    assert_eq!(shown(&net, &["ref", "forget", "--all"]), json!({ "forgotten": ["purse-2", "purse-3"] }));
    assert_eq!(references(&net).len(), 1);
}

/// As a holder of a purse brings it to an escrow: by two commands.
#[test]
fn a_kept_reference_is_passed_to_another_vat_and_stays_there() {
    let net = mint("");
    net.file("till.js", TILL);
    net.vat(&["create", "till", "--on", "delta", "--source", "till.js"]).ok();
    let call = |args: &[&str]| parsed(&net.vat(&[&["call"], args].concat()).ok().stdout);
    for amount in ["100", "20", "3"] {
        call(&["mint", "makePurse", amount]);
    }
    assert_eq!(call(&["till", "makeTag"]), json!({ "@ref": "tag-1" }));
    // Of another vat, of the called one, twice, and inside of data; the vats do not know one another.
    let data = r#"{"more":[{"@ref":"purse-2"},{"@ref":"purse-1"}]}"#;
    assert_eq!(call(&["till", "take", "ref:tag-1", "ref:purse-1", data]), json!([7, 100, 20, 100]));
    net.vat(&["ref", "forget", "purse-1", "purse-2"]).ok();
    assert_eq!(call(&["till", "balance"]), json!(120), "it was given to the till");
    let purse = net.vat(&["ref", "show", "purse-3"]).ok().stdout;
    // So does one that comes with the code.
    net.file("box.js", BOX);
    let argument = format!("purse={}", purse.trim());
    net.vat(&["create", "box", "--on", "delta", "--source", "box.js", "--arg", &argument]).ok();
    assert_eq!([call(&["box", "early"]), call(&["box", "now"])], [json!(3), json!(3)]);
    let listed = references(&net);
    let kept = listed.iter().find(|it| it["interface"] == json!("Purse")).unwrap_or_else(|| panic!("{listed:?}"));
    net.vat(&["ref", "revoke", "mint", &kept["key"].as_str().expect("a key")[..12]]).ok();
    fails(&net, &["call", purse.trim(), "balance"], 1, "revoked");
    fails(&net, &["call", "till", "take", "ref:tag-1", "ref:purse-3", "{}"], 1, "the call was not made");
    net.vat(&["testnet", "kill", "alpha"]).ok();
    net.vat(&["testnet", "kill", "delta"]).ok();
    net.vat(&["testnet", "restart", "delta"]).ok();
    assert_eq!(call(&["till", "balance"]), json!(120));
}

#[test]
fn what_can_not_be_kept_or_passed_is_said() {
    let net = mint("");
    let ran = net.vat(&["call", "mint", "makePurse", "1", "--no-keep"]).ok();
    assert_eq!(parsed(&ran.stdout), json!({ "@slot": [0, "Purse"] }));
    assert_eq!(shown(&net, &["ref", "kept"]), json!([]));
    let ran = net.vat(&["call", "mint", "later"]).ok();
    assert_eq!(parsed(&ran.stdout), json!({ "purse": { "@slot": 0 } }));
    assert!(ran.stderr.contains("it is a promise"), "{}", ran.stderr);
    net.vat(&["call", "mint", "makePurse", "1"]).ok();
    for (args, wanted) in [
        (vec!["call", "mint", "makePurse", "ref:nobody"], "there are purse-1"),
        (vec!["call", "mint", "makePurse", r#"[{"@ref":"../mint"}]"#], "no kept reference"),
        (vec!["call", "mint", "makePurse", r#"{"@ref":5}"#], "the name of a kept reference is needed"),
        (vec!["call", "mint", "makePurse", r#"{"x":{"@slot":0}}"#], "ref:NAME passes it on"),
        (vec!["call", "ref:", "balance"], "no kept reference"),
        (vec!["ref", "show", "purse-9"], "no kept reference"),
        (vec!["ref", "forget", "purse-1", "purse-9"], "no kept reference"),
        (vec!["ref", "new", "mint", "leaf"], "is no object"),
        (vec!["ref", "new", "mint", "--expires", "1y"], "is no moment"),
        (vec!["ref", "new", "mint", "--expires", "2020-01-01"], "has passed"),
        (vec!["ref", "new", "mint", "999"], "nobody holds an object of that number"),
        (vec!["ref", "new", "mint", "--note", &"x".repeat(65)], "at most 64 bytes"),
        (vec!["ref", "revoke", "mint", "ffff"], "vat ref list mint"),
        (vec!["grant", "mint", "nobody"], "no vat nobody here"),
        (vec!["grant", "mint", "mint"], "is mint itself"),
        (vec!["objects", "mint", "--peer", &"07".repeat(32)], "knows no vat"),
        (vec!["objects", "nobody"], "no vat nobody here"),
    ] {
        fails(&net, &args, 2, wanted);
    }
    // All names are looked up before any is let go.
    assert_eq!(parsed(&net.vat(&["call", "ref:purse-1", "balance"]).ok().stdout), json!(1));
}

#[test]
fn a_reference_that_is_revoked_is_refused_and_so_is_what_was_kept_through_it() {
    let net = mint("");
    let alices = shown(&net, &["ref", "new", "mint", "--note", "for Alice", "--expires", "30d"]);
    let reference = alices["sturdyref"].as_str().expect("a text").to_owned();
    let key = alices["key"].as_str().expect("a key").to_owned();
    let seed = reference.split_once('#').expect("a bearer").1.to_owned();
    let listed = references(&net);
    let entry = listed.iter().find(|it| it["key"] == json!(key)).expect("it is listed");
    assert_eq!((&entry["note"], &entry["expires_ms"]), (&json!("for Alice"), &alices["expires_ms"]));
    for host in ["alpha", "beta", "gamma"] {
        let log = fs::read_to_string(net.dir().join(format!("hosts/{host}/logs/host.log"))).unwrap_or_default();
        assert!(
            !log.contains(&seed) && !listed.iter().any(|it| it.to_string().contains(&seed)),
            "only its holder has it"
        );
    }
    assert_eq!(parsed(&net.vat(&["call", &reference, "makePurse", "5"]).ok().stdout), json!({ "@ref": "purse-1" }));
    assert_eq!(parsed(&net.vat(&["call", "mint", "makePurse", "6"]).ok().stdout), json!({ "@ref": "purse-2" }));
    // One for the purse itself, made by the members.
    let purse = net.vat(&["ref", "new", "mint", "ref:purse-1"]).ok().stdout;
    assert_eq!(parsed(&net.vat(&["call", purse.trim(), "balance"]).ok().stdout), json!(5));
    net.vat(&["ref", "revoke", "mint", &key[..12]]).ok();
    fails(&net, &["call", &reference, "makePurse", "5"], 1, "revoked");
    fails(&net, &["call", "ref:purse-1", "balance"], 1, "revoked");
    assert_eq!(parsed(&net.vat(&["call", "ref:purse-2", "balance"]).ok().stdout), json!(6), "it came another way");
    assert_eq!(parsed(&net.vat(&["call", purse.trim(), "balance"]).ok().stdout), json!(5), "the members made it");
    fails(&net, &["ref", "revoke", "mint", &reference], 2, "no such reference");
    net.vat(&["ref", "revoke", "mint", purse.trim()]).ok();
    fails(&net, &["call", purse.trim(), "balance"], 1, "revoked");
    // What the vat no longer knows is as good as forgotten.
    net.vat(&["ref", "forget", "purse-1"]).ok();
}

#[test]
fn a_grant_lets_a_vat_in_until_it_is_revoked() {
    let net = mint("");
    let root = net.vat(&["ref", "root", "mint"]).ok().stdout;
    let argument = format!("mint={}", root.trim());
    net.vat(&["create", "shop", "--on", "delta", "--source", "shop.js", "--arg", &argument]).ok();
    fails(&net, &["call", "shop", "open", "--timeout", "3"], 3, "no answer");
    let granted = shown(&net, &["grant", "mint", "shop", "--expires", "1d"]);
    assert!(granted["block"].is_u64() && granted["expires_ms"].is_u64(), "{granted}");
    assert_eq!(net.call("shop", "open", &[]), json!(7));
    let objects = shown(&net, &["objects", "mint", "--peer", "shop"]);
    let peer = &objects["peers"][0];
    assert_eq!((&peer["granted"], &peer["grant_expires_ms"]), (&json!(true), &granted["expires_ms"]), "{objects}");
    // The presence of its answer is the mint's: a client of the shop can't use it, and hears where it lives.
    let ran = net.vat(&["call", "shop", "purse"]).ok();
    assert!(ran.stderr.contains("it lives in vat"), "{}", ran.stderr);
    net.vat(&["revoke", "mint", "shop"]).ok();
    fails(&net, &["call", "shop", "open"], 1, "not granted");
    let objects = net.vat(&["objects", "mint"]).ok().stdout;
    assert!(objects.contains("shop: it may not use the root"), "{objects}");
}

/// The mint has no timer: its time passes all the same when something is to end.
#[test]
fn grants_and_references_end_at_their_moment() {
    let net = mint("");
    let root = net.vat(&["ref", "root", "mint"]).ok().stdout;
    let argument = format!("mint={}", root.trim());
    net.vat(&["create", "shop", "--on", "delta", "--source", "shop.js", "--arg", &argument]).ok();
    let short = net.vat(&["ref", "new", "mint", "--expires", "4s"]).ok().stdout;
    let long = net.vat(&["ref", "new", "mint", "--expires", "4w"]).ok().stdout;
    net.vat(&["grant", "mint", "shop", "--expires", "4s"]).ok();
    net.wait("the end of the reference", || (references(&net).len() == 2).then_some(()));
    fails(&net, &["call", short.trim(), "makePurse", "1"], 1, "expired");
    net.wait("the end of the grant", || {
        let objects = shown(&net, &["objects", "mint", "--peer", "shop"]);
        (objects["peers"][0]["granted"] == json!(false)).then_some(())
    });
    net.vat(&["call", long.trim(), "makePurse", "1"]).ok();
}

#[test]
fn grants_and_references_wait_for_owners_who_are_asked() {
    let net = mint("approve = \"ask\"");
    let ran = net.vat(&["ref", "new", "mint", "--note", "for Bob", "--expires", "7d"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("vat approvals mint") && ran.stderr.contains("once that is carried out"),
        "{}",
        ran.stderr
    );
    let reference = ran.stdout.trim().to_owned();
    fails(&net, &["call", &reference, "makePurse", "1"], 1, "revoked");
    let listed = net.vat(&["approvals", "mint"]).ok().stdout;
    for part in ["a new reference", "(\"for Bob\") to the root, until", "0 of 2", "vat approve mint"] {
        assert!(listed.contains(part), "no {part:?} in {listed}");
    }
    assert!(!listed.contains("survives"), "no members change: {listed}");
    net.vat(&["approve", "mint", "--host", "beta"]).ok();
    net.vat(&["approve", "mint", "--host", "gamma"]).ok();
    net.wait("the reference", || (references(&net).len() == 2).then_some(()));
    assert_eq!(parsed(&net.vat(&["call", &reference, "makePurse", "1"]).ok().stdout), json!({ "@ref": "purse-1" }));
    assert_eq!(shown(&net, &["approvals"]), json!([]));
    // Rejected by so many that too few are left.
    let stranger = "09".repeat(32);
    fails(&net, &["grant", "mint", &stranger], 3, "vat reject mint");
    net.vat(&["reject", "mint"]).ok();
    net.wait("the end of it", || (shown(&net, &["approvals"]) == json!([])).then_some(()));
    let objects = shown(&net, &["objects", "mint"]);
    assert!(!objects.to_string().contains(&stranger), "{objects}");
}

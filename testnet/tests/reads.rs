//! What a vat publishes, as people read it: from any member, checked against what the members have signed, also where a host lies, after
//! restarts, after other members have taken over, and where nothing runs.

mod support;

use quorate_admin::{ProofReply, client::Endpoint};
use quorate_config::home::admin_socket;
use quorate_protocol::{
    codec,
    proof::{ProofFile, check},
};
use quorate_testnet::process::{Ran, TestNet, own_file, stand_in};
use serde_json::{Value as Json, json};
use std::fs;
use support::counter_net;

const SHOP: &str = "
import { Far } from '@endo/far';
export default ({ publisher, timer }) => {
  publisher.publish('currency', 'EUR');
  publisher.publish('price', 1);
  return Far('shop', {
    set(price) { publisher.publish('price', price); return price; },
    close() { return publisher.unpublish('price'); },
    wrong() { publisher.publish('shop', Far('object', {})); },
    undone() { publisher.publish('price', 'undone'); for (;;); },
    later(ms, price) { timer.delay(ms).then(() => publisher.publish('price', price)); },
  });
};
";

/// What takes its place: it publishes something else.
const NEXT: &str = "
import { Far } from '@endo/far';
export default ({ publisher }) => {
  publisher.publish('version', 2);
  return Far('shop', { set(price) { publisher.publish('price', price); return price; } });
};
";

/// The shop is on three of four hosts, of which two must sign.
const THREE: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[[vat]]
name = "shop"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "shop.js"
[vat.argv]
publisher = { endowment = "publisher" }
timer = { endowment = "timer" }
"#;

/// The shop is on four hosts, of which three must sign: one of them may lie.
const FOUR: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[[vat]]
name = "shop"
hosts = ["alpha", "beta", "gamma", "delta"]
threshold = 3
source = "shop.js"
[vat.argv]
publisher = { endowment = "publisher" }
timer = { endowment = "timer" }
"#;

fn shop_net(config: &str) -> (TestNet, std::path::PathBuf) {
    let (net, _) = counter_net("");
    net.file("shop.js", SHOP);
    net.file("next.js", NEXT);
    let config = net.file("shop.toml", config);
    (net, config)
}

fn read(net: &TestNet, more: &[&str]) -> Ran {
    net.vat(&[&["read", "shop", "price", "--json"], more].concat())
}

fn shown(ran: Ran) -> Json {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn block(shown: &Json) -> u64 {
    shown["block"].as_u64().unwrap_or_else(|| panic!("{shown}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn kill(net: &TestNet, hosts: &[&str]) {
    for host in hosts {
        net.vat(&["testnet", "kill", host]).ok();
    }
}

#[test]
fn what_a_vat_publishes_is_read_by_anybody_without_a_block_and_proven_to_others() {
    let (net, config) = shop_net(THREE);
    net.up(&config, &[]).ok();
    assert_eq!(net.call("shop", "set", &["5"]), json!(5));
    let first = shown(read(&net, &["--linearizable"]).ok());
    assert_eq!((&first["value"], &first["found"], &first["linearizable"]), (&json!(5), &json!(true), &json!(true)));
    assert!(first["signers"].as_array().is_some_and(|signers| signers.len() >= 2), "{first}");
    // Reads order nothing.
    let before = net.replicas("shop").into_iter().map(|(_, status)| status.applied_block).max();
    for _ in 0..5 {
        let answer = shown(read(&net, &["--at-least", &block(&first).to_string()]).ok());
        assert_eq!((&answer["value"], block(&answer)), (&json!(5), block(&first)));
    }
    let after = net.replicas("shop").into_iter().map(|(_, status)| status.applied_block).max();
    assert_eq!(before, after);
    // For people: the value alone on standard output. By the VatId, without any reference.
    let vat = first["vat"].as_str().expect("a VatId").to_owned();
    let plain = net.vat(&["read", &vat, "price"]).ok();
    assert_eq!(plain.stdout, "5\n");
    assert!(plain.stderr.contains(&format!("after block {}", block(&first))), "{plain:?}");
    // What is not there, what could not be published, and what was undone.
    let absent = net.vat(&["read", "shop", "prices", "--json", "--save", "absent.proof"]);
    assert_eq!((absent.code, shown(absent.clone())["found"].clone()), (1, json!(false)), "{absent:?}");
    assert!(absent.stdout.contains("nothing is published under the name"), "{absent:?}");
    let wrong = net.vat(&["call", "shop", "wrong"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("only data can be published"), "{wrong:?}");
    assert_eq!(net.vat(&["call", "shop", "undone"]).code, 1);
    assert_eq!(shown(read(&net, &["--linearizable"]).ok())["value"], json!(5));
    // A block that nobody has reached.
    let far = read(&net, &["--at-least", "100000", "--timeout", "3"]);
    assert!(far.code == 3 && far.stdout.contains("new enough"), "{far:?}");

    // A stranger with the file and the VatId.
    let saved = net.vat(&["read", "shop", "price", "--save", "price.proof"]).ok();
    assert_eq!(saved.stdout, "5\n");
    assert_eq!(net.vat(&["read", "shop", "price", "--save", "price.proof"]).code, 2, "a file that is there stays");
    let stranger = TestNet::new(stand_in());
    for (name, says) in [("price.proof", "the value 5"), ("absent.proof", "nothing under the name \"prices\"")] {
        let bytes = fs::read(net.path(name)).expect("the file was written");
        fs::write(stranger.path(name), &bytes).expect("writable");
        let said = stranger.vat(&["verify", name, &vat]).ok().stdout;
        assert!(said.contains(says) && said.contains("not proven: that the vat publishes the same now"), "{said}");
        assert_eq!(stranger.vat(&["verify", name, &"9f".repeat(32)]).code, 1);
        for place in (0..bytes.len()).step_by((bytes.len() / 12).max(1)) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            fs::write(stranger.path("flipped"), &flipped).expect("writable");
            let refused = stranger.vat(&["verify", "flipped", &vat]);
            assert!([1, 2].contains(&refused.code) && refused.stdout.is_empty(), "byte {place}: {refused:?}");
        }
    }

    // Programs ask a host, at its socket.
    let endpoint = Endpoint::socket(&admin_socket(&net.dir().join("hosts/beta")));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let asked = |path: &str| runtime.block_on(endpoint.get::<ProofReply>(path)).expect("it answers").proof;
    let proof = asked("/api/v1/vats/shop/read?name=price&current=true").expect("it is there");
    let file: ProofFile = codec::decode(&unhex(&proof)).expect("a file of proofs");
    let checked = check(&file, None).expect("it holds");
    assert_eq!(checked.vats[0].findings[0].values["value"], json!(5));
    assert_eq!(asked("/api/v1/vats/shop/read?name=price&at_least=100000"), None);

    // What a timer publishes is certified though it says nothing to anybody.
    net.call("shop", "later", &["1", "7"]);
    net.wait("what the timer publishes", || {
        let answer = shown(read(&net, &["--linearizable"]));
        (answer["value"] == json!(7)).then_some(())
    });
    // The log, executed again, says the same.
    let host = net.dir().join("hosts/alpha");
    kill(&net, &["alpha"]);
    let replayed = net.vat(&["replay", &host.to_string_lossy(), "shop"]).ok();
    assert!(replayed.stdout.contains("publishes under \"price\" 7"), "{replayed:?}");

    // Metrics are on every host.
    for host in ["beta", "gamma"] {
        let metrics = net.metrics(host);
        assert!(metrics.contains("quorate_reads_total{outcome=\"not_yet\",vat=\"shop\"}"), "{host}");
    }
}

#[test]
fn what_is_published_outlives_restarts_and_members_and_not_the_code() {
    let (net, config) = shop_net(THREE);
    net.up(&config, &[]).ok();
    for price in 1..=30 {
        assert_eq!(net.call("shop", "set", &[&price.to_string()]), json!(price));
    }
    let before = shown(read(&net, &["--linearizable"]).ok());
    assert_eq!(before["value"], json!(30));
    // All at once, as by a power failure.
    kill(&net, &["alpha", "beta", "gamma", "delta"]);
    for host in ["alpha", "beta", "gamma", "delta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    let after = net.wait("an answer after the restart", || {
        let ran = read(&net, &["--linearizable"]);
        (ran.code == 0).then(|| shown(ran))
    });
    assert_eq!(after["value"], json!(30));
    assert!(block(&after) >= block(&before), "{after} after {before}");
    // One that is alone can prove what was certified, and cannot say that it is current.
    kill(&net, &["alpha", "beta"]);
    assert_eq!(shown(read(&net, &["--timeout", "20"]).ok())["value"], json!(30));
    let alone = read(&net, &["--linearizable", "--timeout", "4"]);
    assert!(alone.code == 3 && alone.stdout.contains("of the 2 members"), "{alone:?}");
    for host in ["alpha", "beta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    // Another member: it has all of it, and readers that remember the old ones find it.
    net.wait("a leader", || (net.call("shop", "set", &["31"]) == json!(31)).then_some(()));
    net.vat(&["member", "replace", "--vat", "shop", "--out", "gamma", "--in", "delta"]).ok();
    kill(&net, &["gamma"]);
    let swapped = net.wait("an answer of the next epoch", || {
        let ran = read(&net, &["--linearizable"]);
        let answer = (ran.code == 0).then(|| shown(ran))?;
        (answer["epoch"] == json!(1)).then_some(answer)
    });
    assert_eq!(swapped["value"], json!(31));
    kill(&net, &["alpha", "beta"]);
    let of_delta = net.wait("delta's answer", || {
        let ran = read(&net, &["--timeout", "20"]);
        (ran.code == 0).then(|| shown(ran))
    });
    assert_eq!((&of_delta["value"], &of_delta["epoch"]), (&json!(31), &json!(1)));
    for host in ["alpha", "beta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    // Other code publishes for itself. Alpha has the code of before, and with it what the code is given; delta joined later.
    let upgrade = ["upgrade", "shop", "next.js", "--yes", "--home", "net/hosts/alpha"];
    net.wait("the upgrade", || (net.vat(&upgrade).code == 0).then_some(()));
    let gone = read(&net, &["--linearizable"]);
    assert_eq!((gone.code, shown(gone.clone())["found"].clone()), (1, json!(false)), "{gone:?}");
    assert_eq!(net.vat(&["read", "shop", "version", "--linearizable"]).ok().stdout, "2\n");
}

#[test]
fn a_host_that_lies_to_readers_forges_nothing() {
    for (lie, hides) in [("forged", false), ("hidden", true)] {
        let (mut net, config) = shop_net(THREE);
        net.environment("QUORATE_TEST_READS", &format!("gamma {lie}"));
        net.up(&config, &[]).ok();
        assert_eq!(net.call("shop", "set", &["5"]), json!(5));
        for more in [&[][..], &["--linearizable"]] {
            assert_eq!(shown(read(&net, more).ok())["value"], json!(5), "{lie}");
        }
        kill(&net, &["alpha", "beta"]);
        let refused = read(&net, &["--timeout", "5"]);
        let why = if hides { "does not prove that nothing" } else { "not in the certified tree" };
        assert_eq!(refused.code, 1, "{lie}: {refused:?}");
        assert!(refused.stdout.contains("gamma") && refused.stdout.contains(why), "{lie}: {refused:?}");
        assert!(!refused.stdout.contains("\"found\""), "{lie}: {refused:?}");
    }
}

#[test]
fn a_host_that_shows_old_blocks_deceives_those_alone_who_did_not_ask_for_newer_ones() {
    let (mut net, config) = shop_net(FOUR);
    net.environment("QUORATE_TEST_READS", "delta stale");
    net.up(&config, &[]).ok();
    assert_eq!(net.call("shop", "set", &["5"]), json!(5));
    // Three must answer, and no other is there: the liar keeps what it answers now.
    kill(&net, &["gamma"]);
    let old = shown(read(&net, &["--linearizable", "--timeout", "20"]).ok());
    net.vat(&["testnet", "restart", "gamma"]).ok();
    for price in 6..=12 {
        assert_eq!(net.call("shop", "set", &[&price.to_string()]), json!(price));
        assert_eq!(shown(read(&net, &["--linearizable"]).ok())["value"], json!(price));
    }
    let new = shown(read(&net, &["--linearizable"]).ok());
    assert!(block(&new) > block(&old));
    kill(&net, &["alpha", "beta", "gamma"]);
    // What it shows was true once, and says of when.
    let shown_old = shown(read(&net, &["--timeout", "20"]).ok());
    assert_eq!((block(&shown_old), &shown_old["value"]), (block(&old), &json!(5)));
    let refused = read(&net, &["--at-least", &block(&new).to_string(), "--timeout", "5"]);
    assert!(refused.code == 1 && refused.stdout.contains("older than was asked for"), "{refused:?}");
    assert_eq!(read(&net, &["--linearizable", "--timeout", "5"]).code, 3);
}

#[test]
fn a_host_that_speaks_of_an_epoch_that_nobody_can_prove_keeps_nobody_from_reading() {
    let (mut net, config) = shop_net(FOUR);
    net.environment("QUORATE_TEST_READS", "delta epoch");
    net.up(&config, &[]).ok();
    assert_eq!(net.call("shop", "set", &["5"]), json!(5));
    for more in [&[][..], &["--linearizable"]] {
        assert_eq!(shown(read(&net, more).ok())["value"], json!(5));
    }
    // Its word does not count: with two others there are too few.
    kill(&net, &["alpha"]);
    let too_few = read(&net, &["--linearizable", "--timeout", "6"]);
    assert!(too_few.code == 3 && too_few.stdout.contains("of the 3 members"), "{too_few:?}");
    assert_eq!(shown(read(&net, &["--timeout", "20"]).ok())["value"], json!(5));
}

/// A line without what differs between two runs: numbers of blocks, who signed, and the VatId.
fn masked(line: &str) -> String {
    let line = line.split(", signed by").next().unwrap_or_default();
    let is_digits = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut before = "";
    let words = line.split(' ').map(|word| {
        let plain = word.trim_end_matches("` checks");
        let is_id = plain.contains('…') || plain.trim_matches('`').len() == 64;
        let number = before == "block" && is_digits(&plain);
        before = word;
        if is_id || number { "N" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_the_guide_shows_of_publishing_is_what_is_printed() {
    let guide = fs::read_to_string(own_file("../docs/contract-guide.md")).expect("the guide is there");
    let (_, section) = guide.split_once("\n## Publishing\n").expect("the guide has it");
    let block = |language: &str| {
        let (_, rest) = section.split_once(&format!("\n```{language}\n")).expect("it has the block");
        rest.split_once("\n```\n").expect("it ends").0
    };
    let net = TestNet::new(stand_in());
    net.file("board.js", block("mjs"));
    let hosts: String = ["h1", "h2", "h3"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let vat = "[[vat]]\nname = \"board\"\nhosts = [\"h1\", \"h2\", \"h3\"]\nthreshold = 2\nsource = \"board.js\"\n\
               [vat.argv]\npublisher = { endowment = \"publisher\" }\n";
    let config = net.file("testnet.toml", &format!("{hosts}{vat}"));
    net.up(&config, &[]).ok();
    let session = block("text");
    let mut commands: Vec<(&str, Vec<String>)> = Vec::new();
    for line in session.lines() {
        match (line.strip_prefix("$ vat "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, printed))) => printed.push(masked(line)),
            (None, None) => panic!("a session begins with a command"),
        }
    }
    assert_eq!(commands.len(), 4);
    for (command, mut wanted) in commands {
        let ran = net.vat(&command.split(' ').collect::<Vec<_>>());
        let mut printed: Vec<String> = ran.stdout.lines().chain(ran.stderr.lines()).map(masked).collect();
        wanted.sort();
        printed.sort();
        assert_eq!(printed, wanted, "{command}");
    }
}

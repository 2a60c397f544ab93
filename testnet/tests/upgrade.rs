//! Upgrades of a vat on several hosts: under load, with a bad one in between, to another engine image, and with owners who are asked.
//!
//! The other image is the program's own with a section of no effect at its end: equal in what it does, another one by its hash.

mod support;

use quorate_admin::{
    UpgradeReply, UpgradeRequest,
    client::{ApiClientError, Endpoint},
};
use quorate_config::home::admin_socket;
use quorate_engine::{Hash, image::IMAGE_WASM};
use quorate_protocol::upgrade::UpgradeDraft;
use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, process::Stdio};
use support::{agree, metric};

/// Counts, once for each number, and gives counters that others hold.
const LEDGER: &str = "
import { Far } from '@endo/far';
import { prepareExoClass, provideDurableMapStore, provide } from '@agoric/vat-data';
const VERSION = 1;
export default ({ greeting }, baggage) => {
  const seen = provideDurableMapStore(baggage, 'seen');
  const makeCounter = prepareExoClass(baggage, 'Counter', undefined, () => ({ count: 0 }), {
    add() { this.state.count += 1; return this.state.count; },
    count() { return this.state.count; },
    version: () => VERSION,
  });
  provide(baggage, 'total', () => 0);
  return Far('ledger', {
    enter(number) { seen.init(`${number}`, true); baggage.set('total', baggage.get('total') + 1); return number; },
    total: () => [seen.getSize(), baggage.get('total')],
    counter: () => makeCounter(),
    ticket: () => Far('ticket', { use: () => 'used' }),
    hang: () => new Promise(() => {}),
    version: () => [VERSION, greeting],
  });
};
";

/// Makes so many calls of the ledger, many at a time, and keeps references to things of it.
const DRIVER: &str = "
import { E, Far } from '@endo/far';
export default ({ ledger }) => {
  let next = 0;
  let counter, ticket, hanging;
  const reason = promise => promise.then(value => ['ok', value], error => [error.name, error.message]);
  return Far('driver', {
    async prepare() {
      counter = await E(ledger).counter();
      ticket = await E(ledger).ticket();
      hanging = reason(E(ledger).hang());
      return E(counter).add();
    },
    async run(count) {
      let answered = 0;
      const failed = [];
      const lane = async () => {
        for (;;) {
          if (next >= count) return;
          next += 1;
          const number = next;
          // Sent to the answer before it is there.
          const added = E(E(ledger).counter()).add();
          const [entered, one] = await Promise.all([reason(E(ledger).enter(number)), reason(added)]);
          if (entered[0] === 'ok' && entered[1] === number && one[0] === 'ok' && one[1] === 1) answered += 1;
          else failed.push([number, entered, one]);
        }
      };
      await Promise.all(Array.from({ length: 20 }, lane));
      return [answered, failed.slice(0, 3)];
    },
    add: () => E(counter).add(),
    version: () => E(counter).version(),
    ticket: () => reason(E(ticket).use()),
    hanging: () => hanging,
  });
};
";

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
name = "ledger"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "ledger.js"
[vat.argv]
greeting = "hello"

[[vat]]
name = "driver"
hosts = ["delta"]
source = "driver.js"
[vat.argv]
ledger = { vat = "ledger" }
"#;

/// Calls under load.
const CALLS: u32 = 1_500;

fn town(config: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("ledger.js", LEDGER);
    net.file("driver.js", DRIVER);
    let config = net.file("testnet.toml", config);
    net.up(&config, &[]).ok();
    net
}

fn version(net: &TestNet, number: u32) -> String {
    let code = LEDGER.replace("VERSION = 1", &format!("VERSION = {number}"));
    net.file(&format!("ledger{number}.js"), &code).to_str().expect("text").to_owned()
}

fn total(net: &TestNet) -> u64 {
    let total = net.call("ledger", "total", &[]);
    assert_eq!(total[0], total[1], "no number was entered twice, none half");
    total[0].as_u64().expect("a number")
}

/// Proposes code without looking at what would come of it.
fn propose(net: &TestNet, host: &str, code: &str) -> Result<UpgradeReply, ApiClientError> {
    let bundle = quorate_config::bundle::bundle(std::path::Path::new(code)).expect("good code");
    let draft = UpgradeDraft { bundle: Some(bundle), argv: None, endowments: None, image: None };
    let request = UpgradeRequest::new(&draft, false);
    let home = net.dir().join("hosts").join(host);
    let endpoint = Endpoint::socket(&admin_socket(&home));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(endpoint.post("/api/v1/vats/ledger/upgrade", &request))
}

#[test]
fn an_upgrade_under_load_loses_and_doubles_nothing() {
    let net = town(CONFIG);
    assert_eq!(net.call("driver", "prepare", &[]), json!(1));
    let calls = CALLS.to_string();
    let mut command = net.command(&["call", "driver", "run", &calls, "--timeout", "300"]);
    let load = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    net.wait("the load is under way", || (total(&net) > 30).then_some(()));

    // Nobody is asked, so nothing is done; what it would do is said.
    let two = version(&net, 2);
    let asked = net.vat(&["upgrade", "ledger", &two]);
    assert_eq!(asked.code, 2, "{} {}", asked.stdout, asked.stderr);
    assert!(asked.stderr.contains("Q-A026"), "{}", asked.stderr);
    for part in
        ["file ledger2.js is new", "of Counter", "1 object that others hold: ticket", "1 promise that others wait for"]
    {
        assert!(asked.stdout.contains(part), "no {part:?} in {}", asked.stdout);
    }
    assert_eq!(net.call("ledger", "version", &[]), json!([1, "hello"]));

    // Upgrades while calls are under way: a good one, bad ones, and good ones again.
    let done: Value =
        serde_json::from_str(&net.vat(&["upgrade", "ledger", &two, "--yes", "--json"]).ok().stdout).expect("JSON");
    assert!(done["block"].is_u64() && done["forecast"]["failure"].is_null(), "{done}");
    assert_eq!(net.call("ledger", "version", &[]), json!([2, "hello"]));
    for (name, text, why) in [
        ("throws.js", "export default () => { throw Error('not today'); };", "not today"),
        ("forgets.js", "import { Far } from '@endo/far'; export default () => Far('empty', {});", "Counter ("),
        ("spins.js", "export default () => { for (;;); };", "fuel limit"),
    ] {
        let code = net.file(name, text).to_str().expect("text").to_owned();
        if name != "spins.js" {
            let foreseen = net.vat(&["upgrade", "ledger", &code, "--yes"]);
            assert_eq!(foreseen.code, 1, "{name}: {} {}", foreseen.stdout, foreseen.stderr);
            assert!(foreseen.stderr.contains("Q-A025") && foreseen.stderr.contains(why), "{}", foreseen.stderr);
        }
        // All members try it and throw it away.
        match propose(&net, &net.leader("ledger"), &code) {
            Err(ApiClientError::Refused { code, message, .. }) => {
                assert!(code == "Q-A025" && message.contains(why), "{name}: {code} {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(net.call("ledger", "version", &[]), json!([2, "hello"]));
    }
    let three = version(&net, 3);
    net.vat(&["upgrade", "ledger", &three, "--arg", "greeting=salve", "--yes"]).ok();

    let output = load.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).expect("JSON"),
        json!([CALLS, []]),
        "each call was carried out once"
    );
    assert_eq!(total(&net), u64::from(CALLS));
    assert_eq!(net.call("ledger", "version", &[]), json!([3, "salve"]));
    // References of before.
    assert_eq!(net.call("driver", "add", &[]), json!(2));
    assert_eq!(net.call("driver", "version", &[]), json!(3));
    assert_eq!(net.call("driver", "ticket", &[])[0], json!("VatError"));
    assert_eq!(net.call("driver", "hanging", &[])[0], json!("VatError"));

    // A member that was away, and one that was killed, come to the same state.
    net.vat(&["testnet", "kill", "gamma"]).ok();
    net.vat(&["upgrade", "ledger", &version(&net, 4), "--yes"]).ok();
    net.vat(&["testnet", "restart", "gamma"]).ok();
    net.vat(&["testnet", "kill", "alpha"]).ok();
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert_eq!(net.call("ledger", "version", &[]), json!([4, "salve"]));
    // What is not named stays as it is now, not as it was at first.
    net.vat(&["upgrade", "ledger", "--arg", "greeting=ave", "--yes"]).ok();
    assert_eq!(net.call("ledger", "version", &[]), json!([4, "ave"]));
    for number in 0..40 {
        net.call("ledger", "enter", &[&format!("{}", CALLS + 100 + number)]);
    }
    agree(&net, "ledger", 3, 0);
}

#[test]
fn a_vat_moves_to_another_image_and_members_fetch_it() {
    let net = town(CONFIG);
    assert_eq!(net.call("driver", "prepare", &[]), json!(1));
    let own = quorate_engine::image::image_hash().to_string();
    let mut wasm = IMAGE_WASM.to_vec();
    wasm.extend_from_slice(b"\x00\x05\x04twin");
    let twin = Hash::of_parts(&[&wasm]).to_string();
    let file = net.path("twin.wasm");
    fs::write(&file, &wasm).expect("writable");
    let refused = net.vat(&["upgrade", "ledger", "--image", &twin, "--yes"]);
    assert!(refused.code != 0 && refused.stderr.contains("vat image add"), "{}", refused.stderr);
    // One member has it, which asks; the others fetch it when they execute the upgrade.
    let leader = net.leader("ledger");
    let home = net.dir().join("hosts").join(&leader);
    net.vat(&["image", "add", file.to_str().expect("text"), "--home", home.to_str().expect("text")]).ok();
    net.vat(&["upgrade", "ledger", "--image", &twin, "--yes", "--home", home.to_str().expect("text")]).ok();
    let images = |net: &TestNet| -> BTreeMap<String, String> {
        net.replicas("ledger").into_iter().map(|(host, status)| (host, status.image)).collect()
    };
    net.wait("all members run the other image", || images(&net).values().all(|image| *image == twin).then_some(()));
    assert_eq!(net.call("driver", "add", &[]), json!(2));
    assert_eq!(net.call("ledger", "version", &[]), json!([1, "hello"]));
    // A newcomer gets the state by a checkpoint, and the image by asking.
    net.vat(&["member", "replace", "--vat", "ledger", "--out", "gamma", "--in", "delta"]).ok();
    net.wait("the newcomer runs the other image", || (images(&net).get("delta") == Some(&twin)).then_some(()));
    assert_eq!(net.call("driver", "add", &[]), json!(3));
    // It goes on by itself after a restart, and back to the own image.
    for host in ["alpha", "beta", "delta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    assert_eq!(net.call("driver", "add", &[]), json!(4));
    net.vat(&["upgrade", "ledger", &version(&net, 2), "--image", "own", "--yes"]).ok();
    net.wait("the members run the own image", || {
        ["alpha", "beta", "delta"].iter().all(|host| images(&net).get(*host) == Some(&own)).then_some(())
    });
    assert_eq!(net.call("driver", "version", &[]), json!(2));
    assert_eq!(net.call("driver", "add", &[]), json!(5));
}

#[test]
fn a_host_without_the_image_that_a_vat_has_moved_to_carries_its_other_vats_and_can_be_stopped() {
    let side = "\n[[vat]]\nname = \"side\"\nhosts = [\"alpha\"]\nsource = \"side.js\"\n";
    let net = TestNet::new(stand_in());
    net.file("ledger.js", LEDGER);
    net.file("driver.js", DRIVER);
    net.file("side.js", "import { Far } from '@endo/far'; export default () => Far('side', { ping: () => 'pong' });");
    let config = net.file("testnet.toml", &format!("{CONFIG}{side}"));
    net.up(&config, &[]).ok();
    let mut wasm = IMAGE_WASM.to_vec();
    wasm.extend_from_slice(b"\x00\x05\x04twin");
    let twin = Hash::of_parts(&[&wasm]).to_string();
    let file = net.path("twin.wasm");
    fs::write(&file, &wasm).expect("writable");
    let home = |host: &str| net.dir().join("hosts").join(host);
    let leader = home(&net.leader("ledger"));
    net.vat(&["image", "add", file.to_str().expect("text"), "--home", leader.to_str().expect("text")]).ok();
    net.vat(&["upgrade", "ledger", "--image", &twin, "--yes", "--home", leader.to_str().expect("text")]).ok();
    let image_of = |host: &str| {
        let replicas = net.replicas("ledger");
        replicas.into_iter().find(|(name, _)| name == host).map(|(_, status)| status.image)
    };
    net.wait("alpha runs the other image", || (image_of("alpha").as_deref() == Some(&*twin)).then_some(()));
    net.vat(&["call", "driver", "run", &CALLS.to_string(), "--timeout", "300"]).ok();

    // It starts alone: nobody can give it the image.
    net.vat(&["testnet", "down"]).ok();
    fs::remove_file(home("alpha").join("images").join(format!("{twin}.wasm"))).expect("it was fetched, or added");
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert_eq!(net.call("side", "ping", &[]), json!("pong"));
    net.wait("the host says what the vat waits for", || {
        let status = net.host("alpha")?;
        let failed = status.failed_vats.get("ledger").cloned();
        let stands = status.vats.iter().find(|vat| vat.name == "ledger").and_then(|vat| vat.standstill.clone());
        failed.or(stands).filter(|why| why.contains(&twin) && why.contains("vat image add"))
    });
    assert_eq!(net.call("side", "ping", &[]), json!("pong"));
    let stopped = net.vat(&["testnet", "down", "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&stopped.stdout).expect("JSON"), json!({ "stopped": ["alpha"] }));

    // As soon as others can give it, the vat goes on there.
    for host in ["alpha", "beta", "gamma", "delta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    net.wait("alpha runs the other image again", || (image_of("alpha").as_deref() == Some(&*twin)).then_some(()));
    net.call("ledger", "enter", &[&(10 * CALLS).to_string()]);
    assert_eq!(total(&net), u64::from(CALLS) + 1);
    net.wait("alpha has executed what the others have", || {
        let replicas = net.replicas("ledger");
        for (host, status) in &replicas {
            assert_eq!((status.disagreements, &status.fault, &status.standstill), (0, &None, &None), "{host}");
        }
        let blocks: Vec<u64> = replicas.iter().map(|(_, status)| status.applied_block).collect();
        (blocks.len() == 3 && blocks.iter().all(|block| *block == blocks[0])).then_some(())
    });
}

#[test]
fn owners_who_are_asked_read_what_an_upgrade_changes() {
    let mut config = CONFIG.to_owned();
    for host in ["alpha", "beta", "gamma"] {
        config = config.replace(&format!("name = \"{host}\"\n"), &format!("name = \"{host}\"\napprove = \"ask\"\n"));
    }
    let net = town(&config);
    assert_eq!(net.call("driver", "prepare", &[]), json!(1));
    let two = version(&net, 2);
    let waits = net.vat(&["upgrade", "ledger", &two, "--yes"]);
    assert_eq!(waits.code, 3, "{}", waits.stderr);
    assert!(waits.stderr.contains("vat approvals ledger"), "{}", waits.stderr);
    net.wait("the question", || {
        let replicas = net.replicas("ledger");
        (replicas.iter().filter(|(_, status)| !status.approvals.is_empty()).count() == 3).then_some(())
    });
    let listed = net.vat(&["approvals", "ledger"]).ok().stdout;
    for part in ["upgrade: file ledger.js goes", "file ledger2.js is new", "the entry is ledger2.js, and was ledger.js"]
    {
        assert!(listed.contains(part) || part.contains("goes"), "no {part:?} in {listed}");
    }
    net.vat(&["approve", "ledger", "--host", "beta"]).ok();
    assert_eq!(net.call("ledger", "version", &[]), json!([1, "hello"]), "one is not enough");
    // What waits outlives restarts of its proposer.
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    net.vat(&["approve", "ledger", "--host", "gamma"]).ok();
    net.wait("the upgrade", || (net.call("ledger", "version", &[]) == json!([2, "hello"])).then_some(()));
    assert_eq!(net.call("driver", "add", &[]), json!(2));
    let waits = |net: &TestNet| net.replicas("ledger").iter().any(|(_, status)| !status.approvals.is_empty());
    net.wait("nothing waits any more", || (!waits(&net)).then_some(()));
    // One that is rejected is not carried out.
    assert_eq!(net.vat(&["upgrade", "ledger", &version(&net, 3), "--yes"]).code, 3);
    net.vat(&["reject", "ledger"]).ok();
    net.wait("nothing waits any more", || (!waits(&net)).then_some(()));
    assert_eq!(net.call("ledger", "version", &[]), json!([2, "hello"]));
}

/// What a vat's code was given, by name.
const KEEPER: &str = "
import { Far } from '@endo/far';
export default argv => Far('keeper', { has: () => Object.keys(argv).sort() });
";

const KEEPER_CONFIG: &str = r#"
[[host]]
name = "alpha"

[[vat]]
name = "keeper"
hosts = ["alpha"]
source = "keeper.js"
[vat.argv]
greeting = "hello"
colour = "red"
timer = { endowment = "timer" }
publisher = { endowment = "publisher" }
"#;

#[test]
fn arguments_and_endowments_stay_or_are_replaced_each_by_itself() {
    let net = TestNet::new(stand_in());
    net.file("keeper.js", KEEPER);
    let config = net.file("testnet.toml", KEEPER_CONFIG);
    net.up(&config, &[]).ok();
    let has = || net.call("keeper", "has", &[]);
    assert_eq!(has(), json!(["colour", "greeting", "publisher", "timer"]));
    let nothing = net.vat(&["upgrade", "keeper", "--yes"]);
    assert!(nothing.code == 2 && nothing.stderr.contains("--no-endowments"), "{}", nothing.stderr);
    for both in [["--arg", "a=1", "--no-arguments"], ["--endowment", "timer", "--no-endowments"]] {
        let refused = net.vat(&[&["upgrade", "keeper", "--yes"], &both[..]].concat());
        assert!(refused.code == 2 && refused.stderr.contains(both[2]), "{both:?}: {}", refused.stderr);
    }
    let clash = net.vat(&["upgrade", "keeper", "--arg", "timer=5", "--yes"]);
    assert!(clash.code == 1 && clash.stderr.contains("both an argument and an endowment"), "{}", clash.stderr);
    assert_eq!(has(), json!(["colour", "greeting", "publisher", "timer"]));

    // What the members burnt to say what would come of it is counted.
    let burnt = |net: &TestNet| metric(&net.metrics("alpha"), "quorate_upgrade_trial_fuel_total", &["vat=\"keeper\""]);
    let before = burnt(&net);
    let asked = net.vat(&["upgrade", "keeper", "--no-arguments", "--dry-run", "--json"]).ok();
    let asked: Value = serde_json::from_str(&asked.stdout).expect("JSON");
    let fuel = asked["forecast"]["fuel"].as_f64().expect("a number");
    assert!(fuel > 0.0);
    assert_eq!(burnt(&net) - before, fuel);

    for (flags, wanted, said, unsaid) in [
        (&["--arg", "name=x"][..], json!(["name", "publisher", "timer"]), "argument greeting goes", "endowments"),
        (&["--no-arguments"], json!(["publisher", "timer"]), "argument name goes", "endowments"),
        (&["--endowment", "timer"], json!(["timer"]), "endowments: timer, and were timer, publisher", "argument"),
        (&["--no-endowments", "--arg", "a=1"], json!(["a"]), "endowments: none, and were timer", "goes"),
        (&["--no-arguments", "--endowment", "publisher"], json!(["publisher"]), "argument a goes", "timer"),
        (&["--no-arguments", "--no-endowments"], json!([]), "endowments: none, and were publisher", "argument"),
    ] {
        let done = net.vat(&[&["upgrade", "keeper", "--yes"], flags].concat()).ok();
        let changes = done.stdout.lines().find(|line| line.contains("changes")).unwrap_or_default();
        assert!(changes.contains(said) && !changes.contains(unsaid), "{flags:?}: {changes}");
        assert_eq!(has(), wanted, "{flags:?}");
    }
}

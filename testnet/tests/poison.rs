//! Scripts that hurt a JavaScript host, run by a call from outside in a vat of three hosts: each is answered, the vat answers
//! afterwards, and its replicas stay equal. What each script does to one heap is tested beside the engine; this is about replicas,
//! and about the caller.

mod support;

use quorate_engine::{
    abi::{Method, Value},
    comms::client::ClientRef,
};
use quorate_testnet::process::{TestNet, stand_in};
use std::{fs, path::Path};
use support::{LONG, agree, ask, client, metric};

/// Little fuel, so that what never ends is soon stopped; checkpoints all the time, so that replicas are often compared.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"

[[vat]]
name = "victim"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "victim.js"
[vat.limits]
fuel_per_delivery = 150000000
memory_mb = 48
checkpoint_deliveries = 10
"#;

const VICTIM: &str = "
import { Far } from '@endo/far';
export default () => {
  let n = 0;
  return Far('root', {
    run(text) { return (0, eval)(text); },
    ping() { n += 1; return n; },
  });
};
";

const LIMITS: [&str; 5] = ["fuel", "memory", "stack", "recursion", "abort"];

/// Name and text of every script of the engine's collection.
fn scripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/poison");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .expect("the collection is there")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("readable"))
        })
        .collect();
    scripts.sort();
    assert!(scripts.len() > 90, "only {} scripts", scripts.len());
    scripts
}

/// The limit that an answer blames, if it is the machine's own rejection.
fn blamed(value: &Value) -> Option<&str> {
    match value {
        Value::Error { name, message } if name == "VatError" => Some(message),
        _ => None,
    }
}

#[test]
fn every_poison_is_answered_and_leaves_equal_replicas_that_answer() {
    let net = TestNet::new(stand_in());
    net.file("victim.js", VICTIM);
    let config = net.file("testnet.toml", CONFIG);
    net.up(&config, &[]).ok();
    let scripts = scripts();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rolled_back = runtime.block_on(async {
        let client = client(&net, "victim").await;
        let mut rolled_back = 0;
        for (count, (name, text)) in (1u32..).zip(&scripts) {
            let args = vec![Value::String(text.clone())];
            let answer = client.begin(ClientRef::Object(0), Method::Call("run".into()), args).expect("it can be sent");
            // Both are under way: the second one is delivered whatever became of the first.
            let ping = ask(&client, "ping", vec![]).await;
            assert_eq!((ping.fulfilled, ping.value), (true, Value::Number(count.into())), "after {name}");
            let answer = tokio::time::timeout(LONG, answer).await;
            let answer = answer.unwrap_or_else(|_| panic!("{name} has no answer")).expect("the client lives");
            println!("{name}: {:.100}", format!("{:?}", answer.value));
            if let Some(message) = blamed(&answer.value) {
                assert!(!answer.fulfilled, "{name}");
                if LIMITS.iter().any(|limit| message.contains(limit)) {
                    rolled_back += 1;
                } else {
                    // Not a limit of the delivery, but of what may be said to another vat.
                    assert!(message.contains("bytes"), "{name}: {message}");
                }
            }
        }
        client.close().await;
        rolled_back
    });
    assert!(rolled_back > 20, "only {rolled_back} scripts met a limit");
    let block = agree(&net, "victim", 3, 0);
    for host in ["alpha", "beta", "gamma"] {
        let page = net.metrics(host);
        let counted = metric(&page, "quorate_rolled_back_deliveries_total", &["vat=\"victim\""]);
        assert_eq!(counted, f64::from(rolled_back), "{host}");
    }
    // A replica that begins anew executes the last of them again, and ends where the others are.
    net.vat(&["testnet", "kill", "beta"]).ok();
    net.vat(&["testnet", "restart", "beta"]).ok();
    for count in 1..=12 {
        assert_eq!(net.call("victim", "ping", &[]), serde_json::json!(scripts.len() + count));
    }
    agree(&net, "victim", 3, block);
}

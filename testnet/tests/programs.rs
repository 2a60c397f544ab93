//! The examples of programs outside of vats, run as their first lines say: Node.js and a page with the client of Cap'n Web that npm has, and Python.

#[path = "support/gateway.rs"]
mod gateway;
mod support;

use gateway::free_port;
use quorate_testnet::process::{TestNet, own_file, stand_in};
use std::{fs, path::Path, process::Command};

/// What is put before the page's script: as much of a browser as it uses.
const BROWSER: &str = "
const elements = {};
globalThis.document = {
  getElementById: id => elements[id] ??= { textContent: '…', addEventListener(_, heard) { this.click = heard; } },
};
globalThis.location = new URL(process.argv[2]);
globalThis.WebSocket ??= (await import('ws')).WebSocket;
";

/// And behind it: what a person sees, and does.
const PERSON: &str = "
const seen = async id => {
  const before = elements[id].textContent;
  while (elements[id].textContent === before) await new Promise(resolve => setTimeout(resolve, 10));
  return elements[id].textContent;
};
console.log(await seen('count'));
elements.more.click();
console.log(await seen('count'));
process.exit(0);
";

/// A counter at one host with a gateway; its address, and the counter's reference.
fn net() -> (TestNet, String, String) {
    let net = TestNet::new(stand_in());
    let at = format!("127.0.0.1:{}", free_port());
    support::with_counter(&net, "");
    let host = format!("[[host]]\nname = \"alpha\"\ngateway = \"{at}\"\n");
    let vat = "[[vat]]\nname = \"counter\"\nhosts = [\"alpha\"]\nsource = \"counter.js\"\n";
    let config = net.file("testnet.toml", &format!("{host}{vat}"));
    net.up(&config, &[]).ok();
    // Where programs find the clients.
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capnweb/node_modules");
    std::os::unix::fs::symlink(clients, net.path("node_modules")).expect("a new name");
    let reference = fs::read_to_string(net.dir().join("refs/counter.ref")).expect("a bearer").trim().to_owned();
    (net, at, reference)
}

fn example(name: &str) -> String {
    fs::read_to_string(own_file(&format!("examples/programs/{name}"))).expect("the example is there")
}

#[track_caller]
fn printed(net: &TestNet, program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).current_dir(net.path("")).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn programs_call_a_counter() {
    let (net, at, reference) = net();
    net.file("counter.py", &example("counter.py"));
    let said = printed(&net, "python3", &["counter.py", &format!("http://{at}"), &reference]);
    let refused = "refused: RangeError: a counter counts whole numbers, not five";
    assert_eq!(said, ["five more: 5", "now: 5", refused]);
    net.file("counter.mjs", &example("counter.mjs"));
    let said = printed(&net, "node", &["counter.mjs", &format!("ws://{at}/capnweb"), &reference]);
    assert_eq!(said, ["five more: 10", "two more: 12", "now: 12", refused]);
    let page = example("counter.html");
    let (_, script) = page.split_once("<script type=\"module\">").expect("the page has a script");
    let (script, _) = script.split_once("</script>").expect("it ends");
    let (imports, rest) = script.split_once("';\n").expect("it imports its client first");
    let imports = imports.replace("./capnweb.js", "capnweb");
    net.file("page.mjs", &format!("{imports}';\n{BROWSER}{rest}{PERSON}"));
    let url = format!("https://example.org/counter.html?gateway=ws://{at}/capnweb#{reference}");
    assert_eq!(printed(&net, "node", &["page.mjs", &url]), ["12", "13"]);
}

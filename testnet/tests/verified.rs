//! The client that checks in the page, in Node.js and in a browser: stock stubs of Cap'n Web in front, frames carried by hosts that nobody trusts behind.

#[path = "support/gateway.rs"]
mod gateway;
mod support;

use gateway::free_port;

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::Value;
use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compiles what browsers load, into a folder of its own beside what this test is built in.
fn wasm() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let this = std::env::current_exe().expect("this program has a path");
        let target = this.ancestors().nth(3).expect("it is in the folder `deps` of a profile").join("web");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--profile", "web", "--target", "wasm32-unknown-unknown", "--manifest-path"])
            .arg(root().join("node/web/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("wasm32-unknown-unknown/web/quorate_web.wasm")
    })
}

/// A vat of three hosts, two of which have gateways, for pages of this origin as well; their addresses, and a reference.
fn net_for(origin: &str) -> (TestNet, [String; 2], String) {
    let net = TestNet::new(stand_in());
    let gateways = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let code = std::fs::read_to_string(root().join("testnet/tests/capnweb/desk.js")).expect("readable");
    net.file("desk.js", &code);
    let hosts: String = ["alpha", "beta"]
        .iter()
        .zip(&gateways)
        .map(|(host, at)| {
            format!("[[host]]\nname = \"{host}\"\ngateway = \"{at}\"\ngateway_origins = [\"{origin}\"]\n")
        })
        .collect();
    let vat =
        "[[vat]]\nname = \"desk\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\nsource = \"desk.js\"\n";
    let config = net.file("testnet.toml", &format!("{hosts}[[host]]\nname = \"gamma\"\n{vat}"));
    net.up(&config, &[]).ok();
    let reference = std::fs::read_to_string(net.dir().join("refs/desk.ref")).expect("a bearer").trim().to_owned();
    (net, gateways, reference)
}

fn net() -> (TestNet, [String; 2], String) {
    net_for("https://example.org")
}

#[track_caller]
fn run(step: &str, hosts: &str, reference: &str, file: &Path) -> Value {
    let output = Command::new("node")
        .arg(root().join("testnet/tests/capnweb/verified.mjs"))
        .args([step, hosts, reference])
        .arg(file)
        .env("QUORATE_WEB_WASM", wasm())
        .output()
        .expect("Node.js runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{step}: {said}\n{errors}");
    serde_json::from_str(said.trim()).expect("JSON")
}

#[test]
fn stock_stubs_call_a_vat_and_prove_its_answers_through_hosts_that_are_not_trusted() {
    let (net, [alpha, beta], reference) = net();
    let (one, both) = (alpha.clone(), format!("{alpha},{beta}"));
    let file = net.dir().join("unused");
    run("calls", &one, &reference, &file);
    run("bad", &both, &reference, &file);

    // What proves an answer is what `vat verify` accepts, and no other file is.
    let proof = net.dir().join("answer.proof");
    let told = run("proves", &beta, &reference, &proof);
    assert!(told["signers"].as_array().is_some_and(|signers| signers.len() >= 2), "{told}");
    assert_eq!((&told["threshold"], &told["members"]), (&2.into(), &3.into()));
    let vat = reference.trim_start_matches("vat://").split('/').next().expect("a VatId").to_owned();
    let path = proof.display().to_string();
    let verified = net.vat(&["verify", &path, &vat]).ok();
    assert!(verified.stdout.contains("greet") && verified.stdout.contains("hello Grace"), "{verified:?}");
    let mut bytes = std::fs::read(&proof).expect("readable");
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&proof, bytes).expect("writable");
    assert_ne!(net.vat(&["verify", &path, &vat]).code, 0);

    // References survive the session that got them, in the application's store, and go by any host.
    let store = net.dir().join("store.json");
    run("remembers", &alpha, &reference, &store);
    run("recalls", &beta, &reference, &store);
}

#[test]
fn an_answer_that_a_host_has_changed_is_refused_and_the_host_is_left() {
    let (net, [alpha, beta], reference) = net();
    let told = run("lies", &format!("{alpha},{beta}"), &reference, &net.dir().join("unused"));
    let why = told["why"].as_str().expect("a reason");
    assert!(why.contains("what its vat did not say") && why.contains("not those that the head speaks of"), "{why}");
}

#[test]
fn a_host_that_falls_silent_is_left_and_what_was_said_is_said_to_another_one() {
    let (net, [alpha, beta], reference) = net();
    run("silence", &format!("{alpha},{beta}"), &reference, &net.dir().join("unused"));
}

/// Serves a folder as `docs/usage.md` says, until it is dropped.
struct Served(Child);

impl Served {
    fn start(folder: &Path, port: u16) -> Served {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"]).arg(folder);
        Served(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Python runs"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_page_in_a_browser_refuses_a_lie_saves_a_proof_and_finds_its_references_after_a_reload() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let (net, [alpha, beta], reference) = net_for(&url);
    let folder = net.dir().join("page");
    let collected =
        Command::new(root().join("testnet/examples/programs/page/collect")).arg(&folder).arg(wasm()).status();
    assert!(collected.expect("it runs").success());
    let _served = Served::start(&folder, port);
    net.wait("the web server", || TcpStream::connect(("127.0.0.1", port)).ok());
    let proof = net.dir().join("page.proof");
    let output = Command::new("node")
        .arg(root().join("testnet/tests/capnweb/page.mjs"))
        .args([&url, &format!("{alpha},{beta}")])
        .args([&net.dir().join("refs/desk.ref"), &proof])
        .output()
        .expect("Node.js runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim() == "well", "{said}\n{errors}");
    // What the browser saved is what others check without it.
    let vat = reference.trim_start_matches("vat://").split('/').next().expect("a VatId").to_owned();
    let verified = net.vat(&["verify", &proof.display().to_string(), &vat]).ok();
    assert!(verified.stdout.contains("greet") && verified.stdout.contains("hello Ada"), "{verified:?}");
}

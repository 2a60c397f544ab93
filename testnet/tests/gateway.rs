//! Programs that know nothing of vats, at a host's gateway: a stock client of Cap'n Web, as npm has it, against vats of several hosts.

mod support;

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capnweb")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it listens").port()
}

/// A vat of three hosts, two of which have gateways; their addresses, by host.
fn net() -> (TestNet, [(&'static str, String); 2], String) {
    let net = TestNet::new(stand_in());
    let gateways =
        [("alpha", free_port()), ("beta", free_port())].map(|(host, port)| (host, format!("127.0.0.1:{port}")));
    let code = std::fs::read_to_string(scripts().join("desk.js")).expect("readable");
    net.file("desk.js", &code);
    let hosts: String = gateways
        .iter()
        .map(|(host, at)| {
            format!("[[host]]\nname = \"{host}\"\ngateway = \"{at}\"\ngateway_origins = [\"https://example.org\"]\n")
        })
        .collect();
    let vat =
        "[[vat]]\nname = \"desk\"\nhosts = [\"alpha\", \"beta\", \"gamma\"]\nthreshold = 2\nsource = \"desk.js\"\n";
    let config = net.file("testnet.toml", &format!("{hosts}[[host]]\nname = \"gamma\"\n{vat}"));
    net.up(&config, &[]).ok();
    let reference = std::fs::read_to_string(net.dir().join("refs/desk.ref")).expect("a bearer").trim().to_owned();
    (net, gateways, reference)
}

fn client(step: &str, at: &str, reference: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(scripts().join("client.mjs")).args([step, at, reference]);
    command
}

#[track_caller]
fn run(step: &str, at: &str, reference: &str) -> Value {
    let output = client(step, at, reference).output().expect("Node.js runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{step}: {said}\n{errors}");
    serde_json::from_str(said.trim()).expect("JSON")
}

#[test]
fn a_stock_client_calls_is_called_and_finds_its_references_again() {
    let (net, [(_, alpha), (_, beta)], reference) = net();
    let kept = run("everything", &alpha, &reference)["kept"].as_str().expect("a reference").to_owned();
    run("batch", &beta, &reference);
    run("bad", &alpha, &reference);
    // At another host, and after the host has started anew.
    assert_eq!(run("again", &beta, &kept)["count"], 6);
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert_eq!(run("again", &alpha, &kept)["count"], 7);
}

#[test]
fn an_open_session_goes_on_when_the_leader_of_its_vat_dies() {
    let (net, gateways, reference) = net();
    let leader = net.leader("desk");
    let (_, at) = gateways.iter().find(|(host, _)| *host != leader).expect("one of two");
    let mut child =
        client("open", at, &reference).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Node.js runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let ready = lines.next();
    if ready.as_deref() == Some("ready") {
        net.vat(&["testnet", "kill", &leader]).ok();
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(b"on\n").expect("it reads");
    }
    let ended = lines.next();
    let status = child.wait().expect("it is ours");
    assert!(status.success(), "{ready:?} {ended:?}\n{}", net.last_words());
    assert_eq!(ended.as_deref(), Some("{\"count\":2}"));
}

/// As `docs/usage.md` shows it: without any client.
#[test]
fn a_batch_can_be_written_by_hand() {
    let (_net, [(_, alpha), _], reference) = net();
    let lines = [
        format!(r#"["push",["pipeline",0,["redeem"],["{reference}"]]]"#),
        r#"["push",["pipeline",1,["greet"],["curl"]]]"#.to_owned(),
        r#"["pull",2]"#.to_owned(),
    ];
    let body = lines.join("\n");
    let mut stream = std::net::TcpStream::connect(&alpha).expect("it listens");
    let head = format!(
        "POST /capnweb HTTP/1.1\r\nhost: {alpha}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"["resolve",2,"hello curl"]"#), "{answer}");
}

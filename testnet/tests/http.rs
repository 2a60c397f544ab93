//! Calls over plain HTTP at a host's gateway: against vats of several hosts, and hosts that are killed.

#[path = "support/gateway.rs"]
mod gateway;
mod support;

use futures::future::BoxFuture;
use gateway::{Said, ask, call, desks, free_port};
use quorate_client::{Answer, Caller, LastingCall, LastingError, Records, call_lasting};
use quorate_engine::abi::{Method, Value};
use quorate_protocol::proof::file::VatProof;
use quorate_testnet::process::{TestNet, members, own_file, stand_in};
use serde_json::{Value as Json, json};
use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use support::LONG;

fn net() -> (TestNet, [(&'static str, String); 2], String) {
    let code = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/desk.js");
    let (net, gateways) = desks(&std::fs::read_to_string(code).expect("readable"));
    let reference = reference(&net, "desk");
    (net, gateways, reference)
}

fn reference(net: &TestNet, vat: &str) -> String {
    let file = net.dir().join(format!("refs/{vat}.ref"));
    std::fs::read_to_string(file).expect("a bearer").trim().to_owned()
}

/// The text of a reference in a result.
#[track_caller]
fn text(result: &Json) -> String {
    result["@ref"].as_str().unwrap_or_else(|| panic!("no reference: {result}")).to_owned()
}

#[track_caller]
fn is_problem(said: &Said, status: u16, code: &str, done: &str) {
    let json = said.json();
    assert_eq!((said.status, &json["code"], &json["done"]), (status, &json!(code), &json!(done)), "{json}");
}

#[test]
fn values_references_and_errors_go_both_ways_and_a_proof_holds() {
    let (net, [(_, alpha), (_, beta)], desk) = net();
    let ask_desk = |method: &str, body: &str| call(&alpha, &desk, method, &[], body).expect("it answers");
    let values = json!([1, "é", { "@bigint": "123456789012345678901" }, { "@undefined": true }, { "@bytes": "00ff" }]);
    assert_eq!(ask_desk("echo", &values.to_string()).result(), values);
    let failed = ask_desk("fail", "");
    is_problem(&failed, 422, "Q-G001", "yes");
    assert_eq!(failed.json()["rejection"]["@error"]["message"], "too far");

    // A reference of an answer is called by itself, at another gateway, and passed.
    let counter = text(&ask_desk("makeCounter", "").result());
    assert_eq!(call(&beta, &counter, "add", &[], "[4]").expect("it answers").result(), 4);
    assert_eq!(ask_desk("total", &json!([[{ "@ref": counter }, { "@ref": counter }]]).to_string()).result(), 8);
    let adder = text(&ask_desk("makeAdder", "").result());
    assert_eq!(call(&alpha, &adder, "", &[], "[2, 3]").expect("it answers").result(), 5);
    // So is one of another vat.
    let other = reference(&net, "other");
    let far = text(&call(&beta, &other, "makeCounter", &[], "").expect("it answers").result());
    assert_eq!(call(&alpha, &far, "add", &[], "[10]").expect("it answers").result(), 10);
    assert_eq!(ask_desk("total", &json!([[{ "@ref": counter }, { "@ref": far }]]).to_string()).result(), 14);

    // A proof is checked by whoever knows the vat's id.
    let proven = call(&alpha, &desk, "echo", &[("quorate-proof", "?1")], "[7]").expect("it answers").json();
    net.file("answer.base64", proven["proof"].as_str().unwrap_or_else(|| panic!("no proof: {proven}")));
    let decode =
        Command::new("sh").current_dir(net.path("")).args(["-c", "base64 -d answer.base64 > answer.proof"]).status();
    assert!(decode.expect("sh runs").success());
    let vat = &desk["vat://".len()..][..64];
    let checked = net.vat(&["verify", "answer.proof", vat]).ok().stdout;
    assert!(checked.contains("[7]"), "{checked}");
    assert_eq!(net.vat(&["verify", "answer.proof", &other["vat://".len()..][..64]]).code, 1);

    // What opens nothing is told apart from what the vat rejects.
    let guessed = format!("{}#{}", desk.split('#').next().expect("an object"), "12".repeat(32));
    is_problem(&call(&alpha, &guessed, "echo", &[], "").expect("it answers"), 403, "Q-G003", "no");
    let unknown = format!("vat://{}/root#{}", "34".repeat(32), "12".repeat(32));
    is_problem(&call(&alpha, &unknown, "echo", &[], "").expect("it answers"), 404, "Q-G017", "no");
}

#[test]
fn a_call_with_a_key_is_done_once_though_its_host_is_killed_before_and_after_the_answer() {
    let (net, [(_, alpha), (_, beta)], desk) = net();
    let key = |name: &'static str| [("idempotency-key", name), ("prefer", "wait=100")];
    let counted =
        |name: &str| call(&beta, &desk, "counted", &[], &json!([name]).to_string()).expect("it answers").result();

    // One is not answered in time, one is under way when its host is killed.
    let late = call(&alpha, &desk, "wait", &[("idempotency-key", "late"), ("prefer", "wait=1")], r#"["late"]"#);
    is_problem(&late.expect("it answers"), 504, "Q-G013", "maybe");
    let under_way = {
        let (alpha, desk) = (alpha.clone(), desk.clone());
        thread::spawn(move || call(&alpha, &desk, "wait", &key("killed"), r#"["killed"]"#))
    };
    net.wait("the call", || (counted("killed") == 1).then_some(()));
    let again = call(&alpha, &desk, "wait", &key("killed"), r#"["killed"]"#).expect("it answers");
    is_problem(&again, 409, "Q-G010", "maybe");
    net.vat(&["testnet", "restart", "alpha"]).ok();
    assert!(under_way.join().expect("it does not panic").is_none(), "the call was answered by a host that was killed");

    // Another request with its key is none.
    is_problem(&call(&alpha, &desk, "wait", &key("killed"), r#"["other"]"#).expect("it answers"), 422, "Q-G009", "no");
    call(&beta, &desk, "open", &[], "").expect("it answers").result();
    let mut answers = Vec::new();
    for name in ["late", "killed"] {
        let said = call(&alpha, &desk, "wait", &key(name), &json!([name]).to_string()).expect("it answers");
        let result = said.result();
        assert_eq!((&result["name"], &result["count"]), (&json!(name), &json!(1)));
        assert!(!said.head.contains("idempotent-replayed"), "{said:?}");
        answers.push(result);
    }

    // What was answered is answered so again, references and all, also by a host that has started anew.
    net.vat(&["testnet", "restart", "alpha"]).ok();
    for (name, answer) in ["late", "killed"].into_iter().zip(&answers) {
        let said = call(&alpha, &desk, "wait", &key(name), &json!([name]).to_string()).expect("it answers");
        assert_eq!(&said.result(), answer);
        assert!(said.head.contains("idempotent-replayed: true"), "{said:?}");
        let counter = text(&answer["counter"]);
        assert_eq!(call(&beta, &counter, "add", &[], "[1]").expect("it answers").result(), 1);
        assert_eq!(counted(name), 1, "{name} was done again");
    }
    // Whoever may not use the vat any more has no answer of it, and leaves nothing.
    let guessed = format!("{}#{}", desk.split('#').next().expect("an object"), "12".repeat(32));
    for _ in 0..2 {
        let said = call(&alpha, &guessed, "wait", &key("late"), r#"["late"]"#).expect("it answers");
        is_problem(&said, 403, "Q-G003", "no");
    }
    let bearers = std::fs::read_dir(net.dir().join("hosts/alpha/gateway")).expect("calls with keys").count();
    assert_eq!(bearers, 1);
}

/// Where a call is recorded, by a disk that fails once.
struct Disk {
    caller: Arc<Mutex<Option<Caller>>>,
    is_full: bool,
}

impl Records for Disk {
    fn begun<'a>(&'a mut self, caller: &'a Caller) -> BoxFuture<'a, Result<(), String>> {
        *self.caller.lock().expect("no test panics with it") = Some(caller.clone());
        Box::pin(async { Ok(()) })
    }

    fn answered<'a>(&'a mut self, _: &'a Answer, _: Option<&'a VatProof>) -> BoxFuture<'a, Result<(), String>> {
        let is_full = self.is_full;
        Box::pin(async move {
            if !is_full {
                return Ok(());
            }
            // Whatever was said of the answer before it is recorded has come to the vat by now.
            tokio::time::sleep(Duration::from_secs(2)).await;
            Err("the disk is full".to_owned())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_could_not_be_recorded_is_sent_again() {
    let (net, config) = (TestNet::new(stand_in()), support::THREE_MEMBERS);
    net.up(&support::with_counter(&net, config), &[]).ok();
    let caller = Arc::new(Mutex::new(None));
    let attempt = async |is_full, deadline| {
        let again = caller.lock().expect("no test panics with it").clone();
        let call = LastingCall {
            sturdyref: support::sturdyref(&net, "counter"),
            hosts: members(&net),
            method: Method::Call("increment".to_owned()),
            args: vec![Value::Number(5.0)],
            slots: Vec::new(),
            prove: false,
            deadline,
            lasts: true,
            caller: again,
            records: Box::new(Disk { caller: Arc::clone(&caller), is_full }),
        };
        call_lasting(call).await.answer
    };
    for _ in 0..2 {
        let failed = attempt(true, LONG).await;
        assert!(matches!(&failed, Err(LastingError::NotRecorded(why)) if why == "the disk is full"), "{failed:?}");
    }
    let answer = attempt(false, LONG).await.expect("the vat has kept the answer");
    assert_eq!(answer.value, Value::Number(5.0));
    assert_eq!(net.call("counter", "read", &[]), 5);
}

#[test]
fn the_methods_of_an_object_are_tools() {
    let (_net, [(_, alpha), _], desk) = net();
    let rpc = |reference: &str, method: &str, params: Json| {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let bearer = format!("Bearer {reference}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        ask(&alpha, "POST", "/mcp", &headers, &message).expect("it answers").json()["result"].clone()
    };
    let names = |reference: &str| -> Vec<String> {
        let tools = rpc(reference, "tools/list", json!({}));
        let tools = tools["tools"].as_array().unwrap_or_else(|| panic!("no tools: {tools}")).clone();
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    };
    let wanted = ["close", "counted", "echo", "fail", "makeAdder", "makeCounter", "open", "total", "wait"];
    assert_eq!(names(&desk), wanted);
    let made = rpc(&desk, "tools/call", json!({ "name": "makeCounter" }));
    let counter = text(&made["structuredContent"]["result"]);
    // A reference has its own tools, and no others.
    assert_eq!(names(&counter), ["add", "count"]);
    let added = rpc(&counter, "tools/call", json!({ "name": "add", "arguments": { "args": [4] } }));
    assert_eq!(added["structuredContent"]["result"], 4);
    let total = rpc(&desk, "tools/call", json!({ "name": "total", "arguments": { "args": [[{ "@ref": counter }]] } }));
    assert_eq!(total["content"][0]["text"], "4");
    let failed = rpc(&desk, "tools/call", json!({ "name": "fail" }));
    assert_eq!((&failed["isError"], &failed["content"][0]["text"]), (&json!(true), &json!("RangeError: too far")));
    let missing = rpc(&counter, "tools/call", json!({ "name": "open" }));
    assert_eq!(missing["isError"], true);
}

/// A command that the page shows, and what it prints.
struct Shown<'p> {
    command: &'p str,
    printed: Vec<&'p str>,
}

fn shown(page: &str) -> Vec<Shown<'_>> {
    let mut found: Vec<Shown<'_>> = Vec::new();
    for block in page.split("\n```console\n").skip(1) {
        for line in block.split("\n```\n").next().expect("it ends").lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push(Shown { command, printed: Vec::new() }),
                None => found.last_mut().expect("a block begins with a command").printed.push(line),
            }
        }
    }
    found
}

/// The page's commands, as they are typed one after the other, print what the page shows.
#[test]
fn what_the_page_shows_is_what_is_printed() {
    let page = std::fs::read_to_string(own_file("../docs/http.md")).expect("the page is there");
    let commands = shown(&page);
    assert!(commands.len() >= 14, "the page shows {} commands", commands.len());
    let net = TestNet::new(stand_in());
    let at = format!("127.0.0.1:{}", free_port());
    support::with_counter(&net, "");
    let host = format!("[[host]]\nname = \"alpha\"\ngateway = \"{at}\"\n");
    let vat = "[[vat]]\nname = \"counter\"\nhosts = [\"alpha\"]\nsource = \"counter.js\"\n";
    let config = net.file("testnet.toml", &format!("{host}{vat}"));
    net.up(&config, &[]).ok();
    std::os::unix::fs::symlink(stand_in(), net.path("vat")).expect("a new name");
    let typed = |command: &str| command.replace("quorate-testnet/", "net/").replace("127.0.0.1:8080", &at);
    let script: String = commands.iter().map(|shown| format!("printf '\\036'\n{}\n", typed(shown.command))).collect();
    net.file("page.sh", &script);
    let path = format!("{}:{}", net.path("").display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash").arg("page.sh").current_dir(net.path("")).env("PATH", path).output();
    let output = output.expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed: Vec<&str> = said.split('\u{1e}').skip(1).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed.len(), commands.len(), "{said}\n{errors}");
    for (shown, printed) in commands.iter().zip(printed) {
        assert_eq!(printed.trim_end(), shown.printed.join("\n"), "{}\n{errors}", shown.command);
    }
}

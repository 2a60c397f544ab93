//! What names and paths mean, and what is shown again and again.

use super::*;
use std::io::Read;

/// A home called by another name than its host, run, with a counter on it; its sturdyref and address are returned.
fn one_host(bench: &Bench) -> (String, String) {
    let ports = free_ports::<2>();
    let listen = format!("/ip4/127.0.0.1/tcp/{}", ports[0]);
    let http = format!("127.0.0.1:{}", ports[1]);
    let args = ["node", "init", "--home", "place", "--name", "alpha", "--listen", &listen, "--http", &http, "--json"];
    let key = bench.vat(&args).ok().json()["key"].as_str().expect("a key").to_owned();
    bench.run_host("place");
    bench.file("counter.js", COUNTER);
    // By the path of its home, without a slash in it, which is no name.
    let create = ["create", "counter", "--on", "place", "--source", "counter.js", "--home", "place"];
    let sturdyref = bench.vat(&create).ok().stdout.trim().to_owned();
    (sturdyref, format!("{listen}/p2p/{key}"))
}

#[test]
fn names_mean_hosts_before_files_and_the_environment_names_the_home() {
    let bench = Bench::new();
    let (sturdyref, address) = one_host(&bench);
    let home = ["--home", "place"];
    let vat = |args: &[&str]| bench.vat(&[args, &home].concat());
    // A file of that name hides no host.
    bench.file("alpha", "anything at all");
    vat(&["create", "hidden", "--on", "alpha", "--source", "counter.js"]).ok();
    let card = vat(&["create", "more", "--on", "delta.card"]);
    assert_eq!(card.code, 2, "{}", card.stderr);
    for word in ["delta.card", "card", "home", "alpha"] {
        assert!(card.stderr.contains(word), "no {word} in {}", card.stderr);
    }
    // A vat that nobody here knows is a wrong argument, whatever is asked of it.
    bench.file("late.js", COUNTER);
    for args in [
        &["member", "remove", "--vat", "nosuch", "--out", "alpha"][..],
        &["member", "cancel", "--vat", "nosuch"],
        &["install", "nosuch", "late.js"],
        &["introduce", "nosuch"],
        &["status", "nosuch"],
        &["logs", "nosuch"],
    ] {
        let ran = vat(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("there is no vat"), "{args:?}: {}", ran.stderr);
    }
    // Its log is where its standard error went.
    let log = vat(&["logs", "alpha"]);
    assert_eq!((log.code, log.stdout.as_str()), (2, ""));
    assert!(log.stderr.contains("standard error") && log.stderr.contains("journalctl"), "{}", log.stderr);
    // Without an option, the environment says which home is meant; an option goes before it.
    let with_home = |args: &[&str]| bench.command(args).env("QUORATE_HOME", "place").output().expect("it runs");
    assert_eq!(with_home(&["status", "counter"]).status.code(), Some(0));
    assert_eq!(with_home(&["card"]).status.code(), Some(0));
    assert_eq!(with_home(&["status", "--dir", "nowhere"]).status.code(), Some(2));
    assert_eq!(with_home(&["status", "--home", "nowhere"]).status.code(), Some(2));
    // A rejection keeps its reason for scripts.
    let rejected = bench.vat(&["call", &sturdyref, "fail", "no luck", "--at", &address, "--json"]);
    assert_eq!(rejected.code, 1, "{}", rejected.stderr);
    let reason = json!({ "@error": { "name": "RangeError", "message": "no luck" } });
    assert_eq!(rejected.json()["error"]["rejection"], reason);
    assert_eq!(bench.vat(&["call", &sturdyref, "read", "--at", &address, "--json"]).ok().json(), json!(0));
}

/// The first bytes that a command prints, at least so many lines; then it is ended.
fn begin_of(bench: &Bench, args: &[&str], lines: usize) -> String {
    let mut child = bench.command(args).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    for _ in 0..lines {
        stdout.read_line(&mut text).expect("text");
    }
    child.kill().expect("it is ours");
    child.wait().expect("it can be waited for");
    text
}

#[test]
fn watching_into_a_pipe_prints_no_codes_and_json_a_line_each() {
    let bench = Bench::new();
    one_host(&bench);
    let table = begin_of(&bench, &["status", "--watch", "--home", "place"], 5);
    assert!(!table.contains('\x1b'), "{table:?}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[2], lines[0].contains("STATE ROOT")), ("", true), "a table, an empty line, a table: {table}");
    let objects = begin_of(&bench, &["status", "--watch", "--json", "--home", "place"], 3);
    for line in objects.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(object["replicas"][0]["host"], json!("alpha"));
    }
    assert_eq!(objects.lines().count(), 3);
    let once = bench.vat(&["status", "--json", "--home", "place"]).ok();
    assert!(once.stdout.lines().count() > 1, "one object is for people, too");
}

#[test]
fn idle_connections_keep_nobody_from_the_http_interface() {
    let bench = Bench::new();
    one_host(&bench);
    let config = fs::read_to_string(bench.path("place/host.toml")).expect("it is there");
    let http = config.lines().find_map(|line| line.strip_prefix("http = ")).expect("an address").trim_matches('"');
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = std::net::TcpStream::connect(http).expect("it listens");
        // Where it was ended already, it is no obstacle either.
        let _ = std::io::Write::write_all(&mut stream, b"GET /metrics HT");
        idle.push(stream);
    }
    let mut stream = std::net::TcpStream::connect(http).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        .expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.contains("charset=utf-8") && answer.contains("quorate_heap_limit_bytes{vat=\"counter\"} 134217728"),
        "{answer}"
    );
}

//! The sessions that pages show, typed as their readers type them: each command prints what the page says.

#[path = "support/gateway.rs"]
mod gateway;
mod support;

use gateway::{ask, free_port};
use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::json;
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{
    session::{Shown, shown},
    sturdyref,
};

/// How long a command that only looks may take to show what the page shows.
const PATIENCE: Duration = Duration::from_secs(180);
/// The gateway that pages name.
const GATEWAY: &str = "127.0.0.1:8080";

fn page(path: &str) -> String {
    fs::read_to_string(own_file(&format!("../{path}"))).expect("the page is there")
}

/// The first block of a language.
fn block<'p>(page: &'p str, language: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).expect("the page has one");
    rest.split_once("\n```\n").expect("it ends").0
}

/// The sessions of a page, of which `least` commands are known to be there.
fn sessions(page: &str, least: usize) -> Vec<Shown> {
    let sessions = shown(page);
    assert!(sessions.len() >= least, "there are {} commands", sessions.len());
    sessions
}

/// Runs a command. One that only looks is repeated until it prints what the page shows.
fn run(net: &TestNet, shown: &Shown) {
    let only_looks = ["status", "approvals", "evidence", "read "].iter().any(|word| shown.command.starts_with(word));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let printed = shown.run(net, true);
        if shown.is_as_shown(&printed) {
            return;
        }
        assert!(
            only_looks && Instant::now() < deadline,
            "vat {} prints\n{printed}and not\n{}",
            shown.command,
            shown.printed.join("\n")
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_sessions_of_the_read_me_go_as_it_tells_them() {
    let mut net: Option<TestNet> = None;
    for shown in sessions(&page("README.md"), 24) {
        if shown.command.starts_with("testnet up") {
            // Each begins where nothing is.
            net = Some(TestNet::new(stand_in()));
        }
        run(net.as_ref().expect("a session begins with a testnet"), &shown);
    }
}

#[test]
fn a_newcomer_gets_from_a_new_vat_to_a_call_from_a_page() {
    let text = page("docs/start.md");
    let net = TestNet::new(stand_in());
    let at = format!("127.0.0.1:{}", free_port());
    for shown in sessions(&text, 9) {
        if shown.command.starts_with("testnet down") {
            calls_as_the_page_does(&net, block(&text, "html"), &at);
        }
        run(&net, &shown);
        if shown.command.starts_with("new ") {
            let config = net.path("shop/testnet.toml");
            let more = block(&text, "toml").replace(GATEWAY, &at);
            let whole = fs::read_to_string(&config).expect("it was made") + "\n" + &more + "\n";
            fs::write(&config, whole).expect("writable");
        }
    }
}

/// Sends what a browser sends for the page of `docs/start.md` when the button is pressed.
fn calls_as_the_page_does(net: &TestNet, html: &str, at: &str) {
    let reference = sturdyref(net, "contract").to_string();
    let (path, secret) = reference.trim_start_matches("vat://").split_once('#').expect("a bearer");
    let (vat, object) = path.split_once('/').expect("a vat and an object");
    for part in [
        "http://127.0.0.1:8080/v1/vats/${vat}/objects/${object}/increment",
        "Bearer ${secret}",
        "application/json",
        "'[1]'",
    ] {
        assert!(html.contains(part), "the page lacks {part}");
    }
    let path = format!("/v1/vats/{vat}/objects/{object}/increment");
    let origin = ("origin", "http://127.0.0.1:8000");
    let asks = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let allowed = ask(at, "OPTIONS", &path, &asks, "").expect("it answers");
    assert!(allowed.status == 204 && allowed.head.contains("access-control-allow-origin"), "{allowed:?}");
    let bearer = format!("Bearer {secret}");
    let headers = [origin, ("authorization", bearer.as_str()), ("content-type", "application/json")];
    let called = ask(at, "POST", &path, &headers, "[1]").expect("it answers");
    assert_eq!(called.result(), json!(8), "{called:?}");
}

//! The commands of the contract guide, as a new author types them, with the files that the guide shows.

mod support;

use quorate_testnet::process::{TestNet, own_file, stand_in};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};
use support::session::{shown, with_places};

/// The least number of commands in the guide: what is not found is not tested.
const LEAST: usize = 12;

fn guide() -> String {
    fs::read_to_string(own_file("../docs/contract-guide.md")).expect("the guide is there")
}

/// The first block of a language.
fn block(guide: &str, language: &str) -> String {
    let (_, rest) = guide.split_once(&format!("\n```{language}\n")).expect("the guide has one");
    rest.split_once("\n```\n").expect("it ends").0.to_owned()
}

/// A place with the files of the guide's first example.
fn place(guide: &str) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("greeter.js", &block(guide, "js"));
    net.file("greeter.test.js", &block(guide, "javascript"));
    net.file("testnet.toml", &block(guide, "toml"));
    net
}

/// Indented command lines, and what the comment behind each says.
fn commands(guide: &str) -> Vec<(&str, &str)> {
    let lines = guide.lines().filter_map(|line| line.strip_prefix("    vat "));
    lines
        .map(|line| line.split_once('#').unwrap_or((line, "")))
        .map(|(line, said)| (line.trim(), said.trim()))
        .collect()
}

/// The sessions of the guide, with what they print.
#[test]
fn what_the_guide_shows_on_a_console_is_what_is_printed() {
    let guide = guide();
    let mut net = place(&guide);
    let all = shown(&guide);
    for wanted in ["repl ", "test", "replay ", "upgrade "] {
        assert!(all.iter().any(|shown| shown.command.starts_with(wanted)), "the guide shows no vat {wanted}");
    }
    for shown in all {
        if shown.command.starts_with("testnet up") {
            net = place(&guide);
        }
        let printed = shown.run(&net, false);
        assert!(
            shown.is_as_shown(&printed),
            "vat {} prints\n{printed}and not\n{}",
            shown.command,
            shown.printed.join("\n")
        );
    }
}

#[test]
fn the_commands_of_the_contract_guide_work() {
    let guide = guide();
    let commands = commands(&guide);
    assert!(commands.len() >= LEAST, "{commands:?}");
    let mut net = place(&guide);
    for (command, said) in commands {
        if command.starts_with("testnet up") {
            // The guide's reader has taken the last one down, or begins elsewhere.
            net = place(&guide);
        }
        let ran = net.vat(&with_places(command).split_whitespace().collect::<Vec<_>>()).ok();
        // Where a comment is what the command prints, it stands in quotes.
        if said.starts_with('"') {
            assert_eq!(ran.stdout.trim(), said, "{command}");
        }
    }
}

#[test]
fn a_vat_that_is_tried_alone_prints_the_command_that_calls_it() {
    let net = place(&guide());
    let mut command = net.command(&["run", "greeter.js", "--seconds", "120"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let said = BufReader::new(child.stderr.take().expect("piped"));
    let line = said.lines().map_while(Result::ok).find(|line| line.contains("METHOD")).expect("it prints the command");
    let (_, line) = line.split_once(": vat ").expect("a command line");
    let words = line.replace("METHOD", "greet Ada");
    let words: Vec<&str> = words.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let called = net.vat(&words);
    // By SIGTERM it removes its temporary home.
    let ended = Command::new("kill").arg(child.id().to_string()).status().and_then(|_| child.wait());
    ended.expect("it is ours");
    assert_eq!(called.ok().stdout.trim(), "\"hello, Ada\"");
}

/// What the guide shows of a delivery that exceeds a limit, on the command line.
#[test]
fn a_call_that_exceeds_a_limit_is_told_as_the_guide_says() {
    let guide = guide();
    let shown = guide.lines().find(|line| line.contains("error: rejected: VatError")).expect("the guide shows it");
    let (shown, _) = shown.trim().split_once(" …").expect("the message is left out");
    let net = place(&guide);
    net.file(
        "target.js",
        "import { Far } from '@endo/far';\nexport default () => Far('target', { work() { for (;;); } });\n",
    );
    let config = net.file(
        "testnet.toml",
        "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"target\"\nhosts = [\"h1\"]\nsource = \"target.js\"\n[vat.limits]\nfuel_per_delivery = 150000000\n",
    );
    net.up(&config, &[]).ok();
    let ran = net.vat(&["call", "target", "work"]);
    assert!(ran.code == 1 && ran.stderr.starts_with(shown), "{ran:?}");
}

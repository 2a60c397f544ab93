//! The commands of the contract guide, as a new author types them, with the files that the guide shows.

use quorate_testnet::process::{TestNet, own_file, stand_in};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

/// The least number of commands in the guide: what is not found is not tested.
const LEAST: usize = 12;

fn guide() -> String {
    fs::read_to_string(own_file("../docs/contract-guide.md")).expect("the guide is there")
}

/// A command with the examples where they are.
fn with_examples(command: &str) -> String {
    let examples = own_file("examples/");
    command.replace("testnet/examples/", examples.to_str().expect("a path that is text"))
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

/// A command that the guide shows, what is typed when it runs, and what it prints.
struct Shown {
    command: String,
    typed: String,
    printed: Vec<String>,
}

/// The commands in the blocks of a console, in order.
fn shown(guide: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for block in guide.split("\n```console\n").skip(1) {
        let (block, _) = block.split_once("\n```\n").expect("it ends");
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ vat ") {
                found.push(Shown { command: command.to_owned(), typed: String::new(), printed: Vec::new() });
                continue;
            }
            let last = found.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ") {
                Some(typed) => last.typed += &format!("{typed}\n"),
                None => last.printed.push(line.to_owned()),
            }
        }
    }
    found
}

/// A line without what differs between two runs: fuel, numbers of blocks, terms, times, bytes and ids.
fn masked(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let core = words[at].trim_matches(|letter: char| "(),;:".contains(letter)).to_owned();
        let before =
            at.checked_sub(1).map(|before| words[before].trim_start_matches('(').to_owned()).unwrap_or_default();
        let is_id = core.len() == 10 && core.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_time = core.len() >= 8 && core.bytes().all(|byte| byte.is_ascii_digit() || b"-:".contains(&byte));
        let is_fuel = words.get(at + 1).is_some_and(|next| next.starts_with("fuel"));
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_counted = ["deliveries", "blocks", "bytes"].iter().any(|what| next.starts_with(what));
        let is_number =
            core.parse::<u64>().is_ok() && (is_counted || ["block", "blocks", "term", "to"].contains(&before.as_str()));
        if is_id || is_time || is_fuel || is_number {
            words[at] = words[at].replace(&core, "N");
        }
    }
    words.join(" ")
}

/// Whether these lines were printed; a line with nothing but `…` stands for any number of them.
fn is_as_shown(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=printed.len()).any(|skip| is_as_shown(rest, &printed[skip..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| masked(line) == masked(first) && is_as_shown(rest, others)),
    }
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
    for Shown { command, typed, printed } in all {
        if command.starts_with("testnet up") {
            net = place(&guide);
        }
        let line = with_examples(&command).replace("quorate-testnet/", "net/");
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut child = net.command(&words);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("the binary runs");
        child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            is_as_shown(&printed, &lines),
            "vat {command} prints\n{stdout}and not\n{}\n{stderr}",
            printed.join("\n")
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
        let ran = net.vat(&with_examples(command).split_whitespace().collect::<Vec<_>>()).ok();
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

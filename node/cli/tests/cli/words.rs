//! Help, wrong words, exit codes.

use super::*;

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = lines.by_ref().take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The commands that have no subcommands, as `vat member add`.
pub fn leaf_commands(bench: &Bench) -> Vec<String> {
    let mut seen = Vec::new();
    collect_help(bench, &[], &mut seen);
    let leaves = seen.into_iter().filter(|(_, help)| subcommands(help).is_empty());
    leaves.map(|(command, _)| command).collect()
}

/// Wrong words in a folder with two empty files, `empty.toml` and `empty.js`, and what is said of them.
pub const WRONG: &[(&[&str], &str)] = &[
    (&["frobnicate"], "frobnicate"),
    (&["call", "counter"], "<METHOD>"),
    (&["call", "counter", "read"], "--dir"),
    (&["call", "vat://77/root", "read"], "64 hex digits"),
    (&["status"], "vat testnet up"),
    (&["logs", "counter"], "vat testnet up"),
    (&["testnet", "status"], "vat testnet up"),
    (&["testnet", "kill", "h1"], "vat testnet up"),
    (&["testnet", "restart", "h1"], "vat testnet up"),
    (&["testnet", "down"], "vat testnet up"),
    (&["testnet", "up", "nowhere.toml"], "nowhere.toml"),
    (&["testnet", "init", "empty.toml"], "[[host]]"),
    (&["node", "run", "--home", "nowhere"], "vat node init --home nowhere"),
    (&["node", "init", "--home", ".", "--name", "h1"], "not empty"),
    (&["node", "init", "--home", "new", "--name", "Not a name"], "not a good name"),
    (&["status", "--home", "nowhere"], "vat node init"),
    (&["status", "--dir", "empty.toml"], "empty.toml is a file"),
    (&["call", "counter", "read", "--dir", "empty.toml/net"], "empty.toml is a file"),
    (&["create", "purse", "--on", "./nowhere"], "vat node init"),
    (&["create", "purse", "--on", "nowhere"], "vat card"),
    (&["create", "../purse", "--on", "./nowhere"], "not a good name"),
    (&["create", "purse", "--on", "./nowhere", "--arg", "price=1"], "vat install"),
    (&["create", "purse", "--on", "./nowhere", "--endowment", "clock"], "exit, timer, publisher"),
    (&["install", "purse", "nowhere.js"], "nowhere.js"),
    (&["card", "--home", "nowhere"], "vat node init"),
    (&["introduce", "two"], "vat testnet up"),
    (&["join", "two.vat", "--home", "nowhere"], "vat node init"),
    (&["member", "add", "--vat", "two", "--in", "e"], "vat testnet up"),
    (&["member", "replace", "--vat", "two", "--out", "c", "--in", "e"], "vat testnet up"),
    (&["member", "cancel", "--vat", "two"], "vat testnet up"),
    (&["run", "nowhere.js"], "nowhere.js"),
    (&["run", "empty.js", "--arg", "price"], "NAME=VALUE"),
    (&["run", "empty.toml"], "it is a .toml file"),
    (&["run", "empty.js", "--watch", "--seconds", "1"], "--seconds"),
    (&["test", "nowhere.test.js"], "nowhere.test.js"),
    (&["repl", "nowhere.js"], "nowhere.js"),
    (&["replay", "nowhere", "counter"], "vat node init"),
    (&["testnet", "up", "empty.toml", "--watch", "--detach"], "--detach"),
    (&["testnet", "up", "empty.toml", "--fresh"], "[[host]]"),
    (&["explain", "Q-NOSUCH"], "Q-NOSUCH"),
    (&["completions", "nosuch"], "bash"),
];

fn collect_help(bench: &Bench, path: &[&str], seen: &mut Vec<(String, String)>) {
    let ran = bench.vat(&[path, &["--help"]].concat()).ok();
    assert_eq!(ran.stderr, "", "{path:?}");
    for name in subcommands(&ran.stdout) {
        collect_help(bench, &[path, &[&name]].concat(), seen);
    }
    seen.push((format!("vat {}", path.join(" ")), ran.stdout));
}

/// Each command has a page of the manual, and what sets manuals has nothing to say against it.
fn manual(bench: &Bench, commands: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let man = folder.path().join("man1");
    bench.vat(&["man", man.to_str().expect("text")]).ok();
    let pages = std::fs::read_dir(&man).expect("the pages").map(|entry| entry.expect("an entry").path());
    let pages: std::collections::BTreeSet<_> = pages.collect();
    for command in commands {
        let page = man.join(format!("{}.1", command.trim().replace(' ', "-")));
        assert!(pages.contains(&page), "{command} has no page");
    }
    assert_eq!(pages.len(), commands.len(), "there are pages of no command");
    for page in pages {
        let mut groff = std::process::Command::new("groff");
        groff.args(["-man", "-Kutf8", "-Tutf8", "-wall", "-z"]).arg(&page);
        // What is not there can't complain.
        let Ok(set) = groff.output() else { return };
        let said = String::from_utf8_lossy(&set.stderr);
        assert!(set.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let bench = Bench::new();
    let mut seen = Vec::new();
    collect_help(&bench, &[], &mut seen);
    let commands: Vec<&str> = seen.iter().map(|(command, _)| command.as_str()).collect();
    for wanted in ["vat testnet up", "vat call", "vat node run", "vat member replace", "vat run", "vat "] {
        assert!(commands.contains(&wanted), "no {wanted} in {commands:?}");
    }
    let without: Vec<&String> = seen
        .iter()
        .filter(|(_, help)| {
            !help.contains("Example") || !help.split("Example").nth(1).is_some_and(|text| text.contains("vat "))
        })
        .map(|(command, _)| command)
        .collect();
    assert!(without.is_empty(), "without an example: {without:?}");
    assert!(seen.last().is_some_and(|(_, help)| help.contains("Exit codes")), "the exit codes are documented");
    let version = bench.vat(&["--version"]).ok().stdout;
    let lines: Vec<&str> = version.lines().collect();
    assert_eq!(lines[0], format!("vat {}", env!("CARGO_PKG_VERSION")));
    let image = lines.iter().find_map(|line| line.strip_prefix("engine image: ")).expect("the image");
    assert!(image.len() == 64 && version.contains("\ncommit: ") && version.contains("debug assertions"), "{version}");
    let version: serde_json::Value =
        serde_json::from_str(&bench.vat(&["version", "--json"]).ok().stdout).expect("JSON");
    assert_eq!(
        (version["version"].as_str(), version["image"].as_str()),
        (Some(env!("CARGO_PKG_VERSION")), Some(image))
    );
    assert!(version["wasmtime"].is_string() && version["home_format"].is_string(), "{version}");
    assert_eq!(bench.vat(&["-V"]).ok().stdout, format!("vat {}\n", env!("CARGO_PKG_VERSION")));
    manual(&bench, &commands);
    for shell in ["bash", "zsh", "fish"] {
        assert!(bench.vat(&["completions", shell]).ok().stdout.contains("testnet"), "{shell}");
    }
}

#[test]
fn wrong_words_are_exit_code_2_and_say_what_to_do() {
    let bench = Bench::new();
    bench.file("empty.toml", "");
    bench.file("empty.js", "");
    for (args, wanted) in WRONG {
        let ran = bench.vat(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(*wanted), "{args:?}: no {wanted:?} in {}", ran.stderr);
    }
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let bench = Bench::new();
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = bench.command(&["node", "init", "--home", "alpha", "--name", "alpha"]);
    let output = command.stdout(full).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("standard output could not be written"), "{stderr}");
}

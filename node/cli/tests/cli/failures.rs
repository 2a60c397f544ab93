//! What a failure looks like to a script: with `--json`, one object on standard output, of every command.

use super::*;
use crate::words::{WRONG, leaf_commands};

/// The object on standard output, which is all that is there.
#[track_caller]
fn failure(ran: &Ran) -> Value {
    assert_eq!(ran.stdout.lines().count(), 1, "stdout: {}\nstderr: {}", ran.stdout, ran.stderr);
    let error = ran.json()["error"].clone();
    let members: Vec<&str> = error.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "codes", "exit", "message", "next", "mistakes", "rejection"]);
    assert_eq!(error["exit"], json!(ran.code), "{error}");
    let message = error["message"].as_str().expect("a text");
    assert!(!message.is_empty() && ran.stderr.contains(message.lines().next().expect("a line")), "{}", ran.stderr);
    error
}

#[test]
fn every_command_fails_as_an_object_where_a_script_asks_for_one() {
    let bench = Bench::new();
    bench.file("empty.toml", "");
    bench.file("empty.js", "");
    let leaves = leaf_commands(&bench);
    for command in &leaves {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let ran = bench.vat(&[&words[..], &["--no-such-option", "--json"]].concat());
        let error = failure(&ran);
        assert_eq!(ran.code, 2, "{command}");
        let help = error["next"][0].as_str().expect("a command");
        assert!(help.ends_with(" --help") && help.starts_with("vat"), "{command}: {help}");
    }
    for (args, _) in WRONG {
        let ran = bench.vat(&[*args, &["--json"][..]].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        failure(&ran);
    }
    // It asks for an object also where nothing else is right, and only before `--`.
    failure(&bench.vat(&["--json"]));
    assert_eq!(bench.vat(&["call", "--", "--json"]).stdout, "");
}

#[test]
fn mistakes_have_their_places() {
    let bench = Bench::new();
    bench.file("a.js", "import './absent.js';\nexport default () => {};\n  export * from 'left-pad';\n");
    bench.file(
        "t.toml",
        "[[host]]\nname = \"h1\"\n  colour = 1\n[[vat]]\nname = \"v\"\nhosts = [\"h1\", \"h2\"]\nsource = \"a.js\"\n",
    );
    let config = failure(&bench.vat(&["testnet", "init", "t.toml", "--json"]));
    let places = |error: &Value| -> Vec<(String, Value, Value)> {
        let mistakes = error["mistakes"].as_array().expect("a list");
        let file = |mistake: &Value| mistake["file"].as_str().expect("a file").to_owned();
        mistakes.iter().map(|mistake| (file(mistake), mistake["line"].clone(), mistake["column"].clone())).collect()
    };
    let at = |file: &str, line: u32, column: u32| (file.to_owned(), json!(line), json!(column));
    assert_eq!(places(&config), [at("t.toml", 3, 3), at("t.toml", 4, 1), at("t.toml", 6, 16)], "{config}");
    assert!(config["message"].as_str().is_some_and(|text| text.starts_with("3 mistakes in t.toml\n")), "{config}");
    let code = failure(&bench.vat(&["run", "a.js", "--json"]));
    assert_eq!(places(&code), [at("a.js", 1, 8), at("a.js", 3, 17)], "{code}");
    let whole = failure(&bench.vat(&["run", "nowhere.js", "--json"]));
    assert_eq!(places(&whole), [("nowhere.js".to_owned(), Value::Null, Value::Null)], "{whole}");
    // For people the first line says how much is wrong.
    assert!(bench.vat(&["testnet", "init", "t.toml"]).stderr.starts_with("error: 3 mistakes in t.toml\nt.toml:3: "));
}

#[test]
fn the_file_of_a_host_is_checked_before_anything_is_started() {
    let bench = Bench::new();
    bench.vat(&["node", "init", "--home", "alpha", "--name", "alpha"]).ok();
    bench.file("alpha/host.toml", "name = \"Bad Name!\"\nlisten = [\"garbage\"]\nhttp = \"127.0.0.1:1\"\ncolour = 1\n");
    let ran = bench.vat(&["node", "run", "--home", "alpha", "--json"]);
    let error = failure(&ran);
    let lines: Vec<_> = error["mistakes"].as_array().expect("a list").iter().map(|one| one["line"].clone()).collect();
    assert_eq!((ran.code, error["code"].clone(), lines), (2, json!("Q-R001"), vec![json!(1), json!(2), json!(4)]));
    assert!(!ran.stderr.contains("loading the engine"), "it was started: {}", ran.stderr);
    let next = error["next"].as_array().expect("a list");
    assert!(next.contains(&json!("vat explain Q-R001")) && ran.stderr.contains("\nvat explain Q-R001"), "{error}");
    let card = failure(&bench.vat(&["card", "--home", "alpha", "--json"]));
    assert_eq!(card["mistakes"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_filter_of_the_log_that_is_none_is_an_error() {
    let bench = Bench::new();
    bench.vat(&["node", "init", "--home", "alpha", "--name", "alpha"]).ok();
    for filter in ["foo[bar=baz", "dbug"] {
        let mut command = bench.command(&["node", "run", "--home", "alpha"]);
        let output = command.env("QUORATE_LOG", filter).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{filter}: {stderr}");
        assert!(stderr.contains("QUORATE_LOG") && stderr.contains(filter), "{stderr}");
    }
}

#[test]
fn arguments_have_names_that_properties_can_have() {
    let bench = Bench::new();
    bench.file("a.js", "export default () => {};");
    for (argument, wanted) in [
        (&["--arg", "=1"][..], "is empty"),
        (&["--arg", "__proto__=1"], "__proto__"),
        (&["--arg", "a\tb=1"], "control character"),
        (&["--arg", "exit=1"], "what the host gives"),
        (&["--arg", "a=1", "--arg", "a=2"], "given twice"),
    ] {
        let ran = bench.vat(&[&["run", "a.js"], argument].concat());
        assert_eq!(ran.code, 2, "{argument:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{argument:?}: {}", ran.stderr);
    }
}

#[test]
fn codes_are_explained() {
    let bench = Bench::new();
    let one = bench.vat(&["explain", "q-r004"]).ok().stdout;
    assert!(one.starts_with("Q-R004 (Starting a host)\nhappened: ") && one.contains("\ndo: "), "{one}");
    assert!(!one.contains("]("), "{one}");
    let both = bench.vat(&["explain", "Q-C021", "Q-A003", "--json"]).ok().json();
    assert_eq!((&both[0]["code"], &both[1]["code"]), (&json!("Q-C021"), &json!("Q-A003")));
    assert!(bench.vat(&["explain"]).ok().stdout.contains("Q-EQUIVOCATION"));
    let unknown = bench.vat(&["explain", "Q-R0004"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean Q-R00"), "{}", unknown.stderr);
}

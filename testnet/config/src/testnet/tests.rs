//! The config against files: `cases/*.toml`, each with the text of every mistake in it beside it (`.txt`).
//! `QUORATE_BLESS=1` writes the texts anew, to be read before they are committed.

use super::*;
use std::fs;

fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn mistakes(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.js"), "").expect("written");
    match TestnetConfig::parse(text, &folder.path().join("t.toml")) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let prefix = folder.path().display().to_string();
            error.to_string().lines().map(|line| line.replace(&prefix, "")).collect()
        }
    }
}

#[test]
fn every_case_says_exactly_what_is_wrong() {
    let folder = manifest("src/testnet/cases");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 4, "the cases are gone");
    for case in cases {
        let error = TestnetConfig::load(&case).expect_err(&case.display().to_string());
        let found = error
            .to_string()
            .replace(&format!("{}/", folder.display()), "")
            .replace(&folder.display().to_string(), "FOLDER")
            + "\n";
        let expected = case.with_extension("txt");
        if std::env::var_os("QUORATE_BLESS").is_some() {
            fs::write(&expected, &found).expect("written");
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", case.display());
    }
}

#[test]
fn ten_mistakes_are_ten_errors() {
    let error = TestnetConfig::load(&manifest("src/testnet/cases/ten.toml")).expect_err("ten mistakes");
    assert_eq!(error.mistakes.len(), 10, "{error}");
    assert!(error.mistakes.iter().all(|mistake| mistake.line > 0 && !mistake.fix.is_empty()), "{error}");
}

#[test]
fn a_good_config_is_read_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("two.js"), "").expect("written");
    fs::write(folder.path().join("words.txt"), "grüße").expect("written");
    let text = r#"
[limits]
memory_mb = 64
fuel_per_delivery = 2_000_000
[[host]]
name = "h1"
listen = "127.0.0.1:7001"
http = "localhost:9001"
[[host]]
name = "h2"
listen = "/ip4/0.0.0.0/udp/7001/quic-v1"
announce = "/dns/h2.example.org/udp/7001/quic-v1"
[[host]]
name = "h3"
[[vat]]
name = "one"
hosts = ["h1"]
source = "./two.js"
[vat.argv]
zebra = 1
exit = { endowment = "exit" }
apple = { vat = "two" }
[[vat]]
name = "two"
hosts = ["h3", "h1", "h2"]
threshold = 2
source = "two.js"
[vat.argv]
one = { vat = "one" }
far = { sturdyref = "vat://0707070707070707070707070707070707070707070707070707070707070707/root" }
text = "x"
half = 0.5
yes = true
words = { file = "words.txt" }
list = [1, [2], { b = 1, a = { file = "words.txt" } }]
[vat.argv.deep.er]
est = -1
[vat.limits]
memory_mb = 96
checkpoint_deliveries = 10
"#;
    let file = folder.path().join("testnet.toml");
    fs::write(&file, text).expect("written");
    let config = TestnetConfig::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let h1 = config.host("h1").expect("h1");
    assert_eq!(h1.listen.as_deref(), Some("/ip4/127.0.0.1/tcp/7001"));
    assert_eq!(h1.http, Some(([127, 0, 0, 1], 9001).into()));
    assert_eq!(config.host("h3").expect("h3").listen, None);
    let one = config.vat("one").expect("one");
    assert_eq!((one.threshold, &one.endowments[..]), (1, &["exit".to_string()][..]));
    assert_eq!(one.argv[0], ("zebra".into(), Argument::Data(abi::Value::Number(1.0))), "the order of the file");
    assert_eq!(one.argv[1], ("apple".into(), Argument::Vat("two".into())));
    assert!(one.source.is_absolute() && one.source.is_file());
    assert_eq!(one.limits.memory_bytes, Some(64 << 20));
    let two = config.vat("two").expect("two");
    assert_eq!(two.hosts, ["h3", "h1", "h2"]);
    assert_eq!(two.limits.memory_bytes, Some(96 << 20));
    assert_eq!(two.limits.fuel_per_delivery, Some(2_000_000));
    assert_eq!(two.limits.checkpoint_deliveries, Some(10));
    assert!(matches!(two.argv[1].1, Argument::Sturdyref(_)));
    let greeting = abi::Value::String("grüße".into());
    let record = abi::Value::Record(vec![("b".into(), abi::Value::Number(1.0)), ("a".into(), greeting.clone())]);
    let list = vec![abi::Value::Number(1.0), abi::Value::Array(vec![abi::Value::Number(2.0)]), record];
    assert_eq!(two.argv[5], ("words".into(), Argument::Data(greeting)));
    assert_eq!(two.argv[6], ("list".into(), Argument::Data(abi::Value::Array(list))));
    assert_eq!(two.argv[7].0, "deep");
}

#[test]
fn the_examples_are_good_configs() {
    for (example, hosts, vats) in [("quorum", 7, 3), ("counter", 4, 1)] {
        let file = manifest("../examples").join(example).join("testnet.toml");
        let config = TestnetConfig::load(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.hosts.len(), config.vats.len()), (hosts, vats), "{example}");
    }
}

#[test]
fn files_that_are_no_config_are_one_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("t.toml");
    let one = |file: &Path, expected: &str| {
        let error = TestnetConfig::load(file).expect_err(expected);
        assert_eq!(error.mistakes.len(), 1, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    one(&file, "cannot read");
    one(folder.path(), "not a file");
    fs::write(&file, [b"[[host]]\nname = \"".as_slice(), &[0xff, 0xfe], b"\"\n"].concat()).expect("written");
    one(&file, "t.toml:2: a byte here is not UTF-8");
    fs::write(&file, " ".repeat(MAX_CONFIG_BYTES as usize + 1)).expect("written");
    one(&file, "over the limit");
    fs::write(&file, "").expect("written");
    one(&file, "no [[host]]");
}

#[test]
fn odd_configs_are_told_what_is_odd() {
    let vat = "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"a\"\nhosts = [\"h1\"]\nsource = \"a.js\"\n";
    assert_eq!(mistakes(&format!("version = 1\n{vat}")), Vec::<String>::new());
    let deep = format!("{vat}[vat.argv]\nx = {}1{}\n", "[".repeat(200), "]".repeat(200));
    for (text, line, wanted) in [
        (format!("version = 2\n{vat}"), 1, "this build reads version 1"),
        (format!("version = \"1\"\n{vat}"), 1, "must be a whole number"),
        ("hosts:\n  - name: h1\n".into(), 0, "this looks like YAML"),
        ("---\n- host\n".into(), 0, "this looks like YAML"),
        ("# a comment\nversion: 1\n".into(), 0, "this looks like YAML"),
        ("{\n  \"hosts\": []\n}\n".into(), 0, "this looks like JSON"),
        ("[{\"name\": \"h1\"}]\n".into(), 0, "this looks like JSON"),
        (
            vat.replace("source", "threshold = 99999999999999999999\nsource"),
            6,
            "threshold 99999999999999999999 of 1 host",
        ),
        (vat.replace("source", "threshold = -99999999999999999999\nsource"), 6, "not over half"),
        (deep, 8, "nested deeper than 32 levels"),
        (format!("{vat}[vat.argv]\n\"\" = 1\n"), 8, "is empty"),
        (format!("{vat}[vat.argv]\n\"__proto__\" = 1\n"), 8, "__proto__"),
        (format!("{vat}[vat.argv]\n\"a\\u0000b\" = 1\n"), 8, "control character"),
        (format!("{vat}[vat.argv]\nrecord = {{ \"__proto__\" = 1 }}\n"), 8, "__proto__"),
        (vat.replace("a.js", "/etc/passwdd"), 6, "correct the path"),
        (vat.replace("a.js", "../a.jss"), 6, "correct the path"),
    ] {
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{text}\n{}", found.join("\n"));
        let place = if line == 0 { "t.toml: ".to_owned() } else { format!("t.toml:{line}: ") };
        assert!(found[0].contains(&place) && found[0].contains(wanted), "no {place}{wanted} in {}", found[0]);
    }
}

#[test]
fn a_mistake_is_not_reported_again_by_what_depends_on_it() {
    let cases = [
        // A broken name of a host: vats that name it are not to blame.
        "[[host]]\nname = h1\n[[vat]]\nname = \"a\"\nhosts = [\"h1\"]\nsource = \"a.js\"\n",
        // A misspelt required key is not also missing.
        "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"a\"\nhost = [\"h1\"]\nsource = \"a.js\"\nthreshold = 1\n",
        // An array that is not closed does not swallow the rest.
        "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"a\"\nhosts = [\"h1\"\nsource = \"a.js\"\nthreshold = 1\n[vat.argv]\nx = 1\n",
        // A header that is not closed.
        "[[host]]\nname = \"h1\"\n[[host]\nname = \"h2\"\n",
        "[host]\nname = \"h1\"\n[[host]]\nname = \"h2\"\n",
        "[[host]]\nname = \"h1\"\n[[vat]]\nname = \"a\"\nhosts = [\"h1\"]\nsource = \"a.js\"\n[vat.argv]\nx = 1\n[vat.argv]\ny = 1\n",
        "[[host]]\nname = \"h1\"\nname = \"h2\"\n",
        "[[host]]\nname = \"h1\"\ngarbage\n",
        "[[host]]\r\nname = \"h1\"\r\ncolour = 3\r\n",
    ];
    for text in cases {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}\n{}", found.join("\n"));
    }
}

#[test]
fn nothing_that_can_be_typed_makes_it_panic() {
    let good = fs::read_to_string(manifest("src/testnet/cases/ten.toml")).expect("a case");
    let letters: Vec<char> = good.chars().collect();
    for cut in (0..letters.len()).step_by(7) {
        let without: String = letters[..cut].iter().chain(&letters[(cut + 5).min(letters.len())..]).collect();
        mistakes(&without);
        mistakes(&letters[..cut].iter().collect::<String>());
    }
    for junk in [
        "=",
        "[",
        "[[",
        "]]",
        "\"\"\"",
        "'''\n= x",
        "a.b.c.d",
        "\u{0}",
        "[[[[[[[[",
        "x = [[[[[[[[[[[[[[[[[[[[",
        "\n\n\n]",
    ] {
        assert!(!mistakes(junk).is_empty(), "{junk}");
    }
    let deep = format!("[[host]]\nname = \"h\"\nx = {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    assert!(!mistakes(&deep).is_empty());
    let dotted = format!("[[host]]\nname = \"h\"\n{} = 1\n", vec!["a"; 2000].join("."));
    assert!(!mistakes(&dotted).is_empty());
}

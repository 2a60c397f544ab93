//! Holds `docs/reference/config.md` and the two JSON schemas beside it against the program: all keys and no others, and examples that are
//! good.

use super::{TestnetConfig, argv, check::Key, host_file, hosts, schema, vats};
use std::{
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = "config.md";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(file)
}

fn reference(file: &str) -> String {
    let path = path(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// The keys of the table below a heading of the page.
fn documented<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{PAGE} lacks {heading}"));
    let (section, _) = below.split_once("\n#").unwrap_or((below, ""));
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(key, _)| key).collect()
}

/// The first TOML after a heading.
fn example<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{PAGE} lacks {heading}"));
    let (_, block) = below.split_once("\n```toml\n").expect("an example");
    block.split_once("\n```\n").expect("it ends").0
}

/// Each heading of the page, and the keys that the program knows there.
fn sections() -> [(&'static str, Vec<&'static str>); 6] {
    [
        ("### The file", names(&vats::DOCUMENT)),
        ("### `[[host]]`", names(&hosts::KEYS)),
        ("### `[[vat]]`", names(&vats::VAT_KEYS)),
        ("### `[vat.argv]`", names(&argv::SPECIAL)),
        ("### `[limits]` and `[vat.limits]`", names(&vats::LIMIT_KEYS)),
        ("## host.toml", names(&host_file::KEYS)),
    ]
}

#[test]
fn the_page_has_each_key_of_the_program_and_no_other() {
    let page = reference(PAGE);
    for (heading, keys) in sections() {
        assert_eq!(documented(&page, heading), keys, "{PAGE}, {heading}");
    }
}

#[test]
fn the_examples_are_good_and_show_every_key() {
    let page = reference(PAGE);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["shop.js", "words.txt"] {
        fs::write(folder.path().join(file), "").expect("written");
    }
    let testnet = example(&page, "## testnet.toml");
    let config = TestnetConfig::parse(testnet, &folder.path().join("testnet.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.hosts.len(), config.vats.len()), (2, 1));
    for key in names(&hosts::KEYS).into_iter().chain(names(&vats::VAT_KEYS)) {
        assert!(testnet.contains(&format!("{key} = ")) || testnet.contains(&format!(".{key}]")), "no {key}");
    }
    let host = example(&page, "## host.toml");
    host_file::host_file(host, Path::new("host.toml")).unwrap_or_else(|error| panic!("{error}"));
    for key in names(&host_file::KEYS) {
        assert!(host.contains(&format!("{key} = ")), "no {key}");
    }
}

/// `QUORATE_GOLDEN=write` writes the files anew.
#[test]
fn the_schemas_of_the_reference_are_those_that_the_program_prints() {
    for (file, schema) in
        [("testnet.schema.json", schema::testnet_schema()), ("host.schema.json", schema::host_schema())]
    {
        let printed = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
        if std::env::var("QUORATE_GOLDEN").is_ok_and(|value| value == "write") {
            fs::write(path(file), &printed).expect("written");
        }
        assert!(
            reference(file) == printed,
            "{file} is not what `vat config schema` prints; QUORATE_GOLDEN=write writes it"
        );
    }
}

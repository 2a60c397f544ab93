//! Holds the documentation against the code: every metric and every error code is explained, nothing is explained that isn't
//! there, links lead somewhere, and tests that pages name exist.
//!
//! It reads sources as text, so it needs no build of the other crates and sees what is behind a `cfg`.

#[path = "documentation/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// As the code spells them, they look like metrics.
const CRATES: [&str; 13] = [
    "admin",
    "cli",
    "client",
    "config",
    "consensus",
    "console",
    "courier",
    "engine",
    "net",
    "node",
    "protocol",
    "testnet",
    "tools",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders of the workspace's crates.
fn crates() -> Vec<PathBuf> {
    let text = read(&root().join("Cargo.toml"));
    let members = text.lines().find_map(|line| line.strip_prefix("members = [")).expect("a line with the members");
    let members = members.trim_end_matches(']').split(", ").map(|member| root().join(member.trim_matches('"')));
    members.collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with this ending, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text of a source up to its unit tests, which may name what does not exist.
fn code(path: &Path) -> String {
    let text = read(path);
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Families that the telemetry defines, with their kind: each call of something named `gauge`, `counter`, `histogram` or the like
/// whose first argument is a string. Those of the registry leave out the prefix.
fn families_in_code() -> BTreeMap<String, &'static str> {
    let kinds = [
        ("gauge", "gauge"),
        ("gauge_of", "gauge"),
        ("counter", "counter"),
        ("counter_of", "counter"),
        ("histogram", "histogram"),
        ("times", "histogram"),
    ];
    let mut found = BTreeMap::new();
    for path in files(&root().join("node/src/telemetry"), "rs") {
        let text = code(&path);
        for (function, kind) in kinds {
            for (at, _) in text.match_indices(&format!("{function}(")) {
                let whole_word = !text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
                let argument = text[at + function.len() + 1..].trim_start();
                let Some(name) = argument.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
                if whole_word && is_name(name) {
                    let name = name.strip_prefix("quorate_").unwrap_or(name);
                    let before = found.insert(format!("quorate_{name}"), kind);
                    assert!(before.is_none_or(|before| before == kind), "{name} is of two kinds");
                }
            }
        }
        // Whatever way a name gets to the page, it is a literal, and must have been seen above.
        for literal in text.split('"').filter(|text| text.starts_with("quorate_") && is_name(text)) {
            assert!(found.contains_key(literal), "{literal} in {} is defined in a way unknown here", path.display());
        }
    }
    found
}

/// First and second cell of the rows of a page whose first cell is a name in backticks.
fn rows(page: &str) -> Vec<(String, String)> {
    let cells = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.splitn(3, '|');
        let name = cells.next()?.trim().strip_suffix('`')?.to_owned();
        Some((name, cells.next()?.trim().to_owned()))
    };
    read(&root().join(page)).lines().filter_map(cells).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let page = "docs/reference/metrics.md";
    let rows = rows(page);
    let documented: BTreeMap<&str, &str> = rows.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(documented.len(), rows.len(), "a family is listed twice in {page}");
    let code = families_in_code();
    assert!(code.len() > 20, "the families were not found in the sources: {code:?}");
    let missing: Vec<_> = code.keys().filter(|name| !documented.contains_key(name.as_str())).collect();
    let gone: Vec<_> = documented.keys().filter(|name| !code.contains_key(**name)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "{page} lacks {missing:?}; not in the code: {gone:?}");
    for (name, kind) in &code {
        assert_eq!(documented[name.as_str()], *kind, "kind of {name} in {page}");
    }
}

/// A misspelt family parses, and its alert never fires.
#[test]
fn families_that_pages_name_exist() {
    let (code, page) = (families_in_code(), "docs/reference/metrics.md");
    for page in pages().into_iter().filter(|path| !path.ends_with(page)) {
        let text = read(&page);
        for (at, prefix) in text.match_indices("quorate_").filter(|(at, _)| !text[..*at].ends_with(['/', '_'])) {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|letter: char| !is_name(&letter.to_string())).unwrap_or(rest.len());
            let name = format!("quorate_{}", &rest[..end]);
            let of = |ending: &str| name.strip_suffix(ending).and_then(|family| code.get(family)) == Some(&"histogram");
            let exists = code.contains_key(&name) || ["_bucket", "_sum", "_count"].into_iter().any(of);
            assert!(exists || CRATES.contains(&&rest[..end]), "{} names {name}", page.display());
        }
    }
}

/// Codes such as `Q-C001` or `Q-EQUIVOCATION`.
fn codes(text: &str) -> BTreeSet<String> {
    let of = |rest: &str| {
        let end = rest.find(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '-'));
        let code = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
        (code.len() >= 4).then(|| format!("Q-{code}"))
    };
    text.match_indices("Q-").filter_map(|(at, _)| of(&text[at + 2..])).collect()
}

#[test]
fn every_error_code_is_documented_and_every_documented_one_exists() {
    let page = "docs/reference/errors.md";
    let mut found = BTreeMap::new();
    for folder in crates() {
        for path in files(&folder.join("src"), "rs") {
            found.extend(codes(&code(&path)).into_iter().map(|code| (code, path.clone())));
        }
    }
    assert!(found.len() > 20, "the codes were not found in the sources: {found:?}");
    let rows = rows(page);
    let documented: BTreeSet<&str> = rows.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(documented.len(), rows.len(), "a code is listed twice in {page}");
    let missing: Vec<_> = found.iter().filter(|(code, _)| !documented.contains(code.as_str())).collect();
    let gone: Vec<_> = documented.iter().filter(|code| !found.contains_key(**code)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "{page} lacks {missing:?}; not in the code: {gone:?}");
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend([root().join("README.md"), root().join("CHANGELOG.md")]);
    pages
}

/// A heading as the last part of a link names it: lower case, blanks as hyphens, without punctuation.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            if target.starts_with("http") || target.contains(char::is_whitespace) {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let has_heading = |file: &Path| {
                read(file).lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == fragment)
            };
            if !file.exists() || !(fragment.is_empty() || has_heading(&file)) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Pages name tests as `path/to/file.rs::name_of_the_test`.
#[test]
fn tests_that_pages_name_exist() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        for name in text.split('`').filter(|text| text.contains(".rs::") && !text.contains(char::is_whitespace)) {
            let (file, test) = name.split_once("::").unwrap_or((name, ""));
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                wrong.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

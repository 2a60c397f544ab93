//! Holds the arrows between the modules of `consensus`, `engine`, its streams and its guest, the bundler, the protocol and the courier: each uses only those before it in its crate's layers, and of them only
//! the listed ones. A new arrow is a decision, to be made here and in the table of that crate's `src/lib.rs`, not a line that slips in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module of a crate's root with what it uses, from the bottom upwards.
type Layers = &'static [(&'static str, &'static [&'static str])];

struct Crate {
    /// The folder in the workspace.
    name: &'static str,
    layers: Layers,
    /// How paths of files begin that only tests compile: they may use anything, and production code nothing of them. Files that are called
    /// `tests.rs` are of that kind anyway.
    tests: &'static [&'static str],
    /// An arrow that must not be: a file of the first module, and the second, which lies above it.
    planted: (&'static str, &'static str, &'static str),
}

const CRATES: [Crate; 7] = [
    Crate {
        name: "consensus",
        layers: &[
            ("error", &[]),
            ("codec", &["error"]),
            ("timing", &[]),
            ("stats", &[]),
            ("proof", &[]),
            ("transport", &["error", "proof"]),
            ("state", &["codec", "error", "proof"]),
            ("order", &["codec", "state"]),
            ("storage", &["codec", "error", "proof", "state", "stats"]),
            ("execution", &["error", "proof", "state", "stats", "storage"]),
            ("raft", &["codec", "error", "order", "proof", "state", "stats", "storage", "timing", "transport"]),
            ("replay", &["error", "execution", "order", "proof", "state", "stats", "storage"]),
            (
                "replica",
                &[
                    "codec",
                    "error",
                    "execution",
                    "order",
                    "proof",
                    "raft",
                    "state",
                    "stats",
                    "storage",
                    "timing",
                    "transport",
                ],
            ),
        ],
        tests: &["tests/", "testing/", "raft/suite.rs"],
        planted: ("raft/node.rs", "raft", "replica"),
    },
    Crate {
        name: "engine",
        layers: &[
            ("error", &[]),
            // Its file is here, since the guest is built from it; the module is in `engine/streams`.
            ("abi", &[]),
            ("sandbox", &["abi", "error"]),
            ("image", &["abi", "error", "sandbox"]),
            ("heap", &["abi", "error", "image", "sandbox"]),
            ("comms", &["abi"]),
            ("machine", &["abi", "comms", "error", "heap", "image"]),
        ],
        tests: &["comms/plants.rs", "machine/handoff_check/", "image/native_stack.rs"],
        planted: ("sandbox/instance.rs", "sandbox", "heap"),
    },
    Crate {
        name: "engine/streams",
        layers: &[
            ("abi_in_browsers", &[]),
            ("wire", &[]),
            ("limits", &[]),
            ("pair", &["wire"]),
            ("publication", &[]),
            ("stream", &["wire"]),
            ("client", &["limits", "pair", "stream", "wire"]),
            ("command", &["stream", "wire"]),
        ],
        tests: &[],
        planted: ("stream.rs", "stream", "client"),
    },
    Crate {
        name: "engine/guest",
        layers: &[
            ("runtime", &[]),
            ("memory", &[]),
            ("places", &[]),
            ("tables", &[]),
            ("outputs", &["tables"]),
            ("objects", &["runtime", "tables"]),
            ("pass", &["objects", "runtime", "tables"]),
            ("send", &["objects", "outputs", "pass", "places", "runtime", "tables"]),
            ("timers", &["objects", "outputs", "places", "runtime"]),
            ("publisher", &["outputs", "pass", "runtime"]),
            ("durable", &["objects", "outputs", "pass", "runtime", "tables"]),
            ("boot", &["durable", "objects", "outputs", "pass", "publisher", "runtime", "send", "tables", "timers"]),
            (
                "start",
                &[
                    "boot",
                    "durable",
                    "objects",
                    "outputs",
                    "pass",
                    "places",
                    "publisher",
                    "runtime",
                    "send",
                    "tables",
                    "timers",
                ],
            ),
            (
                "delivery",
                &["boot", "durable", "objects", "outputs", "pass", "runtime", "send", "start", "tables", "timers"],
            ),
        ],
        tests: &[],
        planted: ("pass/marshal.rs", "pass", "send"),
    },
    Crate {
        name: "node/bundler",
        layers: &[
            ("suggest", &[]),
            ("mistake", &[]),
            ("edits", &[]),
            ("common", &[]),
            ("uses", &[]),
            ("parse", &["mistake"]),
            ("resolve", &["suggest"]),
            ("facts", &["resolve"]),
            ("lower", &["edits", "facts", "parse"]),
            ("erase", &["edits", "facts", "lower", "parse", "uses"]),
            ("module", &["erase", "facts", "parse"]),
            ("collect", &["facts", "mistake", "module", "parse", "resolve"]),
            ("link", &["collect", "common", "edits", "facts", "module", "parse", "resolve", "suggest"]),
        ],
        tests: &["tests/"],
        planted: ("parse.rs", "parse", "link"),
    },
    Crate {
        name: "node/protocol",
        layers: &[
            ("codec", &[]),
            ("exact_json", &[]),
            ("names", &[]),
            ("moment", &[]),
            ("sturdyref", &[]),
            ("recovered", &[]),
            ("standstill", &[]),
            ("status", &[]),
            ("disk", &["status"]),
            ("address_record", &[]),
            ("card", &["names"]),
            ("authority", &["codec"]),
            ("evidence", &[]),
            ("published", &[]),
            ("proof", &["codec", "evidence", "published", "recovered"]),
            ("provision", &["authority"]),
            ("upgrade", &["authority", "codec"]),
            ("command", &["authority", "evidence", "upgrade"]),
            ("relay", &["codec"]),
            ("wire", &["address_record", "evidence", "published"]),
        ],
        tests: &[],
        planted: ("names.rs", "names", "card"),
    },
    Crate {
        name: "node/courier",
        layers: &[("log_limiter", &[]), ("addresses", &[]), ("lookup", &[]), ("courier", &["log_limiter", "lookup"])],
        tests: &[],
        planted: ("lookup.rs", "lookup", "courier"),
    },
];

impl Crate {
    fn is_test(&self, path: &str) -> bool {
        path.ends_with("tests.rs") || self.tests.iter().any(|begin| path.starts_with(begin))
    }
}

/// The path of the module that a file holds: `raft/node.rs` is `raft::node`, `raft/mod.rs` is `raft`.
fn module_path(file: &str) -> Vec<&str> {
    let mut path: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if matches!(path.last(), Some(&"mod" | &"lib")) {
        path.pop();
    }
    path
}

fn is_identifier(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The first names of a path that goes on with `rest`: one, or several in braces.
fn first_names(rest: &str) -> BTreeSet<String> {
    let name =
        |text: &str| -> String { text.trim_start().chars().take_while(|letter| is_identifier(*letter)).collect() };
    let Some(group) = rest.strip_prefix('{') else { return BTreeSet::from([name(rest)]) };
    let (mut depth, mut start, mut names) = (0, 0, BTreeSet::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.insert(name(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.insert(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

/// Modules of the root that a file names, in `use` or elsewhere: by `crate::…`, or by `super::…` that leads up to the root.
fn named_modules(file: &str, text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let depth = module_path(file).len();
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_identifier) {
            named.extend(first_names(&code[at + "crate::".len()..]));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") || code[..at].ends_with(is_identifier) {
            continue;
        }
        let rest = code[at..].trim_start_matches("super::");
        if (code[at..].len() - rest.len()) / "super::".len() >= depth {
            named.extend(first_names(rest));
        }
    }
    named
}

impl Crate {
    /// What each module uses, by these sources: pairs of a file's path in `src` and its text.
    fn arrows(&self, sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
        let modules: BTreeSet<&str> = self.layers.iter().map(|(module, _)| *module).collect();
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, text) in sources.iter().filter(|(file, _)| !self.is_test(file)) {
            let Some(module) = module_path(file).first().map(|module| (*module).to_string()) else { continue };
            let uses = found.entry(module.clone()).or_default();
            let named = named_modules(file, text).into_iter().filter(|used| modules.contains(used.as_str()));
            uses.extend(named.filter(|used| *used != module));
        }
        // The root of the crate names all of them.
        found.remove("");
        found
    }

    fn sources(&self) -> Vec<(String, String)> {
        fn collect(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
            for entry in fs::read_dir(folder).expect("a folder of sources") {
                let entry = entry.expect("an entry of it");
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_type().expect("its type").is_dir() {
                    collect(&entry.path(), &format!("{name}/"), found);
                } else if name.ends_with(".rs") {
                    found.push((name, fs::read_to_string(entry.path()).expect("a source file")));
                }
            }
        }
        let mut found = Vec::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(self.name).join("src"), "", &mut found);
        found
    }

    fn allowed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let owned = |uses: &[&str]| uses.iter().map(|used| (*used).to_string()).collect();
        self.layers.iter().map(|(module, uses)| ((*module).to_string(), owned(uses))).collect()
    }
}

fn pairs(arrows: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<(&str, &str)> {
    arrows.iter().flat_map(|(module, uses)| uses.iter().map(|used| (module.as_str(), used.as_str()))).collect()
}

#[test]
fn the_modules_use_one_another_as_designed() {
    for each in &CRATES {
        let (found, allowed) = (each.arrows(&each.sources()), each.allowed());
        assert_eq!(found.keys().collect::<Vec<_>>(), allowed.keys().collect::<Vec<_>>(), "modules of {}", each.name);
        let (found, allowed) = (pairs(&found), pairs(&allowed));
        let new: Vec<_> = found.difference(&allowed).collect();
        assert!(new.is_empty(), "new arrows in {}: {new:?}", each.name);
        let gone: Vec<_> = allowed.difference(&found).collect();
        assert!(gone.is_empty(), "arrows of {} that are in the design alone: {gone:?}", each.name);
    }
}

#[test]
fn the_designs_have_no_circle() {
    for each in &CRATES {
        let mut below: BTreeSet<&str> = BTreeSet::new();
        for (module, uses) in each.layers {
            for used in *uses {
                assert!(below.contains(used), "in {}, {module} uses {used}, which is not below it", each.name);
            }
            below.insert(module);
        }
    }
}

#[test]
fn an_arrow_back_is_seen_however_it_is_written() {
    for each in &CRATES {
        let (file, module, above) = each.planted;
        let folder = format!("{module}/mod.rs");
        let planted = [
            (file, format!("use crate::{above}::inner::Thing;")),
            (file, format!("use super::super::{above}::inner::Thing;")),
            (folder.as_str(), format!("use super::{above}::inner::Thing;")),
            (file, format!("use crate::{{error, {above}::{{one, other}}, unknown}};")),
            (file, format!("fn thing() -> crate::{above}::Thing {{ todo() }}")),
        ];
        for (file, text) in planted {
            let mut sources = each.sources();
            sources.push((file.to_string(), text.clone()));
            assert!(each.arrows(&sources)[module].contains(above), "{text}");
            assert_ne!(each.arrows(&sources), each.allowed(), "{text}");
        }
    }
}

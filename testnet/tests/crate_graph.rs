//! Holds the crate graph: from `ids` through `consensus`, `engine` and `net`, which do not know each other, to the crates of `node` and the testnets. A
//! new edge is a decision, to be made here and in `docs/architecture.md`, not a line that slips in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifest(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of all dependencies of a crate: also of its tests, of its build script, and of single targets. Its tests may name the crate
/// itself once more, for its features.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut tables = vec![manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            found.extend(
                table.get(section).and_then(Value::as_table).into_iter().flat_map(|section| section.keys().cloned()),
            );
        }
    }
    found.remove(manifest["package"]["name"].as_str().expect("a name"));
    found
}

fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let workspace = manifest(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().expect("members").iter();
    let read = |member: &Value| {
        let member = member.as_str().expect("a folder");
        (member.to_string(), dependencies(&manifest(&root().join(member).join("Cargo.toml"))))
    };
    members.map(read).collect()
}

#[test]
fn the_crates_depend_on_one_another_as_designed() {
    let own = |dependencies: BTreeSet<String>| -> Vec<String> {
        dependencies.into_iter().filter_map(|name| name.strip_prefix("quorate-").map(str::to_string)).collect()
    };
    let found: BTreeMap<String, Vec<String>> = crates().into_iter().map(|(name, uses)| (name, own(uses))).collect();
    let expected = [
        ("consensus", vec!["ids", "order"]),
        ("consensus/ids", vec![]),
        // The order protocol, which is pure and is checked by machine on its own.
        ("consensus/order", vec!["ids"]),
        ("engine", vec!["ids"]),
        ("net", vec!["ids"]),
        // The host.
        (
            "node",
            vec![
                "admin",
                "bundler",
                "client",
                "config",
                "consensus",
                "courier",
                "engine",
                "gateway",
                "ids",
                "net",
                "protocol",
            ],
        ),
        ("node/admin", vec!["consensus", "protocol"]),
        // From files to the code of a vat: it knows no host and no engine.
        ("node/bundler", vec![]),
        // The `vat` command: it alone may use all of them.
        (
            "node/cli",
            vec!["admin", "client", "config", "consensus", "console", "engine", "net", "node", "protocol", "tools"],
        ),
        ("node/client", vec!["consensus", "courier", "engine", "net", "protocol"]),
        // A page that shows how hosts stand: it asks them as the command line does, and is none.
        ("node/console", vec!["admin", "consensus", "protocol"]),
        ("node/courier", vec!["consensus", "engine", "net", "protocol"]),
        ("node/protocol", vec!["consensus", "engine", "ids"]),
        // A door for programs that know nothing of vats.
        ("node/gateway", vec!["client", "engine", "protocol"]),
        // Programs run without hosts, for their authors.
        ("node/tools", vec!["bundler", "config", "engine", "protocol"]),
        ("testnet", vec!["admin", "cli", "client", "config", "consensus", "engine", "net", "node", "protocol"]),
        ("testnet/config", vec!["admin", "bundler", "consensus", "engine", "protocol"]),
        // Worlds of replicas without vats: it needs, and may reach for, nothing else.
        ("testnet/sim", vec!["consensus"]),
    ];
    let expected = expected.map(|(name, uses)| (name.to_string(), uses.into_iter().map(str::to_string).collect()));
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn each_library_with_a_sphere_of_its_own_stays_in_one_crate() {
    // The engine has no clock, network, storage or threads to reach for; Raft and RocksDB are consensus' affair, libp2p is net's.
    let homes = [
        ("wasmtime", vec!["engine"]),
        ("openraft", vec!["consensus"]),
        ("rocksdb", vec!["consensus"]),
        ("libp2p", vec!["net"]),
        ("clap", vec!["node/cli"]),
    ];
    let crates = crates();
    for (library, homes) in homes {
        // The testnet crate plays outsider: its tests may speak any protocol themselves.
        let users = crates.iter().filter(|(name, uses)| *name != "testnet" && uses.contains(library));
        let users: Vec<&str> = users.map(|(name, _)| name.as_str()).collect();
        assert_eq!(users, homes, "{library}");
    }
    for library in ["tokio", "rand", "getrandom", "hyper", "axum"] {
        assert!(!crates["engine"].contains(library), "the engine is pure: it has no use for {library}");
    }
}

#[test]
fn every_dependency_is_declared_once_with_its_reason() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let declared = text.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let mut reason = false;
    for line in declared.take_while(|line| !line.starts_with('[')) {
        match line.trim() {
            "" => reason = false,
            comment if comment.starts_with('#') => reason = true,
            own if own.starts_with("quorate-") => {}
            // One comment may stand for a group of lines below it.
            dependency => assert!(reason, "no reason is given for {dependency}"),
        }
    }
    for (name, uses) in crates() {
        let manifest = std::fs::read_to_string(root().join(&name).join("Cargo.toml")).expect("a crate");
        for dependency in uses {
            let inherited = manifest.contains(&format!("\n{dependency}.workspace = true"))
                || manifest.contains(&format!("\n{dependency} = {{ workspace = true"));
            assert!(inherited, "{name} declares {dependency} itself: declare it in the workspace, with its reason");
        }
    }
}

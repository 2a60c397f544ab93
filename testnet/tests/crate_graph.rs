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
        ("consensus", vec!["ids", "order", "proof"]),
        ("consensus/ids", vec![]),
        // The order protocol, which is pure and is checked by machine on its own.
        ("consensus/order", vec!["ids"]),
        // What members sign, and how it is checked: without Raft and a database, so that clients have it.
        ("consensus/proof", vec!["ids", "order"]),
        ("engine", vec!["ids", "streams"]),
        // What vats say to each other: without a sandbox, so that clients have it.
        ("engine/streams", vec!["ids"]),
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
        ("node/admin", vec!["proof", "protocol"]),
        // From files to the code of a vat: it knows no host and no engine.
        ("node/bundler", vec![]),
        // The `vat` command: it alone may use all of them.
        (
            "node/cli",
            vec!["admin", "client", "config", "consensus", "console", "engine", "net", "node", "protocol", "tools"],
        ),
        ("node/client", vec!["courier", "ids", "net", "proof", "protocol", "streams", "verified"]),
        // A page that shows how hosts stand: it asks them as the command line does, and is none.
        ("node/console", vec!["admin", "consensus", "protocol"]),
        ("node/courier", vec!["ids", "net", "proof", "protocol", "streams"]),
        ("node/protocol", vec!["ids", "proof", "streams"]),
        // Cap'n Web, at a gateway and in a page.
        ("node/capnweb", vec!["ids", "protocol", "streams"]),
        // A client's checks, for programs and for pages; and the page's client.
        ("node/verified", vec!["ids", "proof", "protocol", "streams"]),
        ("node/web", vec!["capnweb", "ids", "proof", "protocol", "streams", "verified"]),
        // A door for programs that know nothing of vats.
        ("node/gateway", vec!["capnweb", "client", "ids", "protocol", "streams"]),
        // Programs run without hosts, for their authors.
        ("node/tools", vec!["bundler", "config", "engine", "protocol"]),
        ("testnet", vec!["admin", "cli", "client", "config", "consensus", "engine", "net", "node", "protocol"]),
        ("testnet/config", vec!["admin", "bundler", "consensus", "engine", "protocol"]),
        // What is read from others, by decoder.
        (
            "testnet/fuzz",
            vec!["capnweb", "config", "consensus", "engine", "ids", "net", "proof", "protocol", "streams"],
        ),
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

/// What a crate of the workspace is built with, whatever it is built for: its own dependencies and those of others, by the lock file. Without
/// what only its tests and its build script need.
fn built_with(krate: &str) -> BTreeSet<String> {
    let lock = manifest(&root().join("Cargo.lock"));
    let packages = lock["package"].as_array().expect("packages");
    let name = |package: &Value| package["name"].as_str().expect("a name").to_owned();
    let locked: BTreeMap<String, BTreeSet<String>> = packages.iter().fold(BTreeMap::new(), |mut locked, package| {
        let uses = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        // A name may have a version behind it. Packages of one name are taken together.
        let uses = uses.filter_map(|name| name.as_str()?.split(' ').next()).map(str::to_owned);
        locked.entry(name(package)).or_default().extend(uses);
        locked
    });
    let members: BTreeMap<String, Table> = crates()
        .into_keys()
        .map(|folder| manifest(&root().join(folder).join("Cargo.toml")))
        .map(|manifest| (manifest["package"]["name"].as_str().expect("a name").to_owned(), manifest))
        .collect();
    let uses = |name: &str| match members.get(name) {
        // The lock file has no word on which dependencies are those of tests.
        Some(manifest) => {
            manifest.get("dependencies").and_then(Value::as_table).map(|uses| uses.keys().cloned().collect())
        }
        None => locked.get(name).cloned(),
    };
    let (mut found, mut left) = (BTreeSet::new(), vec![krate.to_owned()]);
    while let Some(name) = left.pop() {
        left.extend(uses(&name).unwrap_or_default().into_iter().filter(|used| found.insert(used.clone())));
    }
    found
}

#[test]
fn a_client_is_built_without_database_sandbox_and_raft() {
    let client = built_with("quorate-client");
    for library in
        ["rocksdb", "librocksdb-sys", "wasmtime", "openraft", "zstd", "zstd-sys", "quorate-engine", "quorate-consensus"]
    {
        assert!(!client.contains(library), "quorate-client is built with {library}");
    }
    // They would be found: the host has all of them, and the client has libp2p.
    let host = built_with("quorate-node");
    assert!(
        ["rocksdb", "librocksdb-sys", "wasmtime", "openraft", "zstd"].iter().all(|library| host.contains(*library))
    );
    assert!(client.contains("libp2p") && client.contains("yamux"));
}

#[test]
fn what_is_compiled_for_browsers_is_pure() {
    for krate in ["quorate-streams", "quorate-proof", "quorate-protocol", "quorate-web"] {
        let uses = built_with(krate);
        for library in
            ["tokio", "libp2p", "rocksdb", "wasmtime", "openraft", "zstd", "quorate-engine", "quorate-consensus"]
        {
            assert!(!uses.contains(library), "{krate} is built with {library}");
        }
    }
}

/// wasmtime does not tell its version.
#[test]
fn hosts_tell_the_version_of_wasmtime_that_they_are_built_with() {
    let workspace = manifest(&root().join("Cargo.toml"));
    let pinned = workspace["workspace"]["dependencies"]["wasmtime"]["version"].as_str().expect("a version");
    assert_eq!(pinned, format!("={}", quorate_engine::image::WASMTIME_VERSION));
}

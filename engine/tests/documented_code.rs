//! Runs the JavaScript of the documentation: every block of it, in a vat.
//!
//! A block stands between two comments that readers do not see. What follows `before:` is put before it, and what follows `after:`
//! behind it; that must return `true`. A block with a default export is a module, which the code behind it knows as `make`. `peer` is
//! an object of another vat, and `timer` the timer. A block after `from: FILE` is an excerpt of that file, which other tests run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{root_of, vat as name};
use quorate_engine::abi::{Bundle, Value};
use quorate_engine::heap::{Limits, with_engine_stack};
use quorate_engine::image::Image;
use quorate_engine::machine::{Command, Install, Machine};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vat::image;

const LIMITS: Limits = Limits { fuel_per_delivery: 1_000_000_000, memory_bytes: 64 << 20 };
/// How often the time goes on, and by how much: a block that waits longer is wrong.
const TICKS: u64 = 20;
const TICK_MS: u64 = 60_000;

/// Pages with JavaScript, and the least number of blocks that each has: a page whose blocks are not found is not tested.
const PAGES: [(&str, usize); 4] =
    [("README.md", 1), ("docs/objcap.md", 4), ("docs/contract-guide.md", 19), ("docs/from-the-playground-vat.md", 5)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One block of a page.
struct Block {
    /// Page and line, for messages.
    place: String,
    code: String,
    before: String,
    after: String,
    /// The file that it is an excerpt of.
    from: Option<String>,
}

/// The comment that a text ends with.
fn comment_at_end(text: &str) -> &str {
    let Some(text) = text.trim_end().strip_suffix("-->") else { return "" };
    text.rsplit_once("<!--").map_or("", |(_, comment)| comment.trim())
}

/// The comment that a text begins with.
fn comment_at_start(text: &str) -> &str {
    let Some(text) = text.trim_start().strip_prefix("<!--") else { return "" };
    text.split_once("-->").map_or("", |(comment, _)| comment.trim())
}

fn blocks(page: &str) -> Vec<Block> {
    let text = read(page);
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some((above, below)) = rest.split_once("\n```js\n") {
        let (code, below) = below.split_once("\n```\n").unwrap_or_else(|| panic!("{page}: a block without an end"));
        let line = text[..text.len() - rest.len() + above.len()].lines().count() + 1;
        let (before, after) = (comment_at_end(above), comment_at_start(below));
        found.push(Block {
            place: format!("{page}:{line}"),
            code: format!("{code}\n"),
            before: before.strip_prefix("before:").unwrap_or_default().to_owned(),
            after: after.strip_prefix("after:").unwrap_or_default().to_owned(),
            from: before.strip_prefix("from:").map(|file| file.trim().to_owned()),
        });
        // The line break before the next block may be the last one of this.
        rest = &rest[rest.len() - below.len() - 1..];
    }
    found
}

/// The modules of a vat that does what a block says when it starts, and exits with what it returns.
fn modules(block: &Block) -> BTreeMap<String, String> {
    let is_module = block.code.contains("export default");
    let code = if is_module { "" } else { block.code.as_str() };
    let parts = [block.before.as_str(), code, block.after.as_str()];
    let lines: Vec<&str> = parts.into_iter().flat_map(str::lines).collect();
    let (imports, lines): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.starts_with("import "));
    let mut modules = BTreeMap::new();
    for import in &imports {
        if let Some(path) = import.split('\'').nth(1).and_then(|name| name.strip_prefix("./")) {
            modules.insert(path.to_owned(), read(path));
        }
    }
    let mut main = imports.join("\n");
    if is_module {
        modules.insert("block.js".to_owned(), block.code.clone());
        main += "import make from './block.js';\n";
    }
    main += "\nconst run = async ({ peer, timer, publisher }) => {\n";
    main += &lines.join("\n");
    main += "\n};\nexport default argv => { run(argv).then(argv.exit, reason => argv.exit(`${reason}`)); return Far('root', {}); };\n";
    modules.insert("main.js".to_owned(), main);
    modules
}

/// What does not hold of a block.
fn complaint(block: &Block, image: &Arc<Image>) -> Option<String> {
    let place = &block.place;
    if let Some(file) = &block.from {
        return (!read(file).contains(&block.code)).then(|| format!("{place}: this is not in {file}"));
    }
    if !block.after.contains("return ") {
        return Some(format!("{place}: nothing says what holds afterwards"));
    }
    let install = Install {
        bundle: Bundle { entry: "main.js".into(), modules: modules(block) },
        argv: vec![("peer".into(), root_of(name(2)))],
        endowments: vec!["exit".into(), "timer".into(), "publisher".into()],
        grants: vec![],
        bearers: vec![],
    };
    let mut machine = Machine::for_image(name(1), image.clone(), LIMITS).unwrap();
    let installed = machine.apply(Command::Install(install)).unwrap();
    for tick in 1..=TICKS {
        if machine.summary().exit.is_none() {
            machine.apply(Command::Tick { now_ms: tick * TICK_MS }).unwrap();
        }
    }
    let logs = machine.end_block(false).logs;
    let ended = machine.summary().exit.map(|exit| exit.value.value().unwrap());
    (ended != Some(Value::Bool(true))).then(|| format!("{place}: {installed:?}, ended with {ended:?}, logs {logs:?}"))
}

#[test]
fn the_javascript_of_the_documentation_runs() {
    let image = image();
    with_engine_stack(|| {
        for (page, least) in PAGES {
            let blocks = blocks(page);
            assert!(blocks.len() >= least, "{page} has {} blocks only", blocks.len());
            let complaints: Vec<String> = blocks.iter().filter_map(|block| complaint(block, &image)).collect();
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        }
    });
}

/// A page that gets its first block of JavaScript must be tested from then on.
#[test]
fn every_page_with_javascript_is_known() {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() { folders.push(path) } else { pages.push(path) }
        }
    }
    let with_blocks = pages.into_iter().filter(|page| page.ends_with(".md") && read(page).contains("```js"));
    let unknown: Vec<String> = with_blocks.filter(|page| !PAGES.iter().any(|(known, _)| known == page)).collect();
    assert!(unknown.is_empty(), "add to PAGES: {unknown:?}");
}

//! The suite's files: which tests concern vats, and what a test says of itself.
//!
//! A test runs as a module, so it is strict. Left out is what no vat can have, by the lists below.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are searched.
const FOLDERS: [&str; 3] = ["test/built-ins", "test/language", "test/annexB/built-ins"];

/// Parts of paths that are left out, and why.
const LEFT_OUT_PATHS: [(&str, &str); 10] = [
    ("/Temporal/", "no clock and no time zones"),
    ("/Atomics/", "no threads"),
    ("/SharedArrayBuffer/", "no threads"),
    ("/WeakRef/", "collections must not show"),
    ("/FinalizationRegistry/", "collections must not show"),
    ("/ShadowRealm/", "a proposal"),
    ("/property-escapes/generated/", "each tries a pattern on all of Unicode: hours in all"),
    ("/dynamic-import/", "the suite wants import() of files that do not parse; a bundle's files do"),
    ("/import.meta/", "vats have no import.meta.url"),
    ("/source-phase-imports/", "a proposal"),
];

/// Flags of tests that are left out, and why.
const LEFT_OUT_FLAGS: [(&str, &str); 4] = [
    ("noStrict", "modules are strict"),
    ("raw", "not a module"),
    ("CanBlockIsFalse", "no threads"),
    ("CanBlockIsTrue", "no threads"),
];

/// Features of tests that are left out, and why.
const LEFT_OUT_FEATURES: [(&str, &str); 41] = [
    ("Atomics", "no threads"),
    ("Atomics.pause", "no threads"),
    ("Atomics.waitAsync", "no threads"),
    ("Error.isError", "absent"),
    ("FinalizationRegistry", "collections must not show"),
    ("Float16Array", "absent"),
    ("IsHTMLDDA", "only browsers have it"),
    ("Iterator.prototype.join", "a proposal"),
    ("Intl", "vats know no locales"),
    ("Math.sumPrecise", "absent"),
    ("ShadowRealm", "a proposal"),
    ("SharedArrayBuffer", "no threads"),
    ("Temporal", "no clock and no time zones"),
    ("WeakRef", "collections must not show"),
    ("await-dictionary", "a proposal"),
    ("caller", "sloppy functions only"),
    ("cross-realm", "a vat has one realm"),
    ("decorators", "a proposal"),
    ("dynamic-import", "the suite wants import() of files that do not parse; a bundle's files do"),
    ("error-stack-accessor", "a proposal"),
    ("explicit-resource-management", "absent"),
    ("export-defer", "a proposal"),
    ("host-gc-required", "collections must not show"),
    ("import-attributes", "a bundle holds modules only"),
    ("import-bytes", "a proposal"),
    ("import-defer", "a proposal"),
    ("import-text", "a proposal"),
    ("import.meta", "vats have no import.meta.url"),
    ("iterator-chunking", "a proposal"),
    ("iterator-includes", "a proposal"),
    ("iterator-sequencing", "a proposal"),
    ("joint-iteration", "a proposal"),
    ("json-modules", "a bundle holds modules only"),
    ("legacy-regexp", "a proposal"),
    ("nonextensible-applies-to-private", "a proposal"),
    ("source-phase-imports", "a proposal"),
    ("source-phase-imports-module-source", "a proposal"),
    ("tail-call-optimization", "no engine but one has it"),
    ("uint8array-base64", "absent"),
    ("intl-normative-optional", "vats know no locales"),
    ("Intl.DateTimeFormat-formatRange", "vats know no locales"),
];

/// One test.
pub struct Test {
    /// Its path below the suite's root.
    pub path: String,
    pub text: String,
    pub includes: Vec<String>,
    pub is_async: bool,
    pub is_module: bool,
    /// The error that it must end with, if it must.
    pub negative: Option<String>,
}

/// The tests to run, and how many were left out for each reason.
pub struct Suite {
    pub root: PathBuf,
    pub tests: Vec<Test>,
    pub left_out: BTreeMap<String, usize>,
    harness: BTreeMap<String, String>,
}

impl Suite {
    /// Reads the checkout at `root`; `filter` is a part of the paths that are wanted.
    pub fn read(root: &Path, filter: &str) -> Result<Suite, String> {
        let mut suite =
            Suite { root: root.to_owned(), tests: Vec::new(), left_out: BTreeMap::new(), harness: BTreeMap::new() };
        for entry in files(&root.join("harness"))? {
            let name = entry.strip_prefix(root.join("harness")).map_err(|error| error.to_string())?;
            suite.harness.insert(name.to_string_lossy().into_owned(), read(&entry)?);
        }
        for folder in FOLDERS {
            for file in files(&root.join(folder))? {
                let path = file.strip_prefix(root).map_err(|error| error.to_string())?.to_string_lossy().into_owned();
                if path.ends_with(".js") && !path.contains("_FIXTURE") && path.contains(filter) {
                    suite.add(path, read(&file)?);
                }
            }
        }
        suite.tests.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(suite)
    }

    fn add(&mut self, path: String, text: String) {
        let Some(front) = text.split_once("/*---").and_then(|(_, rest)| rest.split_once("---*/")) else { return };
        let front = front.0.replace("\r\n", "\n").replace('\r', "\n");
        let (flags, features) = (list(&front, "flags"), list(&front, "features"));
        if let Some(reason) = left_out(&path, &text, &flags, &features) {
            *self.left_out.entry(reason).or_default() += 1;
            return;
        }
        let negative = front.split_once("negative:").and_then(|(_, rest)| rest.split_once("type:"));
        let negative = negative.and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned);
        let (is_async, is_module) =
            (flags.iter().any(|flag| flag == "async"), flags.iter().any(|flag| flag == "module"));
        self.tests.push(Test { path, includes: list(&front, "includes"), is_async, is_module, negative, text });
    }

    /// The module that a test is run as: the files of the harness that it wants, `$DONE`, and its own text.
    pub fn module(&self, test: &Test) -> Result<String, String> {
        let mut text = String::from(DONE);
        for name in ["assert.js", "sta.js"].into_iter().chain(test.includes.iter().map(String::as_str)) {
            let file = self.harness.get(name).ok_or_else(|| format!("{}: no harness/{name}", test.path))?;
            text.push_str(&fitted(file));
            text.push('\n');
        }
        text.push_str(&test.text);
        if !test.is_async {
            text.push_str("\n$DONE();\n");
        }
        Ok(text)
    }

    /// The fixtures beside a test, by their paths.
    pub fn fixtures(&self, test: &Test) -> Result<Vec<(String, String)>, String> {
        if !test.is_module {
            return Ok(Vec::new());
        }
        let folder = self.root.join(&test.path);
        let folder = folder.parent().ok_or("a test is in a folder")?;
        let fixture = |file: PathBuf| {
            let path = file.strip_prefix(&self.root).ok()?.to_string_lossy().into_owned();
            (path.contains("_FIXTURE") && path.ends_with(".js")).then(|| read(&file).map(|text| (path, text)))
        };
        files(folder)?.into_iter().filter_map(fixture).collect()
    }
}

/// Says when a test is over. The suite's own `$DONE` prints.
const DONE: &str = "
let t262End;
export const t262 = new Promise((fulfil, reject) => { t262End = { fulfil, reject }; });
function $DONE(error) { if (error === undefined || error === null) t262End.fulfil(); else t262End.reject(error); }
";

/// A file of the harness, fit for vats: no test can define a global there.
fn fitted(file: &str) -> String {
    file.replace("!Object.prototype.hasOwnProperty.call(globalThis, \"$DONE\")", "false")
}

fn left_out(path: &str, text: &str, flags: &[String], features: &[String]) -> Option<String> {
    if let Some((part, why)) = LEFT_OUT_PATHS.iter().find(|(part, _)| path.contains(part)) {
        return Some(format!("{}: {why}", part.trim_matches('/')));
    }
    let named = |lists: &[String], table: &[(&str, &str)]| {
        let found = table.iter().find(|(name, _)| lists.iter().any(|one| one == name));
        found.map(|(name, why)| format!("{name}: {why}"))
    };
    named(flags, &LEFT_OUT_FLAGS)
        .or_else(|| named(features, &LEFT_OUT_FEATURES))
        .or_else(|| text.contains("$262").then(|| "$262: realms, agents and detaching are the host's".to_owned()))
        .or_else(|| {
            text.contains("$DETACHBUFFER").then(|| "$262: realms, agents and detaching are the host's".to_owned())
        })
}

/// A list of the front matter: `name: [a, b]`, or one item a line.
fn list(front: &str, name: &str) -> Vec<String> {
    let Some(at) = front.find(&format!("{name}:")) else { return Vec::new() };
    let rest = front[at + name.len() + 1..].trim_start_matches(' ');
    let words =
        |text: &str, by: char| text.split(by).map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
    match rest.strip_prefix('[') {
        Some(inner) => words(inner.split(']').next().unwrap_or_default(), ','),
        None => {
            let items = rest.trim_start_matches('\n').lines().map_while(|line| line.trim_start().strip_prefix("- "));
            items.map(|item| item.trim().to_owned()).collect()
        }
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}; is this a checkout of tc39/test262?", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

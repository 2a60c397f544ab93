//! Packages of `node_modules`: `exports`, `module` and `main` of their `package.json`, as far as ES modules need them.

use super::resolve::{Refusal, file};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Conditions of `exports` that a vat meets, besides `default`.
const CONDITIONS: [&str; 3] = ["endo", "import", "module"];
/// Bytes of a `package.json`.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Conditions within conditions.
const MAX_CONDITION_DEPTH: usize = 16;

/// The file that a package's specifier means for this importer; `None` where no `node_modules` above it has the package.
pub(super) fn find(specifier: &str, importer: &Path) -> Result<Option<PathBuf>, Refusal> {
    let Some((name, subpath)) = split(specifier) else {
        return Err(("it is no package's name".into(), "begin a file's path with ./ or ../".into()));
    };
    let folders = importer.ancestors().skip(1).filter(|folder| !folder.ends_with("node_modules"));
    for folder in folders {
        let package = folder.join("node_modules").join(name);
        let manifest = package.join("package.json");
        if manifest.is_file() {
            // Packages may be links into a store, beside which their own dependencies lie.
            let package = package.canonicalize().unwrap_or(package);
            return in_package(&package, name, subpath).map(Some);
        }
    }
    Ok(None)
}

/// `@scope/name/sub/path` as `@scope/name` and `./sub/path`.
fn split(specifier: &str) -> Option<(&str, String)> {
    let scoped = usize::from(specifier.starts_with('@'));
    let end = specifier.match_indices('/').nth(scoped).map_or(specifier.len(), |(index, _)| index);
    let (name, rest) = specifier.split_at(end);
    let good = |part: &str| !part.is_empty() && !part.starts_with('.');
    let parts = name.split('/').count();
    (name.split('/').all(good) && parts == scoped + 1).then(|| (name, format!(".{rest}")))
}

fn in_package(package: &Path, name: &str, subpath: String) -> Result<PathBuf, Refusal> {
    let manifest = manifest(package, name)?;
    let es_module = |target: &str| {
        target.ends_with(".mjs")
            || !target.ends_with(".cjs") && manifest.get("type").and_then(Value::as_str) == Some("module")
    };
    let (target, surely) = match manifest.get("exports") {
        Some(exports) => match exported(exports, &subpath) {
            Some(target) => (target, false),
            None => {
                let fix = "import what its package.json lists under `exports`".to_string();
                return Err((format!("package {name} does not export {subpath}"), fix));
            }
        },
        None if subpath == "." => match (text(&manifest, "module"), text(&manifest, "main")) {
            (Some(module), _) => (module, true),
            (None, Some(main)) => (main, false),
            (None, None) => ("index.js".to_string(), false),
        },
        None => (subpath, false),
    };
    let target = target.trim_start_matches("./");
    if target.split('/').any(|part| part == "..") {
        return Err((format!("package {name} points out of itself, to {target}"), "report this to its author".into()));
    }
    let found = file(&package.join(target), package).map_err(|(why, fix)| (format!("package {name}: {why}"), fix))?;
    if !surely && !es_module(&found.to_string_lossy()) {
        let fix = "use a version that is an ES module (\"type\": \"module\"), or compile it to one".to_string();
        return Err((format!("package {name} is CommonJS"), fix));
    }
    Ok(found)
}

fn manifest(package: &Path, name: &str) -> Result<Value, Refusal> {
    let path = package.join("package.json");
    let small = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_MANIFEST_BYTES);
    let text = if small { std::fs::read_to_string(&path).ok() } else { None };
    text.and_then(|text| serde_json::from_str(&text).ok()).filter(Value::is_object).ok_or_else(|| {
        (format!("the package.json of package {name} cannot be read"), "install the package again".to_string())
    })
}

fn text(manifest: &Value, key: &str) -> Option<String> {
    manifest.get(key)?.as_str().map(str::to_string)
}

/// What `exports` says of a subpath.
fn exported(exports: &Value, subpath: &str) -> Option<String> {
    let subpaths = exports.as_object().filter(|object| object.keys().any(|key| key.starts_with('.')));
    let Some(subpaths) = subpaths else {
        return if subpath == "." { conditional(exports, 0) } else { None };
    };
    if let Some(target) = subpaths.get(subpath) {
        return conditional(target, 0);
    }
    // Of patterns such as `./lib/*.js`, the one with the longest beginning holds.
    let (captured, target) = subpaths
        .iter()
        .filter_map(|(pattern, target)| {
            let (before, after) = pattern.split_once('*')?;
            let captured = subpath.strip_prefix(before)?.strip_suffix(after)?;
            (!captured.is_empty()).then_some((before.len(), captured, target))
        })
        .max_by_key(|(length, ..)| *length)
        .map(|(_, captured, target)| (captured, target))?;
    Some(conditional(target, 0)?.replace('*', captured))
}

/// The first target whose condition a vat meets.
fn conditional(target: &Value, depth: usize) -> Option<String> {
    if depth > MAX_CONDITION_DEPTH {
        return None;
    }
    match target {
        Value::String(path) => Some(path.clone()),
        Value::Array(targets) => targets.iter().find_map(|target| conditional(target, depth + 1)),
        Value::Object(conditions) => conditions
            .iter()
            .filter(|(condition, _)| *condition == "default" || CONDITIONS.contains(&condition.as_str()))
            .find_map(|(_, target)| conditional(target, depth + 1)),
        _ => None,
    }
}

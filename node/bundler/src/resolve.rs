//! From a specifier to a file, as the engine's own loader will find it in the bundle.

use super::{BUILT_INS, packages};
use std::path::{Component, Path, PathBuf};

/// Endings that are tried in turn, the same as in the engine.
const ENDINGS: [&str; 4] = ["", ".js", ".mjs", "/index.js"];

/// Where a specifier leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    BuiltIn,
    File(PathBuf),
    /// A file of a package: its importer must be told the path.
    Package(PathBuf),
}

/// What is wrong, and what to do.
pub(super) type Refusal = (String, String);

/// Resolves what `importer` (an absolute path) imports.
pub(super) fn resolve(specifier: &str, importer: &Path) -> Result<Target, Refusal> {
    let cannot = |why: &str| format!("cannot import \"{}\": {why}", specifier.escape_debug());
    let known = format!("the built-in modules are {}", BUILT_INS.join(", "));
    if BUILT_INS.contains(&specifier) {
        return Ok(Target::BuiltIn);
    }
    if specifier.contains('\\') {
        return Err((cannot("a specifier here has no escapes"), "write it plainly, with `/` between folders".into()));
    }
    let relative = specifier == "." || specifier == ".." || specifier.starts_with("./") || specifier.starts_with("../");
    if relative {
        let folder = importer.parent().unwrap_or(Path::new("/"));
        return file(&joined(folder, specifier), folder).map(Target::File).map_err(|(why, fix)| (cannot(&why), fix));
    }
    let scheme = specifier.split_once(':').map(|(scheme, _)| scheme);
    let (why, fix) = match scheme {
        Some("node") => ("a vat has no Node.js".to_string(), format!("do without it; {known}")),
        Some("http" | "https" | "data" | "file") => (
            "a vat imports no URLs".to_string(),
            "download it beside the vat's code and import it by its path".to_string(),
        ),
        _ if specifier.is_empty() => ("it is empty".to_string(), "name a file or a package".to_string()),
        _ if specifier.starts_with('/') => {
            ("it is an absolute path".to_string(), "begin it with ./ or ../".to_string())
        }
        _ if specifier.starts_with('#') => {
            ("the private imports of packages are not followed".to_string(), "import the file by its path".to_string())
        }
        _ => match packages::find(specifier, importer) {
            Ok(Some(file)) => return Ok(Target::Package(file)),
            Ok(None) => {
                let fix = format!("install the package beside the vat's code, or begin a file's path with ./; {known}");
                ("there is no such package".to_string(), fix)
            }
            Err(refusal) => refusal,
        },
    };
    Err((cannot(&why), fix))
}

/// The module file at a path, perhaps with an ending.
pub(super) fn file(path: &Path, folder: &Path) -> Result<PathBuf, Refusal> {
    let written = path.as_os_str().to_owned();
    for ending in ENDINGS {
        let mut candidate = written.clone();
        candidate.push(ending);
        let candidate = PathBuf::from(candidate);
        if !candidate.is_file() {
            continue;
        }
        return match (refused_ending(&candidate), ending_of(&candidate)) {
            (Some(refusal), _) => Err(refusal),
            (None, "js" | "mjs" | "") => Ok(candidate),
            (None, other) => Err((format!("it is a .{other} file"), "a vat imports .js and .mjs files only".into())),
        };
    }
    let missing = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let fix = match neighbour(path) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "create the file, or correct the path, which is relative to the importing file".to_string(),
    };
    Err((format!("there is no file {missing}"), fix))
}

fn ending_of(file: &Path) -> &str {
    file.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Why a file is no module, if its name's ending says what else it is. For entry files and imported ones alike.
pub(super) fn refused_ending(file: &Path) -> Option<Refusal> {
    let ending = ending_of(file).to_lowercase();
    Some(match ending.as_str() {
        "cjs" => {
            ("it is a CommonJS file".into(), "a vat takes ES modules only: write it with import and export".into())
        }
        "ts" | "mts" | "cts" | "tsx" | "jsx" => {
            (format!("it is a .{ending} file"), "compile it to JavaScript first".into())
        }
        "json" => {
            ("it is a JSON file".into(), "give it to the vat in argv as { file = \"…\" }, and parse it there".into())
        }
        _ => return None,
    })
}

/// A module in the same folder whose name differs in letter case or ending only, or by one letter or two.
fn neighbour(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let mut names: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".js") || name.ends_with(".mjs"))
        .collect();
    names.sort();
    crate::suggest::nearest(name, names.iter().map(String::as_str)).map(str::to_string)
}

/// Joins by letters alone, as the engine does.
fn joined(folder: &Path, specifier: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for component in Path::new(specifier).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path
}

//! From a specifier to a file, by Node.js' rules: the work of `oxc_resolver`, and its errors in words that say what to do.

use crate::{BUILT_INS, is_always_built_in};
use oxc_resolver::{FileMetadata, FileSystem, FileSystemOs, ResolveError, ResolveOptions, ResolverGeneric};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Conditions of `exports` and `imports` that a vat meets besides `default`, for importers of either kind.
const CONDITIONS: [&str; 3] = ["endo", "module", "production"];
/// Bytes of a `package.json`.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Names of Node.js' own modules that code asks for without `node:`.
const OF_NODE: [&str; 42] = [
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "domain",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "sys",
    "timers",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

/// How a module asks for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// `import`, in any form.
    Import,
    /// `require`.
    Require,
}

/// Where a specifier leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    BuiltIn,
    File(PathBuf),
}

/// What is wrong, and what to do.
pub(crate) type Refusal = (String, String);

/// Finds files. It remembers what it read: one resolver serves one bundle.
pub(crate) struct Resolver {
    /// Why a file was not read: the library takes such a one for absent.
    refused: Arc<Mutex<Option<String>>>,
    import: ResolverGeneric<BoundedFiles>,
    require: ResolverGeneric<BoundedFiles>,
}

impl Resolver {
    pub fn new() -> Resolver {
        let refused = Arc::<Mutex<Option<String>>>::default();
        let files = BoundedFiles { files: FileSystemOs::new(), refused: refused.clone() };
        let import = ResolverGeneric::new_with_file_system(files, options("import", &["module", "main"]));
        // The same cache of what is on the disk.
        let require = import.clone_with_options(options("require", &["main", "module"]));
        Resolver { refused, import, require }
    }

    /// Resolves what `importer` (an absolute path) asks for.
    pub fn resolve(&self, specifier: &str, ask: Ask, importer: &Path) -> Result<Target, Refusal> {
        let cannot = |(why, fix): Refusal| (format!("cannot import \"{}\": {why}", specifier.escape_debug()), fix);
        if is_always_built_in(specifier) {
            return Ok(Target::BuiltIn);
        }
        if let Some(refusal) = refused_form(specifier) {
            return Err(cannot(refusal));
        }
        let resolver = match ask {
            Ask::Import => &self.import,
            Ask::Require => &self.require,
        };
        let folder = importer.parent().unwrap_or(Path::new("/"));
        let resolved = resolver.resolve(folder, specifier);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = refused {
            return Err(cannot((why, "make the file smaller".into())));
        }
        match resolved {
            Ok(found) if found.query().is_some() || found.fragment().is_some() => {
                Err(cannot(("nothing may follow the file's name".into(), "leave out what begins with ? or #".into())))
            }
            Ok(found) => match refused_ending(found.path()) {
                Some(refusal) => Err(cannot(refusal)),
                None => Ok(Target::File(found.path().to_path_buf())),
            },
            Err(ResolveError::NotFound(_))
                if BUILT_INS.contains(&specifier) && installed(specifier, folder).is_none() =>
            {
                Ok(Target::BuiltIn)
            }
            Err(error) => Err(cannot(refusal(&error, specifier, folder))),
        }
    }
}

fn options(kind: &str, main_fields: &[&str]) -> ResolveOptions {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
    let alias = |ending: &str, others: &[&str]| (ending.to_string(), owned(others));
    let mut condition_names = owned(&CONDITIONS);
    condition_names.push(kind.to_string());
    ResolveOptions {
        condition_names,
        main_fields: owned(main_fields),
        extensions: owned(&[".js", ".mjs", ".ts", ".mts", ".cjs", ".cts", ".json"]),
        // TypeScript is written with the names that its output would have.
        extension_alias: vec![
            alias(".js", &[".js", ".ts"]),
            alias(".mjs", &[".mjs", ".mts"]),
            alias(".cjs", &[".cjs", ".cts"]),
        ],
        ..ResolveOptions::default()
    }
}

/// Returns why a specifier is refused as it stands.
fn refused_form(specifier: &str) -> Option<Refusal> {
    let known = format!("the built-in modules are {}", BUILT_INS.join(", "));
    let scheme = specifier.split_once(':').map(|(scheme, _)| scheme);
    Some(match scheme {
        Some("node") => ("a vat has no Node.js".to_string(), format!("do without it; {known}")),
        Some("http" | "https" | "data" | "file") => (
            "a vat imports no URLs".to_string(),
            "download it beside the vat's code and import it by its path".to_string(),
        ),
        _ if specifier.is_empty() => ("it is empty".to_string(), "name a file or a package".to_string()),
        _ if specifier.contains('\\') => {
            ("a specifier has no backslashes".to_string(), "write `/` between folders".to_string())
        }
        _ if specifier.starts_with('/') => {
            ("it is an absolute path".to_string(), "begin it with ./ or ../".to_string())
        }
        _ => return None,
    })
}

/// Returns why a file is no module, if its name's ending says what else it is. For entry files and imported ones alike.
pub(crate) fn refused_ending(file: &Path) -> Option<Refusal> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
    if [".d.ts", ".d.mts", ".d.cts"].iter().any(|ending| name.ends_with(ending)) {
        return Some(("it holds types only".into(), "write `import type`".into()));
    }
    let fix = "a vat takes JavaScript (.js, .mjs, .cjs), TypeScript (.ts, .mts, .cts) and JSON";
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        None | Some("js" | "mjs" | "cjs" | "ts" | "mts" | "cts" | "json") => None,
        Some(ending @ ("tsx" | "jsx")) => {
            Some((format!("it is a .{ending} file"), "a vat has no JSX: compile it to JavaScript first".into()))
        }
        Some(ending) => Some((format!("it is a .{ending} file"), fix.into())),
    }
}

fn refusal(error: &ResolveError, specifier: &str, folder: &Path) -> Refusal {
    let again = || "install the package again, or report this to its author".to_string();
    match error {
        ResolveError::PackagePathNotExported { subpath, package_path, .. } => (
            format!("package {} does not export {subpath}", package_name(package_path)),
            "import what its package.json lists under `exports`".to_string(),
        ),
        ResolveError::PackageImportNotDefined(..) => (
            "no package.json above this file lists it under `imports`".to_string(),
            "add it there, or import the file by its path".to_string(),
        ),
        ResolveError::InvalidPackageTarget(target, ..) => {
            (format!("a package.json points out of its package, to {target}"), again())
        }
        ResolveError::Json(json) => {
            (format!("{} is no package.json: {}, line {}", json.path.display(), json.message, json.line), again())
        }
        ResolveError::IOError(error) => (format!("it cannot be read ({error})"), again()),
        ResolveError::NotFound(_) | ResolveError::ExtensionAlias(..) | ResolveError::MatchedAliasNotFound(..) => {
            missing(specifier, folder)
        }
        other => (other.to_string(), again()),
    }
}

fn package_name(folder: &Path) -> String {
    let parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    let start =
        parts.iter().rposition(|part| *part == "node_modules").map_or(parts.len().saturating_sub(1), |at| at + 1);
    parts[start..].join("/")
}

fn missing(specifier: &str, folder: &Path) -> Refusal {
    if specifier.starts_with('.') {
        let path = joined(folder, specifier);
        let missing = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let fix = match neighbour(&path) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => "create the file, or correct the path, which is relative to the importing file".to_string(),
        };
        return (format!("there is no file {missing}"), fix);
    }
    if specifier.starts_with('#') {
        let fix = "correct the path under `imports` in the package.json".to_string();
        return ("what `imports` names for it is no file".to_string(), fix);
    }
    let scoped = usize::from(specifier.starts_with('@'));
    let end = specifier.match_indices('/').nth(scoped).map_or(specifier.len(), |(index, _)| index);
    let name = &specifier[..end];
    let known = format!("the built-in modules are {}", BUILT_INS.join(", "));
    match installed(name, folder) {
        Some(path) => (
            format!("package {name} has no file for it, in {}", path.display()),
            "install the package again, or import another of its files".to_string(),
        ),
        None if OF_NODE.contains(&name) => ("a vat has no Node.js".to_string(), format!("do without it; {known}")),
        None => (
            "there is no such package".to_string(),
            format!("install the package beside the vat's code, or begin a file's path with ./; {known}"),
        ),
    }
}

/// The folder of a package that a module in `folder` sees.
fn installed(name: &str, folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join("node_modules").join(name)).find(|path| path.is_dir())
}

/// A module in the same folder whose name differs in letter case or ending only, or by one letter or two.
fn neighbour(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let endings = [".js", ".mjs", ".cjs", ".ts", ".mts", ".json"];
    let mut names: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .collect();
    names.sort();
    crate::suggest::nearest(name, names.iter().map(String::as_str)).map(str::to_string)
}

/// Joins by letters alone.
fn joined(folder: &Path, specifier: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

/// Files as they are on the disk; a `package.json` within its bound.
pub(crate) struct BoundedFiles {
    files: FileSystemOs,
    refused: Arc<Mutex<Option<String>>>,
}

impl BoundedFiles {
    fn check_length(&self, path: &Path) -> io::Result<()> {
        let length = std::fs::metadata(path)?.len();
        if length > MAX_MANIFEST_BYTES {
            let message = format!("{} has {length} bytes, over the limit of {MAX_MANIFEST_BYTES}", path.display());
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.clone());
            return Err(io::Error::other(message));
        }
        Ok(())
    }
}

impl FileSystem for BoundedFiles {
    fn new() -> Self {
        BoundedFiles { files: FileSystemOs::new(), refused: Arc::default() }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check_length(path)?;
        self.files.read(path)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        self.check_length(path)?;
        self.files.read_to_string(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.files.metadata(path)
    }

    fn symlink_metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.files.symlink_metadata(path)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ResolveError> {
        self.files.read_link(path)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.canonicalize(path)
    }
}

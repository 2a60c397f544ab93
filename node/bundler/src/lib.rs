//! The bundler: from a vat's entry file to the modules that travel in its `Install`.
//!
//! It follows `import … from`, `export … from` and `import("literal")`: relative files, and packages of `node_modules` that are ES
//! modules. Names in [`BUILT_INS`] are the engine's own and stay as they are. Every import that leads nowhere is one [`Mistake`]
//! with file, line and remedy; all of them are found in one pass.
//!
//! Invariants: the same files give the same bundle, wherever they lie (paths are relative to the files' common folder; a
//! package's specifier is rewritten to the path that it resolved to). No nesting in a source can exhaust this process. This crate
//! knows nothing of vats' hosts or of the engine: it builds and is tested without them.
//!
//! What this does not do: it does not judge whether a source is JavaScript; the engine does, when the vat starts.

mod imports;
mod lexer;
pub mod mistake;
mod packages;
mod resolve;
pub mod suggest;
#[cfg(test)]
mod tests;

use imports::Import;
use mistake::{Mistake, after};
use resolve::{Target, refused_ending, resolve};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Component, Path, PathBuf};

/// Modules that the engine has: imports of these names are not looked for in files.
pub const BUILT_INS: [&str; 13] = [
    "@agoric/eventual-send",
    "@agoric/harden",
    "@agoric/nat",
    "@endo/eventual-send",
    "@endo/far",
    "@endo/harden",
    "@endo/init",
    "@endo/lockdown",
    "@endo/marshal",
    "@endo/nat",
    "@endo/pass-style",
    "@endo/promise-kit",
    "ses",
];
/// Bytes of one module.
pub const MAX_MODULE_BYTES: u64 = 1 << 20;
/// Bytes of all modules: a bundle is one command in the log of every member.
pub const MAX_BUNDLE_BYTES: u64 = 4 << 20;
/// Modules of one bundle.
pub const MAX_MODULES: usize = 1000;

/// Everything that is wrong with a bundle, shown one to a line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n"))]
pub struct BundleError {
    pub mistakes: Vec<Mistake>,
}

/// A vat's code: ES modules by path (`src/main.js`, `/`-separated, no leading slash).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The path of the entry module.
    pub entry: String,
    /// The text of each module.
    pub modules: BTreeMap<String, String>,
}

/// Reads `entry` and all that it imports.
pub fn bundle(entry: &Path) -> Result<Code, BundleError> {
    // Relative imports go by the letters of paths, as the engine resolves them; only the entry's folder is followed through links.
    let folder = entry.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let start =
        folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(entry.file_name().unwrap_or_default());
    let mut collector = Collector { shown: shown_folders(folder, &start), ..Collector::default() };
    match refused_ending(&start) {
        Some((problem, fix)) if start.is_file() => collector.mistake(&start, problem, fix),
        _ => collector.collect(start.clone()),
    }
    collector.finish(&start)
}

/// A module and what its specifiers became, before paths are made relative.
struct CollectedModule {
    text: String,
    /// Specifiers of packages, to be rewritten to the files they resolved to.
    packages: Vec<(Import, PathBuf)>,
}

#[derive(Default)]
struct Collector {
    /// The entry's folder, absolute, and as the user named it.
    shown: (PathBuf, PathBuf),
    modules: BTreeMap<PathBuf, CollectedModule>,
    bytes: u64,
    mistakes: Vec<Mistake>,
}

fn shown_folders(named: &Path, start: &Path) -> (PathBuf, PathBuf) {
    let named = if named == Path::new(".") { PathBuf::new() } else { named.to_path_buf() };
    (start.parent().unwrap_or(Path::new("/")).to_path_buf(), named)
}

impl Collector {
    /// A file as the user would name it.
    fn display(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.shown.0).map(|rest| self.shown.1.join(rest)).unwrap_or_else(|_| file.to_path_buf())
    }

    /// Notes a mistake in a file as a whole.
    fn mistake(&mut self, file: &Path, problem: String, fix: String) {
        self.mistake_at(file, (0, 0), problem, fix);
    }

    /// Notes a mistake at a line and column.
    fn mistake_at(&mut self, file: &Path, (line, column): (usize, usize), problem: String, fix: String) {
        self.mistakes.push(Mistake { file: self.display(file), line, column, problem, fix });
    }

    fn collect(&mut self, start: PathBuf) {
        let mut waiting = VecDeque::from([start]);
        while let Some(file) = waiting.pop_front() {
            if self.modules.contains_key(&file) {
                continue;
            }
            let Some(text) = self.read(&file) else { continue };
            let mut packages = Vec::new();
            for import in imports::imports(&text) {
                match resolve(&import.specifier, &file) {
                    Ok(Target::BuiltIn) => {}
                    Ok(Target::File(target)) => waiting.push_back(target),
                    Ok(Target::Package(target)) => {
                        waiting.push_back(target.clone());
                        packages.push((import, target));
                    }
                    Err((problem, fix)) => {
                        self.mistake_at(&file, after(&text.as_bytes()[..import.span.start]), problem, fix);
                    }
                }
            }
            self.modules.insert(file, CollectedModule { text, packages });
        }
    }

    /// A module's text, within the limits.
    fn read(&mut self, file: &Path) -> Option<String> {
        let split = "split it, or move what is data to a file that argv gives to the vat".to_string();
        let length = match std::fs::metadata(file) {
            Ok(metadata) if !metadata.is_file() => {
                self.mistake(file, "this is not a file".into(), "name the vat's entry file".into());
                return None;
            }
            Ok(metadata) => metadata.len(),
            Err(error) => {
                self.mistake(
                    file,
                    format!("cannot read this module ({error})"),
                    "name an existing, readable file".into(),
                );
                return None;
            }
        };
        if length > MAX_MODULE_BYTES {
            let problem = format!("this module has {length} bytes, over the limit of {MAX_MODULE_BYTES}");
            self.mistake(file, problem, split);
            return None;
        }
        let over = self.bytes <= MAX_BUNDLE_BYTES && self.bytes + length > MAX_BUNDLE_BYTES;
        self.bytes += length;
        if over {
            self.mistake(file, format!("with this module the bundle passes {MAX_BUNDLE_BYTES} bytes"), split.clone());
        }
        if self.modules.len() == MAX_MODULES {
            self.mistake(file, format!("this is one module more than the {MAX_MODULES} of a bundle"), split);
        }
        if self.bytes > MAX_BUNDLE_BYTES || self.modules.len() >= MAX_MODULES {
            return None;
        }
        match std::fs::read(file).map(String::from_utf8) {
            Ok(Ok(text)) => Some(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
            Ok(Err(error)) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                self.mistake_at(file, after(good), "a byte here is not UTF-8".into(), "save the file as UTF-8".into());
                None
            }
            Err(error) => {
                let fix = "make it readable for this user".to_string();
                self.mistake(file, format!("cannot read this module ({error})"), fix);
                None
            }
        }
    }

    /// Names the modules relative to their common folder.
    fn finish(mut self, entry: &Path) -> Result<Code, BundleError> {
        let root = common_folder(self.modules.keys());
        let mut modules = BTreeMap::new();
        let found = std::mem::take(&mut self.modules);
        for (file, found) in &found {
            match module_path(file, &root) {
                Some(path) => {
                    modules.insert(path.clone(), rewritten(found, &path, &root));
                }
                None => {
                    let fix = "rename it or its folder".to_string();
                    self.mistake(file, "the path of this module is not UTF-8".into(), fix);
                }
            }
        }
        if !self.mistakes.is_empty() {
            return Err(BundleError { mistakes: self.mistakes });
        }
        Ok(Code { entry: module_path(entry, &root).unwrap_or_default(), modules })
    }
}

/// The deepest folder that all files are in.
fn common_folder<'a>(files: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let mut common: Option<PathBuf> = None;
    for folder in files.filter_map(|file| file.parent()) {
        common = Some(match common {
            None => folder.to_path_buf(),
            Some(common) => {
                common.components().zip(folder.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
            }
        });
    }
    common.unwrap_or_default()
}

/// The path by which a bundle knows a file: below the root, with `/`.
fn module_path(file: &Path, root: &Path) -> Option<String> {
    let parts = file.strip_prefix(root).ok()?.components().map(|component| match component {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

/// The module's text, in which packages are imported by relative paths.
fn rewritten(found: &CollectedModule, path: &str, root: &Path) -> String {
    let mut text = String::with_capacity(found.text.len());
    let mut copied = 0;
    for (import, target) in &found.packages {
        // A target without a good path is a mistake by itself.
        let target = module_path(target, root).unwrap_or_default();
        text.push_str(&found.text[copied..import.span.start]);
        text.push_str(&serde_json::Value::String(relative(path, &target)).to_string());
        copied = import.span.end;
    }
    text.push_str(&found.text[copied..]);
    text
}

/// The specifier by which the module `from` imports the module `to`.
fn relative(from: &str, to: &str) -> String {
    let folders: Vec<&str> = from.split('/').collect();
    let folders = &folders[..folders.len() - 1];
    let target: Vec<&str> = to.split('/').collect();
    let shared = folders.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let up = folders.len() - shared;
    let start = if up == 0 { "./".to_string() } else { "../".repeat(up) };
    start + &target[shared..].join("/")
}

//! Reads the entry file and all that it leads to, within the limits.

use crate::facts::Request;
use crate::mistake::{Mistake, after, line_of};
use crate::module::{self, Kind, Module};
use crate::parse::Fault;
use crate::resolve::{Ask, Resolver, Target, refused_ending};
use crate::{MAX_BUNDLE_BYTES, MAX_MODULE_BYTES, MAX_MODULES};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

/// Where a request leads; `Err` with why, where the program can do without.
pub(crate) type Found = Result<Target, String>;

/// All modules, and what is wrong with them.
pub(crate) struct Collected {
    /// The entry file, absolute.
    pub entry: PathBuf,
    /// The entry's folder, absolute, and as the user named it.
    shown: (PathBuf, PathBuf),
    /// By their files; with what each of a module's requests leads to, in the order of its facts. Requests that lead nowhere are mistakes.
    pub modules: BTreeMap<PathBuf, (Module, Vec<Found>)>,
    pub mistakes: Vec<Mistake>,
    bytes: u64,
    /// Whether there were too many.
    is_full: bool,
}

/// Collects all that `entry` leads to.
pub(crate) fn collect(entry: &Path) -> Collected {
    let folder = entry.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let start =
        folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()).join(entry.file_name().unwrap_or_default());
    let named = if folder == Path::new(".") { PathBuf::new() } else { folder.to_path_buf() };
    let mut collected = Collected {
        shown: (start.parent().unwrap_or(Path::new("/")).to_path_buf(), named),
        entry: start.clone(),
        modules: BTreeMap::new(),
        mistakes: Vec::new(),
        bytes: 0,
        is_full: false,
    };
    match refused_ending(&start) {
        Some((problem, fix)) if start.is_file() => collected.mistake(&start, problem, fix),
        _ => collected.follow(start),
    }
    collected.check_entry();
    collected
}

impl Collected {
    /// A file as the user would name it.
    fn display(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.shown.0).map(|rest| self.shown.1.join(rest)).unwrap_or_else(|_| file.to_path_buf())
    }

    /// Notes a mistake in a file as a whole.
    pub fn mistake(&mut self, file: &Path, problem: String, fix: String) {
        self.mistakes.push(Mistake { file: self.display(file), line: 0, column: 0, problem, fix, excerpt: None });
    }

    /// Notes what is wrong in a text, of which the lines are those of the author's `source`.
    pub fn fault(&mut self, file: &Path, text: &str, source: &str, fault: Fault) {
        let (line, column, excerpt) = fault.place(text);
        let excerpt = line_of(source, line).map(str::to_string).or(excerpt);
        let Fault { problem, fix, .. } = fault;
        self.mistakes.push(Mistake { file: self.display(file), line, column, problem, fix, excerpt });
    }

    fn follow(&mut self, start: PathBuf) {
        let resolver = Resolver::new();
        // The entry keeps the name that it was given, also where that is a link.
        let linked = start.canonicalize().unwrap_or_else(|_| start.clone());
        let mut waiting = VecDeque::from([start.clone()]);
        while let Some(file) = waiting.pop_front() {
            if self.modules.contains_key(&file) {
                continue;
            }
            let Some(source) = self.read(&file) else { continue };
            let kept = source.clone();
            let module = match module::read(&file, source, is_es_package(&file)) {
                Ok(module) => module,
                Err((text, faults)) => {
                    faults.into_iter().for_each(|fault| self.fault(&file, &text, &kept, fault));
                    continue;
                }
            };
            let found = self.resolve(&resolver, &file, &module);
            let found: Vec<Found> = found
                .into_iter()
                .map(|found| match found {
                    Ok(Target::File(path)) if path == linked => Ok(Target::File(start.clone())),
                    other => other,
                })
                .collect();
            waiting.extend(found.iter().filter_map(|found| match found {
                Ok(Target::File(path)) => Some(path.clone()),
                _ => None,
            }));
            self.modules.insert(file, (module, found));
        }
    }

    /// Resolves what a module asks for.
    fn resolve(&mut self, resolver: &Resolver, file: &Path, module: &Module) -> Vec<Found> {
        let mut found = Vec::with_capacity(module.facts.requests.len());
        for request in &module.facts.requests {
            let Request { specifier, ask, literal, guarded, .. } = request;
            // An ES module has no `require`: what looks like it is the program's own affair.
            if *ask == Ask::Require && module.kind == Kind::Es {
                found.push(Err(String::new()));
                continue;
            }
            found.push(match resolver.resolve(specifier, *ask, file) {
                Ok(target) => Ok(target),
                Err(_) if *guarded && module.kind == Kind::Common => Err(format!("Cannot find module '{specifier}'")),
                Err((problem, fix)) => {
                    self.fault(file, &module.text, &module.source, Fault::new(literal.start, problem.clone(), fix));
                    Err(problem)
                }
            });
        }
        found
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
                let fix = "name an existing, readable file".to_string();
                self.mistake(file, format!("cannot read this module ({error})"), fix);
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
        if self.modules.len() >= MAX_MODULES && !self.is_full {
            self.is_full = true;
            self.mistake(file, format!("this is one module more than the {MAX_MODULES} of a bundle"), split);
        }
        if self.bytes > MAX_BUNDLE_BYTES || self.modules.len() >= MAX_MODULES {
            return None;
        }
        self.decode(file)
    }

    fn decode(&mut self, file: &Path) -> Option<String> {
        match std::fs::read(file).map(String::from_utf8) {
            Ok(Ok(text)) => Some(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
            Ok(Err(error)) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let (line, column) = after(good);
                let problem = "a byte here is not UTF-8".to_string();
                let fix = "save the file as UTF-8".to_string();
                self.mistakes.push(Mistake { file: self.display(file), line, column, problem, fix, excerpt: None });
                None
            }
            Err(error) => {
                let fix = "make it readable for this user".to_string();
                self.mistake(file, format!("cannot read this module ({error})"), fix);
                None
            }
        }
    }

    /// The entry must be a module that can have a default export.
    fn check_entry(&mut self) {
        let entry = self.entry.clone();
        let problem = match self.modules.get(&entry).map(|(module, _)| module.kind) {
            Some(Kind::Common) => "the entry of a vat is an ES module, and this is CommonJS",
            Some(Kind::Json) => "the entry of a vat is an ES module, and this is JSON",
            _ => return,
        };
        let fix = "name a file that says `export default function (argv) { … }`".to_string();
        self.mistake(&entry, problem.to_string(), fix);
    }
}

/// Returns whether the nearest `package.json` above a file says that its package's files are ES modules.
fn is_es_package(file: &Path) -> bool {
    for folder in file.ancestors().skip(1) {
        let manifest = folder.join("package.json");
        let Ok(metadata) = std::fs::metadata(&manifest) else { continue };
        if !metadata.is_file() || metadata.len() > MAX_MODULE_BYTES {
            return false;
        }
        let text = std::fs::read_to_string(&manifest).unwrap_or_default();
        let manifest = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
        return manifest.get("type").and_then(serde_json::Value::as_str) == Some("module");
    }
    false
}

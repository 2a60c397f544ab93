//! From collected modules to the texts that travel: which path each has, what each import names, and whether what it names is there.

use crate::collect::{Collected, Found};
use crate::common::{self, Required, quoted};
use crate::edits::Edits;
use crate::facts::{Named, Request};
use crate::module::{Kind, Module};
use crate::parse::Fault;
use crate::resolve::{Ask, Target};
use crate::{BundleError, Code, MAX_BUNDLE_BYTES, MAX_MODULE_BYTES, suggest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Modules by their files, with what their requests lead to.
type Modules = BTreeMap<PathBuf, (Module, Vec<Found>)>;

/// Makes the bundle. Errors: everything that is wrong with it.
pub(crate) fn link(mut collected: Collected) -> Result<Code, BundleError> {
    let modules = std::mem::take(&mut collected.modules);
    let root = common_folder(modules.keys());
    let mut paths = BTreeMap::new();
    for file in modules.keys() {
        match module_path(file, &root) {
            Some(path) => {
                paths.insert(file.clone(), path);
            }
            None => {
                let fix = "rename it or its folder".to_string();
                collected.mistake(file, "the path of this module is not UTF-8".into(), fix);
            }
        }
    }
    let linker = Linker { modules: &modules, facades: facades(&modules, &paths), paths };
    for (file, fault) in linker.missing_exports() {
        let module = &modules[file].0;
        collected.fault(file, &module.text, &module.source, fault);
    }
    if !collected.mistakes.is_empty() {
        return Err(BundleError { mistakes: collected.mistakes });
    }
    let entry = linker.paths.get(&collected.entry).cloned().unwrap_or_default();
    let code = Code { entry, modules: linker.texts() };
    check_size(&code, &mut collected);
    if collected.mistakes.is_empty() { Ok(code) } else { Err(BundleError { mistakes: collected.mistakes }) }
}

/// What travels may be longer than what was read.
fn check_size(code: &Code, collected: &mut Collected) {
    let split = "split it, or move what is data to a file that argv gives to the vat";
    for (path, text) in &code.modules {
        if text.len() as u64 > MAX_MODULE_BYTES {
            let problem =
                format!("this module would travel as {} bytes, over the limit of {MAX_MODULE_BYTES}", text.len());
            collected.mistake(Path::new(path), problem, split.to_string());
        }
    }
    let bytes: usize = code.modules.values().map(String::len).sum();
    if bytes as u64 > MAX_BUNDLE_BYTES {
        let problem = format!("the bundle would travel as {bytes} bytes, over the limit of {MAX_BUNDLE_BYTES}");
        collected.mistake(Path::new(&code.entry), problem, split.to_string());
    }
}

/// Paths of the modules that ES modules import in place of CommonJS ones: names that no file has.
fn facades(modules: &Modules, paths: &BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    let taken: BTreeSet<&String> = paths.values().collect();
    let mut made = BTreeMap::new();
    for (file, _) in modules.iter().filter(|(_, (module, _))| module.kind == Kind::Common) {
        let mut path = format!("{}.mjs", paths.get(file).cloned().unwrap_or_default());
        while taken.contains(&path) {
            path.push_str(".mjs");
        }
        made.insert(file.clone(), path);
    }
    made
}

/// What a module's importers find.
struct Visible {
    names: BTreeSet<String>,
    /// Names of types only.
    types: BTreeSet<String>,
    /// Whether these are all: a star of a built-in module has names that are not known here.
    complete: bool,
}

struct Linker<'m> {
    modules: &'m Modules,
    paths: BTreeMap<PathBuf, String>,
    facades: BTreeMap<PathBuf, String>,
}

impl<'m> Linker<'m> {
    fn texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (file, (module, found)) in self.modules {
            let path = &self.paths[file];
            let text = match module.kind {
                Kind::Json => common::json(&module.text),
                Kind::Es => self.rewritten(path, module, found),
                Kind::Common => {
                    let facade = &self.facades[file];
                    let names = self.visible(file).names;
                    texts.insert(facade.clone(), common::facade(&relative(facade, path), &names));
                    self.running(path, module, found)
                }
            };
            texts.insert(path.clone(), text);
        }
        // A module that only CommonJS ones require is not wanted in its other form.
        let wanted = self.wanted_facades();
        texts.retain(|path, _| wanted.contains(path) || !self.facades.values().any(|facade| facade == path));
        texts
    }

    fn wanted_facades(&self) -> BTreeSet<&String> {
        let mut wanted = BTreeSet::new();
        for (module, found) in self.modules.values() {
            for (request, found) in module.facts.requests.iter().zip(found) {
                if let (Ask::Import, Ok(Target::File(target))) = (request.ask, found) {
                    wanted.extend(self.facades.get(target));
                }
            }
        }
        wanted
    }

    /// The module's text, in which all that it imports is named by path.
    fn rewritten(&self, path: &str, module: &Module, found: &[Found]) -> String {
        let mut edits = Edits::default();
        for (place, answer) in &module.facts.answers {
            // As long as what it stands for, so that columns stay.
            edits.replace(place.clone(), format!("{answer:<width$}", width = place.len()));
        }
        for (request, found) in
            module.facts.requests.iter().zip(found).filter(|(request, _)| request.ask == Ask::Import)
        {
            if let Some(attributes) = &request.attributes {
                edits.blank(attributes.clone());
            }
            if let Ok(Target::File(target)) = found {
                let specifier = self.specifier(path, target);
                if specifier != request.specifier {
                    edits.replace(request.literal.clone(), quoted(&specifier));
                }
                self.drop_types(module, request, target, &mut edits);
            }
        }
        edits.apply(&module.text)
    }

    /// The specifier by which an ES module at `path` imports the file.
    fn specifier(&self, path: &str, target: &Path) -> String {
        let to = self.facades.get(target).or_else(|| self.paths.get(target)).cloned().unwrap_or_default();
        relative(path, &to)
    }

    /// Erases names that the other module has for types only, and exports of them: TypeScript passes them on without a word.
    fn drop_types(&self, module: &Module, request: &Request, target: &Path, edits: &mut Edits) {
        if request.names.is_empty() {
            return;
        }
        let visible = self.visible(target);
        for named in request.names.iter().filter(|named| visible.is_type(&named.name)) {
            drop_name(&module.text, named.at, edits);
            let listed = module.facts.listed.iter().filter(|listed| listed.local == named.local);
            listed.for_each(|listed| drop_name(&module.text, listed.at, edits));
        }
    }

    fn running(&self, path: &str, module: &Module, found: &[Found]) -> String {
        let mut required = BTreeMap::new();
        let requires = module.facts.requests.iter().zip(found);
        for (request, found) in requires.filter(|(request, _)| request.ask == Ask::Require) {
            let target = match found {
                Ok(Target::BuiltIn) => Required::Namespace(request.specifier.clone()),
                Ok(Target::File(target)) => {
                    let to = self.paths.get(target).map(|to| relative(path, to)).unwrap_or_default();
                    match self.modules.get(target).map(|(module, _)| module.kind) {
                        Some(Kind::Common) => Required::Common(to),
                        Some(Kind::Json) => Required::Json(to),
                        _ => Required::Namespace(to),
                    }
                }
                Err(why) => Required::Missing(why.clone()),
            };
            required.insert(request.specifier.as_str(), target);
        }
        // `import()` in it is as in any other module.
        common::running(&self.rewritten(path, module, found), &required)
    }

    /// Returns what a file's importers find, over all `export *`.
    fn visible(&self, file: &Path) -> Visible {
        let mut visible = Visible { names: BTreeSet::new(), types: BTreeSet::new(), complete: true };
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![file]);
        while let Some(file) = waiting.pop() {
            let Some((module, found)) = self.modules.get(file) else {
                visible.complete = false;
                continue;
            };
            if !seen.insert(file) {
                continue;
            }
            let exports = module.exports();
            let names = exports.names.iter().filter(|name| *name != "default" || seen.len() == 1).cloned();
            visible.names.extend(names);
            visible.types.extend(module.types.iter().cloned());
            if module.kind == Kind::Common && seen.len() == 1 {
                visible.names.insert("default".to_string());
            }
            for star in &exports.stars {
                let mut requests = module.facts.requests.iter().zip(found);
                match requests.find(|(request, _)| request.specifier == *star).map(|(_, found)| found) {
                    Some(Ok(Target::File(target))) => waiting.push(target),
                    _ => visible.complete = false,
                }
            }
        }
        visible
    }

    /// Every name that a module imports and the other one does not export.
    fn missing_exports(&self) -> Vec<(&'m Path, Fault)> {
        let mut missing = Vec::new();
        let mut known: BTreeMap<&Path, Visible> = BTreeMap::new();
        for (file, (module, found)) in self.modules {
            for (request, found) in module.facts.requests.iter().zip(found) {
                let Ok(Target::File(target)) = found else { continue };
                if request.names.is_empty() || !self.modules.contains_key(target) {
                    continue;
                }
                let visible = known.entry(target).or_insert_with(|| self.visible(target));
                for Named { name, at, .. } in &request.names {
                    if visible.complete && !visible.names.contains(name) && !visible.is_type(name) {
                        let fault = self.missing_export(name, *at, request, target, visible);
                        missing.push((file.as_path(), fault));
                    }
                }
            }
        }
        missing
    }

    fn missing_export(&self, name: &str, at: usize, request: &Request, target: &Path, visible: &Visible) -> Fault {
        let specifier = request.specifier.escape_debug();
        let is_common = self.facades.contains_key(target);
        let kind = if is_common { " (CommonJS)" } else { "" };
        let problem = format!("\"{specifier}\"{kind} has no export `{}`", name.escape_debug());
        let near = suggest::nearest(name, visible.names.iter().map(String::as_str));
        let fix = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if is_common => format!("import it whole and take the name from it: import all from \"{specifier}\""),
            None if visible.names.is_empty() => "it exports nothing".to_string(),
            None => {
                let names: Vec<&str> = visible.names.iter().map(String::as_str).take(12).collect();
                let more = if visible.names.len() > names.len() { ", …" } else { "" };
                format!("it exports {}{more}", names.join(", "))
            }
        };
        Fault::new(at, problem, fix)
    }
}

impl Visible {
    fn is_type(&self, name: &str) -> bool {
        !self.names.contains(name) && self.types.contains(name)
    }
}

/// Erases one name of `{ … }`, with its comma.
fn drop_name(text: &str, at: usize, edits: &mut Edits) {
    let end = text[at..].find([',', '}']).map_or(text.len(), |length| at + length);
    let end = if text[end..].starts_with(',') { end + 1 } else { end };
    edits.blank(at..end);
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

//! The vat's own ES modules, and the built-in ones that existing code imports by name.
//!
//! A relative specifier is resolved against the importing module's path; as written, then with `.js`, then as a directory.
//! A bare one is looked for in the bundle (as written, and under `node_modules` of the importing module's
//! directory and those above it), and then among the built-in ones; but what `ses` and its like did is done. A module is parsed once. Nothing
//! outside the bundle can be imported.

use crate::runtime::type_error;
use boa_engine::module::{ModuleLoader, ModuleRequest, Referrer, SyntheticModuleInitializer};
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsError, JsObject, JsResult, JsString, JsValue, Module, Source, js_string};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// The loader of a vat.
#[derive(Default)]
pub struct Bundled {
    sources: RefCell<BTreeMap<String, String>>,
    parsed: RefCell<BTreeMap<String, Module>>,
    /// Built-in modules: specifier to an object with the exports.
    builtins: RefCell<BTreeMap<String, JsObject>>,
}

impl Bundled {
    pub fn set_sources(&self, sources: BTreeMap<String, String>) {
        *self.sources.borrow_mut() = sources;
    }

    /// Whether `text` says already in which module of the bundle the fault is: `src/lib.js: …`, or, of an import, `` `src/lib.js` ``.
    pub fn is_named_in(&self, text: &str) -> bool {
        let named = |path: &String| text.contains(&format!("{path}: ")) || text.contains(&format!("`{path}`"));
        self.sources.borrow().keys().any(named)
    }

    /// What the built-in module exports, and what to do, that `text`, an error about an export, names: `` of `@endo/nat` ``.
    pub fn exports_named_in(&self, text: &str, context: &mut Context) -> Option<String> {
        if !text.contains("could not find export") {
            return None;
        }
        let builtins = self.builtins.borrow();
        let (name, exports) = builtins.iter().find(|(name, _)| text.contains(&format!(" of `{name}`")))?;
        let keys = exports.own_property_keys(context).ok()?;
        let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let remedy = match of_lockdown(name) {
            Some(_) => "what the package of that name does is done before a vat starts",
            None => "install the package of that name to have all of it",
        };
        Some(format!("{name} is built into vats, and exports {names}; {remedy}"))
    }

    pub fn set_builtins(&self, builtins: BTreeMap<String, JsObject>) {
        *self.builtins.borrow_mut() = builtins;
    }

    /// The module at `path`, parsed at the first request.
    pub fn module(&self, path: &str, context: &mut Context) -> JsResult<Module> {
        if let Some(module) = self.parsed.borrow().get(path) {
            return Ok(module.clone());
        }
        let text = self.sources.borrow().get(path).cloned();
        let text = text.ok_or_else(|| type_error(format!("the bundle has no module {path:?}")))?;
        let source = Source::from_bytes(text.as_bytes()).with_path(Path::new(path));
        let module = Module::parse(source, None, context).map_err(|error| in_module(error, path, context))?;
        self.parsed.borrow_mut().insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// The package that makes and checks guards, if the code has it: the first of its modules that has all that is wanted.
    fn patterns(&self, context: &mut Context) -> JsResult<Option<JsObject>> {
        let is_meant = |path: &&String| path.ends_with("patterns/index.js");
        let modules: Vec<Module> =
            self.parsed.borrow().iter().filter(|(path, _)| is_meant(path)).map(|(_, module)| module.clone()).collect();
        for module in modules {
            let exports = module.namespace(context);
            let mut has_all = true;
            for name in OF_PATTERNS {
                has_all &= exports.has_property(JsString::from(name), context)?;
            }
            if has_all {
                return Ok(Some(exports));
            }
        }
        Ok(None)
    }

    fn import(&self, specifier: &str, referrer: &str, context: &mut Context) -> JsResult<Module> {
        if let Some(name) = of_lockdown(specifier) {
            return self.builtin(name, context);
        }
        let found =
            self.candidates(specifier, referrer).into_iter().find(|path| self.sources.borrow().contains_key(path));
        match found {
            Some(path) => self.module(&path, context),
            None if self.builtins.borrow().contains_key(specifier) => self.builtin(specifier, context),
            None => Err(type_error(format!("cannot find module {specifier:?}, imported by {referrer:?}"))),
        }
    }

    fn candidates(&self, specifier: &str, referrer: &str) -> Vec<String> {
        let directory: Vec<&str> = referrer.split('/').collect();
        let directory = &directory[..directory.len() - 1];
        let mut bases = Vec::new();
        if specifier.starts_with("./") || specifier.starts_with("../") || specifier == "." || specifier == ".." {
            bases.extend(normalise(directory, specifier));
        } else {
            bases.extend(normalise(&[], specifier));
            for depth in (0..=directory.len()).rev() {
                let mut parts = directory[..depth].to_vec();
                parts.push("node_modules");
                bases.extend(normalise(&parts, specifier));
            }
        }
        let endings = ["", ".js", ".mjs", "/index.js"];
        bases.iter().flat_map(|base| endings.iter().map(move |ending| format!("{base}{ending}"))).collect()
    }

    fn builtin(&self, specifier: &str, context: &mut Context) -> JsResult<Module> {
        if let Some(module) = self.parsed.borrow().get(specifier) {
            return Ok(module.clone());
        }
        let exports = self.builtins.borrow().get(specifier).cloned();
        let exports = exports.ok_or_else(|| type_error(format!("there is no built-in module {specifier:?}")))?;
        let names: Vec<JsString> = exports
            .own_property_keys(context)?
            .into_iter()
            .filter_map(|key| if let PropertyKey::String(name) = key { Some(name) } else { None })
            .collect();
        let steps = SyntheticModuleInitializer::from_copy_closure_with_captures(
            |module, (exports, names): &(JsObject, Vec<JsString>), context| {
                for name in names {
                    module.set_export(name, exports.get(name.clone(), context)?)?;
                }
                Ok(())
            },
            (exports, names.clone()),
        );
        let module = Module::synthetic(&names, steps, None, None, context);
        self.parsed.borrow_mut().insert(specifier.to_owned(), module.clone());
        Ok(module)
    }
}

/// Built-in modules whose work is done when a vat starts, all of their files: what a bundle has of them is not used.
const OF_LOCKDOWN: [&str; 3] = ["@endo/init", "@endo/lockdown", "ses"];

/// What guards are checked with, of the exports of `@endo/patterns`.
const OF_PATTERNS: [&str; 8] = [
    "M",
    "mustMatch",
    "getInterfaceGuardPayload",
    "getMethodGuardPayload",
    "getAwaitArgGuardPayload",
    "isAwaitArgGuard",
    "isRawGuard",
    "getCopyMapEntries",
];

/// `patterns()`: the exports of the package `@endo/patterns` that the bundle has and that was imported; nothing if there is none.
pub fn patterns_function(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let loader = context.downcast_module_loader::<Bundled>();
    let loader = loader.ok_or_else(|| type_error("boot installs this loader"))?;
    Ok(loader.patterns(context)?.map_or_else(JsValue::undefined, JsValue::from))
}

/// Which of them a specifier names, or names a file of.
fn of_lockdown(specifier: &str) -> Option<&'static str> {
    OF_LOCKDOWN
        .into_iter()
        .find(|name| specifier.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Joins and resolves `.` and `..`; nothing above the root.
fn normalise(directory: &[&str], specifier: &str) -> Option<String> {
    let mut parts = directory.to_vec();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

/// The same error with the module's path in its message.
fn in_module(error: JsError, path: &str, context: &mut Context) -> JsError {
    let Ok(native) = error.try_native(context) else { return error };
    native.clone().with_message(format!("{path}: {}", native.message())).into()
}

impl ModuleLoader for Bundled {
    async fn load_imported_module(
        self: Rc<Self>,
        referrer: Referrer,
        request: ModuleRequest,
        context: &RefCell<&mut Context>,
    ) -> JsResult<Module> {
        let specifier = request.specifier().to_std_string_lossy();
        if !matches!(referrer, Referrer::Module(_)) {
            return Err(type_error(format!(
                "only modules of the bundle can import, not an evaluated text ({specifier:?})"
            )));
        }
        let referrer = referrer.path().and_then(Path::to_str).unwrap_or_default().to_owned();
        let context = &mut context.borrow_mut();
        if request.get_attribute("type").is_some_and(|kind| *kind != js_string!("js")) {
            return Err(type_error(format!("{referrer}: import attributes are not supported ({specifier:?})")));
        }
        self.import(&specifier, &referrer, context)
    }
}

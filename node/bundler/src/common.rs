//! CommonJS modules as ES modules: what runs, and what importers of either kind see.
//!
//! A CommonJS module becomes an ES module whose one export, `$require`, runs it when it is first called, as `require` does: so modules that
//! require one another in a circle, or only now and then, behave as in Node.js. ES modules import a second one beside it, which calls
//! `$require` and has `module.exports` as its default export, and as further exports the names that can be read off the text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What a `require` leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Required {
    /// A CommonJS module, by the specifier that imports it.
    Common(String),
    /// An ES module, or one that is built in: its namespace.
    Namespace(String),
    /// A JSON file: its value.
    Json(String),
    /// It was not found, and the program can do without: the message.
    Missing(String),
}

/// The ES module that runs a CommonJS module. The text stays in its lines; the first is longer.
pub(crate) fn running(text: &str, required: &BTreeMap<&str, Required>) -> String {
    let (mut imports, mut table) = (String::new(), String::new());
    for (index, (specifier, target)) in required.iter().enumerate() {
        let name = format!("$r{index}");
        let (import, value) = match target {
            Required::Common(path) => (format!("import {{ $require as {name} }} from {};", quoted(path)), name.clone()),
            Required::Namespace(path) => {
                (format!("import * as {name} from {};", quoted(path)), format!("() => {name}"))
            }
            Required::Json(path) => (format!("import {name} from {};", quoted(path)), format!("() => {name}")),
            Required::Missing(why) => {
                let code = "code: \"MODULE_NOT_FOUND\"";
                (String::new(), format!("() => {{ throw Object.assign(Error({}), {{ {code} }}); }}", quoted(why)))
            }
        };
        imports += &import;
        let _ = write!(table, "[{}, {value}], ", quoted(specifier));
    }
    let require = "const require = name => { const found = table.get(name); \
        if (found === undefined) throw Object.assign(Error(`Cannot find module '${name}'`), { code: \"MODULE_NOT_FOUND\" }); \
        return found(); };";
    format!(
        "{imports}var $module; export function $require() {{ if ($module !== undefined) return $module.exports; \
         const module = {{ exports: {{}} }}; $module = module; const table = new Map([{table}]); {require} \
         try {{ (function (exports, require, module) {{{text}\n\
         }}).call(module.exports, module.exports, require, module); }} catch (error) {{ $module = undefined; throw error; }} \
         return module.exports; }}\n"
    )
}

/// The ES module that ES modules import in its place. `path` is the specifier of the one that runs it.
pub(crate) fn facade(path: &str, names: &BTreeSet<String>) -> String {
    let mut text = format!(
        "import {{ $require }} from {};\nconst $exports = $require();\nconst $object = Object($exports ?? {{}});\n\
         export default $exports;\n",
        quoted(path)
    );
    for (index, name) in names.iter().filter(|name| is_exportable(name)).enumerate() {
        let _ = writeln!(text, "const $e{index} = $object.{name}; export {{ $e{index} as {name} }};");
    }
    text
}

/// Returns whether a name of `exports` becomes a name that ES modules can import.
pub(crate) fn is_exportable(name: &str) -> bool {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || matches!(letter, '_' | '$'));
    begins && name != "default" && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$'))
}

/// The ES module of a JSON text: as `JSON.parse` reads it, `__proto__` included.
pub(crate) fn json(text: &str) -> String {
    format!("export default JSON.parse({});\n", quoted(text))
}

/// A text as a literal of JavaScript.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

//! The bundler: from a vat's entry file to the modules that travel in its `Install`.
//!
//! It follows `import … from`, `export … from`, `import("literal")` and `require("literal")`: to relative files, to packages of `node_modules` by
//! Node.js' rules, and to what a `package.json` lists under `imports`. TypeScript loses its types, JSON and CommonJS become ES modules. Names in
//! [`BUILT_INS`] are the engine's own. Everything that is wrong is a [`Mistake`] with file, line, column, the line itself
//! and a remedy; all of them are found in one pass.
//!
//! Invariants: the same files give the same bundle, wherever they lie (paths are relative to the files' common folder; specifiers become the
//! paths that they resolved to). A line of a module is the same line of its file. No source can exhaust this process. This crate knows nothing
//! of vats' hosts or of the engine: it builds and is tested without them.
//!
//! | module | uses | job |
//! |---|---|---|
//! | `suggest`, `mistake` | | what is wrong, in words |
//! | `edits` | | changes of a text that keep its lines |
//! | `common` | | CommonJS and JSON as ES modules |
//! | `parse` | `mistake` | a tree of anything, on a stack that is large enough |
//! | `resolve` | `suggest` | from a specifier to a file |
//! | `facts` | `resolve` | what a module asks for and gives |
//! | `uses` | | which names are of types |
//! | `lower`, `erase` | `edits`, `facts`, `parse`, `uses` | TypeScript |
//! | `module` | `erase`, `facts`, `parse` | one file |
//! | `collect` | `facts`, `mistake`, `module`, `parse`, `resolve` | all files |
//! | `link` | `collect`, `common`, `edits`, `facts`, `module`, `parse`, `resolve`, `suggest` | what imports what, and the texts that travel |

mod collect;
mod common;
mod edits;
mod erase;
mod facts;
mod link;
mod lower;
pub mod mistake;
mod module;
mod parse;
mod resolve;
pub mod suggest;
#[cfg(test)]
mod tests;
mod uses;

use mistake::Mistake;
use std::collections::BTreeMap;
use std::path::Path;

/// Modules that the engine has. A package of that name that is installed is taken instead, but for those that [`is_always_built_in`] names.
pub const BUILT_INS: [&str; 14] = [
    "@agoric/eventual-send",
    "@agoric/harden",
    "@agoric/nat",
    "@agoric/vat-data",
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
/// Returns whether a specifier leads to the engine whatever is installed: to what is done before a vat starts, or to what must be the engine's own so that
/// it and the packages mean the same by it.
fn is_always_built_in(specifier: &str) -> bool {
    let done = ["@endo/init", "@endo/lockdown", "ses"];
    let own = ["@agoric/eventual-send", "@agoric/harden", "@agoric/nat", "@agoric/vat-data", "@endo/harden"];
    let in_done =
        |name: &&str| specifier.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    own.contains(&specifier) || done.iter().any(in_done)
}

/// Bytes of one module, as a file and as it travels.
pub const MAX_MODULE_BYTES: u64 = 1 << 20;
/// Bytes of all modules: a bundle is one command in the log of every member.
pub const MAX_BUNDLE_BYTES: u64 = 4 << 20;
/// Modules of one bundle.
pub const MAX_MODULES: usize = 1000;

/// Everything that is wrong with a bundle, shown one to a line, with the lines of code. Never empty.
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

/// Reads `entry` and all that it imports. Errors: all that is wrong with it.
pub fn bundle(entry: &Path) -> Result<Code, BundleError> {
    let collected = collect::collect(entry);
    link::link(collected)
}

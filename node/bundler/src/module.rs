//! One module: its text, what it is, and what it asks for.

use crate::erase::erase;
use crate::facts::{Exports, Facts, facts};
use crate::parse::{Fault, parse};
use oxc_span::SourceType;
use std::collections::BTreeSet;
use std::path::Path;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Es,
    Common,
    Json,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Module {
    pub kind: Kind,
    /// As the author wrote it.
    pub source: String,
    /// JavaScript, or JSON.
    pub text: String,
    pub facts: Facts,
    /// Names that it has for types only.
    pub types: BTreeSet<String>,
}

impl Module {
    /// Returns what importers of ES modules find.
    pub fn exports(&self) -> &Exports {
        if self.kind == Kind::Common { &self.facts.common_exports } else { &self.facts.exports }
    }
}

/// A text and all that is wrong with it: what a module became, or its source.
pub(crate) type Wrong = (String, Vec<Fault>);

/// Reads a source. `is_es` tells whether the nearest `package.json` says that `.js` files are ES modules. Errors: all that is wrong with it.
pub(crate) fn read(file: &Path, source: String, is_es: bool) -> Result<Module, Wrong> {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    if ending == "json" {
        return read_json(source);
    }
    let (mut text, types) = if matches!(ending.as_str(), "ts" | "mts" | "cts") {
        let kind = SourceType::ts().with_unambiguous(true);
        match parse(&source, kind, |program| erase(&source, program)).and_then(|erased| erased) {
            Ok(erased) => (erased.text, erased.types),
            Err(faults) => return Err((source, faults)),
        }
    } else {
        (source.clone(), BTreeSet::new())
    };
    // A script may say `return` at its top, and `await` may be a name in it: what it is tells itself.
    let kind = match ending.as_str() {
        "mjs" | "mts" => SourceType::mjs(),
        "cjs" => SourceType::cjs(),
        _ => SourceType::unambiguous(),
    };
    let facts = match parse(&text, kind, facts) {
        Ok(facts) => facts,
        Err(faults) => return Err((text, faults)),
    };
    let may_be_common = !facts.is_module && !kind.is_module();
    let is_common = may_be_common && (matches!(ending.as_str(), "cjs" | "cts") || facts.is_common && !is_es);
    let kind = if is_common { Kind::Common } else { Kind::Es };
    if let (Kind::Common, Some(at)) = (kind, facts.dynamic_require) {
        let problem = "`require` of what is known only when it runs: a vat's code is all there before it starts";
        let fault = Fault::new(at, problem, "write the name as a literal, or use another package");
        return Err((text, vec![fault]));
    }
    if let Some(hashbang) = &facts.hashbang {
        text.replace_range(hashbang.start..hashbang.start + 2, "//");
    }
    Ok(Module { kind, source, text, facts, types })
}

fn read_json(source: String) -> Result<Module, Wrong> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&source) {
        let before = source.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let at = before + error.column().saturating_sub(1);
        let at = (0..=at.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or_default();
        let fault = Fault::new(at, format!("this is not JSON: {message}"), "correct it");
        return Err((source, vec![fault]));
    }
    let mut facts = Facts::default();
    facts.exports.names.insert("default".to_string());
    Ok(Module { kind: Kind::Json, text: source.clone(), source, facts, types: BTreeSet::new() })
}

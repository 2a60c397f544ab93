//! Finds what a module imports: `import … from`, `import "…"`, `export … from`, and `import("…")` of a literal.

use super::lexer::{Kind, Token, tokens};
use std::ops::Range;

/// One specifier in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub specifier: String,
    /// From 1.
    pub line: usize,
    /// Where the specifier is in the source, in bytes, its quotes included.
    pub span: Range<usize>,
}

/// Every import of a module, in order.
pub(super) fn imports(source: &str) -> Vec<Import> {
    let tokens = tokens(source);
    let scan = Scan { source, tokens: &tokens };
    let mut found = Vec::new();
    let mut line = 1;
    let mut counted = 0;
    for index in 0..tokens.len() {
        let Some(token) = scan.specifier_after(index) else { continue };
        let text = token.text(source);
        line += source[counted..token.start].matches('\n').count();
        counted = token.start;
        let specifier = text[1..text.len() - 1].to_string();
        found.push(Import { specifier, line, span: token.start..token.end });
    }
    found
}

struct Scan<'s> {
    source: &'s str,
    tokens: &'s [Token],
}

impl<'s> Scan<'s> {
    /// The specifier of the import that begins at this token, if one does.
    fn specifier_after(&self, index: usize) -> Option<&'s Token> {
        let word = self.word(index)?;
        let property = index > 0 && matches!(self.mark(index - 1), Some("." | "?."));
        if !matches!(word, "import" | "export") || property {
            return None;
        }
        if word == "import" && self.mark(index + 1) == Some("(") {
            let literal = self.literal(index + 2, true)?;
            return matches!(self.mark(index + 3), Some(")" | ",")).then_some(literal);
        }
        if self.tokens[index].depth > 0 {
            return None;
        }
        match (word, self.mark(index + 1)) {
            ("import", Some(".")) => None,
            ("import", _) => self.literal(index + 1, false).or_else(|| self.from(index + 1)),
            ("export", Some("*" | "{")) => self.from(index + 1),
            _ => None,
        }
    }

    /// The literal after `from`, over names, braces, commas and stars.
    fn from(&self, start: usize) -> Option<&'s Token> {
        for index in start..self.tokens.len() {
            let here = &self.tokens[index];
            match (self.word(index), self.mark(index)) {
                (Some("from"), _) if here.depth == 0 => {
                    if let Some(literal) = self.literal(index + 1, false) {
                        return Some(literal);
                    }
                }
                (Some("import" | "export"), _) if here.depth == 0 => return None,
                (Some(_), _) | (_, Some("{" | "}" | "," | "*")) => {}
                // `import { "any string" as name }`
                _ if here.kind == Kind::String && here.depth > 0 => {}
                _ => return None,
            }
        }
        None
    }

    fn word(&self, index: usize) -> Option<&'s str> {
        self.tokens.get(index).filter(|token| token.kind == Kind::Word).map(|token| token.text(self.source))
    }

    fn mark(&self, index: usize) -> Option<&'s str> {
        self.tokens.get(index).filter(|token| token.kind == Kind::Mark).map(|token| token.text(self.source))
    }

    /// A string that is closed; or a template without substitutions, where one may stand.
    fn literal(&self, index: usize, template: bool) -> Option<&'s Token> {
        let token = self.tokens.get(index)?;
        let text = token.text(self.source);
        let closed = text.len() >= 2 && text.as_bytes().first() == text.as_bytes().last();
        (closed && (token.kind == Kind::String || template && token.kind == Kind::Template)).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::imports;

    fn found(source: &str) -> String {
        let one = |import: &super::Import| format!("{}:{}", import.line, import.specifier);
        imports(source).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_is_found() {
        for (source, expected) in [
            ("import a from './a.js'", "1:./a.js"),
            ("import './a.js'; import \"b\";", "1:./a.js 1:b"),
            ("import a, { b as c, 'd e' as f } from\n  './a.js'", "2:./a.js"),
            ("import * as from from 'x'\nimport { from } from 'y'", "1:x 2:y"),
            ("import from from 'x'", "1:x"),
            ("import{a}from'x';import{b}from'y'", "1:x 1:y"),
            ("export * from 'a'; export * as b from 'b';\nexport { c, default as d } from 'c'", "1:a 1:b 2:c"),
            ("export { a };\nimport 'b'", "2:b"),
            ("const f = async () => { await import('x'); import(`y`) }", "1:x 1:y"),
            ("import data from './a.js' with { type: 'json' }", "1:./a.js"),
            ("/* import 'no' */ import 'yes' // import 'no'", "1:yes"),
        ] {
            assert_eq!(found(source), expected, "{source}");
        }
    }

    #[test]
    fn what_only_looks_like_an_import_is_none() {
        for source in [
            "const s = \"import 'x'\"; const t = `import 'x' ${ 'from' } from 'y'`",
            "o.import('x'); o?.import('x')",
            "import.meta.url; import(name); import('a' + b)",
            "export const from = 'x'; export default 'y'",
            "/import 'x'/.test(y)",
            "export { a }\nconst from = 1",
            "export function f() { from ('x') }",
            "import a from",
            "import 'x",
            "class A { import() {} export() {} }",
        ] {
            assert_eq!(found(source), "", "{source}");
        }
    }
}

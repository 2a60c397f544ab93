//! Splits JavaScript into tokens, far enough to tell code from strings, templates, comments and regular expressions.
//!
//! It has a stack of open brackets instead of recursion, so no nesting in a source can exhaust the host's own stack (a vat's code
//! is not trusted to be kind to parsers), and it takes linear time. It refuses nothing: what is not JavaScript comes out as some
//! tokens, and the engine, which parses for real, says what is wrong.
//!
//! The one thing that needs the grammar is whether `/` divides or begins a regular expression; it is told by the token before it
//! and, after `)` and `}`, by what the bracket belongs to.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifier or keyword, also `#private`.
    Word,
    /// With its quotes.
    String,
    /// A template without substitutions, with its backticks.
    Template,
    /// A piece of a template with substitutions.
    TemplatePiece,
    Number,
    Regex,
    /// One punctuator; only `=>`, `++`, `--` and `?.` are taken together.
    Mark,
}

/// A token and where it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// Brackets that are open at it; of a bracket, those around it.
    pub depth: usize,
}

impl Token {
    pub fn text<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.start..self.end).unwrap_or_default()
    }
}

/// An open bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `[`, or `(` of a call, a group or parameters: a value ends at its closing.
    Value,
    /// `(` of `if`, `while`, `for`, `with`: a statement follows its closing.
    Head,
    /// `{` of a block or a body.
    Block,
    /// `{` of an object literal.
    Object,
    /// `${` in a template.
    Substitution,
}

/// After these words comes an expression, so `/` begins a regular expression and `{` an object.
const BEFORE_EXPRESSION: [&str; 16] = [
    "return",
    "typeof",
    "case",
    "do",
    "else",
    "in",
    "instanceof",
    "new",
    "void",
    "delete",
    "throw",
    "await",
    "yield",
    "default",
    "extends",
    "of",
];

/// All tokens of a source.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer =
        Lexer { source, bytes: source.as_bytes(), at: 0, open: Vec::new(), tokens: Vec::new(), value_before: false };
    if source.starts_with("#!") {
        lexer.skip_line();
    }
    while lexer.at < lexer.bytes.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    open: Vec<Open>,
    tokens: Vec<Token>,
    /// Whether a value has just ended, so that `/` divides.
    value_before: bool,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let start = self.at;
        match self.bytes[start] {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
            b'/' if self.peek(1) == b'/' => self.skip_line(),
            b'/' if self.peek(1) == b'*' => {
                let end = self.source[start + 2..].find("*/");
                self.at = end.map_or(self.bytes.len(), |length| start + 2 + length + 2);
            }
            b'/' if !self.value_before => self.regex(),
            quote @ (b'"' | b'\'') => self.string(quote),
            b'`' => self.template(start),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            byte if word_byte(byte) || byte == b'#' || byte == b'\\' => self.word(),
            byte => self.mark(byte),
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: Kind, start: usize, value: bool) {
        self.tokens.push(Token { kind, start, end: self.at, depth: self.open.len() });
        self.value_before = value;
    }

    fn skip_line(&mut self) {
        let rest = &self.source[self.at..];
        self.at += rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(rest.len());
    }

    fn string(&mut self, quote: u8) {
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                // A line that ends within a string is no JavaScript; going on after it does the least harm.
                b'\n' => break,
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                byte => {
                    self.at += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        self.push(Kind::String, start, true);
    }

    /// From a backtick, or from the `}` that ends a substitution.
    fn template(&mut self, start: usize) {
        let whole = self.bytes[start] == b'`';
        self.at = start + 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                b'`' => {
                    self.at += 1;
                    self.push(if whole { Kind::Template } else { Kind::TemplatePiece }, start, true);
                    return;
                }
                b'$' if self.peek(1) == b'{' => {
                    self.at += 2;
                    self.push(Kind::TemplatePiece, start, false);
                    self.open.push(Open::Substitution);
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.push(Kind::TemplatePiece, start, true);
    }

    fn regex(&mut self) {
        let start = self.at;
        let mut class = false;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'\n' => break,
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                byte => {
                    self.at += 1;
                    match byte {
                        b'[' => class = true,
                        b']' => class = false,
                        b'/' if !class => break,
                        _ => {}
                    }
                }
            }
        }
        while self.at < self.bytes.len() && word_byte(self.bytes[self.at]) {
            self.at += 1;
        }
        self.push(Kind::Regex, start, true);
    }

    fn number(&mut self) {
        let start = self.at;
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            let exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(self.bytes[self.at - 1], b'e' | b'E')
                && self.at > start
                && !self.source[start..].starts_with("0x")
                && !self.source[start..].starts_with("0X");
            if !(word_byte(byte) || byte == b'.' || exponent_sign) {
                break;
            }
            self.at += 1;
        }
        self.push(Kind::Number, start, true);
    }

    fn word(&mut self) {
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'{' if self.source[..self.at].ends_with("\\u") => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|&byte| byte == b'}').unwrap_or(rest.len());
                }
                byte if word_byte(byte) || byte == b'\\' || (byte == b'}' && self.in_escape(start)) => self.at += 1,
                _ => break,
            }
        }
        let property = matches!(self.last_mark(), Some("." | "?."));
        let value = property || !BEFORE_EXPRESSION.contains(&&self.source[start..self.at]);
        self.push(Kind::Word, start, value);
    }

    /// Whether the word from `start` has a `\u{` that is open here.
    fn in_escape(&self, start: usize) -> bool {
        let word = &self.source[start..self.at];
        word.rfind("\\u{").is_some_and(|open| !word[open..].contains('}'))
    }

    /// The last token, if it is a mark.
    fn last_mark(&self) -> Option<&str> {
        let token = self.tokens.last().filter(|token| token.kind == Kind::Mark)?;
        Some(token.text(self.source))
    }

    fn mark(&mut self, byte: u8) {
        let start = self.at;
        match byte {
            b'(' => {
                let open = if self.head_follows() { Open::Head } else { Open::Value };
                self.opens(start, open);
            }
            b'[' => self.opens(start, Open::Value),
            b'{' => {
                let open = if self.object_follows() { Open::Object } else { Open::Block };
                self.opens(start, open);
            }
            b')' | b']' => {
                let open = self.open.pop();
                self.at += 1;
                self.push(Kind::Mark, start, open != Some(Open::Head));
            }
            b'}' => match self.open.pop() {
                Some(Open::Substitution) => self.template(start),
                open => {
                    self.at += 1;
                    self.push(Kind::Mark, start, open == Some(Open::Object));
                }
            },
            _ => {
                let rest = &self.source[start..];
                let step = ["++", "--"].iter().any(|mark| rest.starts_with(mark));
                let pair = step || rest.starts_with("=>") || (rest.starts_with("?.") && !self.peek(2).is_ascii_digit());
                let letter = rest.chars().next().map_or(1, char::len_utf8);
                self.at += if pair { 2 } else { letter };
                // `a++ / b` divides; nothing else can follow.
                self.push(Kind::Mark, start, step && self.value_before);
            }
        }
    }

    fn opens(&mut self, start: usize, open: Open) {
        self.at += 1;
        self.push(Kind::Mark, start, false);
        self.open.push(open);
    }

    /// Whether `(` here belongs to a statement's keyword, `for await` included.
    fn head_follows(&self) -> bool {
        let [.., before, last] = &self.tokens[..] else {
            return self
                .tokens
                .last()
                .is_some_and(|token| matches!(token.text(self.source), "if" | "while" | "for" | "with"));
        };
        match (before.text(self.source), last.text(self.source)) {
            ("for", "await") => true,
            (before, "if" | "while" | "for" | "with") => !matches!(before, "." | "?."),
            _ => false,
        }
    }

    /// Whether the token is a property's name.
    fn after_dot(&self, token: &Token) -> bool {
        let before = self.tokens.iter().rev().find(|other| other.end <= token.start);
        before.is_some_and(|other| other.kind == Kind::Mark && matches!(other.text(self.source), "." | "?."))
    }

    /// Whether `{` here begins an object literal and not a block: in the place of an expression.
    fn object_follows(&self) -> bool {
        let Some(last) = self.tokens.last() else { return false };
        match (last.kind, last.text(self.source)) {
            (Kind::Word, "do" | "else") => false,
            (Kind::Word, word) => BEFORE_EXPRESSION.contains(&word) && !self.after_dot(last),
            (Kind::Mark, ")" | "]" | "}" | ";" | "=>" | "{") => false,
            // A property's value within an object; a label or a case within a block.
            (Kind::Mark, ":") => self.open.last().is_some_and(|open| *open != Open::Block),
            (Kind::Mark, _) => !self.value_before,
            (Kind::TemplatePiece, _) => !self.value_before,
            _ => false,
        }
    }
}

/// Bytes of identifiers and of numbers; every letter beyond ASCII counts as one.
fn word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text, regular expressions and templates marked.
    fn shown(source: &str) -> String {
        let show = |token: &Token| match token.kind {
            Kind::Regex => format!("re:{}", token.text(source)),
            Kind::Template | Kind::TemplatePiece => format!("t:{}", token.text(source)),
            _ => token.text(source).to_string(),
        };
        tokens(source).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn slashes_divide_or_begin_regular_expressions() {
        for (source, expected) in [
            ("a / b / c", "a / b / c"),
            ("a = /b/g", "a = re:/b/g"),
            ("f(/[/\"]/, '\"')", "f ( re:/[/\"]/ , '\"' )"),
            ("if (x) /re/.test(y)", "if ( x ) re:/re/ . test ( y )"),
            ("(x) / 2 / y", "( x ) / 2 / y"),
            ("x[0] / 2 / y", "x [ 0 ] / 2 / y"),
            ("return /a/", "return re:/a/"),
            ("o.return / a / b", "o . return / a / b"),
            ("{} /a'/", "{ } re:/a'/"),
            ("x = {} / 2 / 'a'", "x = { } / 2 / 'a'"),
            ("i++ / 2 / 'a'", "i ++ / 2 / 'a'"),
            ("() => {}\n/a'/", "( ) => { } re:/a'/"),
            ("await (x) / 2 / 'a'", "await ( x ) / 2 / 'a'"),
            ("for await (x of y) /a'/", "for await ( x of y ) re:/a'/"),
            ("typeof /a'/", "typeof re:/a'/"),
            ("1e+3 / 2 / 'a'", "1e+3 / 2 / 'a'"),
            ("0xe+/a'/", "0xe + re:/a'/"),
            ("a ? {b: 1} / 2 / 'a' : 0", "a ? { b : 1 } / 2 / 'a' : 0"),
        ] {
            assert_eq!(shown(source), expected, "{source}");
        }
    }

    #[test]
    fn templates_nest_and_comments_vanish() {
        for (source, expected) in [
            ("`a${ `b${c}d` + {e: 1}.e }f` / g", "t:`a${ t:`b${ c t:}d` + { e : 1 } . e t:}f` / g"),
            ("a /* ' */ b // `\nc", "a b c"),
            ("#!/usr/bin/env 'node\na", "a"),
            ("'it\\'s' \"\\\\\" x", "'it\\'s' \"\\\\\" x"),
            ("f`x`", "f t:`x`"),
            ("a\\u{62}c = #p", "a\\u{62}c = #p"),
            ("a?.b ?.5:c", "a ?. b ? .5 : c"),
        ] {
            assert_eq!(shown(source), expected, "{source}");
        }
    }

    #[test]
    fn nothing_makes_it_panic_or_linger() {
        let ends = [
            "`", "`${", "'", "\"\\", "/", "/[", "/*", "/\\", "\\u{", "\\", "}", ")", "]", "1e", "#", "ü", "\u{2028}",
            "0x",
        ];
        for first in ends {
            for second in ends {
                tokens(&format!("{first}{second}"));
                tokens(&format!("a = {first} ü{second}\n"));
            }
        }
        let deep = format!("{}1{}", "(".repeat(200_000), ")".repeat(200_000));
        assert_eq!(tokens(&deep).len(), 400_001);
        assert_eq!(tokens(&"`${".repeat(100_000)).len(), 100_000);
    }
}

//! Lines of a session: whether one is whole, what it declares, and whether it waits for something.
//!
//! This reads tokens, not the language: what it takes for a declaration and is none does no harm, since only variables that are there are kept.

/// A text that a person has typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing but spaces and comments.
    Empty,
    /// A bracket, a text or a comment is open: more follows.
    Open,
    Whole(Whole),
}

/// A text that can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub text: String,
    /// Names that it declares.
    pub names: Vec<String>,
    /// It has an `await` of its own.
    pub awaits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// A text, number or regular expression.
    Literal,
    Mark,
}

#[derive(Clone, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
    /// Brackets that are open before it.
    depth: usize,
    /// Nothing of its line is before it.
    first_of_line: bool,
}

/// Reads what was typed so far.
pub fn read(text: &str) -> Line {
    let Some(tokens) = tokens(text) else { return Line::Open };
    if tokens.is_empty() {
        return Line::Empty;
    }
    let text = text.trim().trim_end_matches(';').trim_end().to_owned();
    Line::Whole(Whole { text, names: names(&tokens), awaits: awaits(&tokens) })
}

/// A text that is evaluated as it is, whatever is open in it: the interpreter says what is wrong.
pub fn whole(text: &str) -> Whole {
    match read(text) {
        Line::Whole(whole) => whole,
        Line::Open | Line::Empty => Whole { text: text.trim().to_owned(), names: Vec::new(), awaits: false },
    }
}

/// The tokens of a text; `None` if it ends within something.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut reader = Reader { text, at: 0, stack: Vec::new(), tokens: Vec::new(), new_line: true };
    while reader.at < text.len() {
        reader.next()?;
    }
    reader.stack.is_empty().then_some(reader.tokens)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Brackets that are open; `` ` `` for a template whose substitution is read.
    stack: Vec<char>,
    tokens: Vec<Token<'a>>,
    new_line: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, end: usize) {
        let token =
            Token { kind, text: &self.text[self.at..end], depth: self.stack.len(), first_of_line: self.new_line };
        self.new_line = false;
        self.tokens.push(token);
        self.at = end;
    }

    /// Reads one token, or some spaces. `None`: it does not end.
    fn next(&mut self) -> Option<()> {
        let rest = self.rest();
        let letter = rest.chars().next()?;
        if letter.is_whitespace() {
            self.new_line |= letter == '\n';
            self.at += letter.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(comment) = rest.strip_prefix("/*") {
            self.at += 2 + comment.find("*/")? + 2;
        } else if letter == '"' || letter == '\'' {
            let end = self.at + quoted(rest, letter)?;
            self.push(Kind::Literal, end);
        } else if letter == '`' {
            self.template(1)?;
        } else if letter == '/' && self.begins_expression() {
            let end = self.at + regular_expression(rest);
            self.push(Kind::Literal, end);
        } else if letter.is_alphanumeric() || letter == '_' || letter == '$' || letter == '#' {
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$' || letter == '#';
            let end = self.at + rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
            self.push(if letter.is_ascii_digit() { Kind::Literal } else { Kind::Word }, end);
        } else {
            self.bracket(letter);
            if letter == '}' && self.stack.last() == Some(&'`') {
                self.stack.pop();
                return self.template(1);
            }
            if "([{".contains(letter) {
                self.push(Kind::Mark, self.at + 1);
                self.stack.push(letter);
            } else {
                self.push(Kind::Mark, self.at + letter.len_utf8());
            }
        }
        Some(())
    }

    /// Closes a bracket. One that closes nothing is left to the interpreter.
    fn bracket(&mut self, letter: char) {
        let open = match letter {
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => return,
        };
        if self.stack.last() == Some(&open) {
            self.stack.pop();
        }
    }

    /// Reads a template from its beginning, or from the end of a substitution, `skip` bytes of which are read.
    fn template(&mut self, skip: usize) -> Option<()> {
        let rest = self.rest();
        let mut at = skip;
        loop {
            let letter = rest.get(at..)?.chars().next()?;
            match letter {
                '\\' => at += 1 + rest.get(at + 1..)?.chars().next()?.len_utf8(),
                '`' => {
                    self.push(Kind::Literal, self.at + at + 1);
                    return Some(());
                }
                '$' if rest[at..].starts_with("${") => {
                    self.push(Kind::Mark, self.at + at + 2);
                    self.stack.push('`');
                    return Some(());
                }
                other => at += other.len_utf8(),
            }
        }
    }

    /// Returns whether a slash begins a regular expression here.
    fn begins_expression(&self) -> bool {
        const BEFORE: [&str; 7] = ["return", "typeof", "case", "in", "of", "await", "void"];
        self.tokens.last().is_none_or(|token| match token.kind {
            Kind::Literal => false,
            Kind::Word => BEFORE.contains(&token.text),
            Kind::Mark => ![")", "]", "}"].contains(&token.text),
        })
    }
}

/// Returns how long a text in quotes is.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // The interpreter says what is wrong with it.
            '\n' => return Some(at),
            letter if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    // On one line it does not go on: it is wrong, not open.
    Some(rest.len())
}

/// Returns how long a regular expression is.
fn regular_expression(rest: &str) -> usize {
    let (mut escaped, mut class) = (false, false);
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '/' if !class => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_start(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_none_or(|before| [";", "}"].contains(&before.text) || tokens[at].first_of_line)
}

/// Names that are declared outside of all brackets.
fn names(tokens: &[Token<'_>]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    };
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.depth == 0 && token.kind == Kind::Word) {
        let is_async = token.text == "function" && at > 0 && tokens[at - 1].text == "async" && is_start(tokens, at - 1);
        if !is_start(tokens, at) && !is_async {
            continue;
        }
        let rest = &tokens[at + 1..];
        match token.text {
            "const" | "let" | "var" => bindings(rest).into_iter().for_each(&mut add),
            "function" | "class" => {
                let name = rest.iter().find(|token| token.text != "*");
                name.filter(|token| token.kind == Kind::Word).into_iter().for_each(|token| add(token.text));
            }
            _ => {}
        }
    }
    found
}

/// Names that a declaration binds, of which the keyword was read.
fn bindings<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    let end = tokens.iter().position(|token| token.depth == 0 && token.text == ";").unwrap_or(tokens.len());
    let tokens = &tokens[..end];
    let mut is_pattern = true;
    for (at, token) in tokens.iter().enumerate() {
        match (token.depth, token.text) {
            (0, ",") => is_pattern = true,
            (0, "=") => is_pattern = false,
            _ => {}
        }
        // A key of a pattern is no name: `{ key: name }`.
        let is_key = tokens.get(at + 1).is_some_and(|next| next.text == ":");
        if is_pattern && token.kind == Kind::Word && !is_key {
            names.push(token.text);
        }
    }
    names
}

/// Returns whether the text itself waits, and not only a function in it.
fn awaits(tokens: &[Token<'_>]) -> bool {
    let waits = tokens.iter().any(|token| token.text == "await" && token.depth == 0);
    // Within the brackets of a call or of an array of the line's own.
    waits || {
        let has_function = tokens.iter().any(|token| ["function", "async"].contains(&token.text))
            || tokens.windows(2).any(|two| two[0].text == "=" && two[1].text == ">");
        !has_function && tokens.iter().any(|token| token.text == "await")
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_is_open_goes_on() {
        for text in ["f(", "const a = {", "`one", "`one ${", "[1, 2", "/* what", "`a${`b`", "x => {\n  return 1;"] {
            assert_eq!(read(text), Line::Open, "{text}");
        }
        for text in [
            "f()",
            "'('",
            "\"{\"",
            "`(`",
            "`${ {a: 1}.a }`",
            "/[(]/.test('(')",
            "a / b / (c)",
            "1 // (",
            "'open",
            ")",
            "x.y",
        ] {
            assert!(matches!(read(text), Line::Whole(_)), "{text}");
        }
        for text in ["", "  \n", "// nothing", "/* nothing */"] {
            assert_eq!(read(text), Line::Empty, "{text}");
        }
    }

    #[test]
    fn declarations_are_found_outside_of_brackets() {
        for (text, names) in [
            ("const a = 1;", &["a"][..]),
            ("let a = f(x, y), b", &["a", "b"]),
            ("var { a, b: c, ...d } = f()", &["a", "c", "d"]),
            ("const [a, [b]] = [1, [2]]", &["a", "b"]),
            ("const a = x => { const b = 1; return b; }", &["a"]),
            ("function f(x) { return x; }", &["f"]),
            ("async function* g() {}", &["g"]),
            ("class Purse { x = 1 }", &["Purse"]),
            ("a = 1; let b = 2\nconst c = 3", &["b", "c"]),
            ("f(function g() {})", &[]),
            ("'const a = 1'", &[]),
            ("if (x) { const a = 1; }", &[]),
        ] {
            assert_eq!(whole(text).names, names, "{text}");
        }
    }

    #[test]
    fn waiting_is_that_of_the_line_itself() {
        for (text, awaits) in [
            ("await E(x).f()", true),
            ("const a = await b", true),
            ("[await a, await b]", true),
            ("f(await a)", true),
            ("async () => { await a; }", false),
            ("async function f() { await a; }", false),
            ("a.awaits", false),
            ("'await a'", false),
        ] {
            assert_eq!(whole(text).awaits, awaits, "{text}");
        }
        assert_eq!(whole(" await a; ").text, "await a");
    }
}

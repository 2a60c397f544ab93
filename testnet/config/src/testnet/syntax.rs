//! TOML as a tree in which every key and value knows its line, read so that one broken line spoils nothing else.
//!
//! A syntax error is attributed to the statement that holds it, the statement is corrected (a broken value becomes
//! [`Value::Broken`], about which nobody complains again; a broken header becomes the one that was meant), and the text
//! is read once more, until it reads cleanly. Lines are never added or removed, so numbers stay true.

use super::{Place, check::Checker};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// After this many the file is not TOML at all, and one more remark helps nobody.
const MAX_SYNTAX_ERRORS: usize = 64;
/// Values nested deeper are refused: what reads them recurses.
const MAX_DEPTH: usize = 32;
/// What a broken value is replaced with: a date, which no key of a config takes, and which nobody writes.
const BROKEN: &str = "0001-02-03T04:05:06.070809101Z";
/// What a broken header is replaced with where it can't be told which was meant; a number follows.
const BROKEN_HEADER: &str = "quorate-broken-header-";

/// A value and the line where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// A mistake that has been reported already.
    Broken,
    Bool(bool),
    Integer(Whole),
    Float(f64),
    String(String),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// A whole number.
#[derive(Debug)]
pub(super) struct Whole {
    /// `None`: more than 64 bits with a sign.
    pub value: Option<i64>,
    /// As it is written.
    pub text: String,
}

impl Value {
    /// The type, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Broken => "a broken value",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::String(_) => "a string",
            Value::Datetime => "a date or time",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Entries in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Of its header or its brace.
    pub place: Place,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    /// Of the key.
    pub place: Place,
    pub node: Node,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Reads a whole document, reporting what is not TOML. `None` where it is not TOML at all.
pub(super) fn read(text: &str, checker: &mut Checker) -> Option<Table> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines: Vec<String> = text.split('\n').map(str::to_string).collect();
    mend_single_tables(&mut lines, checker);
    for _ in 0..MAX_SYNTAX_ERRORS {
        let text = lines.join("\n");
        let (table, errors) = DeTable::parse_recoverable(&text);
        let starts = line_starts(&text);
        let first = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start));
        let Some(error) = first else {
            return Some(Reader { text: &text, starts, checker }.table(table.get_ref(), 0, 0));
        };
        let at = place_of(&text, &starts, error.span().map_or(0, |span| span.start));
        mend(&mut lines, at, error.message(), checker);
    }
    checker.mistake(Place::WHOLE_FILE, "there are too many syntax errors", "make the file TOML: see https://toml.io");
    None
}

/// The name of another format that a text is in, by its first line that says anything: nothing of it would be TOML.
pub(super) fn other_format(text: &str) -> Option<&'static str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('{') || text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{')) {
        return Some("JSON");
    }
    let first = text.lines().map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let key = first.split_once(':').map(|(key, value)| (key, value.is_empty() || value.starts_with(' ')));
    let plain = |letter: char| letter.is_alphanumeric() || "_-\"'".contains(letter);
    let is_entry = key.is_some_and(|(key, ends)| ends && !key.is_empty() && key.chars().all(plain));
    (is_entry || first == "---" || first.starts_with("- ")).then_some("YAML")
}

/// `[host]` where `[[host]]` is meant is good TOML, but would make the next `[[host]]` an error.
fn mend_single_tables(lines: &mut [String], checker: &mut Checker) {
    for (index, line) in lines.iter_mut().enumerate() {
        let header = line.split('#').next().unwrap_or_default().trim();
        if matches!(header, "[host]" | "[vat]") {
            let meant = format!("[{header}]");
            let place = Place { line: index + 1, column: indentation(line) + 1 };
            checker.mistake(place, format!("there are several of {header}"), format!("write {meant}"));
            *line = meant;
        }
    }
}

/// Reports the error at this line and takes it out of the text.
fn mend(lines: &mut [String], place: Place, message: &str, checker: &mut Checker) {
    let (at, last) = (place.line, lines.len());
    let here = statement_start(lines, at.clamp(1, last));
    // What is not closed is noticed only at the statement after it.
    let before = statement_start(lines, here.saturating_sub(1).max(1));
    let unclosed = unclosed(&lines[before - 1..here - 1]);
    let start = if unclosed.is_some() { before } else { here };
    let end = (start + 1..=last).find(|&line| starts_statement(&lines[line - 1])).unwrap_or(last + 1);
    let statement = lines[start - 1].trim().to_string();
    let replacement = if statement.starts_with('[') {
        mended_header(&statement, start)
    } else if statement.ends_with(BROKEN) {
        String::new()
    } else {
        mended_value(&statement, message)
    };
    if !statement.ends_with(BROKEN) {
        let (line, problem, fix) = explain(&statement, start, at, message, unclosed);
        let begin = Place { line, column: indentation(&lines[line.clamp(1, last) - 1]) + 1 };
        checker.mistake(if line == at { place } else { begin }, problem, fix);
    }
    for line in &mut lines[start - 1..end - 1] {
        line.clear();
    }
    lines[start - 1] = replacement;
}

/// Blanks before the first letter of a line.
fn indentation(line: &str) -> usize {
    line.chars().take_while(|letter| letter.is_whitespace()).count()
}

/// Returns what would close the innermost bracket that a statement leaves open.
fn unclosed(statement: &[String]) -> Option<char> {
    let mut open = Vec::new();
    for line in statement {
        let mut quote = None;
        let mut escaped = false;
        for letter in line.chars() {
            match (quote, letter) {
                (Some('"'), '\\') if !escaped => {
                    escaped = true;
                    continue;
                }
                (Some(mark), letter) if mark == letter && !escaped => quote = None,
                (None, '"' | '\'') => quote = Some(letter),
                (None, '#') => break,
                (None, '[') => open.push(']'),
                (None, '{') => open.push('}'),
                (None, ']' | '}') => drop(open.pop()),
                _ => {}
            }
            escaped = false;
        }
    }
    open.last().copied()
}

/// Line, problem and remedy for a syntax error in a statement that begins at `start`.
fn explain(statement: &str, start: usize, at: usize, message: &str, unclosed: Option<char>) -> (usize, String, String) {
    let (key, value) = statement.split_once('=').map_or(("", statement), |(key, value)| (key.trim(), value.trim()));
    if let Some(bracket) = unclosed.filter(|_| !statement.starts_with('[')) {
        let what = if bracket == ']' { "array" } else { "table" };
        return (
            start,
            format!("the {what} of `{key}` is not closed"),
            format!("put `{bracket}` after its last element"),
        );
    }
    if statement.starts_with('[') && (value.is_empty() || !statement.contains('=') || message.contains("table")) {
        let meant = header_meant(statement).unwrap_or("[[host]]");
        return if message == "duplicate key" {
            (
                start,
                format!("the table {statement} is given twice"),
                "merge the two tables, or write [[…]] to add another".into(),
            )
        } else {
            (start, format!("the header {statement} is malformed ({message})"), format!("write {meant}"))
        };
    }
    let described = match message.split(',').next().unwrap_or(message) {
        _ if message.contains("recurs") => too_deep(),
        "duplicate key" => (format!("`{key}` is set twice in this table"), "remove one of the two".to_string()),
        _ if message.starts_with("missing comma between array") => {
            (format!("two elements of `{key}` have no comma between them"), "put a comma between the elements".into())
        }
        _ if value.is_empty() => {
            (format!("`{key}` has no value"), format!("write {key} = and the value, or remove the line"))
        }
        _ if !statement.contains('=') => (
            "this is neither `key = value` nor a [header]".to_string(),
            "correct the line or put # before it".to_string(),
        ),
        _ if value.starts_with(['"', '\'']) => (
            format!("the string of `{key}` is malformed or not closed"),
            "end it with the quote it began with, on the same line".into(),
        ),
        _ if value.starts_with(['{', '[']) => (
            format!("the value of `{key}` is malformed ({message})"),
            "write tables as { key = value }, arrays as [a, b]".into(),
        ),
        _ => {
            let shown: String = value.split('#').next().unwrap_or(value).trim().chars().take(60).collect();
            (format!("`{shown}` is not a TOML value"), format!("if it is text, put it in quotes: {key} = \"{shown}\""))
        }
    };
    (at, described.0, described.1)
}

/// Problem and remedy for a value that is nested too deeply. The parser has a limit of its own beyond ours.
fn too_deep() -> (String, String) {
    let problem = format!("this is nested deeper than {MAX_DEPTH} levels");
    (problem, "flatten it, or move it into a file of its own".into())
}

/// The line at or before `line` at which a statement begins, or the first.
fn statement_start(lines: &[String], line: usize) -> usize {
    (1..=line).rev().find(|&line| starts_statement(&lines[line - 1])).unwrap_or(1)
}

/// Returns whether a line looks like a header or like `key = …`: elements of arrays that span lines don't.
fn starts_statement(line: &str) -> bool {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix('[') {
        return rest.trim_start_matches('[').trim_start().starts_with(|first: char| first.is_ascii_alphabetic());
    }
    let key = line.trim_start_matches(|letter: char| letter.is_alphanumeric() || "_-.\"' ".contains(letter));
    key.len() < line.len() && key.starts_with('=')
        || (key.is_empty() && !line.trim().is_empty() && !line.trim_end().ends_with(['"', '\'']))
}

/// The header that a broken one was probably meant to be.
fn header_meant(header: &str) -> Option<&'static str> {
    let word: String = header.chars().filter(|letter| letter.is_alphanumeric() || *letter == '.').collect();
    match word.as_str() {
        "host" | "hosts" => Some("[[host]]"),
        "vat" | "vats" => Some("[[vat]]"),
        "vat.argv" => Some("[vat.argv]"),
        "vat.limits" => Some("[vat.limits]"),
        "limits" => Some("[limits]"),
        _ => None,
    }
}

fn mended_header(header: &str, line: usize) -> String {
    match header_meant(header) {
        // A second `[vat.argv]` can't be meant as it stands; what follows it must not fall into another table.
        Some(meant) if meant != header => meant.to_string(),
        _ => format!("[{BROKEN_HEADER}{line}]"),
    }
}

fn mended_value(statement: &str, message: &str) -> String {
    let key = statement.split_once('=').map(|(key, _)| key.trim()).unwrap_or_default();
    let mended = format!("{key} = {BROKEN}");
    if message != "duplicate key" && DeTable::parse(&mended).is_ok() { mended } else { String::new() }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect()
}

fn place_of(text: &str, starts: &[usize], offset: usize) -> Place {
    let line = starts.partition_point(|&start| start <= offset);
    let start = starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
    // The end of the text may be meant.
    let before = text.get(start..offset.min(text.len())).unwrap_or_default();
    Place { line, column: before.chars().count() + 1 }
}

struct Reader<'a, 'c> {
    text: &'a str,
    starts: Vec<usize>,
    checker: &'a mut Checker<'c>,
}

impl Reader<'_, '_> {
    fn place(&self, offset: usize) -> Place {
        place_of(self.text, &self.starts, offset)
    }

    fn table(&mut self, table: &DeTable<'_>, offset: usize, depth: usize) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let place = self.place(offset);
        let entries = entries.into_iter().filter(|(key, _)| !key.get_ref().starts_with(BROKEN_HEADER));
        let entries = entries.map(|(key, value)| {
            let place = self.place(key.span().start);
            Entry { key: key.get_ref().to_string(), place, node: self.node(value, depth + 1) }
        });
        Table { place, entries: entries.collect() }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let (place, written) = (self.place(value.span().start), value.span());
        let value = match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if depth > MAX_DEPTH => {
                let (problem, fix) = too_deep();
                self.checker.mistake(place, problem, fix);
                Value::Broken
            }
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item, depth + 1)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, value.span().start, depth + 1)),
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let text = self.text.get(written).unwrap_or_default().to_owned();
                Value::Integer(Whole { value, text })
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(date) if date.to_string() == BROKEN => Value::Broken,
            DeValue::Datetime(_) => Value::Datetime,
        };
        Node { place, value }
    }
}

//! Collects mistakes, and reads typed values out of the tree, each refusal with its remedy.

use super::syntax::{Entry, Node, Table, Value};
use super::{ConfigError, Mistake, Place, nearest};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the passes over one config share.
pub(super) struct Checker<'a> {
    file: &'a Path,
    /// Relative paths start here.
    pub folder: PathBuf,
    mistakes: Vec<Mistake>,
}

impl<'a> Checker<'a> {
    pub fn new(file: &'a Path, folder: PathBuf) -> Self {
        Checker { file, folder, mistakes: Vec::new() }
    }

    pub fn mistake(&mut self, place: Place, problem: impl Into<String>, fix: impl Into<String>) {
        let Place { line, column } = place;
        let mistake = Mistake {
            file: self.file.to_path_buf(),
            line,
            column,
            problem: problem.into(),
            fix: fix.into(),
            excerpt: None,
        };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Returns what was read, or what is wrong with it in the order of its lines.
    pub fn finish<T>(mut self, config: T) -> Result<T, ConfigError> {
        if self.mistakes.is_empty() {
            return Ok(config);
        }
        self.mistakes.sort_by_key(|mistake| mistake.line);
        Err(ConfigError { mistakes: self.mistakes })
    }

    /// Reports keys that `section` does not have. `known` says each key and how it is written.
    pub fn unknown_keys(&mut self, section: &str, table: &Table, known: &[Key]) {
        for entry in table.entries.iter().filter(|entry| known.iter().all(|key| key.name != entry.key)) {
            let names = known.iter().map(|key| key.name);
            let alias = known.iter().find(|key| key.also.contains(&entry.key.to_lowercase().as_str()));
            let meant = alias.map(|key| key.name).or_else(|| nearest(&entry.key, names.clone()));
            let list = names.collect::<Vec<_>>().join(", ");
            let fix = match meant {
                Some(meant) => format!("did you mean `{meant}`? {section} takes {list}"),
                None => format!("remove it; {section} takes {list}"),
            };
            self.mistake(entry.place, format!("{section} has no key `{}`", entry.key), fix);
        }
    }

    /// The entry of a key that must be there.
    pub fn required<'t>(&mut self, section: &str, table: &'t Table, known: &[Key], key: &Key) -> Option<&'t Entry> {
        let entry = table.get(key.name);
        let unknown = |entry: &&Entry| known.iter().all(|key| key.name != entry.key);
        // Where the key is misspelt, that has been said already.
        let misspelt = || table.entries.iter().filter(unknown).any(|entry| stands_for(entry, key));
        if entry.is_none() && !misspelt() {
            self.mistake(table.place, format!("{section} has no `{}`", key.name), format!("add {}", key.example));
        }
        entry
    }

    pub fn string<'t>(&mut self, entry: &'t Entry, key: &Key) -> Option<&'t str> {
        match &entry.node.value {
            Value::String(text) => Some(text),
            other => self.wrong_type(entry.node.place, other, "a string", key),
        }
    }

    /// An IP address with a port, which may be 0.
    pub fn address(&mut self, entry: &Entry, key: &Key) -> Option<SocketAddr> {
        let text = self.string(entry, key)?;
        let address = socket_address(text);
        if address.is_none() {
            let problem = format!("`{}` is not an IP address with a port", text.escape_debug());
            self.mistake(entry.node.place, problem, format!("write {}", key.example));
        }
        address
    }

    pub fn array<'t>(&mut self, entry: &'t Entry, key: &Key) -> Option<&'t [Node]> {
        match &entry.node.value {
            Value::Array(items) => Some(items),
            other => self.wrong_type(entry.node.place, other, "an array of strings", key),
        }
    }

    pub fn table<'t>(&mut self, entry: &'t Entry, key: &Key) -> Option<&'t Table> {
        match &entry.node.value {
            Value::Table(table) => Some(table),
            other => self.wrong_type(entry.node.place, other, "a table", key),
        }
    }

    /// A whole number within bounds.
    pub fn whole_number(&mut self, entry: &Entry, key: &Key, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = match &entry.node.value {
            Value::Integer(number) => number.value.and_then(|number| u64::try_from(number).ok()),
            other => return self.wrong_type(entry.node.place, other, "a whole number", key),
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            let range =
                if *most >= i64::MAX as u64 { format!("at least {least}") } else { format!("from {least} to {most}") };
            self.mistake(entry.node.place, format!("`{}` is out of range", key.name), format!("give a number {range}"));
        }
        number
    }

    /// Reports a value of the wrong type; about a broken one all has been said.
    pub fn wrong_type<T>(&mut self, place: Place, value: &Value, expected: &str, key: &Key) -> Option<T> {
        if !matches!(value, Value::Broken) {
            let problem = format!("`{}` must be {expected}, not {}", key.name, value.kind());
            self.mistake(place, problem, format!("write {}", key.example));
        }
        None
    }

    /// An absolute path to a file that exists and can be read, from a path relative to the config.
    pub fn file(&mut self, place: Place, what: &str, path: &str) -> Option<PathBuf> {
        if path.is_empty() {
            self.mistake(place, format!("{what} has an empty path"), "name a file, relative to the config");
            return None;
        }
        let absolute = self.folder.join(path);
        let problem = match std::fs::File::open(&absolute).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_file() => return Some(std::fs::canonicalize(&absolute).unwrap_or(absolute)),
            Ok(_) => format!("{what} `{path}` is not a file"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("{what} `{path}` does not exist"),
            Err(error) => format!("{what} `{path}` cannot be read ({error})"),
        };
        let fix = match self.neighbour(&absolute) {
            Some(neighbour) => format!("did you mean `{neighbour}`?"),
            None => format!("correct the path, which is relative to {}", self.folder.display()),
        };
        self.mistake(place, problem, fix);
        None
    }

    /// A file beside the missing one whose name is much like it, written as the config would. Only in the config's folder: what lies
    /// elsewhere is nothing that a config of strangers may ask for.
    fn neighbour(&self, missing: &Path) -> Option<String> {
        let name = missing.file_name()?.to_str()?;
        let folder = missing.parent()?;
        let (place, home) = (folder.canonicalize().ok()?, self.folder.canonicalize().ok()?);
        if !place.starts_with(home) {
            return None;
        }
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .ok()?
            .take(1000)
            .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_file())?.file_name().into_string().ok())
            .collect();
        names.sort();
        let found = folder.join(nearest(name, names.iter().map(String::as_str))?);
        Some(found.strip_prefix(&self.folder).unwrap_or(&found).display().to_string())
    }
}

/// A key that a table may have.
pub(super) struct Key {
    pub name: &'static str,
    /// How it is written, for remedies.
    pub example: &'static str,
    /// Other words that people try for it.
    pub also: &'static [&'static str],
}

impl Key {
    pub const fn new(name: &'static str, example: &'static str, also: &'static [&'static str]) -> Key {
        Key { name, example, also }
    }
}

/// Returns whether an unknown entry has been reported with "did you mean" this key.
fn stands_for(entry: &Entry, key: &Key) -> bool {
    key.also.contains(&entry.key.to_lowercase().as_str()) || nearest(&entry.key, [key.name]).is_some()
}

/// An IP address with a port as people write it.
pub(super) fn socket_address(text: &str) -> Option<SocketAddr> {
    text.strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .or_else(|| text.parse().ok())
}

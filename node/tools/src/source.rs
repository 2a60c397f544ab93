//! Code of a run: bundles by their entry files, and from places in bundles back to the lines of the author's files.

use quorate_bundler::mistake::{excerpt, line_of};
use quorate_config::bundle::{self, BundleError};
use quorate_engine::abi::Bundle;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A bundle, and where its files lie.
#[derive(Clone, Debug)]
pub struct Source {
    /// The entry file as the user named it.
    pub file: PathBuf,
    pub bundle: Bundle,
    /// The folder that the bundle's paths begin at, absolute.
    root: PathBuf,
}

/// A place in an author's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the user would name it.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in letters; 0 where it is not known.
    pub column: usize,
    /// The line itself.
    pub text: String,
}

impl Place {
    /// The place, and the line with its number.
    pub fn shown(&self) -> String {
        let file = self.file.display();
        match self.column {
            0 => format!("{file}:{}\n  {} | {}", self.line, self.line, self.text.trim_end()),
            column => format!("{file}:{}:{column}\n{}", self.line, excerpt(self.line, column, &self.text)),
        }
    }
}

impl Source {
    /// Reads an entry file and all that it imports.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(file: &Path) -> Result<Source, BundleError> {
        let bundle = bundle::bundle(file)?;
        let absolute = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let absolute = absolute.canonicalize().unwrap_or_else(|_| absolute.to_owned());
        let levels = bundle.entry.split('/').count() - 1;
        let root = absolute.ancestors().nth(levels).unwrap_or(&absolute).to_owned();
        Ok(Source { file: file.to_owned(), bundle, root })
    }

    /// The files that the bundle was made of, absolute. Some modules have none.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.bundle.modules.keys().map(|path| self.root.join(path)).filter(|file| file.is_file())
    }

    /// The place in a file of the author's that a place in the bundle is.
    pub fn place(&self, path: &str, line: usize, column: usize) -> Option<Place> {
        let module = self.bundle.modules.get(path)?;
        let file = self.root.join(path);
        // The file has the types, which are blank in the bundle.
        let written = fs::read_to_string(&file).ok();
        let text = written.as_deref().and_then(|text| line_of(text, line)).or_else(|| line_of(module, line))?;
        Some(Place { file: self.shown(&file), line, column, text: text.to_owned() })
    }

    /// A file as the user would name it.
    fn shown(&self, file: &Path) -> PathBuf {
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        let below = here.ok().and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
        below.unwrap_or_else(|| file.to_owned())
    }

    /// The first place that a text names, as in `Error: … (at src/main.js:3:5)` or `src/main.js:3:5: Error: …`, that is in the bundle.
    pub fn place_in(&self, text: &str) -> Option<Place> {
        let words = text.split(|letter: char| letter.is_whitespace() || "()`,;\"'".contains(letter));
        words.filter_map(read_place).find_map(|(path, line, column)| self.place(path, line, column))
    }

    /// Returns what a host has printed, with the lines of code as they are in the files: a host has those of the bundle, in which types are blank.
    pub fn as_written(&self, text: &str) -> String {
        let words = text.split(|letter: char| letter.is_whitespace() || "()".contains(letter));
        words.filter_map(read_place).fold(text.to_owned(), |shown, (path, line, column)| {
            let of_bundle = self.bundle.modules.get(path).and_then(|module| line_of(module, line));
            match (of_bundle, self.place(path, line, column)) {
                (Some(of_bundle), Some(place)) => {
                    let written = excerpt(line, column, &place.text);
                    shown.replacen(&excerpt(line, column, of_bundle), &written, 1)
                }
                _ => shown,
            }
        })
    }

    /// Returns where the test with this name is registered in the entry file, by its text: the line on which the name stands as a first argument.
    pub fn test(&self, name: &str) -> Option<Place> {
        let module = self.bundle.modules.get(&self.bundle.entry)?;
        let quoted: Vec<String> = ['\'', '"', '`'].iter().map(|quote| format!("{quote}{name}{quote}")).collect();
        let line = module.lines().position(|line| quoted.iter().any(|name| line.contains(name.as_str())))?;
        self.place(&self.bundle.entry, line + 1, 0)
    }
}

/// Reads `path:line:column`, with or without a colon behind.
fn read_place(word: &str) -> Option<(&str, usize, usize)> {
    let mut parts = word.trim_end_matches([':', '.']).rsplitn(3, ':');
    let (column, line) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((parts.next()?, line, column))
}

/// Bundles that were read in this process, by their files: each is read once.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<PathBuf, Result<Arc<Source>, BundleError>>);

impl Sources {
    /// The bundle of an entry file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(&mut self, file: &Path) -> Result<Arc<Source>, BundleError> {
        let read = || Source::read(file).map(Arc::new);
        self.0.entry(file.to_owned()).or_insert_with(read).clone()
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_a_host_shows_of_typescript_has_its_types_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("main.ts");
        let code = "export default () => {\n  const add = (a: number): number => a + missing;\n};\n";
        fs::write(&file, code).expect("written");
        let source = Source::read(&file).expect("it is good");
        let said = "add failed: ReferenceError: missing is not defined (at main.ts:2:42)";
        let line =
            |types: &str| format!("{said}\n  2 |   const add = (a{types} => a + missing;\n    | {}^", " ".repeat(41));
        let (blank, written) = (line("        )        "), line(": number): number"));
        assert_eq!(source.as_written(&blank), written);
        assert_eq!(source.as_written(&written), written);
        for other in [said, "(at main.ts:9:1)", "(at other.js:2:42)", ""] {
            assert_eq!(source.as_written(other), other);
        }
    }

    #[test]
    fn places_are_found_in_what_is_said_about_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("test")).expect("made");
        fs::write(folder.path().join("lib.js"), "export const a = 1;\n").expect("written");
        let file = folder.path().join("test/a.test.js");
        let text =
            "import { a } from '../lib.js';\nexport default ({ test }) => {\n  test('one', t => t.is(a, 2));\n};\n";
        fs::write(&file, text).expect("written");
        let source = Source::read(&file).expect("it is good");
        assert_eq!(source.bundle.entry, "test/a.test.js");
        let place = source.place_in("Error: no (at test/a.test.js:3:22)").expect("a place");
        assert_eq!((place.line, place.column, place.text.as_str()), (3, 22, "  test('one', t => t.is(a, 2));"));
        assert!(place.file.ends_with("test/a.test.js"), "{place:?}");
        assert_eq!(source.place_in("lib.js:1:14: Error: no").map(|place| place.line), Some(1));
        assert_eq!(source.place_in("other.js:1:14: Error: 3:5"), None);
        assert_eq!(source.test("one").map(|place| (place.line, place.column)), Some((3, 0)));
        assert_eq!(source.test("two"), None);
        let files: Vec<PathBuf> = source.files().collect();
        assert_eq!(files.len(), 2, "{files:?}");
    }
}

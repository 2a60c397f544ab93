//! The references that `vat call` has kept: one file each, with the text of a bearer sturdyref.
//!
//! Invariants: a name belongs to one reference as long as its file is there, whatever runs at the same time; what is kept can be read by its
//! owner only, since every reader can use the object.

use crate::{Exit, Failure, output};
use quorate_client::{Answer, Kept};
use quorate_config::layout::TestnetDir;
use quorate_engine::abi::Value;
use quorate_protocol::sturdyref::Sturdyref;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

/// Letters of an interface name that a name takes over at most.
const MAX_BASE: usize = 32;
/// Letters of a name at most.
const MAX_NAME: usize = 64;

/// Where kept references lie; `None` where no variable names a place for them.
pub struct Shelf(Option<PathBuf>);

impl Shelf {
    /// In a testnet's directory, else in the user's data: `$XDG_DATA_HOME/quorate/kept` or `~/.local/share/quorate/kept`.
    pub fn of(dir: &TestnetDir, is_testnet: bool) -> Shelf {
        if is_testnet {
            return Shelf(Some(dir.path().join("kept")));
        }
        let base = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = base("XDG_DATA_HOME").or_else(|| base("HOME").map(|home| home.join(".local").join("share")));
        Shelf(data.map(|data| data.join("quorate").join("kept")))
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        let is_name = !name.is_empty()
            && name.len() <= MAX_NAME
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        self.0.as_ref().filter(|_| is_name).map(|folder| folder.join(format!("{name}.ref")))
    }

    /// The reference of a name, with or without `ref:` before it.
    ///
    /// # Errors
    /// There is none, or its file is damaged.
    pub fn find(&self, name: &str) -> Result<Sturdyref, Failure> {
        let name = name.strip_prefix("ref:").unwrap_or(name);
        let Some(file) = self.file(name) else { return Err(self.unknown(name)) };
        match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|error| {
                let message = format!("{}: {error}; `vat ref forget {name}` drops it", file.display());
                Failure::new(Exit::Usage, message)
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.unknown(name)),
            Err(error) => Err(Failure::new(Exit::Failed, format!("reading {}: {error}", file.display()))),
        }
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<String> = self.all().into_keys().take(20).collect();
        let there_are = match &self.0 {
            None => "there is no place for kept references: set XDG_DATA_HOME or HOME".to_owned(),
            Some(folder) if names.is_empty() => {
                format!("none are kept in {}; `vat call` keeps those of an answer", folder.display())
            }
            Some(_) => format!("there are {}; `vat ref kept` lists them all", names.join(", ")),
        };
        Failure::new(Exit::Usage, format!("there is no kept reference {name:?} here; {there_are}"))
    }

    /// All kept references, by their names. What can't be read is left out: nobody can use it.
    pub fn all(&self) -> BTreeMap<String, Sturdyref> {
        let entries = self.0.as_ref().and_then(|folder| fs::read_dir(folder).ok());
        let mut found = BTreeMap::new();
        for entry in entries.into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "ref")
                && self.file(&name).is_some()
                && let Ok(text) = fs::read_to_string(&path)
                && let Ok(sturdyref) = text.trim().parse()
            {
                found.insert(name, sturdyref);
            }
        }
        found
    }

    /// Removes a name.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.strip_prefix("ref:").unwrap_or(name);
        match self.file(name).map(fs::remove_file) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Names what was kept of an answer, and says what was not. Returns the names by the numbers of the answer's references.
    pub fn keep(&self, answer: &Answer, kept: Vec<Kept>) -> BTreeMap<u64, String> {
        let interfaces = interfaces(&answer.value);
        let mut names = BTreeMap::new();
        for (reference, outcome) in kept {
            let places = answer.slots.iter().enumerate().filter(|(_, slot)| **slot == reference);
            let places: Vec<u64> = places.map(|(place, _)| place as u64).collect();
            let interface = places.iter().find_map(|place| interfaces.get(place));
            let named = outcome.and_then(|sturdyref| {
                let named = self.put(interface.map_or("object", String::as_str), &sturdyref);
                named.map_err(|error| format!("its text could not be written: {error}; it is {sturdyref}"))
            });
            match named {
                Ok(name) => {
                    let shown = interface.map(|interface| format!(" ({interface})")).unwrap_or_default();
                    output::note(format!("kept: ref:{name}{shown}; `vat ref forget {name}` lets it go"));
                    names.extend(places.into_iter().map(|place| (place, name.clone())));
                }
                Err(why) => {
                    let shown = interface.map_or("a reference", String::as_str);
                    output::note(format!("note: {shown} of the answer is not kept: {why}"));
                }
            }
        }
        names
    }

    /// Writes a reference under the first name of its kind that is free.
    fn put(&self, interface: &str, sturdyref: &Sturdyref) -> io::Result<String> {
        let folder = self.0.as_ref().ok_or_else(|| io::Error::other("set XDG_DATA_HOME or HOME"))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let base = base_name(interface);
        for number in 1_u32.. {
            let name = format!("{base}-{number}");
            let file = folder.join(format!("{name}.ref"));
            match fs::File::options().write(true).create_new(true).mode(0o600).open(&file) {
                Ok(mut opened) => {
                    writeln!(opened, "{sturdyref}").inspect_err(|_| drop(fs::remove_file(&file)))?;
                    return Ok(name);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no name is free"))
    }
}

/// Returns what a name is made of: letters and digits of an interface name, whose maker may be anybody.
fn base_name(interface: &str) -> String {
    let mut base = String::new();
    for letter in interface.chars() {
        match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_lowercase() || letter.is_ascii_digit() => base.push(letter),
            _ if !base.is_empty() && !base.ends_with('-') => base.push('-'),
            _ => {}
        }
        if base.len() >= MAX_BASE {
            break;
        }
    }
    let base = base.trim_matches('-');
    if base.is_empty() { "object".to_owned() } else { base.to_owned() }
}

/// The interface names in a value, by the numbers of their references.
fn interfaces(value: &Value) -> BTreeMap<u64, String> {
    fn walk(value: &Value, found: &mut BTreeMap<u64, String>) {
        match value {
            Value::Named(index, name) => drop(found.insert(u64::from(*index), name.clone())),
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Record(fields) => fields.iter().for_each(|(_, value)| walk(value, found)),
            Value::Tagged(_, value) => walk(value, found),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    walk(value, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_engine::{VatId, comms::client::ClientRef};
    use std::os::unix::fs::PermissionsExt;

    fn bearer(object: u64) -> Sturdyref {
        Sturdyref::bearer(VatId([7; 32]), object, [object as u8; 32])
    }

    #[test]
    fn a_name_is_given_once_and_its_file_is_its_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf(Some(folder.path().join("kept")));
        assert_eq!(shelf.put("Purse", &bearer(5)).expect("room"), "purse-1");
        assert_eq!(shelf.put("Purse", &bearer(6)).expect("room"), "purse-2");
        assert_eq!(shelf.find("ref:purse-2").expect("kept"), bearer(6));
        assert_eq!(shelf.all().into_keys().collect::<Vec<_>>(), ["purse-1", "purse-2"]);
        let mode = |path: PathBuf| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(folder.path().join("kept")), 0o700);
        assert_eq!(mode(folder.path().join("kept/purse-1.ref")), 0o600);
        shelf.remove("purse-1").expect("removed");
        assert!(shelf.find("purse-1").is_err());
        assert_eq!(shelf.put("Purse", &bearer(7)).expect("room"), "purse-1");
    }

    #[test]
    fn no_interface_name_and_no_argument_leaves_the_folder() {
        for (interface, wanted) in [
            ("Purse of Alice", "purse-of-alice"),
            ("../../etc", "etc"),
            ("", "object"),
            ("💰", "object"),
            ("--x--", "x"),
            ("A".repeat(200).as_str(), "a".repeat(MAX_BASE).as_str()),
        ] {
            assert_eq!(base_name(interface), wanted, "{interface}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("secret.ref"), bearer(1).to_string()).expect("written");
        let shelf = Shelf(Some(folder.path().join("kept")));
        for name in ["../secret", "/etc/passwd", "", "A", &"a".repeat(MAX_NAME + 1)] {
            assert!(shelf.find(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_object_that_an_answer_holds_twice_has_one_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf(Some(folder.path().to_owned()));
        let value = Value::Array(vec![Value::Named(0, "Purse".into()), Value::Slot(1), Value::Slot(2)]);
        let (purse, other) = (ClientRef::Object(3), ClientRef::Object(4));
        let slots = vec![purse, purse, other];
        let answer = Answer { promise: ClientRef::Result(1), fulfilled: true, value, slots };
        let kept = vec![(purse, Ok(bearer(3))), (other, Err("there is no room".to_owned()))];
        let names = shelf.keep(&answer, kept);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), [(0, "purse-1".to_owned()), (1, "purse-1".to_owned())]);
    }
}

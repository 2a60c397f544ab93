//! What is said of a database that is damaged, full, or in use: each kind by its own code.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::StoreError;

const RECORDS: u32 = 400;

/// A closed database with tables and a log, in a folder whose name says "lock" and more.
fn database(parent: &Path) -> PathBuf {
    let path = parent.join("blocks under lock: No space left on device");
    let put = |number: u32| {
        let value = [number as u8; 500].iter().map(|byte| byte.wrapping_mul(31) ^ number as u8).collect();
        vec![Write::Put(Family::Log, format!("{number:06}").into_bytes(), value)]
    };
    // Each opening writes what the log holds to tables.
    for round in 0..2 {
        let store = RocksStore::open(&path).unwrap();
        (round * RECORDS..(round + 1) * RECORDS).for_each(|number| store.write(put(number)).unwrap());
        store.sync().unwrap();
    }
    path
}

fn files(path: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| wanted(path.file_name().unwrap().to_str().unwrap())).collect()
}

fn sst(name: &str) -> bool {
    name.ends_with(".sst")
}

fn log(name: &str) -> bool {
    name.ends_with(".log")
}

/// Flips bits all over a file.
fn scramble(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// Opens the database and reads all of it.
fn open_and_read(path: &Path) -> Result<usize, StoreError> {
    let store = RocksStore::open(path)?;
    Ok(store.scan(Family::Log, b"", b"z", usize::MAX)?.len())
}

#[track_caller]
fn check_damage(what: &str, wanted: impl Fn(&str) -> bool, damage: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let damaged = files(&path, wanted);
    assert!(!damaged.is_empty(), "{what}: no such file");
    damaged.iter().for_each(|file| damage(file));
    let error = open_and_read(&path).map(|read| panic!("{what}: {read} records, and nothing was noticed")).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error}");
    let text = error.to_string();
    assert!(text.starts_with("Q-C002 ") && text.contains("vat member replace"), "{what}: {text}");
    assert!(!text.contains("another process"), "{what}: {text}");
}

#[test]
fn damage_of_every_kind_of_file_is_called_damage() {
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    check_damage("tables with flipped bits", sst, scramble);
    check_damage("tables that were cut", sst, cut);
    check_damage("tables that are gone", sst, remove);
    check_damage("a log with flipped bits in its middle", log, |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[3_000] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    let manifest = |name: &str| name.starts_with("MANIFEST-");
    check_damage("a manifest with flipped bits", manifest, scramble);
    check_damage("a manifest that is gone", manifest, remove);
    let current = |name: &str| name == "CURRENT";
    check_damage("CURRENT with flipped bits", current, scramble);
    check_damage("CURRENT of another manifest", current, |path| fs::write(path, "MANIFEST-999999\n").unwrap());
    check_damage("an empty CURRENT", current, |path| fs::write(path, "").unwrap());
    check_damage("CURRENT that is gone", current, remove);
}

#[test]
fn options_are_only_a_note_and_their_damage_is_harmless() {
    for damage in [scramble, |path: &Path| fs::remove_file(path).unwrap()] {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        let options = files(&path, |name| name.starts_with("OPTIONS-"));
        assert!(!options.is_empty());
        options.iter().for_each(|file| damage(file));
        assert_eq!(open_and_read(&path).unwrap(), 2 * RECORDS as usize);
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    drop(RocksStore::open(&path).unwrap());
    for file in files(&path, |name| !name.starts_with("MANIFEST-")) {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(open_and_read(&path).unwrap(), 0);
}

#[test]
fn only_a_database_in_use_is_said_to_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let open = RocksStore::open(&path).unwrap();
    let error = RocksStore::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(open);
    // Something else than another process is in the way of the lock.
    fs::remove_file(path.join("LOCK")).unwrap();
    fs::create_dir(path.join("LOCK")).unwrap();
    let error = RocksStore::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error}");
}

//! Files that are costly to make: the compiled module, the base heap.
//!
//! A file is its payload behind the payload's SHA-256. Invariants: what is read is checked whole before it is believed, and
//! remade if it is not what it says; a file appears complete or not at all (temporary file, then rename); many processes may
//! ask at once, and one of them does the work (file lock). The hash guards against damage, not against someone who may
//! write to the folder: that person could replace the program itself.

use crate::error::EngineError;
use crate::ids::Hash;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"quorate cache 1\n";
const HASH_BYTES: usize = 32;

/// A folder of such files.
#[derive(Debug)]
pub(crate) struct Cache<'a> {
    folder: &'a Path,
}

impl<'a> Cache<'a> {
    pub fn open(folder: &'a Path) -> Result<Cache<'a>, EngineError> {
        fs::create_dir_all(folder).map_err(fault("create", folder))?;
        Ok(Cache { folder })
    }

    /// The payload of file `name`, made by `make` if it is not there or damaged, and checked by `accept` in either case:
    /// what `accept` refuses of a file is made anew.
    pub fn get<T>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, EngineError>,
        accept: impl Fn(&[u8]) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let path = self.folder.join(name);
        let read = || read(&path).and_then(|payload| accept(&payload).ok());
        if let Some(value) = read() {
            return Ok(value);
        }
        let lock_path = self.folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(fault("open", &lock_path))?;
        lock.lock().map_err(fault("lock", &lock_path))?;
        // Another process may have made it while this one waited.
        if let Some(value) = read() {
            return Ok(value);
        }
        let payload = make()?;
        let value = accept(&payload)?;
        self.write(&path, &payload).map_err(fault("write", &path))?;
        Ok(value)
    }

    fn write(&self, path: &Path, payload: &[u8]) -> io::Result<()> {
        let temporary = PathBuf::from(format!("{}.tmp", path.display()));
        let mut file = File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(Hash::of(&[payload]).as_bytes())?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }
}

fn fault(action: &'static str, path: &Path) -> impl Fn(io::Error) -> EngineError {
    let path = path.display().to_string();
    move |source| EngineError::Cache { action, path: path.clone(), source }
}

/// The payload, if the file is there and whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).ok()?;
    let payload = bytes.strip_prefix(MAGIC.as_slice())?;
    let (hash, payload) = payload.split_at_checked(HASH_BYTES)?;
    if Hash::of(&[payload]).as_bytes() != hash {
        return None;
    }
    bytes.drain(..MAGIC.len() + HASH_BYTES);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Cache<'_>, fresh: &[u8]) -> (Vec<u8>, bool) {
        let mut made = false;
        let make = || {
            made = true;
            Ok(fresh.to_vec())
        };
        let value = cache.get("file", make, |payload| Ok(payload.to_vec())).expect("cache works");
        (value, made)
    }

    #[test]
    fn a_damaged_file_is_made_again() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::open(folder.path()).expect("open");
        assert_eq!(get(&cache, b"one"), (b"one".to_vec(), true));
        assert_eq!(get(&cache, b"two"), (b"one".to_vec(), false));
        let path = folder.path().join("file");
        let whole = fs::read(&path).expect("read");
        for length in [0, 10, 20, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("truncate");
            assert_eq!(get(&cache, b"two"), (b"two".to_vec(), true), "{length}");
            assert_eq!(get(&cache, b"two"), (b"two".to_vec(), false));
        }
        let mut flipped = whole;
        *flipped.last_mut().expect("not empty") ^= 1;
        fs::write(&path, &flipped).expect("write");
        assert_eq!(get(&cache, b"two"), (b"two".to_vec(), true));
    }

    #[test]
    fn what_is_not_accepted_is_made_again_once() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = Cache::open(folder.path()).expect("open");
        get(&cache, b"old");
        let accept = |payload: &[u8]| {
            if payload == b"new" { Ok(()) } else { Err(EngineError::Checkpoint("old".into())) }
        };
        cache.get("file", || Ok(b"new".to_vec()), accept).expect("made again");
        assert!(cache.get("other", || Ok(b"bad".to_vec()), accept).is_err());
        assert!(!folder.path().join("other").exists());
    }
}

//! Caches files that are costly to make: the compiled module, the base heap.
//!
//! A file is its payload after the payload's SHA-256. Invariants: a file is checked whole before it is used, and
//! made again if the check fails. A file appears complete or not at all (temporary file, then rename). Many processes may
//! ask at once; one of them does the work (file lock). The hash guards against damage only: another user who may write
//! to the folder can write the hash as well, and the payload runs as native code. Hence folder and files must be this
//! user's own, and no other user may write to them ([`why_not_ours`]).

use crate::error::EngineError;
use quorate_ids::Hash;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"quorate cache 1\n";
const HASH_BYTES: usize = 32;
/// Only the owner may look into a folder of caches, or read a file of it.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Permission bits by which users other than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A folder of such files.
#[derive(Debug)]
pub(crate) struct Cache<'a> {
    folder: &'a Path,
}

impl<'a> Cache<'a> {
    pub fn open(folder: &'a Path) -> Result<Cache<'a>, EngineError> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(fault("create", folder))?;
        if check_cache_folder(folder)? & 0o777 != FOLDER_MODE {
            fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)).map_err(fault("protect", folder))?;
        }
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
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
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
        // What an interrupted process left may have any mode, or be a link: never written to, always made anew.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).write(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(Hash::of_parts(&[payload]).as_bytes())?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    }
}

/// Whether this process may use a folder that is there as a cache: it is this user's own, and nobody else may write to it. Returns its mode.
///
/// # Errors
/// It may not, or the folder can't be looked at.
pub fn check_cache_folder(folder: &Path) -> Result<u32, EngineError> {
    let untrusted = |why: String| EngineError::Untrusted { path: folder.display().to_string(), why };
    let own = effective_user();
    // A link of another user could be led elsewhere at any time.
    let link = fs::symlink_metadata(folder).map_err(fault("read", folder))?;
    if link.is_symlink() && link.uid() != own {
        return Err(untrusted(format!("is a symbolic link of user {}", link.uid())));
    }
    let found = fs::metadata(folder).map_err(fault("read", folder))?;
    match why_not_ours(found.uid(), found.mode(), own) {
        Some(why) => Err(untrusted(why)),
        None => Ok(found.mode()),
    }
}

fn fault(action: &'static str, path: &Path) -> impl Fn(io::Error) -> EngineError {
    let path = path.display().to_string();
    move |source| EngineError::Cache { action, path: path.clone(), source }
}

/// The user as which this process opens files.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: `geteuid` has no preconditions and always succeeds.
    unsafe { libc::geteuid() }
}

/// Says why what belongs to `owner` and has `mode` is not to be trusted by the user `own`: another user made it, or may write to it.
fn why_not_ours(owner: u32, mode: u32, own: u32) -> Option<String> {
    if owner != own {
        return Some(format!("belongs to user {owner}, and this process runs as user {own}"));
    }
    (mode & WRITABLE_BY_OTHERS != 0).then(|| format!("may be written by other users (mode {:04o})", mode & 0o7777))
}

/// The payload, if the file is there, is this user's own, and whole. The file that is checked is the one that is read.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || why_not_ours(found.uid(), found.mode(), effective_user()).is_some() {
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let payload = bytes.strip_prefix(MAGIC.as_slice())?;
    let (hash, payload) = payload.split_at_checked(HASH_BYTES)?;
    if Hash::of_parts(&[payload]).as_bytes() != hash {
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

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    #[test]
    fn only_what_is_ours_and_written_by_nobody_else_is_trusted() {
        for (owner, mode, trusted) in [
            (1000, 0o40700, true),
            (1000, 0o40755, true),
            (1000, 0o100600, true),
            (1000, 0o40775, false),
            (1000, 0o40757, false),
            (1000, 0o41777, false),
            (1000, 0o100666, false),
            (0, 0o40700, false),
            (1001, 0o40700, false),
        ] {
            assert_eq!(why_not_ours(owner, mode, 1000).is_none(), trusted, "{owner} {mode:o}");
        }
        assert!(why_not_ours(1000, 0o100600, 0).is_some(), "not even the superuser runs what another user wrote");
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused_and_others_can_not_read_one_of_ours() {
        let place = tempfile::tempdir().expect("folder");
        let folder = place.path().join("deep").join("cache");
        let cache = Cache::open(&folder).expect("open");
        get(&cache, b"one");
        assert_eq!(mode_of(&folder), 0o700);
        for file in fs::read_dir(&folder).expect("it is there") {
            let path = file.expect("an entry").path();
            assert_eq!(mode_of(&path), 0o600, "{}", path.display());
        }
        // As an earlier version made it: made narrower, and used.
        set_mode(&folder, 0o755);
        assert_eq!(get(&Cache::open(&folder).expect("open"), b"two"), (b"one".to_vec(), false));
        assert_eq!(mode_of(&folder), 0o700);
        for wide in [0o777, 0o1777, 0o775, 0o772] {
            set_mode(&folder, wide);
            let error = Cache::open(&folder).map(|_| ()).expect_err("others may write to it").to_string();
            for part in ["may be written by other users", "QUORATE_CACHE", "cache"] {
                assert!(error.contains(part), "no {part} in {error}");
            }
        }
    }

    #[test]
    fn a_file_that_others_may_have_written_is_made_again() {
        let place = tempfile::tempdir().expect("folder");
        let folder = place.path().join("cache");
        let cache = Cache::open(&folder).expect("open");
        get(&cache, b"one");
        let path = folder.join("file");
        set_mode(&path, 0o666);
        assert_eq!(get(&cache, b"two"), (b"two".to_vec(), true), "anybody could have written it");
        assert_eq!(mode_of(&path), 0o600);
        // A link leads to a file that says what another user wants.
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("ours");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("a link");
        assert_eq!(get(&cache, b"three"), (b"three".to_vec(), true));
        assert!(fs::symlink_metadata(&path).expect("it is there").is_file());
    }

    /// Who but the superuser can give files away? Others run the tests of the rule itself, above.
    #[test]
    fn what_another_user_made_is_refused() {
        let place = tempfile::tempdir().expect("folder");
        let folder = place.path().join("cache");
        get(&Cache::open(&folder).expect("open"), b"one");
        if effective_user() != 0 {
            return;
        }
        let give = |path: &Path| std::os::unix::fs::lchown(path, Some(65_534), None).expect("the superuser may");
        give(&folder.join("file"));
        let cache = Cache::open(&folder).expect("the folder is ours");
        assert_eq!(get(&cache, b"two"), (b"two".to_vec(), true), "a file of another user is not run");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("a link");
        Cache::open(&link).expect("our own link");
        give(&link);
        assert!(Cache::open(&link).is_err(), "another user's link");
        give(&folder);
        let error = Cache::open(&folder).map(|_| ()).expect_err("another user's folder").to_string();
        assert!(error.contains("belongs to user 65534") && error.contains("QUORATE_CACHE"), "{error}");
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

//! Moving a home to where it shall run, so that it never runs twice.
//!
//! Invariant: at no time are there two homes that run with one key. The home goes in one step where the file system can do that;
//! otherwise the original refuses to run before the copy gets its final name. What stays is a stub without the secret key: the
//! name and the public key, for commands that look at the host from here.

use super::{ADMIN_SOCKET, Home, HomeError, at, private};
use quorate_consensus::HostId;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file that says that a home was exported.
pub const EXPORTED: &str = "EXPORTED";

/// What stays of a home that was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The host's name.
    pub name: String,
    /// Its public key, in hex.
    pub key: String,
    /// Where the home was moved to.
    pub to: PathBuf,
}

impl Exported {
    /// Returns what the stub at `path` says, if a home was exported from there.
    pub fn read(path: &Path) -> Result<Option<Exported>, HomeError> {
        let file = path.join(EXPORTED);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(&file)(source)),
        };
        // Whatever it says, the home may not run.
        toml::from_str(&text).map(Some).map_err(|error| HomeError::Damaged {
            path: file.display().to_string(),
            why: format!("{error}; a home with this file was exported and does not run here"),
        })
    }

    /// The host's public key.
    pub fn host_key(&self) -> Option<HostId> {
        self.key.parse().ok()
    }

    fn write(&self, home: &Path) -> Result<(), HomeError> {
        let text = toml::to_string(self).expect("plain data is TOML");
        let head = "# This host was moved, with its key. It must run in one place only.\n";
        private::write_secret(&home.join(EXPORTED), &format!("{head}{text}"))?;
        sync_folder(home)
    }
}

/// Moves the home at `from` to `to`, which must be absent or an empty folder, and leaves a stub.
pub fn export(from: &Path, to: &Path) -> Result<Exported, HomeError> {
    let home = Home::open(from)?;
    let _lock = home.lock()?;
    let to = std::path::absolute(to).map_err(at(to))?;
    if fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) || to.is_file() {
        return Err(HomeError::Occupied { path: to.display().to_string() });
    }
    if let Some(parent) = to.parent() {
        private::make_folder_above(parent)?;
    }
    let key = HostId(home.key.verifying_key().to_bytes()).to_string();
    let exported = Exported { name: home.config.name.clone(), key, to: to.clone() };
    // Nobody listens there any more: the lock is ours.
    let _ = fs::remove_file(home.admin_socket());
    match fs::rename(from, &to) {
        Ok(()) => {
            private::make_folder(from)?;
            exported.write(from)?;
        }
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => move_across(from, &to, &exported)?,
        Err(error) => return Err(at(&to)(error)),
    }
    Ok(exported)
}

/// Moves a home to another file system: copies it under a name that is not final, takes the original out of use, and only then names
/// the copy.
fn move_across(from: &Path, to: &Path, exported: &Exported) -> Result<(), HomeError> {
    let mut staged = to.as_os_str().to_owned();
    staged.push(".staged");
    let staged = PathBuf::from(staged);
    copy(from, &staged)?;
    exported.write(from)?;
    // An empty folder may be there.
    let _ = fs::remove_dir(to);
    fs::rename(&staged, to).map_err(at(to))?;
    if let Some(parent) = to.parent() {
        sync_folder(parent)?;
    }
    for entry in fs::read_dir(from).map_err(at(from))? {
        let path = entry.map_err(at(from))?.path();
        if path.file_name().is_some_and(|name| name == EXPORTED) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .map_err(at(&path))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), HomeError> {
    private::make_folder(to)?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if [ADMIN_SOCKET, "LOCK"].iter().any(|name| entry.file_name() == *name) && !source.is_dir() {
            // The database has a `LOCK` of its own, which it makes anew as well.
            continue;
        }
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(at(&source))?;
            fs::File::open(&target).and_then(|file| file.sync_all()).map_err(at(&target))?;
        }
    }
    sync_folder(to)
}

fn sync_folder(path: &Path) -> Result<(), HomeError> {
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::tests::config;

    fn home_in(dir: &Path) -> (PathBuf, [u8; 32]) {
        let path = dir.join("home");
        let home = Home::init(&path, config()).expect("a new home");
        fs::create_dir(path.join("data")).expect("a directory");
        fs::write(path.join("data/000012.sst"), "state").expect("writable");
        fs::write(path.join("carried/07"), "").expect("writable");
        (path, home.key.to_bytes())
    }

    #[track_caller]
    fn check_moved(from: &Path, to: &Path, key: [u8; 32]) {
        let there = Home::open(to).expect("it runs there");
        assert_eq!((there.key.to_bytes(), there.config), (key, config()));
        assert_eq!(fs::read_to_string(to.join("data/000012.sst")).expect("it came along"), "state");
        assert!(to.join("carried/07").exists(), "a key must not outlive the data it signed for");
        // What stays says who the host is and can't sign.
        let left: Vec<_> = fs::read_dir(from).expect("the stub").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, [EXPORTED]);
        let stub = Exported::read(from).expect("readable").expect("exported");
        let public = HostId(ed25519_dalek::SigningKey::from_bytes(&key).verifying_key().to_bytes());
        assert_eq!((stub.name.as_str(), stub.host_key()), ("alpha", Some(public)));
        let refused = Home::open(from).expect_err("it runs elsewhere").to_string();
        for part in [from.display().to_string(), to.display().to_string(), "vat node run".into()] {
            assert!(refused.contains(&part), "no {part} in {refused}");
        }
        assert!(matches!(Home::init(from, config()), Err(HomeError::Exported { .. })), "nor is another one made there");
    }

    #[test]
    fn an_exported_home_runs_where_it_was_moved_to_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, key) = home_in(dir.path());
        let to = dir.path().join("far/away");
        export(&from, &to).expect("moved");
        check_moved(&from, &to, key);
        assert!(export(&from, &dir.path().join("again")).is_err(), "there is nothing left to export");
    }

    #[test]
    fn a_move_between_file_systems_ends_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, key) = home_in(dir.path());
        let to = dir.path().join("away");
        let public = HostId(ed25519_dalek::SigningKey::from_bytes(&key).verifying_key().to_bytes());
        let exported = Exported { name: "alpha".into(), key: public.to_string(), to: to.clone() };
        move_across(&from, &to, &exported).expect("moved");
        check_moved(&from, &to, key);
        assert!(!dir.path().join("away.staged").exists());
    }

    #[test]
    fn a_copy_that_was_interrupted_leaves_one_home_that_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, _) = home_in(dir.path());
        // Everything up to the moment at which the original is taken out of use.
        copy(&from, &dir.path().join("away.staged")).expect("copied");
        Home::open(&from).expect("it still runs here");
        assert!(!dir.path().join("away").exists());
    }

    #[test]
    fn a_home_in_use_and_an_occupied_place_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, _) = home_in(dir.path());
        let occupied = dir.path().join("occupied");
        fs::create_dir(&occupied).expect("a directory");
        fs::write(occupied.join("thesis.txt"), "years of work").expect("writable");
        assert!(matches!(export(&from, &occupied), Err(HomeError::Occupied { .. })));
        let lock = Home::open(&from).expect("here").lock().expect("free");
        assert!(matches!(export(&from, &dir.path().join("away")), Err(HomeError::Locked { .. })));
        drop(lock);
        Home::open(&from).expect("nothing was changed");
    }

    #[test]
    fn a_stub_that_can_not_be_read_does_not_run_either() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, _) = home_in(dir.path());
        fs::write(from.join(EXPORTED), "").expect("writable");
        assert!(Home::open(&from).is_err());
    }
}

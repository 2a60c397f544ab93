//! Who may read a home: its owner alone.
//!
//! A home holds the host's key, and the code, arguments, state and console lines of its vats. Whatever the umask, its folders have mode
//! 0700 and its files 0600. Earlier versions left that to the umask, so a home is narrowed again at each start.

use super::{HomeError, at};
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Bits by which group and others may do anything.
const OTHERS: u32 = 0o077;

/// Makes a folder that only its owner may enter, and those above it that are not there yet. One that is there is narrowed.
pub fn make_folder(path: &Path) -> Result<(), HomeError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
    narrow(path, &fs::metadata(path).map_err(at(path))?).map(drop)
}

/// Makes the folders above one that is to be made. Those that are there stay as they are.
pub fn make_folder_above(path: &Path) -> Result<(), HomeError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Writes a file that only its owner may read, and has it on disk.
pub fn write_secret(path: &Path, text: &str) -> Result<(), HomeError> {
    let mut file =
        fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(at(path))?;
    // One that was there keeps its mode.
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(at(path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(path))
}

/// Takes from everybody but the owner what they may do in the home at `path`. Returns how many files and folders others could use
/// before. A folder of the home may lie elsewhere, behind a link; links further down are left alone.
pub fn narrow_home(path: &Path) -> Result<usize, HomeError> {
    let mut narrowed = usize::from(narrow(path, &fs::metadata(path).map_err(at(path))?)?);
    for entry in fs::read_dir(path).map_err(at(path))? {
        let path = entry.map_err(at(path))?.path();
        // A link that leads nowhere holds nothing.
        if let Ok(found) = fs::metadata(&path) {
            narrowed += narrow_below(&path, &found)?;
        }
    }
    Ok(narrowed)
}

fn narrow_below(path: &Path, found: &fs::Metadata) -> Result<usize, HomeError> {
    let mut narrowed = usize::from(narrow(path, found)?);
    if found.is_dir() {
        for entry in fs::read_dir(path).map_err(at(path))? {
            let path = entry.map_err(at(path))?.path();
            match fs::symlink_metadata(&path) {
                Ok(found) if !found.is_symlink() => narrowed += narrow_below(&path, &found)?,
                _ => {}
            }
        }
    }
    Ok(narrowed)
}

/// Narrows one file or folder. Returns whether others could use it.
fn narrow(path: &Path, found: &fs::Metadata) -> Result<bool, HomeError> {
    let mode = found.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS)).map_err(|source| HomeError::Open {
        path: path.display().to_string(),
        mode,
        source,
    })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Home, tests::config};

    /// Every path of a home, with the bits that others have.
    fn open_to_others(path: &Path) -> Vec<String> {
        let found = fs::symlink_metadata(path).expect("it is there");
        let mut open = Vec::new();
        if found.mode() & OTHERS != 0 && !found.is_symlink() {
            open.push(format!("{} {:o}", path.display(), found.mode()));
        }
        if found.is_dir() {
            fs::read_dir(path)
                .expect("readable")
                .for_each(|entry| open.extend(open_to_others(&entry.expect("an entry").path())));
        }
        open
    }

    #[test]
    fn a_new_home_is_its_owners_alone_also_in_a_folder_that_was_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("home");
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("ours");
        Home::init(&path, config()).expect("a new home");
        assert_eq!(open_to_others(&path), Vec::<String>::new());
    }

    #[test]
    fn a_home_that_an_earlier_version_left_open_is_narrowed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("home");
        Home::init(&path, config()).expect("a new home");
        fs::create_dir(path.join("data")).expect("a directory");
        for file in ["data/000012.sst", "logs/two.console", "host.key"] {
            fs::write(path.join(file), "words").expect("writable");
            fs::set_permissions(path.join(file), fs::Permissions::from_mode(0o664)).expect("ours");
        }
        for folder in ["data", "logs", "."] {
            fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o775)).expect("ours");
        }
        // The logs of this one lie elsewhere, and what others put there may lead anywhere.
        let (logs, foreign) = (dir.path().join("logs"), dir.path().join("foreign"));
        fs::rename(path.join("logs"), &logs).expect("ours");
        fs::write(&foreign, "words").expect("writable");
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o644)).expect("ours");
        std::os::unix::fs::symlink(&logs, path.join("logs")).expect("a link");
        std::os::unix::fs::symlink(&foreign, logs.join("link")).expect("a link");

        assert_eq!(narrow_home(&path).expect("ours"), 6);
        assert_eq!(open_to_others(&path), Vec::<String>::new());
        assert_eq!(open_to_others(&logs), Vec::<String>::new());
        assert_eq!(open_to_others(&foreign).len(), 1, "not a part of the home");
        assert_eq!(narrow_home(&path).expect("ours"), 0);
    }
}

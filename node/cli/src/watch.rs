//! Waiting for files to change, for `--watch`: by looking at them now and then, which works on every file system and needs no limits.
//!
//! Folders are looked at, too, so that files count that come, go, or are renamed into place as editors do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What a file is known by: its inode, its size, and when it changed; `None` if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

/// Files as they are at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Stamp>);

impl Seen {
    /// These files, and the folders that they lie in.
    pub fn now(files: impl IntoIterator<Item = PathBuf>) -> Seen {
        let mut paths = BTreeSet::new();
        for file in files {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            paths.insert(folder.join("package.json"));
            paths.insert(folder.to_owned());
            paths.insert(file);
        }
        let stamped = paths.into_iter().map(|path| (path.clone(), stamp(&path)));
        Seen(stamped.collect())
    }

    /// Returns when anything of it is not as it was, and has come to rest.
    pub async fn changed(&self) {
        let mut last = self.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Seen(self.0.keys().map(|path| (path.clone(), stamp(path))).collect());
            // A program that writes several files, or a large one, is not done with the first change.
            if now != *self && now == last {
                return;
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_new_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.js");
        fs::write(&file, "1").expect("written");
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(&file, "22").expect("written"),
            &|| {
                let new = folder.path().join("a.js.new");
                fs::write(&new, "33").and_then(|()| fs::rename(&new, &file)).expect("replaced");
            },
            &|| fs::write(folder.path().join("b.js"), "4").expect("written"),
        ];
        for change in changes {
            let seen = Seen::now([file.clone()]);
            assert_eq!(seen, Seen::now([file.clone()]));
            change();
            seen.changed().await;
        }
    }
}

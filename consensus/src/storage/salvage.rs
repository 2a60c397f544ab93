//! Opens a damaged database without its unreadable tables, to read vats that have no records in them.
//!
//! A search for a vat's records opens every newer table and reads the block in which they would be, even where that block begins after
//! them. So a damaged block there would look like damage of the vat. Here the damaged tables are gone, and the key range of each
//! shows which vats may lack something.
//!
//! Invariant: the damaged database is only read. Its tables are linked or copied; RocksDB repairs the copy.

use rocksdb::{ColumnFamilyDescriptor, DB, LiveFile, Options};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::store::Family;

/// See the head of the module.
pub(super) struct Salvaged {
    db: Option<DB>,
    lost: Vec<LiveFile>,
    folder: PathBuf,
}

impl Salvaged {
    /// Makes it in a folder of its own, which is gone with it. The write-ahead log of `damaged` must be whole.
    ///
    /// # Errors
    /// In words: there is no room, or nothing can be read.
    pub(super) fn of(damaged: &DB, folder: PathBuf) -> Result<Salvaged, String> {
        let tables = damaged.live_files().map_err(|error| error.to_string())?;
        let mut salvaged = Salvaged { db: None, lost: Vec::new(), folder };
        let folder = salvaged.folder.as_path();
        copy_files(damaged.path(), folder, &names(&tables))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        // What the log holds comes into tables: a repair forgets it where its family has none.
        drop(open(folder)?);
        DB::repair(&Options::default(), folder).map_err(|error| error.to_string())?;
        let db = open(folder)?;
        let left = db.live_files().map_err(|error| error.to_string())?;
        let left = names(&left);
        salvaged.lost = tables.into_iter().filter(|table| !left.contains(&table.name)).collect();
        salvaged.db = Some(db);
        Ok(salvaged)
    }

    /// The database, if none of the tables that are gone may have had records with `first <= key < end`.
    pub(super) fn with_all_of(&self, first: &[u8], end: &[u8]) -> Option<&DB> {
        let meets = |table: &LiveFile| {
            let begins_before = table.start_key.as_ref().is_none_or(|key| key.as_slice() < end);
            let ends_after = table.end_key.as_ref().is_none_or(|key| key.as_slice() >= first);
            begins_before && ends_after
        };
        self.db.as_ref().filter(|_| !self.lost.iter().any(meets))
    }
}

impl Drop for Salvaged {
    fn drop(&mut self) {
        self.db = None;
        // What stays is removed by the next repair.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn names(tables: &[LiveFile]) -> BTreeSet<String> {
    tables.iter().map(|table| table.name.clone()).collect()
}

/// Opens a database for which nobody else cares. Its tables stay as they are.
fn open(folder: &Path) -> Result<DB, String> {
    let mut options = Options::default();
    options.create_missing_column_families(true);
    let families = Family::ALL.iter().map(|family| {
        let mut options = Options::default();
        options.set_disable_auto_compactions(true);
        ColumnFamilyDescriptor::new(family.as_str(), options)
    });
    DB::open_cf_descriptors(&options, folder, families).map_err(|error| error.to_string())
}

/// Copies what belongs to a database; its tables are never written again, so links to them will do.
fn copy_files(from: &Path, to: &Path, tables: &BTreeSet<String>) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let (path, copy) = (file.path(), to.join(&name));
        let is_table = name.ends_with(".sst");
        if is_table && tables.contains(&format!("/{name}")) {
            if fs::hard_link(&path, &copy).is_err() {
                fs::copy(&path, &copy)?;
            }
        } else if name == "CURRENT" || name.starts_with("MANIFEST-") || name.ends_with(".log") {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

//! Reads everything that a store has on disk, to find rot before the records are needed; takes damaged tables out of use.
//!
//! Invariants: bytes come from the disk and not from a cache. Removed records are read as well, since a
//! compaction reads them, and a compaction that can't read a block fails the store for all vats. Records are moved out of a damaged table only
//! if other members have the same content, named by its hash. A vat's promises are never thrown away here.
//!
//! Absent: the write-ahead log and the marks. The first is written out to tables when a scrub begins. The marks have two copies, and are read
//! whole at each start.

use rocksdb::{ReadOptions, WriteBatch};
use std::path::Path;
use std::sync::PoisonError;

use super::rocks::{Shared, judge};
use super::store::{Family, prefix_end};
use crate::error::StoreError;
use quorate_ids::VatId;

/// How RocksDB is told whether to compact a family by itself.
const PAUSE_COMPACTION: &str = "disable_auto_compactions";
/// What a vat gives up over time.
const PASSING: [Family; 5] = [Family::Log, Family::Checkpoint, Family::Chunk, Family::Certificate, Family::State];

/// A table of the database in which something can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDamage {
    /// Whose records it has.
    pub family: Family,
    /// The file's name.
    pub table: String,
    /// What is wrong with it.
    pub error: String,
}

/// A piece of a scrub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes that were read.
    pub bytes: u64,
    /// The key to go on from; none where the family is at its end.
    pub next: Option<Vec<u8>>,
    /// A damaged table that was come upon.
    pub found: Option<TableDamage>,
}

/// The first key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// The name of the table that an error of RocksDB speaks of.
fn table_in(error: &str) -> Option<String> {
    let end = error.rfind(".sst")?;
    let begin = error[..end].rfind(|letter: char| !letter.is_ascii_digit()).map_or(0, |place| place + 1);
    (begin < end).then(|| error[begin..end + 4].to_owned())
}

/// A table that is in use: its level, and its first and last key.
struct Table {
    level: i32,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Shared {
    fn table(&self, name: &str) -> Result<Option<Table>, StoreError> {
        let tables = self.db.live_files().map_err(|error| judge(&error))?;
        let table =
            tables.into_iter().find(|table| Path::new(&table.name).file_name().is_some_and(|file| file == name));
        Ok(table.and_then(|table| Some(Table { level: table.level, first: table.start_key?, last: table.end_key? })))
    }

    /// See [`Store::begin_scrub`](super::Store::begin_scrub).
    pub(super) fn begin_scrub(&self) -> Result<(), StoreError> {
        self.check()?;
        for family in Family::ALL {
            self.db.flush_cf(self.family(family)).map_err(|error| self.poison(&error))?;
        }
        let mut cache = self.cache.clone();
        // What is in use stays. Nothing else is kept, so that the disk is asked.
        cache.set_capacity(0);
        cache.set_capacity(super::rocks::BLOCK_CACHE_BYTES);
        // One that is not in use any more was compacted before its damage was known, or dropped.
        let tables = self.db.live_files().map_err(|error| judge(&error))?;
        let is_there = |name: &str| tables.iter().any(|table| table.name.trim_start_matches('/') == name);
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let families: Vec<Family> = damaged.all().iter().map(|damage| damage.family).collect();
        damaged.retain(&self.path, |damage| is_there(&damage.table))?;
        families.into_iter().filter(|family| !damaged.has(*family)).try_for_each(|family| self.compact(family, true))
    }

    /// See [`Store::scrub`](super::Store::scrub).
    pub(super) fn scrub(&self, family: Family, from: &[u8], bytes: usize) -> Result<Scrubbed, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_verify_checksums(true);
        #[expect(
            deprecated,
            reason = "it costs time where ranges were removed, and reading those is what this is for"
        )]
        options.set_ignore_range_deletions(true);
        let mut cursor = self.db.raw_iterator_cf_opt(self.family(family), options);
        cursor.seek(from);
        let (mut read, mut last) = (0, None);
        while let (Some(key), Some(value)) = (cursor.key(), cursor.value()) {
            read += key.len() + value.len();
            last = Some(after(key));
            if read >= bytes {
                break;
            }
            cursor.next();
        }
        let scrubbed = Scrubbed { bytes: read as u64, ..Scrubbed::default() };
        let Err(error) = cursor.status() else {
            return Ok(Scrubbed { next: last.filter(|_| read >= bytes), ..scrubbed });
        };
        let name = table_in(error.as_ref()).ok_or_else(|| judge(&error))?;
        let Some(table) = self.table(&name)? else {
            // It was compacted meanwhile: there is nothing to be said of it any more. What takes its place is read.
            return Ok(Scrubbed { next: last.or_else(|| Some(from.to_vec())), ..scrubbed });
        };
        let damage = TableDamage { family, table: name, error: error.as_ref().trim_end().to_owned() };
        self.note_damage(&damage)?;
        // The rest of that table is left out, and what lies over it: there is enough to say of it.
        let next = after(&table.last).max(last.unwrap_or_default());
        Ok(Scrubbed { next: Some(next), found: Some(damage), ..scrubbed })
    }

    fn note_damage(&self, damage: &TableDamage) -> Result<(), StoreError> {
        self.compact(damage.family, false)?;
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.knows(&damage.table) { Ok(()) } else { damaged.add(&self.path, damage) }
    }

    /// Has RocksDB compact a family by itself, or not.
    fn compact(&self, family: Family, is_allowed: bool) -> Result<(), StoreError> {
        let value = if is_allowed { "false" } else { "true" };
        self.db.set_options_cf(self.family(family), &[(PAUSE_COMPACTION, value)]).map_err(|error| judge(&error))
    }

    /// See [`Store::set_aside`](super::Store::set_aside). The records of the table that can be read are written again, over a removal of all
    /// that its keys may have had before. So nothing looks into it any more, and it can be dropped, unless it is at the highest level, where
    /// RocksDB drops none.
    pub(super) fn set_aside(&self, damage: &TableDamage) -> Result<bool, StoreError> {
        self.check()?;
        if damage.family != Family::Chunk {
            return Ok(false);
        }
        let Some(table) = self.table(&damage.table)? else { return Ok(true) };
        self.move_out(damage.family, &table)?;
        self.flush()?;
        let handle = self.family(damage.family);
        self.db.delete_file_in_range_cf(handle, &table.first, &table.last).map_err(|error| judge(&error))?;
        if self.table(&damage.table)?.is_some() {
            tracing::warn!(table = %damage.table, level = table.level, "a damaged table is out of use, but can't be dropped before a repair");
            return Ok(false);
        }
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.retain(&self.path, |known| known.table != damage.table)?;
        if !damaged.has(damage.family) {
            self.compact(damage.family, true)?;
        }
        Ok(true)
    }

    /// Writes again what can be read of the keys that a table has: from the front up to what can't be read, then from the back. What lies
    /// between is lost. Nobody else writes meanwhile. All of it is one batch, with one removal: where two of them met, a reader would look into the
    /// table just there.
    fn move_out(&self, family: Family, table: &Table) -> Result<(), StoreError> {
        let _alone = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        let (handle, end) = (self.family(family), after(&table.last));
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(handle, &table.first, &end);
        let mut cursor = self.cursor(family, &table.first, &end);
        cursor.seek_to_first();
        let mut low = table.first.clone();
        while let (Some(key), Some(value)) = (cursor.key(), cursor.value()) {
            batch.put_cf(handle, key, value);
            low = after(key);
            cursor.next();
        }
        if is_damaged(cursor.status())? {
            let mut cursor = self.cursor(family, &low, &end);
            cursor.seek_to_last();
            while let (Some(key), Some(value)) = (cursor.key(), cursor.value()) {
                batch.put_cf(handle, key, value);
                cursor.prev();
            }
            is_damaged(cursor.status())?;
        }
        self.db.write(batch).map_err(|error| self.poison(&error))
    }

    fn cursor(&self, family: Family, from: &[u8], to: &[u8]) -> rocksdb::DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_lower_bound(from.to_vec());
        options.set_iterate_upper_bound(to.to_vec());
        self.db.raw_iterator_cf_opt(self.family(family), options)
    }

    /// See [`Store::reclaim`](super::Store::reclaim). Families with damage stay as they are.
    pub(super) fn reclaim(&self, vat: &VatId) -> Result<(), StoreError> {
        self.check()?;
        for family in PASSING {
            if self.damaged.lock().unwrap_or_else(PoisonError::into_inner).has(family) {
                continue;
            }
            let handle = self.family(family);
            self.db.flush_cf(handle).map_err(|error| self.poison(&error))?;
            self.db.compact_range_cf(handle, Some(&vat.0), Some(&prefix_end(&vat.0)[..]));
        }
        Ok(())
    }
}

/// Returns whether reading ended at something that can't be read. An error that names no table is the store's.
fn is_damaged(status: Result<(), rocksdb::Error>) -> Result<bool, StoreError> {
    match status {
        Ok(()) => Ok(false),
        Err(error) if table_in(error.as_ref()).is_some() => Ok(true),
        Err(error) => Err(judge(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_table_whatever_the_path_holds() {
        let text = "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /a.sst 7/000012.sst offset 5 size 9";
        assert_eq!(table_in(text).as_deref(), Some("000012.sst"));
        assert_eq!(
            table_in("IO error: While pread offset 0 len 9: 000007.sst: Input/output error").as_deref(),
            Some("000007.sst")
        );
        assert_eq!(table_in("IO error: No space left on device"), None);
        assert_eq!(table_in("x.sst"), None);
    }
}

//! The store's interface: a small ordered key-value store with explicit syncs.
//!
//! Invariants: durability is prefix-ordered. Data given to `write` is readable when it returns. It is on disk at the latest
//! when a later `write_then` calls back or a later `sync` returns. A crash keeps a prefix of the writes, each whole or not at
//! all. After a failed sync the store refuses everything, since nobody knows any more which bytes are on disk.

use std::io;
use std::path::Path;

use super::marks::Marks;
use super::scrub::{Scrubbed, TableDamage};
use crate::error::StoreError;
use crate::stats::Timings;
use quorate_ids::VatId;

/// Families of records; RocksDB has a column family for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Log entries.
    Log,
    /// Votes, committed and purged positions, signed watermarks.
    State,
    /// Records of checkpoints.
    Checkpoint,
    /// Content of checkpoints, by hash.
    Chunk,
    /// Certificates of statements and memberships.
    Certificate,
    /// What is kept of members that contradict one another.
    Evidence,
    /// What the host itself notes.
    Meta,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 7] = [
        Family::Log,
        Family::State,
        Family::Checkpoint,
        Family::Chunk,
        Family::Certificate,
        Family::Evidence,
        Family::Meta,
    ];

    /// Name of the column family.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Log => "log",
            Family::State => "state",
            Family::Checkpoint => "checkpoint",
            Family::Chunk => "chunk",
            Family::Certificate => "certificate",
            Family::Evidence => "evidence",
            Family::Meta => "meta",
        }
    }
}

/// One change. A batch of them is written whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a record.
    Put(Family, Vec<u8>, Vec<u8>),
    /// Removes a record.
    Delete(Family, Vec<u8>),
    /// Removes all records with `from <= key < to`.
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

/// Called once the writes before it are on disk, or have failed for good.
pub type Flushed = Box<dyn FnOnce(Result<(), io::Error>) + Send>;

/// A record: key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// How a database keeps up with what is written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// It takes no writes until it has caught up.
    pub writes_stopped: bool,
    /// The rate to which it holds writes back; 0 if it does not.
    pub delayed_write_bytes_per_second: u64,
    /// Compactions that run.
    pub running_compactions: u64,
    /// Memory tables that are being written out.
    pub running_flushes: u64,
    /// Errors of compactions and flushes since the database was opened.
    pub background_errors: u64,
    /// What has to be rewritten until it has caught up, about.
    pub pending_compaction_bytes: u64,
    /// Memory for what is not in files yet.
    pub memory_tables_bytes: u64,
    /// Memory for blocks of files that were read.
    pub block_cache_bytes: u64,
}

/// What a vat takes of the disk, about, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VatBytes {
    /// Log entries.
    pub log: u64,
    /// Checkpoints with their chunks.
    pub checkpoints: u64,
    /// Certificates, votes and watermarks.
    pub certificates: u64,
    /// Evidence.
    pub evidence: u64,
}

impl VatBytes {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.log + self.checkpoints + self.certificates + self.evidence
    }
}

/// Records that a store in memory looks at together where bytes are counted.
const RECORDS_AT_ONCE: usize = 64;

/// A host's store. All calls may block shortly, except that the wait for the disk is in `sync` alone.
pub trait Store: Send + Sync + 'static {
    /// Writes a batch: readable at once, on disk later.
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError>;

    /// Writes a batch and calls back, from some thread and in order, when it is on disk.
    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError>;

    /// Returns when everything written so far is on disk.
    fn sync(&self) -> Result<(), StoreError>;

    /// One record.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` records with `from <= key < to`, ascending.
    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Records with `from <= key < to`, ascending: as many as hold `bytes` bytes of values, and one if there is any. A store on a disk reads no more
    /// than that.
    fn scan_bytes(&self, family: Family, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<Record>, StoreError> {
        let (mut found, mut from) = (Vec::new(), from.to_vec());
        let mut taken = 0_usize;
        loop {
            let records = self.scan(family, &from, to, RECORDS_AT_ONCE)?;
            let is_end = records.len() < RECORDS_AT_ONCE;
            for record in records {
                taken = taken.saturating_add(record.1.len());
                if taken > bytes && !found.is_empty() {
                    return Ok(found);
                }
                found.push(record);
            }
            let Some((last, _)) = found.last().filter(|_| !is_end) else { return Ok(found) };
            from = [last.as_slice(), &[0]].concat();
        }
    }

    /// The keys only of such a range.
    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The last record with `from <= key < to`.
    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError>;

    /// For metrics: bytes of each family, and `wal` for a log that comes before all of them; nothing where it is not known.
    fn sizes(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// For metrics: returns how the database keeps up. All zeros where there is nothing to keep up with.
    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }

    /// Returns what a vat takes of the disk, about. Nothing where it is not known.
    fn bytes_of(&self, _vat: &VatId) -> VatBytes {
        VatBytes::default()
    }

    /// Gives back what a vat's removed records still take of the disk. Takes as long as reading and writing the rest anew.
    fn reclaim(&self, _vat: &VatId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Begins to read all that is on disk: what is in memory is written out, and what was read before is forgotten.
    fn begin_scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Reads about so many bytes of a family from a key on, as they lie on disk, those of removed records as well.
    ///
    /// # Errors
    /// Reading fails in a way that names no table.
    fn scrub(&self, _family: Family, _from: &[u8], _bytes: usize) -> Result<Scrubbed, StoreError> {
        Ok(Scrubbed::default())
    }

    /// Takes a damaged table out of what the store reads and compacts, as far as that can be done while it is in use. Only content that
    /// others have as well is moved: what of it can't be read is gone then. Returns whether the damage is gone from the disk.
    fn set_aside(&self, _damage: &TableDamage) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The tables that are known to be damaged.
    fn damaged(&self) -> Vec<TableDamage> {
        Vec::new()
    }

    /// Returns how long the disk took for each sync since the store was opened, without the wait for it; nothing where there is no disk.
    fn sync_times(&self) -> Timings {
        Timings::default()
    }

    /// Returns why the store refuses everything since a write or a sync of it failed; only opening it anew can help.
    fn failure(&self) -> Option<StoreError> {
        None
    }

    /// Returns where on disk the store lies; nothing where it lies in memory.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Returns what the host has promised, kept outside of the database; nothing where the store has no such file.
    fn marks(&self) -> Option<&Marks> {
        None
    }

    /// Notes something of the host itself; on disk when it returns.
    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(vec![Write::Put(Family::Meta, meta_key(key), value.to_vec())])?;
        self.sync()
    }

    /// Reads such a note.
    fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Family::Meta, &meta_key(key))
    }

    /// Removes such a note; gone from the disk when it returns.
    fn delete_meta(&self, key: &str) -> Result<(), StoreError> {
        self.write(vec![Write::Delete(Family::Meta, meta_key(key))])?;
        self.sync()
    }

    /// All notes whose key begins with `prefix`, ascending.
    fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let from = meta_key(prefix);
        let to = prefix_end(&from);
        let records = self.scan(Family::Meta, &from, &to, usize::MAX)?;
        Ok(records.into_iter().map(|(key, value)| (String::from_utf8_lossy(&key[1..]).into_owned(), value)).collect())
    }
}

/// Keys of notes begin with `n`, apart from what the store notes of itself.
fn meta_key(key: &str) -> Vec<u8> {
    let mut bytes = vec![b'n'];
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// The first key after all keys that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; 64]
}

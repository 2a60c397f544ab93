//! The store of a host: one RocksDB, one write-ahead log, one flusher thread.
//!
//! Invariants: every batch goes to the write-ahead log when it is written. Only the flusher calls `flush_wal(sync)`, once
//! for all waiting writes. Callbacks run in the order of their writes. The first error of a write or a sync poisons the store.
//! All calls block, but only the wait for a sync takes long, and only the flusher and callers of `sync` wait for it.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    ErrorKind, IteratorMode, Options, ReadOptions, WriteBatch,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::damaged::Damaged;
use super::marks::Marks;
use super::scrub::{Scrubbed, TableDamage};
use super::store::{Family, Flushed, Record, Store, StoreHealth, VatBytes, Write, prefix_end};
use crate::error::StoreError;
use crate::stats::Timings;
use quorate_ids::VatId;

/// What the format record says. Raise the number with every change of keys or values that an older build cannot read.
const FORMAT: &str = "quorate-store/3";
/// Not a note of the host: those begin with `n`.
const FORMAT_KEY: &[u8] = b"!format";
/// Bytes of write-ahead log after which RocksDB flushes the families that hold it up: bounds replay at a start.
const MAX_WAL_BYTES: u64 = 256 << 20;
/// Bytes of one memtable. Log entries are mostly deleted before they are ever written to a file.
const MEMTABLE_BYTES: usize = 32 << 20;
/// Bytes of all memtables of a host together: what does not fit is flushed to files.
const ALL_MEMTABLES_BYTES: usize = 64 << 20;
/// Bytes of blocks of files that are kept in memory, for all families together.
pub(super) const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// Files that RocksDB keeps open.
const MAX_OPEN_FILES: i32 = 256;

pub(super) struct Shared {
    pub(super) db: DB,
    pub(super) path: PathBuf,
    failed: OnceLock<StoreError>,
    sync_times: Mutex<Timings>,
    /// Bytes that were written for each vat since the store was opened.
    written: Mutex<BTreeMap<(Family, VatId), u64>>,
    /// Blocks of files that are in memory.
    pub(super) cache: Cache,
    /// Held by writers; alone, while records are moved out of a damaged table.
    pub(super) writing: RwLock<()>,
    /// The tables that are known to be damaged.
    pub(super) damaged: Mutex<Damaged>,
}

impl Shared {
    fn new(db: DB, path: &Path, cache: Cache, damaged: Damaged) -> Arc<Shared> {
        Arc::new(Shared {
            db,
            path: path.to_owned(),
            failed: OnceLock::new(),
            sync_times: Mutex::default(),
            written: Mutex::default(),
            cache,
            writing: RwLock::default(),
            damaged: Mutex::new(damaged),
        })
    }
}

enum Request {
    Flush(Flushed),
    Stop,
}

/// See the head of the module.
pub struct RocksStore {
    pub(super) shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    flusher: Option<JoinHandle<()>>,
    marks: Option<Marks>,
}

impl RocksStore {
    /// Opens or makes the store in a directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_total_wal_size(MAX_WAL_BYTES);
        options.set_db_write_buffer_size(ALL_MEMTABLES_BYTES);
        options.set_max_open_files(MAX_OPEN_FILES);
        options.set_keep_log_file_num(4);
        options.set_max_background_jobs(2);
        let mut tables = BlockBasedOptions::default();
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        // Without this each family has a cache of its own, as large as this one.
        tables.set_block_cache(&cache);
        let damaged = Damaged::read(path)?;
        let families = Family::ALL.iter().map(|family| {
            let mut options = Options::default();
            // A compaction that reads a damaged block would end the host.
            options.set_disable_auto_compactions(damaged.has(*family));
            options.set_block_based_table_factory(&tables);
            options.set_write_buffer_size(MEMTABLE_BYTES);
            options.set_compression_type(DBCompressionType::Lz4);
            ColumnFamilyDescriptor::new(family.as_str(), options)
        });
        check_complete(path)?;
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|error| open_error(path, &error))?;
        let shared = Shared::new(db, path, cache, damaged);
        let (requests, receiver) = mpsc::channel();
        let worker = Arc::clone(&shared);
        let flusher = std::thread::Builder::new()
            .name("store-flusher".into())
            .spawn(move || run_flusher(&worker, &receiver))
            .map_err(|error| StoreError::Io(error.to_string()))?;
        let store = Self { shared, requests, flusher: Some(flusher), marks: None };
        store.check_format()?;
        Ok(store)
    }

    /// Opens the store in a directory to read it: nothing in there is changed, not even by what an opening does otherwise. Writes are refused.
    ///
    /// # Errors
    /// The directory has no store, or one of another format, or it is damaged.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        check_complete(path)?;
        let mut options = Options::default();
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_open_files(MAX_OPEN_FILES);
        let families =
            Family::ALL.iter().map(|family| ColumnFamilyDescriptor::new(family.as_str(), Options::default()));
        let opened = DB::open_cf_descriptors_read_only(&options, path, families, false);
        let db = opened.map_err(|error| open_error(path, &error))?;
        let shared = Shared::new(db, path, Cache::new_lru_cache(BLOCK_CACHE_BYTES), Damaged::default());
        // Nothing is ever flushed: a caller learns that the flusher is gone.
        let (requests, _) = mpsc::channel();
        let store = Self { shared, requests, flusher: None, marks: None };
        match store.get(Family::Meta, FORMAT_KEY)? {
            Some(found) if found == FORMAT.as_bytes() => Ok(store),
            found => Err(StoreError::Format {
                found: found.map_or_else(|| "none".to_owned(), |found| String::from_utf8_lossy(&found).into_owned()),
                expected: FORMAT.to_owned(),
            }),
        }
    }

    /// The same, with the host's marks, which lie in a file outside of that directory.
    ///
    /// # Errors
    /// The directory or the file can't be used, or the database is damaged.
    pub fn open_with_marks(path: impl AsRef<Path>, marks: impl AsRef<Path>) -> Result<Self, StoreError> {
        // Before the database: it may fail, and then callers ask whether the last run ended in order.
        let marks = Marks::open(marks.as_ref())?;
        let mut store = Self::open(path)?;
        store.marks = Some(marks);
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.get(Family::Meta, FORMAT_KEY)? {
            Some(found) if found == FORMAT.as_bytes() => Ok(()),
            Some(found) => Err(StoreError::Format {
                found: String::from_utf8_lossy(&found).into_owned(),
                expected: FORMAT.to_owned(),
            }),
            None => {
                self.write(vec![Write::Put(Family::Meta, FORMAT_KEY.to_vec(), FORMAT.as_bytes().to_vec())])?;
                self.sync()
            }
        }
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // The flusher is gone only if it panicked; then there is nothing to stop.
        let _ = self.requests.send(Request::Stop);
        if let Some(flusher) = self.flusher.take()
            // The last owner may be a callback, in the flusher itself, which then ends by itself.
            && flusher.thread().id() != std::thread::current().id()
        {
            let _ = flusher.join();
        }
    }
}

fn run_flusher(shared: &Shared, requests: &mpsc::Receiver<Request>) {
    let mut stopping = false;
    while !stopping {
        let Ok(first) = requests.recv() else { return };
        let mut callbacks = Vec::new();
        for request in std::iter::once(first).chain(requests.try_iter()) {
            match request {
                Request::Flush(flushed) => callbacks.push(flushed),
                Request::Stop => stopping = true,
            }
        }
        if callbacks.is_empty() {
            continue;
        }
        let result = shared.flush();
        for callback in callbacks {
            callback(result.clone().map_err(io::Error::other));
        }
    }
}

impl Shared {
    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.as_str()).expect("every family is created when the store is opened")
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn poison(&self, error: &rocksdb::Error) -> StoreError {
        let error = judge(error);
        let _ = self.failed.set(error.clone());
        error
    }

    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.check()?;
        let began = Instant::now();
        let result = self.db.flush_wal(true);
        self.sync_times.lock().unwrap_or_else(PoisonError::into_inner).record(began.elapsed());
        result.map_err(|error| self.poison(&error))
    }

    fn note_written(&self, family: Family, key: &[u8], bytes: usize) {
        if let (true, Some(Ok(vat))) = (family != Family::Meta, key.get(..32).map(<[u8; 32]>::try_from)) {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            *written.entry((family, VatId(vat))).or_default() += bytes as u64;
        }
    }

    /// Returns what a vat has of a family's memory tables, about: their size, shared as the vats have written.
    fn unflushed(&self, family: Family, vat: &VatId) -> u64 {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let own = written.get(&(family, *vat)).copied().unwrap_or(0);
        let all: u64 = written.iter().filter(|((of, _), _)| *of == family).map(|(_, bytes)| bytes).sum();
        let size = self.property(family, "rocksdb.cur-size-all-mem-tables");
        // A table takes some memory before anything is in it.
        let share = u128::from(size) * u128::from(own) / u128::from(all.max(1));
        own.min(u64::try_from(share).unwrap_or(u64::MAX))
    }

    fn property(&self, family: Family, name: &str) -> u64 {
        self.db.property_int_value_cf(self.family(family), name).ok().flatten().unwrap_or(0)
    }

    /// Bytes of the write-ahead log: RocksDB has no property for that, but it names the files of it `NUMBER.log`.
    fn wal_bytes(&self) -> u64 {
        let Ok(files) = std::fs::read_dir(&self.path) else { return 0 };
        let logs =
            files.flatten().filter(|file| Path::new(&file.file_name()).extension().is_some_and(|end| end == "log"));
        // One that RocksDB has removed meanwhile has no bytes any more.
        logs.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

/// Finds a database whose name for its newest manifest is gone: RocksDB would begin a new one in its place.
fn check_complete(path: &Path) -> Result<(), StoreError> {
    let Ok(files) = std::fs::read_dir(path) else { return Ok(()) };
    // What an interrupted first start leaves has neither tables nor a log yet.
    let holds_records = |file: std::fs::DirEntry| {
        let named = Path::new(&file.file_name()).extension().is_some_and(|end| end == "sst" || end == "log");
        named && file.metadata().is_ok_and(|metadata| metadata.len() > 0)
    };
    if !path.join("CURRENT").exists() && files.flatten().any(holds_records) {
        let error = format!("{} is missing", path.join("CURRENT").display());
        return Err(StoreError::Corrupt { what: "database", error });
    }
    Ok(())
}

fn open_error(path: &Path, error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref();
    // Another process, or this one, holds `LOCK`. Paths and other messages may say "lock" as well.
    let by_another =
        text.starts_with("IO error: While lock file: ") && text.ends_with("Resource temporarily unavailable");
    if by_another || text.starts_with("IO error: lock hold by current process") {
        return StoreError::Locked { path: path.display().to_string() };
    }
    if error.kind() == ErrorKind::InvalidArgument && text.contains("Column families not opened") {
        return StoreError::Format { found: text.to_owned(), expected: FORMAT.to_owned() };
    }
    judge(error)
}

/// What an error of RocksDB means for the host. RocksDB puts the kind first and the system's own words last; in between stands a
/// path, which may hold any words.
pub(super) fn judge(error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref().trim_end().to_owned();
    let system = |words: &str| error.kind() == ErrorKind::IOError && text.ends_with(words);
    if error.kind() == ErrorKind::Corruption || system("No such file or directory") {
        return StoreError::Corrupt { what: "database", error: text };
    }
    if system("No space left on device") || system("Disk quota exceeded") {
        return StoreError::Full(text);
    }
    if system("Too many open files") || system("Too many open files in system") {
        return StoreError::OpenFiles(text);
    }
    StoreError::Io(text)
}

impl RocksStore {
    fn walk<T>(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        (limit, bytes): (usize, usize),
        pick: impl Fn(&[u8], &[u8]) -> T,
    ) -> Result<Vec<T>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to.to_vec());
        let mut cursor = self.shared.db.raw_iterator_cf_opt(self.shared.family(family), options);
        cursor.seek(from);
        let (mut found, mut taken) = (Vec::new(), 0_usize);
        while found.len() < limit {
            let (Some(key), Some(value)) = (cursor.key(), cursor.value()) else { break };
            taken = taken.saturating_add(value.len());
            if taken > bytes && !found.is_empty() {
                break;
            }
            found.push(pick(key, value));
            cursor.next();
        }
        cursor.status().map_err(|error| judge(&error))?;
        Ok(found)
    }
}

impl Store for RocksStore {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.shared.check()?;
        let _writing = self.shared.writing.read().unwrap_or_else(PoisonError::into_inner);
        let mut rocks = WriteBatch::default();
        for write in &batch {
            match write {
                Write::Put(family, key, value) => {
                    self.shared.note_written(*family, key, value.len());
                    rocks.put_cf(self.shared.family(*family), key, value);
                }
                Write::Delete(family, key) => rocks.delete_cf(self.shared.family(*family), key),
                Write::DeleteRange(family, from, to) if from < to => {
                    rocks.delete_range_cf(self.shared.family(*family), from, to);
                }
                Write::DeleteRange(..) => {}
            }
        }
        self.shared.db.write(rocks).map_err(|error| self.shared.poison(&error))
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.write(batch)?;
        self.requests.send(Request::Flush(flushed)).map_err(|_| StoreError::Io("the flusher thread is gone".into()))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let (sender, receiver) = mpsc::channel();
        let flushed: Flushed = Box::new(move |result| {
            // The receiver waits below; if it is gone, so is the caller.
            let _ = sender.send(result);
        });
        self.requests.send(Request::Flush(flushed)).map_err(|_| StoreError::Io("the flusher thread is gone".into()))?;
        match receiver.recv() {
            Ok(result) => result.map_err(|error| self.failure().unwrap_or_else(|| StoreError::Io(error.to_string()))),
            Err(_) => Err(StoreError::Io("the flusher thread is gone".into())),
        }
    }

    fn sizes(&self) -> Vec<(&'static str, u64)> {
        let families = Family::ALL.into_iter().map(|family| {
            let tables = self.shared.property(family, "rocksdb.total-sst-files-size");
            (family.as_str(), tables + self.shared.property(family, "rocksdb.cur-size-all-mem-tables"))
        });
        families.chain([("wal", self.shared.wal_bytes())]).collect()
    }

    fn health(&self) -> StoreHealth {
        let most = |name| Family::ALL.into_iter().map(|family| self.shared.property(family, name)).max().unwrap_or(0);
        let sum = |name| Family::ALL.into_iter().map(|family| self.shared.property(family, name)).sum();
        // These are of the whole database, whichever family is asked.
        let whole = |name| self.shared.property(Family::Meta, name);
        StoreHealth {
            writes_stopped: whole("rocksdb.is-write-stopped") > 0,
            delayed_write_bytes_per_second: whole("rocksdb.actual-delayed-write-rate"),
            running_compactions: whole("rocksdb.num-running-compactions"),
            running_flushes: whole("rocksdb.num-running-flushes"),
            background_errors: most("rocksdb.background-errors"),
            pending_compaction_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
            memory_tables_bytes: sum("rocksdb.cur-size-all-mem-tables"),
            block_cache_bytes: most("rocksdb.block-cache-usage"),
        }
    }

    fn bytes_of(&self, vat: &VatId) -> VatBytes {
        let (from, to) = (vat.0.to_vec(), prefix_end(&vat.0));
        let range = rocksdb::Range::new(&from, &to);
        let of = |family| {
            let handle = self.shared.family(family);
            let tables = self.shared.db.get_approximate_sizes_cf(handle, std::slice::from_ref(&range));
            tables.iter().sum::<u64>() + self.shared.unflushed(family, vat)
        };
        VatBytes {
            log: of(Family::Log),
            checkpoints: of(Family::Checkpoint) + of(Family::Chunk),
            certificates: of(Family::Certificate) + of(Family::State),
            evidence: of(Family::Evidence),
        }
    }

    fn reclaim(&self, vat: &VatId) -> Result<(), StoreError> {
        self.shared.reclaim(vat)
    }

    fn begin_scrub(&self) -> Result<(), StoreError> {
        self.shared.begin_scrub()
    }

    fn scrub(&self, family: Family, from: &[u8], bytes: usize) -> Result<Scrubbed, StoreError> {
        self.shared.scrub(family, from, bytes)
    }

    fn set_aside(&self, damage: &TableDamage) -> Result<bool, StoreError> {
        self.shared.set_aside(damage)
    }

    fn damaged(&self) -> Vec<TableDamage> {
        self.shared.damaged.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    fn failure(&self) -> Option<StoreError> {
        self.shared.failed.get().cloned()
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.shared.path)
    }

    fn marks(&self) -> Option<&Marks> {
        self.marks.as_ref()
    }

    fn sync_times(&self) -> Timings {
        *self.shared.sync_times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.db.get_cf(self.shared.family(family), key).map_err(|error| judge(&error))
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.walk(family, from, to, (limit, usize::MAX), |key, value| (key.to_vec(), value.to_vec()))
    }

    fn scan_bytes(&self, family: Family, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<Record>, StoreError> {
        self.walk(family, from, to, (usize::MAX, bytes), |key, value| (key.to_vec(), value.to_vec()))
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.walk(family, from, to, (limit, usize::MAX), |key, _| key.to_vec())
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from.to_vec());
        options.set_iterate_upper_bound(to.to_vec());
        let family = self.shared.family(family);
        let mut records = self.shared.db.iterator_cf_opt(family, options, IteratorMode::From(to, Direction::Reverse));
        match records.next() {
            None => Ok(None),
            Some(Ok((key, value))) => Ok(Some((key.into_vec(), value.into_vec()))),
            Some(Err(error)) => Err(judge(&error)),
        }
    }
}

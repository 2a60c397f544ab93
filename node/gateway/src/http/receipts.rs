//! Calls with a key, on disk: who makes each, and its answer. A call that is asked for again is not made again, but gone on with, or answered
//! as it was, also by a host that has started anew.
//!
//! ```text
//! FOLDER/BEARER/KEY      one file each, both names hashes: "quorate-call/1\n" ‖ codec bytes of `Record`
//! ```
//!
//! Invariants: a file is written whole or not at all, and is on disk before what it says is acted upon; a key is forgotten by its age alone, never
//! to make room; what one bearer can have kept is bounded, and so is all together. A file that can't be read keeps its key: nobody
//! knows what was done under it.

use super::problem::{Done, Problem};
use crate::stats::Refusal;
use quorate_client::Caller;
use quorate_protocol::codec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How each file begins.
const MAGIC: &[u8] = b"quorate-call/1\n";

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiptLimits {
    /// From the last thing that is recorded of a call.
    pub kept_for: Duration,
    pub of_bearer: Share,
    pub of_all: Share,
}

/// Calls, and bytes of their files. A call that has begun may go beyond the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub records: usize,
    pub bytes: u64,
}

impl Default for ReceiptLimits {
    fn default() -> ReceiptLimits {
        ReceiptLimits {
            kept_for: Duration::from_secs(86_400),
            of_bearer: Share { records: 1_024, bytes: 16 << 20 },
            of_all: Share { records: 65_536, bytes: 512 << 20 },
        }
    }
}

/// An answer as it is given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub fulfilled: bool,
    /// The result, or what it was rejected with, as JSON.
    pub json: String,
    /// A rejection in words.
    pub shown: String,
    /// A file of proofs.
    pub proof: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum State {
    Begun(Caller),
    Answered(Stored),
    /// The vat has forgotten the caller.
    Lost,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Of what was asked.
    fingerprint: [u8; 32],
    state: State,
}

/// What is known of a key.
pub(crate) enum Begun {
    New(Receipt),
    Again(Receipt, Caller),
    Answered(Stored),
}

/// All that is kept.
#[derive(Clone)]
pub(crate) struct Receipts {
    folder: Arc<Path>,
    limits: ReceiptLimits,
    index: Arc<Mutex<Index>>,
}

#[derive(Default)]
struct Index {
    bearers: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Clone, Copy)]
struct Entry {
    written: SystemTime,
    bytes: u64,
    /// A request has it now.
    is_open: bool,
    /// There is a file.
    is_written: bool,
}

/// A key that one request has.
pub(crate) struct Receipt {
    receipts: Receipts,
    bearer: String,
    key: String,
    fingerprint: [u8; 32],
}

impl Receipts {
    /// Reads what is kept in a folder, which is made. What is too old is removed.
    ///
    /// # Errors
    /// The folder can't be read or made.
    pub fn open(folder: &Path, limits: ReceiptLimits) -> io::Result<Receipts> {
        make_folder(folder)?;
        let mut index = Index::default();
        for bearer in fs::read_dir(folder)? {
            let bearer = bearer?;
            let mut entries = BTreeMap::new();
            for file in fs::read_dir(bearer.path())? {
                let file = file?;
                let (name, found) = (file.file_name().to_string_lossy().into_owned(), file.metadata()?);
                if name.ends_with(STAGED) {
                    fs::remove_file(file.path())?;
                    continue;
                }
                let entry = Entry { written: found.modified()?, bytes: found.len(), is_open: false, is_written: true };
                entries.insert(name, entry);
            }
            index.bearers.insert(bearer.file_name().to_string_lossy().into_owned(), entries);
        }
        let receipts = Receipts { folder: folder.into(), limits, index: Arc::new(Mutex::new(index)) };
        receipts.remove_aged(&mut receipts.lock(), None);
        Ok(receipts)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, bearer: &str, key: &str) -> PathBuf {
        self.folder.join(bearer).join(key)
    }

    /// Removes what is too old: of one bearer, or of all.
    fn remove_aged(&self, index: &mut Index, of: Option<&str>) {
        let now = SystemTime::now();
        let is_aged = |entry: &Entry| {
            !entry.is_open && now.duration_since(entry.written).is_ok_and(|age| age >= self.limits.kept_for)
        };
        let folders: Vec<String> = match of {
            Some(bearer) => vec![bearer.to_owned()],
            None => index.bearers.keys().cloned().collect(),
        };
        for bearer in folders {
            let Some(entries) = index.bearers.get_mut(&bearer) else { continue };
            entries.retain(|key, entry| {
                let goes = is_aged(entry);
                if goes && let Err(error) = fs::remove_file(self.file(&bearer, key)) {
                    // It counts no more; the next start finds it again.
                    tracing::warn!(%error, "a call that is too old to be kept could not be removed");
                }
                !goes
            });
            if entries.is_empty() {
                index.bearers.remove(&bearer);
                // Nobody minds a folder that is left.
                let _ = fs::remove_dir(self.folder.join(&bearer));
            }
        }
    }

    /// Returns what is known of a bearer's key, which from now on belongs to this request, unless the answer is there.
    ///
    /// # Errors
    /// It can't be used for this request, or now.
    pub async fn begin(&self, bearer: [u8; 32], key: &str, fingerprint: [u8; 32]) -> Result<Begun, Problem> {
        let (receipts, key) = (self.clone(), key.to_owned());
        let begun = tokio::task::spawn_blocking(move || receipts.begin_now(&bearer, &key, fingerprint));
        begun.await.unwrap_or_else(|error| Err(Problem::not_recorded(&error.to_string(), Done::Maybe)))
    }

    fn begin_now(&self, bearer: &[u8; 32], key: &str, fingerprint: [u8; 32]) -> Result<Begun, Problem> {
        // Neither a bearer's key nor what a program calls its own is to be read in the names of files.
        let (bearer, key) = (name(&[b"bearer", bearer]), name(&[b"key", bearer, key.as_bytes()]));
        let receipt = {
            let mut index = self.lock();
            self.remove_aged(&mut index, Some(&bearer));
            let known = index.bearers.get(&bearer).and_then(|entries| entries.get(&key)).copied();
            match known {
                Some(Entry { is_open: true, .. }) => return Err(Problem::under_way()),
                Some(_) => {}
                None => {
                    if index.total(None).reaches(self.limits.of_all) {
                        self.remove_aged(&mut index, None);
                    }
                    self.check_room(&index, &bearer)?;
                }
            }
            let entries = index.bearers.entry(bearer.clone()).or_default();
            let new = Entry { written: SystemTime::now(), bytes: 0, is_open: true, is_written: false };
            entries.entry(key.clone()).or_insert(new).is_open = true;
            let receipt = Receipt { receipts: self.clone(), bearer, key, fingerprint };
            if known.is_none() {
                return Ok(Begun::New(receipt));
            }
            receipt
        };
        let file = self.file(&receipt.bearer, &receipt.key);
        let read = fs::read(&file).map_err(|error| error.to_string()).and_then(|bytes| {
            let body = bytes.strip_prefix(MAGIC).ok_or("it is of another version, or damaged")?;
            codec::decode::<Record>(body).map_err(|error| error.to_string())
        });
        let record = read.map_err(|why| {
            let why = format!(
                "the record of this call can't be read ({why}), so nobody knows whether it was done; use another key, or have the owner of the host remove {}",
                file.display()
            );
            Problem::answer_lost(why, Done::Maybe)
        })?;
        if record.fingerprint != fingerprint {
            return Err(Problem::other_request());
        }
        match record.state {
            State::Begun(caller) => Ok(Begun::Again(receipt, caller)),
            State::Answered(stored) => Ok(Begun::Answered(stored)),
            State::Lost => Err(Problem::unanswered(quorate_client::LastingError::Forgotten, true)),
        }
    }

    fn check_room(&self, index: &Index, bearer: &str) -> Result<(), Problem> {
        let hours = self.limits.kept_for.as_secs() / 3_600;
        if index.total(Some(bearer)).reaches(self.limits.of_bearer) {
            let Share { records, bytes } = self.limits.of_bearer;
            let why = format!(
                "{records} calls with keys, or {bytes} bytes of them, are kept for one reference, each for {hours} hours; ask without a key, or through another reference, or later"
            );
            let seconds = index.until_aged(bearer, self.limits.kept_for);
            return Err(Problem::keys_used_up(Refusal::ReferenceShare, why, seconds));
        }
        if index.total(None).reaches(self.limits.of_all) {
            let why =
                "this host keeps as many calls with keys as it may; ask without a key, or at another host, or later";
            return Err(Problem::keys_used_up(Refusal::Full, why, 600));
        }
        Ok(())
    }
}

impl Share {
    fn reaches(self, limit: Share) -> bool {
        self.records >= limit.records || self.bytes >= limit.bytes
    }
}

impl Index {
    /// Returns what one bearer has, or all have.
    fn total(&self, of: Option<&str>) -> Share {
        let mut total = Share { records: 0, bytes: 0 };
        let entries: Vec<_> = match of {
            Some(bearer) => self.bearers.get(bearer).into_iter().collect(),
            None => self.bearers.values().collect(),
        };
        for entry in entries.into_iter().flat_map(BTreeMap::values) {
            total.records += 1;
            total.bytes += entry.bytes;
        }
        total
    }

    /// Seconds until the oldest call of a bearer is forgotten.
    fn until_aged(&self, bearer: &str, kept_for: Duration) -> u64 {
        let now = SystemTime::now();
        let left = |entry: &Entry| (entry.written + kept_for).duration_since(now).unwrap_or_default();
        let entries = self.bearers.get(bearer).into_iter().flat_map(BTreeMap::values);
        entries.map(left).min().unwrap_or_default().as_secs().max(1)
    }
}

impl Receipt {
    /// Has a state of the call on disk.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn write(&self, state: State) -> Result<(), String> {
        let record = Record { fingerprint: self.fingerprint, state };
        let bytes = [MAGIC, &codec::encode(&record)].concat();
        let (receipts, bearer, key) = (self.receipts.clone(), self.bearer.clone(), self.key.clone());
        let length = bytes.len() as u64;
        let written = tokio::task::spawn_blocking(move || {
            write_whole(&receipts.folder.join(&bearer), &key, &bytes).map_err(|error| error.to_string())
        });
        written.await.unwrap_or_else(|error| Err(error.to_string()))?;
        let mut index = self.receipts.lock();
        if let Some(entry) = index.entry(&self.bearer, &self.key) {
            *entry = Entry { written: SystemTime::now(), bytes: length, is_written: true, ..*entry };
        }
        Ok(())
    }

    /// Forgets the key: nothing was done under it.
    pub async fn remove(&self) {
        let file = self.receipts.file(&self.bearer, &self.key);
        let removed = tokio::task::spawn_blocking(move || {
            let removed = fs::remove_file(&file);
            // Other keys may be in the folder, which is as well.
            let _ = file.parent().map(fs::remove_dir);
            removed
        });
        let removed = removed.await;
        match removed {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a call that was not made could not be forgotten");
            }
            _ => {
                if let Some(entry) = self.receipts.lock().entry(&self.bearer, &self.key) {
                    entry.is_written = false;
                }
            }
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut index = self.receipts.lock();
        let Some(entries) = index.bearers.get_mut(&self.bearer) else { return };
        match entries.get_mut(&self.key) {
            Some(entry) if entry.is_written => entry.is_open = false,
            Some(_) => drop(entries.remove(&self.key)),
            None => {}
        }
        if entries.is_empty() {
            index.bearers.remove(&self.bearer);
        }
    }
}

impl Index {
    fn entry(&mut self, bearer: &str, key: &str) -> Option<&mut Entry> {
        self.bearers.get_mut(bearer)?.get_mut(key)
    }
}

/// What files are called that are not written yet.
const STAGED: &str = ".staged";

fn name(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file that is there whole, or not at all, and is on disk when this returns.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    make_folder(folder)?;
    let staged = folder.join(format!("{name}{STAGED}"));
    let open = || fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged);
    // Another key may have gone meanwhile, with the folder.
    let mut file = open().or_else(|_| make_folder(folder).and_then(|()| open()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, folder.join(name))?;
    fs::File::open(folder)?.sync_all()?;
    if let Some(above) = folder.parent() {
        fs::File::open(above)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    const ADA: [u8; 32] = [1; 32];
    const BOB: [u8; 32] = [2; 32];

    fn stored(json: &str) -> Stored {
        Stored { fulfilled: true, json: json.to_owned(), shown: String::new(), proof: None }
    }

    fn open(folder: &Path, limits: ReceiptLimits) -> Receipts {
        Receipts::open(folder, limits).expect("a folder of this test")
    }

    async fn new(receipts: &Receipts, bearer: [u8; 32], key: &str) -> Receipt {
        match receipts.begin(bearer, key, [0; 32]).await {
            Ok(Begun::New(receipt)) => receipt,
            Ok(_) => panic!("{key} was used"),
            Err(problem) => panic!("{key}: {problem:?}"),
        }
    }

    async fn refused(receipts: &Receipts, bearer: [u8; 32], key: &str, fingerprint: [u8; 32]) -> Problem {
        match receipts.begin(bearer, key, fingerprint).await {
            Ok(_) => panic!("{key} can be used"),
            Err(problem) => problem,
        }
    }

    fn caller() -> Caller {
        codec::decode(&codec::encode(&([3u8; 32], [4u8; 32], 5u64))).expect("three fields")
    }

    #[tokio::test]
    async fn a_key_is_one_call_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = open(folder.path(), ReceiptLimits::default());
        let receipt = new(&receipts, ADA, "one").await;
        receipt.write(State::Begun(caller())).await.expect("there is room");
        assert_eq!(refused(&receipts, ADA, "one", [0; 32]).await.code, "Q-G010");
        // Another bearer's key of the same name is another key.
        drop(new(&receipts, BOB, "one").await);
        drop((receipt, receipts));
        let receipts = open(folder.path(), ReceiptLimits::default());
        assert_eq!(refused(&receipts, ADA, "one", [9; 32]).await.code, "Q-G009");
        let Ok(Begun::Again(receipt, again)) = receipts.begin(ADA, "one", [0; 32]).await else {
            panic!("the call is not gone on with")
        };
        assert_eq!(codec::encode(&again), codec::encode(&caller()));
        receipt.write(State::Answered(stored("7"))).await.expect("there is room");
        drop((receipt, receipts));
        let receipts = open(folder.path(), ReceiptLimits::default());
        assert_eq!(refused(&receipts, ADA, "one", [9; 32]).await.code, "Q-G009");
        for _ in 0..2 {
            let Ok(Begun::Answered(again)) = receipts.begin(ADA, "one", [0; 32]).await else { panic!("no answer") };
            assert_eq!(again, stored("7"));
        }
    }

    #[tokio::test]
    async fn what_was_not_done_leaves_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = open(folder.path(), ReceiptLimits::default());
        drop(new(&receipts, ADA, "one").await);
        let receipt = new(&receipts, ADA, "one").await;
        receipt.write(State::Begun(caller())).await.expect("there is room");
        receipt.remove().await;
        drop(receipt);
        drop(new(&receipts, ADA, "one").await);
        assert!(receipts.lock().bearers.is_empty());
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "a folder is left");
    }

    #[tokio::test]
    async fn one_bearer_uses_up_its_own_share_and_all_together_theirs() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |records| Share { records, bytes: 10_000 };
        let limits = ReceiptLimits { of_bearer: of(2), of_all: of(3), ..ReceiptLimits::default() };
        let receipts = open(folder.path(), limits);
        for key in ["one", "two"] {
            let receipt = new(&receipts, ADA, key).await;
            receipt.write(State::Answered(stored("1"))).await.expect("there is room");
        }
        let full = refused(&receipts, ADA, "three", [0; 32]).await;
        assert_eq!((full.code, full.status), ("Q-G011", StatusCode::TOO_MANY_REQUESTS));
        assert!(full.retry_after.is_some_and(|seconds| seconds > 80_000), "{full:?}");
        // Keys that are there go on.
        assert!(matches!(receipts.begin(ADA, "two", [0; 32]).await, Ok(Begun::Answered(_))));
        let receipt = new(&receipts, BOB, "one").await;
        receipt.write(State::Answered(stored("1"))).await.expect("there is room");
        let full = refused(&receipts, [5; 32], "one", [0; 32]).await;
        assert_eq!((full.code, full.status), ("Q-G011", StatusCode::SERVICE_UNAVAILABLE));
        // By bytes, too, also of what was found at a start.
        drop((receipt, receipts));
        let of = |bytes| Share { records: 100, bytes };
        let limits = ReceiptLimits { of_bearer: of(60), of_all: of(10_000), ..ReceiptLimits::default() };
        assert_eq!(refused(&open(folder.path(), limits), ADA, "three", [0; 32]).await.code, "Q-G011");
    }

    #[tokio::test]
    async fn a_key_is_forgotten_by_its_age_alone_and_not_while_it_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = ReceiptLimits { kept_for: Duration::ZERO, ..ReceiptLimits::default() };
        let receipts = open(folder.path(), limits);
        let receipt = new(&receipts, ADA, "one").await;
        receipt.write(State::Answered(stored("1"))).await.expect("there is room");
        assert_eq!(refused(&receipts, ADA, "one", [0; 32]).await.code, "Q-G010");
        drop(receipt);
        drop(new(&receipts, ADA, "one").await);
        let left = fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(left, 0, "a file is left");
    }

    #[tokio::test]
    async fn a_record_that_is_damaged_keeps_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let receipts = open(folder.path(), ReceiptLimits::default());
        let receipt = new(&receipts, ADA, "one").await;
        receipt.write(State::Answered(stored("1"))).await.expect("there is room");
        let file = receipts.file(&receipt.bearer, &receipt.key);
        drop(receipt);
        for damage in [&b""[..], b"quorate-call/2\n", b"quorate-call/1\n\x03\x01"] {
            fs::write(&file, damage).expect("writable");
            let lost = refused(&receipts, ADA, "one", [0; 32]).await;
            assert_eq!((lost.code, lost.done), ("Q-G016", Done::Maybe));
        }
    }
}

//! Reads a replica's records on disk, to find damage before they are needed.
//!
//! Checks each log entry against the chain and each chunk of a checkpoint against its hash, and decodes all other
//! records. Fetches a damaged or missing chunk from other members, by its hash. Any other damaged record is something that this
//! member has promised to keep: the replica stops, and the fault stays until the member is repaired.
//!
//! Invariant: a vat that has no other member is not stopped, since its state in memory is all there is; its owner is told.
//!
//! Absent: the tables of the database, and records that belong to no vat any more: see `storage::scrub`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::lifecycle::Lifecycle;
use super::membership_view::Members;
use super::wire::pull::Puller;
use crate::error::StoreError;
use crate::execution::place::{Execution, blocking};
use crate::order::chain;
use crate::order::frames::WireEntry;
use crate::proof::certificate::Certificate;
use crate::raft::log::LogStore;
use crate::storage::checkpoints::{CheckpointRecord, Checkpoints};
use crate::storage::{Family, SCAN_BYTES, VatStore, read};
use quorate_ids::Hash;

/// Records that are read at once.
const RECORDS: usize = 32;
/// Chunks that are read at once.
const CHUNKS: usize = 16;
/// How often a log is read that seems to be damaged: it may be cut and written anew meanwhile.
const LOG_ATTEMPTS: u32 = 3;
/// The pause before it is read again.
const LOG_PAUSE: Duration = Duration::from_millis(200);
/// How the key of a certificate begins that is one of a statement.
const OF_STATEMENT: u8 = b's';

/// How fast is read. Clones are the same pace.
#[derive(Clone, Debug)]
pub struct ScrubPace(Arc<AtomicU64>);

impl ScrubPace {
    /// So many bytes in a second.
    pub fn new(bytes_per_second: u64) -> ScrubPace {
        ScrubPace(Arc::new(AtomicU64::new(bytes_per_second)))
    }

    /// So many from now on.
    pub fn set(&self, bytes_per_second: u64) {
        self.0.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Waits for as long as so many bytes may take.
    pub async fn spend(&self, bytes: u64) {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.load(Ordering::Relaxed).max(1));
        tokio::time::sleep(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))).await;
    }
}

/// What a scrub of one replica found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VatScrub {
    /// Bytes that were read.
    pub bytes: u64,
    /// Chunks that were damaged or gone, and came again from other members.
    pub fetched: u64,
    /// Chunks that are damaged or gone, and that no member has given.
    pub lost: u64,
    /// What else is damaged. The replica has stopped for it, if the vat has other members.
    pub damage: Option<String>,
}

/// See the head of the module.
pub(crate) struct Scrubber {
    pub(crate) store: VatStore,
    pub(crate) log: LogStore,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) puller: Arc<Puller>,
    pub(crate) members: Arc<Members>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) execution: Arc<dyn Execution>,
}

impl Scrubber {
    /// Reads everything once.
    ///
    /// # Errors
    /// The store fails in another way than by damage.
    pub(crate) async fn run(&self, pace: &ScrubPace) -> Result<VatScrub, StoreError> {
        let mut found = VatScrub::default();
        if self.lifecycle.is_stopped() {
            return Ok(found);
        }
        let checked = match self.check_log(pace, &mut found.bytes).await {
            Ok(()) => self.check_records(pace, &mut found.bytes).await,
            failed => failed,
        };
        if let Err(error) = checked {
            found.damage = Some(words(&error)?);
        }
        self.check_chunks(pace, &mut found).await?;
        if let Some(damage) = &found.damage
            && !self.lifecycle.is_stopped()
        {
            tracing::error!(vat = %self.store.vat(), code = "Q-C049", %damage, "what a replica has on disk is damaged");
            if self.members.view().newest().members.len() > 1 {
                self.lifecycle.fault(format!(
                    "Q-C049 what this replica has on disk is damaged ({damage}); have it fetched again from the other members: `vat member repair`"
                ));
            }
        }
        Ok(found)
    }

    async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        blocking(self.execution.as_ref(), work).await.unwrap_or_else(|error| Err(StoreError::Io(error)))
    }

    async fn check_log(&self, pace: &ScrubPace, bytes: &mut u64) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let checked = self.read_log(pace, bytes).await;
            if checked.is_ok() || attempt == LOG_ATTEMPTS || self.lifecycle.is_stopped() {
                return checked;
            }
            attempt += 1;
            tokio::time::sleep(LOG_PAUSE).await;
        }
    }

    async fn read_log(&self, pace: &ScrubPace, bytes: &mut u64) -> Result<(), StoreError> {
        let mut at = None;
        loop {
            let (store, log) = (self.store.clone(), self.log.clone());
            let piece = self.block(move || read_entries(&store, &log, at)).await?;
            *bytes += piece.bytes;
            pace.spend(piece.bytes).await;
            if piece.is_end || self.lifecycle.is_stopped() {
                return Ok(());
            }
            at = piece.at;
        }
    }

    async fn check_records(&self, pace: &ScrubPace, bytes: &mut u64) -> Result<(), StoreError> {
        for family in [Family::State, Family::Checkpoint, Family::Certificate, Family::Evidence] {
            let (mut from, end) = self.store.bounds();
            loop {
                let (store, begin, to) = (self.store.clone(), from.clone(), end.clone());
                let work = move || {
                    let records = store.scan(family, &begin, &to, RECORDS)?;
                    let own = store.key(&[]).len();
                    records.iter().try_for_each(|(key, value)| decode(family, &key[own..], value))?;
                    let read: usize = records.iter().map(|(key, value)| key.len() + value.len()).sum();
                    Ok((records.last().map(|(key, _)| key.clone()), read as u64))
                };
                let (last, read) = self.block(work).await?;
                *bytes += read;
                pace.spend(read).await;
                let Some(mut next) = last else { break };
                next.push(0);
                from = next;
                if self.lifecycle.is_stopped() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn check_chunks(&self, pace: &ScrubPace, found: &mut VatScrub) -> Result<(), StoreError> {
        let mut damaged = Vec::new();
        for piece in self.checkpoints.named().into_iter().collect::<Vec<_>>().chunks(CHUNKS) {
            let (bytes, bad) = self.read_chunks(piece.to_vec()).await?;
            damaged.extend(bad);
            found.bytes += bytes;
            pace.spend(bytes).await;
            if self.lifecycle.is_stopped() {
                return Ok(());
            }
        }
        // A checkpoint that was given up meanwhile needs none any more.
        let is_needed = |hash: &Hash| self.checkpoints.named().contains(hash);
        damaged.retain(is_needed);
        if damaged.is_empty() {
            return Ok(());
        }
        tracing::error!(vat = %self.store.vat(), code = "Q-C049", chunks = damaged.len(), "chunks of checkpoints are damaged; other members are asked for them");
        self.puller.fetch(&damaged).await;
        let (_, mut lost) = self.read_chunks(damaged.clone()).await?;
        lost.retain(is_needed);
        found.lost = lost.len() as u64;
        found.fetched = damaged.len() as u64 - found.lost;
        if found.lost > 0 {
            tracing::error!(vat = %self.store.vat(), code = "Q-C049", chunks = found.lost, "no member has given them");
        }
        Ok(())
    }

    /// Bytes that were read, and the chunks that can't be read, have another content, or are gone.
    async fn read_chunks(&self, chunks: Vec<Hash>) -> Result<(u64, Vec<Hash>), StoreError> {
        let checkpoints = Arc::clone(&self.checkpoints);
        self.block(move || {
            let (mut bytes, mut bad) = (0, Vec::new());
            for hash in chunks {
                match checkpoints.chunk(&hash) {
                    Ok(Some(content)) => bytes += content.len() as u64,
                    Ok(None) => bad.push(hash),
                    Err(error) => {
                        words(&error)?;
                        bad.push(hash);
                    }
                }
            }
            Ok((bytes, bad))
        })
        .await
    }
}

/// Returns what is damaged, in words. Any other error is passed on.
fn words(error: &StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt { what, error } => Ok(format!("{what}: {error}")),
        // A sector that the disk can't read.
        StoreError::Io(error) if error.contains(".sst") => Ok(error.clone()),
        other => Err(other.clone()),
    }
}

fn decode(family: Family, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match family {
        Family::Checkpoint => read::<CheckpointRecord>(family, value).map(|_| ()),
        Family::Certificate if key.first() == Some(&OF_STATEMENT) => read::<Certificate>(family, value).map(|_| ()),
        _ => Ok(()),
    }
}

/// A piece of a log that was read.
struct LogPiece {
    bytes: u64,
    /// The last entry, and the chain after it.
    at: Option<(u64, Hash)>,
    is_end: bool,
}

/// Reads entries after `at`, and checks that each continues the chain.
fn read_entries(store: &VatStore, log: &LogStore, at: Option<(u64, Hash)>) -> Result<LogPiece, StoreError> {
    let damaged = |error: String| StoreError::Corrupt { what: "log", error };
    let flushed = *log.flushed().borrow();
    let records = store.scan_log(at.map_or(0, |(index, _)| index + 1), None, SCAN_BYTES)?;
    let mut piece = LogPiece { bytes: 0, at, is_end: records.is_empty() };
    for (key, value) in records {
        let (chain, entry): (Hash, WireEntry) = read(Family::Log, &value)?;
        let index = entry.position().index;
        if key != store.numbered(index) {
            return Err(damaged(format!("entry {index} is in the place of another one")));
        }
        let before = match piece.at {
            _ if index == 0 => Some(chain::root(&store.vat())),
            Some((last, chain)) if last + 1 == index => Some(chain),
            // It was cut there.
            _ if log.ends().1 + 1 >= index => log.chain(index - 1).ok(),
            _ => return Err(damaged(format!("entry {} is not there", index - 1))),
        };
        if before.is_some_and(|before| chain::next(&before, &entry) != chain) {
            return Err(damaged(format!("entry {index} is not what the chain says")));
        }
        piece.bytes += (key.len() + value.len()) as u64;
        piece.at = Some((index, chain));
    }
    if piece.is_end {
        let (last, purged) = log.ends();
        let (has, should) = (piece.at.map_or(purged, |(index, _)| index.max(purged)), last.min(flushed));
        if has < should {
            return Err(damaged(format!("entry {} is not there", has + 1)));
        }
    }
    Ok(piece)
}

impl Checkpoints {
    /// The chunks that the checkpoints here name.
    fn named(&self) -> BTreeSet<Hash> {
        self.records().iter().flat_map(|record| record.chunks.iter().copied()).collect()
    }
}

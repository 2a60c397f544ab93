//! Openraft's log storage over a vat's part of a store.
//!
//! Invariants: an entry is readable when `append` returns, and the callback runs after it is on disk. Votes, entries,
//! truncations and purges go through one write-ahead log in the order in which Raft gives them. There is never a hole. The record of each entry holds
//! the chain over the log (`order::chain`); where the log was cut, the record of the cut holds it.
//!
//! Recent entries stay in memory, as replication and execution read them right after they were written. `append` writes to RocksDB in the
//! calling task. That is a copy into memory and into the page cache; handing it to another thread would cost more.

use futures::stream::{self, Stream, StreamExt};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::{oneshot, watch};

use super::gate::{OrderGate, Turning, head, turn};
use super::types::{Entry, LogId, TypeConfig, Vote, log_id, position};
use crate::codec;
use crate::error::StoreError;
use crate::order::chain;
use crate::order::frames::{WireEntry, WireVote};
use crate::state::LogPosition;
use crate::stats::StatsCell;
use crate::storage::{Family, SCAN_BYTES, VOTE, VatStore, Write, read};
use quorate_ids::Hash;
use quorate_order::chain::{Head, Point, next_chain};

/// Bytes of recent entries that are kept in memory.
const CACHE_BYTES: usize = 8 << 20;

/// Hashes of the chain that are kept in memory.
const CACHED_CHAIN: usize = 4_096;

/// An entry as it is stored: with the chain after it.
type StoredEntry = (Hash, WireEntry);

/// A place in the log, and the chain up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Link {
    pub(crate) log: LogPosition,
    pub(crate) chain: Hash,
}

#[derive(Default)]
struct Inner {
    purged: Option<Link>,
    last: Option<LogPosition>,
    cache: BTreeMap<u64, (Entry, usize)>,
    cached_bytes: usize,
    /// The chain after recent entries.
    chains: BTreeMap<u64, Hash>,
    /// How often entries were taken away, or chained anew: what was read of the store before that is not to be remembered.
    rewrites: u64,
    /// The chain at a checkpoint's block, which the log may be cut at though it is not there.
    anchor: Option<(u64, Hash)>,
    vote: Option<WireVote>,
}

impl Inner {
    fn purged_log(&self) -> Option<LogPosition> {
        self.purged.map(|purged| purged.log)
    }

    /// Remembers what was read of the store, unless it may have been written anew since: `rewrites` is the count before reading.
    fn note_read_chain(&mut self, index: u64, chain: Hash, rewrites: u64) {
        if self.rewrites == rewrites {
            self.note_chain(index, chain);
        }
    }

    fn note_chain(&mut self, index: u64, chain: Hash) {
        self.chains.insert(index, chain);
        while self.chains.len() > CACHED_CHAIN {
            self.chains.pop_first();
        }
    }
}

struct Shared {
    store: VatStore,
    inner: Mutex<Inner>,
    flushed: watch::Sender<u64>,
    stats: Arc<StatsCell>,
    /// Told of all that changes. None in tests of the log alone.
    gate: OnceLock<Arc<OrderGate>>,
    /// Openraft's suite leaves holes and cuts where nothing was. Nothing else does.
    #[cfg(any(test, feature = "testing"))]
    may_have_holes: std::sync::atomic::AtomicBool,
}

impl Shared {
    /// The log is on disk through this index, as far as it was not cut since.
    fn mark_flushed(&self, index: u64) -> Result<(), StoreError> {
        // Held until it is marked: a cut that comes meanwhile marks less, after this.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let last = inner.last.map_or(0, |last| last.index).min(index);
        self.store.set_mark(|mark| mark.log = mark.log.max(last), false)
    }
}

/// See the head of the module. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

impl LogStore {
    /// Loads the ends of the log.
    pub(crate) fn open(store: VatStore, stats: Arc<StatsCell>) -> Result<Self, StoreError> {
        let purged: Option<Link> = store.named("purged")?;
        let purged_log = purged.map(|purged| purged.log);
        let last = match store.last(Family::Log)? {
            None => purged_log,
            Some((_, value)) => {
                let (_, entry): StoredEntry = read(Family::Log, &value)?;
                Some(entry.position()).max(purged_log)
            }
        };
        let stored: Option<WireVote> = store.named(VOTE)?;
        // The database may have lost what the mark has kept, which is written before it.
        let marked = store.mark().and_then(|mark| mark.vote);
        let marked = marked.map(|(term, node, committed)| WireVote { term, node, committed });
        let vote = stored.into_iter().chain(marked).max_by_key(|vote| (vote.term, vote.node, vote.committed));
        let inner = Inner { purged, last, vote, ..Inner::default() };
        let (flushed, _) = watch::channel(last.map_or(0, |last| last.index));
        Ok(Self(Arc::new(Shared {
            store,
            inner: Mutex::new(inner),
            flushed,
            stats,
            gate: OnceLock::new(),
            #[cfg(any(test, feature = "testing"))]
            may_have_holes: Default::default(),
        })))
    }

    /// From now on the gate is told of all that changes.
    pub(crate) fn guarded_by(&self, gate: Arc<OrderGate>) {
        // It is set once, when the replica starts.
        let _ = self.0.gate.set(gate);
    }

    /// The term of the vote.
    pub(super) fn vote_term(&self) -> u64 {
        self.lock().vote.map_or(0, |vote| vote.term)
    }

    /// Returns where the log was cut.
    pub(super) fn purged_point(&self) -> Option<Point> {
        self.lock().purged.map(|Link { log, chain }| Point { term: log.term, index: log.index, chain })
    }

    /// Shows each entry from an index on.
    ///
    /// # Errors
    /// The store fails, or an entry is damaged.
    pub(super) fn each_entry(&self, from: u64, mut show: impl FnMut(&WireEntry)) -> Result<(), StoreError> {
        let store = &self.0.store;
        let mut next = from;
        loop {
            let records = store.scan_log(next, None, SCAN_BYTES)?;
            if records.is_empty() {
                return Ok(());
            }
            for (_, value) in records {
                let (_, entry): StoredEntry = read(Family::Log, &value)?;
                next = entry.position().index + 1;
                show(&entry);
            }
        }
    }

    /// From now on a hole is no fault.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn allow_holes(&self) {
        self.0.may_have_holes.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// The chain after the entry at `index`, or where the log was cut.
    ///
    /// # Errors
    /// The store fails, or the entry is not in the log.
    pub(crate) fn chain(&self, index: u64) -> Result<Hash, StoreError> {
        {
            let inner = self.lock();
            if let Some(purged) = inner.purged.filter(|purged| purged.log.index == index) {
                return Ok(purged.chain);
            }
            if let Some(chain) = inner.chains.get(&index) {
                return Ok(*chain);
            }
        }
        if let Some((chain, _)) = self.0.store.get::<StoredEntry>(Family::Log, &self.0.store.numbered(index))? {
            return Ok(chain);
        }
        #[cfg(any(test, feature = "testing"))]
        if self.0.may_have_holes.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(Hash::ZERO);
        }
        Err(StoreError::Corrupt { what: "log", error: format!("entry {index} is not there") })
    }

    /// The chain before the entry at `index`.
    fn chain_before(&self, index: u64) -> Result<Hash, StoreError> {
        index.checked_sub(1).map_or_else(|| Ok(chain::root(&self.0.store.vat())), |before| self.chain(before))
    }

    /// Says what the chain is at a checkpoint's block, before Raft cuts the log there: the entry itself may never have come.
    pub(crate) fn anchor(&self, block: u64, chain: Hash) {
        self.lock().anchor = Some((block, chain));
    }

    /// Gives the entries from `index` on another chain: what came before them is not what this host was told.
    fn chain_anew(&self, index: u64, mut chain: Hash) -> Result<(), StoreError> {
        let store = &self.0.store;
        let mut next = index;
        loop {
            let records = store.scan_log(next, None, SCAN_BYTES)?;
            let mut batch = Vec::new();
            for (key, value) in records {
                let (_, entry): StoredEntry = read(Family::Log, &value)?;
                chain = chain::next(&chain, &entry);
                next = entry.position().index + 1;
                batch.push(Write::Put(Family::Log, key, codec::encode(&(chain, &entry))));
            }
            if batch.is_empty() {
                let mut inner = self.lock();
                inner.chains.clear();
                inner.rewrites += 1;
                return Ok(());
            }
            store.write(batch)?;
        }
    }

    /// Raft's vote.
    pub(crate) fn vote(&self) -> Option<WireVote> {
        self.lock().vote
    }

    /// Follows the index up to which the log is on disk.
    pub(crate) fn flushed(&self) -> watch::Receiver<u64> {
        self.0.flushed.subscribe()
    }

    /// Last and purged index.
    pub(crate) fn ends(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.last.map_or(0, |last| last.index), inner.purged.map_or(0, |purged| purged.log.index))
    }

    /// The last place.
    pub(super) fn last(&self) -> Option<LogPosition> {
        self.lock().last
    }

    /// The place of the entry at an index, or of where the log was cut.
    pub(super) fn position(&self, index: u64) -> Option<LogPosition> {
        if let Some(purged) = self.lock().purged_log().filter(|purged| purged.index == index) {
            return Some(purged);
        }
        // What can't be read is found to be damaged where it is needed.
        let found = self.read(index, index + 1, SCAN_BYTES).ok()?;
        found.first().map(|entry| position(&entry.log_id))
    }

    /// Begins an empty log with this entry, on disk when it returns. Returns whether it was empty; if not, nothing is done.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn begin(&self, first: &WireEntry) -> Result<bool, StoreError> {
        if self.lock().last.is_some() {
            return Ok(false);
        }
        let (at, store) = (first.position(), &self.0.store);
        let chain = chain::next(&self.chain_before(at.index)?, first);
        store.write_synced(vec![Write::Put(Family::Log, store.numbered(at.index), codec::encode(&(chain, first)))])?;
        let mut inner = self.lock();
        inner.last = Some(at);
        inner.note_chain(at.index, chain);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes, and returns when it is on disk.
    async fn write_flushed(&self, batch: Vec<Write>) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        let flushed = Box::new(move |result| {
            // Nobody waits any more only if Raft was shut down.
            let _ = sender.send(result);
        });
        self.0.store.write_then(batch, flushed).map_err(io::Error::other)?;
        receiver.await.map_err(|_| io::Error::other("the store dropped a flush"))?
    }

    /// Entries from `from` up to `to`, which is left out: as many as there are and go into `budget` bytes, and at least one if
    /// there is one.
    pub(super) fn read(&self, from: u64, to: u64, budget: usize) -> Result<Vec<Entry>, io::Error> {
        let (from, to, rewrites) = {
            let inner = self.lock();
            let first = inner.purged.map_or(0, |purged| purged.log.index + 1);
            let end = inner.last.map_or(0, |last| last.index + 1);
            let (from, to) = (from.max(first), to.min(end));
            if from >= to {
                return Ok(Vec::new());
            }
            if inner.cache.first_key_value().is_some_and(|(oldest, _)| *oldest <= from) {
                return Ok(take_budget(inner.cache.range(from..to).map(|(_, entry)| entry.clone()), budget));
            }
            (from, to, inner.rewrites)
        };
        let store = &self.0.store;
        let mut found = Vec::new();
        let mut next = from;
        let mut bytes = 0;
        while next < to {
            // What is read beyond the budget is thrown away, and entries may be large.
            let room = budget.saturating_sub(bytes).min(SCAN_BYTES);
            let records = store.scan_log(next, Some(to), room).map_err(io::Error::other)?;
            if records.is_empty() {
                break;
            }
            for (_, value) in records {
                bytes += value.len();
                if bytes > budget && !found.is_empty() {
                    return Ok(found);
                }
                let (chain, entry): StoredEntry = read(Family::Log, &value).map_err(io::Error::other)?;
                let index = entry.position().index;
                self.lock().note_read_chain(index, chain, rewrites);
                found.push(into_entry(entry).map_err(io::Error::other)?);
                next = index + 1;
            }
        }
        Ok(found)
    }
}

fn take_budget(entries: impl Iterator<Item = (Entry, usize)>, budget: usize) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for (entry, size) in entries {
        bytes += size;
        if bytes > budget && !found.is_empty() {
            break;
        }
        found.push(entry);
    }
    found
}

fn into_entry(entry: WireEntry) -> Result<Entry, StoreError> {
    entry.into_entry().map_err(|error| StoreError::Corrupt { what: "log", error: error.to_string() })
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote.map(Vote::from))
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let runs = stream::unfold((self.clone(), from), move |(log, next)| async move {
            if next >= to {
                return None;
            }
            let (items, after): (Vec<Result<Entry, io::Error>>, u64) = match log.read(next, to, SCAN_BYTES) {
                Ok(entries) => {
                    // What is not in the log (any more, or yet) is left out, at the ends only.
                    let after = entries.last()?.log_id.index + 1;
                    (entries.into_iter().map(Ok).collect(), after)
                }
                Err(error) => (vec![Err(error)], to),
            };
            Some((stream::iter(items), (log, after)))
        });
        Box::pin(runs.flatten())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, SCAN_BYTES)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let inner = self.lock();
        Ok(LogState { last_purged_log_id: inner.purged_log().map(log_id), last_log_id: inner.last.map(log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let wire = WireVote::from(vote);
        // That a quorum agreed to it binds nobody further.
        let before = self.lock().vote.map(|vote| (vote.term, vote.node));
        if before != Some((wire.term, wire.node)) {
            let WireVote { term, node, committed } = wire;
            self.0.store.set_mark(|mark| mark.note_vote(term, node, committed), true).map_err(io::Error::other)?;
        }
        let mut batch = vec![self.0.store.put_named(VOTE, &wire)];
        batch.extend(self.0.gate.get().map(|gate| gate.saves_vote(&wire)).unwrap_or_default());
        self.write_flushed(batch).await?;
        self.lock().vote = Some(wire);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Not synced: it only spares a restart some waiting, and what it claims is below what is synced.
        let committed = committed.as_ref().map(position);
        self.0.store.write(vec![self.0.store.put_named("committed", &committed)]).map_err(io::Error::other)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed: Option<Option<LogPosition>> = self.0.store.named("committed").map_err(io::Error::other)?;
        // A crash may keep the claim and lose entries that were not synced; what is not there cannot be executed.
        let last = self.lock().last;
        let committed = committed.flatten().filter(|committed| Some(*committed) <= last);
        // What openraft has taken for committed was executed only as far as its order was proven.
        let proven = self.0.gate.get().map_or(committed, |gate| gate.clamp(committed));
        Ok(proven.map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let store = &self.0.store;
        let mut batch = Vec::new();
        let mut written = Vec::new();
        let mut chains: Vec<(u64, Hash)> = Vec::new();
        let mut heads: Vec<(Point, Head)> = Vec::new();
        let mut turns: Vec<Turning> = Vec::new();
        for entry in entries {
            let wire = WireEntry::from(&entry);
            let index = entry.log_id.index;
            let before = match chains.last() {
                Some((last, chain)) if last + 1 == index => *chain,
                _ => self.chain_before(index).map_err(io::Error::other)?,
            };
            let head = head(&wire);
            let chain = next_chain(&before, index, &head);
            let bytes = codec::encode(&(chain, &wire));
            let size = bytes.len();
            batch.push(Write::Put(Family::Log, store.numbered(index), bytes));
            heads.push((Point { term: entry.log_id.leader_id.term, index, chain }, head));
            turns.extend(turn(&wire).map(|turn| (index, chain, turn)));
            written.push((entry, size));
            chains.push((index, chain));
        }
        let Some(last) = written.last().map(|(entry, _)| position(&entry.log_id)) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        batch.extend(self.0.gate.get().map(|gate| gate.mirrored(&heads, turns)).unwrap_or_default());
        {
            let mut inner = self.lock();
            inner.last = Some(last);
            for (index, chain) in chains {
                inner.note_chain(index, chain);
            }
            for (entry, size) in written {
                inner.cached_bytes += size;
                if let Some((_, old)) = inner.cache.insert(entry.log_id.index, (entry, size)) {
                    inner.cached_bytes -= old;
                }
            }
            while inner.cached_bytes > CACHE_BYTES && inner.cache.len() > 1 {
                if let Some((_, (_, size))) = inner.cache.pop_first() {
                    inner.cached_bytes -= size;
                }
            }
        }
        let shared = Arc::clone(&self.0);
        let began = Instant::now();
        let flushed = Box::new(move |result: Result<(), io::Error>| {
            let result = result.and_then(|()| shared.mark_flushed(last.index).map_err(io::Error::other));
            if result.is_ok() {
                shared.flushed.send_if_modified(|index| std::mem::replace(index, last.index) != last.index);
                shared.gate.get().into_iter().for_each(|gate| gate.flushed(last.index));
                shared.stats.update(|stats| stats.log_flush.record(began.elapsed()));
            }
            callback.io_completed(result);
        });
        self.0.store.write_then(batch, flushed).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let first = last_log_id.as_ref().map_or(0, |id| id.index + 1);
        let (_, end) = self.0.store.bounds();
        {
            let mut inner = self.lock();
            let removed: usize = inner.cache.split_off(&first).values().map(|(_, size)| size).sum();
            inner.cached_bytes -= removed;
            inner.chains.split_off(&first);
            inner.rewrites += 1;
            inner.last = last_log_id.as_ref().map(position).min(inner.last).max(inner.purged_log());
            // Before it is cut, or a start would take what was cut on purpose for lost. Nobody counts on it any more.
            let last = inner.last.map_or(0, |last| last.index);
            self.0.store.set_mark(|mark| mark.log = mark.log.min(last), true).map_err(io::Error::other)?;
        }
        let batch = vec![Write::DeleteRange(Family::Log, self.0.store.numbered(first), end)];
        self.write_flushed(batch).await?;
        let last = first.saturating_sub(1);
        self.0.flushed.send_if_modified(|index| {
            let lower = last < *index;
            *index = last.min(*index);
            lower
        });
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let log = position(&log_id);
        let anchored = self.lock().anchor.filter(|(block, _)| *block == log.index).map(|(_, chain)| chain);
        let chain = match anchored {
            None => self.chain(log.index).map_err(io::Error::other)?,
            Some(chain) => {
                if self.chain(log.index).is_ok_and(|own| own != chain) {
                    self.chain_anew(log.index + 1, chain).map_err(io::Error::other)?;
                }
                chain
            }
        };
        let purged = Link { log, chain };
        {
            let mut inner = self.lock();
            let kept = inner.cache.split_off(&(log.index + 1));
            inner.cached_bytes = kept.values().map(|(_, size)| size).sum();
            inner.cache = kept;
            inner.chains = inner.chains.split_off(&(log.index + 1));
            inner.rewrites += 1;
            inner.purged = inner.purged.max(Some(purged));
            inner.last = inner.last.max(Some(log));
        }
        let store = &self.0.store;
        let (from, _) = store.bounds();
        let mut batch = vec![
            Write::DeleteRange(Family::Log, from, store.numbered(log.index + 1)),
            store.put_named("purged", &purged),
        ];
        let at = Point { term: log.term, index: log.index, chain };
        batch.extend(self.0.gate.get().map(|gate| gate.purged(at)).unwrap_or_default());
        self.write_flushed(batch).await?;
        // What a checkpoint covers need not come any more.
        self.0.flushed.send_if_modified(|index| {
            let higher = log.index > *index;
            *index = log.index.max(*index);
            higher
        });
        Ok(())
    }
}

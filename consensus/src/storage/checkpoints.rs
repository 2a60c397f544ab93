//! Checkpoints of one vat in the store: staged when made, promoted when certified, received from others, restored from.
//!
//! Invariants: a record is written after all chunks that it names, in the same write-ahead log, so a record that is there is
//! complete; a chunk is removed only when no record names it; at most one checkpoint is certified, all others are newer than
//! it; what others receive is the certified one. All calls block shortly and are serialised by one lock.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::codec::{self, Blob, MAX_MANIFEST_BYTES, MAX_SNAPSHOT_FRAME_BYTES};
use crate::error::{ConsensusError, MachineFault, StoreError};
use crate::proof::certificate::{Certificate, Statement, verify_certificate};
use crate::proof::membership::Membership;
use crate::state::{ReplicatedState, state_root};
use crate::stats::{CheckpointSize, StatsCell};
use crate::storage::archive::{Archive, ArchiveOptions};
use crate::storage::{Family, VatStore, Write, read};
use quorate_ids::{Hash, VatId};

/// Uncertified checkpoints that are kept. More come together only while too few members are up to certify any.
const MAX_STAGED: usize = 4;
/// Checkpoints that are received at once: the newest that were shown.
const MAX_RECEIVING: usize = 2;
/// Bytes of chunks that are written, and synced, at a time. A caller that waits for a sync of the log, of this vat or another one, waits for so much of
/// a checkpoint at most.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of the largest record: it must fit a frame of [`Channel::Snapshot`](crate::Channel), beside the chain of memberships.
const MAX_RECORD_BYTES: usize = MAX_SNAPSHOT_FRAME_BYTES - (128 << 10);
/// Largest chunk that is accepted from others.
pub(crate) const MAX_CHUNK_BYTES: usize = 1 << 20;

/// What a manifest says, without restoring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// The root that follows from the manifest: computed, not read from it.
    pub root: Hash,
    /// All chunks that a restore needs.
    pub chunks: Vec<Hash>,
}

/// A checkpoint just made.
pub(crate) struct CheckpointDraft {
    pub(crate) state: Blob,
    pub(crate) machine_root: Hash,
    pub(crate) manifest: Blob,
    /// All chunks that it needs, apart from those that every host has.
    pub(crate) chunks: Vec<Hash>,
    pub(crate) new_chunks: Vec<(Hash, Vec<u8>)>,
    pub(crate) statement: Statement,
    pub(crate) took: Duration,
}

/// What is stored, and sent, of a checkpoint beside its chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointRecord {
    pub(crate) state: Blob,
    pub(crate) machine_root: Hash,
    pub(crate) manifest: Blob,
    pub(crate) chunks: Vec<Hash>,
    pub(crate) statement: Statement,
    pub(crate) certificate: Option<Certificate>,
}

impl CheckpointRecord {
    pub(crate) fn block(&self) -> u64 {
        self.statement.block
    }

    /// The replicated state right after the checkpoint's block.
    pub(crate) fn restored_state(&self) -> Result<ReplicatedState, String> {
        let mut state = ReplicatedState::decode(&self.state.0).map_err(|error| error.to_string())?;
        if state.last_log.map(|position| position.index) != Some(self.block()) {
            return Err("the state of the checkpoint is of another block".into());
        }
        state.last_statement = self.statement.hash();
        state.note_statement(self.block(), state.last_statement);
        Ok(state)
    }

    /// Checks all that can be checked without the chunks, and returns which chunks the manifest names: which of them the record
    /// names is certified by nobody. `membership` is that of the statement's epoch.
    pub(crate) fn verify(&self, membership: &Membership, describe: Describe) -> Result<Vec<Hash>, String> {
        let certificate = self.certificate.as_ref().ok_or("the checkpoint has no certificate")?;
        verify_certificate(certificate, membership).map_err(|error| error.to_string())?;
        if certificate.statement != self.statement {
            return Err("the certificate is for another statement".into());
        }
        if self.manifest.0.len() > MAX_MANIFEST_BYTES {
            return Err(format!("the manifest is over {MAX_MANIFEST_BYTES} bytes"));
        }
        if self.statement.state_root != Some(state_root(&self.state.0, &self.machine_root)) {
            return Err("the state does not match the certified root".into());
        }
        let described = describe(&self.manifest.0).map_err(|error| error.to_string())?;
        if described.root != self.machine_root {
            return Err("the manifest does not match the certified root".into());
        }
        let state = self.restored_state()?;
        if state.membership.epoch != self.statement.epoch || state.membership.hash() != membership.hash() {
            return Err("the state is of another membership than its certificate".into());
        }
        Ok(described.chunks)
    }
}

/// Reads a manifest: the machine's `describe`.
pub(crate) type Describe = fn(&[u8]) -> Result<ManifestInfo, MachineFault>;

#[derive(Default)]
struct Inner {
    /// The chunks that are stored, and their bytes as far as they were read or written in this process.
    known: BTreeMap<Hash, Option<usize>>,
    staged: BTreeMap<u64, Arc<CheckpointRecord>>,
    certified: Option<Arc<CheckpointRecord>>,
    previous_certified: u64,
    /// The chunks of the checkpoints that are being received, by their blocks.
    receiving: BTreeMap<u64, BTreeSet<Hash>>,
}

impl Inner {
    /// Returns whether there is a certified checkpoint at or after this block.
    fn is_covered(&self, block: u64) -> bool {
        self.certified.as_ref().is_some_and(|certified| certified.block() >= block)
    }

    /// Notes a chunk that is stored. `false`: it was already.
    fn note(&mut self, hash: Hash, content: &[u8]) -> bool {
        self.known.insert(hash, Some(content.len())).is_none()
    }

    /// Returns what a checkpoint takes in bytes, with the chunks that it shares with others.
    fn bytes_of(&self, record: &CheckpointRecord) -> usize {
        let chunks: BTreeSet<&Hash> = record.chunks.iter().collect();
        let bytes = chunks.into_iter().filter_map(|hash| self.known.get(hash).copied().flatten());
        record.manifest.0.len() + record.state.0.len() + bytes.sum::<usize>()
    }
}

/// See the head of the module.
pub(crate) struct Checkpoints {
    store: VatStore,
    describe: Describe,
    stats: Arc<StatsCell>,
    archive: Option<Archive>,
    inner: Mutex<Inner>,
}

impl Checkpoints {
    /// Loads what the store has, and removes chunks that a crash left without a record.
    pub(crate) fn load(
        store: VatStore,
        describe: Describe,
        stats: Arc<StatsCell>,
        archive: Option<ArchiveOptions>,
    ) -> Result<Self, ConsensusError> {
        let known = store.chunk_hashes()?.into_iter().map(|hash| (hash, None)).collect();
        let mut inner = Inner { known, ..Inner::default() };
        let (from, to) = store.bounds();
        for (_, value) in store.scan(Family::Checkpoint, &from, &to, usize::MAX)? {
            let record: CheckpointRecord = read(Family::Checkpoint, &value)?;
            let record = Arc::new(record);
            if record.certificate.is_some() {
                inner.staged.retain(|block, _| *block > record.block());
                inner.certified = Some(record);
            } else {
                inner.staged.insert(record.block(), record);
            }
        }
        let archive = archive.map(|options| Archive::new(options, store.vat(), Arc::clone(&stats)));
        let checkpoints = Self { store, describe, stats, archive, inner: Mutex::new(inner) };
        checkpoints.collect(&mut checkpoints.lock())?;
        Ok(checkpoints)
    }

    /// The newest checkpoint, certified or not.
    pub(crate) fn newest(&self) -> Option<Arc<CheckpointRecord>> {
        let inner = self.lock();
        inner.staged.last_key_value().map(|(_, record)| Arc::clone(record)).or_else(|| inner.certified.clone())
    }

    /// The certified checkpoint.
    pub(crate) fn certified(&self) -> Option<Arc<CheckpointRecord>> {
        self.lock().certified.clone()
    }

    /// The block up to which the log may be cut: that of the certified checkpoint before the present one, so that a member that is
    /// receiving the present one finds the log after it for one whole interval more. Less, where blocks before it are not archived yet.
    pub(crate) fn purge_block(&self) -> u64 {
        let block = self.lock().previous_certified;
        self.archive.as_ref().map_or(block, |archive| archive.cut(block))
    }

    /// Archives the log, if this host does that, before another checkpoint takes the place of the certified one: up to that one's block, and
    /// further, up to `through`, if a checkpoint of others is to come. What fails is counted.
    pub(crate) fn archive(&self, through: Option<u64>) {
        let (Some(archive), certified) = (&self.archive, self.certified()) else { return };
        let certified = certified.as_deref();
        let block = certified.map(CheckpointRecord::block);
        // Outside of the lock: others need the checkpoint meanwhile.
        if let Some(through) = through.max(block) {
            archive.advance(&self.store, through, certified, &|hash| self.chunk(hash));
        }
    }

    pub(crate) fn describe(&self) -> Describe {
        self.describe
    }

    /// Stores a checkpoint just made. On disk when it returns. One that a later certified checkpoint covers is left out: that one
    /// was received from others while this one waited, and chunks that only this one names may be gone.
    pub(crate) fn stage(&self, draft: CheckpointDraft) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut inner = self.lock();
        if inner.is_covered(draft.statement.block) {
            return Ok(());
        }
        let mut bytes = draft.manifest.0.len() + draft.state.0.len();
        let mut batch = Vec::new();
        let mut batched = 0;
        for (hash, content) in draft.new_chunks {
            if !inner.note(hash, &content) {
                continue;
            }
            bytes += content.len();
            batched += content.len();
            batch.push(Write::Put(Family::Chunk, self.store.key(&hash.0), content));
            if batched >= BATCH_BYTES {
                self.store.write_synced(std::mem::take(&mut batch))?;
                batched = 0;
            }
        }
        if let Some(missing) = draft.chunks.iter().find(|hash| !inner.known.contains_key(hash)) {
            let error = format!("chunk {missing} of the checkpoint at block {} was never given", draft.statement.block);
            return Err(StoreError::Corrupt { what: "chunk", error });
        }
        let record = Arc::new(CheckpointRecord {
            state: draft.state,
            machine_root: draft.machine_root,
            manifest: draft.manifest,
            chunks: draft.chunks,
            statement: draft.statement,
            certificate: None,
        });
        let block = record.block();
        let encoded = codec::encode(&*record);
        if encoded.len() > MAX_RECORD_BYTES {
            let error = format!("the checkpoint at block {block} has a record of {} bytes", encoded.len());
            return Err(StoreError::Corrupt { what: "checkpoint", error });
        }
        batch.push(Write::Put(Family::Checkpoint, self.store.numbered(block), encoded));
        self.store.write_synced(batch)?;
        let whole = inner.bytes_of(&record);
        inner.staged.insert(block, record);
        if inner.staged.len() > MAX_STAGED {
            // The oldest is the likeliest to be certified next and the newest the best to restart from: one between goes.
            let second = inner.staged.keys().nth(1).copied();
            if let Some(second) = second {
                inner.staged.remove(&second);
                self.store.write(vec![Write::Delete(Family::Checkpoint, self.store.numbered(second))])?;
            }
        }
        self.collect(&mut inner)?;
        self.stats.update(|stats| {
            stats.checkpoints += 1;
            stats.checkpoint_bytes += bytes as u64;
            stats.newest_checkpoint = CheckpointSize { whole: whole as u64, new: bytes as u64 };
            stats.checkpoint.record(draft.took + began.elapsed());
            stats.checkpoint_pause.record(draft.took);
        });
        Ok(())
    }

    /// Makes a staged checkpoint the certified one. `false`: it is not staged here.
    pub(crate) fn promote(&self, certificate: &Certificate) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let block = certificate.statement.block;
        let matches = inner.staged.get(&block).filter(|record| record.statement == certificate.statement);
        let Some(record) = matches.cloned() else { return Ok(false) };
        let mut record = CheckpointRecord::clone(&record);
        record.certificate = Some(certificate.clone());
        self.switch(&mut inner, record, block)?;
        Ok(true)
    }

    /// Installs a verified checkpoint whose chunks were received.
    pub(crate) fn install(&self, record: CheckpointRecord) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.receiving.clear();
        let block = record.block();
        if inner.is_covered(block) {
            return Ok(());
        }
        self.switch(&mut inner, record, block)
    }

    fn switch(&self, inner: &mut Inner, record: CheckpointRecord, block: u64) -> Result<(), StoreError> {
        let (from, _) = self.store.bounds();
        let batch = vec![
            Write::DeleteRange(Family::Checkpoint, from, self.store.numbered(block)),
            Write::Put(Family::Checkpoint, self.store.numbered(block), codec::encode(&record)),
        ];
        self.store.write_synced(batch)?;
        inner.staged.retain(|staged, _| *staged > block);
        inner.previous_certified = inner.certified.as_ref().map_or(0, |certified| certified.block());
        inner.certified = Some(Arc::new(record));
        self.collect(inner)
    }

    /// The first `limit` chunks of a checkpoint that are not here. They are safe from collection until it is installed.
    pub(crate) fn missing(&self, record: &CheckpointRecord, limit: usize) -> Vec<Hash> {
        let mut inner = self.lock();
        // Another member may show an older one meanwhile: it takes nothing from the newest.
        inner.receiving.insert(record.block(), record.chunks.iter().copied().collect());
        while inner.receiving.len() > MAX_RECEIVING {
            inner.receiving.pop_first();
        }
        let known = &inner.known;
        record.chunks.iter().filter(|hash| !known.contains_key(hash)).take(limit).copied().collect()
    }

    /// How many chunks of a checkpoint are not here.
    pub(crate) fn count_missing(&self, record: &CheckpointRecord) -> u64 {
        let inner = self.lock();
        record.chunks.iter().filter(|hash| !inner.known.contains_key(hash)).count() as u64
    }

    /// Stores chunks that were asked for; anything else is refused.
    pub(crate) fn receive(&self, chunks: Vec<Blob>) -> Result<Result<(), String>, StoreError> {
        let mut inner = self.lock();
        let mut batch = Vec::new();
        for content in chunks {
            let hash = Hash::of(&content.0);
            if !inner.receiving.values().any(|wanted| wanted.contains(&hash)) {
                return Ok(Err(format!("chunk {hash} was not asked for")));
            }
            if inner.note(hash, &content.0) {
                batch.push(Write::Put(Family::Chunk, self.store.key(&hash.0), content.0.to_vec()));
            }
        }
        self.store.write(batch).map(Ok)
    }

    /// The content of a chunk, checked against its hash.
    pub(crate) fn chunk(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(content) = self.store.get_bytes(Family::Chunk, &self.store.key(&hash.0))? else { return Ok(None) };
        if Hash::of(&content) != *hash {
            return Err(StoreError::Corrupt { what: "chunk", error: format!("chunk {hash} has another content") });
        }
        if let Some(bytes) = self.lock().known.get_mut(hash) {
            *bytes = Some(content.len());
        }
        Ok(Some(content))
    }

    /// All checkpoints that are kept.
    pub(crate) fn records(&self) -> Vec<Arc<CheckpointRecord>> {
        let inner = self.lock();
        inner.staged.values().chain(&inner.certified).cloned().collect()
    }

    /// Stores chunks again that are damaged or gone here, whatever the store has of them. On disk when it returns. Others than those that a
    /// checkpoint names are left out.
    pub(crate) fn mend(&self, chunks: &[Blob]) -> Result<(), StoreError> {
        let named: BTreeSet<Hash> = self.records().iter().flat_map(|record| record.chunks.iter().copied()).collect();
        let mut inner = self.lock();
        let mut batch = Vec::new();
        for content in chunks {
            let hash = Hash::of(&content.0);
            if named.contains(&hash) {
                inner.note(hash, &content.0);
                batch.push(Write::Put(Family::Chunk, self.store.key(&hash.0), content.0.to_vec()));
            }
        }
        self.store.write_synced(batch)
    }

    /// Takes note of a checkpoint that the machine was restored from, which has read its chunks.
    pub(crate) fn restored(&self, record: &CheckpointRecord) {
        let whole = self.lock().bytes_of(record) as u64;
        self.stats.update(|stats| stats.newest_checkpoint = CheckpointSize { whole, new: 0 });
    }

    /// Removes chunks that nothing names.
    fn collect(&self, inner: &mut Inner) -> Result<(), StoreError> {
        let records = inner.staged.values().chain(&inner.certified);
        let mut named: BTreeSet<&Hash> = records.flat_map(|record| &record.chunks).collect();
        named.extend(inner.receiving.values().flatten());
        let doomed: Vec<Hash> = inner.known.keys().filter(|hash| !named.contains(hash)).copied().collect();
        if doomed.is_empty() {
            return Ok(());
        }
        for hash in &doomed {
            inner.known.remove(hash);
        }
        self.store.write(doomed.iter().map(|hash| Write::Delete(Family::Chunk, self.store.key(&hash.0))).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the chunks of a checkpoint; called in the executing thread.
pub(crate) type Fetcher = Box<dyn FnMut(&Hash) -> Result<Vec<u8>, MachineFault> + Send>;

/// Gives chunks to a machine that is restored.
pub(crate) fn fetcher(checkpoints: &Arc<Checkpoints>, vat: VatId) -> Fetcher {
    let checkpoints = Arc::clone(checkpoints);
    Box::new(move |hash| match checkpoints.chunk(hash) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(MachineFault(format!("chunk {hash} of a checkpoint of vat {vat} is missing"))),
        Err(error) => Err(MachineFault(error.to_string())),
    })
}

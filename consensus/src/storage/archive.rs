//! The archive of one vat: what is cut from its log, kept in files of a folder, so that it can be executed again later.
//!
//! A folder has two kinds of files (`archive_file`): runs of log entries, each with the certificate that is kept of its block, and checkpoints, from
//! which execution can begin. A *start* is the beginning of the log, or a checkpoint. What lies between two starts is dropped as a whole.
//!
//! Invariants: an entry is on disk here before the log may be cut at or after it ([`Archive::cut`]), unless the archive can't be written and
//! more than [`HELD_BYTES`] wait for it. Files never overlap: where the next one begins follows from the names of those that are there. Whatever fails here
//! is counted and logged, and stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::archive_file::{ArchiveError, ArchiveFile, Content, Writer, io_error, is_unfinished, sync_folder};
use super::checkpoints::CheckpointRecord;
use super::vat::{SCAN_BYTES, VatStore};
use crate::codec;
use crate::error::StoreError;
use crate::stats::StatsCell;
use quorate_ids::{Hash, VatId};

/// Bytes of entries and certificates after which a file of them ends.
const FILE_BYTES: usize = 8 << 20;
/// A checkpoint is written after so many bytes of entries, at least.
const RUN_BYTES: u64 = 16 << 20;
/// And after so many times the bytes of the one before: so checkpoints are a fifth of an archive at most.
const RUN_FACTOR: u64 = 4;
/// But this part of what an archive may take is between two of them at most, so that little goes when the oldest part goes.
const RUN_PART: u64 = 4;
/// Bytes of a checkpoint after which is looked whether there is still room.
const ROOM_BYTES: usize = 8 << 20;
/// Bytes of the log that wait for an archive that can't be written. Then they are given up.
const HELD_BYTES: u64 = 256 << 20;

/// How a host keeps what is cut from the logs of its vats.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// Where; each vat has a folder in it, called by its id.
    pub folder: PathBuf,
    /// What the archive of one vat may take.
    pub bytes: u64,
    /// How many of the newest blocks are kept of each vat; without it, as many as go into these bytes.
    pub blocks: Option<u64>,
    /// Says, before anything is written, whether there is room for more, and if not, why.
    pub room: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// Returns where the archive of a vat is, in a folder of archives.
pub(crate) fn folder_of(folder: &Path, vat: &VatId) -> PathBuf {
    folder.join(vat.to_string())
}

/// The files of an archive, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalogue {
    /// The blocks of checkpoints, and their bytes.
    checkpoints: BTreeMap<u64, u64>,
    /// The first block of each run of entries, with the last one, and its bytes.
    blocks: BTreeMap<u64, (u64, u64)>,
}

impl Catalogue {
    /// Reads a folder. One that is not there is empty.
    pub(crate) fn read(folder: &Path) -> Result<Catalogue, ArchiveError> {
        let at = io_error(folder);
        let mut catalogue = Catalogue::default();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(catalogue),
            entries => entries.map_err(&at)?,
        };
        for entry in entries {
            let entry = entry.map_err(&at)?;
            let name = entry.file_name();
            if let Some(content) = name.to_str().and_then(Content::parse) {
                catalogue.add(content, entry.metadata().map_err(&at)?.len());
            }
        }
        Ok(catalogue)
    }

    fn add(&mut self, content: Content, bytes: u64) {
        match content {
            Content::Checkpoint { block } => drop(self.checkpoints.insert(block, bytes)),
            Content::Blocks { first, last } => drop(self.blocks.insert(first, (last, bytes))),
        }
    }

    fn remove(&mut self, content: Content) {
        match content {
            Content::Checkpoint { block } => drop(self.checkpoints.remove(&block)),
            Content::Blocks { first, .. } => drop(self.blocks.remove(&first)),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.checkpoints.values().chain(self.blocks.values().map(|(_, bytes)| bytes)).sum()
    }

    /// The block that comes next; `None`: nothing is there.
    fn next(&self) -> Option<u64> {
        let blocks = self.blocks.last_key_value().map(|(_, (last, _))| *last);
        blocks
            .into_iter()
            .chain(self.checkpoints.last_key_value().map(|(block, _)| *block))
            .max()
            .map(|block| block + 1)
    }

    /// The blocks that execution can begin with.
    pub(crate) fn starts(&self) -> BTreeSet<u64> {
        let beginning = self.blocks.contains_key(&0).then_some(0);
        beginning.into_iter().chain(self.checkpoints.keys().map(|block| block + 1)).collect()
    }

    /// The run of entries that has a block.
    fn run_with(&self, block: u64) -> Option<Content> {
        let (first, (last, _)) = self.blocks.range(..=block).next_back()?;
        (block <= *last).then_some(Content::Blocks { first: *first, last: *last })
    }

    /// The first block from this one on that is not there.
    pub(crate) fn end_from(&self, mut block: u64) -> u64 {
        while let Some(Content::Blocks { last, .. }) = self.run_with(block) {
            block = last + 1;
        }
        block
    }

    /// Bytes of the entries since the newest start, and of that one's checkpoint.
    fn newest_run(&self) -> (u64, u64) {
        let start = self.starts().last().copied().unwrap_or(0);
        let entries = self.blocks.range(start..).map(|(_, (_, bytes))| bytes).sum();
        (entries, start.checked_sub(1).and_then(|block| self.checkpoints.get(&block)).copied().unwrap_or(0))
    }

    /// All files of blocks before this one.
    fn before(&self, block: u64) -> Vec<Content> {
        let blocks =
            self.blocks.range(..block).map(|(first, (last, _))| Content::Blocks { first: *first, last: *last });
        let checkpoints = self.checkpoints.keys().filter(|checkpoint| **checkpoint + 1 < block);
        // A checkpoint goes before what comes after it: entries that nothing comes before are known for remains.
        checkpoints.map(|block| Content::Checkpoint { block: *block }).chain(blocks).collect()
    }
}

impl fmt::Display for Catalogue {
    /// The blocks that can be executed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<String> = Vec::new();
        let mut end = 0;
        for start in self.starts() {
            if start >= end {
                end = self.end_from(start);
                if end > start {
                    ranges.push(format!("{start} to {}", end - 1));
                }
            }
        }
        formatter.write_str(&if ranges.is_empty() { "none".to_owned() } else { ranges.join(", ") })
    }
}

#[derive(Default)]
struct Inner {
    /// `None`: the folder could not be read yet.
    catalogue: Option<Catalogue>,
    /// Bytes of the log that wait for the archive, through which block they are counted.
    held: (u64, u64),
    /// Blocks up to this one may go from the log though they are not archived.
    given_up: u64,
}

/// See the head of the module.
pub(crate) struct Archive {
    folder: PathBuf,
    vat: VatId,
    options: ArchiveOptions,
    stats: Arc<StatsCell>,
    held_bytes: u64,
    inner: Mutex<Inner>,
}

/// Gives the content of a checkpoint's chunk.
pub(crate) type Chunks<'a> = &'a dyn Fn(&Hash) -> Result<Option<Vec<u8>>, StoreError>;

impl Archive {
    /// Nothing is touched yet.
    pub(crate) fn new(options: ArchiveOptions, vat: VatId, stats: Arc<StatsCell>) -> Archive {
        let folder = folder_of(&options.folder, &vat);
        let archive = Archive { folder, vat, options, stats, held_bytes: HELD_BYTES, inner: Mutex::default() };
        // What is there is shown from the start; what can't be read is said when something is written.
        if let Ok(catalogue) = Catalogue::read(&archive.folder) {
            archive.show(&catalogue);
        }
        archive
    }

    #[cfg(test)]
    pub(super) fn holding(mut self, bytes: u64) -> Archive {
        self.held_bytes = bytes;
        self
    }

    /// Keeps the log through block `through`, as far as it is not kept yet. `checkpoint` is the certified one: where the log lacks what comes next, the
    /// archive goes on with it. All is on disk when this returns, or counted as a failure.
    pub(crate) fn advance(
        &self,
        store: &VatStore,
        through: u64,
        checkpoint: Option<&CheckpointRecord>,
        chunks: Chunks<'_>,
    ) {
        let mut inner = self.lock();
        let advanced = self.try_advance(&mut inner, store, through, checkpoint, chunks);
        if let Some(catalogue) = &inner.catalogue {
            self.show(catalogue);
        }
        match advanced {
            Ok(()) => inner.held = Default::default(),
            Err(error) => {
                let held = self.hold(&mut inner, store, through);
                // The folder may have been removed.
                inner.catalogue = None;
                self.stats.update(|stats| stats.archive.failures += 1);
                let (vat, folder) = (self.vat, self.folder.display());
                match held {
                    Ok(true) => {
                        tracing::error!(%vat, %folder, %error, through, "Q-C070 the archive can't be written, and too much of the log waits for it: blocks are cut that are not archived");
                    }
                    Ok(false) => {
                        tracing::error!(%vat, %folder, %error, "Q-C070 the archive can't be written: the log is kept meanwhile");
                    }
                    // The host stops for it, which it says.
                    Err(_) => {}
                }
            }
        }
    }

    /// Returns up to where the log may be cut, if it may be up to `block` for all else.
    pub(crate) fn cut(&self, block: u64) -> u64 {
        let inner = self.lock();
        let archived = inner.catalogue.as_ref().and_then(Catalogue::next).map_or(0, |next| next - 1);
        block.min(archived.max(inner.given_up))
    }

    fn try_advance(
        &self,
        inner: &mut Inner,
        store: &VatStore,
        through: u64,
        checkpoint: Option<&CheckpointRecord>,
        chunks: Chunks<'_>,
    ) -> Result<(), ArchiveError> {
        if inner.catalogue.is_none() {
            inner.catalogue = Some(self.open()?);
        }
        let catalogue = inner.catalogue.as_mut().expect("it was just set");
        loop {
            let next = catalogue.next();
            if next.is_some_and(|next| next > through) {
                break;
            }
            if store.has_entry(next.unwrap_or(0))? {
                (self.options.room)().map_err(ArchiveError::Room)?;
                self.write_blocks(catalogue, store, next.unwrap_or(0), through)?;
                continue;
            }
            // Another member's checkpoint came instead of what is missing, or the log was cut before there was an archive.
            let Some(checkpoint) = checkpoint.filter(|record| next.is_none_or(|next| next <= record.block())) else {
                break;
            };
            if let Some(next) = next {
                let (vat, last) = (self.vat, checkpoint.block());
                tracing::warn!(%vat, first = next, last, "the archive lacks blocks that this host does not have");
            }
            self.write_checkpoint(catalogue, checkpoint, chunks)?;
        }
        if let Some(checkpoint) = checkpoint.filter(|record| catalogue.next() == Some(record.block() + 1))
            && self.is_checkpoint_due(catalogue)
        {
            self.write_checkpoint(catalogue, checkpoint, chunks)?;
        }
        self.drop_oldest(catalogue)
    }

    /// Makes the folder, if it is not there, and removes what was being written when the host ended.
    fn open(&self) -> Result<Catalogue, ArchiveError> {
        let at = io_error(&self.folder);
        if !self.folder.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(&at)?;
            let above = self.options.folder.parent().filter(|above| !above.as_os_str().is_empty());
            [Some(self.options.folder.as_path()), above].into_iter().flatten().try_for_each(sync_folder)?;
        }
        for entry in fs::read_dir(&self.folder).map_err(&at)? {
            let entry = entry.map_err(&at)?;
            if entry.file_name().to_str().is_some_and(is_unfinished) {
                fs::remove_file(entry.path()).map_err(&at)?;
            }
        }
        Catalogue::read(&self.folder)
    }

    /// Writes a run of entries: from `first`, which is there, as many as go into one file.
    fn write_blocks(
        &self,
        catalogue: &mut Catalogue,
        store: &VatStore,
        first: u64,
        through: u64,
    ) -> Result<(), ArchiveError> {
        let mut frames: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let (mut next, mut bytes) = (first, 0);
        while next <= through && bytes < FILE_BYTES {
            let read_from = next;
            for (key, value) in store.scan_log(next, Some(through + 1), SCAN_BYTES)? {
                if bytes >= FILE_BYTES || key != store.numbered(next) {
                    break;
                }
                let certificate = store.certificate_bytes(next)?.unwrap_or_default();
                bytes += value.len() + certificate.len();
                frames.push((value, certificate));
                next += 1;
            }
            if next == read_from {
                break;
            }
        }
        let content = Content::Blocks { first, last: next - 1 };
        let mut writer = Writer::begin(&self.folder, &self.vat, content)?;
        for (entry, certificate) in &frames {
            writer.frame(entry)?;
            writer.frame(certificate)?;
        }
        let bytes = writer.finish()?;
        catalogue.add(content, bytes);
        Ok(())
    }

    fn write_checkpoint(
        &self,
        catalogue: &mut Catalogue,
        record: &CheckpointRecord,
        chunks: Chunks<'_>,
    ) -> Result<(), ArchiveError> {
        (self.options.room)().map_err(ArchiveError::Room)?;
        let content = Content::Checkpoint { block: record.block() };
        let mut writer = Writer::begin(&self.folder, &self.vat, content)?;
        writer.frame(&codec::encode(record))?;
        let mut unchecked = 0;
        for hash in &record.chunks {
            if unchecked >= ROOM_BYTES {
                (self.options.room)().map_err(ArchiveError::Room)?;
                unchecked = 0;
            }
            let missing = || StoreError::Corrupt { what: "chunk", error: format!("chunk {hash} is not there") };
            let content = chunks(hash)?.ok_or_else(missing)?;
            unchecked += content.len();
            writer.frame(&content)?;
        }
        let bytes = writer.finish()?;
        catalogue.add(content, bytes);
        Ok(())
    }

    fn is_checkpoint_due(&self, catalogue: &Catalogue) -> bool {
        let (entries, checkpoint) = catalogue.newest_run();
        entries > 0 && entries >= (RUN_FACTOR * checkpoint).max(RUN_BYTES).min(self.options.bytes / RUN_PART)
    }

    /// Drops what is more than the archive may take, and what is older than it keeps: the oldest start with all that comes before the next one.
    fn drop_oldest(&self, catalogue: &mut Catalogue) -> Result<(), ArchiveError> {
        loop {
            let mut starts = catalogue.starts().into_iter();
            let (Some(oldest), second) = (starts.next(), starts.next()) else { return Ok(()) };
            // What a crash has left of a drop.
            let mut doomed = catalogue.before(oldest);
            let end = catalogue.next().unwrap_or(0);
            let is_old = |start: u64| self.options.blocks.is_some_and(|blocks| start.saturating_add(blocks) <= end);
            if let Some(second) = second.filter(|second| catalogue.bytes() > self.options.bytes || is_old(*second)) {
                doomed = catalogue.before(second);
            }
            if doomed.is_empty() {
                return Ok(());
            }
            for content in doomed {
                let path = self.folder.join(content.file_name());
                fs::remove_file(&path).map_err(io_error(&path))?;
                catalogue.remove(content);
            }
            sync_folder(&self.folder)?;
        }
    }

    /// Counts what waits in the log. Returns whether it is so much that it is given up.
    fn hold(&self, inner: &mut Inner, store: &VatStore, through: u64) -> Result<bool, StoreError> {
        let archived = inner.catalogue.as_ref().and_then(Catalogue::next).unwrap_or(0);
        let (mut bytes, counted) = inner.held;
        let mut next = archived.max(counted);
        while next <= through && bytes <= self.held_bytes {
            let records = store.scan_log(next, Some(through + 1), SCAN_BYTES)?;
            let Some(last) = records.last().and_then(|(key, _)| store.number_of(key)) else { break };
            bytes += records.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
            next = last + 1;
        }
        inner.held = (bytes, next);
        if bytes <= self.held_bytes {
            return Ok(false);
        }
        inner.held = (0, through + 1);
        inner.given_up = inner.given_up.max(through);
        Ok(true)
    }

    fn show(&self, catalogue: &Catalogue) {
        let (bytes, oldest, next) = (catalogue.bytes(), catalogue.starts().first().copied(), catalogue.next());
        self.stats.update(|stats| {
            let shown = &mut stats.archive;
            (shown.bytes, shown.oldest, shown.next) = (bytes, oldest.unwrap_or(0), next.unwrap_or(0));
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A checkpoint of an archive, with its chunks.
pub(crate) struct ArchivedCheckpoint {
    pub(crate) record: CheckpointRecord,
    file: ArchiveFile,
    /// The frame of each chunk.
    places: BTreeMap<Hash, usize>,
}

impl ArchivedCheckpoint {
    /// The content of a chunk; `None`: the checkpoint names none such.
    pub(crate) fn chunk(&self, hash: &Hash) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.places.get(hash).map_or(Ok(None), |place| self.file.frame(*place))
    }
}

impl fmt::Display for ArchiveReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.folder.display())
    }
}

/// An entry of an archived log.
pub(crate) struct ArchivedEntry {
    /// As the log had it.
    pub(crate) entry: Vec<u8>,
    /// The certificate of its block, encoded, if there was one.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// Reads the archive of a vat.
pub(crate) struct ArchiveReader {
    folder: PathBuf,
    vat: VatId,
    pub(crate) catalogue: Catalogue,
}

impl ArchiveReader {
    /// `folder` is that of all vats' archives.
    pub(crate) fn open(folder: &Path, vat: VatId) -> Result<ArchiveReader, ArchiveError> {
        let folder = folder_of(folder, &vat);
        let catalogue = Catalogue::read(&folder)?;
        Ok(ArchiveReader { folder, vat, catalogue })
    }

    /// Reads the checkpoint after a block.
    pub(crate) fn checkpoint(&self, block: u64) -> Result<ArchivedCheckpoint, ArchiveError> {
        let file = ArchiveFile::open(&self.folder, &self.vat, Content::Checkpoint { block })?;
        let bytes = file.frame(0)?.ok_or_else(|| file.damaged("it is empty"))?;
        let record: CheckpointRecord = codec::decode(&bytes).map_err(|error| file.damaged(error))?;
        if record.block() != block || record.chunks.len() + 1 != file.len() {
            return Err(file.damaged("its checkpoint is another one"));
        }
        let places = record.chunks.iter().enumerate().map(|(number, hash)| (*hash, number + 1)).collect();
        Ok(ArchivedCheckpoint { record, file, places })
    }

    /// Reads the entries from a block on, up to the end of the file that has it. `None`: no file has it.
    pub(crate) fn entries(&self, block: u64) -> Result<Option<Vec<ArchivedEntry>>, ArchiveError> {
        let Some(content) = self.catalogue.run_with(block) else { return Ok(None) };
        let Content::Blocks { first, last } = content else { return Ok(None) };
        let file = ArchiveFile::open(&self.folder, &self.vat, content)?;
        if file.len() as u64 != 2 * (last - first + 1) {
            return Err(file.damaged("it has not as many entries as its name says"));
        }
        let entries = (2 * (block - first) as usize..file.len()).step_by(2).map(|place| {
            let read = |place| file.frame(place).map(Option::unwrap_or_default);
            let certificate = Some(read(place + 1)?).filter(|bytes| !bytes.is_empty());
            Ok(ArchivedEntry { entry: read(place)?, certificate })
        });
        entries.collect::<Result<_, ArchiveError>>().map(Some)
    }
}

//! A host's marks: its promises for each vat, in a small file outside of the database.
//!
//! The database may be damaged, cut or lost. The host must still remember what it has signed, voted and acknowledged, or it
//! could sign something else under the same key. The marks tell a log that a power cut has torn (it has everything that was ever synced)
//! from one that was rolled back or has rotted (it lacks some of that). A repaired replica begins with them.
//!
//! A mark is exact as long as the kernel lives: it is written, not synced, at each flush of the log and each signature. Promises that must
//! also hold after a power cut are synced first: votes, signed memberships, and the *ceiling*, an index that the log may not
//! pass before a higher ceiling is on disk.
//!
//! Invariants: a mark is never ahead of the database on disk, so a torn write is never taken for rot. A host acknowledges and
//! signs nothing above the ceiling. Each of the two copies of a mark has its synced part.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::vat::SignedWatermark;
use crate::codec;
use crate::error::StoreError;
use quorate_ids::{Hash, VatId};

/// Bytes of one copy of a mark: what a disk writes whole.
const SLOT_BYTES: usize = 4_096;
/// Bytes before the payload of a copy: its number and the payload's length.
const HEAD_BYTES: usize = 12;
/// Bytes of the checksum after it.
const HASH_BYTES: usize = 32;
/// How far a ceiling is above the log when it is raised: a sync each so many entries.
const CEILING_STEP: u64 = 512;
/// Signed memberships that a mark keeps: the newest. Those before are certified long since.
const MAX_MEMBERSHIPS: usize = 4;
/// Names this run of the system's kernel (`proc(5)`): page caches end with it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a host has promised for one vat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Raft's id of the replica.
    pub(crate) raft_id: Option<u64>,
    /// Term, node, and whether a quorum gave it: the highest vote.
    pub(crate) vote: Option<(u64, u64, bool)>,
    /// The highest statement that was signed.
    pub(crate) signed: Option<SignedWatermark>,
    /// The index through which the log was on disk, and so may have been acknowledged.
    pub(crate) log: u64,
    /// No index above this one was ever acknowledged or signed.
    pub(crate) ceiling: u64,
    /// A run ended of which the mark may lack the end: it may have promised things through this index. 0 as soon as a sound
    /// database has said how far it went.
    pub(crate) doubt: u64,
    /// The newest memberships that were signed, by epoch.
    pub(crate) memberships: BTreeMap<u64, Hash>,
    /// The replica was repaired: it neither votes nor leads until its log has this index.
    pub(crate) votes_after: u64,
    /// The replica was repaired: it signs no statement of this block or an earlier one.
    pub(crate) signs_after: u64,
    /// The host has agreed to a recovery of the vat that is not carried out here, by this membership of this epoch: its replica does not run
    /// until then.
    pub(crate) agreed: Option<(u64, Hash)>,
}

impl Mark {
    /// Takes note of a vote.
    pub(crate) fn note_vote(&mut self, term: u64, node: u64, committed: bool) {
        self.vote = self.vote.max(Some((term, node, committed)));
    }

    /// Takes note of a signed membership.
    pub(crate) fn note_membership(&mut self, epoch: u64, membership: Hash) {
        self.memberships.insert(epoch, membership);
        while self.memberships.len() > MAX_MEMBERSHIPS {
            self.memberships.pop_first();
        }
    }

    /// Returns whether the host has promised anything.
    pub(crate) fn binds(&self) -> bool {
        self.promised() > 0 || self.raft_id.is_some() || self.vote.is_some() || !self.memberships.is_empty()
    }

    /// The highest log index that the host may have promised anything for.
    pub(crate) fn promised(&self) -> u64 {
        let signed = self.signed.map_or(0, |signed| signed.block);
        self.log.max(signed).max(self.votes_after).max(self.signs_after).max(self.doubt)
    }
}

/// The record of the file itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    /// The kernel's run in which it was written.
    boot: String,
    /// Device and inode: a copy of the file is another one.
    file: (u64, u64),
    /// The host has stopped in order, and synced it.
    closed: bool,
}

/// Two copies of a record, written in turns.
#[derive(Clone, Debug, Default)]
struct Pair<T> {
    place: u64,
    number: u64,
    value: T,
    /// One of the copies was damaged: the other may be the older one.
    doubtful: bool,
}

struct Inner {
    file: fs::File,
    owner: Pair<Owner>,
    vats: BTreeMap<VatId, Pair<Mark>>,
    /// Pairs of copies in the file, apart from its owner's.
    pairs: u64,
}

/// A host's marks: see the head of the module.
pub struct Marks {
    path: PathBuf,
    inner: Mutex<Inner>,
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
    move |error| {
        let text = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
            _ => StoreError::Io(text),
        }
    }
}

/// The kernel's run; an empty text where the system does not say, which equals no other.
fn boot() -> String {
    fs::read_to_string(BOOT_ID).map(|text| text.trim().to_owned()).unwrap_or_default()
}

impl Marks {
    /// Opens or makes the marks of a host for a run of it. Nobody else may have them open.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn open(path: &Path) -> Result<Marks, StoreError> {
        let at = io_error(path);
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(&at)?;
        let mut inner = read_all(file).map_err(&at)?;
        let metadata = inner.file.metadata().map_err(&at)?;
        let owner = Owner { boot: boot(), file: (metadata.dev(), metadata.ino()), closed: false };
        let before = &inner.owner;
        let same_file = before.value.file == owner.file && !before.doubtful;
        let is_exact = same_file && (before.value.closed || !owner.boot.is_empty() && before.value.boot == owner.boot);
        let Inner { file, owner: written, vats, .. } = &mut inner;
        // Before the file says that it is of this run.
        for (vat, pair) in vats.iter_mut().filter(|(_, pair)| !is_exact || pair.doubtful) {
            pair.value.doubt = pair.value.doubt.max(pair.value.ceiling);
            let entry = Pair { place: pair.place, number: pair.number, value: (*vat, &pair.value), doubtful: false };
            pair.number = write_both(file, entry).map_err(&at)?;
        }
        written.value = owner;
        write_synced(file, written).map_err(&at)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(&at)?;
        }
        Ok(Marks { path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// The mark of a vat. `None`: there is none that can be read.
    pub(crate) fn read(&self, vat: &VatId) -> Option<Mark> {
        self.lock().vats.get(vat).map(|pair| pair.value.clone())
    }

    /// Changes the mark of a vat, and begins one where there is none. If `sync`, it is on disk when this returns, in both copies;
    /// else it is as safe as the kernel. Also if the change takes the log above the ceiling, which is raised then.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn update(&self, vat: &VatId, change: impl FnOnce(&mut Mark), sync: bool) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Inner { file, vats, pairs, .. } = &mut *inner;
        let is_new = !vats.contains_key(vat);
        let pair = vats.entry(*vat).or_insert_with(|| {
            *pairs += 1;
            Pair { place: *pairs, ..Pair::default() }
        });
        let before = pair.value.clone();
        change(&mut pair.value);
        let mark = &mut pair.value;
        let raise = mark.log > mark.ceiling || is_new;
        if raise {
            mark.ceiling = mark.log.saturating_add(CEILING_STEP);
        }
        if pair.value == before && !is_new {
            return Ok(());
        }
        let entry = Pair { place: pair.place, number: pair.number, value: (*vat, pair.value.clone()), doubtful: false };
        let written = if sync || raise { write_both(file, entry) } else { write_one(file, entry) };
        pair.number = written.map_err(io_error(&self.path))?;
        Ok(())
    }

    /// Writes that all is on disk as it is: the host stops.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let at = io_error(&self.path);
        inner.file.sync_data().map_err(&at)?;
        inner.owner.value.closed = true;
        let Inner { file, owner, .. } = &mut *inner;
        write_synced(file, owner).map_err(&at)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_synced<T: Serialize + Clone>(file: &fs::File, pair: &mut Pair<T>) -> io::Result<()> {
    pair.number = write_both(file, pair.clone())?;
    Ok(())
}

/// Writes one copy, in the place of the older one. Returns its number.
fn write_one<T: Serialize>(file: &fs::File, pair: Pair<T>) -> io::Result<u64> {
    let number = pair.number + 1;
    let payload = codec::encode(&pair.value);
    let mut slot = vec![0; SLOT_BYTES];
    let end = HEAD_BYTES + payload.len();
    if end + HASH_BYTES > SLOT_BYTES {
        return Err(io::Error::other(format!("a mark of {} bytes", payload.len())));
    }
    slot[..8].copy_from_slice(&number.to_be_bytes());
    slot[8..HEAD_BYTES].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    slot[HEAD_BYTES..end].copy_from_slice(&payload);
    let hash = Sha256::digest(&slot[..end]);
    slot[end..end + HASH_BYTES].copy_from_slice(&hash);
    file.write_all_at(&slot, (pair.place * 2 + number % 2) * SLOT_BYTES as u64)?;
    Ok(number)
}

/// Writes both copies, one after the other, so that a power cut finds one of them whole.
fn write_both<T: Serialize>(file: &fs::File, mut pair: Pair<T>) -> io::Result<u64> {
    pair.number =
        write_one(file, Pair { place: pair.place, number: pair.number, value: &pair.value, doubtful: false })?;
    file.sync_data()?;
    let number = write_one(file, pair)?;
    file.sync_data()?;
    Ok(number)
}

/// A copy: its number, and its content. `None`: it was never written. `Err`: it is damaged.
pub(crate) fn read_slot(slot: &[u8]) -> Result<Option<(u64, &[u8])>, ()> {
    if slot.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let number = u64::from_be_bytes(slot.get(..8).and_then(|bytes| bytes.try_into().ok()).ok_or(())?);
    let length = u32::from_be_bytes(slot.get(8..HEAD_BYTES).and_then(|bytes| bytes.try_into().ok()).ok_or(())?);
    let end = HEAD_BYTES + length as usize;
    let hash = slot.get(end..end + HASH_BYTES).ok_or(())?;
    if Sha256::digest(&slot[..end])[..] != *hash {
        return Err(());
    }
    Ok(Some((number, &slot[HEAD_BYTES..end])))
}

/// The newer copy of a pair. `None`: there is none. `Err`: neither can be read.
fn read_pair<T: serde::de::DeserializeOwned>(place: u64, bytes: &[u8]) -> Result<Option<Pair<T>>, ()> {
    let (first, second) = bytes.split_at(SLOT_BYTES.min(bytes.len()));
    let copies = [read_slot(first), read_slot(second)];
    let doubtful = copies.iter().any(Result::is_err);
    let newest = copies.into_iter().flatten().flatten().max_by_key(|(number, _)| *number);
    match newest {
        Some((number, payload)) => {
            let value = codec::decode(payload).map_err(|_| ())?;
            Ok(Some(Pair { place, number, value, doubtful }))
        }
        None if doubtful => Err(()),
        None => Ok(None),
    }
}

fn read_all(file: fs::File) -> io::Result<Inner> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let mut chunks = bytes.chunks(2 * SLOT_BYTES);
    let owner = chunks.next().map(|bytes| read_pair::<Owner>(0, bytes));
    let owner = match owner {
        Some(Ok(Some(owner))) => owner,
        Some(Err(())) => Pair { doubtful: true, ..Pair::default() },
        Some(Ok(None)) | None => Pair::default(),
    };
    let mut inner = Inner { file, owner, vats: BTreeMap::new(), pairs: 0 };
    for bytes in chunks {
        inner.pairs += 1;
        // Whose a damaged one was nobody can tell: that vat has none.
        if let Ok(Some(pair)) = read_pair::<(VatId, Mark)>(inner.pairs, bytes) {
            let Pair { place, number, value: (vat, value), doubtful } = pair;
            inner.vats.insert(vat, Pair { place, number, value, doubtful });
        }
    }
    Ok(inner)
}

//! Repairs a host's store: makes a new database beside the damaged one, with every undamaged vat, and for each damaged vat the
//! promises in the host's marks.
//!
//! A vat is taken over whole or not at all. A damaged vat begins as if it had just come here, except that it remembers this host's
//! promises: its vote, its signatures, and the index through which its log may have been acknowledged. It neither
//! votes nor signs until its log, which the other members fill again, is past that. So it may keep its key.
//!
//! Invariant: the damaged database is only read.

use rocksdb::{ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction, IteratorMode, Options, ReadOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::damaged::Damaged;
use super::marks::{Mark, Marks};
use super::rocks::RocksStore;
use super::salvage::Salvaged;
use super::store::{Family, Store, Write};
use super::vat::{RAFT_ID, VOTE, VatStore, WATERMARK};
use crate::codec;
use crate::error::StoreError;
use quorate_ids::VatId;

/// Bytes of records that are copied in one batch.
const BATCH_BYTES: usize = 4 << 20;
/// What belongs to one vat. Evidence outlives it, and is copied by itself.
const OF_A_VAT: [Family; 5] = [Family::Log, Family::State, Family::Checkpoint, Family::Chunk, Family::Certificate];

/// Why a replica does not run that was repaired and has no mark.
const FORGOTTEN: &str = "Q-C047 this host has neither its state of the vat nor a mark of what it has signed, so it must not sign for it \
                         again: let a host with a new home take its place (`vat member replace`)";

/// How that begins.
const FORGOTTEN_CODE: &str = "Q-C047 ";

/// What became of a vat in a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// All of it was readable, and is in the new database.
    Whole,
    /// It begins anew, and fetches its state and log from the other members.
    Anew {
        /// It does not vote before its log has this index.
        votes_after: u64,
        /// It signs no statement of this block or an earlier one.
        signs_after: u64,
        /// What was wrong with it.
        why: String,
    },
    /// Its mark is gone or damaged as well: nobody knows what this host has promised, so it must not run again under this key.
    Forgotten {
        /// What was wrong with it.
        why: String,
    },
}

/// What a repair found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// By vat.
    pub vats: BTreeMap<VatId, Repaired>,
    /// What else of the host was damaged and is left behind: notes, evidence.
    pub lost: Vec<String>,
    /// The database opens as it is, and nothing in it was damaged.
    pub sound: bool,
}

/// Makes a new database at `new` out of the one at `old`, which may be damaged or gone, for the vats that the host carries. `anew`:
/// of these vats nothing is taken over, though it could be read. The host must not run.
///
/// # Errors
/// The marks can't be read, or the new database can't be written.
pub fn repair_store(
    old: &Path,
    marks: &Path,
    new: &Path,
    vats: &[VatId],
    anew: &[VatId],
) -> Result<RepairReport, StoreError> {
    let marks = Marks::open(marks)?;
    let strict = open_damaged(old, DBRecoveryMode::TolerateCorruptedTailRecords);
    let log_is_whole = strict.is_ok();
    // A table that is out of use is left behind, though nothing of it is missing.
    let is_noted = Damaged::read(old).map_or(true, |damaged| !damaged.all().is_empty());
    let sound = log_is_whole && anew.is_empty() && !is_noted;
    let mut report = RepairReport { sound, ..RepairReport::default() };
    // A log with a hole in its middle is good up to there, as one that was rolled back is.
    let found = strict.or_else(|error| {
        report.lost.push(error);
        open_damaged(old, DBRecoveryMode::PointInTime)
    });
    let store: Arc<dyn Store> = Arc::new(RocksStore::open(new)?);
    for family in [Family::Meta, Family::Evidence] {
        let copied = match &found {
            Ok(found) => copy(found, store.as_ref(), family, &[], &[u8::MAX; 64])?.map(|_| ()),
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = copied {
            report.lost.push(format!("{}: {error}", family.as_str()));
            report.sound = false;
        }
    }
    let mut salvaged: Option<Result<Salvaged, String>> = None;
    for vat in vats {
        let part = VatStore::new(Arc::clone(&store), *vat);
        let why = if anew.contains(vat) {
            "its operator has it begin anew".to_owned()
        } else {
            let copied = match &found {
                Ok(found) => {
                    let promised = marks.read(vat).is_none_or(|mark| mark.binds());
                    match copy_vat(found, store.as_ref(), &part, promised)? {
                        Err(why) if log_is_whole => {
                            report.sound = false;
                            let salvaged =
                                salvaged.get_or_insert_with(|| Salvaged::of(found, new.with_extension("salvaged")));
                            copy_salvaged(salvaged, store.as_ref(), &part, promised, why)?
                        }
                        copied => copied,
                    }
                }
                Err(error) => Err(error.clone()),
            };
            let Err(why) = copied else {
                report.vats.insert(*vat, Repaired::Whole);
                continue;
            };
            report.sound = false;
            why
        };
        part.remove()?;
        let repaired = match marks.read(vat) {
            None => {
                part.set_fault(FORGOTTEN)?;
                Repaired::Forgotten { why }
            }
            Some(mark) => begin_anew(&marks, &part, &mark, why)?,
        };
        report.vats.insert(*vat, repaired);
    }
    if let (true, Ok(found)) = (report.sound, &found) {
        for family in Family::ALL {
            if let Err(error) = read_all(found, family) {
                report.lost.push(format!("{}, of what was removed: {error}", family.as_str()));
                report.sound = false;
            }
        }
    }
    store.sync()?;
    marks.close()?;
    Ok(report)
}

/// Has one vat of a store begin anew, as [`repair_store`] does. Its replica must not be running.
///
/// # Errors
/// The store fails; or its host keeps no marks.
pub fn repair_vat(store: &Arc<dyn Store>, vat: VatId, why: &str) -> Result<Repaired, StoreError> {
    let part = VatStore::new(Arc::clone(store), vat);
    let forgotten = part.fault()?.is_some_and(|fault| fault.starts_with(FORGOTTEN_CODE));
    let (Some(marks), Some(mark), false) = (store.marks(), part.mark(), forgotten) else {
        return Ok(Repaired::Forgotten { why: why.to_owned() });
    };
    part.remove()?;
    begin_anew(marks, &part, &mark, why.to_owned())
}

/// Writes what a replica must remember that begins anew.
fn begin_anew(marks: &Marks, part: &VatStore, mark: &Mark, why: String) -> Result<Repaired, StoreError> {
    let promised = mark.promised();
    let signed = mark.signed.map_or(0, |signed| signed.block).max(mark.signs_after);
    let (votes_after, signs_after) = (promised, if mark.doubt > 0 { promised } else { signed });
    // Before the records: whatever is lost then, the mark says what may not be done.
    let bind = |mark: &mut Mark| {
        mark.votes_after = votes_after;
        mark.signs_after = signs_after;
        mark.log = 0;
    };
    marks.update(&part.vat(), bind, true)?;
    let mut batch: Vec<Write> = Vec::new();
    let mut put = |name: &str, value: Vec<u8>| batch.push(Write::Put(Family::State, part.key(name.as_bytes()), value));
    mark.raft_id.iter().for_each(|id| put(RAFT_ID, codec::encode(id)));
    mark.vote.iter().for_each(|vote| put(VOTE, codec::encode(vote)));
    mark.signed.iter().for_each(|signed| put(WATERMARK, codec::encode(signed)));
    batch.extend(mark.memberships.iter().map(|(epoch, membership)| part.put_signed_membership(*epoch, *membership)));
    part.write_synced(batch)?;
    Ok(Repaired::Anew { votes_after, signs_after, why })
}

/// Reads all blocks of a family's tables, also those whose records were removed. No vat needs these any more, but RocksDB reads them when it writes
/// tables anew, and a host ends where it can't.
fn read_all(from: &DB, family: Family) -> Result<(), String> {
    let Some(handle) = from.cf_handle(family.as_str()) else { return Ok(()) };
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_verify_checksums(true);
    #[expect(deprecated, reason = "it costs time where ranges were removed, and reading those is what this is for")]
    options.set_ignore_range_deletions(true);
    let mut cursor = from.raw_iterator_cf_opt(handle, options);
    cursor.seek_to_first();
    while cursor.valid() {
        cursor.next();
    }
    cursor.status().map_err(|error| error.to_string())
}

fn open_damaged(path: &Path, mode: DBRecoveryMode) -> Result<DB, String> {
    let mut options = Options::default();
    options.set_wal_recovery_mode(mode);
    let families = Family::ALL.iter().map(|family| ColumnFamilyDescriptor::new(family.as_str(), Options::default()));
    let opened = DB::open_cf_descriptors_read_only(&options, path, families, false);
    opened.map_err(|error| error.to_string())
}

/// Copies all records of a vat of which something could not be read for the reason `why`, if that was not its own.
fn copy_salvaged(
    from: &Result<Salvaged, String>,
    to: &dyn Store,
    part: &VatStore,
    promised: bool,
    why: String,
) -> Result<Result<(), String>, StoreError> {
    let (first, end) = part.bounds();
    let Some(from) = from.as_ref().ok().and_then(|from| from.with_all_of(&first, &end)) else { return Ok(Err(why)) };
    part.remove()?;
    Ok(copy_vat(from, to, part, promised)?.map_err(|_| why))
}

/// Copies all records of a vat. The inner error says what is damaged of it. `promised`: it has records, if all is well.
fn copy_vat(from: &DB, to: &dyn Store, part: &VatStore, promised: bool) -> Result<Result<(), String>, StoreError> {
    let (first, end) = part.bounds();
    let mut records = 0;
    for family in OF_A_VAT {
        match copy(from, to, family, &first, &end)? {
            Ok(copied) => records += copied,
            Err(error) => return Ok(Err(format!("{}: {error}", family.as_str()))),
        }
    }
    // A new database, made where the old one was gone, is not damaged, and has nothing.
    Ok(if promised && records == 0 { Err("nothing of it is there".to_owned()) } else { Ok(()) })
}

/// Copies the records of a family with `first <= key < end`, and counts them. The inner error says what is damaged there; what came
/// before it is copied then.
fn copy(
    from: &DB,
    to: &dyn Store,
    family: Family,
    first: &[u8],
    end: &[u8],
) -> Result<Result<u64, String>, StoreError> {
    let Some(handle) = from.cf_handle(family.as_str()) else { return Ok(Err("is not there".to_owned())) };
    let (mut batch, mut bytes, mut records) = (Vec::new(), 0, 0);
    let mut options = ReadOptions::default();
    // Blocks behind are others', and may be damaged.
    options.set_iterate_upper_bound(end.to_vec());
    for record in from.iterator_cf_opt(handle, options, IteratorMode::From(first, Direction::Forward)) {
        let (key, value) = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(error.to_string())),
        };
        bytes += key.len() + value.len();
        records += 1;
        batch.push(Write::Put(family, key.into_vec(), value.into_vec()));
        if bytes >= BATCH_BYTES {
            to.write(std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    to.write(batch)?;
    Ok(Ok(records))
}

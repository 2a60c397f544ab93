//! Finding what has rotted in the tables of a database, and taking it out of use, with real files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::store::prefix_end;
use super::*;
use crate::error::StoreError;
use quorate_ids::{Hash, VatId};

const HERE: VatId = VatId([1; 32]);
const THERE: VatId = VatId([2; 32]);

/// Content that does not compress, of a key.
fn content(key: &[u8], bytes: usize) -> Vec<u8> {
    (0u32..).flat_map(|number| Hash::of(&[key, &number.to_be_bytes()].concat()).0).take(bytes).collect()
}

fn put(part: &VatStore, family: Family, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let key = part.numbered(number);
        let value = content(&key, 2_000);
        part.write(vec![Write::Put(family, key, value)]).unwrap();
    }
}

fn open(data: &Path) -> (Arc<dyn Store>, VatStore, VatStore) {
    let store: Arc<dyn Store> = Arc::new(RocksStore::open(data).unwrap());
    let parts = (VatStore::new(Arc::clone(&store), HERE), VatStore::new(Arc::clone(&store), THERE));
    (store, parts.0, parts.1)
}

/// The numbers of a vat's records, each of which is read and compared.
fn numbers(part: &VatStore, family: Family) -> Result<Vec<u64>, StoreError> {
    let (from, to) = part.bounds();
    let records = part.scan(family, &from, &to, usize::MAX)?;
    for (key, value) in &records {
        assert_eq!(*value, content(key, 2_000));
    }
    Ok(records.iter().map(|(key, _)| u64::from_be_bytes(key[32..].try_into().unwrap())).collect())
}

/// The tables of a family that is open, with their levels.
fn tables(data: &Path, family: Family) -> Vec<(PathBuf, i32)> {
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, data).unwrap();
    let database = rocksdb::DB::open_cf_for_read_only(&options, data, families, false).unwrap();
    let live = database.live_files().unwrap();
    let own = live.into_iter().filter(|table| table.column_family_name == family.as_str());
    own.map(|table| (data.join(table.name.trim_start_matches('/')), table.level)).collect()
}

/// Flips a bit in the middle of a file, in place: whoever has it open finds it there.
fn flip(path: &Path) {
    flip_at(path, 2);
}

/// The same at so many parts of it from its begin.
fn flip_at(path: &Path, parts: u64) {
    use std::os::unix::fs::FileExt;
    let place = fs::metadata(path).unwrap().len() / parts;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
}

/// Reads everything, a little at a time. Returns what was found.
fn scrub(store: &Arc<dyn Store>) -> Vec<TableDamage> {
    store.begin_scrub().unwrap();
    let mut found = Vec::new();
    for family in Family::ALL {
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let piece = store.scrub(family, &key, 10_000).unwrap();
            found.extend(piece.found);
            from = piece.next;
        }
    }
    found
}

/// Fills the database until RocksDB compacts a family's tables, and waits for that.
fn compact(data: &Path, family: Family) -> Result<(), StoreError> {
    for round in 0..6u64 {
        let (store, here, _) = open(data);
        put(&here, family, 1_000 * (round + 1)..1_000 * (round + 1) + 8);
        store.sync()?;
        drop((store, here));
        let store = RocksStore::open(data)?;
        // It fails where a compaction does.
        let waited = store.shared.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default());
        let part = VatStore::new(Arc::new(store), HERE);
        put_one(&part)?;
        waited.map_err(|error| StoreError::Io(error.to_string()))?;
    }
    Ok(())
}

fn put_one(part: &VatStore) -> Result<(), StoreError> {
    part.write_synced(vec![Write::Put(Family::State, part.key(b"one"), vec![1])])
}

/// Records that were removed long since lie in a damaged block that nobody reads, until RocksDB compacts it.
#[test]
fn damage_among_removed_records_is_found_and_does_not_end_the_store() {
    for is_scrubbed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let (store, here, there) = open(&data);
        put(&there, Family::Log, 0..50);
        put(&here, Family::Log, 0..50);
        drop((store, here, there));
        let (store, here, there) = open(&data);
        there.remove().unwrap();
        // In memory, where nothing can rot.
        assert_eq!((numbers(&here, Family::Log).unwrap().len(), numbers(&there, Family::Log).unwrap().len()), (50, 0));
        let [(table, 0)] = &tables(&data, Family::Log)[..] else { panic!("one table") };
        // Of the two vats the second one's records lie behind.
        let place = fs::metadata(table).unwrap().len() * 3 / 4;
        let mut bytes = fs::read(table).unwrap();
        bytes[usize::try_from(place).unwrap()] ^= 1;
        fs::write(table, &bytes).unwrap();
        if is_scrubbed {
            let found = scrub(&store);
            let [damage] = &found[..] else { panic!("{found:?}") };
            assert_eq!(damage.family, Family::Log);
            assert!(table.ends_with(&damage.table) && damage.error.contains("checksum"), "{damage:?}");
            assert_eq!(store.damaged(), found);
            // Nothing of it is thrown away: a log is what a member has promised to have.
            assert!(!store.set_aside(damage).unwrap());
            assert_eq!(scrub(&store), found, "it is found again, and noted once");
            assert_eq!(store.damaged().len(), 1);
            // So many tables that RocksDB would compact them.
            for round in 0..6 {
                put(&here, Family::Log, 500 + round..501 + round);
                store.begin_scrub().unwrap();
            }
            assert!(tables(&data, Family::Log).len() > 6, "{:?}", tables(&data, Family::Log));
            put_one(&here).unwrap();
        }
        drop((store, here, there));
        let compacted = compact(&data, Family::Log);
        assert_eq!(compacted.is_ok(), is_scrubbed, "{compacted:?}");
        if is_scrubbed {
            let (store, here, _) = open(&data);
            assert_eq!(numbers(&here, Family::Log).unwrap().len(), 50 + 6 + 6 * 8);
            assert_eq!(store.damaged().len(), 1, "it is known after a restart");
        }
    }
}

#[test]
fn what_was_read_before_it_rotted_is_read_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (store, here, there) = open(&data);
    put(&here, Family::Certificate, 0..50);
    drop((store, here, there));
    let (store, here, _) = open(&data);
    assert_eq!(numbers(&here, Family::Certificate).unwrap().len(), 50);
    assert_eq!(scrub(&store), []);
    assert_eq!(numbers(&here, Family::Certificate).unwrap().len(), 50);
    flip(&tables(&data, Family::Certificate)[0].0);
    assert_eq!(numbers(&here, Family::Certificate).unwrap().len(), 50, "it is in memory");
    let found = scrub(&store);
    assert_eq!(found.len(), 1);
    // What a member has promised is not thrown away in silence.
    assert!(!store.set_aside(&found[0]).unwrap());
    assert!(matches!(numbers(&here, Family::Certificate), Err(StoreError::Corrupt { .. })));
}

/// What is only in the write-ahead log is written out first.
#[test]
fn what_was_just_written_is_read_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (store, here, _) = open(&folder.path().join("data"));
    put(&here, Family::Evidence, 0..10);
    store.begin_scrub().unwrap();
    assert_eq!(tables(&folder.path().join("data"), Family::Evidence).len(), 1);
    let piece = store.scrub(Family::Evidence, &[], usize::MAX).unwrap();
    assert!(piece.bytes > 20_000 && piece.next.is_none(), "{piece:?}");
}

/// Chunks of two vats, with older tables below and newer ones above the damaged one.
#[test]
fn a_damaged_table_of_chunks_is_dropped_and_only_what_could_not_be_read_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (store, here, there) = open(&data);
    put(&here, Family::Chunk, 0..40);
    put(&there, Family::Chunk, 0..40);
    store.reclaim(&HERE).unwrap();
    // Removed, and written anew: no older state may come back with the table.
    here.write(vec![Write::Delete(Family::Chunk, here.numbered(1))]).unwrap();
    store.reclaim(&HERE).unwrap();
    put(&here, Family::Chunk, 40..42);
    here.write(vec![Write::Delete(Family::Chunk, here.numbered(2))]).unwrap();
    drop((store, here, there));
    let rocks = Arc::new(RocksStore::open(&data).unwrap());
    let store: Arc<dyn Store> = rocks.clone();
    let (here, there) = (VatStore::new(Arc::clone(&store), HERE), VatStore::new(Arc::clone(&store), THERE));
    put(&there, Family::Chunk, 40..42);
    let found = tables(&data, Family::Chunk);
    let low = found.iter().find(|(_, level)| *level > 0).unwrap_or_else(|| panic!("{found:?}"));
    // Among the first vat's. What newer tables have of just these keys is lost as well.
    flip_at(&low.0, 4);
    let damaged = scrub(&store);
    let [damage] = &damaged[..] else { panic!("{damaged:?}") };
    assert!(low.0.ends_with(&damage.table), "{damage:?} {low:?}");
    assert!(store.set_aside(damage).unwrap());
    assert_eq!((store.damaged(), scrub(&store)), (vec![], vec![]));
    // RocksDB compacts the family again.
    for number in 50..58 {
        put(&there, Family::Chunk, number..number + 1);
        store.begin_scrub().unwrap();
    }
    rocks.shared.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    let newest = tables(&data, Family::Chunk).iter().filter(|(_, level)| *level == 0).count();
    assert!(newest < 6, "{newest} tables wait");
    let (own, others) = (numbers(&here, Family::Chunk).unwrap(), numbers(&there, Family::Chunk).unwrap());
    assert!(!own.contains(&1) && !own.contains(&2) && own.contains(&0) && own.contains(&41), "{own:?}");
    assert!(others.contains(&39) && others.contains(&41), "{others:?}");
    // Of 84 and 8 later ones two were removed.
    let lost = 90 - own.len() - others.len();
    assert!((1..=4).contains(&lost), "one block: {lost} are lost: {own:?} {others:?}");
    let kept = (numbers(&here, Family::Chunk).unwrap(), numbers(&there, Family::Chunk).unwrap());
    drop((rocks, store, here, there));
    let (store, here, there) = open(&data);
    assert_eq!((numbers(&here, Family::Chunk).unwrap(), numbers(&there, Family::Chunk).unwrap()), kept);
    drop((store, here, there));
    compact(&data, Family::Chunk).unwrap();
}

/// RocksDB drops no table of the highest level. It is out of use then, and stays until a repair.
#[test]
fn a_damaged_table_of_the_highest_level_is_out_of_use_and_a_repair_leaves_it_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (data, marks) = (folder.path().join("data"), folder.path().join("MARKS"));
    drop(Marks::open(&marks).unwrap());
    let (store, here, there) = open(&data);
    put(&here, Family::Chunk, 0..40);
    put(&there, Family::Chunk, 0..40);
    drop((store, here, there));
    let (store, here, there) = open(&data);
    let [(table, 0)] = &tables(&data, Family::Chunk)[..] else { panic!("one table") };
    flip(table);
    let damaged = scrub(&store);
    assert_eq!(damaged.len(), 1);
    assert!(numbers(&here, Family::Chunk).is_err() || numbers(&there, Family::Chunk).is_err());
    assert!(!store.set_aside(&damaged[0]).unwrap());
    assert_eq!(store.damaged(), damaged);
    let kept = (numbers(&here, Family::Chunk).unwrap(), numbers(&there, Family::Chunk).unwrap());
    assert!((76..80).contains(&(kept.0.len() + kept.1.len())), "{kept:?}");
    // What is lost comes again from others.
    let back = (0..40u64).find(|number| !kept.0.contains(number)).map(|number| (&here, number));
    let back = back.or_else(|| (0..40u64).find(|number| !kept.1.contains(number)).map(|number| (&there, number)));
    let (part, number) = back.unwrap();
    put(part, Family::Chunk, number..number + 1);
    store.sync().unwrap();
    drop((store, here, there));
    compact(&data, Family::Chunk).unwrap();
    let new = folder.path().join("new");
    let report = repair_store(&data, &marks, &new, &[HERE, THERE], &[]).unwrap();
    assert!(!report.sound && report.vats.values().all(|repaired| *repaired == Repaired::Whole), "{report:?}");
    let (store, here, there) = open(&new);
    assert!(!new.join("DAMAGED").exists() && store.damaged().is_empty());
    let count = numbers(&here, Family::Chunk).unwrap().len() + numbers(&there, Family::Chunk).unwrap().len();
    assert_eq!(count, kept.0.len() + kept.1.len() + 1 + 6 * 8);
}

#[test]
fn what_a_vat_takes_of_the_disk_is_known_by_kind_and_less_once_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for is_in_memory in [true, false] {
        let (store, here, there) = open(&data);
        if is_in_memory {
            put(&here, Family::Log, 0..100);
            put(&here, Family::Chunk, 0..300);
            put(&there, Family::Log, 0..10);
        }
        let (own, others) = (store.bytes_of(&HERE), store.bytes_of(&THERE));
        let about = |bytes: u64, records: u64| (records * 1_500..records * 3_000).contains(&bytes);
        assert!(about(own.log, 100) && about(own.checkpoints, 300), "{own:?}");
        assert!(about(others.log, 10) && others.checkpoints == 0, "{others:?}");
        assert_eq!(own.total(), own.log + own.checkpoints + own.certificates + own.evidence);
        drop((store, here, there));
    }
    let (store, here, there) = open(&data);
    here.remove().unwrap();
    store.reclaim(&HERE).unwrap();
    assert!(store.bytes_of(&HERE).total() < 10_000, "{:?}", store.bytes_of(&HERE));
    assert_eq!(numbers(&there, Family::Log).unwrap().len(), 10);
    // What was written since the store was opened, and removed, is not counted for ever.
    for _ in 0..3 {
        put(&here, Family::Log, 0..200);
        let (from, to) = (HERE.0.to_vec(), prefix_end(&HERE.0));
        here.write_synced(vec![Write::DeleteRange(Family::Log, from, to)]).unwrap();
        store.reclaim(&HERE).unwrap();
    }
    assert!(store.bytes_of(&HERE).log < 50_000, "{:?}", store.bytes_of(&HERE));
}

#[test]
fn a_note_of_damage_that_can_not_be_read_pauses_all_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(open(&data));
    fs::write(data.join("DAMAGED"), b"\xff\xfenonsense").unwrap();
    let (store, ..) = open(&data);
    assert_eq!(store.damaged().len(), Family::ALL.len());
    // A scrub that reads everything and finds nothing ends that.
    assert_eq!(scrub(&store), []);
    assert_eq!(store.damaged(), []);
    assert!(!data.join("DAMAGED").exists());
}

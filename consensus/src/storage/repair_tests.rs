//! Marks that outlive the database, and what a repair makes of a database of which something is damaged.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::marks::Mark;
use super::vat::WATERMARK;
use super::*;
use quorate_ids::{Hash, VatId};

const HERE: VatId = VatId([1; 32]);
const THERE: VatId = VatId([2; 32]);

fn signed(block: u64) -> SignedWatermark {
    SignedWatermark { block, statement: Hash([block as u8; 32]) }
}

/// Notes a log through `block`, and a signature of it.
fn promise(marks: &Marks, vat: &VatId, block: u64) {
    let change = |mark: &mut Mark| {
        mark.log = block;
        mark.signed = Some(signed(block));
    };
    marks.update(vat, change, false).unwrap();
}

#[test]
fn a_mark_is_exact_after_a_crash_of_the_process_and_after_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("MARKS");
    let marks = Marks::open(&path).unwrap();
    promise(&marks, &HERE, 700);
    promise(&marks, &THERE, 3);
    marks.update(&HERE, |mark| mark.note_vote(5, 2, false), true).unwrap();
    drop(marks);
    for _ in 0..2 {
        let marks = Marks::open(&path).unwrap();
        let mark = marks.read(&HERE).unwrap();
        assert_eq!((mark.log, mark.signed, mark.vote, mark.doubt), (700, Some(signed(700)), Some((5, 2, false)), 0));
        assert_eq!(marks.read(&THERE).unwrap().promised(), 3);
        marks.close().unwrap();
    }
}

#[test]
fn what_a_power_cut_may_have_taken_from_a_mark_stays_in_doubt_until_a_sound_database_says_better() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("MARKS"), folder.path().join("copy"));
    let marks = Marks::open(&path).unwrap();
    promise(&marks, &HERE, 10);
    fs::copy(&path, &copy).unwrap();
    promise(&marks, &HERE, 11);
    drop(marks);
    // A copy is another file, as one that comes back from a backup or another machine: it may be behind.
    for _ in 0..2 {
        let mark = Marks::open(&copy).unwrap().read(&HERE).unwrap();
        assert_eq!((mark.log, mark.doubt, mark.promised()), (10, mark.ceiling, mark.ceiling));
        assert!(mark.ceiling >= 11, "nothing was promised above the ceiling");
    }
    let marks = Marks::open(&copy).unwrap();
    marks.update(&HERE, |mark| mark.doubt = 0, true).unwrap();
    assert_eq!(marks.read(&HERE).unwrap().promised(), 10);
}

#[test]
fn of_two_copies_either_may_be_damaged_and_never_both_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("MARKS");
    let marks = Marks::open(&path).unwrap();
    promise(&marks, &HERE, 10);
    marks.update(&HERE, |mark| mark.note_vote(7, 1, false), true).unwrap();
    for block in 11..20 {
        promise(&marks, &HERE, block);
    }
    drop(marks);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 4 * 4_096);
    let damage = |places: &[usize]| {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&whole, 0).unwrap();
        for place in places {
            file.write_all_at(&[whole[*place] ^ 4], *place as u64).unwrap();
        }
        drop(file);
        Marks::open(&path).unwrap().read(&HERE)
    };
    for byte in [0, 9, 20, 60] {
        for copy in [2, 3] {
            let mark = damage(&[copy * 4_096 + byte]).unwrap();
            assert!(mark.log >= 18 && mark.promised() >= 19, "{mark:?}: it may be the older one");
            assert_eq!(mark.vote, Some((7, 1, false)), "what was synced is in both");
        }
        assert_eq!(damage(&[2 * 4_096 + byte, 3 * 4_096 + byte]), None);
    }
}

/// A host's database with two vats, whose records lie in tables of their own, and its marks.
fn host(folder: &Path) -> (PathBuf, PathBuf) {
    let (data, file) = (folder.join("data"), folder.join("MARKS"));
    for (round, vat) in [HERE, THERE].into_iter().enumerate() {
        // Each opening writes what the log holds to tables.
        let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(&data, &file).unwrap());
        let part = VatStore::new(Arc::clone(&store), vat);
        part.set_raft_id(round as u64 + 1).unwrap();
        part.set_signed_membership(3, Hash([9; 32])).unwrap();
        for number in 0..40u64 {
            let value = (0..2_000u64).map(|byte| (byte * number % 251) as u8).collect();
            part.write(vec![Write::Put(Family::Log, part.numbered(number), value)]).unwrap();
        }
        part.write_synced(vec![part.put_named(WATERMARK, &signed(39))]).unwrap();
        promise(store.marks().unwrap(), &vat, 39);
        store.put_meta("note", b"kept").unwrap();
    }
    drop(RocksStore::open(&data).unwrap());
    (data, file)
}

/// Flips a bit in each larger table that has records of the second vat alone, this far from its begin, in parts of it. Which tables these are is
/// RocksDB's word: they are compressed.
fn damage_one(data: &Path, part: usize) {
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, data).unwrap();
    let database = rocksdb::DB::open_cf_for_read_only(&options, data, families, false).unwrap();
    let tables = database.live_files().unwrap();
    drop(database);
    let its_own = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| key.starts_with(&THERE.0));
    let tables =
        tables.iter().filter(|table| its_own(&table.start_key) && its_own(&table.end_key) && table.size > 2_000);
    let mut hit = 0;
    for table in tables {
        let path = data.join(table.name.trim_start_matches('/'));
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.len().checked_div(part).unwrap_or(50);
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        hit += 1;
    }
    assert!(hit > 0, "no table has that vat alone");
}

#[test]
fn a_repair_takes_over_what_is_whole_and_of_the_rest_what_was_promised() {
    check_repair(2);
}

/// Whoever looks for the first vat's records reads that block of the second one's, too.
#[test]
fn a_damaged_block_right_behind_the_records_of_a_vat_is_not_its_own() {
    check_repair(0);
}

fn check_repair(damaged: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = host(folder.path());
    damage_one(&data, damaged);
    let new = folder.path().join("new");
    let report = repair_store(&data, &file, &new, &[HERE, THERE], &[]).unwrap();
    assert!(!report.sound);
    assert_eq!(report.vats[&HERE], Repaired::Whole);
    assert!(!folder.path().join("new.salvaged").exists());
    let Repaired::Anew { votes_after: 39, signs_after: 39, why } = &report.vats[&THERE] else { panic!("{report:?}") };
    assert!(!why.is_empty());
    let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(&new, &file).unwrap());
    assert_eq!(store.get_meta("note").unwrap().as_deref(), Some(&b"kept"[..]));
    let (whole, anew) = (VatStore::new(Arc::clone(&store), HERE), VatStore::new(store, THERE));
    let entries = |part: &VatStore| {
        let (from, to) = part.bounds();
        part.scan(Family::Log, &from, &to, usize::MAX).unwrap().len()
    };
    assert_eq!((entries(&whole), entries(&anew)), (40, 0));
    assert_eq!((whole.raft_id().unwrap(), anew.raft_id().unwrap()), (Some(1), Some(2)));
    assert_eq!(anew.watermark().unwrap(), Some(signed(39)));
    assert_eq!(anew.signed_memberships().unwrap(), [(3, Hash([9; 32]))]);
    // Damaged once more before its log is there again: it has forgotten nothing.
    assert_eq!(anew.mark().unwrap().promised(), 39);
}

/// Chaos has found it: a repair said that all was well, since nobody reads removed records, and the host ended as soon as RocksDB did.
#[test]
fn damage_of_records_that_were_removed_is_found_and_nothing_is_lost_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = host(folder.path());
    let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(&data, &file).unwrap());
    let part = VatStore::new(Arc::clone(&store), THERE);
    part.write_synced(vec![Write::DeleteRange(Family::Log, part.numbered(4), part.numbered(36))]).unwrap();
    drop((part, store));
    drop(RocksStore::open(&data).unwrap());
    damage_one(&data, 2);
    let new = folder.path().join("new");
    let report = repair_store(&data, &file, &new, &[HERE, THERE], &[]).unwrap();
    assert!(!report.sound && report.lost.len() == 1, "{report:?}");
    assert!(report.vats.values().all(|repaired| *repaired == Repaired::Whole), "{report:?}");
    let part = VatStore::new(Arc::new(RocksStore::open_with_marks(&new, &file).unwrap()), THERE);
    let (from, to) = part.bounds();
    assert_eq!(part.scan(Family::Log, &from, &to, usize::MAX).unwrap().len(), 8);
}

#[test]
fn a_database_that_is_gone_or_has_no_mark_is_told_apart_from_one_that_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = host(folder.path());
    let repair =
        |new: &str, anew: &[VatId]| repair_store(&data, &file, &folder.path().join(new), &[HERE, THERE], anew).unwrap();
    let report = repair("sound", &[]);
    assert!(report.sound && report.vats.values().all(|repaired| *repaired == Repaired::Whole), "{report:?}");
    let report = repair("one", &[HERE]);
    assert!(matches!(report.vats[&HERE], Repaired::Anew { .. }) && report.vats[&THERE] == Repaired::Whole);
    fs::remove_dir_all(&data).unwrap();
    let report = repair("gone", &[]);
    assert!(report.vats.values().all(|repaired| matches!(repaired, Repaired::Anew { .. })), "{report:?}");
    // A host that was started meanwhile has made an empty one.
    drop(RocksStore::open(&data).unwrap());
    let report = repair("empty", &[]);
    assert!(
        !report.sound && report.vats.values().all(|repaired| matches!(repaired, Repaired::Anew { .. })),
        "{report:?}"
    );
    fs::remove_file(&file).unwrap();
    let report = repair("forgotten", &[]);
    assert!(report.vats.values().all(|repaired| matches!(repaired, Repaired::Forgotten { .. })), "{report:?}");
    let store: Arc<dyn Store> = Arc::new(RocksStore::open(folder.path().join("forgotten")).unwrap());
    let fault = VatStore::new(store, HERE).fault().unwrap().unwrap();
    assert!(fault.starts_with("Q-C047 ") && fault.contains("vat member replace"), "{fault}");
}

#[test]
fn what_a_host_has_promised_for_a_vat_outlives_all_that_it_has_of_the_vat() {
    let folder = tempfile::tempdir().unwrap();
    let (data, marks) = (folder.path().join("data"), folder.path().join("MARKS"));
    let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(data.clone(), marks.clone()).unwrap());
    assert!(!crate::has_promised(&store, HERE));
    let part = VatStore::new(Arc::clone(&store), HERE);
    // A replica that waits to be admitted has a mark, and has promised nothing.
    part.set_mark(|_| {}, true).unwrap();
    assert!(!crate::has_promised(&store, HERE));
    part.set_raft_id(3).unwrap();
    assert!(crate::has_promised(&store, HERE) && !crate::has_promised(&store, THERE));
    crate::remove_vat(&store, HERE).unwrap();
    assert!(part.raft_id().unwrap().is_none() && crate::has_promised(&store, HERE));
    drop((part, store));
    let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(data, marks).unwrap());
    assert!(crate::has_promised(&store, HERE));
}

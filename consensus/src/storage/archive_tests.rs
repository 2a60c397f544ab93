//! The files of an archive, what is in its folder after crashes and failures, and what goes when it is too large.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::archive::{Archive, ArchiveOptions, ArchiveReader, Catalogue, folder_of};
use super::archive_file::{ArchiveError, ArchiveFile, Content, Writer};
use super::checkpoints::CheckpointRecord;
use super::*;
use crate::stats::StatsCell;
use crate::tests::{certificate, genesis, statement};
use quorate_ids::{Hash, VatId};

const VAT: VatId = VatId([7; 32]);
const BLOCKS: Content = Content::Blocks { first: 3, last: 4 };

fn written(folder: &Path, content: Content, frames: &[&[u8]]) -> std::path::PathBuf {
    let mut writer = Writer::begin(folder, &VAT, content).unwrap();
    frames.iter().for_each(|frame| writer.frame(frame).unwrap());
    let path = folder.join(content.file_name());
    assert!(
        fs::read(&path).is_ok_and(|bytes| bytes == b"the one before") || !path.exists(),
        "a file is not there under its name before it is whole"
    );
    let bytes = writer.finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
    path
}

fn frames(file: &ArchiveFile) -> Vec<Vec<u8>> {
    (0..file.len()).map(|number| file.frame(number).unwrap().unwrap()).collect()
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let large = vec![5; 200_000];
    for parts in [&[][..], &[b"".as_slice()], &[b"one", b"", b"three"], &[&large, b"x"]] {
        let path = written(folder.path(), BLOCKS, parts);
        let file = ArchiveFile::open(folder.path(), &VAT, BLOCKS).unwrap();
        assert!(frames(&file) == parts && file.frame(parts.len()).unwrap().is_none());
        fs::write(path, b"the one before").unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
    for content in [BLOCKS, Content::Checkpoint { block: u64::MAX }] {
        assert_eq!(Content::parse(&content.file_name()), Some(content));
    }
    for name in ["", ".", "1.blocks", "1.checkpoint", "00000000000000000001-x.blocks", "LOCK"] {
        assert_eq!(Content::parse(name), None, "{name}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_or_has_another_bit_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), BLOCKS, &[b"entry", b"certificate", b"", b"more"]);
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        match ArchiveFile::open(folder.path(), &VAT, BLOCKS) {
            Err(ArchiveError::Damaged { path: named, .. }) => assert_eq!(named, path),
            other => panic!("{what}: {other:?}"),
        }
    };
    (0..whole.len()).for_each(|length| refused(&whole[..length], &format!("cut after {length} bytes")));
    refused(&[&whole[..], b"x"].concat(), "with a byte more");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(&bytes, &format!("with another bit {bit}"));
    }
    // Sound, and not what its place says.
    fs::write(&path, &whole).unwrap();
    assert!(ArchiveFile::open(folder.path(), &VAT, BLOCKS).is_ok());
    assert!(matches!(ArchiveFile::open(folder.path(), &VatId([8; 32]), BLOCKS), Err(ArchiveError::Damaged { .. })));
    let renamed = Content::Blocks { first: 3, last: 5 };
    fs::rename(&path, folder.path().join(renamed.file_name())).unwrap();
    assert!(matches!(ArchiveFile::open(folder.path(), &VAT, renamed), Err(ArchiveError::Damaged { .. })));
}

/// A log with entries that tell their number, and its archive.
struct Place {
    folder: tempfile::TempDir,
    store: VatStore,
    memory: Arc<MemoryStore>,
    stats: Arc<StatsCell>,
    has_room: Arc<AtomicBool>,
    archive: Archive,
    bytes: u64,
    blocks: Option<u64>,
}

const BIG: u64 = 1 << 30;

impl Place {
    fn new(bytes: u64, blocks: Option<u64>) -> Place {
        let memory = Arc::new(MemoryStore::new());
        let vat = genesis(1, 1).vat_id();
        let store = VatStore::new(Arc::clone(&memory) as Arc<dyn Store>, vat);
        let (folder, stats) = (tempfile::tempdir().unwrap(), Arc::new(StatsCell::default()));
        let has_room = Arc::new(AtomicBool::new(true));
        let archive = Archive::new(options(folder.path(), bytes, blocks, &has_room), vat, Arc::clone(&stats));
        Place { folder, store, memory, stats, has_room, archive, bytes, blocks }
    }

    /// The host ends, and starts again.
    fn again(&mut self) {
        self.memory.crash();
        self.stats = Arc::default();
        let options = options(self.folder.path(), self.bytes, self.blocks, &self.has_room);
        self.archive = Archive::new(options, self.store.vat(), Arc::clone(&self.stats));
    }

    fn log(&self, blocks: impl IntoIterator<Item = u64>) {
        let entry = |block| Write::Put(Family::Log, self.store.numbered(block), entry(block));
        self.store.write_synced(blocks.into_iter().map(entry).collect()).unwrap();
    }

    fn purge(&self, through: u64) {
        let (from, _) = self.store.bounds();
        let range = Write::DeleteRange(Family::Log, from, self.store.numbered(through + 1));
        self.store.write_synced(vec![range]).unwrap();
    }

    fn advance(&self, checkpoint: u64) {
        let record = record(checkpoint);
        self.archive.advance(&self.store, checkpoint, Some(&record), &|hash| Ok(Some(chunk(hash))));
    }

    fn vat_folder(&self) -> std::path::PathBuf {
        folder_of(self.folder.path(), &self.store.vat())
    }

    /// The blocks that are archived, in order, and the ones that execution can begin with. All files are read.
    fn kept(&self) -> (Vec<u64>, Vec<u64>) {
        let reader = ArchiveReader::open(self.folder.path(), self.store.vat()).unwrap();
        let starts: Vec<u64> = reader.catalogue.starts().into_iter().collect();
        for block in starts.iter().filter_map(|start| start.checked_sub(1)) {
            let checkpoint = reader.checkpoint(block).unwrap();
            assert_eq!(checkpoint.record, record(block));
            let chunks = checkpoint.record.chunks.iter();
            chunks.for_each(|hash| assert_eq!(checkpoint.chunk(hash).unwrap(), Some(chunk(hash))));
            assert_eq!(checkpoint.chunk(&Hash([99; 32])).unwrap(), None);
        }
        let mut blocks = Vec::new();
        let mut next = 0;
        while next < 10_000 {
            let Some(entries) = reader.entries(next).unwrap() else {
                next += 1;
                continue;
            };
            for archived in entries {
                assert_eq!(archived.entry, entry(next), "block {next}");
                blocks.push(next);
                next += 1;
            }
        }
        (blocks, starts)
    }
}

fn options(folder: &Path, bytes: u64, blocks: Option<u64>, has_room: &Arc<AtomicBool>) -> ArchiveOptions {
    let has_room = Arc::clone(has_room);
    let room = Arc::new(move || if has_room.load(Ordering::SeqCst) { Ok(()) } else { Err("no room".to_owned()) });
    ArchiveOptions { folder: folder.to_owned(), bytes, blocks, room }
}

fn entry(block: u64) -> Vec<u8> {
    format!("entry {block} {}", "x".repeat(1_000)).into_bytes()
}

fn chunk(hash: &Hash) -> Vec<u8> {
    [hash.0.to_vec(), vec![1; 1_000]].concat()
}

fn record(block: u64) -> CheckpointRecord {
    let statement = statement(&genesis(1, 1).membership(), block);
    let certificate = Some(certificate(statement.clone(), &[1]));
    let chunks = vec![Hash([1; 32]), Hash([2; 32])];
    let (state, manifest) = (vec![3; 100].into(), vec![4; 100].into());
    CheckpointRecord { state, machine_root: Hash([5; 32]), manifest, chunks, statement, certificate }
}

fn range(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn what_a_log_has_is_kept_before_it_may_be_cut_there() {
    let place = Place::new(BIG, None);
    assert_eq!(place.archive.cut(5), 0, "nothing is archived yet");
    place.log(0..=10);
    let membership = genesis(1, 1).membership();
    let certified = certificate(statement(&membership, 4), &[1]);
    place.store.write_synced(vec![place.store.put_certificate(&certified)]).unwrap();
    place.advance(6);
    assert_eq!(place.kept(), (range(0, 6), vec![0]));
    assert_eq!((place.archive.cut(4), place.archive.cut(6), place.archive.cut(10)), (4, 6, 6));
    let reader = ArchiveReader::open(place.folder.path(), place.store.vat()).unwrap();
    let entries = reader.entries(3).unwrap().unwrap();
    let certificates: Vec<bool> = entries.iter().map(|entry| entry.certificate.is_some()).collect();
    assert_eq!(certificates, [false, true, false, false], "from block 3 on");
    assert_eq!(entries[1].certificate, place.store.certificate_bytes(4).unwrap());
    // Once more, and then the next ones alone.
    place.advance(6);
    place.purge(6);
    place.advance(10);
    assert_eq!(place.kept(), (range(0, 10), vec![0]));
    let stats = place.stats.get().archive;
    assert_eq!((stats.oldest, stats.next, stats.failures), (0, 11, 0));
    assert_eq!(stats.bytes, Catalogue::read(&place.vat_folder()).unwrap().bytes());
}

#[test]
fn a_crash_between_the_archive_and_the_cut_leaves_no_gap_and_nothing_twice() {
    let mut place = Place::new(BIG, None);
    place.log(0..=30);
    place.advance(10);
    // The power goes before the log is cut.
    place.again();
    assert_eq!(place.archive.cut(10), 0, "nothing is cut before the folder was read");
    place.advance(10);
    assert_eq!(place.archive.cut(10), 10);
    place.purge(10);
    place.again();
    // And while the next file is written: it is there under another name.
    let unfinished =
        place.vat_folder().join(format!("{}.unfinished", Content::Blocks { first: 11, last: 20 }.file_name()));
    fs::write(&unfinished, b"quorate-arch").unwrap();
    assert_eq!(place.kept(), (range(0, 10), vec![0]));
    place.advance(20);
    assert!(!unfinished.exists(), "it is removed");
    place.again();
    place.advance(30);
    assert_eq!(place.kept(), (range(0, 30), vec![0]));
}

#[test]
fn an_archive_of_a_log_that_was_cut_begins_with_a_checkpoint() {
    let place = Place::new(BIG, None);
    place.log(5..=40);
    place.advance(10);
    assert_eq!(place.kept(), (vec![], vec![11]));
    place.advance(20);
    assert_eq!(place.kept(), (range(11, 20), vec![11]));
    // A checkpoint of others took the place of blocks 24 to 29. What this host has of its own log comes first.
    let old = record(20);
    place.archive.advance(&place.store, 23, Some(&old), &|hash| Ok(Some(chunk(hash))));
    place.purge(29);
    place.advance(30);
    place.advance(40);
    assert_eq!(place.kept(), ([range(11, 23), range(31, 40)].concat(), vec![11, 31]));
    let catalogue = Catalogue::read(&place.vat_folder()).unwrap();
    assert_eq!((catalogue.end_from(11), catalogue.end_from(31)), (24, 41));
    assert_eq!(catalogue.to_string(), "11 to 23, 31 to 40");
}

#[test]
fn the_oldest_start_goes_with_what_comes_before_the_next_one() {
    // A checkpoint is due after a fourth of the bytes: after each tenth block, about.
    let place = Place::new(45_000, None);
    place.log(0..=199);
    for block in (9..=199).step_by(10) {
        place.advance(block);
        let stats = place.stats.get().archive;
        assert!(stats.bytes <= 45_000, "{stats:?}");
    }
    let (blocks, starts) = place.kept();
    assert!((20..=40).contains(&blocks.len()), "{} blocks", blocks.len());
    assert_eq!(blocks, range(starts[0], 199), "all blocks from the oldest start on");
    assert!(starts.len() >= 2 && starts[0] > 100, "{starts:?}");

    // By blocks, and by no more than is asked for.
    let place = Place::new(100_000, Some(50));
    place.log(0..=199);
    (9..=199).step_by(10).for_each(|block| place.advance(block));
    let (blocks, starts) = place.kept();
    assert!(blocks == range(starts[0], 199) && (50..=80).contains(&blocks.len()), "{} {starts:?}", blocks.len());
    // What a crash leaves of a drop: entries that nothing comes before.
    let left = Content::Blocks { first: starts[0] - 3, last: starts[0] - 1 };
    written_for(&place, left);
    place.log(200..=209);
    let place = Place {
        archive: Archive::new(
            options(place.folder.path(), 100_000, Some(50), &place.has_room),
            place.store.vat(),
            place.stats.clone(),
        ),
        ..place
    };
    place.advance(209);
    assert!(!place.vat_folder().join(left.file_name()).exists());
}

fn written_for(place: &Place, content: Content) {
    let mut writer = Writer::begin(&place.vat_folder(), &place.store.vat(), content).unwrap();
    writer.frame(b"").unwrap();
    writer.finish().unwrap();
}

#[test]
fn an_archive_without_room_holds_the_log_and_then_lets_it_go() {
    let mut place = Place::new(BIG, None);
    place.log(0..=99);
    place.archive = place.archive.holding(30_000);
    place.advance(9);
    place.has_room.store(false, Ordering::SeqCst);
    place.advance(19);
    place.advance(29);
    assert_eq!(place.archive.cut(29), 0, "the log is held");
    assert_eq!(place.stats.get().archive.failures, 2);
    // There is room again: nothing is lost.
    place.has_room.store(true, Ordering::SeqCst);
    place.advance(39);
    assert_eq!((place.archive.cut(39), place.kept()), (39, (range(0, 39), vec![0])));
    place.purge(39);
    // Now for longer: 30 entries wait at most.
    place.has_room.store(false, Ordering::SeqCst);
    place.advance(59);
    assert_eq!(place.archive.cut(59), 0);
    place.advance(79);
    assert_eq!(place.archive.cut(79), 79, "the vat comes first");
    place.purge(79);
    place.advance(84);
    assert_eq!(place.archive.cut(84), 79, "what comes after is held again");
    // Somebody takes the folder away. What is in the log is kept once more.
    fs::remove_dir_all(place.vat_folder()).unwrap();
    place.has_room.store(true, Ordering::SeqCst);
    place.advance(89);
    assert_eq!(place.kept(), (vec![], vec![90]));
    place.advance(99);
    assert_eq!(place.kept(), (range(90, 99), vec![90]));
}

#[test]
fn a_folder_that_can_not_be_made_is_a_failure_and_no_more() {
    let mut place = Place::new(BIG, None);
    let file = place.folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let options = options(&file, BIG, None, &place.has_room);
    place.archive = Archive::new(options, place.store.vat(), Arc::clone(&place.stats));
    place.log(0..=9);
    place.advance(9);
    assert_eq!((place.stats.get().archive.failures, place.archive.cut(9)), (1, 0));
}

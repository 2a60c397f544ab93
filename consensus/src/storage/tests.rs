//! What both stores must do, and what each does alone.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex, mpsc};

use super::evidence::MAX_EVIDENCE;
use super::store::prefix_end;
use super::*;
use crate::error::StoreError;
use crate::proof::certificate::Statement;
use crate::proof::equivocation::{Disagreement, Divergence, Equivocation, EvidenceRecord, Signed};
use crate::proof::order_evidence::OrderEvidence;
use crate::testing::stores::{keys, put, store_conforms};
use crate::tests::{certificate, genesis, header_at, host, sign, statement};
use quorate_ids::{Hash, VatId};
use quorate_order::evidence::Evidence;

fn both_shared(check: impl Fn(Arc<dyn Store>)) {
    check(Arc::new(MemoryStore::new()));
    let directory = tempfile::tempdir().unwrap();
    check(Arc::new(RocksStore::open(directory.path()).unwrap()));
}

#[test]
fn a_store_in_memory_conforms() {
    store_conforms(|| Arc::new(MemoryStore::new()));
}

#[test]
fn rocksdb_conforms() {
    let directories = Mutex::new(Vec::new());
    store_conforms(|| {
        let directory = tempfile::tempdir().unwrap();
        let store = RocksStore::open(directory.path()).unwrap();
        directories.lock().unwrap().push(directory);
        Arc::new(store)
    });
}

#[test]
fn a_crash_of_the_memory_store_keeps_a_prefix() {
    let store = MemoryStore::new();
    store.write(vec![put(Family::Log, "1", "x")]).unwrap();
    store.sync().unwrap();
    store.write(vec![put(Family::Log, "2", "x")]).unwrap();
    store.write(vec![put(Family::Log, "3", "x"), Write::Delete(Family::Log, b"1".to_vec())]).unwrap();
    assert_eq!(keys(&store, Family::Log, "0", "9"), ["2", "3"]);
    store.crash_keeping(1);
    assert_eq!(keys(&store, Family::Log, "0", "9"), ["1", "2"]);
    store.write(vec![put(Family::Log, "4", "x")]).unwrap();
    store.crash();
    assert_eq!(keys(&store, Family::Log, "0", "9"), ["1", "2"]);
}

#[test]
fn held_flushes_are_lost_in_a_crash_and_told_after_a_release() {
    let store = MemoryStore::new();
    let told = Arc::new(Mutex::new(0));
    let flushed = || -> Flushed {
        let told = Arc::clone(&told);
        Box::new(move |_| *told.lock().unwrap() += 1)
    };
    store.hold();
    store.write_then(vec![put(Family::Log, "1", "x")], flushed()).unwrap();
    assert_eq!((*told.lock().unwrap(), store.unsynced()), (0, 1));
    store.crash();
    store.release();
    assert_eq!((*told.lock().unwrap(), keys(&store, Family::Log, "0", "9").len()), (0, 0));
    store.hold();
    store.write_then(vec![put(Family::Log, "2", "x")], flushed()).unwrap();
    store.release();
    store.crash();
    assert_eq!((*told.lock().unwrap(), keys(&store, Family::Log, "0", "9").len()), (1, 1));
    store.fail("no disk");
    assert!(matches!(store.write(vec![]), Err(StoreError::Io(_))));
    assert!(store.sync().is_err());
}

#[test]
fn one_sync_serves_many_writers() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path()).unwrap();
    let before = store.sync_times().count;
    std::thread::scope(|scope| {
        for writer in 0..8u32 {
            let store = &store;
            scope.spawn(move || {
                let (sender, receiver) = mpsc::channel();
                for number in 0..50u32 {
                    let sender = sender.clone();
                    let flushed: Flushed = Box::new(move |_| sender.send(()).unwrap());
                    store.write_then(vec![put(Family::Log, &format!("{writer}/{number}"), "x")], flushed).unwrap();
                }
                assert_eq!(receiver.iter().take(50).count(), 50);
            });
        }
    });
    assert!(store.sync_times().count - before < 400, "{} syncs for 400 writes", store.sync_times().count - before);
    assert_eq!(keys(&store, Family::Log, "0", "9").len(), 400);
}

#[test]
fn rocksdb_tells_its_sizes_and_how_long_syncs_took() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path()).unwrap();
    let size = |part: &str| store.sizes().into_iter().find(|(name, _)| *name == part).unwrap().1;
    let (sizes, times) = ((size("log"), size("wal")), store.sync_times());
    store.write(vec![put(Family::Log, "1", &"x".repeat(100_000))]).unwrap();
    assert!(size("log") >= sizes.0 + 100_000 && size("wal") >= sizes.1 + 100_000, "{:?} {sizes:?}", store.sizes());
    assert_eq!(store.sync_times(), times, "a write is no sync");
    store.sync().unwrap();
    let after = store.sync_times();
    assert_eq!((after.count, after.buckets.iter().sum::<u64>()), (times.count + 1, times.count + 1));
    assert!(after.sum_us >= times.sum_us);
    let mut parts: Vec<_> = store.sizes().into_iter().map(|(part, _)| part).collect();
    assert_eq!(parts.pop(), Some("wal"));
    assert_eq!(parts, Family::ALL.map(Family::as_str));
}

#[test]
fn evidence_is_bounded_by_member_and_is_kept_and_counted_once() {
    both_shared(|shared| {
        let members = genesis(3, 2).membership();
        let store = VatStore::new(Arc::clone(&shared), VatId([7; 32]));
        let pair = |seed: u8, block: u64| {
            let signed = |content: Statement| Signed { signature: sign(seed, &content.payload()), content };
            let one = statement(&members, block);
            let other = Statement { outbox_root: Hash([9; 32]), ..one.clone() };
            EvidenceRecord::Equivocation(Equivocation::of(signed(one), signed(other)))
        };
        let (loud, quiet) = (host(1), host(2));
        for block in 1..=MAX_EVIDENCE + 10 {
            let added = store.add_evidence(&pair(1, block), &loud).unwrap();
            assert_eq!((added.is_new, added.is_kept), (true, block <= MAX_EVIDENCE), "{block}");
            assert_eq!(added.totals.equivocations, block);
        }
        // The same again, as after a start: neither is counted twice.
        for block in [1, MAX_EVIDENCE, MAX_EVIDENCE + 10] {
            let added = store.add_evidence(&pair(1, block), &loud).unwrap();
            assert_eq!((added.is_new, added.totals.equivocations), (false, MAX_EVIDENCE + 10), "{block}");
        }
        assert!(store.add_evidence(&pair(2, 1_000), &quiet).unwrap().is_kept, "one liar leaves room for another");
        let EvidenceRecord::Equivocation(pair) = pair(2, 1_001) else { panic!("it is one") };
        let disagreement = Disagreement { own: pair.first.content, theirs: pair.second };
        let added = store.add_evidence(&EvidenceRecord::Disagreement(disagreement), &quiet).unwrap();
        assert_eq!((added.totals.equivocations, added.totals.disagreements), (MAX_EVIDENCE + 11, 1));
        let kept = store.evidence().unwrap();
        assert_eq!(kept.len() as u64, MAX_EVIDENCE + 2);
        // The vat is gone and comes again: what is known of it lies there still.
        store.remove().unwrap();
        assert_eq!(store.evidence().unwrap(), kept);
    });
}

/// A leader that is elected again may show two logs at the same place again: whoever starts anew has to know of the later term.
#[test]
fn the_same_deed_in_two_terms_is_kept_twice() {
    both_shared(|shared| {
        let genesis = genesis(3, 2);
        let store = VatStore::new(Arc::clone(&shared), genesis.vat_id());
        let two_logs = |term| {
            let [first, second] = [6, 7].map(|chain| header_at(&genesis, (2, term), 10, Hash([chain; 32])));
            let evidence = Evidence::Headers { first, second, before: second.content.chain, heads: Vec::new() };
            EvidenceRecord::Order(OrderEvidence { vat: genesis.vat_id(), evidence })
        };
        for term in [3, 5] {
            assert!(store.add_evidence(&two_logs(term), &host(2)).unwrap().is_kept, "{term}");
            assert!(!store.add_evidence(&two_logs(term), &host(2)).unwrap().is_new, "{term}");
        }
        assert_eq!(store.evidence().unwrap(), [two_logs(3), two_logs(5)]);
    });
}

#[test]
fn why_a_replica_stopped_for_good_is_kept_beside_its_watermark_and_among_the_evidence() {
    both_shared(|shared| {
        let members = genesis(3, 2).membership();
        let store = VatStore::new(Arc::clone(&shared), VatId([7; 32]));
        assert_eq!(store.divergence().unwrap(), None);
        let own = statement(&members, 5);
        let other = Statement { outbox_root: Hash([9; 32]), ..own.clone() };
        let divergence = Divergence::Statement { certificate: certificate(other, &[2, 3]), own };
        store.set_divergence(&divergence).unwrap();
        assert_eq!(store.divergence().unwrap(), Some(divergence.clone()));
        assert_eq!(store.evidence().unwrap(), [EvidenceRecord::Divergence(divergence)]);
        store.remove().unwrap();
        assert_eq!(store.divergence().unwrap(), None, "the vat may come here again");
        assert_eq!(store.evidence().unwrap().len(), 1);
    });
}

#[test]
fn rocksdb_keeps_its_records_and_refuses_what_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path()).unwrap();
    store.write(vec![put(Family::Log, "1", "x")]).unwrap();
    assert!(matches!(RocksStore::open(directory.path()), Err(StoreError::Locked { .. })));
    drop(store);
    let store = RocksStore::open(directory.path()).unwrap();
    assert_eq!(keys(&store, Family::Log, "0", "9"), ["1"]);
    store.write(vec![put(Family::Meta, "!format", "quorate-store/999")]).unwrap();
    drop(store);
    let Err(error) = RocksStore::open(directory.path()) else { panic!("another format must be refused") };
    let text = error.to_string();
    assert!(text.contains("quorate-store/999") && text.contains("quorate-store/3"), "{text}");
}

#[test]
fn a_torn_tail_of_the_log_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path()).unwrap();
    for number in 0..100u32 {
        store.write(vec![put(Family::Log, &format!("{number:03}"), &"x".repeat(100))]).unwrap();
    }
    store.sync().unwrap();
    // Copied while it is open, as a crash would leave it, and then torn.
    let copy = tempfile::tempdir().unwrap();
    let mut newest = None;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let target = copy.path().join(entry.file_name());
        std::fs::copy(entry.path(), &target).unwrap();
        if target.extension().is_some_and(|extension| extension == "log") {
            newest = newest.max(Some(target));
        }
    }
    let log = newest.unwrap();
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 1_000).unwrap();
    let torn = RocksStore::open(copy.path()).unwrap();
    let found = keys(&torn, Family::Log, "000", "999");
    assert!(found.len() < 100 && found.len() > 50, "{}", found.len());
    assert_eq!(found, (0..found.len()).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

#[test]
fn prefixes_end_where_they_should() {
    assert_eq!(prefix_end(b"ab"), b"ac");
    assert_eq!(prefix_end(&[1, 255]), [2]);
    assert!(prefix_end(&[255, 255]).as_slice() > &[255u8, 255, 255, 255][..]);
}

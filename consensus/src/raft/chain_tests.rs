//! The chain beside the log's entries: through truncations, cuts, restarts, and checkpoints of what never came here.
#![allow(clippy::unwrap_used)]

use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use quorate_ids::{Hash, VatId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::log::LogStore;
use super::types::{BlockData, Entry, log_id, vote};
use crate::error::StoreError;
use crate::order::chain;
use crate::order::frames::WireEntry;
use crate::state::{LogPosition, RaftMembership};
use crate::stats::StatsCell;
use crate::storage::{Family, Flushed, MemoryStore, Record, SCAN_BYTES, Store, VatStore, Write};

const VAT: VatId = VatId([5; 32]);

fn open(store: &Arc<MemoryStore>) -> LogStore {
    let shared: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    LogStore::open(VatStore::new(shared, VAT), Arc::new(StatsCell::default())).unwrap()
}

fn entry(term: u64, index: u64, byte: u8) -> Entry {
    let payload = EntryPayload::Normal(BlockData(vec![byte].into()));
    Entry { log_id: log_id(LogPosition { term, index }), payload }
}

async fn append(log: &mut LogStore, entries: &[Entry]) {
    log.append(entries.to_vec(), IOFlushed::noop()).await.unwrap();
}

/// The chain after these entries, as anybody would compute it.
fn chain_of(entries: &[Entry]) -> Hash {
    entries.iter().fold(chain::root(&VAT), |before, entry| chain::next(&before, &WireEntry::from(entry)))
}

#[tokio::test]
async fn a_log_begins_on_disk_whatever_vote_was_cast_before() {
    let store = Arc::new(MemoryStore::new());
    let first = WireEntry::first(RaftMembership { configs: vec![BTreeSet::new()], nodes: BTreeMap::new() });
    let mut log = open(&store);
    log.save_vote(&vote(30, 1, false)).await.unwrap();
    assert!(log.begin(&first).unwrap());
    assert!(!log.begin(&first).unwrap(), "it has begun");
    store.crash();
    let mut log = open(&store);
    assert!(!log.begin(&first).unwrap(), "it is on disk");
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(LogPosition { term: 0, index: 0 })));
    let own = log.chain(0).unwrap();
    // What follows is chained to it.
    append(&mut log, &[entry(31, 1, 1)]).await;
    assert_eq!(own, chain::next(&chain::root(&VAT), &first));
    assert_eq!(log.chain(1).unwrap(), chain::next(&own, &WireEntry::from(&entry(31, 1, 1))));
    // A log that was cut is not empty, though nothing is in it.
    log.purge(log_id(LogPosition { term: 31, index: 1 })).await.unwrap();
    assert!(!open(&store).begin(&first).unwrap());
}

#[tokio::test]
async fn the_chain_follows_what_is_in_the_log() {
    let store = Arc::new(MemoryStore::new());
    let mut log = open(&store);
    let mut entries: Vec<Entry> = (0..10).map(|index| entry(1, index, 1)).collect();
    append(&mut log, &entries[..4]).await;
    append(&mut log, &entries[4..]).await;
    assert_eq!(log.chain(9).unwrap(), chain_of(&entries));
    assert!(log.chain(10).is_err(), "it is not there");
    // What a later leader writes over it.
    log.truncate_after(Some(log_id(LogPosition { term: 1, index: 5 }))).await.unwrap();
    assert_eq!(open(&store).ends().0, 5, "nothing that was taken away comes back");
    entries.truncate(6);
    entries.extend((6..9).map(|index| entry(2, index, 2)));
    append(&mut log, &entries[6..]).await;
    assert_eq!(log.chain(8).unwrap(), chain_of(&entries));
    // It is the same for another life, and for one whose log was cut.
    assert_eq!(open(&store).chain(8).unwrap(), chain_of(&entries));
    log.purge(log_id(LogPosition { term: 2, index: 7 })).await.unwrap();
    assert_eq!(log.chain(7).unwrap(), chain_of(&entries[..8]));
    assert!(log.chain(6).is_err(), "it is gone");
    let mut log = open(&store);
    entries.push(entry(3, 9, 3));
    append(&mut log, &entries[9..]).await;
    assert_eq!(log.chain(9).unwrap(), chain_of(&entries));
}

#[tokio::test]
async fn after_a_checkpoint_the_chain_continues_from_what_was_certified() {
    let entries: Vec<Entry> = (0..30).map(|index| entry(1, index, 1)).collect();
    let certified = chain_of(&entries[..20]);
    // A member that has nothing, one that is behind, and one that was shown other entries under the same names.
    for (known, byte) in [(0, 1), (5, 1), (25, 9)] {
        let store = Arc::new(MemoryStore::new());
        let mut log = open(&store);
        let shown: Vec<Entry> = (0..known).map(|index| entry(1, index, byte)).collect();
        if known > 0 {
            append(&mut log, &shown).await;
        }
        assert!(
            known > 19 || log.clone().purge(entries[19].log_id).await.is_err(),
            "nothing says what the chain is there"
        );
        log.anchor(19, certified);
        log.purge(entries[19].log_id).await.unwrap();
        assert_eq!(log.chain(19).unwrap(), certified);
        let mut wanted: Vec<Entry> = entries[..20].to_vec();
        wanted.extend(shown.iter().skip(20).cloned());
        let last = wanted.len() as u64 - 1;
        assert_eq!(log.chain(last).unwrap(), chain_of(&wanted), "what came after it is chained to what was certified");
        wanted.push(entry(1, last + 1, 1));
        append(&mut log, &wanted[wanted.len() - 1..]).await;
        assert_eq!(open(&store).chain(last + 1).unwrap(), chain_of(&wanted));
    }
}

/// What happens after records were read, and before they are used.
type AfterRead = Box<dyn FnMut(&[Record]) + Send>;

/// A store whose reads of many records are followed by something.
struct Watched {
    store: MemoryStore,
    then: Mutex<AfterRead>,
}

impl Watched {
    fn new() -> Arc<Watched> {
        Arc::new(Watched { store: MemoryStore::new(), then: Mutex::new(Box::new(|_| {})) })
    }

    fn after_reads(&self, then: impl FnMut(&[Record]) + Send + 'static) {
        *self.then.lock().unwrap() = Box::new(then);
    }

    fn read(&self, found: Vec<Record>) -> Vec<Record> {
        // What happens may read as well, without being followed by itself.
        let mut then = std::mem::replace(&mut *self.then.lock().unwrap(), Box::new(|_| {}));
        then(&found);
        *self.then.lock().unwrap() = then;
        found
    }
}

impl Store for Watched {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.store.write(batch)
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.store.write_then(batch, flushed)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family, key)
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.scan(family, from, to, limit).map(|found| self.read(found))
    }

    fn scan_bytes(&self, family: Family, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<Record>, StoreError> {
        self.store.scan_bytes(family, from, to, bytes).map(|found| self.read(found))
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.keys(family, from, to, limit)
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        self.store.last(family, from, to)
    }
}

#[tokio::test]
async fn what_was_read_before_the_chain_was_made_anew_is_not_remembered() {
    let store = Watched::new();
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let open = || LogStore::open(VatStore::new(Arc::clone(&shared), VAT), Arc::new(StatsCell::default())).unwrap();
    let shown: Vec<Entry> = (0..10).map(|index| entry(1, index, 9)).collect();
    append(&mut open(), &shown).await;
    // Another life: nothing is in memory.
    let mut log = open();
    let certified = Hash([7; 32]);
    let (mut cut, at) = (log.clone(), shown[4].log_id);
    let mut is_cut = false;
    store.after_reads(move |_| {
        if !std::mem::replace(&mut is_cut, true) {
            cut.anchor(4, certified);
            futures::executor::block_on(cut.purge(at)).unwrap();
        }
    });
    log.try_get_log_entries(0..10).await.unwrap();
    let wanted = shown[5..].iter().fold(certified, |before, entry| chain::next(&before, &WireEntry::from(entry)));
    assert_eq!(log.chain(9).unwrap(), wanted);
}

/// A member that catches up is sent what fits a frame: large entries after that are not read for nothing.
#[tokio::test]
async fn no_more_of_a_log_is_read_than_goes_on() {
    let (store, most) = (Watched::new(), Arc::new(AtomicUsize::default()));
    let counted = Arc::clone(&most);
    store.after_reads(move |found| {
        counted.fetch_max(found.iter().map(|(_, value)| value.len()).sum(), Ordering::SeqCst);
    });
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let open = || LogStore::open(VatStore::new(Arc::clone(&shared), VAT), Arc::new(StatsCell::default())).unwrap();
    let large = |index| {
        let payload = EntryPayload::Normal(BlockData(vec![7; SCAN_BYTES / 2].into()));
        Entry { log_id: log_id(LogPosition { term: 1, index }), payload }
    };
    let entries: Vec<Entry> = (0..40).map(large).collect();
    append(&mut open(), &entries).await;
    let mut log = open();
    let first = log.limited_get_log_entries(0, 40).await.unwrap();
    assert_eq!(first.len(), 1, "two are more than a read gives, with what surrounds them");
    let all = log.try_get_log_entries(0..40).await.unwrap();
    assert_eq!(all.len(), entries.len());
    let most = most.load(Ordering::SeqCst);
    assert!(most <= SCAN_BYTES, "{most} bytes were read at once");
}

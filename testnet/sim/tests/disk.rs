//! The disk of a world is a store like the others, and loses what a disk may lose.

use quorate_consensus::testing::{log_conforms, store_conforms};
use quorate_consensus::{Family, Store, StoreError, Write};
use quorate_sim::dice::Dice;
use quorate_sim::disk::{Disk, End, OpenDisk};
use quorate_sim::trace::Trace;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn disk(seed: u64) -> Arc<Disk> {
    Disk::new("a disk", Dice::new(seed, "disk"), Trace::new(None))
}

#[tokio::test(start_paused = true)]
async fn it_conforms_as_a_store() {
    store_conforms(|| disk(1).open());
}

#[tokio::test(start_paused = true)]
async fn a_log_on_it_conforms() {
    log_conforms(|| ((), disk(1).open() as Arc<dyn Store>)).await;
}

fn write(store: &OpenDisk, number: u8) {
    let puts = [0, 1].map(|half| Write::Put(Family::Log, vec![number, half], vec![number; usize::from(number)]));
    store.write(puts.to_vec()).expect("it is well");
}

/// The numbers that are there, each of which is whole.
fn found(store: &OpenDisk) -> Vec<u8> {
    let keys = store.keys(Family::Log, &[0], &[255], usize::MAX).expect("it is well");
    let numbers: Vec<u8> = keys.iter().map(|key| key[0]).collect();
    assert!(numbers.len().is_multiple_of(2), "half a batch: {numbers:?}");
    numbers.into_iter().step_by(2).collect()
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_keeps_what_was_synced_and_a_prefix_of_the_rest() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        let store = disk.open();
        (0..5).for_each(|number| write(&store, number));
        store.sync().expect("it is well");
        (5..10).for_each(|number| write(&store, number));
        disk.end(End::PowerCut);
        assert!(matches!(store.get(Family::Log, &[0, 0]), Err(StoreError::Io(_))), "that process has ended");
        let found = found(&disk.open());
        assert!(found.len() >= 5, "{found:?}");
        assert_eq!(found, (0..10).take(found.len()).collect::<Vec<u8>>());
        kept.insert(found.len());
    }
    assert!(kept.len() > 3, "it ends anywhere: {kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_loses_nothing_and_is_not_called_back() {
    let disk = disk(1);
    let store = disk.open();
    disk.set_sync_ms(50, 50);
    let called = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&called);
    let flushed = Box::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    write(&store, 0);
    store.write_then(vec![Write::Put(Family::State, vec![1], vec![1])], flushed).expect("it is well");
    disk.end(End::Killed);
    let store = disk.open();
    assert_eq!(found(&store), [0]);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(called.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_it_refuses_everything_until_it_is_opened_anew() {
    let disk = disk(1);
    let store = disk.open();
    write(&store, 0);
    store.sync().expect("it is well");
    disk.fail_next_sync();
    write(&store, 1);
    assert!(store.sync().is_err() && disk.has_failed());
    assert!(store.write(Vec::new()).is_err() && store.get(Family::Log, &[0, 0]).is_err() && store.failure().is_some());
    disk.end(End::Killed);
    let found = found(&disk.open());
    assert!(found == [0] || found == [0, 1], "{found:?}");
}

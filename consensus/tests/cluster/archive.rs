//! Blocks that were cut from the log are executed again from the archive.

use crate::common::*;
use quorate_consensus::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn options(folder: &Path, has_room: &Arc<AtomicBool>) -> Option<ArchiveOptions> {
    let has_room = Arc::clone(has_room);
    let room = Arc::new(move || if has_room.load(Ordering::SeqCst) { Ok(()) } else { Err("no room".to_owned()) });
    Some(ArchiveOptions { folder: folder.to_owned(), bytes: 1 << 30, blocks: None, room })
}

/// Executes again what a host and its archive have from a block on. Returns where it began, and the verdicts of all blocks from there.
fn replay(
    cluster: &Cluster,
    place: usize,
    folder: &Path,
    from: u64,
) -> Result<(Option<u64>, Vec<Verdict>), ReplayError> {
    let store = Arc::clone(&cluster.nodes[place].store) as Arc<dyn Store>;
    let mut replay = Replay::begin(store, &cluster.genesis, Toy::default(), Some(folder), Some(from))?;
    let mut verdicts = Vec::new();
    let (mut next, _) = replay.bounds();
    while let Some(block) = replay.step()? {
        assert_eq!(block.block, next);
        next += 1;
        verdicts.push(block.verdict);
    }
    Ok((replay.started_at(), verdicts))
}

async fn purged(cluster: &Cluster, place: usize, beyond: u64) -> u64 {
    wait("a cut", || Some(cluster.nodes[place].up().status().purged).filter(|purged| *purged > beyond)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_executed_from_its_first_block_after_it_was_cut_there() {
    let (folder, has_room) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(true)));
    let mut cluster = Cluster::new(3, 2, Parameters { checkpoint_commands: 4, ..parameters() });
    cluster.nodes[0].archive = options(folder.path(), &has_room);
    for place in 0..3 {
        cluster.start(place).await;
    }
    // What is proposed at a member is answered when that one has executed it, so this one is never far behind.
    let mut sent = 0_u64;
    while cluster.nodes[0].up().status().purged < 10 {
        cluster.propose(0, &sent.to_be_bytes()).await;
        sent += 1;
    }
    // The power goes, wherever archive and log are.
    cluster.stop(0).await;
    cluster.nodes[0].store.crash();
    cluster.start(0).await;
    let first = cluster.nodes[0].up().status().purged;
    // No room: the log stays.
    has_room.store(false, Ordering::SeqCst);
    while cluster.nodes[0].up().status().stats.archive.failures < 3 {
        cluster.propose(0, &sent.to_be_bytes()).await;
        sent += 1;
    }
    assert!(cluster.nodes[0].up().status().purged <= first.max(cluster.nodes[0].up().status().stats.archive.next));
    let held = cluster.nodes[0].up().status();
    has_room.store(true, Ordering::SeqCst);
    while cluster.nodes[0].up().status().purged <= held.last_log {
        cluster.propose(0, &sent.to_be_bytes()).await;
        sent += 1;
    }
    let cut = purged(&cluster, 0, held.last_log).await;
    let stats = cluster.nodes[0].up().status().stats.archive;
    assert!(stats.oldest == 0 && stats.next > cut && stats.bytes > 0, "{stats:?}");
    for place in 0..3 {
        cluster.stop(place).await;
    }
    let (began, verdicts) = replay(&cluster, 0, folder.path(), 0).unwrap();
    assert_eq!(began, None, "at the genesis");
    assert!(verdicts.len() as u64 > cut, "{} blocks, cut at {cut}", verdicts.len());
    let differ = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Differs { .. })).count();
    assert_eq!(differ, 0, "{verdicts:?}");
    let is_certified = |verdict: &&Verdict| matches!(verdict, Verdict::Certified { .. });
    let archived = verdicts[..cut as usize].iter().filter(is_certified).count();
    assert!(archived >= 5, "certificates are archived, too: {verdicts:?}");

    // Another member, with the archive of the first one.
    assert!(replay(&cluster, 1, folder.path(), 0).is_ok());
    // Without an archive there is nothing.
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(replay(&cluster, 0, empty.path(), 0), Err(ReplayError::NotArchived { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_begins_later_begins_with_a_checkpoint() {
    let (folder, has_room) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(true)));
    let mut cluster = Cluster::started(1, 1, Parameters { checkpoint_commands: 4, ..parameters() }).await;
    let mut sent = 0_u64;
    while cluster.nodes[0].up().status().purged < 10 {
        cluster.propose(0, &sent.to_be_bytes()).await;
        sent += 1;
    }
    cluster.stop(0).await;
    cluster.nodes[0].archive = options(folder.path(), &has_room);
    cluster.start(0).await;
    let begins = |cluster: &Cluster| cluster.nodes[0].up().status().stats.archive.oldest;
    while begins(&cluster) == 0 || cluster.nodes[0].up().status().purged < begins(&cluster) + 20 {
        cluster.propose(0, &sent.to_be_bytes()).await;
        sent += 1;
    }
    let stats = cluster.nodes[0].up().status().stats.archive;
    cluster.stop(0).await;
    assert!(stats.oldest > 10, "{stats:?}");
    let (began, verdicts) = replay(&cluster, 0, folder.path(), stats.oldest + 3).unwrap();
    assert_eq!(began, Some(stats.oldest - 1));
    assert!(verdicts.len() > 20, "{verdicts:?}");
    let certified = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Certified { .. })).count();
    let differ = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Differs { .. })).count();
    assert!(certified > 10 && differ == 0, "{verdicts:?}");
    match replay(&cluster, 0, folder.path(), 5) {
        Err(ReplayError::NotArchived { from: 5, kept, .. }) => {
            assert!(kept.starts_with(&format!("{} to ", stats.oldest)), "{kept}");
        }
        other => panic!("{other:?}"),
    }

    // A damaged file is named, with what to do.
    let vat = folder.path().join(cluster.genesis.vat_id().to_string());
    let files = std::fs::read_dir(&vat).unwrap().map(|entry| entry.unwrap().path());
    let file = files.filter(|path| path.extension().is_some_and(|end| end == "blocks")).min().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = replay(&cluster, 0, folder.path(), stats.oldest + 3).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("--archive"), "{error}");
}

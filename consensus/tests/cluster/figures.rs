//! What replicas count and measure, for those who watch them.

use std::collections::BTreeSet;

use crate::common::*;
use quorate_consensus::*;

/// More disagreements than any bound on evidence or reports.
const MANY: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_counted_without_end_and_reported_anew_after_a_restart() {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.nodes[2].lying = true;
    for place in 0..3 {
        cluster.start(place).await;
    }
    for number in 0..MANY {
        cluster.propose(0, &number.to_be_bytes()).await;
    }
    let counted = |cluster: &Cluster| cluster.nodes[0].up().status().stats.disagreements;
    wait("every disagreement", || (counted(&cluster) >= MANY).then_some(())).await;
    let status = cluster.nodes[0].up().status();
    assert!(status.stats.equivocations.is_empty(), "no member is accused");
    let kept = cluster.nodes[0].up().evidence().unwrap();
    assert!(!kept.is_empty() && kept.len() < 100, "{} of {} are kept", kept.len(), status.disagreements);
    wait("every report", || (cluster.nodes[0].log.lock().unwrap().evidence.len() as u64 >= MANY).then_some(())).await;

    cluster.stop(0).await;
    cluster.start(0).await;
    let last = cluster.propose(0, b"after").await.block;
    wait("a report of the new life", || {
        let log = cluster.nodes[0].log.lock().unwrap();
        log.evidence.iter().any(|record| record.place() == (0, Some(last))).then_some(())
    })
    .await;
    assert!(counted(&cluster) > 0);
    assert!(cluster.nodes[0].up().status().disagreements > status.disagreements, "what is in the store is counted on");
    assert_eq!(cluster.nodes[0].up().evidence().unwrap(), kept, "no more is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_has_a_size_whole_and_new() {
    let mut cluster = Cluster::started(1, 1, Parameters { checkpoint_commands: 4, ..parameters() }).await;
    let newest = |cluster: &Cluster| cluster.nodes[0].up().status().stats.newest_checkpoint;
    // A checkpoint is made with the first block after four commands: the fifth, and the tenth.
    for number in 0..10u64 {
        cluster.propose(0, &number.to_be_bytes()).await;
    }
    let stats = wait("the second checkpoint", || {
        Some(cluster.nodes[0].up().status().stats).filter(|stats| stats.checkpoints == 2)
    })
    .await;
    let (pages, manifest) = cluster.nodes[0]
        .up()
        .inspect(|toy: &mut Toy| {
            let pages: BTreeSet<_> = toy.pages.iter().cloned().collect();
            (pages.len() * PAGE_BYTES, 40 + 32 * PAGES)
        })
        .await
        .unwrap();
    let CheckpointSize { whole, new } = stats.newest_checkpoint;
    // The rest is the replicated state: the membership, mostly.
    let rest = whole.checked_sub((pages + manifest) as u64).unwrap();
    assert!((1..1_000).contains(&rest), "{whole} bytes for {pages} of pages and {manifest} of manifest");
    // Five commands write to five pages at most.
    assert!(new < whole && new <= rest + (manifest + 5 * PAGE_BYTES) as u64, "{new} of {whole} bytes are new");
    assert!(stats.checkpoint_bytes > new, "that of the first one is in the sum");

    cluster.stop(0).await;
    cluster.start(0).await;
    let restored = newest(&cluster);
    assert_eq!(restored, CheckpointSize { whole, new: 0 });
}

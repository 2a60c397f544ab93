//! A disk that fails, at whatever write: the replica stops, and says why. And with what the disk has then it goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

/// Writes that go well before one fails: each of the first ones, and some of those after.
fn counts() -> impl Iterator<Item = u64> {
    (0..12).chain((12..).step_by(5))
}

fn often() -> Parameters {
    Parameters { checkpoint_commands: 5, ..parameters() }
}

/// Waits until the replica says that it has a fault, which is that of its disk, or until its work is done. Returns whether it has.
async fn faults(cluster: &Cluster, place: usize, is_done: impl Fn(&ReplicaStatus) -> bool) -> bool {
    let node = &cluster.nodes[place];
    let fault = wait("a fault, or the end of the work", || match node.log.lock().unwrap().fault.clone() {
        Some(text) => Some(Some(text)),
        None => is_done(&node.up().status()).then_some(None),
    })
    .await;
    if let Some(text) = &fault {
        assert!(text.contains("the disk failed"), "{text}");
        assert_eq!(node.up().status().role, Role::Faulted);
    }
    fault.is_some()
}

fn has_joined(status: &ReplicaStatus) -> bool {
    status.epoch == 1 && status.certified_epoch == 1 && status.role == Role::Follower && status.uncertified == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_whose_disk_fails_says_so_and_joins_with_another() {
    for (faulted, writes) in counts().enumerate() {
        let mut cluster = Cluster::started(1, 1, often()).await;
        for _ in 0..12 {
            cluster.propose(0, b"before").await;
        }
        let failed = cluster.failing_learner(writes).await;
        let place = cluster.nodes.len() - 1;
        if let Err(error) = &failed {
            assert!(error.to_string().contains("the disk failed"), "{error}");
        }
        let (leader, change) = (cluster.nodes[0].up().clone(), Change::Add(cluster.nodes[place].member()));
        tokio::spawn(async move { leader.reconfigure(change, None, Duration::from_secs(20)).await });
        if failed.is_ok() && !faults(&cluster, place, has_joined).await {
            assert!(faulted > 8, "it joined after {writes} writes");
            return;
        }
        cluster.stop(place).await;
        cluster.nodes[place].store = Arc::new(cluster.nodes[place].store.synced());
        cluster.start(place).await;
        wait("the newcomer", || has_joined(&cluster.nodes[place].up().status()).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_disk_fails_says_so() {
    for (faulted, writes) in counts().enumerate() {
        let cluster = Cluster::started(3, 2, often()).await;
        let first = cluster.propose(0, b"before").await.block;
        cluster.wait_certified(first).await;
        let leader = cluster.wait_for_leader().await;
        // In turn the leader and another.
        let place = if writes % 2 == 0 { leader } else { (leader + 1) % 3 };
        cluster.nodes[place].store.fail_after(writes);
        let mut last = 0;
        for _ in 0..8 {
            last = cluster.propose((leader + 2) % 3, b"more").await.block;
        }
        let is_done = |status: &ReplicaStatus| status.applied >= last && status.certified_block >= last;
        if !faults(&cluster, place, is_done).await {
            assert!(faulted > 8, "it had done all after {writes} writes");
            return;
        }
    }
}

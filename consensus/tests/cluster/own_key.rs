//! A host whose log was rolled back, and two processes with one key.

use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

async fn propose_many(cluster: &Cluster, place: usize, count: u64) -> u64 {
    let mut last = 0;
    for number in 0..count {
        last = cluster.propose(place, &number.to_be_bytes()).await.block;
    }
    last
}

fn fault(cluster: &Cluster, place: usize) -> Option<String> {
    cluster.nodes[place].up().status().fault
}

/// Three members of which one, not the leader, has its disk as it was some commands ago. Returns its place.
async fn rolled_back() -> (Cluster, usize, u64) {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    propose_many(&cluster, 0, 10).await;
    let victim = (cluster.wait_for_leader().await + 1) % 3;
    let early = cluster.nodes[victim].store.copy();
    let last = propose_many(&cluster, (victim + 1) % 3, 30).await;
    cluster.wait_certified(last).await;
    cluster.stop(victim).await;
    cluster.nodes[victim].store = Arc::new(early);
    (cluster, victim, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_log_was_rolled_back_stops_and_comes_back_as_a_learner() {
    let (mut cluster, victim, last) = rolled_back().await;
    cluster.start(victim).await;
    let text = wait("the fault", || fault(&cluster, victim)).await;
    assert!(text.starts_with("Q-C045 ") && text.contains("rolled back"), "{text}");
    // Its word is not needed meanwhile, and it does not vote while it lacks what it signed, however often it starts, and even if the
    // power is cut as soon as it has said so.
    cluster.crash(victim).await;
    cluster.hub.isolate(&cluster.nodes[victim].member());
    cluster.start(victim).await;
    let status = cluster.nodes[victim].up().status();
    assert!(status.recovering.is_some_and(|block| block <= last && block > status.last_log), "{status:?}");
    assert_eq!(status.fault, None);
    cluster.hub.heal();
    let proposed = cluster.propose((victim + 1) % 3, b"after").await;
    cluster.wait_applied(proposed.block).await;
    cluster.wait_certified(proposed.block).await;
    wait("the end of the recovery", || cluster.nodes[victim].up().status().recovering.is_none().then_some(())).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
    // It counts again: with another one down, the vat goes on.
    let other = (victim + 1) % 3;
    cluster.stop(other).await;
    cluster.propose(victim, b"with two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commands_outlive_a_rolled_back_log_and_a_crash() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    propose_many(&cluster, 0, 10).await;
    let leader = cluster.wait_for_leader().await;
    let (victim, away) = ((leader + 1) % 3, (leader + 2) % 3);
    let early = cluster.nodes[victim].store.copy();
    cluster.stop(away).await;
    propose_many(&cluster, leader, 30).await;
    cluster.stop(victim).await;
    cluster.nodes[victim].store = Arc::new(early);
    // It is told by the only other member that knows, which then crashes.
    cluster.start(victim).await;
    wait("the fault", || fault(&cluster, victim)).await;
    cluster.stop(leader).await;
    cluster.stop(victim).await;
    cluster.start(victim).await;
    cluster.start(away).await;
    // These two are a majority, and must not go on without what only the crashed one has.
    let refused = cluster.nodes[away].up().propose(b"over it".to_vec(), Duration::from_secs(2)).await;
    assert!(refused.is_err(), "{refused:?}");
    cluster.start(leader).await;
    let proposed = cluster.propose(away, b"after").await;
    cluster.wait_applied(proposed.block).await;
    for place in 0..3 {
        let (counter, _) = cluster.state(place).await;
        assert!(counter >= 41, "{counter} of 41 at {place}");
    }
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolled_back_follower_catches_up_under_the_leader_that_knew_it_further() {
    // Nothing but the leader's log tells it: the shares are not passed on.
    let (mut cluster, victim, last) = rolled_back().await;
    cluster.hub.mute(Channel::Share);
    cluster.start(victim).await;
    wait("applied", || (cluster.nodes[victim].up().status().applied >= last).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_with_one_key_one_stops() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    let last = propose_many(&cluster, 0, 5).await;
    cluster.wait_certified(last).await;
    let first = cluster.nodes[0].handle.clone().unwrap();
    // The same home and key once more, while the first one runs.
    cluster.nodes[0].store = Arc::new(cluster.nodes[0].store.copy());
    cluster.start(0).await;
    let text = wait("a fault", || first.status().fault.or_else(|| fault(&cluster, 0))).await;
    assert!(text.starts_with("Q-C046 ") && text.contains("another process"), "{text}");
    for place in 1..3 {
        assert_eq!(fault(&cluster, place), None);
    }
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_restarts_is_no_second_process() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    for round in 0..4u64 {
        let last = propose_many(&cluster, 1, 3).await;
        cluster.wait_certified(last).await;
        cluster.crash(usize::try_from(round % 3).unwrap()).await;
        cluster.start(usize::try_from(round % 3).unwrap()).await;
        tokio::time::sleep(Timing::quick().share_retry * 6).await;
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_does_not_move_says_so() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let victim = (cluster.wait_for_leader().await + 1) % 3;
    propose_many(&cluster, (victim + 1) % 3, 3).await;
    // It hears heartbeats, and of what is committed, but gets no entries.
    cluster.hub.mute_to(cluster.nodes[victim].id(), Channel::Append);
    cluster.hub.mute_to(cluster.nodes[victim].id(), Channel::Snapshot);
    let last = propose_many(&cluster, (victim + 1) % 3, 3).await;
    wait("it notices", || {
        let status = cluster.nodes[victim].up().status();
        (status.stalled_ms > 0 && status.leader_committed >= last && status.applied < last).then_some(())
    })
    .await;
    cluster.hub.heal();
    wait("it moves", || (cluster.nodes[victim].up().status().stalled_ms == 0).then_some(())).await;
    cluster.assert_no_trouble();
}

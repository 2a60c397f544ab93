//! Members far from each other, with the timing of real hosts: heartbeats of 150 ms, round trips of up to a second.

use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

/// Longer than the longest time for which a leader is believed in without a word, twice over.
const IDLE: Duration = Duration::from_secs(4);

async fn far_apart(one_way_ms: u64, jitter_ms: u64, loss_of_thousand: u64) {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.timing = Timing::default();
    for place in 0..3 {
        cluster.start(place).await;
    }
    let first = cluster.propose(0, b"near").await;
    cluster.wait_applied(first.block).await;
    cluster.hub.delay(Duration::from_millis(one_way_ms), Duration::from_millis(jitter_ms));
    cluster.hub.lose(loss_of_thousand);
    tokio::time::sleep(IDLE).await;
    for number in 0..2u64 {
        // At the leader and elsewhere; not tried again: nothing stands in the way.
        for place in 0..3 {
            let command = [&number.to_be_bytes()[..], &[u8::try_from(place).unwrap()]].concat();
            if loss_of_thousand > 0 {
                // The frame with the proposal, or with its result, may be among those that are lost.
                cluster.propose(place, &command).await;
                continue;
            }
            let proposed = cluster.nodes[place].up().propose(command, Duration::from_secs(20)).await;
            assert!(proposed.is_ok(), "at member {place} after {number} pauses: {proposed:?}");
        }
        tokio::time::sleep(IDLE).await;
        for node in &cluster.nodes {
            assert!(node.up().status().leader.is_some(), "a member knows no leader");
        }
    }
    cluster.assert_no_trouble();
}

/// The terms that an idle vat reaches say how many elections there were.
async fn term_after_idling(one_way_ms: u64, jitter_ms: u64) -> (u64, u64) {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.timing = Timing::default();
    for place in 0..3 {
        cluster.start(place).await;
    }
    cluster.wait_for_leader().await;
    cluster.hub.delay(Duration::from_millis(one_way_ms), Duration::from_millis(jitter_ms));
    tokio::time::sleep(IDLE).await;
    let before = cluster.nodes[0].up().status().term;
    tokio::time::sleep(IDLE).await;
    (before, cluster.nodes[0].up().status().term)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_20_ms_apart_answer_after_idling() {
    far_apart(10, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_100_ms_apart_answer_after_idling() {
    far_apart(50, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_200_ms_apart_answer_after_idling() {
    far_apart(100, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_400_ms_apart_answer_after_idling() {
    far_apart(200, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_a_second_apart_answer_after_idling() {
    far_apart(480, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_200_ms_apart_answer_after_idling_with_jitter_and_loss() {
    far_apart(70, 60, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_400_ms_apart_answer_after_idling_with_jitter_and_loss() {
    far_apart(150, 100, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_elections_while_distant_members_idle() {
    let (before, after) = term_after_idling(200, 100).await;
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_replaced_among_distant_members() {
    for one_way_ms in [100, 480] {
        let mut cluster = Cluster::new(3, 2, parameters());
        cluster.timing = Timing::default();
        for place in 0..3 {
            cluster.start(place).await;
        }
        let leader = cluster.wait_for_leader().await;
        cluster.hub.delay(Duration::from_millis(one_way_ms), Duration::from_millis(20));
        cluster.propose((leader + 1) % 3, b"one").await;
        cluster.crash(leader).await;
        cluster.propose((leader + 1) % 3, b"two").await;
        // All of them restart, at this distance.
        cluster.start(leader).await;
        for place in 0..3 {
            cluster.crash(place).await;
        }
        for place in 0..3 {
            cluster.start(place).await;
        }
        let proposed = cluster.propose((leader + 2) % 3, b"three").await;
        cluster.wait_applied(proposed.block).await;
        cluster.assert_equal_states().await;
    }
}

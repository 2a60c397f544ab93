//! Members far from each other, with the timing of real hosts: heartbeats of 150 ms, round trips of up to a second.

use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

/// Longer than the longest time for which a leader is believed in without a word, twice over.
const IDLE: Duration = Duration::from_secs(4);
/// A slow machine may hold an election at any time, so one good attempt is enough. A line that is merely long may not hold one after
/// the other, nor keep a vat silent that was idle.
const ATTEMPTS: u8 = 5;

async fn far_apart(one_way_ms: u64, jitter_ms: u64, loss_of_thousand: u64) {
    for _ in 0..ATTEMPTS {
        if answers_after_idling(one_way_ms, jitter_ms, loss_of_thousand).await {
            return;
        }
    }
    panic!("none of {ATTEMPTS} vats answered after each pause");
}

/// Whether a new vat whose members come to be far apart, and that is idle then, answers after each of two pauses.
async fn answers_after_idling(one_way_ms: u64, jitter_ms: u64, loss_of_thousand: u64) -> bool {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.timing = Timing::default();
    for place in 0..3 {
        cluster.start(place).await;
    }
    let first = cluster.propose(0, b"near").await;
    cluster.wait_applied(first.block).await;
    cluster.hub.delay(Duration::from_millis(one_way_ms), Duration::from_millis(jitter_ms));
    cluster.hub.lose(loss_of_thousand);
    let mut well = true;
    for round in 0..2 {
        tokio::time::sleep(IDLE).await;
        well &= all_answer(&cluster, round, loss_of_thousand > 0).await;
    }
    cluster.assert_no_trouble();
    for place in 0..3 {
        cluster.stop(place).await;
    }
    well
}

/// Whether each member, the leader and the others, knows a leader and answers a proposal that is made once: nothing stands in the
/// way. Where frames are lost, the one with the proposal or its result may be among them, and it is made again.
async fn all_answer(cluster: &Cluster, round: u8, lossy: bool) -> bool {
    let knows = |node: &Node| node.up().status().leader.is_some();
    let mut well = cluster.nodes.iter().all(knows);
    for place in 0..3 {
        let command = vec![round, u8::try_from(place).unwrap()];
        if lossy {
            cluster.propose(place, &command).await;
            continue;
        }
        let proposed = cluster.nodes[place].up().propose(command, Duration::from_secs(20)).await;
        if let Err(error) = proposed {
            eprintln!("at member {place} after {round} pauses: {error}");
            well = false;
        }
    }
    well
}

/// The terms that an idle vat reaches in each of some pauses say how many elections there were.
async fn terms_while_idling(one_way_ms: u64, jitter_ms: u64) -> Vec<u64> {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.timing = Timing::default();
    for place in 0..3 {
        cluster.start(place).await;
    }
    cluster.wait_for_leader().await;
    cluster.hub.delay(Duration::from_millis(one_way_ms), Duration::from_millis(jitter_ms));
    let mut terms = Vec::new();
    for _ in 0..ATTEMPTS {
        tokio::time::sleep(IDLE).await;
        terms.push(cluster.nodes[0].up().status().term);
        if terms.windows(2).any(|pair| pair[0] == pair[1]) {
            break;
        }
    }
    terms
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
    let terms = terms_while_idling(200, 100).await;
    assert!(terms.windows(2).any(|pair| pair[0] == pair[1]), "elections in each pause: {terms:?}");
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

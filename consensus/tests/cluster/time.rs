//! The log's time: alarms ring once, whoever crashes, and no clock of one member decides when.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::common::*;
use quorate_consensus::*;

const HOUR_MS: i64 = 3_600_000;

/// When the alarms of a member were to ring, and when they did.
async fn rung(cluster: &Cluster, place: usize) -> Vec<(u64, u64)> {
    cluster.nodes[place].up().inspect(|toy: &mut Toy| toy.rung.clone()).await.unwrap()
}

async fn wait_rung(cluster: &Cluster, count: usize) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for (place, _) in cluster.nodes.iter().enumerate().filter(|(_, node)| node.handle.is_some()) {
        let began = std::time::Instant::now();
        loop {
            let found = rung(cluster, place).await;
            if found.len() >= count {
                all.push(found);
                break;
            }
            assert!(began.elapsed().as_secs() < 180, "{} of {count} alarms have rung at {place}", found.len());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert!(all.windows(2).all(|pair| pair[0][..count] == pair[1][..count]), "{all:?}");
    all.swap_remove(0)
}

fn assert_in_time(rung: &[(u64, u64)]) {
    let now_ms = SystemClock.now_ms();
    for (at_ms, rung_ms) in rung {
        assert!(at_ms <= rung_ms, "rung {} ms early", at_ms - rung_ms);
        assert!(*rung_ms <= now_ms, "time is {} ms ahead of every honest clock", rung_ms - now_ms);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_ring_once_though_the_leader_crashes_before() {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 7, ..parameters() }).await;
    cluster.propose(0, b"timed").await;
    for _ in 0..3 {
        let leader = cluster.wait_for_leader().await;
        let other = (leader + 1) % 3;
        for ms in [100, 400, 900] {
            cluster.propose(other, format!("alarm {ms}").as_bytes()).await;
        }
        cluster.crash(leader).await;
        let expected = cluster.nodes[other].up().inspect(|toy: &mut Toy| toy.alarms.len() + toy.rung.len()).await;
        wait_rung(&cluster, expected.unwrap()).await;
        cluster.start(leader).await;
        let found = wait_rung(&cluster, expected.unwrap()).await;
        let alarms: BTreeSet<u64> = found.iter().map(|(at_ms, _)| *at_ms).collect();
        assert_eq!(alarms.len(), found.len(), "each alarm rings once: {found:?}");
        assert_in_time(&found);
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_ring_after_a_power_cut_of_all() {
    // From the log, and from a checkpoint.
    for checkpoint_commands in [1_000_000, 2] {
        let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands, ..parameters() }).await;
        cluster.propose(0, b"timed").await;
        for ms in [500, 700, 60_000_000] {
            let block = cluster.propose(1, format!("alarm {ms}").as_bytes()).await.block;
            cluster.wait_certified(block).await;
        }
        for place in 0..3 {
            cluster.crash(place).await;
        }
        for place in 0..3 {
            cluster.start(place).await;
        }
        // A command that was proposed twice has set an alarm twice.
        let found = wait_rung(&cluster, 2).await;
        assert_in_time(&found);
        let left = cluster.nodes[0].up().inspect(|toy: &mut Toy| toy.alarms.len()).await.unwrap();
        assert!(left >= 1, "the last one is far away");
        cluster.assert_no_trouble();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_clock_of_one_member_hastens_time_or_stops_it() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    cluster.propose(0, b"timed").await;
    let mut count = 0;
    for ahead_ms in [HOUR_MS, -HOUR_MS] {
        for offset in 0..2 {
            let leader = cluster.wait_for_leader().await;
            // Once the leader's, once another member's.
            let wrong = &cluster.nodes[(leader + offset) % 4].clock.ahead_ms;
            wrong.store(ahead_ms, Ordering::SeqCst);
            for ms in [50, 300] {
                cluster.propose((leader + 2) % 4, format!("alarm {ms}").as_bytes()).await;
                count += 1;
            }
            assert_in_time(&wait_rung(&cluster, count).await);
            wrong.store(0, Ordering::SeqCst);
        }
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_alarms_under_load_ring_once_each() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    cluster.propose(0, b"timed").await;
    let commands = (0..300_u64).map(|number| {
        let (cluster, place) = (&cluster, (number % 3) as usize);
        async move {
            let command = if number % 3 == 0 { format!("load {number}") } else { format!("alarm {}", number * 5) };
            cluster.propose(place, command.as_bytes()).await
        }
    });
    futures::future::join_all(commands).await;
    let found = wait_rung(&cluster, 200).await;
    assert_in_time(&found);
    let (rung, left) = cluster.nodes[1].up().inspect(|toy: &mut Toy| (toy.rung.len(), toy.alarms.len())).await.unwrap();
    cluster.assert_counted((rung + left) as u64, 200);
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_wants_the_time_it_stands_still() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    for _ in 0..5 {
        let block = cluster.propose(0, b"one").await.block;
        cluster.wait_certified(block).await;
    }
    for place in 0..3 {
        assert_eq!(cluster.nodes[place].up().status().log_time, LogTime::default());
    }
    // And where commands want it, they find it.
    cluster.propose(0, b"timed").await;
    let before = SystemClock.now_ms();
    cluster.propose(0, b"two").await;
    let now_ms = cluster.nodes[0].up().inspect(|toy: &mut Toy| toy.now_ms).await.unwrap();
    assert!(now_ms > before - 60_000 && now_ms <= SystemClock.now_ms(), "{now_ms} after {before}");
}

//! Vats in which nothing happens: they fall asleep, and wake for whatever anybody wants.

use super::common::*;
use quorate_consensus::*;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Members that are quickly bored.
async fn bored(members: u8, threshold: u16) -> Cluster {
    let mut cluster = Cluster::new(members, threshold, parameters());
    cluster.timing.rest_after = Duration::from_millis(200);
    for place in 0..cluster.nodes.len() {
        cluster.start(place).await;
    }
    cluster
}

impl Cluster {
    fn running(&self) -> impl Iterator<Item = &ReplicaHandle> {
        self.nodes.iter().filter_map(|node| node.handle.as_ref())
    }

    async fn wait_for_sleep(&self) {
        wait("sleep", || self.running().all(|handle| handle.status().asleep).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_in_which_nothing_happens_sends_nothing_and_answers_whatever_is_proposed() {
    let cluster = bored(3, 2).await;
    let leader = cluster.wait_for_leader().await;
    cluster.propose(leader, b"first").await;
    for (round, place) in (0..6).zip((0..3).cycle()) {
        cluster.wait_for_sleep().await;
        let frames = || cluster.hub.frames.load(Ordering::SeqCst);
        // What was under way has come.
        let mut before = frames();
        loop {
            tokio::time::sleep(cluster.timing.election_max * 2).await;
            if frames() == before {
                break;
            }
            before = frames();
        }
        let leaders: Vec<_> = cluster.running().map(|handle| handle.status().leader).collect();
        assert!(leaders.iter().all(|leader| leader.is_some()), "round {round}: {leaders:?}");
        let last = cluster.propose(place, b"again").await.block;
        cluster.wait_certified(last).await;
    }
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_vat_whose_leader_is_gone_answers_under_another() {
    let mut cluster = bored(3, 2).await;
    let leader = cluster.wait_for_leader().await;
    cluster.propose(leader, b"first").await;
    cluster.wait_for_sleep().await;
    cluster.stop(leader).await;
    let last = cluster.propose((leader + 1) % 3, b"second").await.block;
    cluster.wait_certified(last).await;
    // It sleeps without the one that is away.
    cluster.wait_for_sleep().await;
    // That one wakes the others when it comes back.
    cluster.start(leader).await;
    cluster.wait_applied(last).await;
    cluster.wait_for_sleep().await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_cut_off_gets_what_it_missed_in_its_sleep() {
    let cluster = bored(3, 2).await;
    let leader = cluster.wait_for_leader().await;
    cluster.propose(leader, b"first").await;
    cluster.wait_for_sleep().await;
    let away = (leader + 1) % 3;
    cluster.hub.isolate(&cluster.nodes[away].member());
    let last = cluster.propose(leader, b"second").await.block;
    let present = [leader, (leader + 2) % 3].map(|place| cluster.nodes[place].up());
    for handle in present {
        wait("certified", || (handle.status().certified_block >= last).then_some(())).await;
        wait("sleep", || handle.status().asleep.then_some(())).await;
    }
    cluster.hub.heal();
    cluster.wait_certified(last).await;
    cluster.wait_for_sleep().await;
    let last = cluster.propose(away, b"third").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_of_one_member_sleeps_and_members_come_and_go_while_it_does() {
    let mut cluster = bored(1, 1).await;
    cluster.propose(0, b"first").await;
    cluster.wait_for_sleep().await;
    let place = cluster.learner().await;
    let newcomer = cluster.nodes[place].member();
    let changed = cluster.nodes[0].up().reconfigure(Change::Add(newcomer), Some(2), Duration::from_secs(60)).await;
    changed.unwrap();
    wait("the newcomer", || (cluster.nodes[place].up().status().epoch == 1).then_some(())).await;
    cluster.wait_for_sleep().await;
    let last = cluster.propose(place, b"second").await.block;
    cluster.wait_applied(last).await;
    cluster.wait_for_sleep().await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

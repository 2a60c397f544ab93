//! Crashes, restarts, checkpoints, outages.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::*;
use quorate_consensus::*;

fn frequent(commands: u64) -> Parameters {
    Parameters { checkpoint_commands: commands, ..parameters() }
}

async fn propose_many(cluster: &Cluster, place: usize, count: u64) -> u64 {
    let mut last = 0;
    for number in 0..count {
        last = cluster.propose(place, &number.to_be_bytes()).await.block;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_member_restarts_from_its_checkpoint() {
    let mut cluster = Cluster::started(1, 1, frequent(10)).await;
    let last = propose_many(&cluster, 0, 45).await;
    cluster.wait_certified(last).await;
    wait("a checkpoint", || (cluster.nodes[0].up().status().checkpoint_block > 30).then_some(())).await;
    let before = cluster.state(0).await;
    cluster.crash(0).await;
    cluster.start(0).await;
    cluster.wait_applied(last).await;
    assert_eq!(cluster.state(0).await, before);
    let applied = cluster.nodes[0].up().inspect(|toy: &mut Toy| toy.applied).await.unwrap();
    assert!(applied < 15, "{applied} blocks were executed again");
    {
        let log = cluster.nodes[0].log.lock().unwrap();
        assert_eq!(log.restored.len(), 1);
    }
    let proposed = cluster.propose(0, b"after").await;
    assert_eq!(proposed.result, 46u64.to_be_bytes());
    cluster.wait_certified(proposed.block).await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_leaders_crash() {
    let mut cluster = Cluster::started(3, 2, frequent(25)).await;
    let mut acknowledged = 0;
    for round in 0..4u64 {
        let leader = cluster.wait_for_leader().await;
        let asked = (leader + 1) % 3;
        propose_many(&cluster, asked, 10).await;
        acknowledged += 10;
        cluster.crash(leader).await;
        let proposed = cluster.propose(asked, format!("round {round}").as_bytes()).await;
        acknowledged += 1;
        cluster.start(leader).await;
        cluster.wait_applied(proposed.block).await;
        // A command whose answer was lost may have been proposed twice; none may be missing.
        let (counter, _) = cluster.state(leader).await;
        assert!(counter >= acknowledged, "{counter} of {acknowledged}");
        cluster.wait_certified(proposed.block).await;
        cluster.assert_equal_states().await;
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_crash_at_once_and_go_on() {
    // With checkpoints and, so that nothing but the log can bring the commands back, without.
    for checkpoint_commands in [7, 1_000_000] {
        let mut cluster = Cluster::started(3, 2, frequent(checkpoint_commands)).await;
        let last = propose_many(&cluster, 0, 40).await;
        for place in 0..3 {
            cluster.crash(place).await;
        }
        for place in 0..3 {
            cluster.start(place).await;
        }
        let proposed = cluster.propose(1, b"after").await;
        assert!(proposed.block > last);
        cluster.assert_counted(u64::from_be_bytes(proposed.result[..].try_into().unwrap()), 41);
        cluster.wait_applied(proposed.block).await;
        cluster.wait_certified(proposed.block).await;
        cluster.assert_equal_states().await;
        cluster.assert_no_trouble();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cut_and_a_lagging_member_gets_a_checkpoint() {
    let mut cluster = Cluster::started(3, 2, frequent(10)).await;
    propose_many(&cluster, 0, 5).await;
    let away = (cluster.wait_for_leader().await + 1) % 3;
    let asked = (away + 1) % 3;
    cluster.stop(away).await;
    propose_many(&cluster, asked, 60).await;
    let leader = cluster.wait_for_leader().await;
    let purged = wait("a purge", || {
        let purged = cluster.nodes[leader].up().status().purged;
        (purged > 30).then_some(purged)
    })
    .await;
    assert!(purged < cluster.nodes[leader].up().status().checkpoint_block);
    assert_eq!(cluster.hub.snapshot_frames.load(Ordering::SeqCst), 0);
    cluster.start(away).await;
    let proposed = cluster.propose(asked, b"after").await;
    cluster.wait_applied(proposed.block).await;
    cluster.wait_certified(proposed.block).await;
    cluster.assert_equal_states().await;
    assert!(cluster.hub.snapshot_frames.load(Ordering::SeqCst) > 2);
    assert_eq!(cluster.nodes[away].log.lock().unwrap().restored.len(), 1);
    // And what it received is its own now: it restarts from it.
    cluster.crash(away).await;
    cluster.start(away).await;
    cluster.wait_applied(proposed.block).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// A majority has it in its log, which is what Raft calls committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_threshold_nothing_is_executed() {
    let mut cluster = Cluster::started(3, 3, frequent(10)).await;
    let first = cluster.propose(0, b"first").await.block;
    cluster.wait_certified(first).await;
    let leader = cluster.wait_for_leader().await;
    let [away, other] = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.stop(away).await;
    let before = cluster.nodes[leader].up().status().applied;
    let replica = cluster.nodes[leader].up().clone();
    // It may have to be proposed again below.
    tokio::spawn(async move { replica.propose(b"later".to_vec(), Duration::from_secs(60)).await });
    wait("a majority", || (cluster.nodes[leader].up().status().committed > before).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    for place in [leader, other] {
        let status = cluster.nodes[place].up().status();
        assert_eq!((status.applied, status.uncertified), (before, 0), "{place}");
    }
    cluster.start(away).await;
    let last = cluster.propose(other, b"after").await.block;
    cluster.wait_certified(last).await;
    wait("all certified", || cluster.nodes.iter().all(|node| node.up().status().uncertified == 0).then_some(())).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_signatures_the_log_is_cut_nowhere() {
    let cluster = Cluster::started(3, 2, frequent(10)).await;
    cluster.wait_for_leader().await;
    cluster.hub.mute(Channel::Share);
    let last = propose_many(&cluster, 0, 35).await;
    cluster.wait_applied(last).await;
    let node = cluster.nodes[0].up();
    wait("a local checkpoint", || (node.status().local_checkpoint_block > 0).then_some(())).await;
    let status = node.status();
    assert!(status.certified_block < last && status.uncertified > 0);
    assert_eq!((status.purged, status.checkpoint_block), (0, 0), "the log is cut at certified checkpoints only");
    cluster.hub.heal();
    cluster.wait_certified(last).await;
    wait("all certified", || cluster.nodes.iter().all(|node| node.up().status().uncertified == 0).then_some(())).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Openraft has committed what waits for one more acknowledgement. The member that can give it needs a checkpoint first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_sent_while_entries_wait_for_the_acknowledgement_of_its_receiver() {
    let mut cluster = Cluster::started(5, 4, frequent(10)).await;
    propose_many(&cluster, 0, 5).await;
    let leader = cluster.wait_for_leader().await;
    let [lagging, away, asked] = [1, 2, 3].map(|step| (leader + step) % 5);
    cluster.stop(lagging).await;
    propose_many(&cluster, asked, 60).await;
    let leader = cluster.wait_for_leader().await;
    let away = if leader == away { (leader + 1) % 5 } else { away };
    let away = if away == lagging { asked } else { away };
    wait("a purge", || (cluster.nodes[leader].up().status().purged > 30).then_some(())).await;
    cluster.stop(away).await;
    let before = cluster.nodes[leader].up().status().committed;
    let replica = cluster.nodes[leader].up().clone();
    let proposed = tokio::spawn(async move { replica.propose(b"waits".to_vec(), Duration::from_secs(170)).await });
    wait("a majority", || (cluster.nodes[leader].up().status().committed > before).then_some(())).await;
    assert!(!proposed.is_finished(), "four must acknowledge it, and three have");
    cluster.start(lagging).await;
    let last = cluster.propose(lagging, b"after").await.block;
    cluster.wait_certified(last).await;
    assert_eq!(cluster.nodes[lagging].log.lock().unwrap().restored.len(), 1);
    // Unless somebody else was elected meanwhile, it was never proposed again.
    let _ = proposed.await.unwrap();
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_signs_only_what_is_on_its_own_disk() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let first = cluster.propose(0, b"first").await.block;
    cluster.wait_certified(first).await;
    // The leader's own disk hangs: the others acknowledge without it, and it executes what they have ordered.
    let leader = cluster.wait_for_leader().await;
    let store = cluster.nodes[leader].store.clone();
    store.hold();
    let signed = cluster.nodes[leader].up().status().stats.shares_signed;
    let last = cluster.propose(leader, b"held").await.block;
    cluster.wait_applied(last).await;
    for (_, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != leader) {
        wait("certified", || (node.up().status().certified_block >= last).then_some(())).await;
    }
    assert_eq!(cluster.nodes[leader].up().status().stats.shares_signed, signed);
    store.release();
    wait("its signature", || (cluster.nodes[leader].up().status().stats.shares_signed > signed).then_some(())).await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_that_were_lost_are_asked_for() {
    let cluster = Cluster::started(3, 3, parameters()).await;
    cluster.wait_for_leader().await;
    cluster.hub.mute(Channel::Share);
    let last = propose_many(&cluster, 0, 10).await;
    cluster.wait_applied(last).await;
    assert!(cluster.nodes[0].up().status().certified_block < last);
    cluster.hub.heal();
    cluster.wait_certified(last).await;
    wait("all certified", || cluster.nodes.iter().all(|node| node.up().status().uncertified == 0).then_some(())).await;
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lossy_network_with_partitions_loses_nothing() {
    let cluster = Cluster::started(3, 2, frequent(20)).await;
    cluster.wait_for_leader().await;
    cluster.hub.lose(50);
    let mut acknowledged = 0;
    let mut last = 0;
    for round in 0..6usize {
        let alone = round % 3;
        cluster.hub.cut(cluster.nodes[alone].id(), cluster.nodes[(alone + 1) % 3].id());
        cluster.hub.cut(cluster.nodes[alone].id(), cluster.nodes[(alone + 2) % 3].id());
        for number in 0..10u64 {
            last = cluster.propose((alone + 1) % 3, &number.to_be_bytes()).await.block;
            acknowledged += 1;
        }
        cluster.hub.heal();
        cluster.hub.lose(50);
    }
    cluster.hub.heal();
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    let last = cluster.propose(0, b"last").await.block;
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    assert!(cluster.state(0).await.0 > acknowledged);
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_machine_stops_the_replica_and_is_told() {
    for command in [&b"fault"[..], b"panic"] {
        let cluster = Cluster::started(1, 1, parameters()).await;
        cluster.propose(0, b"fine").await;
        let error = cluster.nodes[0].up().propose(command.to_vec(), Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ProposeError::Unknown | ProposeError::Stopped(_)), "{error:?}");
        let text = wait("a fault", || cluster.nodes[0].log.lock().unwrap().fault.clone()).await;
        assert!(text.contains("asked to"), "{text}");
        let status = cluster.nodes[0].up().status();
        assert_eq!((status.role, status.fault), (Role::Faulted, Some(text)));
        let error = cluster.nodes[0].up().propose(b"more".to_vec(), Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ProposeError::Stopped(_)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_no_member_does_not_start() {
    let mut cluster = Cluster::new(3, 2, parameters());
    cluster.nodes[0].key = key(77);
    assert!(matches!(cluster.try_start(0, false).await, Err(ConsensusError::NotAMember(_))));
}

/// Members that no election timeout would wake within the patience of a test.
fn drowsy() -> Timing {
    Timing { election_min: Duration::from_secs(100), election_max: Duration::from_secs(200), ..Timing::quick() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_all_restart_do_not_wait_for_an_election_timeout() {
    let mut cluster = Cluster::started(3, 2, frequent(10)).await;
    propose_many(&cluster, 0, 15).await;
    cluster.timing = drowsy();
    for away in [None, Some(0), Some(1), Some(2)] {
        for place in 0..3 {
            cluster.crash(place).await;
        }
        for place in (0..3).filter(|place| Some(*place) != away) {
            cluster.start(place).await;
        }
        cluster.wait_for_leader().await;
        let asked = (away.unwrap_or(0) + 1) % 3;
        let last = cluster.propose(asked, b"after").await.block;
        cluster.wait_certified(last).await;
    }
    cluster.assert_no_trouble();
}

/// Restarts each follower of a new cluster in turn. Returns whether the term stayed what it was.
async fn restarts_leave_the_term() -> bool {
    let mut cluster = Cluster::started(3, 2, frequent(10)).await;
    propose_many(&cluster, 0, 15).await;
    let leader = cluster.wait_for_leader().await;
    let term = cluster.nodes[leader].up().status().term;
    for restarted in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.crash(restarted).await;
        cluster.start(restarted).await;
        let last = cluster.propose(restarted, b"after").await.block;
        cluster.wait_applied(last).await;
        wait("the leader's name", || cluster.nodes[restarted].up().status().leader).await;
    }
    cluster.assert_no_trouble();
    cluster.nodes[leader].up().status().term == term
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_restarts_does_not_disturb_the_leader() {
    // A slow machine may hold an election of its own accord, but not each time.
    for _ in 0..5 {
        if restarts_leave_the_term().await {
            return;
        }
    }
    panic!("each time the term was another one afterwards");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_left_without_a_majority_names_no_leader() {
    for survivor_led in [true, false] {
        let mut cluster = Cluster::started(3, 2, parameters()).await;
        cluster.propose(0, b"one").await;
        // A slow machine may hold another election before all have heard of the first.
        let leader = wait("a leader that all name", || {
            let leader = cluster.leader()?;
            let named = |node: &Node| node.up().status().leader == Some(cluster.nodes[leader].id());
            cluster.nodes.iter().all(named).then_some(leader)
        })
        .await;
        let survivor = if survivor_led { leader } else { (leader + 1) % 3 };
        for place in (0..3).filter(|place| *place != survivor) {
            cluster.crash(place).await;
        }
        wait("no leader", || cluster.nodes[survivor].up().status().leader.is_none().then_some(())).await;
        // Nor after a restart, before one is heard, though Raft remembers one.
        cluster.crash(survivor).await;
        cluster.start(survivor).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(cluster.nodes[survivor].up().status().leader, None);
    }
}

/// All acknowledge, and too few signatures arrive: nobody outside hears of anything, and the log can't be cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_that_nobody_can_certify_takes_no_more_work_at_a_bound_and_goes_on_by_itself() {
    const BOUND: u64 = 8;
    let mut cluster = Cluster::new(3, 3, parameters());
    cluster.max_uncertified = BOUND;
    for place in 0..3 {
        cluster.start(place).await;
    }
    let first = cluster.propose(0, b"first").await;
    cluster.wait_certified(first.block).await;
    cluster.hub.mute(Channel::Share);
    let (mut taken, mut refusal) = (1, None);
    // A block says something new with each command of the toy; an election in between has a command tried again.
    for _ in 0..40 * BOUND {
        match cluster.nodes[0].up().propose(b"more".to_vec(), Duration::from_secs(10)).await {
            Ok(_) => taken += 1,
            Err(ProposeError::Refused(why)) => {
                refusal = Some(why);
                break;
            }
            Err(error) => eprintln!("again: {error}"),
        }
    }
    let why = refusal.expect("it does not grow for ever");
    assert!(why.contains("3 members must sign") && taken > BOUND, "{taken}: {why}");
    // At the member that does not lead as well.
    let leader = cluster.wait_for_leader().await;
    let refused = cluster.nodes[(leader + 1) % 3].up().propose(b"more".to_vec(), Duration::from_secs(10)).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    let status = cluster.nodes[leader].up().status();
    assert!(status.uncertified < 2 * BOUND + 6, "{}", status.uncertified);
    cluster.hub.heal();
    let block = cluster.nodes[leader].up().status().applied;
    wait("certificates", || (cluster.nodes[leader].up().status().uncertified == 0).then_some(())).await;
    let after = cluster.propose(0, b"after").await;
    assert!(after.block > block);
    cluster.wait_certified(after.block).await;
}

/// A member that was away fetches a checkpoint from those who do not lead as well: here the leader gives nothing when it is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_a_checkpoint_come_from_members_that_do_not_lead() {
    let mut cluster = Cluster::started(4, 3, frequent(10)).await;
    cluster.stop(3).await;
    let last = propose_many(&cluster, 0, 60).await;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    wait("the log is cut", || (cluster.nodes[leader].up().status().purged > 20).then_some(())).await;
    let sent = |cluster: &Cluster, place: usize| cluster.nodes[place].up().status().stats.snapshot_bytes_sent;
    cluster.hub.mute_to(cluster.nodes[leader].id(), Channel::Snapshot);
    cluster.start(3).await;
    cluster.wait_applied(last).await;
    let status = cluster.nodes[3].up().status();
    assert!(status.stats.snapshot_bytes_received > 0);
    let given: Vec<u64> = (0..3).map(|place| sent(&cluster, place)).collect();
    assert!(given.iter().enumerate().any(|(place, bytes)| place != leader && *bytes > 0), "{leader} leads: {given:?}");
    cluster.assert_equal_states().await;
}

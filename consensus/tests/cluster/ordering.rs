//! Ordering, execution, certificates.

use crate::common::*;
use quorate_consensus::*;

/// The counter that the toy machine answers with.
fn counter(proposed: &Proposed) -> u64 {
    u64::from_be_bytes(proposed.result[..].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_member_orders_and_certifies() {
    let cluster = Cluster::started(1, 1, parameters()).await;
    let mut last = 0;
    for number in 1..=20u64 {
        let proposed = cluster.propose(0, b"one").await;
        assert_eq!(proposed.result, number.to_be_bytes());
        assert!(proposed.block > last);
        last = proposed.block;
    }
    cluster.wait_certified(last).await;
    let log = cluster.nodes[0].log.lock().unwrap();
    let certificate = &log.certificates[&last];
    verify_certificate(certificate, &cluster.genesis.membership()).unwrap();
    assert_eq!(log.fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_order_execute_and_certify() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let mut last = 0;
    for number in 1..=30u64 {
        // At the leader and elsewhere alike.
        let place = usize::try_from(number % 3).unwrap();
        let proposed = cluster.propose(place, format!("command {number}").as_bytes()).await;
        cluster.assert_counted(counter(&proposed), number);
        last = proposed.block;
    }
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
    let statements: Vec<_> = cluster.nodes.iter().map(|node| node.log.lock().unwrap().applied.clone()).collect();
    let membership = cluster.genesis.membership();
    for node in &cluster.nodes {
        for certificate in node.log.lock().unwrap().certificates.values() {
            verify_certificate(certificate, &membership).unwrap();
            let block = certificate.statement.block;
            let own = statements[0].iter().find(|(applied, _)| *applied == block).unwrap();
            assert_eq!(own.1.as_ref(), Some(&certificate.statement));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_changes_nothing_but_what_is_published_is_certified() {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_blocks: 7, ..parameters() }).await;
    let published = cluster.propose(0, b"publish a").await.block;
    cluster.wait_certified(published).await;
    let again = cluster.propose(0, b"publish a").await.block;
    let loud = cluster.propose(0, b"loud").await.block;
    cluster.wait_certified(loud).await;
    let root = Hash::of(b"publish a");
    for node in &cluster.nodes {
        let log = node.log.lock().unwrap();
        let stated = |block: u64| log.certificates.get(&block).map(|certificate| certificate.statement.clone());
        let of_checkpoint = |block: u64| stated(block).is_none_or(|statement| statement.state_root.is_some());
        assert!(of_checkpoint(again), "it says nothing new");
        assert_eq!(stated(published).map(|statement| statement.published_root), Some(root));
        assert_eq!(stated(loud).map(|statement| statement.published_root), Some(root), "each statement carries it");
    }
    cluster.assert_no_trouble();
    // It is the same after a checkpoint was restored.
    for number in 0..20 {
        cluster.propose(1, format!("after {number}").as_bytes()).await;
    }
    cluster.crash(2).await;
    cluster.start(2).await;
    let last = cluster.propose(0, b"last").await.block;
    cluster.wait_certified(last).await;
    let certificate = cluster.nodes[2].log.lock().unwrap().certificates[&last].clone();
    assert_eq!(certificate.statement.published_root, root);
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_executes_all_of_its_log_lacks_nothing_that_it_has_signed() {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    for number in 1..=30u64 {
        let place = usize::try_from(number % 3).unwrap();
        let block = cluster.propose(place, format!("command {number}").as_bytes()).await.block;
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= block).then_some(())).await;
        // A certificate has two signatures: of three members at most one has not executed the block.
        let mut lacking = 0;
        for node in &cluster.nodes {
            assert_eq!(node.up().execute_all().await, Some(0));
            lacking += usize::from(node.up().status().applied < block);
        }
        assert!(lacking <= 1, "{lacking} members have not executed block {block}, which two have signed");
    }
    // One that starts says nothing before it has executed again what it has signed.
    let last = cluster.propose(0, b"last").await.block;
    cluster.wait_certified(last).await;
    cluster.wait_applied(last).await;
    cluster.crash(1).await;
    cluster.start(1).await;
    let applied = loop {
        if cluster.nodes[1].up().execute_all().await.is_some() {
            break cluster.nodes[1].up().status().applied;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    assert!(applied >= last, "{applied} of {last}");
    cluster.stop(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposals_share_blocks() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let proposals = (0..2_000u32).map(|number| {
        let cluster = &cluster;
        async move { cluster.propose(number as usize % 3, &number.to_be_bytes()).await.block }
    });
    let blocks = futures::future::join_all(proposals).await;
    let last = *blocks.iter().max().unwrap();
    cluster.wait_certified(last).await;
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_counted(cluster.state(leader).await.0, 2_000);
    let stats = cluster.nodes[leader].up().status().stats;
    cluster.assert_counted(stats.commands, 2_000);
    assert!(stats.blocks < 1_000, "{} blocks for 2000 commands", stats.blocks);
    cluster.assert_no_trouble();
}

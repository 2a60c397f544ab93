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

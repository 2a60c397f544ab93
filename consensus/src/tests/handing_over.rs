//! The order where one membership follows another: who proves it, and up to where.

use std::time::Duration;

use super::cluster::{Cluster, Node, parameters, wait};
use super::*;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply};
use crate::proof::shares::Share;
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::transport::Channel;
use quorate_order::proofs::Support;

const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for what must not happen: many round trips.
const WHILE: Duration = Duration::from_millis(300);

fn is_raft(channel: Channel) -> bool {
    matches!(channel, Channel::Append | Channel::Vote)
}

/// Adds a host that waits, and returns when the change is recorded.
async fn grow(cluster: &mut Cluster, threshold: u16) {
    let place = cluster.learner().await;
    let change = Change::Add(cluster.nodes[place].member());
    while let Err(error) = cluster.nodes[0].up().reconfigure(change.clone(), Some(threshold), PATIENCE).await {
        if cluster.nodes[0].up().status().pending.is_some() || cluster.nodes[0].up().status().epoch > 0 {
            return;
        }
        eprintln!("again: {error}");
    }
}

/// Waits until all are in the epoch, which is certified, and vote in Raft.
async fn settled(cluster: &Cluster, epoch: u64) {
    for node in &cluster.nodes {
        wait("the epoch", || {
            let status = node.up().status();
            (status.certified_epoch == epoch && status.epoch == epoch && !status.voters_change).then_some(())
        })
        .await;
    }
}

fn proposed(node: &Node, command: &[u8]) {
    let (replica, command) = (node.up().clone(), command.to_vec());
    tokio::spawn(async move { replica.propose(command, PATIENCE).await });
}

/// A vat that one member began, and that two sign now. Returns how far both have executed.
async fn two_of_one() -> (Cluster, u64) {
    let mut cluster = Cluster::started(1, 1, parameters()).await;
    cluster.propose(0, b"alone").await;
    grow(&mut cluster, 2).await;
    settled(&cluster, 1).await;
    let last = cluster.propose(0, b"both").await.block;
    cluster.wait_certified(last).await;
    let applied = wait("one log", || {
        let at = cluster.nodes.iter().map(|node| (node.up().status().applied, node.up().status().last_log));
        let at: Vec<(u64, u64)> = at.collect();
        (at[0] == at[1] && at[0].0 == at[0].1).then_some(at[0].0)
    })
    .await;
    (cluster, applied)
}

async fn goes_on(cluster: &Cluster) {
    let last = cluster.propose(1, b"all the same").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// What gets to a follower that does not hear what its leader has on its own disk: it would prove the order with that by itself.
fn not_early(channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match channel {
        Channel::Share if matches!(codec::decode(&frame), Ok(ShareFrame::Acknowledged(_))) => {
            codec::encode(&ShareFrame::Clock)
        }
        _ => frame,
    }
}

/// Raft has an answer of the second member, and nobody has its acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_member_of_a_membership_that_has_ended_orders_nothing_alone() {
    let (cluster, before) = two_of_one().await;
    cluster.hub.lie(Box::new(|_, _, channel, frame| not_early(channel, frame)));
    cluster.hub.lie_in_answers(Box::new(move |_, _, channel, _, answer| match codec::decode(&answer) {
        Ok(RaftReply::AppendSuccess(_)) if is_raft(channel) => codec::encode(&RaftReply::AppendSuccess(Vec::new())),
        _ => answer,
    }));
    let leader = cluster.wait_for_leader().await;
    proposed(&cluster.nodes[leader], b"one signs");
    wait("both have it", || (cluster.nodes[leader].up().status().committed > before).then_some(())).await;
    tokio::time::sleep(WHILE).await;
    for node in &cluster.nodes {
        assert_eq!(node.up().status().applied, before);
    }
    cluster.hub.lie_in_answers(Box::new(|_, _, _, _, answer| answer));
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    goes_on(&cluster).await;
}

/// The second member is shown the first one's signature alone, which was enough once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_believes_no_order_that_an_ended_membership_proves() {
    let (cluster, before) = two_of_one().await;
    let leader = cluster.wait_for_leader().await;
    let first = cluster.nodes[0].id();
    cluster.hub.lie(Box::new(move |_, _, channel, frame| match codec::decode::<RaftFrame>(&frame) {
        Ok(RaftFrame { target, message: RaftMessage::Append { vote, prev, entries, commit, header } })
            if is_raft(channel) =>
        {
            let header = header.map(|mut header| {
                if let Some(Support::Acks(signatures)) = header.order.as_mut().map(|order| &mut order.support) {
                    signatures.retain(|(signer, _)| *signer == first);
                }
                header
            });
            codec::encode(&RaftFrame { target, message: RaftMessage::Append { vote, prev, entries, commit, header } })
        }
        _ => not_early(channel, frame),
    }));
    proposed(&cluster.nodes[leader], b"one signs");
    wait("the leader", || (cluster.nodes[leader].up().status().applied > before).then_some(())).await;
    let other = &cluster.nodes[1 - leader];
    wait("its word", || (other.up().status().leader_committed > before).then_some(())).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(other.up().status().applied, before);
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    goes_on(&cluster).await;
}

/// The block that ends a membership is the last that it orders. The next one orders nothing before it is certified: a member that is behind
/// could not check who it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ordered_while_the_next_membership_is_not_certified() {
    let mut cluster = Cluster::started(2, 2, parameters()).await;
    let first = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(first).await;
    let statements = |share: &Share| matches!(share, Share::Statement(..));
    cluster.hub.lie(Box::new(move |_, _, channel, frame| match codec::decode(&frame) {
        Ok(ShareFrame::Push(mut shares)) if channel == Channel::Share => {
            shares.retain(statements);
            codec::encode(&ShareFrame::Push(shares))
        }
        _ => frame,
    }));
    cluster.hub.lie_in_answers(Box::new(move |_, _, channel, _, answer| match codec::decode::<ShareReply>(&answer) {
        Ok(mut reply) if channel == Channel::Share && !reply.shares.iter().all(statements) => {
            reply.shares.retain(statements);
            codec::encode(&reply)
        }
        _ => answer,
    }));
    grow(&mut cluster, 2).await;
    let leader = cluster.wait_for_leader().await;
    for node in &cluster.nodes[..2] {
        wait("the next membership", || (node.up().status().epoch == 1).then_some(())).await;
    }
    proposed(&cluster.nodes[leader], b"after it");
    let node = &cluster.nodes[leader];
    wait("more in the log", || {
        let status = node.up().status();
        (status.committed > status.applied).then_some(())
    })
    .await;
    let last = node.up().status().applied;
    tokio::time::sleep(WHILE).await;
    for node in &cluster.nodes {
        assert!(node.up().status().applied <= last);
    }
    assert_eq!(node.up().status().certified_epoch, 0);
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    cluster.hub.lie_in_answers(Box::new(|_, _, _, _, answer| answer));
    settled(&cluster, 1).await;
    goes_on(&cluster).await;
}

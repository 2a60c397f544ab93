//! Members that know the order before their leader tells it, by what they have acknowledged to each other.

use std::time::Duration;

use super::cluster::{Cluster, parameters};
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage};
use crate::replica::wire::share::ShareFrame;
use crate::transport::Channel;
use quorate_ids::HostId;

/// What gets to others from a leader that tells neither what is committed nor what proves an order; nor does anybody else.
fn untold(leader: HostId, from: HostId, channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match channel {
        Channel::Append | Channel::Vote if from == leader => {
            let Ok(RaftFrame { target, message }) = codec::decode(&frame) else { return frame };
            let RaftMessage::Append { vote, prev, entries, mut header, .. } = message else { return frame };
            if let Some(header) = &mut header {
                header.order = None;
            }
            codec::encode(&RaftFrame {
                target,
                message: RaftMessage::Append { vote, prev, entries, commit: None, header },
            })
        }
        Channel::Share if matches!(codec::decode(&frame), Ok(ShareFrame::Ordered(_))) => {
            codec::encode(&ShareFrame::Clock)
        }
        _ => frame,
    }
}

/// As if members were far from each other: near ones tell each other only where two are enough.
fn late(frame: Vec<u8>) -> Vec<u8> {
    if matches!(codec::decode(&frame), Ok(ShareFrame::Acknowledged(_))) {
        std::thread::sleep(Duration::from_millis(6));
    }
    frame
}

async fn begun(members: u8, threshold: u16) -> (Cluster, usize) {
    let cluster = Cluster::started(members, threshold, parameters()).await;
    cluster.hub.lie(Box::new(|_, _, _, frame| late(frame)));
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    (cluster, leader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_prove_the_order_by_themselves() {
    for (members, threshold) in [(3, 2), (4, 3)] {
        let (cluster, leader) = begun(members, threshold).await;
        let led = cluster.nodes[leader].id();
        cluster.hub.lie(Box::new(move |from, _, channel, frame| untold(led, from, channel, late(frame))));
        // One after the other: what follows at once is proven together.
        for number in 0..5u8 {
            let block = cluster.propose(leader, &[number]).await.block;
            cluster.wait_applied(block).await;
        }
        for node in &cluster.nodes {
            let status = node.up().status();
            assert_eq!((status.stats.complaints, status.leader), (0, Some(led)), "{members} members");
        }
        cluster.hub.lie(Box::new(|_, _, _, frame| frame));
        cluster.assert_equal_states().await;
    }
}

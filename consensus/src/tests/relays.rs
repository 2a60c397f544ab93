//! Shares in a large vat: few frames, and no harm by those who gather them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cluster::{Cluster, parameters};
use crate::codec;
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::transport::Channel;

const MEMBERS: u8 = 9;
const BLOCKS: u64 = 20;

/// Nine members would send each other 72 frames for each block.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_large_vat_shares_go_through_the_leader_and_a_deputy() {
    let cluster = Cluster::started(MEMBERS, 7, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let frames = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&frames);
    cluster.hub.lie(Box::new(move |_, _, channel, frame| {
        if channel == Channel::Share
            && matches!(codec::decode(&frame), Ok(ShareFrame::Push(_) | ShareFrame::Certified(_)))
        {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        frame
    }));
    for number in 0..BLOCKS {
        let last = cluster.propose(leader, &number.to_be_bytes()).await.block;
        cluster.wait_certified(last).await;
    }
    let (frames, members) = (frames.load(Ordering::SeqCst), u64::from(MEMBERS));
    // Each member tells two, and those two tell all: some 4 (n - 1).
    assert!(frames >= BLOCKS * members, "{frames} frames for {BLOCKS} blocks");
    assert!(frames <= BLOCKS * 4 * members, "{frames} frames for {BLOCKS} blocks");
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// The leader and its deputy take shares, and tell nobody what they make of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_and_a_deputy_that_keep_certificates_cost_a_pause_and_no_more() {
    let cluster = Cluster::started(MEMBERS, 7, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let silent = [leader, (leader + 1) % usize::from(MEMBERS)].map(|place| cluster.nodes[place].id());
    cluster.hub.lie(Box::new(move |from, _, channel, frame| {
        if channel != Channel::Share || !silent.contains(&from) {
            return frame;
        }
        match codec::decode(&frame) {
            Ok(ShareFrame::Push(_) | ShareFrame::Certified(_)) => codec::encode(&ShareFrame::Push(Vec::new())),
            _ => frame,
        }
    }));
    cluster.hub.lie_in_answers(Box::new(move |by, _, channel, request, answer| {
        let asked = channel == Channel::Share && matches!(codec::decode(request), Ok(ShareFrame::Ask { .. }));
        if asked && silent.contains(&by) { codec::encode(&ShareReply::default()) } else { answer }
    }));
    for number in 0..3u8 {
        let last = cluster.propose(leader, &[number]).await.block;
        cluster.wait_certified(last).await;
    }
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

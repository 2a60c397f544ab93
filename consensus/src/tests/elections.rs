//! Members that look for a leader.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, parameters};
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireVote};
use crate::transport::Channel;

/// Questions of the candidate that are refused in any case: from then on its pauses are long.
const REFUSED: u32 = 3;
/// Longer than a turn, and shorter than those pauses.
const OVER_AFTER: Duration = Duration::from_millis(300);

/// The later term that the candidate was told of, when, and how often it was.
struct Later {
    term: u64,
    told: Instant,
    times: u32,
}

/// Another member stands again and again in vain, so that the others are always in a later term than the candidate was told of before. It is
/// elected if it asks in that term before it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_told_of_a_later_term_asks_in_it_before_it_is_over() {
    let mut cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let first = cluster.wait_for_leader().await;
    let place = (first + 1) % 4;
    let (candidate, other) = (cluster.nodes[place].id(), cluster.nodes[(first + 2) % 4].up().status().raft_id);
    cluster.hub.lie(Box::new(move |from, _, channel, frame| match codec::decode(&frame) {
        Ok(RaftFrame { message: RaftMessage::Vote { .. }, .. }) if channel == Channel::Vote && from != candidate => {
            Vec::new()
        }
        _ => frame,
    }));
    let later = Mutex::new(Later { term: 0, told: Instant::now(), times: 0 });
    cluster.hub.lie_in_answers(Box::new(move |_, to, channel, asked, answer| {
        let message = match codec::decode(asked) {
            Ok(RaftFrame { message, .. }) if channel == Channel::Vote && to == candidate => message,
            _ => return answer,
        };
        let RaftMessage::Vote { vote, pre: true, .. } = message else { return answer };
        let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
        if vote.term > later.term {
            let in_time = later.times > REFUSED && later.told.elapsed() < OVER_AFTER;
            if vote.term == later.term + 1 && in_time {
                return answer;
            }
            *later = Later { term: vote.term + 1, told: Instant::now(), times: later.times + 1 };
        }
        let vote = WireVote { term: later.term, node: other, committed: false };
        codec::encode(&RaftReply::Vote { vote, granted: false, last: None, grant: None, better: None })
    }));
    cluster.stop(first).await;
    assert_eq!(cluster.wait_for_leader().await, place);
    let proposed = cluster.propose(place, b"two").await.block;
    for node in cluster.nodes.iter().filter(|node| node.handle.is_some()) {
        super::cluster::wait("certified", || (node.up().status().certified_block >= proposed).then_some(())).await;
    }
}

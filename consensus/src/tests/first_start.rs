//! A member of a new vat knows who the voters are, whatever it was told first and wherever its power was cut.

use std::time::Duration;

use super::cluster::{Cluster, parameters, wait};
use super::*;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, WireContent, WireEntry, WireVote};
use crate::state::LogPosition;
use crate::testing::fabricated::stand_of;
use crate::transport::{Channel, TransportError};

/// The members that keep the rules. The first member of the genesis has no replica here: it only lies.
const HONEST: [usize; 2] = [1, 2];
/// A term that nobody has reached.
const LATE: u64 = 30;

fn liar(committed: bool) -> WireVote {
    WireVote { term: LATE, node: 1, committed }
}

/// It stands for election as the first of all, and gets the vote of whoever has no log yet, or only its beginning.
fn early_vote(cluster: &Cluster) -> RaftMessage {
    let last = Some(LogPosition { term: 0, index: 0 });
    let stand = Some(Box::new(stand_of(&cluster.genesis, LATE, last)));
    RaftMessage::Vote { vote: liar(false), last, transfer: false, pre: false, stand }
}

/// The liar says this to a member as soon as that one listens. `None`: its disk failed before.
async fn say(cluster: &Cluster, place: usize, message: RaftMessage) -> Option<Result<Vec<u8>, TransportError>> {
    let node = &cluster.nodes[place];
    let handle = node.handle.as_ref()?;
    let target = u64::try_from(place).unwrap() + 1;
    let frame = codec::encode(&RaftFrame { target, message });
    for _ in 0..2_000 {
        if node.log.lock().unwrap().fault.is_some() {
            return None;
        }
        match handle.handle(cluster.nodes[0].id(), Channel::Vote, &frame).await {
            Err(TransportError::Refused(text)) if text == "starting" => {}
            answer => return Some(answer),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never started");
}

/// The honest members run, and hear nothing of each other.
async fn deaf() -> Cluster {
    let mut cluster = Cluster::new(3, 2, parameters());
    for place in HONEST {
        cluster.hub.withhold_log(cluster.nodes[place].id());
        cluster.start(place).await;
    }
    cluster
}

async fn goes_on(cluster: &Cluster) {
    for place in HONEST {
        cluster.hub.unmute_to(cluster.nodes[place].id());
    }
    let block = cluster.propose(1, b"after all").await.block;
    cluster.wait_certified(block).await;
    for place in HONEST {
        assert!(cluster.nodes[place].up().status().term > LATE, "the liar was heard");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_before_all_else_does_not_keep_a_vat_from_beginning() {
    let cluster = deaf().await;
    for place in HONEST {
        say(&cluster, place, early_vote(&cluster)).await.unwrap().unwrap();
    }
    goes_on(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_leader_takes_the_first_entry_away() {
    let cluster = deaf().await;
    let first = LogPosition { term: LATE, index: 0 };
    let append = |prev, entries| leading(&cluster, (liar(true), 0), 1, prev, entries, None);
    let lies = [
        append(Some(first), Vec::new()),
        append(None, vec![WireEntry { log: first, content: WireContent::Blank }]),
        append(None, vec![WireEntry { log: LogPosition { term: 0, index: 0 }, content: WireContent::Blank }]),
        append(None, vec![WireEntry { log: first, ..WireEntry::first(RaftMembership::of_genesis(&cluster.genesis)) }]),
        append(None, vec![WireEntry::first(RaftMembership::default())]),
    ];
    for place in HONEST {
        say(&cluster, place, early_vote(&cluster)).await.unwrap().unwrap();
        for lie in &lies {
            // What it answers does not matter; that it goes on does.
            let _ = say(&cluster, place, lie.clone()).await;
        }
    }
    goes_on(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_write_of_the_first_start_does_no_harm() {
    for writes in 0.. {
        let mut cluster = Cluster::new(3, 2, parameters());
        for place in HONEST {
            cluster.nodes[place].store.fail_after(writes);
            match cluster.try_start(place, false).await {
                Ok(handle) => {
                    cluster.hub.add(cluster.nodes[place].id(), handle.clone());
                    cluster.nodes[place].handle = Some(handle);
                }
                Err(error) => assert!(error.to_string().contains("the disk failed"), "{error}"),
            }
        }
        for place in HONEST {
            // Its disk may fail at the vote.
            let _ = say(&cluster, place, early_vote(&cluster)).await;
        }
        let works = wait("a failed disk, or a leader", || {
            let nodes = HONEST.map(|place| &cluster.nodes[place]);
            let is_cut = nodes.iter().any(|node| node.handle.is_none() || node.log.lock().unwrap().fault.is_some());
            let applies = |node: &&super::cluster::Node| node.up().status().applied > 0;
            if is_cut { Some(false) } else { nodes.iter().all(applies).then_some(true) }
        })
        .await;
        for place in HONEST {
            cluster.stop(place).await;
            let store = cluster.nodes[place].store.synced();
            cluster.nodes[place].store = std::sync::Arc::new(store);
        }
        for place in HONEST {
            cluster.start(place).await;
            say(&cluster, place, early_vote(&cluster)).await.unwrap().unwrap();
        }
        goes_on(&cluster).await;
        if works {
            assert!(writes > 4, "it began with {writes} writes");
            return;
        }
    }
}

//! Round trips and heartbeats.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, parameters};
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireEntry, WireVote};
use crate::raft::links::{Link, MAX_HEARTBEATS, Question, RoundTrip, question, stands_for};
use crate::state::{LogPosition, RaftMembership};
use crate::timing::Timing;
use quorate_ids::HostId;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn asked(term: u64, index: Option<u64>) -> Question {
    let vote = WireVote { term, node: 1, committed: true };
    (vote, index.map(|index| LogPosition { term: 1, index }))
}

#[test]
fn an_estimate_follows_what_is_measured() {
    let mut estimate = RoundTrip::default();
    assert_eq!(estimate.timeout(), Duration::ZERO);
    // The first measurement: itself, and half of it for the variation.
    estimate.sample(ms(100));
    assert_eq!(estimate.timeout(), ms(300));
    for _ in 0..100 {
        estimate.sample(ms(400));
    }
    assert!(estimate.timeout() >= ms(390) && estimate.timeout() <= ms(420), "{estimate:?}");
    // What varies is given more time.
    for number in 0..100 {
        estimate.sample(ms(300 + 200 * (number % 2)));
    }
    assert!(estimate.timeout() > ms(600), "{estimate:?}");
    for _ in 0..100 {
        estimate.sample(Duration::from_secs(3_600));
    }
    assert_eq!(estimate.timeout(), Duration::from_secs(10));
}

#[test]
fn only_a_heartbeat_is_taken_for_one() {
    let vote = WireVote { term: 5, node: 2, committed: true };
    let entries: Vec<WireEntry> = WireEntry::examples(RaftMembership::default()).into_iter().take(1).collect();
    let append = |entries| RaftMessage::Append { vote, prev: None, entries, commit: None, header: None };
    assert_eq!(question(&append(Vec::new())), Some((vote, None)));
    assert_eq!(question(&append(entries)), None);
    assert_eq!(question(&RaftMessage::Vote { vote, last: None, transfer: false, pre: true, stand: None }), None);
}

/// Whether the answer to a heartbeat at `earlier` counts for one at `later`: anything else would tell openraft that a member
/// has entries which it may not have.
#[test]
fn an_answer_counts_for_no_more_than_it_says() {
    let higher = RaftReply::HigherVote(WireVote { term: 9, node: 3, committed: false }, None);
    let table = [
        // An acknowledgement of a place counts for the same place and for those before it.
        (asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()), asked(3, Some(7)), true),
        (asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()), asked(3, Some(6)), true),
        (asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()), asked(3, None), true),
        (asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()), asked(3, Some(8)), false),
        (asked(3, None), RaftReply::AppendSuccess(Vec::new()), asked(3, Some(1)), false),
        // Of the same leadership only.
        (asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()), asked(4, Some(7)), false),
        (asked(3, Some(7)), higher.clone(), asked(4, Some(7)), false),
        (asked(3, Some(7)), higher, asked(3, Some(9)), true),
        // A contradiction says nothing of other places.
        (asked(3, Some(7)), RaftReply::AppendConflict, asked(3, Some(7)), true),
        (asked(3, Some(7)), RaftReply::AppendConflict, asked(3, Some(8)), false),
        (asked(3, Some(7)), RaftReply::AppendConflict, asked(3, Some(6)), false),
        // Not an answer to a heartbeat.
        (asked(3, Some(7)), RaftReply::AppendPartial(None), asked(3, Some(7)), false),
        (asked(3, Some(7)), RaftReply::Transfer { accepted: true }, asked(3, Some(7)), false),
    ];
    for (earlier, reply, later, stands) in table {
        assert_eq!(stands_for(&earlier, &reply, &later), stands, "{earlier:?} {reply:?} {later:?}");
    }
}

#[test]
fn a_late_answer_is_kept_for_the_next_heartbeat_and_used_once() {
    let link = Link::default();
    for _ in 0..MAX_HEARTBEATS {
        assert!(link.begin());
    }
    assert!(!link.begin(), "as many as may be under way are");
    link.ended(Some((asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()))));
    assert!(link.begin());
    assert_eq!(link.take(&asked(3, Some(8))), None);
    assert_eq!(link.take(&asked(3, Some(7))), Some(RaftReply::AppendSuccess(Vec::new())));
    assert_eq!(link.take(&asked(3, Some(7))), None);
    // Whoever was deposed must hear of it, whatever else comes in.
    let higher = RaftReply::HigherVote(WireVote { term: 9, node: 3, committed: false }, None);
    link.ended(Some((asked(3, Some(7)), higher.clone())));
    link.ended(Some((asked(3, Some(7)), RaftReply::AppendSuccess(Vec::new()))));
    assert_eq!(link.take(&asked(3, Some(7))), Some(higher));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_word_of_a_proven_commit_does_not_wait_for_heartbeats_of_other_vats() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    // For each member: up to where a proven commit was told, and how many messages that told more were to wait, and were not.
    let told: Arc<Mutex<BTreeMap<HostId, (u64, u32, u32)>>> = Arc::default();
    let seen = Arc::clone(&told);
    cluster.hub.watch(Box::new(move |to, waits, frame| {
        let Ok(RaftFrame { message, .. }) = codec::decode(frame) else { return };
        let RaftMessage::Append { commit: Some(commit), header: Some(header), .. } = message else { return };
        let proven = header.order.map_or(0, |order| order.position.index).min(commit.index);
        let mut seen = seen.lock().unwrap();
        let (highest, waited, at_once) = seen.entry(to).or_default();
        if proven > *highest {
            *highest = proven;
            *if waits { waited } else { at_once } += 1;
        }
    }));
    for number in 0..20 {
        let proposed = cluster.propose(0, format!("command {number}").as_bytes()).await;
        cluster.wait_certified(proposed.block).await;
    }
    let told = told.lock().unwrap();
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.values().all(|(_, waited, at_once)| *waited == 0 && *at_once > 0), "{told:?}");
}

/// Four members, one of whom leads, that send no heartbeats in the time of a test.
async fn without_heartbeats() -> Cluster {
    const NEVER: Duration = Duration::from_secs(3_600);
    loop {
        let mut cluster = Cluster::new(4, 3, parameters());
        let (election_min, election_max) = (NEVER * 2, NEVER * 3);
        cluster.timing = Timing { heartbeat: NEVER, election_min, election_max, request: NEVER, ..Timing::quick() };
        for place in [1, 2, 3, 0] {
            cluster.start(place).await;
        }
        // The first one asks for votes as soon as it is there, and then never again. Not all of the others may have been ready.
        if cluster.nodes[0].up().propose(b"begun".to_vec(), Duration::from_secs(5)).await.is_ok() {
            return cluster;
        }
        for place in 0..4 {
            cluster.stop(place).await;
        }
    }
}

/// Openraft sends one message at a time to each member. Far away, an answer takes as long as the whole next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_do_not_wait_for_the_answer_to_the_word_of_a_commit() {
    const LATE: Duration = Duration::from_secs(1);
    let cluster = without_heartbeats().await;
    let owing: Arc<Mutex<BTreeMap<HostId, Instant>>> = Arc::default();
    let (owes, overtakes) = (Arc::clone(&owing), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&overtakes);
    cluster.hub.answer_late(Box::new(move |by, _, asked| match codec::decode(asked) {
        Ok(RaftFrame { message: RaftMessage::Append { entries, .. }, .. }) if entries.is_empty() => {
            owes.lock().unwrap().insert(by, Instant::now());
            LATE
        }
        _ => Duration::ZERO,
    }));
    cluster.hub.watch(Box::new(move |to, _, frame| match codec::decode(frame) {
        Ok(RaftFrame { message: RaftMessage::Append { entries, .. }, .. }) if !entries.is_empty() => {
            let is_owing = owing.lock().unwrap().get(&to).is_some_and(|since| since.elapsed() < LATE);
            counted.fetch_add(u64::from(is_owing), Ordering::SeqCst);
        }
        _ => {}
    }));
    for number in 0..30 {
        if overtakes.load(Ordering::SeqCst) > 0 {
            return;
        }
        let block = cluster.propose(0, format!("command {number}").as_bytes()).await.block;
        cluster.wait_certified(block).await;
    }
    panic!("all waited");
}

//! What is acknowledged, by whom, and what is executed of it: what a leader may call committed, and what it has to take back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, Node, parameters, wait};
use super::*;
use crate::codec;
use crate::order::frames::{Header, RaftFrame, RaftMessage, RaftReply, WireVote};
use crate::raft::role::Role;
use crate::state::LogPosition;
use crate::testing::fabricated::{root_of, stand_of};
use crate::transport::Channel;
use quorate_order::member::Stand;
use quorate_order::proofs::{OrderCertificate, Support};

fn is_raft(channel: Channel) -> bool {
    matches!(channel, Channel::Append | Channel::Vote)
}

/// Changes what the members say to each other as leaders.
fn change_appends(
    cluster: &Cluster,
    from: Option<HostId>,
    to: Option<HostId>,
    change: impl Fn(RaftMessage) -> RaftMessage + Send + Sync + 'static,
) {
    cluster.hub.lie(Box::new(move |sender, receiver, channel, frame| {
        let applies = from.is_none_or(|from| from == sender) && to.is_none_or(|to| to == receiver);
        match codec::decode::<RaftFrame>(&frame) {
            Ok(RaftFrame { target, message: message @ RaftMessage::Append { .. } }) if applies && is_raft(channel) => {
                codec::encode(&RaftFrame { target, message: change(message) })
            }
            _ => frame,
        }
    }));
}

fn with_header(message: RaftMessage, change: impl Fn(&mut Header)) -> RaftMessage {
    let RaftMessage::Append { vote, prev, entries, commit, header } = message else { return message };
    let header = header.map(|mut header| {
        change(&mut header);
        header
    });
    RaftMessage::Append { vote, prev, entries, commit, header }
}

/// A cluster that has certified a block, its leader, and how far everybody has executed.
async fn begun(members: u8, threshold: u16) -> (Cluster, usize, u64) {
    let cluster = Cluster::started(members, threshold, parameters()).await;
    let first = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(first).await;
    let leader = cluster.wait_for_leader().await;
    let applied = cluster.nodes[leader].up().status().applied;
    cluster.wait_applied(applied).await;
    (cluster, leader, applied)
}

/// Has a member propose something, which may be ordered or not.
fn proposed(node: &Node, command: &[u8]) {
    let (replica, command) = (node.up().clone(), command.to_vec());
    tokio::spawn(async move { replica.propose(command, Duration::from_secs(60)).await });
}

async fn goes_on(cluster: &Cluster, place: usize) {
    let last = cluster.propose(place, b"all the same").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Raft counts answers, and an order counts signatures: what many only say to have is not executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_acknowledgement_does_not_count() {
    for forged in [false, true] {
        let (cluster, leader, before) = begun(4, 3).await;
        let answers = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answers);
        cluster.hub.lie_in_answers(Box::new(move |_, _, channel, _, answer| match codec::decode(&answer) {
            Ok(RaftReply::AppendSuccess(mut acks)) if is_raft(channel) => {
                count.fetch_add(acks.len() as u64, Ordering::SeqCst);
                if forged {
                    // Of another place: the signature does not fit.
                    acks.iter_mut().for_each(|ack| ack.content.index += 1);
                } else {
                    acks.clear();
                }
                codec::encode(&RaftReply::AppendSuccess(acks))
            }
            _ => answer,
        }));
        proposed(&cluster.nodes[leader], b"nobody signs");
        wait("a majority", || (cluster.nodes[leader].up().status().committed > before).then_some(())).await;
        wait("acknowledgements", || (answers.load(Ordering::SeqCst) >= 6).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for node in &cluster.nodes {
            assert_eq!(node.up().status().applied, before);
        }
        cluster.hub.lie_in_answers(Box::new(|_, _, _, _, answer| answer));
        goes_on(&cluster, leader).await;
    }
}

/// A leader says that entries are committed. A follower executes them when it was shown who acknowledged them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_executes_nothing_of_which_it_was_not_shown_the_order() {
    for forged in [false, true] {
        let (cluster, leader, before) = begun(4, 3).await;
        change_appends(&cluster, None, None, move |message| {
            with_header(message, |header| match &mut header.order {
                // One signature too few.
                Some(order) if forged => {
                    if let Support::Acks(signatures) = &mut order.support {
                        signatures.truncate(2);
                    }
                }
                order => *order = None,
            })
        });
        proposed(&cluster.nodes[leader], b"shown to nobody");
        wait("the leader", || (cluster.nodes[leader].up().status().applied > before).then_some(())).await;
        wait("its word", || {
            let heard = |node: &Node| node.up().status().leader_committed > before;
            cluster.nodes.iter().all(heard).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (_, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != leader) {
            assert_eq!(node.up().status().applied, before);
        }
        cluster.hub.lie(Box::new(|_, _, _, frame| frame));
        goes_on(&cluster, leader).await;
    }
}

/// A follower claims to have what it was never shown, so that a leader has a majority for an entry that nobody else has. It is cut off,
/// another leader is elected, and it has to take its entry back: in the same life, since it has executed nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_takes_back_what_a_majority_claimed_to_have_and_no_threshold_acknowledged() {
    let (cluster, old, before) = begun(3, 2).await;
    let [claims, away] = [(old + 1) % 3, (old + 2) % 3];
    let [old_id, claims_id, away_id] = [old, claims, away].map(|place| cluster.nodes[place].id());
    cluster.hub.withhold_log(away_id);
    change_appends(&cluster, Some(old_id), Some(claims_id), |message| {
        let RaftMessage::Append { vote, header, .. } = message else { return message };
        let header = header.map(|header| Box::new(Header { lead: None, mark: None, ..*header }));
        RaftMessage::Append { vote, prev: None, entries: Vec::new(), commit: None, header }
    });
    proposed(&cluster.nodes[old], b"taken back");
    wait("a majority", || (cluster.nodes[old].up().status().committed > before).then_some(())).await;
    let taken_back = cluster.nodes[old].up().status().last_log;
    assert_eq!(cluster.nodes[old].up().status().applied, before);
    cluster.hub.isolate(&cluster.nodes[old].member());
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    cluster.hub.unmute_to(away_id);
    wait("another leader", || {
        let leads = |place: &&usize| cluster.nodes[**place].up().status().role == Role::Leader;
        [claims, away].iter().find(leads).copied()
    })
    .await;
    let mut last = 0;
    while last <= taken_back {
        last = cluster.propose(claims, b"instead").await.block;
    }
    cluster.hub.heal();
    cluster.wait_certified(last).await;
    goes_on(&cluster, old).await;
    assert!(cluster.nodes[old].log.lock().unwrap().restored.is_empty(), "not by a checkpoint");
}

/// Openraft would have whoever gets the votes of a majority lead. Where five are members of which four must sign, that is one too few. The
/// fourth says that it would vote, and does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_that_is_less_than_a_threshold_elects_nobody() {
    let (mut cluster, leader, _) = begun(5, 4).await;
    let silent = cluster.nodes[(leader + 1) % 5].id();
    let up = [2, 3, 4].map(|step| (leader + step) % 5);
    let began = cluster.nodes[leader].up().status().term;
    cluster.hub.lie(Box::new(move |from, to, _, frame| match codec::decode(&frame) {
        Ok(RaftFrame { message: RaftMessage::Vote { pre: false, .. }, .. }) if [from, to].contains(&silent) => {
            Vec::new()
        }
        _ => frame,
    }));
    cluster.stop(leader).await;
    wait("elections", || {
        let statuses = up.map(|place| cluster.nodes[place].up().status());
        assert!(statuses.iter().all(|status| status.role != Role::Leader));
        statuses.iter().all(|status| status.term >= began + 3).then_some(())
    })
    .await;
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    cluster.start(leader).await;
    goes_on(&cluster, up[0]).await;
}

/// Each election changes the term. Where fewer would vote than must there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_stands_for_whom_only_a_majority_would_vote_that_is_less_than_a_threshold() {
    let (mut cluster, leader, _) = begun(5, 4).await;
    // The leader last: four would elect another one.
    let away = [(leader + 1) % 5, leader];
    let up = [2, 3, 4].map(|step| (leader + step) % 5);
    let began = cluster.nodes[leader].up().status().term;
    let asked: Arc<AtomicU64> = Arc::default();
    let count = Arc::clone(&asked);
    cluster.hub.lie(Box::new(move |_, _, channel, frame| {
        let is_question = matches!(
            codec::decode(&frame),
            Ok(RaftFrame { message: RaftMessage::Vote { pre: true, .. }, .. }) if channel == Channel::Vote
        );
        count.fetch_add(u64::from(is_question), Ordering::SeqCst);
        frame
    }));
    for place in away {
        cluster.stop(place).await;
    }
    // Each of them asks four.
    wait("questions", || (asked.load(Ordering::SeqCst) >= 3 * 3 * 4).then_some(())).await;
    for place in up {
        let status = cluster.nodes[place].up().status();
        assert_eq!((status.term, status.role == Role::Leader), (began, false), "{place}");
    }
    for place in away {
        cluster.start(place).await;
    }
    goes_on(&cluster, up[0]).await;
}

/// Proofs decide who gets a vote, and logs where those are equal: nothing proves how long a candidate's log is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_can_prove_less_gets_no_vote_and_is_shown_what_it_lacks() {
    for power_is_cut in [false, true] {
        let (mut cluster, leader, _) = begun(3, 2).await;
        let [voter, candidate] = [1, 2].map(|step| (leader + step) % 3);
        let (from, node) = (cluster.nodes[candidate].id(), cluster.nodes[candidate].up().status().raft_id);
        for place in [leader, candidate] {
            cluster.stop(place).await;
        }
        if power_is_cut {
            // What it has certified, it knows the proof of.
            cluster.crash(voter).await;
            cluster.start(voter).await;
            wait("raft", || (cluster.nodes[voter].up().status().last_log > 0).then_some(())).await;
        }
        asks_for_a_vote(&cluster, voter, (from, node)).await;
    }
}

/// The member at `candidate` asks for votes, once with less of a proof than the voter has, and then with as much.
async fn asks_for_a_vote(cluster: &Cluster, voter: usize, (from, node): (HostId, u64)) {
    let voter = cluster.nodes[voter].up();
    let (target, term) = (voter.status().raft_id, voter.status().term + 1);
    let ask = async |pre: bool, order: &OrderCertificate, index: u64| {
        let last = Some(LogPosition { term: term - 1, index });
        let stand = Some(Box::new(Stand { order: order.clone(), ..stand_of(&cluster.genesis, term, last) }));
        let vote = WireVote { term, node, committed: false };
        let message = RaftMessage::Vote { vote, last, transfer: false, pre, stand };
        let frame = codec::encode(&RaftFrame { target, message });
        let answer = voter.handle(from, Channel::Vote, &frame).await.unwrap();
        let Ok(RaftReply::Vote { granted, better, grant, .. }) = codec::decode(&answer) else { panic!("no answer") };
        (granted, better.map(|better| *better), grant)
    };
    let root = root_of(&cluster.genesis);
    // The longest log of all, as it says.
    let mut known = ask(true, &root, 10_000).await;
    assert!(!known.0 && known.1.is_some(), "{known:?}");
    let better = known.1.take().unwrap();
    assert!(better.position > root.position);
    let (granted, shown, _) = ask(false, &root, 10_000).await;
    assert!(!granted && shown == Some(better.clone()));
    // As much as the voter can prove, and a shorter log.
    let (granted, ..) = ask(true, &better, 1).await;
    assert!(!granted);
    // Until a leader would have been heard nobody gets a vote.
    while !ask(true, &better, 10_000).await.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What nobody signed proves nothing.
    let mut forged = better.clone();
    forged.position.index += 1_000;
    let (granted, ..) = ask(false, &forged, 10_000).await;
    assert!(!granted);
    let (granted, _, grant) = ask(false, &better, 10_000).await;
    let grant = grant.expect("it is signed").content;
    assert!(granted && (grant.term, grant.candidate, grant.position) == (term, from, better.position), "{grant:?}");
}

//! Leaders that do not order what they are given, or keep what proves their order, and members that complain without cause. What lies is
//! a wrapper around frames; all replicas are the product's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::{Cluster, Node, Toy, parameters, wait};
use super::leading::Asking;
use super::*;
use crate::codec::{self, MAX_COMMAND_BYTES};
use crate::error::{ProposeError, TransportError};
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireContent, WireEntry};
use crate::proof::equivocation::EvidenceRecord;
use crate::raft::gate::Keys;
use crate::replica::wants::MAX_WANTED;
use crate::replica::wire::complaint::ComplaintFrame;
use crate::replica::wire::propose::{ForwardedResult, Payload, ProposeFrame, ProposeReply};
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::state::block::{Block, Control};
use crate::transport::Channel;
use quorate_order::proofs::OrderCertificate;
use quorate_order::signed::{Complaint, Reason};
use quorate_order::signing::Signed;

/// How commands of the sender begin that is starved.
const STARVED: &[u8] = b"starved";

/// What the member `seed` signs against a leader.
pub(crate) fn complaint_of(
    genesis: &Genesis,
    seed: u8,
    (term, leader): (u64, HostId),
    reason: Reason,
) -> Signed<Complaint> {
    let complaint = Complaint { epoch: 0, term, leader, reason };
    Signed::new(complaint, host(seed), &genesis.vat_id(), &Keys(key(seed)))
}

async fn certified_cluster(members: u8, threshold: u16) -> (Cluster, usize) {
    let cluster = Cluster::started(members, threshold, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    (cluster, leader)
}

fn is_starved(payload: &Payload) -> bool {
    matches!(payload, Payload::Command(bytes) if bytes.0.starts_with(STARVED))
}

/// What gets to a leader that does not listen to complaints.
fn deaf(channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match channel {
        Channel::Share if matches!(codec::decode(&frame), Ok(ShareFrame::Complaint(_))) => {
            codec::encode(&ShareFrame::Clock)
        }
        _ => frame,
    }
}

/// What gets to a leader that starves a sender: of what others hand on to it, only what is of others, and nothing of what they want.
fn starves(channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match channel {
        Channel::Propose => {
            let Ok(ProposeFrame(payloads)) = codec::decode(&frame) else { return frame };
            let payloads = payloads.into_iter().map(|payload| match is_starved(&payload) {
                true => Payload::Command(b"".to_vec().into()),
                false => payload,
            });
            codec::encode(&ProposeFrame(payloads.collect()))
        }
        Channel::Share => match codec::decode(&frame) {
            Ok(ShareFrame::Wanted { payload, .. }) if is_starved(&payload) => codec::encode(&ShareFrame::Clock),
            _ => frame,
        },
        _ => frame,
    }
}

/// Every honest member has left the leader `liar`, another one leads, and nobody is accused or at fault.
async fn all_have_left(cluster: &Cluster, liar: usize) {
    let guilty = cluster.nodes[liar].id();
    for (place, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != liar) {
        wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        let log = node.log.lock().unwrap();
        assert_eq!(log.fault, None, "{place}");
        let accused: Vec<HostId> = log.evidence.iter().flat_map(EvidenceRecord::accused).collect();
        assert_eq!(accused, [], "{place}");
    }
}

/// The starved command is ordered by another leader, while the liar orders what others want as long as it leads. It answers what it likes:
/// that the command was not proposed, that it does not know, or that it is in a block.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_starves_one_sender_is_left_whatever_it_answers() {
    let done = ForwardedResult::Done { block: 2, result: vec![0; 8] };
    for says in [ForwardedResult::NotProposed, ForwardedResult::Unknown, done] {
        let (cluster, liar) = certified_cluster(4, 3).await;
        let guilty = cluster.nodes[liar].id();
        let lies = Arc::new(AtomicBool::new(true));
        let lying = Arc::clone(&lies);
        cluster.hub.lie(Box::new(move |_, to, channel, frame| {
            if to == guilty && lying.load(Ordering::SeqCst) { starves(channel, deaf(channel, frame)) } else { frame }
        }));
        let lying = Arc::clone(&lies);
        cluster.hub.lie_in_answers(Box::new(move |by, _, channel, request, answer| {
            let is_propose = by == guilty && channel == Channel::Propose && lying.load(Ordering::SeqCst);
            let (true, Ok(ProposeFrame(payloads))) = (is_propose, codec::decode(request)) else { return answer };
            let empty = |payload: &Payload| matches!(payload, Payload::Command(bytes) if bytes.0.is_empty());
            if !payloads.iter().any(empty) {
                return answer;
            }
            codec::encode(&ProposeReply(payloads.iter().map(|_| says.clone()).collect()))
        }));
        let [victim, other] = [1, 2].map(|step| (liar + step) % 4);
        let proposed = cluster.nodes[victim].up().propose(STARVED.to_vec(), Duration::from_secs(20)).await;
        assert!(matches!(proposed, Ok(_) | Err(ProposeError::Unknown)), "{proposed:?}");
        let fine = cluster.propose(other, b"fine").await;
        cluster.wait_certified(fine.block).await;
        all_have_left(&cluster, liar).await;
        // The command itself was executed, though nobody proposed it again.
        let executed = async || {
            let look = |toy: &mut Toy| toy.commands.iter().any(|command| command.starts_with(STARVED));
            cluster.nodes[other].up().inspect(look).await.unwrap()
        };
        while !executed().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(cluster.nodes[victim].up().status().stats.leaders_left > 0);
        lies.store(false, Ordering::SeqCst);
        let last = cluster.propose(victim, b"after").await.block;
        cluster.wait_applied(last).await;
        cluster.assert_equal_states().await;
    }
}

/// What a leader sends to members from which it keeps what proves the order of its entries.
fn without_order(frame: Vec<u8>) -> Vec<u8> {
    let Ok(RaftFrame { target, mut message }) = codec::decode(&frame) else { return frame };
    if let RaftMessage::Append { header: Some(header), .. } = &mut message {
        header.order = None;
    }
    codec::encode(&RaftFrame { target, message })
}

/// A leader sends entries, and keeps from all what proves their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_keeps_what_proves_its_order_from_all_is_left() {
    let (cluster, liar) = certified_cluster(4, 3).await;
    let guilty = cluster.nodes[liar].id();
    cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
        _ if to == guilty => deaf(channel, frame),
        Channel::Append | Channel::Vote if from == guilty => without_order(frame),
        _ => frame,
    }));
    let last = cluster.propose((liar + 1) % 4, b"two").await.block;
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    all_have_left(&cluster, liar).await;
}

/// It shows it to one member, which could execute alone what the others never hear of. No complaint gets through: the others have it from
/// that member as soon as it has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proves_the_order_to_one_member_all_are_told() {
    let (cluster, liar) = certified_cluster(4, 3).await;
    let guilty = cluster.nodes[liar].id();
    let kept_from: Vec<HostId> = (1..=2).map(|step| cluster.nodes[(liar + step) % 4].id()).collect();
    cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
        Channel::Append | Channel::Vote if from == guilty && kept_from.contains(&to) => without_order(frame),
        _ => deaf(channel, frame),
    }));
    let last = cluster.propose((liar + 1) % 4, b"two").await.block;
    cluster.wait_applied(last).await;
    cluster.wait_certified(last).await;
    cluster.assert_no_trouble();
    assert!(cluster.nodes.iter().all(|node| node.up().status().stats.leaders_left == 0));
}

/// The leader keeps it from one member, and what the others told that member of it was lost. Whoever complains of the leader brings it: a
/// member that hangs back can't complain, so that the complaints might be too few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complaint_brings_what_proves_the_order() {
    let (cluster, liar) = certified_cluster(4, 3).await;
    let [victim, teller] = [1, 2].map(|step| (liar + step) % 4);
    let (guilty, kept_from) = (cluster.nodes[liar].id(), cluster.nodes[victim].id());
    let lost = Arc::new(Mutex::new(None));
    let losing = Arc::clone(&lost);
    cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
        Channel::Append | Channel::Vote if from == guilty && to == kept_from => without_order(frame),
        // It could ask for it by a complaint of its own.
        Channel::Share if from == kept_from => deaf(channel, frame),
        Channel::Share if to == kept_from => match codec::decode(&frame) {
            Ok(ShareFrame::Ordered(order)) => {
                *losing.lock().unwrap() = Some(order);
                codec::encode(&ShareFrame::Clock)
            }
            Ok(ShareFrame::Complaint(_)) => codec::encode(&ShareFrame::Clock),
            _ => frame,
        },
        _ => frame,
    }));
    let last = cluster.propose(teller, b"two").await.block;
    let is_it = |found: Option<Box<OrderCertificate>>| found.filter(|order| order.position.index >= last);
    let order = wait("a proof that was lost", || is_it(lost.lock().unwrap().clone())).await;
    wait("the entry", || (cluster.nodes[victim].up().status().last_log >= last).then_some(())).await;
    assert!(cluster.nodes[victim].up().status().applied < last);
    let (seed, term) = (u8::try_from(teller).unwrap() + 1, cluster.nodes[victim].up().status().term);
    let complaint = complaint_of(&cluster.genesis, seed, (term, guilty), Reason::NoOrder);
    let frame = ComplaintFrame { complaint, proof: None, order: Some(order), ended_by: vec![] };
    let frame = codec::encode(&ShareFrame::Complaint(Box::new(frame)));
    cluster.nodes[victim].up().handle(cluster.nodes[teller].id(), Channel::Share, &frame).await.unwrap();
    wait("the block", || (cluster.nodes[victim].up().status().applied >= last).then_some(())).await;
}

/// Has a member hear a complaint.
async fn complain(to: &Node, from: HostId, complaint: Signed<Complaint>) -> Result<(), TransportError> {
    let frame =
        ShareFrame::Complaint(Box::new(ComplaintFrame { complaint, proof: None, order: None, ended_by: vec![] }));
    to.up().handle(from, Channel::Share, &codec::encode(&frame)).await.map(drop)
}

/// One member complains of anything and everything; a second one makes the others join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_liar_that_complains_changes_nothing_and_as_many_as_must_end_a_term() {
    let (cluster, leader) = certified_cluster(4, 3).await;
    let (term, accused) = (cluster.nodes[leader].up().status().term, cluster.nodes[leader].id());
    let [liar, second, third] = [1, 2, 3].map(|step| (leader + step) % 4);
    let seed = |place: usize| u8::try_from(place).unwrap() + 1;
    let reasons = [Reason::NoOrder, Reason::Equivocated, Reason::BaseMissing, Reason::Starved(Hash([7; 32]))];
    // Until it counts: members join nobody who have just begun to follow a leader.
    let began = std::time::Instant::now();
    while began.elapsed() < cluster.timing.election_max * 6 {
        for reason in reasons {
            for place in [leader, second, third] {
                let complaint = complaint_of(&cluster.genesis, seed(liar), (term, accused), reason);
                // That of this moment may come too late: the member has it already.
                let _ = complain(&cluster.nodes[place], cluster.nodes[liar].id(), complaint).await;
            }
        }
        let last = cluster.propose(second, b"on").await.block;
        cluster.wait_applied(last).await;
    }
    assert_eq!(cluster.nodes[leader].up().status().stats.leaders_left, 0);
    assert_eq!(cluster.nodes[second].up().status().stats.leaders_left, 0);
    // In another's name, of another term, by a stranger.
    let forged = complaint_of(&cluster.genesis, seed(second), (term, accused), Reason::NoOrder);
    let from = cluster.nodes[liar].id();
    assert!(complain(&cluster.nodes[third], from, forged).await.is_err());
    let stranger = complaint_of(&cluster.genesis, 77, (term, accused), Reason::NoOrder);
    assert!(complain(&cluster.nodes[third], host(77), stranger).await.is_err());
    let of_another = complaint_of(&cluster.genesis, seed(liar), (term, cluster.nodes[third].id()), Reason::NoOrder);
    assert!(complain(&cluster.nodes[third], from, of_another).await.is_err());
    // The first one counts, and so does the second, as the test has its key.
    let starved = Reason::Starved(Hash([7; 32]));
    for (by, to) in [(liar, third), (second, third), (liar, leader), (second, leader)] {
        let complaint = complaint_of(&cluster.genesis, seed(by), (term, accused), starved);
        let _ = complain(&cluster.nodes[to], cluster.nodes[by].id(), complaint).await;
    }
    wait("that they leave it", || (cluster.nodes[third].up().status().stats.leaders_left > 0).then_some(())).await;
    let last = cluster.propose(third, b"on").await.block;
    cluster.wait_applied(last).await;
    assert!(cluster.nodes[third].up().status().term > term);
    cluster.assert_no_trouble();
}

/// Whoever has just begun to follow a leader can't tell whether others complain with reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_just_begun_to_follow_a_leader_joins_nobody() {
    let (mut cluster, _) = certified_cluster(4, 3).await;
    let beginner = (cluster.wait_for_leader().await + 1) % 4;
    cluster.stop(beginner).await;
    // It stays one for several minutes.
    cluster.timing.election_max = Duration::from_secs(60);
    cluster.start(beginner).await;
    let node = &cluster.nodes[beginner];
    let (term, accused) = wait("a leader", || {
        let status = node.up().status();
        status.leader.map(|leader| (status.term, leader))
    })
    .await;
    let others = (0..4).filter(|place| *place != beginner && cluster.nodes[*place].id() != accused);
    for by in others {
        let seed = u8::try_from(by).unwrap() + 1;
        let complaint = complaint_of(&cluster.genesis, seed, (term, accused), Reason::NoOrder);
        complain(node, cluster.nodes[by].id(), complaint).await.unwrap();
    }
    let last = cluster.propose(beginner, b"on").await.block;
    cluster.wait_applied(last).await;
    assert_eq!(node.up().status().stats.leaders_left, 0);
    cluster.assert_no_trouble();
}

/// A leader that was left may be elected again, but not before the others have had the time to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_votes_for_a_leader_that_was_left_while_another_may_be_elected() {
    let mut cluster = Cluster::new(4, 3, parameters());
    // So long that stopping three members takes no part of it.
    cluster.timing.election_max = Duration::from_secs(1);
    for place in 0..4 {
        cluster.start(place).await;
    }
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let [voter, second, third] = [1, 2, 3].map(|step| (leader + step) % 4);
    let (term, left) = (cluster.nodes[voter].up().status().term, cluster.nodes[leader].id());
    let [accused, other] =
        [leader, third].map(|place| (cluster.nodes[place].id(), cluster.nodes[place].up().status().raft_id));
    // They count as soon as the voter has followed the leader for long enough.
    while cluster.nodes[voter].up().status().stats.leaders_left == 0 {
        for by in [second, third] {
            let seed = u8::try_from(by).unwrap() + 1;
            let complaint = complaint_of(&cluster.genesis, seed, (term, left), Reason::NoOrder);
            complain(&cluster.nodes[voter], cluster.nodes[by].id(), complaint).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for place in [leader, second, third] {
        cluster.stop(place).await;
    }
    let mut asking = Asking::of(cluster.nodes[voter].up(), &cluster.genesis);
    while !asking.would_vote(other).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!asking.would_vote(accused).await, "the others have had no time yet");
    while !asking.would_vote(accused).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What members want is put first by an honest leader, each has so much room, and no strangers have any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_leader_orders_what_is_wanted_and_a_flood_of_it_is_refused() {
    let (cluster, leader) = certified_cluster(4, 3).await;
    let [liar, other] = [1, 2].map(|step| (leader + step) % 4);
    let from = cluster.nodes[liar].id();
    let want = async |to: usize, from: HostId, command: Vec<u8>| {
        let frame = codec::encode(&ShareFrame::Wanted { payload: Payload::Command(command.into()), from: 0 });
        cluster.nodes[to].up().handle(from, Channel::Share, &frame).await
    };
    assert!(want(leader, host(77), b"stranger".to_vec()).await.is_err());
    want(leader, from, b"wanted".to_vec()).await.unwrap();
    let executed = async |command: &'static [u8]| {
        let look = move |toy: &mut Toy| toy.commands.iter().filter(|known| **known == command).count();
        cluster.nodes[other].up().inspect(look).await.unwrap()
    };
    while executed(b"wanted").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(want(other, from, vec![0; MAX_COMMAND_BYTES + (2 << 10)]).await.is_err(), "more than a command can have");
    // A member that can't reach its leader keeps it in mind, so much and no more.
    cluster.hub.cut(cluster.nodes[other].id(), cluster.nodes[leader].id());
    let mut refused = 0;
    for number in 0..100u8 {
        let wanted = want(other, from, [b"flood ".to_vec(), vec![number]].concat()).await;
        refused += usize::from(wanted.is_err());
    }
    assert!(refused >= 100 - 2 * MAX_WANTED, "only {refused} of 100 were refused");
    cluster.hub.heal();
    let last = cluster.propose(other, b"on").await.block;
    cluster.wait_applied(last).await;
    cluster.assert_no_trouble();
}

/// What a leader sends that keeps its share to itself. Its followers get what it orders.
fn unsigned(channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match channel {
        Channel::Share if matches!(codec::decode(&frame), Ok(ShareFrame::Push(_))) => {
            codec::encode(&ShareFrame::Push(Vec::new()))
        }
        _ => frame,
    }
}

/// What gets to a leader that votes for nobody, either.
fn deaf_to_all(channel: Channel, frame: Vec<u8>) -> Vec<u8> {
    match codec::decode(&frame) {
        Ok(RaftFrame { message: RaftMessage::Vote { .. }, .. }) if channel == Channel::Vote => Vec::new(),
        _ => deaf(channel, frame),
    }
}

/// The liar's replica hears no complaints and no candidates, nothing that `speaks_to` denies gets from its log to members, and no share leaves it. Returns
/// the count of what did not get through.
fn cut_off(
    cluster: &Cluster,
    liar: usize,
    speaks_to: impl Fn(HostId) -> bool + Send + Sync + 'static,
) -> Arc<AtomicU64> {
    let (guilty, cut) = (cluster.nodes[liar].id(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&cut);
    cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
        _ if to == guilty => deaf_to_all(channel, frame),
        Channel::Append | Channel::Vote if from == guilty && !speaks_to(to) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Vec::new()
        }
        _ if from == guilty => unsigned(channel, frame),
        _ => frame,
    }));
    cluster.hub.lie_in_answers(Box::new(move |by, _, channel, _, answer| match channel {
        Channel::Share if by == guilty => codec::encode(&ShareReply::default()),
        _ => answer,
    }));
    cut
}

/// The honest members order and certify something without the liar.
async fn go_on_without(cluster: &Cluster, liar: usize, proposer: usize) {
    let guilty = cluster.nodes[liar].id();
    let last = cluster.propose(proposer, b"two").await.block;
    for (place, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != liar) {
        wait("certified", || (node.up().status().certified_block >= last).then_some(())).await;
        assert!(node.up().status().leader != Some(guilty), "{place}");
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
}

/// A member that comes back is not spoken to by whoever leads meanwhile, and that one keeps its share to itself: two of four can't sign. They
/// leave it with the third, whom they tell who leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cuts_a_member_off_and_signs_nothing_is_left() {
    let (mut cluster, first) = certified_cluster(4, 3).await;
    let away = (first + 1) % 4;
    cluster.stop(away).await;
    // After a restart it leads no more in its term.
    cluster.stop(first).await;
    cluster.start(first).await;
    let liar = cluster.wait_for_leader().await;
    let victim = cluster.nodes[away].id();
    let cut = cut_off(&cluster, liar, move |member| member != victim);
    cluster.start(away).await;
    let proposer = (1..4).map(|step| (liar + step) % 4).find(|place| *place != away).unwrap();
    go_on_without(&cluster, liar, proposer).await;
    assert!(cut.load(Ordering::SeqCst) > 0);
}

/// Members that stood for election while the leader was silent are in a later term, and can't go back. It speaks to the others alone from
/// then on: to two, and signs nothing, or to one, with which it can't order anything. The others ask for votes in vain while one hears it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_left_by_members_that_are_in_later_terms() {
    for astray in [1, 2] {
        let (cluster, liar) = certified_cluster(4, 3).await;
        let term = cluster.nodes[liar].up().status().term;
        let guilty = cluster.nodes[liar].id();
        let away: Vec<usize> = (1..=astray).map(|step| (liar + step) % 4).collect();
        let victims: Vec<HostId> = away.iter().map(|place| cluster.nodes[*place].id()).collect();
        let speaks_to = {
            let victims = victims.clone();
            move |member: HostId| !victims.contains(&member)
        };
        // What they would be told if the others heard no leader either: each stands, and gets no vote, since they do.
        let candidates = victims.clone();
        cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
            _ if to == guilty => deaf_to_all(channel, frame),
            Channel::Append | Channel::Vote if from == guilty && candidates.contains(&to) => Vec::new(),
            _ => frame,
        }));
        let candidates = victims.clone();
        cluster.hub.lie_in_answers(Box::new(move |_, to, channel, request, answer| {
            let is_asked = matches!(
                codec::decode(request),
                Ok(RaftFrame { message: RaftMessage::Vote { pre: true, .. }, .. }) if candidates.contains(&to)
            );
            match codec::decode(&answer) {
                Ok(RaftReply::Vote { vote, last, grant, better, .. }) if is_asked && channel == Channel::Vote => {
                    codec::encode(&RaftReply::Vote { vote, granted: true, last, grant, better })
                }
                _ => answer,
            }
        }));
        for place in &away {
            let node = &cluster.nodes[*place];
            wait("a later term", || (node.up().status().term > term).then_some(())).await;
        }
        cut_off(&cluster, liar, speaks_to);
        if astray == 2 {
            // Nobody wants anything of the leader, and all that it has sent is proven. The third sees that the others look for one.
            all_have_left(&cluster, liar).await;
        }
        go_on_without(&cluster, liar, (liar + 3) % 4).await;
    }
}

/// Whether an entry ends a membership.
fn activates(entry: &WireEntry) -> bool {
    let WireContent::Block(bytes) = &entry.content else { return false };
    matches!(Block::decode(bytes).control, Some(Control::Activate(_)))
}

/// A leader has a newcomer begin to vote in the place of one of the others, and keeps what proves the order from then on, whatever it is told of
/// complaints, candidates and later terms. The newcomer is no member yet, and hears it: without its vote nobody else is elected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_to_come_leaves_the_leader_that_the_members_leave() {
    let (mut cluster, liar) = certified_cluster(4, 3).await;
    let (guilty, term) = (cluster.nodes[liar].id(), cluster.nodes[liar].up().status().term);
    let newcomer = cluster.learner().await;
    let keeps = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&keeps);
    cluster.hub.lie_in_answers(Box::new(move |_, to, _, _, answer| match codec::decode(&answer) {
        Ok(RaftReply::HigherVote(..)) if to == guilty => Vec::new(),
        _ => answer,
    }));
    cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
        _ if to == guilty => deaf_to_all(channel, frame),
        Channel::Append | Channel::Vote if from == guilty => {
            if let Ok(RaftFrame { message: RaftMessage::Append { entries, .. }, .. }) = codec::decode(&frame)
                && entries.iter().any(activates)
            {
                begun.store(true, Ordering::SeqCst);
            }
            if begun.load(Ordering::SeqCst) { without_order(frame) } else { frame }
        }
        _ => frame,
    }));
    let (out, proposer) = ((liar + 1) % 4, (liar + 2) % 4);
    let change = Change::Replace { out: cluster.nodes[out].id(), in_: cluster.nodes[newcomer].member() };
    let up = cluster.nodes[proposer].up();
    if let Err(error) = up.reconfigure(change, None, Duration::from_secs(20)).await {
        assert!(up.status().pending.is_some() || up.status().epoch > 0, "{error}");
    }
    for place in [proposer, (liar + 3) % 4, newcomer] {
        let node = &cluster.nodes[place];
        wait("the next epoch", || (node.up().status().certified_epoch == 1).then_some(())).await;
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
    assert!(keeps.load(Ordering::SeqCst));
    // Whoever has lost sight of the leader for a while may be in a later term without having left this one.
    for node in [&cluster.nodes[proposer], &cluster.nodes[newcomer]] {
        wait("a later term", || (node.up().status().term > term).then_some(())).await;
    }
    let last = cluster.propose(proposer, b"two").await.block;
    wait("certified", || (up.status().certified_block >= last).then_some(())).await;
}

/// The leader gets no signatures of the others, so that it never sees its way clear to a change of members. Everything else it orders: from
/// outside it is a leader that does not want the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_makes_no_change_of_members_take_effect_is_left() {
    let (cluster, liar) = certified_cluster(4, 3).await;
    let guilty = cluster.nodes[liar].id();
    cluster.hub.lie(Box::new(move |_, to, channel, frame| match channel {
        Channel::Share if to == guilty => match codec::decode(&frame) {
            Ok(ShareFrame::Push(_)) => codec::encode(&ShareFrame::Push(Vec::new())),
            _ => deaf(channel, frame),
        },
        _ => frame,
    }));
    cluster.hub.lie_in_answers(Box::new(move |_, to, channel, request, answer| match codec::decode(request) {
        Ok(ShareFrame::Ask { .. }) if channel == Channel::Share && to == guilty => {
            codec::encode(&ShareReply::default())
        }
        _ => answer,
    }));
    let proposer = (liar + 1) % 4;
    let up = cluster.nodes[proposer].up();
    let change = Change::Remove(guilty);
    if let Err(error) = up.reconfigure(change, Some(2), Duration::from_secs(20)).await {
        assert!(up.status().pending.is_some() || up.status().epoch > 0, "{error}");
    }
    for (place, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != liar) {
        wait("the change", || (node.up().status().certified_epoch == 1).then_some(())).await;
        assert_eq!(node.log.lock().unwrap().fault, None, "{place}");
    }
    assert!(up.status().stats.leaders_left > 0);
    let last = cluster.propose(proposer, b"two").await.block;
    wait("certified", || (up.status().certified_block >= last).then_some(())).await;
}

/// A member wants the same ordered again that was ordered a while ago, and its leader, which says nothing of it, has it in its log
/// already. The leader orders it again: a member believes its own log alone, and looks only at what it has not seen yet. It would
/// complain as long as that leader leads, and no vat falls asleep meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_again_is_ordered_again() {
    let (cluster, leader) = certified_cluster(4, 3).await;
    let led = cluster.nodes[leader].id();
    let member = &cluster.nodes[(leader + 1) % 4];
    let last = cluster.propose(leader, b"again").await.block;
    cluster.wait_applied(last).await;
    // Proposals to the leader are lost, and it answers that it does not know what became of them.
    cluster.hub.lie(Box::new(move |_, to, channel, frame| match channel {
        Channel::Propose if to == led => {
            let Ok(ProposeFrame(payloads)) = codec::decode(&frame) else { return frame };
            codec::encode(&ProposeFrame(payloads.iter().map(|_| Payload::Command(b"".to_vec().into())).collect()))
        }
        _ => frame,
    }));
    cluster.hub.lie_in_answers(Box::new(move |by, _, channel, request, answer| {
        let (true, Ok(ProposeFrame(payloads))) = (by == led && channel == Channel::Propose, codec::decode(request))
        else {
            return answer;
        };
        codec::encode(&ProposeReply(payloads.iter().map(|_| ForwardedResult::Unknown).collect()))
    }));
    let proposed = member.up().propose(b"again".to_vec(), Duration::from_secs(20)).await;
    assert!(matches!(proposed, Err(ProposeError::Unknown)), "{proposed:?}");
    let ordered = async || {
        let look = |toy: &mut Toy| toy.commands.iter().filter(|command| **command == b"again").count();
        member.up().inspect(look).await.unwrap()
    };
    let waited = tokio::time::Instant::now();
    while ordered().await < 2 {
        assert!(waited.elapsed() < Duration::from_secs(60), "complains: {:?}", member.up().status().complains);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wait("no complaint", || member.up().status().complains.is_none().then_some(())).await;
    assert_eq!(member.up().status().leader, Some(led));
    assert_eq!(member.up().status().stats.leaders_left, 0);
}

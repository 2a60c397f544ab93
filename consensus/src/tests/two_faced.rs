//! Leaders that show different logs to different members, and members that sign different things for them. The liar is a wrapper
//! around what a replica sends; the replica itself is the product's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::{Cluster, parameters, wait};
use super::leading::{Asking, chain_at, header};
use super::*;
use crate::codec::{self, Blob};
use crate::order::frames::{RaftFrame, RaftMessage, WireContent, WireEntry, WireVote};
use crate::proof::equivocation::EvidenceRecord;
use crate::proof::membership::{Genesis, Parameters};
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::Share;
use crate::proof::signers::Signers;
use crate::replica::wire::share::ShareFrame;
use crate::state::LogPosition;
use crate::state::block::Block;
use crate::testing::faces::Faces;
use crate::transport::{Channel, TransportError};
use quorate_order::evidence::Evidence;

/// What the liar shows one member instead of what it shows the others.
fn altered(entry: WireEntry, begins: &[u8]) -> WireEntry {
    match entry.content {
        WireContent::Block(bytes) => WireEntry { content: WireContent::Block(otherwise(bytes, begins)), ..entry },
        _ => entry,
    }
}

/// A block in which each command that begins so ends otherwise.
fn otherwise(bytes: Blob, begins: &[u8]) -> Blob {
    let mut block = Block::decode(&bytes);
    if begins == b"gone" {
        block.commands.retain(|command| !command.0.starts_with(begins));
    }
    for command in block.commands.iter_mut().filter(|command| command.0.starts_with(begins)) {
        let mut changed = command.0.to_vec();
        changed.push(b'!');
        *command = changed.into();
    }
    block.encode()
}

/// A leader of `members` shows some of the others (`victims` of them) other contents under the same log ids. Returns the cluster, and the
/// leader.
async fn shown_two_logs(members: u8, threshold: u16, victims: usize, command: &[u8]) -> (Cluster, usize) {
    shown_two_logs_with(parameters(), (members, threshold), victims, command, false).await
}

/// The same. `apart`: the victims do not reach the others, but the leader.
async fn shown_two_logs_with(
    parameters: Parameters,
    (members, threshold): (u8, u16),
    victims: usize,
    command: &[u8],
    apart: bool,
) -> (Cluster, usize) {
    let cluster = Cluster::started(members, threshold, parameters).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let others = (0..usize::from(members)).filter(|place| *place != leader);
    let victims: Vec<usize> = others.take(victims).collect();
    let (from, to) = (cluster.nodes[leader].id(), victims.iter().map(|place| cluster.nodes[*place].id()));
    let (begins, to) = (command.to_vec(), to.collect::<Vec<_>>());
    let others = cluster.nodes.iter().map(super::cluster::Node::id).filter(|other| *other != from);
    for other in others.filter(|other| apart && !to.contains(other)) {
        to.iter().for_each(|victim| cluster.hub.cut(*victim, other));
    }
    let (signing, vat) = (cluster.nodes[leader].key.clone(), cluster.genesis.vat_id());
    let faces = Mutex::new(Faces::default());
    cluster.hub.lie(Box::new(move |sender, receiver, channel, frame| match channel {
        Channel::Append | Channel::Vote if sender == from && to.contains(&receiver) => {
            let Ok(RaftFrame { target, message }) = codec::decode(&frame) else { return frame };
            let alter = |entry| altered(entry, &begins);
            let message = faces.lock().unwrap().show(&signing, &vat, &receiver, message, alter);
            codec::encode(&RaftFrame { target, message })
        }
        _ => frame,
    }));
    let (replica, command) = (cluster.nodes[leader].up().clone(), command.to_vec());
    // It may be ordered, or never be.
    tokio::spawn(async move { replica.propose(command, Duration::from_secs(60)).await });
    (cluster, leader)
}

/// Whatever a leader shows whom: nothing is executed that a threshold has not acknowledged. So nobody is harmed who was shown another
/// log, and when the leader is convicted and left, all others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vat_goes_on_under_another_leader_when_one_has_shown_two_logs() {
    for (members, threshold, victims, command) in
        [(3, 2, 1, &b"quiet"[..]), (4, 3, 1, b"quiet"), (4, 3, 2, b"quiet"), (4, 3, 2, b"loud"), (4, 3, 1, b"gone")]
    {
        let (cluster, liar) = shown_two_logs(members, threshold, victims, command).await;
        let guilty = cluster.nodes[liar].id();
        let honest: Vec<usize> = (0..usize::from(members)).filter(|place| *place != liar).collect();
        let all: BTreeSet<HostId> = cluster.nodes.iter().map(super::cluster::Node::id).collect();
        for place in &honest {
            let node = &cluster.nodes[*place];
            wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        }
        let last = cluster.propose(honest[0], b"all the same").await.block;
        for place in &honest {
            let node = &cluster.nodes[*place];
            wait("certified", || (node.up().status().certified_block >= last).then_some(())).await;
            let kept = node.up().evidence().unwrap();
            let accused: BTreeSet<HostId> = kept.iter().flat_map(EvidenceRecord::accused).collect();
            assert_eq!(accused, BTreeSet::from([guilty]), "{kept:?}");
            for record in &kept {
                if let EvidenceRecord::Order(order) = record {
                    assert_eq!(order.verify(&all), Ok(guilty));
                }
            }
            assert_eq!(node.log.lock().unwrap().fault, None, "{place} of {members}");
        }
    }
}

/// Has a member hear from another one that the member `signer` has led a term with two logs, or with one if the chains are the same.
async fn convict(
    genesis: &Genesis,
    (node, from): (&super::cluster::Node, HostId),
    (signer, term, last): (u8, u64, u64),
    chains: [u8; 2],
) -> Result<Vec<u8>, TransportError> {
    let [first, second] = chains.map(|chain| header_at(genesis, (signer, term), last, Hash([chain; 32])));
    let evidence = Evidence::Headers { first, second, before: second.content.chain, heads: Vec::new() };
    let evidence = OrderEvidence { vat: genesis.vat_id(), evidence };
    let frame = codec::encode(&ShareFrame::Convicted(Box::new(evidence)));
    node.up().handle(from, Channel::Share, &frame).await
}

/// A convicted member gets a vote only when the others have had the time to elect somebody else. A restart changes nothing in that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_votes_for_a_convicted_member_while_another_may_be_elected() {
    let mut cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let [voter, guilty, other] = [1, 2, 3].map(|step| (leader + step) % 4);
    let term = cluster.nodes[voter].up().status().term;
    let told = (&cluster.nodes[voter], cluster.nodes[other].id());
    let seed = u8::try_from(guilty).unwrap() + 1;
    convict(&cluster.genesis, told, (seed, term, last), [7, 8]).await.unwrap();
    wait("the proof", || (cluster.nodes[voter].up().evidence().unwrap().len() == 1).then_some(())).await;
    cluster.stop(voter).await;
    cluster.start(voter).await;
    wait("a leader", || cluster.nodes[voter].up().status().leader).await;
    let candidates =
        [guilty, other].map(|place| (cluster.nodes[place].id(), cluster.nodes[place].up().status().raft_id));
    for place in [guilty, other, leader] {
        cluster.stop(place).await;
    }
    let mut asking = Asking::of(cluster.nodes[voter].up(), &cluster.genesis);
    while !asking.would_vote(candidates[1]).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!asking.would_vote(candidates[0]).await, "the others have had no time yet");
    while !asking.would_vote(candidates[0]).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A member that was away when the others heard what convicts their leader follows it on, and votes for nobody as long as it hears it. It is
/// shown what they know when they ask it for its vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_a_convicted_leader_is_shown_what_convicts_it() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let liar = cluster.wait_for_leader().await;
    let [away, teller, third] = [1, 2, 3].map(|step| (liar + step) % 4);
    let (victim, guilty) = (cluster.nodes[away].id(), cluster.nodes[liar].id());
    let missed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&missed);
    cluster.hub.lie(Box::new(move |_, receiver, channel, frame| match codec::decode(&frame) {
        Ok(ShareFrame::Convicted(_)) if channel == Channel::Share && receiver == victim => {
            count.fetch_add(1, Ordering::SeqCst);
            codec::encode(&ShareFrame::Clock)
        }
        _ => frame,
    }));
    let term = cluster.nodes[away].up().status().term;
    let seed = u8::try_from(liar).unwrap() + 1;
    let told = (&cluster.nodes[teller], cluster.nodes[third].id());
    convict(&cluster.genesis, told, (seed, term, last), [7, 8]).await.unwrap();
    // Each of the two tells all others, once.
    for place in [teller, third] {
        wait("the proof", || (cluster.nodes[place].up().evidence().unwrap().len() == 1).then_some(())).await;
    }
    wait("what it missed", || (missed.load(Ordering::SeqCst) >= 2).then_some(())).await;
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    for place in [away, teller, third] {
        let node = &cluster.nodes[place];
        wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        wait("the proof", || (node.up().evidence().unwrap().len() == 1).then_some(())).await;
    }
    let last = cluster.propose(away, b"two").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
}

/// A member that holds what proves the order takes nothing else in its place, so that it has no second header of its leader's log. The others
/// have the log that it is held against.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_convicted_by_what_a_member_has_refused() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let liar = cluster.wait_for_leader().await;
    let block = cluster.propose(liar, b"two").await.block;
    cluster.wait_applied(block).await;
    let (victim, guilty) = (&cluster.nodes[(liar + 1) % 4], cluster.nodes[liar].id());
    let (status, term) = (victim.up().status(), cluster.nodes[liar].up().status().term);
    let at = |index| LogPosition { term, index };
    let other = WireEntry { log: at(block), content: WireContent::Block(b"another".to_vec().into()) };
    let prev = Some(at(block - 1));
    let before = chain_at(&cluster, (liar + 1) % 4, block - 1);
    let seed = u8::try_from(liar).unwrap() + 1;
    let header = Some(Box::new(header(&cluster.genesis, (seed, term), prev, before, std::slice::from_ref(&other))));
    let vote = WireVote { term, node: cluster.nodes[liar].up().status().raft_id, committed: true };
    let message = RaftMessage::Append { vote, prev, entries: vec![other], commit: None, header };
    let frame = codec::encode(&RaftFrame { target: status.raft_id, message });
    let refused = victim.up().handle(guilty, Channel::Append, &frame).await;
    assert!(matches!(&refused, Err(TransportError::Refused(text)) if text.contains("contradict")), "{refused:?}");
    for node in cluster.nodes.iter().filter(|node| node.id() != guilty) {
        wait("the proof", || (node.up().evidence().unwrap().len() == 1).then_some(())).await;
        wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        let accused: Vec<HostId> = node.up().evidence().unwrap().iter().flat_map(EvidenceRecord::accused).collect();
        assert_eq!(accused, [guilty]);
    }
}

/// What a member refuses since it lies before the root of its log, where all is certified, convicts the leader as well: whether its other log
/// ends where the others' logs still go (they hold it against theirs), or beyond all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_convicted_by_another_log_than_what_is_certified() {
    for beyond in [0, 3] {
        let few = Parameters { checkpoint_commands: 10, ..parameters() };
        let cluster = Cluster::started(4, 3, few).await;
        let liar = cluster.wait_for_leader().await;
        let mut block = 0;
        for number in 0..65u8 {
            block = cluster.propose(liar, &[number]).await.block;
        }
        cluster.wait_certified(block).await;
        let (victim, guilty) = (&cluster.nodes[(liar + 1) % 4], cluster.nodes[liar].id());
        let root = wait("a purge", || Some(victim.up().status().purged).filter(|purged| *purged > 10)).await;
        let (status, term) = (victim.up().status(), cluster.nodes[liar].up().status().term);
        let at = |index| LogPosition { term, index };
        let other = |index| WireEntry { log: at(index), content: WireContent::Block(b"another".to_vec().into()) };
        let entries: Vec<WireEntry> = (root..=block + beyond).map(other).collect();
        let (prev, before) = (Some(at(root - 1)), Hash([7; 32]));
        let seed = u8::try_from(liar).unwrap() + 1;
        let header = Some(Box::new(header(&cluster.genesis, (seed, term), prev, before, &entries)));
        let vote = WireVote { term, node: cluster.nodes[liar].up().status().raft_id, committed: true };
        let message = RaftMessage::Append { vote, prev, entries, commit: None, header };
        let frame = codec::encode(&RaftFrame { target: status.raft_id, message });
        let refused = victim.up().handle(guilty, Channel::Append, &frame).await;
        assert!(
            matches!(&refused, Err(TransportError::Refused(text)) if text.contains("contradict the certified")),
            "{refused:?}"
        );
        for node in cluster.nodes.iter().filter(|node| node.id() != guilty) {
            wait("the proof", || (node.up().evidence().unwrap().len() == 1).then_some(())).await;
            wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
            let accused: Vec<HostId> = node.up().evidence().unwrap().iter().flat_map(EvidenceRecord::accused).collect();
            assert_eq!(accused, [guilty]);
        }
    }
}

/// A member that was shown other entries than the rest gets a checkpoint of theirs, of which its own entries have the names, behind it as
/// well. None of them is of that log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deceived_member_keeps_nothing_behind_the_checkpoint_that_it_gets() {
    let few = Parameters { checkpoint_commands: 10, ..parameters() };
    let (mut cluster, liar) = shown_two_logs_with(few, (4, 3), 1, b"shown", true).await;
    let victim = (0..4).find(|place| *place != liar).unwrap();
    let honest: Vec<usize> = (0..4).filter(|place| ![liar, victim].contains(place)).collect();
    let mut last = 0;
    for _ in 0..65 {
        last = cluster.propose(honest[0], b"shown truly").await.block;
    }
    for place in &honest {
        wait("a purge", || (cluster.nodes[*place].up().status().purged > 30).then_some(())).await;
    }
    wait("false entries", || (cluster.nodes[victim].up().status().last_log >= last).then_some(())).await;
    cluster.stop(liar).await;
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    cluster.hub.heal();
    let last = cluster.propose(honest[0], b"all the same").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    for place in [victim, honest[0], honest[1]] {
        assert_eq!(cluster.nodes[place].log.lock().unwrap().fault, None);
    }
    assert!(!cluster.nodes[victim].log.lock().unwrap().restored.is_empty(), "by a checkpoint");
}

/// What convicts a leader outlives a restart, and is believed only if it proves something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_convicted_is_left_also_after_a_restart_and_nobody_upon_a_claim() {
    let mut cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (place, teller) = ((leader + 1) % 4, (leader + 2) % 4);
    let term = cluster.nodes[place].up().status().term;
    let (genesis, from) = (cluster.genesis.clone(), cluster.nodes[teller].id());
    let tell = async |node: &super::cluster::Node, signer, chains| {
        convict(&genesis, (node, from), (signer, term, last), chains).await
    };
    let seed = |place: usize| u8::try_from(place).unwrap() + 1;
    let node = &cluster.nodes[place];
    assert!(tell(node, seed(leader), [7, 7]).await.is_err(), "one log");
    assert!(tell(node, 77, [7, 8]).await.is_err(), "no member");
    assert!(node.up().evidence().unwrap().is_empty());
    // The test has the leader's key.
    tell(node, seed(leader), [7, 8]).await.unwrap();
    let guilty = cluster.nodes[leader].id();
    let left = |cluster: &Cluster| {
        let status = cluster.nodes[place].up().status();
        (status.term > term || status.leader != Some(guilty)).then_some(())
    };
    wait("another leader", || left(&cluster)).await;
    wait("the proof", || (cluster.nodes[place].up().evidence().unwrap().len() == 1).then_some(())).await;
    cluster.stop(place).await;
    cluster.start(place).await;
    assert_eq!(cluster.nodes[place].up().evidence().unwrap().len(), 1);
    let last = cluster.propose(place, b"two").await.block;
    cluster.wait_certified(last).await;
    wait("another leader", || left(&cluster)).await;
    for node in &cluster.nodes {
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
}

/// A member that signs one thing for one member and another for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_signs_two_things_is_convicted_by_both_and_nobody_else_is() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let places: Vec<usize> = (0..4).filter(|place| *place != leader).collect();
    let (liar, lied_to) = (places[0], cluster.nodes[places[1]].id());
    let (signing, from) = (cluster.nodes[liar].key.clone(), cluster.nodes[liar].id());
    cluster.hub.lie(Box::new(move |sender, receiver, channel, frame| {
        if channel != Channel::Share || sender != from || receiver != lied_to {
            return frame;
        }
        let Ok(ShareFrame::Push(shares)) = codec::decode(&frame) else { return frame };
        let lie = |share| match share {
            Share::Statement(statement, _) => {
                let lie = Statement { outbox_root: Hash([0x66; 32]), ..statement };
                let signature = MemberSignature::sign(&signing, &lie.payload());
                Share::Statement(lie, signature)
            }
            other => other,
        };
        codec::encode(&ShareFrame::Push(shares.into_iter().map(lie).collect()))
    }));
    for number in 0..20u8 {
        cluster.propose(leader, &[number]).await;
    }
    let guilty = cluster.nodes[liar].id();
    for honest in (0..4).filter(|place| *place != liar) {
        let pair = wait("a proof", || {
            let log = cluster.nodes[honest].log.lock().unwrap();
            log.evidence.iter().find_map(|record| match record {
                EvidenceRecord::Equivocation(pair) => Some(pair.clone()),
                _ => None,
            })
        })
        .await;
        assert_eq!(pair.verify(&Signers::from(&cluster.genesis.membership())), Ok(guilty));
        let node = &cluster.nodes[honest];
        let accused: BTreeSet<_> = node.up().evidence().unwrap().iter().flat_map(EvidenceRecord::accused).collect();
        assert_eq!(accused, BTreeSet::from([guilty]));
        let counted: BTreeSet<_> = node.up().status().stats.equivocations.into_keys().collect();
        assert_eq!(counted, BTreeSet::from([guilty]));
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
}

/// Blank entries, Raft's memberships, blocks: the chain is the same on all members, through leaders' changes, checkpoints and the
/// cuts of the log, and for one that got a checkpoint instead of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_members_have_one_chain_through_elections_changes_and_checkpoints() {
    let few = Parameters { checkpoint_blocks: 10, ..parameters() };
    let mut cluster = Cluster::started(3, 2, few).await;
    let leader = cluster.wait_for_leader().await;
    let away = (leader + 1) % 3;
    cluster.stop(away).await;
    for number in 0..60u8 {
        cluster.propose(leader, &[number]).await;
    }
    cluster.start(away).await;
    let new = cluster.learner().await;
    let add = crate::Change::Add(cluster.nodes[new].member());
    let leader = cluster.wait_for_leader().await;
    cluster.nodes[leader].up().reconfigure(add, None, Duration::from_secs(20)).await.unwrap();
    cluster.stop(leader).await;
    let next = cluster.wait_for_leader().await;
    let mut last = 0;
    for number in 0..40u8 {
        last = cluster.propose(next, &[number]).await.block;
    }
    cluster.start(leader).await;
    cluster.wait_certified(last).await;
    cluster.assert_no_trouble();
    assert!(cluster.hub.snapshot_frames.load(std::sync::atomic::Ordering::SeqCst) > 0, "one got a checkpoint");
    let said = |node: &super::cluster::Node| {
        let log = node.log.lock().unwrap();
        log.certificates.get(&last).map(|certificate| certificate.statement.clone())
    };
    let said: Vec<Statement> = cluster.nodes.iter().filter_map(said).collect();
    assert!(said.len() >= 2 && said.windows(2).all(|pair| pair[0] == pair[1]), "{said:?}");
}

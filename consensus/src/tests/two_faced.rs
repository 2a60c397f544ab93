//! Leaders that show different logs to different members, and members that sign different things for them. The liar is a wrapper
//! around what a replica sends; the replica itself is the product's.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::cluster::{Cluster, parameters, wait};
use super::leading::header_at;
use super::*;
use crate::codec::{self, Blob};
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::proof::equivocation::{Divergence, EvidenceRecord};
use crate::proof::membership::Genesis;
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::Share;
use crate::proof::signers::Signers;
use crate::replica::wire::share::ShareFrame;
use crate::state::LogPosition;
use crate::state::block::Block;
use crate::testing::fabricated::stand_of;
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

/// A leader of `members` shows some of the others (`victims` of them) other contents under the same log ids. Returns the cluster, the
/// block, who was shown what its leader did not log, and the leader.
async fn shown_two_logs(
    members: u8,
    threshold: u16,
    victims: usize,
    command: &[u8],
) -> (Cluster, u64, Vec<usize>, usize) {
    let cluster = Cluster::started(members, threshold, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let others = (0..usize::from(members)).filter(|place| *place != leader);
    let victims: Vec<usize> = others.take(victims).collect();
    let (from, to) = (cluster.nodes[leader].id(), victims.iter().map(|place| cluster.nodes[*place].id()));
    let (begins, to) = (command.to_vec(), to.collect::<Vec<_>>());
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
    let block = cluster.propose(leader, command).await.block;
    (cluster, block, victims, leader)
}

/// The member that was shown blocks without commands has nothing to say, and nobody disagrees with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_shows_one_member_empty_blocks_is_convicted_too() {
    let (cluster, _, victims, liar) = shown_two_logs(4, 3, 1, b"gone").await;
    let guilty = cluster.nodes[liar].id();
    for (place, node) in cluster.nodes.iter().enumerate().filter(|(place, _)| *place != liar) {
        wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        let kept = node.up().evidence().unwrap();
        let accused: BTreeSet<HostId> = kept.iter().flat_map(EvidenceRecord::accused).collect();
        assert_eq!(accused, BTreeSet::from([guilty]), "{place}, where {victims:?} were shown nothing: {kept:?}");
    }
}

/// What the block says is the same in both logs: only what was ordered differs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_shown_another_log_notices_at_the_first_different_block() {
    let (cluster, block, victims, _) = shown_two_logs(3, 2, 1, b"quiet").await;
    let victim = victims[0];
    let text = wait("a fault", || cluster.nodes[victim].log.lock().unwrap().fault.clone()).await;
    assert!(text.contains("Q-C042") && text.contains(&format!("at block {block},")), "{text}");
    let kept = cluster.nodes[victim].up().evidence().unwrap();
    let diverged = kept.iter().find_map(|record| match record {
        EvidenceRecord::Divergence(Divergence::Statement { certificate, own }) => Some((certificate, own)),
        _ => None,
    });
    let (certificate, own) = diverged.expect("the certificate is kept");
    Signers::from(&cluster.genesis.membership()).verify_certificate(certificate).unwrap();
    assert_eq!((certificate.statement.block, own.block), (block, block));
    assert_eq!(certificate.statement.outbox_root, own.outbox_root, "the block says the same");
    assert_ne!(certificate.statement.chain, own.chain, "and another block was ordered");
}

/// Two honest members against the leader and the third one, and a threshold of three: nobody can tell whose result is right. But the
/// leader has signed two logs, and is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_two_faced_leader_is_convicted_and_left_and_nobody_else_is_accused() {
    for command in [&b"quiet"[..], b"loud"] {
        let (cluster, block, victims, liar) = shown_two_logs(4, 3, 2, command).await;
        let guilty = cluster.nodes[liar].id();
        let members: BTreeSet<HostId> = cluster.nodes.iter().map(super::cluster::Node::id).collect();
        for honest in (0..4).filter(|place| *place != liar) {
            let node = &cluster.nodes[honest];
            let told = wait("a proof", || {
                let log = node.log.lock().unwrap();
                log.evidence.iter().find_map(|record| match record {
                    EvidenceRecord::Order(order) => Some(order.clone()),
                    _ => None,
                })
            })
            .await;
            assert_eq!(told.verify(&members), Ok(guilty));
            wait("a disagreement", || {
                let log = node.log.lock().unwrap();
                log.evidence
                    .iter()
                    .find(|record| record.place() == (0, Some(block)) && record.kind() == "disagreement")
                    .cloned()
            })
            .await;
            wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
        }
        for (place, node) in cluster.nodes.iter().enumerate() {
            let kept = node.up().evidence().unwrap();
            let accused: BTreeSet<HostId> = kept.iter().flat_map(EvidenceRecord::accused).collect();
            assert!(accused.is_subset(&BTreeSet::from([guilty])), "{kept:?}");
            assert_eq!(node.log.lock().unwrap().fault, None, "{place}, where {victims:?} were shown another log");
        }
    }
}

/// Who is outvoted may stop. The leader that did it is convicted by the others, and left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_has_shown_one_member_another_log_is_left_by_the_others() {
    let (cluster, _, victims, liar) = shown_two_logs(4, 3, 1, b"quiet").await;
    let honest: Vec<usize> = (0..4).filter(|place| *place != liar && !victims.contains(place)).collect();
    let guilty = cluster.nodes[liar].id();
    for place in &honest {
        let node = &cluster.nodes[*place];
        wait("a proof", || {
            let log = node.log.lock().unwrap();
            log.evidence.iter().find(|record| record.kind() == "order").map(EvidenceRecord::accused)
        })
        .await;
        wait("another leader", || node.up().status().leader.filter(|leader| *leader != guilty)).await;
    }
    for place in &honest {
        let kept = cluster.nodes[*place].up().evidence().unwrap();
        let accused: BTreeSet<HostId> = kept.iter().flat_map(EvidenceRecord::accused).collect();
        assert_eq!(accused, BTreeSet::from([guilty]), "{kept:?}");
        assert_eq!(cluster.nodes[*place].log.lock().unwrap().fault, None);
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
    let (voter, genesis) = (cluster.nodes[voter].up(), &cluster.genesis);
    let would_vote = async |(from, node): (HostId, u64)| {
        let (term, target) = (voter.status().term, voter.status().raft_id);
        let vote = WireVote { term: term + 1, node, committed: false };
        let last = Some(LogPosition { term, index: 10_000 });
        let stand = Some(Box::new(stand_of(genesis, term + 1, last)));
        let message = RaftMessage::Vote { vote, last, transfer: false, pre: true, stand };
        let frame = codec::encode(&RaftFrame { target, message });
        let answer = voter.handle(from, Channel::Vote, &frame).await.unwrap();
        matches!(codec::decode(&answer), Ok(RaftReply::Vote { granted: true, .. }))
    };
    while !would_vote(candidates[1]).await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!would_vote(candidates[0]).await, "the others have had no time yet");
    while !would_vote(candidates[0]).await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
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
    cluster.nodes[leader].up().reconfigure(add, None, std::time::Duration::from_secs(20)).await.unwrap();
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

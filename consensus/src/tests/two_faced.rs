//! Leaders that show different logs to different members, and members that sign different things for them. The liar is a wrapper
//! around what a replica sends; the replica itself is the product's.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use super::cluster::{Cluster, parameters, wait};
use super::leading::header_at;
use super::*;
use crate::codec::{self, Blob};
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::proof::equivocation::EvidenceRecord;
use crate::proof::membership::Genesis;
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::Share;
use crate::proof::signers::Signers;
use crate::replica::wire::share::ShareFrame;
use crate::state::LogPosition;
use crate::state::block::Block;
use crate::testing::fabricated::{root_of, stand_of};
use crate::testing::faces::Faces;
use crate::transport::{Channel, TransportError};
use quorate_order::evidence::Evidence;
use quorate_order::member::Stand;

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
    let cluster = Cluster::started(members, threshold, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
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
    let (voter, genesis) = (cluster.nodes[voter].up(), &cluster.genesis);
    let mut order = root_of(genesis);
    let mut would_vote = async |(from, node): (HostId, u64)| {
        let (term, target) = (voter.status().term, voter.status().raft_id);
        let vote = WireVote { term: term + 1, node, committed: false };
        let last = Some(LogPosition { term, index: 10_000 });
        let stand = Some(Box::new(Stand { order: order.clone(), ..stand_of(genesis, term + 1, last) }));
        let message = RaftMessage::Vote { vote, last, transfer: false, pre: true, stand };
        let frame = codec::encode(&RaftFrame { target, message });
        let answer = voter.handle(from, Channel::Vote, &frame).await.unwrap();
        let Ok(RaftReply::Vote { granted, better, .. }) = codec::decode(&answer) else { panic!("no answer") };
        // What a candidate should know that knows less.
        order = better.map_or(order.clone(), |better| *better);
        granted
    };
    while !would_vote(candidates[1]).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!would_vote(candidates[0]).await, "the others have had no time yet");
    while !would_vote(candidates[0]).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
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

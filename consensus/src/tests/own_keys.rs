//! Presences, and that what was signed is on disk before a share leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::{Cluster, parameters, wait};
use super::*;
use crate::codec;
use crate::proof::equivocation::{Divergence, EvidenceRecord};
use crate::proof::shares::Share;
use crate::raft::gate::OrderGate;
use crate::replica::tasks::own_key::{Life, Presence, Presences};
use crate::replica::wire::share::ShareFrame;
use crate::storage::{MemoryStore, SignedWatermark, VatStore};
use crate::transport::Channel;
use quorate_order::proofs::{OrderCertificate, Support};
use quorate_order::signed::Position;

fn presence(seed: u8, life: Life, knows: Option<Life>) -> Presence {
    let vat = genesis(3, 2).vat_id();
    Presence { life, knows, signature: sign(seed, &Presence::payload(&vat, &life, knows.as_ref())) }
}

#[test]
fn a_presence_contradicts_only_the_life_that_it_names_and_of_its_own_key() {
    let vat = genesis(3, 2).vat_id();
    let (mine, other) = ([1; 16], [2; 16]);
    assert!(presence(1, other, Some(mine)).contradicts(&vat, &host(1), &mine));
    // An earlier life of this host, which can't know this one.
    assert!(!presence(1, other, None).contradicts(&vat, &host(1), &mine));
    assert!(!presence(1, other, Some([3; 16])).contradicts(&vat, &host(1), &mine));
    // Its own word, come back.
    assert!(!presence(1, mine, Some(mine)).contradicts(&vat, &host(1), &mine));
    // Lies: signed by another, in another's name, for another vat, with something changed.
    assert!(!presence(2, other, Some(mine)).contradicts(&vat, &host(1), &mine));
    let mut forged = presence(2, other, Some(mine));
    forged.signature.key = host(1);
    assert!(!forged.contradicts(&vat, &host(1), &mine));
    assert!(!presence(1, other, Some(mine)).contradicts(&genesis(4, 3).vat_id(), &host(1), &mine));
    let mut changed = presence(1, other, None);
    changed.knows = Some(mine);
    assert!(!changed.contradicts(&vat, &host(1), &mine));
}

#[test]
fn each_life_of_a_key_is_told_of_the_other_one() {
    let mut presences = Presences::default();
    let (one, two) = (presence(1, [1; 16], None), presence(1, [2; 16], None));
    assert_eq!(presences.exchange(one), None);
    assert_eq!(presences.exchange(one), None);
    assert_eq!(presences.exchange(presence(2, [9; 16], None)), None, "another key is another host");
    assert_eq!(presences.exchange(two), Some(one));
    let knowing = presence(1, [2; 16], Some([1; 16]));
    assert_eq!(presences.exchange(knowing), Some(one));
    assert_eq!(presences.exchange(one), Some(knowing));
}

/// A statement or a membership that a host signed and sent, and whether a power cut at that instant would have left on its disk that
/// it has signed it; of a statement, that it may have, as the order of the log was proven up to there.
type Sent = (Share, bool);

/// Notes all shares that the members of a cluster send.
fn watch_shares(cluster: &Cluster) -> Arc<Mutex<Vec<Sent>>> {
    let vat = cluster.genesis.vat_id();
    let stores: BTreeMap<HostId, Arc<MemoryStore>> =
        cluster.nodes.iter().map(|node| (node.id(), Arc::clone(&node.store))).collect();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    // The lie is the truth: frames go on as they are.
    cluster.hub.lie(Box::new(move |from, _, channel, frame| {
        let pushed = (channel == Channel::Share).then(|| codec::decode(&frame));
        let Some(Ok(ShareFrame::Push(shares))) = pushed else { return frame };
        let disk = VatStore::new(Arc::new(stores[&from].synced()), vat);
        let promised = OrderGate::promised(&disk).unwrap();
        noted.lock().unwrap().extend(shares.into_iter().map(|share| {
            let known = match &share {
                Share::Statement(statement, _) => promised.is_some_and(|(index, _)| index >= statement.block),
                Share::Membership(membership, _) => {
                    disk.signed_membership(membership.epoch).unwrap() == Some(membership.hash())
                }
            };
            (share, known)
        }));
        frame
    }));
    sent
}

/// A power cut right when a share leaves must not make the host forget what it has signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_has_signed_is_on_its_disk_before_a_share_leaves() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let sent = watch_shares(&cluster);
    for number in 0..5u8 {
        cluster.propose(0, &[number]).await;
    }
    let certified = || cluster.nodes.iter().all(|node| node.up().status().certified_epoch == 1);
    while !certified() {
        let leader = cluster.wait_for_leader().await;
        // Refused if it was recorded before.
        let _ = cluster.nodes[leader].up().reconfigure(Change::Threshold(3), None, Duration::from_secs(20)).await;
    }
    let sent = sent.lock().unwrap();
    let statements = sent.iter().filter(|(share, _)| matches!(share, Share::Statement(..))).count();
    assert!(statements > 0 && statements < sent.len(), "{statements} statements of {} shares", sent.len());
    for (share, known) in sent.iter() {
        assert!(known, "{share:?}");
    }
    cluster.assert_no_trouble();
}

/// A power cut has left what proved another log than the others went on with. The member may have signed blocks of that one: of this
/// one it signs what comes behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_another_log_than_was_proven_here_a_member_signs_nothing() {
    let mut cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    cluster.stop(3).await;
    let (own, through) = (cluster.nodes[3].id(), last + 10);
    let disk = VatStore::new(Arc::clone(&cluster.nodes[3].store) as Arc<dyn crate::Store>, cluster.genesis.vat_id());
    let position = Position { epoch: 0, term: 1, index: through };
    let order = OrderCertificate { position, chain: Hash([9; 32]), support: Support::Acks(Vec::new()) };
    disk.write_synced(vec![disk.put_named("order-certificate", &order)]).unwrap();
    let sent = watch_shares(&cluster);
    cluster.start(3).await;
    let signed = || {
        let of_it = |share: &Share| match share {
            Share::Statement(statement, signature) if signature.key == own => Some(statement.block),
            _ => None,
        };
        sent.lock().unwrap().iter().filter_map(|(share, _)| of_it(share)).collect::<Vec<u64>>()
    };
    while signed().is_empty() {
        cluster.propose(0, b"more").await;
    }
    assert!(cluster.nodes[0].up().status().last_log > through);
    let signed = signed();
    assert!(signed.iter().all(|block| *block > through), "{signed:?} where {through} was proven");
    cluster.assert_no_trouble();
}

/// Three members of which the third was away while the others went on, far enough that it needs their checkpoint. Returns that one's
/// block.
async fn one_far_behind() -> (Cluster, u64) {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 5, ..parameters() }).await;
    let block = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(block).await;
    let end = cluster.nodes[2].up().status().last_log;
    cluster.stop(2).await;
    for number in 0..40u8 {
        cluster.propose(0, &[number]).await;
    }
    let checkpoint = wait("a cut log, and equal checkpoints", || {
        let [one, other] = [0, 1].map(|place| cluster.nodes[place].up().status());
        let is_cut = one.purged.min(other.purged) > end;
        (is_cut && one.checkpoint_block == other.checkpoint_block).then_some(one.checkpoint_block)
    })
    .await;
    (cluster, checkpoint)
}

/// The third member has signed something else at the checkpoint's block than the others have certified.
async fn with_a_checkpoint_against_it() -> (Cluster, u64) {
    let (mut cluster, block) = one_far_behind().await;
    let disk = VatStore::new(Arc::clone(&cluster.nodes[2].store) as Arc<dyn crate::Store>, cluster.genesis.vat_id());
    let signed = SignedWatermark { block, statement: Hash([9; 32]) };
    disk.write_synced(vec![disk.put_named("guard", &signed)]).unwrap();
    cluster.start(2).await;
    (cluster, block)
}

fn kept(cluster: &Cluster) -> Vec<Divergence> {
    let shared = Arc::clone(&cluster.nodes[2].store) as Arc<dyn crate::Store>;
    let records = crate::evidence_of(&shared, cluster.genesis.vat_id()).unwrap();
    let divergence = |record| match record {
        EvidenceRecord::Divergence(divergence) => Some(divergence),
        _ => None,
    };
    records.into_iter().filter_map(divergence).collect()
}

async fn fault(cluster: &Cluster) -> String {
    wait("a fault", || cluster.nodes[2].log.lock().unwrap().fault.clone()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_contradicts_a_signature_is_kept_and_ends_the_replica_for_good() {
    let (mut cluster, block) = with_a_checkpoint_against_it().await;
    let text = fault(&cluster).await;
    assert!(text.contains("Q-C041"), "{text}");
    cluster.crash(2).await;
    let divergences = kept(&cluster);
    let [Divergence::Signed { certificate, signed }] = &divergences[..] else { panic!("{divergences:?}") };
    assert_eq!((certificate.statement.block, *signed), (block, Hash([9; 32])));
    crate::Signers::from(&cluster.genesis.membership()).verify_certificate(certificate).unwrap();
    cluster.start(2).await;
    assert_eq!(fault(&cluster).await, text, "and so it is after a start");
    assert!(cluster.nodes[2].log.lock().unwrap().applied.is_empty());
    assert_eq!(kept(&cluster), divergences);
}

/// The same, where the power was cut after the checkpoint came and before the contradiction was noted: it is on disk already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_on_disk_that_contradicts_a_signature_is_kept_as_evidence() {
    let (mut cluster, block) = one_far_behind().await;
    cluster.start(2).await;
    wait("the checkpoint", || (cluster.nodes[2].up().status().checkpoint_block >= block).then_some(())).await;
    cluster.stop(2).await;
    let block = {
        let shared = Arc::clone(&cluster.nodes[2].store) as Arc<dyn crate::Store>;
        let disk = VatStore::new(shared, cluster.genesis.vat_id());
        let stats = Arc::new(crate::stats::StatsCell::default());
        let describe = <super::cluster::Toy as crate::Machine>::describe;
        let checkpoints = crate::storage::checkpoints::Checkpoints::load(disk.clone(), describe, stats, None).unwrap();
        let block = checkpoints.newest().filter(|record| record.certificate.is_some()).unwrap().block();
        disk.write_synced(vec![disk.put_named("guard", &SignedWatermark { block, statement: Hash([9; 32]) })]).unwrap();
        block
    };
    cluster.start(2).await;
    let text = fault(&cluster).await;
    assert!(text.contains("Q-C041"), "{text}");
    let divergences = kept(&cluster);
    let [Divergence::Signed { certificate, .. }] = &divergences[..] else { panic!("{divergences:?}") };
    assert_eq!(certificate.statement.block, block);
}

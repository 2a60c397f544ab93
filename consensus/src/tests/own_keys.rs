//! Presences, and that what was signed is on disk before a share leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cluster::{Cluster, parameters};
use super::*;
use crate::codec;
use crate::proof::shares::Share;
use crate::replica::tasks::own_key::{Life, Presence, Presences};
use crate::replica::wire::share::ShareFrame;
use crate::storage::{MemoryStore, SignedWatermark, VatStore};
use crate::transport::Channel;

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
/// it has signed it.
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
        let watermark: Option<SignedWatermark> = disk.named("guard").unwrap();
        noted.lock().unwrap().extend(shares.into_iter().map(|share| {
            let known = match &share {
                Share::Statement(statement, _) => watermark.is_some_and(|watermark| watermark.block >= statement.block),
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

//! Presences, and that the signed watermark is on disk before a share leaves.

use std::sync::Arc;

use super::cluster::{Cluster, parameters, wait};
use super::*;
use crate::replica::tasks::own_key::{Life, Presence, Presences};
use crate::storage::{SignedWatermark, Store, VatStore};

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

/// A power cut right after a share has left must not make the host forget that it has signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watermark_is_on_disk_before_a_share_leaves() {
    // Both must sign.
    let mut cluster = Cluster::started(2, 2, parameters()).await;
    for number in 0..5u8 {
        let asked = cluster.wait_for_leader().await;
        let block = cluster.propose(asked, &[number]).await.block;
        // Others have this host's signature for the block: nothing else of it was written, or synced, since.
        let signer = (asked + 1) % 2;
        let key = cluster.nodes[signer].id();
        wait("its share", || {
            let certificates = &cluster.nodes[asked].log.lock().unwrap().certificates;
            let certificate = certificates.get(&block)?;
            certificate.signatures.iter().any(|signature| signature.key == key).then_some(())
        })
        .await;
        cluster.crash(signer).await;
        let store: Arc<dyn Store> = cluster.nodes[signer].store.clone();
        let watermark: Option<SignedWatermark> = VatStore::new(store, cluster.genesis.vat_id()).named("guard").unwrap();
        assert!(watermark.is_some_and(|watermark| watermark.block >= block), "{watermark:?} after block {block}");
        cluster.start(signer).await;
    }
    cluster.assert_no_trouble();
}

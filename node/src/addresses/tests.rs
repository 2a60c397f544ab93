use super::*;
use ed25519_dalek::SigningKey;
use quorate_consensus::MemoryStore;
use quorate_net::{BoxFuture, Handler, MemoryNetwork};

struct Nobody;

impl Handler for Nobody {
    fn permits(&self, _from: HostId, _purpose: Purpose) -> bool {
        false
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("nobody".to_owned()) })
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(seed: u8) -> HostId {
    HostId(key(seed).verifying_key().to_bytes())
}

fn record(seed: u8, sequence: u64, port: u16) -> AddressRecord {
    AddressRecord::sign(&key(seed), sequence, vec![format!("/ip4/192.0.2.7/tcp/{port}")])
}

/// A host on a store, which announces an address at this port.
fn host(world: &MemoryNetwork, store: &Arc<MemoryStore>, port: u16) -> Addresses {
    let located = Located::new(world.join(id(1), Arc::new(Nobody)));
    let reach = ReachConfig { announce: vec![format!("/ip4/192.0.2.1/tcp/{port}")], ..ReachConfig::default() };
    Addresses::load(located, store.clone(), key(1), reach).expect("a good store")
}

#[tokio::test(start_paused = true)]
async fn each_record_has_a_higher_number_than_all_before_also_after_restarts_and_losses() {
    let (world, store) = (MemoryNetwork::new(1), Arc::new(MemoryStore::new()));
    let first = host(&world, &store, 4001);
    assert!(first.renew(1_000) && !first.renew(2_000), "once, as long as nothing changes");
    assert_eq!(first.own().map(|own| own.sequence), Some(1_000));
    // The clock went back.
    let moved = host(&world, &store, 4002);
    assert!(moved.renew(10));
    assert_eq!(moved.own().map(|own| own.sequence), Some(1_001));
    assert!(!host(&world, &store, 4002).renew(5_000), "a restart at the same address changes nothing");
    // The disk was lost, and the clock is wrong: others have a newer record.
    let lost = host(&world, &Arc::new(MemoryStore::new()), 4003);
    assert!(lost.renew(10));
    lost.hear(&record(1, 1_001, 4002));
    assert!(lost.renew(11));
    assert_eq!(lost.own().map(|own| (own.sequence, own.verify())), Some((1_002, Ok(()))));
    // What others can't have from this host changes nothing.
    let forged = AddressRecord { host: id(1), ..record(2, 9_999, 4002) };
    lost.hear(&forged);
    assert!(!lost.renew(12));
}

#[tokio::test(start_paused = true)]
async fn a_record_is_taken_from_its_host_alone_and_survives_a_restart() {
    let (world, store) = (MemoryNetwork::new(1), Arc::new(MemoryStore::new()));
    let addresses = host(&world, &store, 4001);
    let new = record(2, 5, 4005);
    assert!(addresses.moved(id(3), new.clone(), true).is_err(), "another host's");
    assert_eq!(addresses.moved(id(2), new.clone(), false), Ok(DirectoryReply::Addresses(vec![])), "a stranger's");
    assert_eq!(addresses.records(), 0);
    assert_eq!(addresses.moved(id(2), new.clone(), true), Ok(DirectoryReply::Addresses(vec![new.clone()])));
    // An older one is answered with the newer; one more is too soon.
    assert_eq!(addresses.moved(id(2), record(2, 4, 4004), true), Ok(DirectoryReply::Addresses(vec![new.clone()])));
    assert_eq!(addresses.moved(id(2), record(2, 6, 4006), true), Ok(DirectoryReply::Busy));
    let bad = AddressRecord { addresses: vec!["garbage".into()], ..record(4, 1, 1) };
    assert!(addresses.moved(id(4), bad, true).is_err());
    let received = addresses.received();
    assert_eq!(received, Received { new: 1, known: 1, bad: 2, refused: 2 });
    let again = host(&world, &store, 4001);
    assert_eq!(again.answer(&[id(2), id(3)]), DirectoryReply::Addresses(vec![new]));
}

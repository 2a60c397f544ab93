use super::*;
use ed25519_dalek::SigningKey;
use quorate_net::{Handler, MemoryNetwork};
use std::sync::OnceLock;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(seed: u8) -> HostId {
    HostId(key(seed).verifying_key().to_bytes())
}

fn record(seed: u8, sequence: u64, address: &str) -> AddressRecord {
    AddressRecord::sign(&key(seed), sequence, vec![address.to_owned()])
}

/// Answers questions for addresses with the records of a network, and with those of a liar.
#[derive(Default)]
struct Keeps {
    located: OnceLock<Located>,
    lies: Vec<AddressRecord>,
}

impl Handler for Keeps {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Directory
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let DirectoryRequest::Addresses(hosts) = codec::decode(&frame).expect("a question") else { panic!("another") };
        let kept = |host: HostId| self.located.get().and_then(|located| located.record(&host));
        let mut records: Vec<AddressRecord> = hosts.into_iter().filter_map(kept).collect();
        records.extend(self.lies.iter().cloned());
        Box::pin(async move { Ok(codec::encode(&DirectoryReply::Addresses(records)).into()) })
    }
}

fn join(world: &MemoryNetwork, seed: u8, lies: Vec<AddressRecord>) -> Located {
    let handler = Arc::new(Keeps { lies, ..Keeps::default() });
    let located = Located::new(world.join(id(seed), handler.clone()));
    assert!(handler.located.set(located.clone()).is_ok());
    located
}

fn addresses_of(located: &Located, host: HostId) -> Vec<String> {
    located.peers().into_iter().find(|peer| peer.host == host).map(|peer| peer.addresses).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_host_is_dialled_where_its_newest_record_says_and_where_memberships_say() {
    let world = MemoryNetwork::new(1);
    let located = join(&world, 1, vec![]);
    located.set_addresses(id(2), vec!["/memory/2".into()]);
    assert_eq!(located.learn(record(2, 5, "/memory/25")), Learned::New { gone: vec![] });
    assert_eq!(addresses_of(&located, id(2)), ["/memory/25", "/memory/2"]);
    // An older one, the same one, and one that somebody else signed.
    assert_eq!(located.learn(record(2, 4, "/memory/24")), Learned::Known);
    assert_eq!(located.learn(record(2, 5, "/memory/25")), Learned::Known);
    let forged = AddressRecord { host: id(2), ..record(3, 6, "/memory/26") };
    assert!(matches!(located.learn(forged), Learned::Bad(_)));
    assert_eq!(located.learn(record(1, 9, "/memory/9")), Learned::Known, "its own");
    // A membership that changes leaves the record in force.
    located.set_addresses(id(2), vec!["/memory/3".into()]);
    assert_eq!(addresses_of(&located, id(2)), ["/memory/25", "/memory/3"]);
    assert_eq!(located.learn(record(2, 6, "/memory/26")), Learned::New { gone: vec![] });
    assert_eq!(addresses_of(&located, id(2)), ["/memory/26", "/memory/3"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_can_not_be_reached_is_asked_about_and_lies_about_others_change_nothing() {
    let world = MemoryNetwork::new(1);
    let lies = vec![AddressRecord { host: id(9), ..record(3, 99, "/memory/66") }, record(4, 99, "/memory/67")];
    let (one, knows) = (join(&world, 1, vec![]), join(&world, 2, vec![]));
    let _liar = join(&world, 3, lies);
    knows.learn(record(9, 2, "/memory/92"));
    for other in [2, 3] {
        one.set_addresses(id(other), vec![format!("/memory/{other}")]);
        let alive = Bytes::from(codec::encode(&DirectoryRequest::Addresses(vec![])));
        one.request(id(other), Purpose::Directory, alive, DEADLINE).await.expect("it is there");
    }
    let lost = one.request(id(9), Purpose::Directory, Bytes::new(), DEADLINE).await;
    assert!(matches!(lost, Err(NetError::Unreachable { .. })), "{lost:?}");
    let missed = one.take_missed();
    assert_eq!(missed, BTreeSet::from([id(9)]));
    assert!(one.take_missed().is_empty());
    assert_eq!(find_missed(&one, missed, |_| true, &[]).await, [record(9, 2, "/memory/92")]);
    assert_eq!(one.record(&id(4)), None, "nobody asked about that host");
}

#[tokio::test(start_paused = true)]
async fn records_of_strangers_take_bounded_memory_and_those_of_co_members_stay() {
    let world = MemoryNetwork::new(1);
    let located = join(&world, 1, vec![]);
    located.set_addresses(id(2), vec!["/memory/2".into()]);
    located.learn(record(2, 1, "/memory/21"));
    let long = |seed: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&seed.to_be_bytes());
        let addresses = (0..16).map(|number| format!("/dns/{}.example/tcp/{}", "a".repeat(60), number + 1)).collect();
        AddressRecord::sign(&SigningKey::from_bytes(&bytes), 1, addresses)
    };
    let most = BOOK_BYTES / long(0).size();
    let mut gone = Vec::new();
    for seed in 1000..1000 + most as u32 + 5 {
        match located.learn(long(seed)) {
            Learned::New { gone: more } => gone.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, (1000..1005).map(|seed| long(seed).host).collect::<Vec<_>>());
    assert_eq!(located.records(), most + 1);
    assert!(located.record(&id(2)).is_some());
}

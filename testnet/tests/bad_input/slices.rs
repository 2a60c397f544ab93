//! Slices that are forged, replayed, or of strangers.

use crate::{
    Mailbox, home, host_id, outsider,
    support::{LONG, agree, metric, sturdyref},
    three_hosts,
};
use ed25519_dalek::SigningKey;
use quorate_consensus::{Genesis, Hash, HostId, Introduction, Member, MemberSignature, Parameters, Statement};
use quorate_engine::{
    VatId,
    abi::{Method, Value},
    comms::{
        client::{ClientRef, ClientSession},
        stream::StreamHead,
    },
    wire::Op,
};
use quorate_net::{Libp2pNetwork, Network, Purpose};
use quorate_protocol::{
    codec,
    evidence::{Slice, outbox_path, outbox_root},
    sturdyref::Sturdyref,
    wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame},
};
use quorate_testnet::process::TestNet;
use std::{sync::Arc, time::Duration};

/// A solo vat without code, made by hand: it can say what is wrong.
struct Stranger {
    key: SigningKey,
    genesis: Genesis,
    session: ClientSession,
    blocks: u64,
    network: Arc<Libp2pNetwork>,
    mailbox: Arc<Mailbox>,
}

impl Stranger {
    async fn new(net: &TestNet, seed: u8, target: VatId) -> Stranger {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        let genesis = Genesis {
            members: vec![Member { key: HostId(public), name: "stranger".into(), addresses: vec![] }],
            threshold: 1,
            image: Hash([0; 32]),
            creator: public,
            bundle: None,
            nonce: [seed; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let session = ClientSession::new(genesis.vat_id(), target);
        let (network, mailbox) = outsider(net, key.to_bytes()).await;
        Stranger { key, genesis, session, blocks: 0, network, mailbox }
    }

    fn vat(&self) -> VatId {
        self.session.vat()
    }

    fn redeem(&mut self, sturdyref: &Sturdyref, grantee: &VatId) {
        let redemption = sturdyref.redeem_for(grantee).expect("a bearer");
        let signature = redemption.signature.try_into().expect("64 bytes");
        self.session.redeem(0, redemption.bearer, signature).expect("room");
    }

    fn increment(&mut self, by: u32) {
        let args = Value::Array(vec![Value::Number(by.into())]);
        self.session.call(ClientRef::Object(0), Method::Call("increment".into()), &args, &[]).expect("room");
    }

    /// Everything said so far from message `begin` on, well certified.
    fn slice(&mut self, begin: u64) -> Slice {
        let head = self.session.head();
        let messages = self.session.unacked().filter(|(number, _)| *number >= begin);
        let messages = messages.map(|(_, message)| message.to_vec()).collect();
        self.certified(head, begin, messages)
    }

    fn certified(&mut self, head: StreamHead, begin: u64, messages: Vec<Vec<u8>>) -> Slice {
        self.blocks += 1;
        let heads = [head];
        let statement = Statement {
            vat: self.vat(),
            epoch: 0,
            block: self.blocks,
            previous: Hash([0; 32]),
            chain: Hash([7; 32]),
            outbox_root: Hash(outbox_root(&heads).expect("a head").0),
            published_root: Hash::ZERO,
            state_root: None,
        };
        let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
        Slice {
            genesis: Some(self.genesis.clone()),
            chain: vec![],
            certificate: quorate_consensus::Certificate { statement, signatures },
            head,
            path: outbox_path(&heads, 0),
            begin,
            messages,
            tail: vec![],
        }
    }

    /// Hands a slice to a member of a vat.
    async fn ship(&self, to: VatId, host: HostId, slice: &Slice) -> SliceReply {
        let frame = VatFrame { to, from: slice.sender(), slice: Box::new(slice.clone()) };
        let answer = self.network.request(host, Purpose::Slice, codec::encode(&frame).into(), LONG).await;
        codec::decode(&answer.expect("an answer")).expect("a reply")
    }

    /// A slice that came for this vat.
    async fn received(&self) -> Slice {
        for _ in 0..600 {
            let frame = self.mailbox.0.lock().expect("no panic holds it").first().cloned();
            if let Some(frame) = frame {
                return *codec::decode::<VatFrame>(&frame).expect("a slice").slice;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no slice came");
    }

    /// Asks a host who the members of a vat are.
    async fn who_is(&self, host: HostId, vat: VatId) -> Introduction {
        let request = codec::encode(&DirectoryRequest::WhoIs(vat));
        let answer = self.network.request(host, Purpose::Directory, request.into(), LONG).await.expect("an answer");
        match codec::decode(&answer) {
            Ok(DirectoryReply::Known { introduction, .. }) => *introduction,
            other => panic!("{other:?}"),
        }
    }
}

fn is_refused(reply: &SliceReply) -> bool {
    matches!(reply, SliceReply::Refused { .. })
}

fn is_taken(reply: &SliceReply, wanted: u64) -> bool {
    matches!(reply, SliceReply::Taken { next, .. } if *next == wanted)
}

/// Ways to falsify a good slice whose last message is the only one.
fn falsified(slice: &Slice, key: &SigningKey, elsewhere: &Genesis) -> Vec<(&'static str, Slice)> {
    let other_key = SigningKey::from_bytes(&[0x77; 32]);
    let mut all = Vec::new();
    let mut falsify = |what, change: &dyn Fn(&mut Slice)| {
        let mut slice = slice.clone();
        change(&mut slice);
        all.push((what, slice));
    };
    falsify("another message", &|slice| *slice.messages[0].last_mut().expect("bytes") ^= 1);
    falsify("no message", &|slice| slice.messages.clear());
    falsify("no message, and a number before the first", &|slice| {
        slice.messages.clear();
        slice.begin = 0;
    });
    falsify("numbers beyond the last", &|slice| slice.begin = u64::MAX);
    falsify("one message more", &|slice| slice.messages.push(slice.messages[0].clone()));
    falsify("the message twice, numbered so", &|slice| {
        slice.messages.push(slice.messages[0].clone());
        slice.head.end += 1;
    });
    falsify("another head", &|slice| slice.head.hash.0[0] ^= 1);
    falsify("another acknowledgement", &|slice| slice.head.ack += 1);
    falsify("another path", &|slice| slice.path.leaves += 1);
    falsify("another outbox", &|slice| slice.certificate.statement.outbox_root.0[0] ^= 1);
    falsify("another epoch, signed", &|slice| {
        slice.certificate.statement.epoch = 1;
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    falsify("no signature", &|slice| slice.certificate.signatures.clear());
    falsify("a broken signature", &|slice| slice.certificate.signatures[0].signature[5] ^= 1);
    falsify("another's signature", &|slice| {
        slice.certificate.signatures = vec![MemberSignature::sign(&other_key, &slice.certificate.statement.payload())];
    });
    falsify("another's name", &|slice| {
        slice.certificate.statement.vat = elsewhere.vat_id();
        slice.genesis = Some(elsewhere.clone());
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    falsify("another's name with the own genesis", &|slice| {
        slice.certificate.statement.vat = elsewhere.vat_id();
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    all
}

#[test]
fn forged_and_replayed_slices_are_refused() {
    let net = three_hosts();
    let bearer = sturdyref(&net, "counter");
    let (counter, other) = (bearer.vat, sturdyref(&net, "other").vat);
    let (alpha, beta) = (host_id(&net, "alpha"), host_id(&net, "beta"));
    let count = |expected: u32| assert_eq!(net.call("counter", "read", &[]), serde_json::json!(expected));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");

    let mut honest = runtime.block_on(Stranger::new(&net, 0x51, counter));
    let vat = honest.vat();
    honest.redeem(&bearer, &vat);
    honest.increment(5);
    let first = honest.slice(1);
    let taken = runtime.block_on(honest.ship(counter, alpha, &first));
    assert!(is_taken(&taken, 3), "{taken:?}");
    count(5);

    // Replayed, at each member.
    for host in [alpha, beta] {
        let again = runtime.block_on(honest.ship(counter, host, &first));
        assert!(is_taken(&again, 3), "{again:?}");
    }
    count(5);

    // Falsified. The last good slice stays unsaid until the end.
    let elsewhere = runtime.block_on(honest.who_is(alpha, counter)).genesis;
    honest.increment(7);
    let next = honest.slice(3);
    for (what, slice) in falsified(&next, &honest.key, &elsewhere) {
        let reply = runtime.block_on(honest.ship(counter, alpha, &slice));
        // One without messages says nothing new, whatever is wrong with it.
        assert!(is_refused(&reply) || is_taken(&reply, 3) && slice.messages.is_empty(), "{what}: {reply:?}");
    }
    honest.increment(1_000);
    let early = honest.slice(4);
    let reply = runtime.block_on(honest.ship(counter, alpha, &early));
    assert!(matches!(reply, SliceReply::NotYet { next: 3, .. }), "{reply:?}");
    let reply = runtime.block_on(honest.ship(other, alpha, &next));
    assert!(is_refused(&reply), "what was said to one vat is nothing to another: {reply:?}");
    count(5);

    // What the counter said to us is nothing to others, and can't be altered on the way.
    let genuine = runtime.block_on(honest.received());
    assert!(genuine.genesis.is_some(), "whoever has not heard of the vat is told who it is");
    genuine.verify(None, &vat).expect("it was certified");
    let reply = runtime.block_on(honest.ship(other, alpha, &genuine));
    assert!(is_refused(&reply), "{reply:?}");
    let mut redirected = genuine;
    redirected.head.peer = other;
    redirected.genesis = Some(elsewhere.clone());
    let reply = runtime.block_on(honest.ship(other, alpha, &redirected));
    assert!(is_refused(&reply), "{reply:?}");

    // The slice itself is as good as ever.
    let taken = runtime.block_on(honest.ship(counter, beta, &next));
    assert!(is_taken(&taken, 4), "{taken:?}");
    count(12);
    agree(&net, "counter", 3, 0);
}

#[test]
fn strangers_have_no_authority_and_break_only_their_own_streams() {
    let net = three_hosts();
    let bearer = sturdyref(&net, "counter");
    let counter = bearer.vat;
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut seed = 0x61;
    let mut stranger = || {
        seed += 1;
        runtime.block_on(Stranger::new(&net, seed, counter))
    };
    let ship = |stranger: &Stranger, slice: &Slice| runtime.block_on(stranger.ship(counter, alpha, slice));

    // Whoever is not known must introduce itself.
    let mut unknown = stranger();
    let vat = unknown.vat();
    unknown.redeem(&bearer, &vat);
    let mut slice = unknown.slice(1);
    slice.genesis = None;
    assert_eq!(ship(&unknown, &slice), SliceReply::Introduce);

    // Without a reference, or with a proof that was made for another vat, nothing is taken and nothing remembered.
    let peers = || metric(&net.metrics("alpha"), "quorate_peer_vats", &["vat=\"counter\""]);
    let before = peers();
    let mut powerless = stranger();
    let slice = powerless.certified(powerless.session.head(), 1, vec![]);
    assert!(is_refused(&ship(&powerless, &slice)), "it says nothing");
    powerless.increment(1);
    let slice = powerless.slice(1);
    assert!(is_refused(&ship(&powerless, &slice)), "it has no reference");
    let mut thief = stranger();
    thief.redeem(&bearer, &powerless.vat());
    thief.increment(1);
    let slice = thief.slice(1);
    assert!(is_refused(&ship(&thief, &slice)), "it has another's");
    assert_eq!(peers(), before);

    // Well certified nonsense breaks its own stream only.
    let mut babbler = stranger();
    let nonsense =
        [vec![], vec![0xff; 100], Op::Redeem { object: 0, bearer: [0; 32], signature: vec![1], result: None }.encode()];
    for message in nonsense {
        let vat = babbler.vat();
        babbler.redeem(&bearer, &vat);
        let (_, redemption) = babbler.session.unacked().next().expect("it was said");
        let messages = vec![redemption.to_vec(), message];
        let mut stream = quorate_engine::comms::stream::OutStream::new(&vat, &counter);
        messages.iter().for_each(|message| {
            stream.push(message.clone().into());
        });
        let ack_hash = quorate_engine::comms::stream::start_hash(&counter, &vat);
        let head = StreamHead { peer: counter, end: 2, hash: stream.hash(), ack: 0, ack_hash, is_mark: false };
        let slice = babbler.certified(head, 1, messages);
        let reply = ship(&babbler, &slice);
        assert!(!matches!(reply, SliceReply::Introduce | SliceReply::NotYet { .. }), "{reply:?}");
        babbler = stranger();
    }
    net.wait("three broken streams in the metrics", || {
        let broken = metric(&net.metrics("alpha"), "quorate_broken_streams", &["vat=\"counter\""]);
        assert!(broken <= 3.0, "{broken}");
        (broken == 3.0).then_some(())
    });

    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(1));
    agree(&net, "counter", 3, 0);
}

#[test]
fn one_member_of_a_quorum_is_not_believed_however_often_it_signs() {
    let net = three_hosts();
    let (counter, other) = (sturdyref(&net, "counter").vat, sturdyref(&net, "other").vat);
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // A member alone speaks for the counter, with its real key.
    let mut liar = runtime.block_on(Stranger::new(&net, 0x71, other));
    liar.genesis = runtime.block_on(liar.who_is(alpha, counter)).genesis;
    liar.session = ClientSession::new(counter, other);
    liar.key = home(&net, "gamma").key;
    liar.increment(66);
    for _ in 0..3 {
        let mut slice = liar.slice(1);
        let once = slice.certificate.signatures[0];
        slice.certificate.signatures = vec![once, once];
        let reply = runtime.block_on(liar.ship(other, alpha, &slice));
        assert!(matches!(reply, SliceReply::NotYet { next: 1, .. }), "{reply:?}");
    }
    // Two signatures over two different statements are no two signatures.
    liar.key = home(&net, "beta").key;
    liar.increment(67);
    let slice = liar.slice(1);
    let reply = runtime.block_on(liar.ship(other, alpha, &slice));
    assert!(matches!(reply, SliceReply::NotYet { next: 1, .. }), "{reply:?}");
    assert_eq!(net.call("other", "read", &[]), serde_json::json!(0));
    let other = net.replicas("other").remove(0).1;
    assert!(other.streams.iter().all(|stream| stream.peer != "counter" || stream.received == 0), "{:?}", other.streams);
}

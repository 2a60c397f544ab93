//! A courier among receiving members of whom one lies: what was said arrives all the same, and nobody is flooded.

use super::*;
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_consensus::{Genesis, HostKey, Parameters, Statement};
use quorate_net::{Handler, MemoryNetwork};
use std::sync::Mutex;

const SENDER: VatId = VatId([1; 32]);
const TARGET: VatId = VatId([2; 32]);
const HOME: HostId = HostId([10; 32]);
const LIAR: HostId = HostId([11; 32]);
const HONEST: HostId = HostId([12; 32]);

/// A receiving member: answers all slices alike, or as an honest member does, and keeps them.
struct Receiver {
    lie: Option<Vec<u8>>,
    taken: Mutex<Vec<Slice>>,
}

impl Handler for Receiver {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Slice
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let frame: VatFrame = codec::decode(&frame).expect("the courier sends frames");
        let next = frame.slice.begin + frame.slice.messages.len() as u64;
        self.taken.lock().expect("no panic holds it").push(*frame.slice);
        let honest = codec::encode(&SliceReply::Taken { next, leader: Some(HostKey(HONEST.0)) });
        let reply = self.lie.clone().unwrap_or(honest);
        Box::pin(async move { Ok(reply.into()) })
    }
}

impl Receiver {
    fn new(lie: Option<Vec<u8>>) -> Arc<Receiver> {
        Arc::new(Receiver { lie, taken: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.taken.lock().expect("no panic holds it").len()
    }
}

struct Known;

impl Whereabouts for Known {
    fn members(&self, _vat: &VatId) -> Vec<Member> {
        let member = |host: HostId| Member { key: HostKey(host.0), name: "member".into(), addresses: vec![] };
        vec![member(LIAR), member(HONEST)]
    }

    fn unreachable(&self, _vat: &VatId) {}
}

struct Uncounted;

impl CourierMetrics for Uncounted {
    fn shipped(&self, _peer: &VatId, _outcome: &'static str, _messages: usize) {}
}

fn introduction() -> Introduction {
    let genesis = Genesis {
        members: vec![Member { key: HostKey(HOME.0), name: "home".into(), addresses: vec![] }],
        threshold: 1,
        image: quorate_consensus::Hash([0; 32]),
        creator: [0; 32],
        nonce: [0; 32],
        parameters: Parameters::default(),
    };
    Introduction { genesis, chain: vec![] }
}

/// One message to the target, in a certified block.
fn say(notices: &mpsc::UnboundedSender<Notice>) {
    let head = StreamHead { peer: TARGET, end: 1, hash: Hash([0; 32]), ack: 0 };
    let queued = vec![(TARGET, 1, Arc::from(&b"a message"[..]))];
    let statement = Statement {
        vat: quorate_consensus::VatId(SENDER.0),
        epoch: 0,
        block: 1,
        previous: quorate_consensus::Hash([0; 32]),
        outbox_root: quorate_consensus::Hash([0; 32]),
        state_root: None,
    };
    for notice in [
        Notice::Rank(0),
        Notice::Applied { block: 1, heads: vec![head], queued, pruned: vec![] },
        Notice::Certified(Certificate { statement, signatures: vec![] }),
    ] {
        notices.send(notice).unwrap_or_else(|_| panic!("the courier runs"));
    }
}

async fn arrives_in_spite_of(lie: Vec<u8>) {
    let world = MemoryNetwork::new(7);
    let (liar, honest) = (Receiver::new(Some(lie.clone())), Receiver::new(None));
    let home = world.join(HOME, Receiver::new(None));
    let _others = [world.join(LIAR, liar.clone()), world.join(HONEST, honest.clone())];
    let (notices, notices_rx) = mpsc::unbounded_channel();
    let courier = Courier::start(SENDER, home, Arc::new(Known), Arc::new(Uncounted), introduction(), notices_rx);
    say(&notices);
    let what = codec::decode::<SliceReply>(&lie);
    for _ in 0..600 {
        if honest.asked() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(honest.asked() > 0, "{what:?}: the honest member never heard of it");
    let slice = honest.taken.lock().expect("no panic holds it")[0].clone();
    assert_eq!((slice.begin, slice.messages), (1, vec![b"a message".to_vec()]), "{what:?}");
    assert!(liar.asked() < 20, "{what:?}: the liar was asked {} times", liar.asked());
    courier.abort();
}

#[tokio::test(start_paused = true)]
async fn no_answer_of_one_member_holds_a_message_back() {
    let leader = Some(HostKey(LIAR.0));
    let lies = [
        SliceReply::Taken { next: 0, leader },
        SliceReply::Taken { next: 1, leader },
        SliceReply::Taken { next: 2, leader },
        SliceReply::Taken { next: u64::MAX, leader },
        SliceReply::NotYet { next: 0, leader },
        SliceReply::NotYet { next: 1, leader },
        SliceReply::NotYet { next: u64::MAX, leader },
        SliceReply::NotYet { next: 1, leader: None },
        SliceReply::Introduce,
        SliceReply::Refused { message: "go away".into() },
    ];
    for lie in lies {
        arrives_in_spite_of(codec::encode(&lie)).await;
    }
    arrives_in_spite_of(b"no reply at all".to_vec()).await;
}

//! A courier among receiving members, of whom some lie or are gone: what was said arrives all the same, and nobody is flooded.

use super::*;
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_ids::Hash;
use quorate_net::{Handler, MemoryNetwork, Purpose};
use quorate_proof::{Genesis, HostId, Member, Parameters, Statement};
use quorate_protocol::evidence::Slice;
use quorate_streams::stream::StreamHead;
use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

const SENDER: VatId = VatId([1; 32]);
const TARGET: VatId = VatId([2; 32]);
const HOME: HostId = HostId([10; 32]);
const LIAR: HostId = HostId([11; 32]);
const HONEST: HostId = HostId([12; 32]);

/// How a receiving member answers.
#[derive(Clone)]
enum Manner {
    Honest,
    /// Takes one message of each slice.
    OneByOne,
    /// Says that it took everything, and names itself as the one to ask.
    Swallow,
    Always(Vec<u8>),
}

/// A receiving member; it keeps the slices that it gets.
struct Receiver {
    manner: Manner,
    taken: Mutex<Vec<Slice>>,
}

impl Handler for Receiver {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Slice
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let Ok(frame) = codec::decode::<VatFrame>(&frame) else {
            return Box::pin(async { Err("no slice".to_owned()) });
        };
        let (begin, count) = (frame.slice.begin, frame.slice.messages.len() as u64);
        let next = begin + if matches!(self.manner, Manner::OneByOne) { count.min(1) } else { count };
        self.taken.lock().expect("no panic holds it").push(*frame.slice);
        let taken = |leader: HostId| codec::encode(&SliceReply::Taken { next, leader: Some(leader), farewell: None });
        let reply = match &self.manner {
            Manner::Honest | Manner::OneByOne => taken(HONEST),
            Manner::Swallow => taken(LIAR),
            Manner::Always(lie) => lie.clone(),
        };
        Box::pin(async move { Ok(reply.into()) })
    }
}

impl Receiver {
    fn new(manner: Manner) -> Arc<Receiver> {
        Arc::new(Receiver { manner, taken: Mutex::default() })
    }

    fn slices(&self) -> Vec<Slice> {
        self.taken.lock().expect("no panic holds it").clone()
    }

    fn asked(&self) -> usize {
        self.slices().len()
    }
}

/// The members of the target; `found` says whether they have addresses.
struct Known {
    hosts: Vec<HostId>,
    found: bool,
}

impl Whereabouts for Known {
    fn members(&self, _vat: &VatId) -> Vec<Member> {
        let address = |host: &HostId| format!("/memory/{}", host.0[0]);
        let member = |host: &HostId| Member {
            key: *host,
            name: "member".into(),
            addresses: self.found.then(|| address(host)).into_iter().collect(),
        };
        self.hosts.iter().map(member).collect()
    }

    fn unreachable(&self, _vat: &VatId) {}
}

/// Attempts, and the peers that will never be told something.
#[derive(Default)]
struct Count(AtomicUsize, Mutex<Vec<VatId>>);

impl CourierMetrics for Count {
    fn shipped(&self, _peer: &VatId, _outcome: &'static str, _messages: usize) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn never_certified(&self, peers: &[VatId]) {
        self.1.lock().expect("no panic holds it").extend(peers);
    }
}

fn introduction() -> Introduction {
    let genesis = Genesis {
        members: vec![Member { key: HOME, name: "home".into(), addresses: vec![] }],
        threshold: 1,
        image: quorate_proof::Hash([0; 32]),
        creator: [0; 32],
        bundle: None,
        nonce: [0; 32],
        expires: 0,
        parameters: Parameters::default(),
    };
    Introduction { genesis, chain: vec![] }
}

/// A leader's courier, with its network.
struct Sender {
    network: Arc<dyn Network>,
    notices: mpsc::UnboundedSender<Notice>,
    attempts: Arc<Count>,
    /// What was said so far, and in which block last.
    said: u64,
    block: u64,
}

impl Sender {
    fn new(world: &MemoryNetwork, known: impl Whereabouts + 'static) -> Sender {
        let network = world.join(HOME, Receiver::new(Manner::Honest));
        let (notices, notices_rx) = mpsc::unbounded_channel();
        let attempts = Arc::new(Count::default());
        Courier::start(SENDER, network.clone(), Arc::new(known), attempts.clone(), introduction(), notices_rx);
        let sender = Sender { network, notices, attempts, said: 0, block: 0 };
        sender.tell(Notice::Rank(0));
        sender
    }

    fn tell(&self, notice: Notice) {
        self.notices.send(notice).unwrap_or_else(|_| panic!("the courier runs"));
    }

    fn certify(&self) {
        self.certify_with(None);
    }

    fn certify_checkpoint(&self) {
        self.certify_with(Some(quorate_proof::Hash([9; 32])));
    }

    fn certify_with(&self, state_root: Option<quorate_proof::Hash>) {
        let zero = quorate_proof::Hash([0; 32]);
        let statement = Statement {
            vat: SENDER,
            epoch: 0,
            block: self.block,
            previous: zero,
            chain: zero,
            outbox_root: zero,
            published_root: zero,
            state_root,
        };
        self.tell(Notice::Certified(Certificate { statement, signatures: vec![] }));
    }

    /// A certified block with so many messages to the target, and an acknowledgement.
    fn say(&mut self, messages: u64, ack: u64) {
        let queued = (self.said + 1..=self.said + messages).map(|number| (TARGET, number, message(number)));
        let queued = queued.collect();
        self.said += messages;
        self.block += 1;
        let outbox = outbox(self.said, ack);
        self.tell(Notice::Applied { block: self.block, outbox, queued, pruned: vec![] });
        self.certify();
    }

    fn attempts(&self) -> usize {
        self.attempts.0.load(Ordering::Relaxed)
    }
}

fn message(number: u64) -> Arc<[u8]> {
    format!("message {number}").into_bytes().into()
}

fn outbox(end: u64, ack: u64) -> Arc<Outbox> {
    Arc::new(Outbox::new(vec![StreamHead {
        peer: TARGET,
        end,
        hash: Hash([0; 32]),
        ack,
        ack_hash: Hash([0; 32]),
        is_mark: false,
    }]))
}

fn both() -> Known {
    Known { hosts: vec![LIAR, HONEST], found: true }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// Time for what is done at once.
async fn at_once() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn arrives_in_spite_of(lie: Vec<u8>) {
    let world = MemoryNetwork::new(7);
    let (liar, honest) = (Receiver::new(Manner::Always(lie.clone())), Receiver::new(Manner::Honest));
    let _others = [world.join(LIAR, liar.clone()), world.join(HONEST, honest.clone())];
    let mut sender = Sender::new(&world, both());
    sender.say(1, 0);
    let what = codec::decode::<SliceReply>(&lie);
    for _ in 0..60 {
        seconds(1).await;
        if honest.asked() > 0 {
            break;
        }
    }
    let slices = honest.slices();
    assert!(!slices.is_empty(), "{what:?}: the honest member never heard of it");
    assert_eq!((slices[0].begin, &slices[0].messages), (1, &vec![message(1).to_vec()]), "{what:?}");
    assert!(liar.asked() < 20, "{what:?}: the liar was asked {} times", liar.asked());
}

#[tokio::test(start_paused = true)]
async fn no_answer_of_one_member_holds_a_message_back() {
    let leader = Some(LIAR);
    let lies = [
        SliceReply::Taken { next: 0, leader, farewell: None },
        SliceReply::Taken { next: 1, leader, farewell: None },
        SliceReply::Taken { next: 2, leader, farewell: None },
        SliceReply::Taken { next: u64::MAX, leader, farewell: None },
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

#[tokio::test(start_paused = true)]
async fn a_member_that_swallows_messages_is_found_out_while_the_sender_goes_on_talking() {
    let world = MemoryNetwork::new(7);
    let (liar, honest) = (Receiver::new(Manner::Swallow), Receiver::new(Manner::Honest));
    let _others = [world.join(LIAR, liar.clone()), world.join(HONEST, honest.clone())];
    let mut sender = Sender::new(&world, both());
    for _ in 0..10 {
        sender.say(1, 0);
        seconds(1).await;
    }
    let first = honest.slices().into_iter().next().expect("the honest member has heard of it");
    assert_eq!(first.begin, 1);
    assert!(first.messages.len() <= 4, "it took {} messages to doubt the liar", first.messages.len());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_swallows_acknowledgements_is_found_out_when_the_peer_repeats_itself() {
    let world = MemoryNetwork::new(7);
    let (liar, honest) = (Receiver::new(Manner::Swallow), Receiver::new(Manner::Honest));
    let _others = [world.join(LIAR, liar.clone()), world.join(HONEST, honest.clone())];
    let mut sender = Sender::new(&world, both());
    sender.say(0, 4);
    at_once().await;
    assert_eq!((liar.asked(), honest.asked()), (1, 0));
    // Several members of the peer may ship the same at one time: that says nothing yet.
    sender.tell(Notice::Heard { peer: TARGET, again: true, near: false });
    at_once().await;
    assert_eq!((liar.asked(), honest.asked()), (1, 0));
    seconds(5).await;
    sender.tell(Notice::Heard { peer: TARGET, again: false, near: false });
    at_once().await;
    assert_eq!((liar.asked(), honest.asked()), (1, 0), "what is new was not acknowledged before");
    sender.tell(Notice::Heard { peer: TARGET, again: true, near: false });
    at_once().await;
    assert_eq!((liar.asked(), honest.asked()), (1, 1));
    assert_eq!(honest.slices()[0].head.ack, 4);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_keeps_acknowledgements_back_is_made_up_for_when_the_peer_repeats_itself() {
    let world = MemoryNetwork::new(7);
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.tell(Notice::Rank(2));
    sender.say(0, 4);
    seconds(600).await;
    assert_eq!(honest.asked(), 0, "else each member would ship each bare acknowledgement");
    sender.tell(Notice::Heard { peer: TARGET, again: true, near: false });
    seconds(5).await;
    let acks = |slices: Vec<Slice>| slices.iter().map(|slice| slice.head.ack).collect::<Vec<_>>();
    assert_eq!(acks(honest.slices()), [4]);
    // It was told: the next one is the leader's to ship, until the peer repeats itself again.
    sender.say(0, 5);
    seconds(600).await;
    assert_eq!(acks(honest.slices()), [4]);
    sender.tell(Notice::Heard { peer: TARGET, again: true, near: false });
    seconds(5).await;
    assert_eq!(acks(honest.slices()), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn it_is_known_which_peers_will_never_be_told_what_was_said_to_them() {
    let world = MemoryNetwork::new(7);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.block = 1;
    sender.tell(Notice::Applied { block: 1, outbox: outbox(0, 1), queued: vec![], pruned: vec![] });
    sender.block = 2;
    sender.certify_checkpoint();
    at_once().await;
    assert_eq!(*sender.attempts.1.lock().expect("no panic holds it"), [TARGET]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_all_acknowledged_goes_on_after_a_restart() {
    let world = MemoryNetwork::new(7);
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    let acknowledged = vec![(TARGET, 5)];
    sender.tell(Notice::Restored { block: 9, outbox: RestoredOutbox { acknowledged, ..RestoredOutbox::default() } });
    (sender.said, sender.block) = (5, 9);
    sender.say(2, 0);
    at_once().await;
    let slices = honest.slices();
    assert_eq!(slices.len(), 1);
    assert_eq!((slices[0].begin, slices[0].messages.len()), (6, 2));

    // The same after a change of leaders, which forgets what was taken.
    let pruned = vec![(TARGET, 7)];
    sender.tell(Notice::Applied { block: 11, outbox: Arc::default(), queued: vec![], pruned });
    sender.tell(Notice::Rank(1));
    sender.tell(Notice::Rank(0));
    sender.block = 11;
    sender.say(1, 0);
    seconds(1).await;
    assert_eq!(honest.slices().last().map(|slice| (slice.begin, slice.messages.len())), Some((8, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_only_acknowledges_is_shipped_once() {
    let world = MemoryNetwork::new(7);
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    let restored = RestoredOutbox { outbox: outbox(5, 3), acknowledged: vec![(TARGET, 5)], messages: vec![] };
    sender.tell(Notice::Restored { block: 9, outbox: restored });
    sender.block = 9;
    sender.certify();
    seconds(100).await;
    let slices = honest.slices();
    assert_eq!(slices.len(), 1, "it was shipped again and again");
    assert_eq!((slices[0].begin, slices[0].messages.len(), slices[0].head.ack), (6, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_vat_that_takes_a_part_gets_the_rest_at_once() {
    let world = MemoryNetwork::new(7);
    let busy = Receiver::new(Manner::OneByOne);
    let _other = world.join(HONEST, busy.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.say(4, 3);
    at_once().await;
    let slices = busy.slices();
    let shipped: Vec<_> = slices.iter().map(|slice| (slice.begin, slice.messages.len(), slice.head.ack)).collect();
    assert_eq!(
        shipped,
        [(1, 4, 3), (2, 3, 3), (3, 2, 3), (4, 1, 3)],
        "each with the acknowledgement, which only the last one brings"
    );
    seconds(1).await;
    assert_eq!(busy.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_vat_that_was_introduced_here_is_greeted_once_and_by_the_leader() {
    let world = MemoryNetwork::new(7);
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.tell(Notice::Rank(2));
    sender.say(0, 0);
    seconds(600).await;
    assert_eq!(honest.asked(), 0, "each member would greet it");
    sender.tell(Notice::Rank(0));
    seconds(600).await;
    let slices = honest.slices();
    assert_eq!(slices.len(), 1);
    assert_eq!((slices[0].begin, slices[0].messages.len(), slices[0].head.end), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_greeting_is_given_up_and_holds_nothing_up_that_is_said_later() {
    let world = MemoryNetwork::new(7);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.say(0, 0);
    seconds(3_600).await;
    let tried = sender.attempts();
    assert!((2..20).contains(&tried), "{tried} attempts");
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    seconds(600).await;
    assert_eq!(honest.asked(), 0, "whoever waits for it knocks again by itself");
    sender.say(1, 0);
    at_once().await;
    assert_eq!(honest.asked(), 1, "it waits for no pause that greetings had come to");
}

#[tokio::test(start_paused = true)]
async fn whoever_came_too_early_comes_again_upon_a_greeting_and_not_else() {
    let world = MemoryNetwork::new(7);
    let refusal = codec::encode(&SliceReply::Refused { message: "nobody knows this vat".into() });
    let early = Receiver::new(Manner::Always(refusal));
    let _other = world.join(HONEST, early.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.say(1, 0);
    seconds(300).await;
    // It pauses for half a minute by now. What is heard without proof changes nothing.
    let mut pauses = 0;
    for _ in 0..30 {
        let before = early.asked();
        sender.tell(Notice::Heard { peer: TARGET, again: false, near: false });
        seconds(1).await;
        pauses += usize::from(early.asked() == before);
    }
    assert!(pauses >= 28, "it was asked in {} of 30 seconds", 30 - pauses);
    let before = early.asked();
    sender.tell(Notice::Greeted(TARGET));
    at_once().await;
    assert_eq!(early.asked(), before + 1);
    // Repeated without end, it makes nobody send without end.
    let before = early.asked();
    for _ in 0..1_000 {
        sender.tell(Notice::Greeted(TARGET));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(early.asked() < before + 50, "{} attempts in ten seconds", early.asked() - before);
    // Once the peer has taken something in, a greeting is an old one.
    sender.tell(Notice::Applied { block: 99, outbox: Arc::default(), queued: vec![], pruned: vec![(TARGET, 1)] });
    sender.block = 99;
    sender.say(1, 0);
    seconds(300).await;
    let before = early.asked();
    sender.tell(Notice::Greeted(TARGET));
    at_once().await;
    assert_eq!(early.asked(), before);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_goes_at_once_when_the_last_one_was_taken() {
    let world = MemoryNetwork::new(7);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    sender.say(0, 1);
    seconds(120).await;
    assert!(sender.attempts() > 8, "the receiver is down and was tried {} times", sender.attempts());
    let honest = Receiver::new(Manner::Honest);
    let _other = world.join(HONEST, honest.clone());
    seconds(60).await;
    assert_eq!(honest.asked(), 1);
    for ack in 2..5 {
        sender.say(0, ack);
        at_once().await;
        assert_eq!(honest.slices().last().map(|slice| slice.head.ack), Some(ack), "it waits");
    }
}

/// Counts how often members are looked for, which is what shipping begins with. There are none.
#[derive(Clone, Default)]
struct Looked(Arc<AtomicUsize>);

impl Whereabouts for Looked {
    fn members(&self, _vat: &VatId) -> Vec<Member> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    }

    fn unreachable(&self, _vat: &VatId) {}
}

#[tokio::test(start_paused = true)]
async fn what_is_due_goes_out_before_any_timer_ends() {
    let (looked, began) = (Looked::default(), Instant::now());
    let mut sender = Sender::new(&MemoryNetwork::new(7), looked.clone());
    sender.say(1, 0);
    // The clock stands still as long as anything is ready to run.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((looked.0.load(Ordering::Relaxed), began.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_comes_late_brings_nobody_back_who_was_forgotten() {
    let world = MemoryNetwork::new(7);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: false });
    sender.block = 1;
    sender.tell(Notice::Applied { block: 1, outbox: outbox(0, 1), queued: vec![], pruned: vec![] });
    sender.tell(Notice::Forgotten(vec![TARGET]));
    sender.certify();
    seconds(600).await;
    assert_eq!(sender.attempts(), 0, "nobody will ever take it");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_left_alone_until_it_is_there_again() {
    let world = MemoryNetwork::new(7);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: false });
    sender.say(1, 0);
    seconds(600).await;
    assert_eq!(sender.attempts(), 1, "nobody can dial it");
    assert!(sender.network.peers().is_empty(), "nor is it wanted: {:?}", sender.network.peers());
    // It may be there without having said anything: heard by another member, say.
    sender.tell(Notice::Heard { peer: TARGET, again: false, near: false });
    at_once().await;
    assert_eq!(sender.attempts(), 2);
    // What is newly said is tried once; what is only certified anew, as by a checkpoint, is not.
    sender.say(1, 0);
    seconds(60).await;
    assert_eq!(sender.attempts(), 3);
    sender.say(0, 0);
    seconds(60).await;
    assert_eq!(sender.attempts(), 3);

    let client = Receiver::new(Manner::Honest);
    let network = world.join(HONEST, client.clone());
    network.set_addresses(HOME, vec!["/memory/10".into()]);
    let connected = network.request(HOME, Purpose::Slice, Bytes::new(), Duration::from_secs(1)).await;
    assert!(connected.is_err(), "it says nothing of use: {connected:?}");
    seconds(2).await;
    let slices = client.slices();
    assert_eq!(slices.len(), 1);
    assert_eq!((slices[0].begin, slices[0].messages.len()), (1, 2));
}

/// A host that is there and takes its time, or hangs.
struct Late {
    takes: Option<Duration>,
    asked: AtomicUsize,
}

impl Late {
    fn new(takes: Option<Duration>) -> Arc<Late> {
        Arc::new(Late { takes, asked: AtomicUsize::new(0) })
    }
}

impl Handler for Late {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Slice | Purpose::Directory)
    }

    fn handle(&self, _from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        if purpose == Purpose::Slice {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let Some(takes) = self.takes else { return Box::pin(std::future::pending()) };
        Box::pin(async move {
            let Ok(frame) = codec::decode::<VatFrame>(&frame) else { return Ok(Bytes::from_static(b"here")) };
            tokio::time::sleep(takes).await;
            let next = frame.slice.begin + frame.slice.messages.len() as u64;
            Ok(codec::encode(&SliceReply::Taken { next, leader: None, farewell: None }).into())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_holds_up_one_slice_for_a_moment_and_no_other() {
    let world = MemoryNetwork::new(7);
    let (hung, honest) = (Late::new(None), Receiver::new(Manner::Swallow));
    let _others = [world.join(LIAR, hung.clone()), world.join(HONEST, honest.clone())];
    let mut sender = Sender::new(&world, both());
    sender.say(1, 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(honest.asked(), 1, "the other member was not tried");
    // It names the one that hangs as the leader: nobody follows that for now.
    for number in 2..6 {
        sender.say(1, 0);
        at_once().await;
        assert_eq!(honest.asked(), number, "it waits for the one that hangs");
    }
    assert_eq!(hung.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_only_slow_is_waited_for() {
    let world = MemoryNetwork::new(7);
    let (slow, spare) = (Late::new(Some(Duration::from_secs(4))), Receiver::new(Manner::Honest));
    let _others = [world.join(LIAR, slow.clone()), world.join(HONEST, spare.clone())];
    let mut sender = Sender::new(&world, both());
    sender.say(1, 0);
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!((slow.asked.load(Ordering::Relaxed), spare.asked()), (1, 0), "the vat was asked twice");
    assert_eq!(sender.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_answered_by_the_member_that_it_spoke_to() {
    let world = MemoryNetwork::new(7);
    let client = Receiver::new(Manner::Honest);
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: false });
    let network = world.join(HONEST, client.clone());
    network.set_addresses(HOME, vec!["/memory/10".into()]);
    let connected = network.request(HOME, Purpose::Slice, Bytes::new(), Duration::from_secs(1)).await;
    assert!(connected.is_err(), "it says nothing of use: {connected:?}");
    sender.tell(Notice::Rank(1));
    sender.tell(Notice::Heard { peer: TARGET, again: false, near: true });
    sender.say(1, 0);
    at_once().await;
    assert_eq!(client.asked(), 1, "it waits for a leader that may not be connected to it");
}

/// A host a tenth of a second away, whose vat takes slices in order, and waits a moment for one that was overtaken. It loses some.
struct Far {
    /// The next message.
    next: Arc<AtomicU64>,
    asked: AtomicUsize,
    under_way: Arc<AtomicUsize>,
    most: AtomicUsize,
    shipped: AtomicUsize,
}

impl Handler for Far {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Slice
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let Ok(VatFrame { slice, .. }) = codec::decode::<VatFrame>(&frame) else {
            return Box::pin(async { Err("no slice".to_owned()) });
        };
        self.shipped.fetch_add(slice.messages.len(), Ordering::Relaxed);
        let is_lost = self.asked.fetch_add(1, Ordering::Relaxed) == 3;
        let (next, under_way) = (self.next.clone(), self.under_way.clone());
        self.most.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for _ in 0..100 {
                if is_lost || slice.begin <= next.load(Ordering::Relaxed) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            under_way.fetch_sub(1, Ordering::Relaxed);
            let (leader, farewell) = (Some(HONEST), None);
            if is_lost || slice.begin > next.load(Ordering::Relaxed) {
                return Ok(codec::encode(&SliceReply::NotYet { next: next.load(Ordering::Relaxed), leader }).into());
            }
            next.fetch_max(slice.begin + slice.messages.len() as u64, Ordering::Relaxed);
            let next = next.load(Ordering::Relaxed);
            Ok(codec::encode(&SliceReply::Taken { next, leader, farewell }).into())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_goes_out_in_slices_that_follow_one_another_and_a_lost_one_is_made_up_for() {
    let world = MemoryNetwork::new(7);
    let far = Arc::new(Far {
        next: Arc::new(AtomicU64::new(1)),
        asked: AtomicUsize::new(0),
        under_way: Arc::default(),
        most: AtomicUsize::new(0),
        shipped: AtomicUsize::new(0),
    });
    let _other = world.join(HONEST, far.clone());
    let mut sender = Sender::new(&world, Known { hosts: vec![HONEST], found: true });
    let messages = 32 * peer::SHIP_MESSAGES as u64;
    let began = Instant::now();
    sender.say(messages, 0);
    while far.next.load(Ordering::Relaxed) <= messages {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(60), "it never came");
    }
    assert_eq!(far.most.load(Ordering::Relaxed), peer::FLIGHTS);
    let shipped = far.shipped.load(Ordering::Relaxed);
    let most = messages as usize + peer::FLIGHTS * peer::SHIP_MESSAGES;
    assert!(shipped <= most, "{shipped} messages were shipped instead of {messages}");
    // One at a time takes more than 3.2 seconds. (The clock is a virtual one.)
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
}

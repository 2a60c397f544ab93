//! What a long queue costs: messages, and digests of those that follow, which its receiver hashes and keeps in its log.

use super::*;
use quorate_ids::VatId;
use quorate_proof::Statement;
use quorate_streams::stream::{InStream, OutStream, Slice as Run};

const SENDER: VatId = VatId([1; 32]);
const TARGET: VatId = VatId([2; 32]);
const ANSWERS: HostId = HostId([3; 32]);

/// What a vat says to another one, certified as it says it.
struct Sender {
    stream: OutStream,
    opposite: InStream,
    block: u64,
    epoch: u64,
}

impl Sender {
    fn new() -> Sender {
        let (stream, opposite) = (OutStream::new(&SENDER, &TARGET), InStream::new(&TARGET, &SENDER));
        Sender { stream, opposite, block: 0, epoch: 0 }
    }

    /// A block that says so many messages of so many bytes.
    fn say(&mut self, peer: &mut Peer, messages: u64, bytes: usize) {
        let first = self.stream.end() + 1;
        for _ in 0..messages {
            let message: Arc<[u8]> = vec![7; bytes].into();
            let number = self.stream.push(message.clone());
            self.stream.mark(&self.opposite);
            peer.queue(number, message);
        }
        self.certify(peer, first);
    }

    /// A block that has this stream's head, and its marks from message `first` on: as a checkpoint has, of all that waits.
    fn certify(&mut self, peer: &mut Peer, first: u64) {
        self.block += 1;
        let (end, hash) = (self.stream.end(), self.stream.hash());
        let (ack, ack_hash) = (self.opposite.received(), self.opposite.hash());
        let head = StreamHead { peer: TARGET, end, hash, ack, ack_hash, is_mark: false };
        let outbox = Arc::new(Outbox::new(self.stream.marks(TARGET, first).chain([head]).collect()));
        let zero = Hash::ZERO;
        let statement = Statement {
            vat: SENDER,
            epoch: self.epoch,
            block: self.block,
            previous: zero,
            chain: zero,
            outbox_root: outbox.root().expect("it has a head"),
            published_root: zero,
            state_root: None,
        };
        let certificate = Arc::new(Certificate { statement, signatures: vec![] });
        for (index, head) in outbox.heads().iter().enumerate() {
            let certificate = certificate.clone();
            let ready = Ready { block: self.block, outbox: outbox.clone(), index, certificate };
            if head.is_mark {
                peer.certify_mark(ready);
            } else {
                peer.certify(ready);
            }
        }
    }
}

/// What a queue came to.
#[derive(Debug, Default)]
struct Cost {
    slices: usize,
    messages: usize,
    digests: usize,
}

/// Ships all that waits to a receiver that checks every slice as vats do.
fn ship_all(peer: &mut Peer, end: u64) -> Cost {
    let (mut received, mut cost) = (InStream::new(&SENDER, &TARGET), Cost::default());
    while peer.has_news(0) {
        let (flight, slice) = peer.ship().expect("there is news");
        assert!(slice.check_shape(&TARGET).is_ok(), "{:?}", slice.head);
        let root = slice.certificate.statement.outbox_root;
        assert!(quorate_protocol::evidence::path_leads_to(&slice.head, &slice.path, &root));
        let run = Run { begin: slice.begin, messages: &slice.messages, tail: &slice.tail, head: &slice.head };
        assert_eq!(run.verify(received.received(), &received.hash()), Ok(()), "{:?}", slice.head);
        slice.messages.iter().for_each(|message| received.advance(message));
        cost.slices += 1;
        cost.messages += slice.messages.len();
        cost.digests += slice.tail.len();
        peer.land(flight);
        peer.take(received.received(), slice.head.ack, Instant::now());
    }
    assert_eq!(received.received(), end);
    cost
}

/// What a queue of so many messages costs that came into being in the way that `say` does.
fn cost_of(messages: u64, say: impl Fn(&mut Sender, &mut Peer)) -> Cost {
    let (mut sender, mut peer) = (Sender::new(), Peer::default());
    say(&mut sender, &mut peer);
    assert_eq!(sender.stream.end(), messages);
    ship_all(&mut peer, messages)
}

#[test]
fn a_long_queue_costs_as_much_as_it_is_long() {
    for messages in [512, 1_024, 4_096, 16_384] {
        for bytes in [20, 2_000, 100_000] {
            if messages * bytes as u64 > 64 << 20 {
                continue;
            }
            let in_one_block = cost_of(messages, |sender, peer| sender.say(peer, messages, bytes));
            let in_small_blocks = cost_of(messages, |sender, peer| {
                (0..messages / 8).for_each(|_| sender.say(peer, 8, bytes));
            });
            let after_a_checkpoint = cost_of(messages, |sender, peer| {
                let mut lost = Peer::default();
                (0..messages / 64).for_each(|_| sender.say(&mut lost, 64, bytes));
                peer.messages = lost.messages;
                sender.certify(peer, 1);
            });
            for (how, cost) in
                [("one block", in_one_block), ("small blocks", in_small_blocks), ("a checkpoint", after_a_checkpoint)]
            {
                assert_eq!(cost.messages as u64, messages, "{how}, {bytes} bytes: {cost:?}");
                // Less than an interval of marks with each slice, and none where one holds more.
                let most = cost.slices * MARK_EVERY as usize;
                let most = if bytes * MARK_EVERY as usize <= SLICE_MESSAGES_BYTES { 0 } else { most };
                assert!(cost.digests <= most, "{how}, {messages} messages of {bytes} bytes: {cost:?}");
            }
        }
    }
}

#[test]
fn marks_of_an_earlier_epoch_are_not_used_after_a_head_of_a_later_one() {
    let (mut sender, mut peer) = (Sender::new(), Peer::default());
    sender.say(&mut peer, 4_096, 20);
    sender.epoch = 1;
    // Its certificates of the earlier epoch may come late, too.
    let late = peer.marks.values().next().cloned().expect("a mark");
    sender.certify(&mut peer, u64::MAX);
    peer.certify_mark(late);
    assert!(peer.marks.values().all(|mark| mark.certificate.statement.epoch == 1));
    let (_, slice) = peer.ship().expect("there is news");
    assert_eq!((slice.certificate.statement.epoch, slice.messages.len(), slice.tail.len()), (1, SHIP_MESSAGES, 3_072));
}

#[test]
fn slices_of_a_long_queue_follow_one_another_and_what_is_lost_goes_out_again() {
    let (mut sender, mut peer) = (Sender::new(), Peer::default());
    let now = Instant::now();
    sender.say(&mut peer, 8 * SHIP_MESSAGES as u64, 20);
    let (first, _) = peer.ship().expect("there is news");
    assert!(!peer.has_news(0), "nobody has answered yet");
    peer.land(first);
    peer.take(SHIP_MESSAGES as u64, 0, now);
    peer.introduced_epoch = Some(0);
    peer.next_goes_to(None, ANSWERS, Duration::ZERO, now);
    let mut flights = Vec::new();
    while peer.has_news(0) {
        flights.push(peer.ship().expect("there is news"));
    }
    let begins: Vec<u64> = flights.iter().map(|(_, slice)| slice.begin).collect();
    assert_eq!(begins, [1_025, 2_049, 3_073, 4_097]);
    // The second one is lost: nothing follows until the others have ended.
    assert!(!peer.land(flights[0].0));
    peer.take(2_048, 0, now);
    assert!(!peer.land(flights[1].0));
    peer.fail();
    assert!(!peer.has_news(0));
    assert!(peer.land(flights[2].0) && !peer.has_news(0), "it could not come to anything");
    assert!(peer.land(flights[3].0) && peer.has_news(0));
    let (again, slice) = peer.ship().expect("there is news");
    assert_eq!((slice.begin, slice.messages.len()), (2_049, SHIP_MESSAGES), "from there on, and no earlier");
    assert!(!peer.has_news(0), "one at a time after a failure");
    assert!(!peer.land(again));
}

#[test]
fn a_short_queue_is_one_slice_at_a_time() {
    let (mut sender, mut peer) = (Sender::new(), Peer::default());
    peer.introduced_epoch = Some(0);
    peer.next_goes_to(None, ANSWERS, Duration::ZERO, Instant::now());
    sender.say(&mut peer, 10, 20);
    assert_eq!(peer.ship().map(|(_, slice)| slice.messages.len()), Some(10));
    sender.say(&mut peer, 10, 20);
    assert!(!peer.has_news(0), "it goes with what joins it");
}

#[test]
fn whoever_answers_slowly_has_longer_until_its_vat_acknowledges_and_not_for_ever() {
    let seconds = Duration::from_secs_f32;
    for (took, believed_for) in [(0.1, 2.0), (0.6, 2.0), (1.5, 4.5), (60.0, 8.0)] {
        let (mut sender, mut peer, now) = (Sender::new(), Peer::default(), Instant::now());
        sender.say(&mut peer, 1, 20);
        let (flight, slice) = peer.ship().expect("there is something to ship");
        assert!(!peer.land(flight));
        peer.next_goes_to(None, ANSWERS, seconds(took), now);
        peer.take(slice.begin, slice.head.ack, now);
        assert!(!peer.doubt(now + seconds(believed_for - 0.1)), "{took} s");
        assert!(peer.doubt(now + seconds(believed_for)), "{took} s");
    }
}

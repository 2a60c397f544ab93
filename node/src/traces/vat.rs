//! Follows the messages of one vat's replica, block by block, and gives their spans.
//!
//! Pure but for the queue that spans go to: times are parameters. Bounded: of more than [`MAX_OPEN`] messages under way the first are forgotten,
//! and lack their last spans.

use super::{Message, Moment, Span, Step, Traces};
use crate::vat::machine::Taken;
use quorate_engine::VatId;
use quorate_engine::wire::{Op, RefKind, Side, WireRef};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Messages that were said and are not answered yet, at most.
const MAX_OPEN: usize = 8_192;

/// What a block did, as far as traces tell of it.
pub struct BlockTrace<'a> {
    pub block: u64,
    pub begin: Moment,
    pub end: Moment,
    /// What it said: receiver, number, bytes.
    pub said: &'a [(VatId, u64, Arc<[u8]>)],
    /// What peers have acknowledged by it.
    pub acknowledged: &'a [(VatId, u64)],
    /// What it took in.
    pub taken: &'a [Taken],
    /// Whether this replica leads.
    pub leads: bool,
}

/// A message that was said.
struct Said {
    begin: Moment,
    end: Moment,
    /// A caller waits for its answer.
    awaits: bool,
}

/// See the head of the module.
pub struct VatTraces {
    traces: Traces,
    vat: VatId,
    /// Blocks through this one were executed before this process began.
    replayed: u64,
    said: BTreeMap<(VatId, u64), Said>,
    /// The messages that each block said which has no certificate yet.
    uncertified: BTreeMap<u64, Vec<(VatId, u64)>>,
    /// The calls whose answers settle these promises.
    calls: BTreeMap<(VatId, u64), u64>,
}

/// The promise of the other side that a message settles, if it does.
pub fn settled(message: &[u8]) -> Option<u64> {
    match Op::decode(message) {
        Ok(Op::Settle { promise: WireRef { kind: RefKind::Promise, allocator: Side::Receiver, id }, .. }) => Some(id),
        _ => None,
    }
}

/// The promise by which the sender of a message awaits its answer.
fn awaited(message: &[u8]) -> Option<u64> {
    match Op::decode(message) {
        Ok(Op::Send { result, .. } | Op::Redeem { result, .. }) => result,
        Ok(Op::Withdraw { result, .. } | Op::Keep { result, .. } | Op::Discard { result, .. }) => Some(result),
        _ => None,
    }
}

impl VatTraces {
    /// Of a replica of `vat` whose log had `replayed` blocks when it was started.
    pub fn new(traces: Traces, vat: VatId, replayed: u64) -> VatTraces {
        let (said, uncertified, calls) = Default::default();
        VatTraces { traces, vat, replayed, said, uncertified, calls }
    }

    fn give(&self, message: Message, step: Step, begin: Moment, end: Moment, block: Option<u64>) {
        self.traces.give(Span { message, step, begin, end, block, link: None });
    }

    fn to(&self, receiver: VatId, number: u64) -> Message {
        Message { sender: self.vat, receiver, number }
    }

    /// A block was executed. `is_client` knows who exports nothing itself.
    pub fn applied(&mut self, trace: &BlockTrace<'_>, is_client: impl Fn(&VatId) -> bool) {
        if trace.block <= self.replayed {
            return;
        }
        for taken in trace.taken {
            self.took(trace, taken, is_client(&taken.from));
        }
        for (receiver, number, bytes) in trace.said {
            self.says(trace, *receiver, *number, bytes);
        }
        for (receiver, through) in trace.acknowledged {
            self.acknowledged(trace, *receiver, *through);
        }
        while self.said.len() > MAX_OPEN {
            self.said.pop_first();
        }
        while self.calls.len() > MAX_OPEN {
            self.calls.pop_first();
        }
        while self.uncertified.len() > MAX_OPEN {
            self.uncertified.pop_first();
        }
    }

    fn took(&mut self, trace: &BlockTrace<'_>, taken: &Taken, is_client: bool) {
        let host = self.traces.host();
        for (number, settles) in (taken.first..).zip(&taken.settles) {
            let message = Message { sender: taken.from, receiver: self.vat, number };
            self.give(message, Step::Execute(host), trace.begin, trace.end, Some(trace.block));
            if is_client && trace.leads {
                self.give(message, Step::Message, trace.begin, trace.end, None);
            }
            let call = settles.and_then(|promise| self.calls.remove(&(taken.from, promise)));
            let Some(call) = call else { continue };
            let question = self.to(taken.from, call);
            self.traces.give(Span {
                message: question,
                step: Step::Settle(host),
                begin: trace.begin,
                end: trace.end,
                block: Some(trace.block),
                link: Some(message),
            });
            if let Some(said) = self.said.remove(&(taken.from, call))
                && trace.leads
            {
                self.give(question, Step::Message, said.begin, trace.end, None);
            }
        }
    }

    fn says(&mut self, trace: &BlockTrace<'_>, receiver: VatId, number: u64, bytes: &[u8]) {
        let message = self.to(receiver, number);
        if !self.traces.wants(&message) {
            return;
        }
        self.give(message, Step::Say(self.traces.host()), trace.begin, trace.end, Some(trace.block));
        let awaited = awaited(bytes);
        let said = Said { begin: trace.begin, end: trace.end, awaits: awaited.is_some() };
        self.said.insert((receiver, number), said);
        self.calls.extend(awaited.map(|promise| ((receiver, promise), number)));
        self.uncertified.entry(trace.block).or_default().push((receiver, number));
    }

    fn acknowledged(&mut self, trace: &BlockTrace<'_>, receiver: VatId, through: u64) {
        let known = self.said.range((receiver, 0)..=(receiver, through)).filter(|(_, said)| !said.awaits);
        let over: BTreeSet<(VatId, u64)> = known.map(|(key, _)| *key).collect();
        for key in over {
            if let Some(said) = self.said.remove(&key)
                && trace.leads
            {
                self.give(self.to(receiver, key.1), Step::Message, said.begin, trace.end, None);
            }
        }
    }

    /// The block has its certificate, and so have those before it.
    pub fn certified(&mut self, block: u64, now: Moment) {
        let later = self.uncertified.split_off(&(block + 1));
        let host = self.traces.host();
        for (block, keys) in std::mem::replace(&mut self.uncertified, later) {
            for (receiver, number) in keys {
                // One that was answered already is past that.
                let Some(said) = self.said.get(&(receiver, number)) else { continue };
                self.give(self.to(receiver, number), Step::Certify(host), said.end, now, Some(block));
            }
        }
    }

    /// The state was replaced: what was said before is not followed any more.
    pub fn restored(&mut self) {
        self.said.clear();
        self.uncertified.clear();
        self.calls.clear();
    }

    /// The vat has forgotten a peer: what it was told ends with that.
    pub fn forget(&mut self, peer: &VatId, end: Moment, leads: bool) {
        let said = std::mem::take(&mut self.said);
        let (gone, kept) = said.into_iter().partition(|((receiver, _), _)| receiver == peer);
        self.said = kept;
        self.calls.retain(|(receiver, _), _| receiver != peer);
        let gone: BTreeMap<(VatId, u64), Said> = gone;
        for ((receiver, number), said) in gone.into_iter().filter(|_| leads) {
            self.give(self.to(receiver, number), Step::Message, said.begin, end, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::HostId;
    use quorate_engine::abi::{CapData, Method, Value};
    use quorate_engine::wire::WireResolution;
    use tokio::sync::mpsc;

    const HOST: HostId = HostId([9; 32]);
    const OWN: VatId = VatId([1; 32]);
    const PEER: VatId = VatId([2; 32]);
    const CLIENT: VatId = VatId([3; 32]);

    fn data() -> CapData<quorate_engine::wire::WireSlot> {
        CapData { body: Value::Array(Vec::new()).encode(), slots: Vec::new() }
    }

    fn send(result: Option<u64>) -> Arc<[u8]> {
        let target = WireRef::object(Side::Receiver, 0);
        Op::Send { target, method: Method::Call("hear".into()), args: data(), result }.encode().into()
    }

    fn settle(id: u64) -> Vec<u8> {
        let promise = WireRef::promise(Side::Receiver, id);
        Op::Settle { promise, resolution: WireResolution::Fulfilled(data()) }.encode()
    }

    struct Followed {
        vat: VatTraces,
        spans: mpsc::Receiver<Span>,
    }

    impl Followed {
        fn new(replayed: u64) -> Followed {
            let (traces, spans) = Traces::into_queue(HOST, 100);
            Followed { vat: VatTraces::new(traces, OWN, replayed), spans }
        }

        fn block(
            &mut self,
            block: u64,
            leads: bool,
            said: &[(VatId, u64, Arc<[u8]>)],
            acknowledged: &[(VatId, u64)],
            taken: &[Taken],
        ) {
            let (begin, end) = (Moment(block * 10), Moment(block * 10 + 5));
            let trace = BlockTrace { block, begin, end, said, acknowledged, taken, leads };
            self.vat.applied(&trace, |peer| *peer == CLIENT);
        }

        /// What was given since the last look: step, sender's number, begin and end.
        fn given(&mut self) -> Vec<(Step, u64, u64, u64)> {
            let spans = std::iter::from_fn(|| self.spans.try_recv().ok());
            spans.map(|span| (span.step, span.message.number, span.begin.0, span.end.0)).collect()
        }
    }

    #[test]
    fn a_call_is_followed_until_its_answer() {
        let mut followed = Followed::new(0);
        followed.block(3, true, &[(PEER, 1, send(Some(7)))], &[], &[]);
        assert_eq!(followed.given(), [(Step::Say(HOST), 1, 30, 35)]);
        followed.vat.certified(3, Moment(38));
        assert_eq!(followed.given(), [(Step::Certify(HOST), 1, 35, 38)]);
        followed.block(4, true, &[], &[(PEER, 1)], &[]);
        assert_eq!(followed.given(), [], "it waits for its answer");
        assert_eq!(settled(&settle(7)), Some(7));
        let answer = Taken { from: PEER, first: 5, settles: vec![Some(7)] };
        followed.block(6, true, &[], &[], &[answer]);
        let expected = [(Step::Execute(HOST), 5, 60, 65), (Step::Settle(HOST), 1, 60, 65), (Step::Message, 1, 30, 65)];
        assert_eq!(followed.given(), expected);
        assert!(followed.vat.said.is_empty() && followed.vat.calls.is_empty() && followed.vat.uncertified.is_empty());
    }

    #[test]
    fn a_message_without_an_answer_ends_with_its_acknowledgement_and_the_leader_alone_says_so() {
        for leads in [true, false] {
            let mut followed = Followed::new(0);
            followed.block(1, leads, &[(PEER, 1, send(None)), (PEER, 2, send(None))], &[], &[]);
            followed.given();
            followed.block(2, leads, &[], &[(PEER, 1)], &[]);
            let expected = [(Step::Message, 1, 10, 25)];
            assert_eq!(followed.given(), if leads { &expected[..] } else { &[] });
            assert_eq!(followed.vat.said.len(), 1);
        }
    }

    #[test]
    fn what_a_client_says_is_given_by_the_leader_of_its_receiver() {
        let mut followed = Followed::new(0);
        let taken = |from| Taken { from, first: 1, settles: vec![None] };
        followed.block(1, true, &[], &[], &[taken(CLIENT)]);
        assert_eq!(followed.given(), [(Step::Execute(HOST), 1, 10, 15), (Step::Message, 1, 10, 15)]);
        followed.block(2, true, &[], &[], &[taken(PEER)]);
        assert_eq!(followed.given(), [(Step::Execute(HOST), 1, 20, 25)]);
    }

    #[test]
    fn blocks_of_an_earlier_life_are_left_out_and_what_is_open_is_bounded() {
        let mut followed = Followed::new(5);
        followed.block(5, true, &[(PEER, 1, send(None))], &[], &[]);
        assert_eq!(followed.given(), []);
        let many: Vec<_> = (1..=MAX_OPEN as u64 + 10).map(|number| (PEER, number, send(Some(number)))).collect();
        followed.block(6, true, &many, &[], &[]);
        assert_eq!((followed.vat.said.len(), followed.vat.calls.len()), (MAX_OPEN, MAX_OPEN));
        followed.given();
        followed.vat.forget(&PEER, Moment(99), true);
        assert_eq!((followed.vat.said.len(), followed.vat.calls.len()), (0, 0));
        assert_eq!(followed.given().first(), Some(&(Step::Message, 11, 60, 99)));
    }
}

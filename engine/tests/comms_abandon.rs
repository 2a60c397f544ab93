//! Calls whose answer is not wanted any more: what the caller's machine says, and what the callee's guest hears.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{Delivery, Output, Slot, Value};
use quorate_engine::machine::{CommandResult, CrankKind};
use quorate_engine::wire::{Op, WireRef};

const ANSWER: WireRef = WireRef::promise(YOURS, 1);

/// A guest that asks the peer when it starts and cancels what it was called with, and its own answer, with each call.
fn canceller() -> Bench {
    Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
        Delivery::Call { args, result, .. } => {
            let named = args.slots.iter().copied().chain(*result);
            let cancelled = named.chain([Slot::VatPromise(1), Slot::VatPromise(1), Slot::VatPromise(9)]);
            done(cancelled.map(|result| Output::Cancel { result }).collect())
        }
        _ => done(vec![]),
    })
}

fn abandoned(bench: &Bench, peer: u8) -> Vec<u64> {
    let results = bench.outbox(peer).into_iter().filter_map(|op| match op {
        Op::Abandon { result } => Some(result),
        _ => None,
    });
    results.collect()
}

/// What the guest was told of cancelled calls.
fn heard(bench: &Bench) -> Vec<Slot> {
    let heard = bench.deliveries().into_iter().filter_map(|delivery| match delivery {
        Delivery::Cancel(result) => Some(result),
        _ => None,
    });
    heard.collect()
}

#[test]
fn a_caller_says_once_that_it_wants_no_answer_and_only_of_its_own_calls() {
    let mut bench = canceller();
    // It is called with a promise of the peer's, and with results: none of them is a call of its own.
    bench.say(PEER, &call(ROOT, "go", vec![WireRef::promise(MINE, 1)], Some(2)));
    bench.say(OTHER, &call(ROOT, "go", vec![], Some(1)));
    assert_eq!(abandoned(&bench, PEER), [1]);
    assert_eq!(abandoned(&bench, OTHER), [0; 0]);
    // The answer comes as ever, and the promise is done with.
    assert_eq!(bench.say(PEER, &settle(ANSWER, vec![])), CommandResult::Delivered { next: 3 });
    assert!(
        matches!(bench.deliveries().last(), Some(Delivery::Settle(settled)) if settled[0].0 == Slot::VatPromise(1))
    );
    bench.say(OTHER, &call(ROOT, "go", vec![], Some(2)));
    assert_eq!(abandoned(&bench, PEER), [1], "what has settled is not cancelled");
}

#[test]
fn an_answer_that_became_a_gift_is_not_abandoned() {
    let mut bench = canceller();
    let gift = quorate_engine::wire::WireSlot::Gift { home: vat(OTHER), number: 1 };
    bench.say(PEER, &settle_to(ANSWER, gift));
    bench.say(PEER, &call(ROOT, "go", vec![], None));
    assert_eq!((abandoned(&bench, PEER), abandoned(&bench, OTHER)), (vec![], vec![]));
}

/// A guest that answers the call `answer`, and no other.
fn callee() -> Bench {
    Bench::installed(|delivery| match called(delivery) {
        Some(("answer", _, _, Some(result))) => done(vec![fulfil(result, &Value::Null, vec![])]),
        Some(("answer first", ..)) => done(vec![fulfil(Slot::HostPromise(1), &Value::Null, vec![])]),
        _ => done(vec![]),
    })
}

#[test]
fn a_callee_hears_once_that_no_answer_is_wanted_and_settles_as_it_likes() {
    let mut bench = callee();
    bench.say(PEER, &call(ROOT, "wait", vec![], Some(1)));
    bench.say(PEER, &Op::Abandon { result: 1 });
    assert_eq!(heard(&bench), [Slot::HostPromise(1)]);
    let cranks = bench.machine.end_block(false).cranks;
    assert_eq!(cranks.last().map(|crank| (crank.what, crank.from)), Some((CrankKind::Cancel, Some(vat(PEER)))));
    bench.say(OTHER, &call(ROOT, "answer first", vec![], None));
    assert!(matches!(bench.outbox(PEER)[..], [Op::Settle { .. }]), "it is settled all the same");
    // Said again it breaks the stream, whether or not the answer is under way.
    assert!(matches!(bench.say(PEER, &Op::Abandon { result: 1 }), CommandResult::Refused { .. }));
    assert_eq!(heard(&bench).len(), 1);
}

#[test]
fn a_word_that_crosses_the_answer_says_nothing() {
    let mut bench = callee();
    bench.say(PEER, &call(ROOT, "answer", vec![], Some(1)));
    assert_eq!(bench.say(PEER, &Op::Abandon { result: 1 }), CommandResult::Delivered { next: 3 });
    assert_eq!((heard(&bench).len(), bench.broken(PEER)), (0, None));
    // With the acknowledgement of the answer it is over.
    bench.say_and_ack(PEER, &[], 1);
    assert_eq!(bench.machine.summary().promises, 0);
    assert!(matches!(bench.say(PEER, &Op::Abandon { result: 1 }), CommandResult::Refused { .. }));
}

#[test]
fn nobody_abandons_what_it_did_not_ask() {
    let mut bench = callee();
    bench.say(OTHER, &call(ROOT, "wait", vec![], Some(1)));
    // A promise that the peer decides itself, and one that it never named.
    bench.say(PEER, &call(ROOT, "wait", vec![WireRef::promise(MINE, 1)], None));
    assert!(matches!(bench.say(PEER, &Op::Abandon { result: 1 }), CommandResult::Refused { .. }));
    assert!(matches!(bench.say(OTHER, &Op::Abandon { result: 2 }), CommandResult::Refused { .. }));
    assert_eq!(heard(&bench), []);
}

#[test]
fn a_call_whose_delivery_was_undone_is_not_cancelled() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Call { .. } => out_of_fuel(),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "wait", vec![], Some(1)));
    assert!(matches!(bench.say(PEER, &Op::Abandon { result: 1 }), CommandResult::Delivered { .. }));
    assert_eq!(heard(&bench), [], "the guest has never heard of it");
}

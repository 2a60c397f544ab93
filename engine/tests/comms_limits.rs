//! What comes of cranks that are rolled back, of sends that are refused, and of promises that come home or are done with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{CapData, Delivery, Output, Resolution, Slot, Value};
use quorate_engine::comms::{MAX_UNACKED_BYTES, MAX_UNACKED_MESSAGES};
use quorate_engine::machine::{Command, CommandResult, CrankOutcome, Deliver, MAX_FOLLOW_UPS, Setup};
use quorate_engine::wire::{Op, WireRef, WireResolution};

const ANSWER: WireRef = WireRef::promise(YOURS, 1);
const LIMIT: &str = "the answer was rolled back: what it set off exceeded the fuel limit";

/// Asks the peer, and is asked by the other vat meanwhile; `hear` is what it makes of settlements.
fn asking(mut hear: impl FnMut(&[(Slot, Resolution)]) -> CrankOutcome + Send + 'static) -> Bench {
    let mut bench = Bench::installed(move |delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
        Delivery::Settle(settlements) => hear(settlements),
        _ => done(vec![]),
    });
    bench.say(OTHER, &call(ROOT, "wait", vec![], Some(1)));
    bench
}

fn is_rejected(settlements: &[(Slot, Resolution)]) -> bool {
    matches!(settlements, [(_, Resolution::Rejected(_))])
}

#[test]
fn an_answer_that_exceeds_a_limit_is_heard_as_a_rejection() {
    let mut bench = asking(|settlements| {
        if !is_rejected(settlements) {
            return out_of_fuel();
        }
        // What waits for the answer fails with it.
        done(vec![reject(Slot::HostPromise(1), "VatError")])
    });
    assert_eq!(bench.say_and_ack(PEER, &[settle(ANSWER, vec![])], 1), CommandResult::Delivered { next: 2 });
    let deliveries = bench.deliveries();
    assert_eq!(told(deliveries.last().unwrap()), [(Slot::VatPromise(1), LIMIT.to_owned())]);
    assert!(matches!(bench.outbox(OTHER)[..], [Op::Settle { resolution: WireResolution::Rejected(_), .. }]));
    bench.say_and_ack(OTHER, &[], 1);
    assert_eq!((bench.machine.summary().promises, bench.machine.summary().rolled_back), (0, 1));
    assert_eq!(bench.broken(PEER), None);
}

#[test]
fn an_answer_that_cannot_be_heard_at_all_leaves_tables_that_agree_with_the_guest() {
    let mut bench = asking(|_| out_of_fuel());
    bench.say_and_ack(PEER, &[settle(ANSWER, vec![])], 1);
    assert_eq!(bench.machine.summary().rolled_back, 2);
    // To the guest the promise is pending, and it goes on speaking of it.
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
        Delivery::Settle(settlements) if settlements[0].0 == Slot::VatPromise(1) => out_of_fuel(),
        Delivery::Call { .. } => done(vec![
            send(Slot::VatPromise(1), "use", array(vec![], vec![]), Some(2)),
            send(Slot::HostObject(2), "take", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
        ]),
        _ => done(vec![]),
    });
    bench.say_and_ack(PEER, &[settle(ANSWER, vec![])], 1);
    for round in 1..=2u64 {
        let before = bench.outbox(OTHER).len();
        bench.say(OTHER, &call(ROOT, "go on", vec![], None));
        let ops = bench.outbox(OTHER);
        assert!(matches!(&ops[before], Op::Send { .. }), "{ops:?}");
        assert_eq!(rejected(&ops[before + 1]).1, LIMIT, "whoever is told of it is told how it ended");
        bench.say_and_ack(OTHER, &[], 2 * round);
    }
    assert_eq!(told(bench.deliveries().last().unwrap()), [(Slot::VatPromise(2), LIMIT.to_owned())]);
}

/// Many refusals are told at once; one of them makes the guest run for ever.
#[test]
fn one_bad_reaction_does_not_cost_the_other_refusals() {
    const BAD: Slot = Slot::VatPromise(5);
    let sends = |_: &[Slot]| (1..=20).map(|id| send(Slot::VatPromise(99), "m", array(vec![], vec![]), Some(id)));
    let mut bench = Bench::installed(move |delivery| match delivery {
        Delivery::Start { argv, .. } => done(sends(&argv.slots).collect()),
        Delivery::Settle(settlements) if settlements.iter().any(|(slot, _)| *slot == BAD) => out_of_fuel(),
        Delivery::Call { .. } => done(vec![send(BAD, "m", array(vec![], vec![]), Some(30))]),
        _ => done(vec![]),
    });
    let heard: Vec<Slot> = bench.deliveries()[2..].iter().flat_map(told).map(|(slot, _)| slot).collect();
    assert_eq!(heard, (1..=20).map(Slot::VatPromise).collect::<Vec<_>>(), "each alone, after all together");
    let summary = bench.machine.summary();
    assert_eq!((summary.pending_refusals, summary.promises, summary.rolled_back), (0, 1, 2), "the bad one is kept");
    bench.say(PEER, &call(ROOT, "go on", vec![], None));
    assert_eq!(told(bench.deliveries().last().unwrap())[0].0, Slot::VatPromise(30), "and refuses what is sent to it");
}

#[test]
fn retries_are_within_the_share_of_a_command() {
    let count = 2 * MAX_FOLLOW_UPS as u64;
    let mut bench = Bench::installed(move |delivery| match delivery {
        Delivery::Start { .. } => {
            done((1..=count).map(|id| send(Slot::VatPromise(999), "m", array(vec![], vec![]), Some(id))).collect())
        }
        Delivery::Settle(_) => out_of_fuel(),
        _ => done(vec![]),
    });
    assert_eq!(bench.deliveries().len(), 1 + MAX_FOLLOW_UPS);
    bench.apply(Command::Tick { now_ms: 1 });
    assert_eq!(bench.deliveries().len(), 1 + 2 * MAX_FOLLOW_UPS);
    bench.apply(Command::Tick { now_ms: 2 });
    let summary = bench.machine.summary();
    assert_eq!((summary.pending_refusals, summary.promises), (0, count));
}

#[test]
fn refused_one_way_messages_are_one_line_of_the_log() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("one", ..)) => done(vec![send(Slot::VatPromise(9), "m", array(vec![], vec![]), None)]),
        Some(("many", ..)) => {
            done((0..10_000).map(|_| send(Slot::VatPromise(9), "m", array(vec![], vec![]), None)).collect())
        }
        _ => done(vec![]),
    });
    bench.machine.end_block(false);
    bench.say(PEER, &call(ROOT, "one", vec![], None));
    bench.say(PEER, &call(ROOT, "many", vec![], None));
    let lines: Vec<String> = bench.machine.end_block(false).logs.into_iter().map(|line| line.text).collect();
    let refusal = "the target of a send is an unknown promise";
    assert_eq!(
        lines,
        [
            format!("a one-way message was not sent: {refusal}"),
            format!("10000 one-way messages were not sent; the first: {refusal}"),
        ]
    );
}

/// The guest may forget a promise when the peer's acknowledgement covers its settlement, not before and not later.
#[test]
fn promises_are_retired_by_acknowledgements() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("make", _, _, Some(result))) => done(vec![fulfil(result, &text("made"), vec![])]),
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "make", vec![], Some(1)));
    // However much is settled to others meanwhile.
    for id in 1..=100 {
        bench.say(OTHER, &call(ROOT, "make", vec![], Some(id)));
    }
    bench.say_and_ack(OTHER, &[call(ROOT, "m", vec![], None)], 100);
    bench.say(OTHER, &call(ROOT, "m", vec![], None));
    assert_eq!(bench.retired(), (2..=101).map(Slot::HostPromise).collect::<Vec<_>>());
    bench.say_and_ack(PEER, &[], 1);
    bench.say(OTHER, &call(ROOT, "burn", vec![], None));
    assert_eq!(bench.retired().len(), 100, "a delivery that is rolled back forgets nothing");
    bench.say(OTHER, &call(ROOT, "m", vec![], None));
    bench.say(OTHER, &call(ROOT, "m", vec![], None));
    assert_eq!(bench.retired()[100..], [Slot::HostPromise(1)]);
}

#[test]
fn the_answers_of_others_are_retired_at_once() {
    let mut bench = asking(|_| done(vec![]));
    bench.say_and_ack(PEER, &[settle(ANSWER, vec![])], 1);
    assert_eq!(bench.retired(), [Slot::VatPromise(1)], "with the delivery that tells of it, and after it");
}

/// The guest has sent to a promise that the peer decides, which settles to an object of the guest.
fn coming_home() -> Bench {
    Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![
            send(argv.slots[0], "echo", array(vec![Value::Slot(0)], vec![Slot::VatObject(7)]), Some(1)),
            send(argv.slots[1], "take", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
            send(Slot::VatPromise(1), "first", array(vec![], vec![]), None),
        ]),
        _ => done(vec![]),
    })
}

fn home(bench: &mut Bench) -> CommandResult {
    bench.say_and_ack(PEER, &[settle_to(ANSWER, WireRef::object(YOURS, 1))], 2)
}

#[test]
fn what_comes_home_waits_for_what_was_sent_after_it() {
    let mut bench = coming_home();
    assert_eq!(home(&mut bench), CommandResult::Delivered { next: 2 });
    assert_eq!(bench.deliveries().last(), Some(&Delivery::Hold(Slot::VatPromise(1))));
    assert!(bench.outbox(PEER).is_empty(), "the peer says by itself when it has passed all of that on");
    assert_eq!(bench.outbox(OTHER).len(), 1, "others wait as well: what they sent is on the same way");
    // What was sent to the promise comes by the peer, and after it the release.
    let object = WireRef::object(YOURS, 1);
    bench.say(PEER, &call(object, "first", vec![], None));
    assert_eq!(called(bench.deliveries().last().unwrap()).unwrap().1, &Slot::VatObject(7));
    bench.say(PEER, &Op::Release { promise: ANSWER });
    let settled = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![Slot::VatObject(7)]));
    assert_eq!(bench.deliveries().last(), Some(&Delivery::Settle(vec![(Slot::VatPromise(1), settled)])));
    assert!(matches!(bench.outbox(OTHER)[1], Op::Settle { resolution: WireResolution::Fulfilled(_), .. }));
    bench.say_and_ack(OTHER, &[], 2);
    assert_eq!((bench.machine.summary().promises, bench.broken(PEER)), (0, None));
}

/// Others may have sent to it before it was handed on to this vat.
#[test]
fn a_promise_that_nothing_was_sent_to_waits_for_its_release_too() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => {
            let args = array(vec![Value::Slot(0)], vec![Slot::VatObject(7)]);
            done(vec![send(argv.slots[0], "echo", args, Some(1))])
        }
        _ => done(vec![]),
    });
    bench.say_and_ack(PEER, &[settle_to(ANSWER, WireRef::object(YOURS, 1))], 1);
    assert_eq!(bench.deliveries().last(), Some(&Delivery::Hold(Slot::VatPromise(1))));
    assert!(matches!(bench.say(PEER, &Op::Release { promise: ANSWER }), CommandResult::Delivered { .. }));
    assert!(matches!(bench.deliveries().last(), Some(Delivery::Settle(_))));
    assert!(matches!(bench.say(PEER, &Op::Release { promise: ANSWER }), CommandResult::Refused { .. }), "once");
}

#[test]
fn a_promise_that_comes_home_over_a_stream_that_breaks_is_rejected() {
    let mut bench = coming_home();
    home(&mut bench);
    let nonsense = Deliver { from: vat(PEER), begin: 2, messages: vec![vec![2, 99]], end: 2, ack: 0 };
    assert!(matches!(bench.apply(Command::Deliver(nonsense)), CommandResult::Refused { .. }));
    let message = "the stream with the vat that decides this promise is broken".to_owned();
    assert_eq!(told(bench.deliveries().last().unwrap()), [(Slot::VatPromise(1), message.clone())]);
    assert_eq!(rejected(&bench.outbox(OTHER)[1]).1, message);
}

/// The answer is an object of the peer that asked, which may have sent to the answer: only when none of that can be under way any
/// more is it released.
#[test]
fn an_object_of_its_caller_is_released_when_the_settlement_is_retired() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("give back", _, args, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), args.slots.clone())]),
        _ => done(vec![]),
    });
    let release = Op::Release { promise: ANSWER };
    bench.say(PEER, &call(ROOT, "give back", vec![WireRef::object(MINE, 5)], Some(1)));
    assert_eq!(bench.outbox(PEER), [settle_to(ANSWER, WireRef::object(YOURS, 5))]);
    // The head that says that the settlement is there ends at a message that is not.
    let early = Deliver { from: vat(PEER), begin: 2, messages: vec![], end: 2, ack: 1 };
    bench.apply(Command::Deliver(early));
    assert_eq!(bench.outbox(PEER).len(), 1);
    let late = call(WireRef::promise(MINE, 1), "late", vec![], None);
    bench.say_and_ack(PEER, &[late], 1);
    assert_eq!(bench.outbox(PEER), [release]);
    bench.say_and_ack(PEER, &[], 2);
    assert_eq!(bench.machine.summary().promises, 0);
}

#[test]
fn what_becomes_of_a_setup_shows() {
    let script = |delivery: &Delivery| match called(delivery) {
        Some(("ready", ..)) => done(vec![Output::Setup { failure: None }]),
        Some(("fail", ..)) => done(vec![Output::Setup { failure: Some("é".repeat(5_000)) }]),
        _ => done(vec![]),
    };
    let mut bench = Bench::installed(script);
    assert_eq!(bench.machine.summary().setup, Setup::Waiting);
    bench.say(PEER, &call(ROOT, "ready", vec![], None));
    bench.say(PEER, &call(ROOT, "fail", vec![], None));
    assert_eq!(bench.machine.summary().setup, Setup::Ready, "it is said once");
    let mut bench = Bench::installed(script);
    bench.machine.end_block(false);
    bench.say(PEER, &call(ROOT, "fail", vec![], None));
    let Setup::Failed(reason) = bench.machine.summary().setup else { panic!() };
    assert!(reason.starts_with("éé") && reason.ends_with("é…") && reason.len() < 5_000);
    assert!(bench.machine.end_block(false).logs[0].text.starts_with("the vat's setup failed: éé"));
}

#[test]
fn a_full_outbox_refuses_sends_but_not_answers() {
    let mut next = 1;
    let mut bench = Bench::installed(move |delivery| match called(delivery) {
        Some(("flood", ..)) => {
            let sends = (0..=MAX_UNACKED_MESSAGES).map(|_| {
                next += 1;
                send(Slot::HostObject(1), "m", array(vec![], vec![]), Some(next))
            });
            done(sends.collect())
        }
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &text("still here"), vec![])]),
        _ => done(vec![]),
    });
    bench.say(OTHER, &call(ROOT, "flood", vec![], None));
    assert_eq!(bench.outbox(PEER).len() as u64, MAX_UNACKED_MESSAGES);
    let refused = told(bench.deliveries().last().unwrap());
    assert_eq!(refused.len(), 1);
    assert!(refused[0].1.contains("not acknowledged yet"), "{refused:?}");
    bench.say(PEER, &call(ROOT, "ask", vec![], Some(1)));
    assert!(matches!(bench.outbox(PEER).last(), Some(Op::Settle { resolution: WireResolution::Fulfilled(_), .. })));
}

#[test]
fn answers_beyond_the_bytes_become_short_rejections() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &Value::Bytes(vec![7; 500 << 10]), vec![])]),
        _ => done(vec![]),
    });
    let enough = MAX_UNACKED_BYTES / (500 << 10) + 2;
    for id in 1..=enough {
        bench.say(PEER, &call(ROOT, "more", vec![], Some(id)));
    }
    let ops = bench.outbox(PEER);
    assert_eq!(ops.len() as u64, enough, "each is answered");
    assert!(rejected(ops.last().unwrap()).1.contains("not acknowledged yet"));
    assert!(bench.machine.summary().peers[0].unacked_bytes < MAX_UNACKED_BYTES + (1 << 20));
}

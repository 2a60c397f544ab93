//! A command takes in as many messages as its fuel allows: whoever's messages burn much waits for its next turn.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::Value;
use quorate_engine::machine::{Command, CommandResult, Deliver};
use quorate_engine::wire::{Op, WireRef};

/// A vat whose commands may burn what three deliveries do. `give` answers with an object of the caller, which is released to it.
fn bench() -> Bench {
    let guest = Scripted::new(|delivery| match called(delivery) {
        Some(("give back", _, args, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), args.slots.clone())]),
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    });
    Bench::over(guest.with_command_fuel(3)).install()
}

fn deliver(bench: &mut Bench, begin: u64, ops: &[Op], end: u64, ack: u64) -> CommandResult {
    let messages = ops.iter().map(Op::encode).collect();
    bench.apply(Command::Deliver(Deliver { from: vat(PEER), begin, messages, end, ack }))
}

fn names(bench: &Bench) -> Vec<String> {
    bench.deliveries().iter().filter_map(|delivery| called(delivery).map(|(name, ..)| name.to_owned())).collect()
}

#[test]
fn a_command_stops_when_its_fuel_is_spent_and_the_next_one_goes_on_there() {
    for method in ["note", "burn"] {
        let mut bench = bench();
        let ops: Vec<Op> = (0..7).map(|_| call(ROOT, method, vec![], None)).collect();
        for (next, done) in [(4, 3), (7, 6), (8, 7)] {
            // The shipper may begin anywhere before what is missing.
            assert_eq!(deliver(&mut bench, 1, &ops, 7, 0), CommandResult::Delivered { next }, "{method}");
            assert_eq!(names(&bench).iter().filter(|name| *name == method).count(), done, "{method}");
            // Others get their turn in between.
            bench.say(OTHER, &call(ROOT, "other", vec![], None));
            assert_eq!(names(&bench).last().map(String::as_str), Some("other"));
        }
    }
}

#[test]
fn what_costs_nothing_is_taken_in_whole() {
    let mut bench = bench();
    let drops: Vec<Op> = (0..100).map(|number| Op::Undo { home: vat(9), number }).collect();
    assert_eq!(deliver(&mut bench, 1, &drops, 100, 0), CommandResult::Delivered { next: 101 });
}

/// The acknowledgement retires what the messages behind may still name.
#[test]
fn an_acknowledgement_counts_only_with_the_last_part() {
    let mut bench = bench();
    bench.say(PEER, &call(ROOT, "give back", vec![WireRef::object(MINE, 5)], Some(1)));
    let answer = settle_to(WireRef::promise(YOURS, 1), WireRef::object(YOURS, 5));
    assert_eq!(bench.outbox(PEER), std::slice::from_ref(&answer));
    // These were sent to the promise before its answer was there, and are passed on to the object.
    let promise = WireRef::promise(MINE, 1);
    let ops: Vec<Op> = (0..5).map(|_| call(promise, "early", vec![], None)).collect();
    assert_eq!(deliver(&mut bench, 2, &ops, 6, 1), CommandResult::Delivered { next: 5 });
    assert_eq!(bench.outbox(PEER), [answer], "it is neither acknowledged nor released");
    assert_eq!(deliver(&mut bench, 5, &ops[3..], 6, 1), CommandResult::Delivered { next: 7 });
    assert_eq!(bench.outbox(PEER), [Op::Release { promise: WireRef::promise(YOURS, 1) }]);
    assert_eq!(bench.broken(PEER), None);
}

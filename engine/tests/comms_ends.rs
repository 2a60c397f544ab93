//! Gifts of vats that end, and at vats that end: nobody waits for what nobody owes, and nothing is kept without bound.
//! Found by programs by chance in `engine/src/machine/handoff_check`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{CapData, Delivery, Output, Slot, Value};
use quorate_engine::comms::{MAX_DEPOSITS, MAX_ORPHANS};
use quorate_engine::machine::CommandResult;
use quorate_engine::wire::{Op, WireRef};

/// A vat that nobody has named to this one before.
const STRANGER: u8 = 4;

fn deposit(to: u8, number: u64) -> Op {
    Op::Deposit { to: vat(to), number, object: 1 }
}

fn withdraw(from: u8, number: u64, result: u64) -> Op {
    Op::Withdraw { from: vat(from), number, result }
}

/// Hands its object 5 to whoever asks; exits when it is told to.
fn home() -> Bench {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("give", _, _, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), vec![Slot::VatObject(5)])]),
        Some(("exit", ..)) => done(vec![Output::Exit { value: CapData::data(&Value::Undefined) }]),
        _ => done(vec![]),
    });
    for peer in [PEER, OTHER] {
        bench.say(peer, &call(ROOT, "give", vec![], Some(1)));
    }
    bench
}

fn delivered(result: CommandResult) {
    assert!(matches!(result, CommandResult::Delivered { .. }), "{result:?}");
}

fn last_rejection(bench: &Bench, peer: u8) -> String {
    rejected(bench.outbox(peer).last().unwrap()).1
}

#[test]
fn a_receiver_hears_of_a_home_that_is_forgotten_before_it_took_the_deposit() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => {
            let args = array(vec![Value::Slot(0)], vec![argv.slots[1]]);
            done(vec![send(argv.slots[0], "take", args, None)])
        }
        _ => done(vec![]),
    });
    assert_eq!(bench.outbox(OTHER), [Op::Deposit { to: vat(PEER), number: 1, object: 0 }]);
    bench.machine.forget(&vat(OTHER));
    assert_eq!(bench.outbox(PEER)[1..], [Op::Undo { home: vat(OTHER), number: 1 }]);
}

#[test]
fn a_receiver_hears_of_a_home_that_broke_its_stream_before_it_took_the_deposit() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => {
            let args = array(vec![Value::Slot(0)], vec![argv.slots[1]]);
            done(vec![send(argv.slots[0], "take", args, None)])
        }
        _ => done(vec![]),
    });
    assert!(matches!(bench.say(OTHER, &Op::Release { promise: ROOT }), CommandResult::Refused { .. }));
    assert_eq!(bench.outbox(PEER)[1..], [Op::Undo { home: vat(OTHER), number: 1 }]);
}

#[test]
fn a_vat_that_has_exited_keeps_no_deposits() {
    let mut bench = home();
    delivered(bench.say(PEER, &deposit(OTHER, 1)));
    bench.say(OTHER, &call(ROOT, "exit", vec![], None));
    delivered(bench.say(OTHER, &withdraw(PEER, 1, 2)));
    assert_eq!(last_rejection(&bench, OTHER), "vat has exited");
    // One that was withdrawn before it came, and as many as there is room for: none is kept, or one would be declined.
    delivered(bench.say(OTHER, &withdraw(PEER, 2, 3)));
    for number in 2..MAX_DEPOSITS + 3 {
        delivered(bench.say(PEER, &deposit(OTHER, number)));
    }
    let declined = bench.outbox(PEER).iter().filter(|op| matches!(op, Op::Declined { .. })).count();
    assert_eq!(declined, 0);
}

#[test]
fn what_a_vat_has_deposited_that_is_gone_stays_but_is_bounded() {
    let mut bench = home();
    for number in 1..=MAX_ORPHANS as u64 {
        delivered(bench.say(PEER, &deposit(STRANGER, number)));
    }
    bench.machine.forget(&vat(PEER));
    delivered(bench.say(STRANGER, &withdraw(PEER, 2, 1)));
    assert_eq!(bench.outbox(STRANGER), [settle_to(WireRef::promise(YOURS, 1), WireRef::object(MINE, 1))]);
    // As many of another one: the oldest are gone.
    for number in 1..=MAX_ORPHANS as u64 - 1 {
        delivered(bench.say(OTHER, &deposit(STRANGER, number)));
    }
    bench.machine.forget(&vat(OTHER));
    delivered(bench.say(STRANGER, &withdraw(PEER, 1, 2)));
    assert!(last_rejection(&bench, STRANGER).contains("does not hold it"));
    for (result, giver, number) in [(3, PEER, MAX_ORPHANS as u64), (4, OTHER, 1), (5, OTHER, MAX_ORPHANS as u64 - 1)] {
        delivered(bench.say(STRANGER, &withdraw(giver, number, result)));
        let object = settle_to(WireRef::promise(YOURS, result), WireRef::object(MINE, 1));
        assert_eq!(bench.outbox(STRANGER).last(), Some(&object), "gift {number} of {giver}");
    }
}

#[test]
fn whoever_withdraws_hears_when_the_giver_is_forgotten_as_one_that_never_came() {
    let mut bench = home();
    delivered(bench.say(PEER, &deposit(STRANGER, 1)));
    // The stranger is known by that alone. It may come and deposit what it gave.
    delivered(bench.say(OTHER, &withdraw(STRANGER, 1, 2)));
    let before = bench.outbox(OTHER).len();
    delivered(bench.say(PEER, &Op::Cancel { to: vat(STRANGER), number: None }));
    assert!(bench.machine.comms().peer(&vat(STRANGER)).is_none());
    assert_eq!(bench.outbox(OTHER).len(), before + 1);
    assert!(last_rejection(&bench, OTHER).contains("does not hold it"));
}

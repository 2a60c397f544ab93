//! One machine as the giver, the receiver and the home of a gift: its rules, its bounds, and what becomes of liars and of vats that end.
//! Whether messages keep their order is checked in `engine/src/machine/handoff_check`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{CapData, Delivery, Output, Resolution, Slot, Value};
use quorate_engine::comms::{MAX_INTRODUCED, MAX_QUEUED_CALLS, MAX_WITHDRAWALS};
use quorate_engine::machine::{Command, CommandResult, Deliver, NOBODY};
use quorate_engine::wire::{Op, WireRef, WireResolution, WireSlot, lent_number};

/// A vat that nobody has named to this one before.
const STRANGER: u8 = 4;

fn gift(home: u8, number: u64) -> WireSlot {
    WireSlot::Gift { home: vat(home), number }
}

fn lent(home: u8, lender: u8, number: u64) -> WireSlot {
    WireSlot::Lent { home: vat(home), lender: vat(lender), number }
}

fn deposit(to: u8, number: u64, object: u64) -> Op {
    Op::Deposit { to: vat(to), number, object }
}

fn withdraw(from: u8, number: u64, result: u64) -> Op {
    Op::Withdraw { from: vat(from), number, result }
}

fn delivered(result: CommandResult) {
    assert!(matches!(result, CommandResult::Delivered { .. }), "{result:?}");
}

fn breaks(bench: &mut Bench, from: u8, op: &Op, reason: &str) {
    let result = bench.say(from, op);
    assert!(matches!(&result, CommandResult::Refused { message } if message.contains(reason)), "{op:?}: {result:?}");
}

fn promise(id: u64) -> WireRef {
    WireRef::promise(YOURS, id)
}

/// Gives object 0 of OTHER to PEER, and hears nothing.
fn giver() -> Bench {
    Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![
            send(argv.slots[1], "before", array(vec![], vec![]), None),
            send(argv.slots[0], "take", array(vec![Value::Slot(0)], vec![argv.slots[1]]), Some(1)),
            send(argv.slots[1], "after", array(vec![], vec![]), None),
        ]),
        _ => done(vec![]),
    })
}

#[test]
fn a_gift_is_deposited_behind_what_was_sent_to_it_before() {
    let bench = giver();
    let home = bench.outbox(OTHER);
    assert!(matches!(&home[..], [Op::Send { .. }, Op::Deposit { .. }, Op::Send { .. }]), "{home:?}");
    assert_eq!(home[1], deposit(PEER, 1, 0));
    let Op::Send { args, .. } = &bench.outbox(PEER)[0] else { panic!() };
    assert_eq!(args.slots, [gift(OTHER, 1)]);
}

/// What is answered with an object of a third vat: its deposit waits until the answer is retired, always.
fn answering() -> Bench {
    let mut other = None;
    let mut bench = Bench::installed(move |delivery| match (delivery, called(delivery)) {
        (Delivery::Start { argv, .. }, _) => {
            other = Some(argv.slots[1]);
            done(vec![])
        }
        (_, Some(("bare", _, _, Some(result)))) => {
            done(vec![fulfil(result, &Value::Slot(0), other.into_iter().collect())])
        }
        (_, Some(("inside", _, _, Some(result)))) => {
            done(vec![fulfil(result, &Value::Array(vec![Value::Slot(0)]), other.into_iter().collect())])
        }
        _ => done(vec![]),
    });
    bench.machine.end_block(false);
    bench
}

#[test]
fn the_deposit_of_an_answer_waits_until_it_is_retired() {
    let mut bench = answering();
    bench.say(PEER, &call(ROOT, "bare", vec![], Some(1)));
    assert_eq!(bench.outbox(PEER), [settle_to(promise(1), gift(OTHER, 1))]);
    assert!(bench.outbox(OTHER).is_empty());
    let early = Deliver { from: vat(PEER), begin: 2, messages: vec![], end: 2, ack: 1 };
    delivered(bench.apply(Command::Deliver(early)));
    assert!(bench.outbox(OTHER).is_empty(), "a message up to the end of that head is still under way");
    delivered(bench.say_and_ack(PEER, &[call(WireRef::promise(MINE, 1), "late", vec![], None)], 1));
    assert_eq!(bench.outbox(OTHER), [deposit(PEER, 1, 0)]);
    // Inside of data nobody can have sent to it.
    bench.say(PEER, &call(ROOT, "inside", vec![], Some(2)));
    assert_eq!(bench.outbox(OTHER)[1..], [deposit(PEER, 2, 0)]);
}

#[test]
fn a_gift_that_is_declined_is_neither_deposited_nor_kept() {
    let mut bench = answering();
    bench.say(PEER, &call(ROOT, "bare", vec![], Some(1)));
    bench.say(PEER, &call(ROOT, "inside", vec![], Some(2)));
    bench.say(PEER, &Op::Declined { home: vat(OTHER), number: 1 });
    bench.say_and_ack(PEER, &[Op::Declined { home: vat(OTHER), number: 2 }], 2);
    let cancel = Op::Cancel { to: vat(PEER), number: Some(2) };
    assert_eq!(bench.outbox(OTHER), [deposit(PEER, 2, 0), cancel]);
    breaks(&mut bench, PEER, &Op::Declined { home: vat(OTHER), number: 2 }, "it was not given");
}

#[test]
fn a_receiver_hears_of_a_home_that_has_no_room_for_it() {
    let mut bench = giver();
    bench.say(OTHER, &Op::Declined { home: vat(OTHER), number: 1 });
    assert_eq!(bench.outbox(PEER)[1..], [Op::Undo { home: vat(OTHER), number: 1 }]);
    breaks(&mut bench, OTHER, &Op::Declined { home: vat(OTHER), number: 1 }, "that was not made");
}

#[test]
fn what_was_deposited_for_a_vat_that_is_forgotten_is_cancelled() {
    let mut bench = giver();
    bench.machine.forget(&vat(PEER));
    assert_eq!(bench.outbox(OTHER).last(), Some(&Op::Cancel { to: vat(PEER), number: None }));
}

/// Keeps what it is given, and sends to it.
fn receiver() -> Bench {
    let mut next = 10;
    Bench::installed(move |delivery| match called(delivery) {
        Some(("take", _, args, _)) => {
            next += 1;
            done(vec![send(args.slots[0], "use", array(vec![], vec![]), Some(next))])
        }
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    })
}

#[test]
fn a_gift_is_withdrawn_and_used_at_once() {
    let mut bench = receiver();
    bench.say(PEER, &call_with(ROOT, "take", vec![gift(STRANGER, 1)], None));
    let ops = bench.outbox(STRANGER);
    assert_eq!(ops[0], withdraw(PEER, 1, 1));
    let Op::Send { target, .. } = &ops[1] else { panic!("{ops:?}") };
    assert_eq!(*target, WireRef::promise(MINE, 1));
    delivered(bench.say(STRANGER, &settle_to(promise(1), WireRef::object(MINE, 7))));
    let Some(Delivery::Settle(settlements)) = bench.deliveries().pop() else { panic!() };
    let Resolution::Fulfilled(data) = &settlements[0].1 else { panic!("{settlements:?}") };
    let presence = data.slots[0];
    // Whoever introduces it: it is the same object.
    bench.say(OTHER, &call_with(ROOT, "take", vec![gift(STRANGER, 1)], None));
    bench.say(STRANGER, &settle_to(promise(3), WireRef::object(MINE, 7)));
    let Some(Delivery::Settle(settlements)) = bench.deliveries().pop() else { panic!() };
    assert_eq!(settlements[0].1, Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![presence])));
}

/// A client has another id with each vat that it talks to: one deposits, the other calls.
#[test]
fn what_is_lent_is_withdrawn_where_the_lender_deposits_it_and_by_nobody_else() {
    let mut bench = receiver();
    bench.say(PEER, &call_with(ROOT, "take", vec![lent(STRANGER, 9, 1)], None));
    let number = lent_number(&vat(PEER), &vat(9), 1);
    assert_eq!(bench.outbox(STRANGER)[0], withdraw(9, number, 1));
    delivered(bench.say(STRANGER, &settle_to(promise(1), WireRef::object(MINE, 7))));
    assert!(
        matches!(bench.deliveries().last(), Some(Delivery::Settle(settled)) if matches!(settled[0].1, Resolution::Fulfilled(_)))
    );
    // Another vat that says the same names another deposit; so does one that names what vat 9 itself gives.
    bench.say(OTHER, &call_with(ROOT, "take", vec![lent(STRANGER, 9, 1)], None));
    let Some(Op::Withdraw { number: others, .. }) = bench.outbox(STRANGER).into_iter().nth(2) else { panic!() };
    assert_ne!(others, number);
    for (borrower, lender, loan) in [(2, 9, 2), (2, 8, 1), (3, 9, 1)] {
        let other = lent_number(&vat(borrower), &vat(lender), loan);
        assert!(other != number && other >= 1 << 63, "no number that is counted up to");
    }
}

#[test]
fn an_answer_can_not_lend() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
        _ => done(vec![]),
    });
    breaks(&mut bench, PEER, &settle_to(promise(1), lent(STRANGER, 9, 1)), "only calls lend");
}

#[test]
fn the_machine_withdraws_what_the_guest_does_not_take_in() {
    let mut bench = receiver();
    bench.say(PEER, &call_with(ROOT, "burn", vec![gift(STRANGER, 1)], Some(1)));
    assert_eq!(bench.outbox(STRANGER), [withdraw(PEER, 1, 1)]);
    let before = bench.deliveries().len();
    delivered(bench.say(STRANGER, &settle_to(promise(1), WireRef::object(MINE, 7))));
    assert_eq!(bench.deliveries().len(), before, "the guest has not heard of it");
    // Refused for another reason: the sender does not hold what is beside it.
    let slots = vec![WireRef::object(YOURS, 99).into(), gift(STRANGER, 2)];
    bench.say(PEER, &call_with(ROOT, "take", slots, None));
    assert_eq!(bench.outbox(STRANGER).last(), Some(&withdraw(PEER, 2, 2)));
}

#[test]
fn an_answer_that_is_a_gift_goes_on_as_what_is_withdrawn() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![
            send(argv.slots[0], "ask", array(vec![], vec![]), Some(1)),
            send(Slot::VatPromise(1), "early", array(vec![], vec![]), None),
            send(argv.slots[1], "pass", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
        ]),
        Delivery::Call { .. } => done(vec![send(Slot::VatPromise(1), "late", array(vec![], vec![]), None)]),
        _ => done(vec![]),
    });
    let before = bench.deliveries().len();
    delivered(bench.say(PEER, &settle_to(promise(1), gift(STRANGER, 1))));
    assert_eq!(bench.deliveries().len(), before, "to the guest it is pending");
    assert_eq!(bench.outbox(OTHER).len(), 1, "and to others");
    bench.say(PEER, &call(ROOT, "go on", vec![], None));
    let ops = bench.outbox(STRANGER);
    assert!(matches!(&ops[1], Op::Send { target, .. } if *target == WireRef::promise(MINE, 1)), "{ops:?}");
    delivered(bench.say(STRANGER, &settle_to(promise(1), WireRef::object(MINE, 7))));
    assert!(
        matches!(bench.deliveries().last(), Some(Delivery::Settle(settled)) if settled[0].0 == Slot::VatPromise(1))
    );
    // Who waits for it gets it as a gift in turn.
    assert_eq!(bench.outbox(OTHER).last(), Some(&settle_to(WireRef::promise(MINE, 1), gift(STRANGER, 1))));
}

#[test]
fn a_gift_that_is_undone_is_rejected() {
    let mut bench = receiver();
    bench.say(PEER, &call_with(ROOT, "take", vec![gift(STRANGER, 1)], None));
    bench.say(PEER, &Op::Undo { home: vat(STRANGER), number: 1 });
    assert!(told(bench.deliveries().last().unwrap())[0].1.contains("no room"));
    // The giver lied: the home has it. That costs the home nothing.
    let before = bench.deliveries().len();
    delivered(bench.say(STRANGER, &settle_to(promise(1), WireRef::object(MINE, 7))));
    bench.say(PEER, &Op::Undo { home: vat(STRANGER), number: 1 });
    assert_eq!((bench.deliveries().len(), bench.broken(STRANGER)), (before, None));
}

#[test]
fn lies_about_gifts_break_the_stream_of_the_liar_only() {
    let strange = "no third vat's";
    let cases: Vec<(&str, Vec<Op>, &str)> = vec![
        ("of the receiver", vec![call_with(ROOT, "m", vec![gift(ME, 1)], None)], strange),
        ("of the giver", vec![call_with(ROOT, "m", vec![gift(PEER, 1)], None)], strange),
        ("twice", vec![call_with(ROOT, "m", vec![gift(STRANGER, 1), gift(STRANGER, 1)], None)], "given before"),
        ("lent of the receiver", vec![call_with(ROOT, "m", vec![lent(ME, STRANGER, 1)], None)], strange),
        ("lent of the caller", vec![call_with(ROOT, "m", vec![lent(PEER, STRANGER, 1)], None)], strange),
        ("lent by the home", vec![call_with(ROOT, "m", vec![lent(STRANGER, STRANGER, 1)], None)], "a loan by"),
        ("lent by the receiver", vec![call_with(ROOT, "m", vec![lent(STRANGER, ME, 1)], None)], "a loan by"),
        (
            "lent twice",
            vec![
                call_with(ROOT, "m", vec![lent(STRANGER, 9, 1)], None),
                call_with(ROOT, "m", vec![lent(STRANGER, 8, 1)], None),
            ],
            "given before",
        ),
        (
            "lent and given",
            vec![call_with(ROOT, "m", vec![gift(STRANGER, 2), lent(STRANGER, 9, 2)], None)],
            "given before",
        ),
        ("for itself", vec![deposit(PEER, 1, 0)], "a deposit for its giver"),
        ("for the home", vec![deposit(ME, 1, 0)], "a deposit for its giver"),
        ("not held", vec![deposit(OTHER, 1, 5)], "does not hold"),
        ("deposited twice", vec![deposit(OTHER, 1, 0), deposit(OTHER, 1, 0)], "deposited before"),
        ("withdrawn from itself", vec![withdraw(PEER, 1, 1)], "of its receiver or its home"),
        ("withdrawn from the home", vec![withdraw(ME, 1, 1)], "of its receiver or its home"),
        ("withdrawn twice", vec![withdraw(OTHER, 1, 1), withdraw(OTHER, 1, 2)], "withdrawn already"),
        ("release of nothing", vec![Op::Release { promise: promise(1) }], "has not come home"),
        ("declines nothing", vec![Op::Declined { home: vat(OTHER), number: 1 }], "was not given"),
        ("drops what it has not", vec![Op::Drop(vec![(1, 1)])], "did not get so often"),
        ("drops the root", vec![Op::Drop(vec![(0, 1)])], "did not get so often"),
    ];
    for (name, ops, reason) in cases {
        let mut bench = Bench::installed(quiet);
        let result = bench.say_and_ack(PEER, &ops, 0);
        assert!(
            matches!(&result, CommandResult::Refused { message } if message.contains(reason)),
            "{name}: {result:?}"
        );
        assert!(bench.broken(OTHER).is_none(), "{name}");
        delivered(bench.say(OTHER, &call(ROOT, "m", vec![], None)));
    }
}

#[test]
fn a_home_that_settles_a_gift_to_something_else_breaks_its_stream() {
    let data = |value: &Value, slots: Vec<WireSlot>| WireResolution::Fulfilled(CapData::new(value, slots));
    let cases = [
        ("data", data(&Value::Null, vec![])),
        ("a promise", data(&Value::Slot(0), vec![WireRef::promise(MINE, 9).into()])),
        ("an object of the receiver", data(&Value::Slot(0), vec![WireRef::object(YOURS, 0).into()])),
        ("a gift", data(&Value::Slot(0), vec![gift(PEER, 1)])),
        ("more", data(&Value::Slot(0), vec![WireRef::object(MINE, 7).into(), WireRef::promise(MINE, 9).into()])),
        (
            "a reason with a promise",
            WireResolution::Rejected(CapData::new(&Value::Slot(0), vec![WireRef::promise(MINE, 9).into()])),
        ),
    ];
    for (name, resolution) in cases {
        let mut bench = receiver();
        bench.say(PEER, &call_with(ROOT, "take", vec![gift(STRANGER, 1)], None));
        let result = bench.say(STRANGER, &Op::Settle { promise: promise(1), resolution });
        assert!(matches!(&result, CommandResult::Refused { .. }), "{name}: {result:?}");
        assert!(told(bench.deliveries().last().unwrap())[0].1.contains("is broken"), "{name}");
        assert!(bench.broken(PEER).is_none(), "{name}");
    }
}

/// Hands its object 5 to whoever asks, and does what it is asked.
fn home() -> Bench {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("give", _, _, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), vec![Slot::VatObject(5)])]),
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "give", vec![], Some(1)));
    bench
}

/// The calls that the guest has run, by name and target.
fn calls(bench: &Bench) -> Vec<(String, Slot)> {
    let name = |delivery: &Delivery| called(delivery).map(|(name, target, ..)| (name.to_owned(), *target));
    bench.deliveries().iter().filter_map(name).collect()
}

#[test]
fn a_deposit_lets_the_receiver_in_and_settles_what_it_withdraws() {
    let mut bench = home();
    assert!(!bench.machine.comms().admits(&vat(STRANGER), None));
    bench.machine.end_block(false);
    delivered(bench.say(PEER, &deposit(STRANGER, 1, 1)));
    assert!(bench.machine.comms().admits(&vat(STRANGER), None));
    let heads = bench.machine.end_block(false).heads;
    assert!(heads.iter().any(|head| head.peer == vat(STRANGER)), "it is told that it is let in: {heads:?}");
    let uses = [withdraw(PEER, 1, 1), call(WireRef::promise(MINE, 1), "one", vec![], None)];
    delivered(bench.say_and_ack(STRANGER, &uses, 0));
    assert_eq!(bench.outbox(STRANGER), [settle_to(promise(1), WireRef::object(MINE, 1))]);
    delivered(bench.say(STRANGER, &call(WireRef::object(YOURS, 1), "two", vec![], None)));
    let used = calls(&bench)[1..].to_vec();
    assert_eq!(used, [("one".to_owned(), Slot::VatObject(5)), ("two".to_owned(), Slot::VatObject(5))]);
    // Once.
    delivered(bench.say(STRANGER, &withdraw(PEER, 1, 2)));
    assert_eq!(bench.outbox(STRANGER).len(), 1, "it waits: that gift is gone");
}

#[test]
fn calls_wait_for_the_deposit_and_are_done_in_their_order() {
    let mut bench = home();
    let result = |id| WireRef::promise(MINE, id);
    let ops = [
        withdraw(PEER, 1, 1),
        call(result(1), "one", vec![], Some(2)),
        call(ROOT, "elsewhere", vec![result(2)], None),
        call(result(1), "two", vec![], None),
    ];
    delivered(bench.say_and_ack(OTHER, &ops, 0));
    let waiting = calls(&bench).last().unwrap().1;
    // The guest heard of the promise, and keeps what is sent to it.
    let heard = bench.deliveries();
    let names = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![waiting]));
    assert!(heard.contains(&Delivery::Settle(vec![(NOBODY, names)])) && heard.contains(&Delivery::Hold(waiting)));
    assert_eq!(calls(&bench).iter().filter(|(_, target)| *target == waiting).count(), 2);
    delivered(bench.say(PEER, &deposit(OTHER, 1, 1)));
    let settled = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![Slot::VatObject(5)]));
    assert_eq!(bench.deliveries().last(), Some(&Delivery::Settle(vec![(waiting, settled)])));
    delivered(bench.say(OTHER, &call(result(1), "three", vec![], None)));
    assert_eq!(calls(&bench).last(), Some(&("three".to_owned(), Slot::VatObject(5))));
}

#[test]
fn what_waits_for_a_deposit_is_bounded() {
    let mut bench = home();
    for id in 1..=MAX_WITHDRAWALS as u64 + 1 {
        delivered(bench.say(OTHER, &withdraw(PEER, id, id)));
    }
    let ops = bench.outbox(OTHER);
    assert_eq!(ops.len(), 1);
    assert!(rejected(&ops[0]).1.contains("more gifts of one vat"));
    let result = |id| WireRef::promise(MINE, id);
    let calls: Vec<Op> = (0..=MAX_QUEUED_CALLS).map(|_| call(result(1), "m", vec![], None)).collect();
    let again = 5_000;
    delivered(bench.say_and_ack(OTHER, &calls, 0));
    delivered(bench.say(OTHER, &call(result(1), "m", vec![], Some(again))));
    assert!(rejected(&bench.outbox(OTHER)[1]).1.contains("wait for objects"));
    // They are let go with the deposit.
    delivered(bench.say(PEER, &deposit(OTHER, 1, 1)));
    delivered(bench.say(OTHER, &call(result(2), "m", vec![], Some(again + 1))));
    assert!(matches!(bench.outbox(OTHER)[..], [_, _, Op::Settle { .. }]), "no further rejection");
}

#[test]
fn bytes_that_wait_for_a_deposit_are_bounded() {
    let mut bench = home();
    delivered(bench.say(OTHER, &withdraw(PEER, 1, 1)));
    let big = |id| Op::Send {
        target: WireRef::promise(MINE, 1),
        method: quorate_engine::abi::Method::Apply,
        args: CapData::data(&Value::Array(vec![Value::Bytes(vec![0; 500 << 10])])),
        result: Some(id),
    };
    for id in 2..=20 {
        delivered(bench.say(OTHER, &big(id)));
    }
    let refused: Vec<String> = bench.outbox(OTHER).iter().map(|op| rejected(op).1).collect();
    assert_eq!(refused.len(), 3, "16 of 500 KiB are within 8 MiB");
    assert!(refused.iter().all(|refusal| refusal.contains("wait for objects")));
}

#[test]
fn strangers_that_one_peer_brings_are_bounded() {
    let mut bench = home();
    let far = |number: u64| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        quorate_engine::VatId(id)
    };
    let ops: Vec<Op> = (0..=MAX_INTRODUCED).map(|number| Op::Deposit { to: far(number), number, object: 1 }).collect();
    delivered(bench.say_and_ack(PEER, &ops, 0));
    assert_eq!(bench.outbox(PEER).last(), Some(&Op::Declined { home: vat(ME), number: MAX_INTRODUCED }));
    // As homes of gifts, on another's account.
    let slots = |from: u64| (0..1_000).map(move |more| WireSlot::Gift { home: far(100_000 + from + more), number: 1 });
    for from in [0, 1_000, 2_000, 3_000, 4_000] {
        delivered(bench.say(OTHER, &call_with(ROOT, "m", slots(from).collect(), None)));
    }
    let declined = bench.outbox(OTHER);
    assert_eq!(declined.len() as u64, 5_000 - MAX_INTRODUCED.min(MAX_WITHDRAWALS as u64));
    assert!(declined.iter().all(|op| matches!(op, Op::Declined { .. })));
}

#[test]
fn a_giver_that_breaks_off_costs_only_what_waits_for_it() {
    let mut bench = home();
    delivered(bench.say(PEER, &deposit(OTHER, 1, 1)));
    delivered(bench.say(OTHER, &withdraw(PEER, 2, 1)));
    delivered(bench.say(OTHER, &call(WireRef::promise(MINE, 1), "m", vec![], Some(2))));
    let nonsense = Deliver { from: vat(PEER), begin: 3, messages: vec![vec![0]], end: 3, ack: 0 };
    bench.apply(Command::Deliver(nonsense));
    assert!(rejected(bench.outbox(OTHER).last().unwrap()).1.contains("is broken"));
    assert!(
        told(bench.deliveries().last().unwrap())[0].1.contains("is broken"),
        "and so hears the guest, which has calls to it"
    );
    // What was deposited before stays, and what comes later is told at once.
    delivered(bench.say(OTHER, &withdraw(PEER, 1, 3)));
    assert_eq!(bench.outbox(OTHER).last(), Some(&settle_to(promise(3), WireRef::object(MINE, 1))));
    delivered(bench.say(OTHER, &withdraw(PEER, 7, 4)));
    assert!(rejected(bench.outbox(OTHER).last().unwrap()).1.contains("does not hold it"));
}

#[test]
fn a_grant_that_is_taken_back_before_the_deposit_gives_nothing() {
    let mut bench = home();
    bench.apply(Command::Revoke { from: vat(PEER) });
    delivered(bench.say(PEER, &deposit(STRANGER, 1, 0)));
    delivered(bench.say(STRANGER, &withdraw(PEER, 1, 1)));
    assert!(rejected(&bench.outbox(STRANGER)[0]).1.contains("does not hold it"));
    delivered(bench.say(STRANGER, &call(ROOT, "m", vec![], Some(2))));
    assert!(rejected(&bench.outbox(STRANGER)[1]).1.contains("not granted"));
    delivered(bench.say(STRANGER, &withdraw(PEER, 2, 3)));
    delivered(bench.say(PEER, &deposit(STRANGER, 2, 0)));
    assert!(rejected(&bench.outbox(STRANGER)[2]).1.contains("does not hold it"));
}

#[test]
fn a_cancelled_deposit_is_not_given_out() {
    let mut bench = home();
    for number in 1..=3 {
        delivered(bench.say(PEER, &deposit(STRANGER, number, 1)));
    }
    delivered(bench.say(PEER, &Op::Cancel { to: vat(STRANGER), number: Some(1) }));
    delivered(bench.say(STRANGER, &withdraw(PEER, 1, 1)));
    delivered(bench.say(STRANGER, &withdraw(PEER, 2, 2)));
    assert_eq!(bench.outbox(STRANGER), [settle_to(promise(2), WireRef::object(MINE, 1))]);
    delivered(bench.say(PEER, &Op::Cancel { to: vat(STRANGER), number: None }));
    delivered(bench.say(STRANGER, &withdraw(PEER, 3, 3)));
    assert_eq!(bench.outbox(STRANGER).len(), 1);
}

/// A client that declines leaves nothing at a home that it never spoke with, however many come.
#[test]
fn a_vat_for_which_all_was_cancelled_is_forgotten() {
    let mut bench = home();
    for round in 1..=MAX_INTRODUCED + 10 {
        let mut client = [8; 32];
        client[..8].copy_from_slice(&round.to_be_bytes());
        let client = quorate_engine::VatId(client);
        let ops =
            [Op::Deposit { to: client, number: round, object: 1 }, Op::Cancel { to: client, number: Some(round) }];
        delivered(bench.say_and_ack(PEER, &ops, 0));
        assert!(bench.machine.comms().peer(&client).is_none());
    }
    assert_eq!(bench.outbox(PEER).len(), 1, "none was declined");
    let heads = bench.machine.end_block(false).heads;
    assert!(heads.iter().all(|head| head.peer == vat(PEER)), "nothing is said to them");
}

#[test]
fn a_home_that_has_exited_gives_nothing_out() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("exit", ..)) => done(vec![Output::Exit { value: CapData::data(&Value::Null) }]),
        _ => done(vec![]),
    });
    delivered(bench.say(PEER, &deposit(STRANGER, 1, 0)));
    delivered(bench.say(OTHER, &withdraw(PEER, 2, 1)));
    delivered(bench.say(PEER, &call(ROOT, "exit", vec![], None)));
    assert_eq!(rejected(&bench.outbox(OTHER)[0]).1, "vat has exited");
    delivered(bench.say(PEER, &deposit(OTHER, 2, 0)));
    delivered(bench.say(STRANGER, &withdraw(PEER, 1, 1)));
    delivered(bench.say(OTHER, &withdraw(PEER, 2, 2)));
    assert_eq!(rejected(&bench.outbox(STRANGER)[0]).1, "vat has exited");
    assert_eq!(rejected(&bench.outbox(OTHER)[1]).1, "vat has exited");
}

#[test]
fn a_call_that_cannot_be_kept_is_rejected_and_the_next_one_tried() {
    let mut holds = 0;
    let mut bench = Bench::installed(move |delivery| match delivery {
        Delivery::Hold(_) => {
            holds += 1;
            if holds == 1 { out_of_fuel() } else { done(vec![]) }
        }
        _ => done(vec![]),
    });
    let gift = WireRef::promise(MINE, 1);
    delivered(bench.say(OTHER, &withdraw(PEER, 1, 1)));
    delivered(bench.say(OTHER, &call(gift, "one", vec![], Some(2))));
    assert!(rejected(&bench.outbox(OTHER)[0]).1.contains("rolled back"));
    delivered(bench.say(OTHER, &call(gift, "two", vec![], Some(3))));
    assert_eq!(calls(&bench).last().unwrap().0, "two");
    assert_eq!(bench.outbox(OTHER).len(), 1);
}

#[test]
fn a_client_declines_gifts_and_says_where_the_object_is() {
    use quorate_engine::abi::Method;
    use quorate_engine::comms::client::{ClientError, ClientRef, ClientSession};
    let mut client = ClientSession::new(vat(9), vat(ME));
    let id = client.call(ClientRef::Object(0), Method::Call("find".into()), &Value::Array(vec![]), &[]).unwrap();
    let answer = settle_to(WireRef::promise(YOURS, id), gift(STRANGER, 3));
    let deliver = Deliver { from: vat(ME), begin: 1, messages: vec![answer.encode()], end: 1, ack: 1 };
    let completions = client.receive(&deliver).unwrap();
    let [completion] = &completions[..] else { panic!("{completions:?}") };
    assert_eq!((completion.fulfilled, &completion.slots[..]), (true, &[ClientRef::Elsewhere(vat(STRANGER))][..]));
    let said: Vec<Op> = client.unacked().map(|(_, message)| Op::decode(message).unwrap()).collect();
    assert_eq!(said, [Op::Declined { home: vat(STRANGER), number: 3 }]);
    let call = client.call(completion.slots[0], Method::Apply, &Value::Array(vec![]), &[]);
    assert_eq!(call, Err(ClientError::Elsewhere(vat(STRANGER))));
    assert!(call.unwrap_err().to_string().contains("call that vat itself"));
}

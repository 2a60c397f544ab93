//! Fuel among senders: a block takes in as many messages as its fuel allows, and whoever's messages burn more than others' waits for them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{Delivery, Output, Slot, Value};
use quorate_engine::machine::{
    Command, CommandResult, CrankKind, CrankReport, Deliver, FuelShares, MESSAGE_FUEL, Machine, PATIENCE,
};
use quorate_engine::wire::{Op, WireRef};

fn script(delivery: &Delivery) -> quorate_engine::machine::CrankOutcome {
    match called(delivery) {
        Some(("give back", _, args, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), args.slots.clone())]),
        Some(("ask", ..)) => done(vec![send(Slot::HostObject(2), "what", array(vec![], vec![]), Some(1))]),
        Some(("wake", ..)) => done(vec![Output::SetTimer { timer: 1, at_ms: 10 }]),
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    }
}

/// A vat in which each delivery burns 1.
fn bench(per_turn: u64, per_block: u64) -> Bench {
    let mut bench = Bench::installed(script);
    bench.machine = bench.machine.with_fuel(FuelShares { per_turn, per_block, host_work: false });
    bench.machine.end_block(false);
    bench
}

fn deliver(bench: &mut Bench, from: u8, begin: u64, ops: &[Op], end: u64, ack: u64) -> CommandResult {
    let messages = ops.iter().map(Op::encode).collect();
    bench.apply(Command::Deliver(Deliver { from: vat(from), begin, messages, end, ack }))
}

fn count(bench: &Bench, method: &str) -> usize {
    bench.deliveries().iter().filter(|delivery| called(delivery).is_some_and(|(name, ..)| name == method)).count()
}

fn calls(count: usize, method: &str) -> Vec<Op> {
    (0..count).map(|_| call(ROOT, method, vec![], None)).collect()
}

#[test]
fn a_block_stops_when_its_fuel_is_spent_and_the_next_one_goes_on_there() {
    for method in ["note", "burn"] {
        let mut bench = bench(u64::MAX, 3);
        let ops = calls(7, method);
        for (block, (next, done)) in [(4, 3), (7, 6), (8, 7)].into_iter().enumerate() {
            // The shipper may begin anywhere before what is missing.
            assert_eq!(deliver(&mut bench, PEER, 1, &ops, 7, 0), CommandResult::Delivered { next }, "{method}");
            assert_eq!(count(&bench, method), done, "{method}");
            let other = call(ROOT, "other", vec![], None);
            let (number, spent) = (block as u64 + 1, block < 2);
            let expected = if spent {
                CommandResult::Later { next: number }
            } else {
                CommandResult::Delivered { next: number + 1 }
            };
            assert_eq!(deliver(&mut bench, OTHER, number, std::slice::from_ref(&other), number, 0), expected);
            assert_eq!(bench.machine.end_block(false).waited, u64::from(spent));
            if spent {
                // In the next block it is before the other one, whoever orders that block.
                assert!(bench.machine.rank(&vat(OTHER)) < bench.machine.rank(&vat(PEER)));
                let taken = CommandResult::Delivered { next: number + 1 };
                assert_eq!(deliver(&mut bench, OTHER, number, &[other], number, 0), taken);
                bench.machine.end_block(false);
            }
        }
    }
}

#[test]
fn what_costs_nothing_is_taken_in_whole() {
    let mut bench = bench(1, 3);
    let drops: Vec<Op> = (0..100).map(|number| Op::Undo { home: vat(9), number }).collect();
    assert_eq!(deliver(&mut bench, PEER, 1, &drops, 100, 0), CommandResult::Delivered { next: 101 });
}

/// The acknowledgement retires what the messages behind may still name.
#[test]
fn an_acknowledgement_counts_only_with_the_last_part() {
    let mut bench = bench(u64::MAX, 3);
    bench.say(PEER, &call(ROOT, "give back", vec![WireRef::object(MINE, 5)], Some(1)));
    bench.machine.end_block(false);
    let answer = settle_to(WireRef::promise(YOURS, 1), WireRef::object(YOURS, 5));
    assert_eq!(bench.outbox(PEER), std::slice::from_ref(&answer));
    // These were sent to the promise before its answer was there, and are passed on to the object.
    let promise = WireRef::promise(MINE, 1);
    let ops: Vec<Op> = (0..5).map(|_| call(promise, "early", vec![], None)).collect();
    assert_eq!(deliver(&mut bench, PEER, 2, &ops, 6, 1), CommandResult::Delivered { next: 5 });
    bench.machine.end_block(false);
    assert_eq!(bench.outbox(PEER), [answer], "it is neither acknowledged nor released");
    assert_eq!(deliver(&mut bench, PEER, 5, &ops[3..], 6, 1), CommandResult::Delivered { next: 7 });
    assert_eq!(bench.outbox(PEER), [Op::Release { promise: WireRef::promise(YOURS, 1) }]);
    assert_eq!(bench.broken(PEER), None);
}

/// Such a sender never shows a head whose end is in at once.
#[test]
fn who_is_always_ahead_of_what_is_taken_in_has_its_acknowledgements_count() {
    const AHEAD: u64 = 9;
    let mut bench = bench(u64::MAX, 3);
    let said = |bench: &Bench| {
        let outbox = bench.machine.outbox();
        outbox.iter().find(|stream| stream.head.peer == vat(PEER)).map_or(0, |stream| stream.head.end)
    };
    let (mut next, mut most, mut rounds) = (1, 0, 0);
    while next < 200 {
        let asked = |number| call(ROOT, "give back", vec![WireRef::object(MINE, 5)], Some(number));
        let ops: Vec<Op> = (next..next + AHEAD).map(asked).collect();
        let ack = said(&bench);
        let result = deliver(&mut bench, PEER, next, &ops, next + AHEAD - 1, ack);
        next += 3;
        assert_eq!(result, CommandResult::Delivered { next });
        bench.machine.end_block(false);
        most = most.max(bench.outbox(PEER).len() as u64);
        rounds += 1;
    }
    assert!(rounds > 60 && said(&bench) >= 200, "each call was answered");
    // Each has an answer and a release; what is kept is of the messages that were ahead when an acknowledgement was shown.
    assert!(most <= 2 * 2 * (AHEAD + 3), "{most}");
    // The last one counts when it is reached, though it is no news any more.
    let ack = said(&bench);
    let rest: Vec<Op> = (0..AHEAD).map(|_| call(ROOT, "note", vec![], None)).collect();
    deliver(&mut bench, PEER, next, &rest, next + AHEAD - 1, ack);
    for _ in 0..3 {
        bench.machine.end_block(false);
        let taken = bench.machine.next_inbound(&vat(PEER)).0;
        let rest = &rest[usize::try_from(taken - next).unwrap()..];
        deliver(&mut bench, PEER, taken, rest, next + AHEAD - 1, ack);
    }
    // What is left was said when the last answers were acknowledged.
    let left = bench.outbox(PEER);
    assert!(left.iter().all(|op| matches!(op, Op::Release { .. })), "{left:?}");
    assert_eq!(bench.broken(PEER), None);
}

/// A sender that always has work, beside one that waits for each answer.
#[test]
fn whoever_has_burnt_more_waits_as_long_as_others_have_work() {
    let mut bench = bench(5, 20);
    let loops = calls(1_000, "burn");
    deliver(&mut bench, OTHER, 1, &calls(1, "ping"), 1, 0);
    bench.machine.end_block(false);
    let mut next = 1;
    for round in 2..=200 {
        // First in every block, as a leader that favours it would have it.
        match deliver(&mut bench, PEER, next, &loops[next as usize - 1..], 1_000, 0) {
            CommandResult::Delivered { next: then } => next = then,
            result => assert_eq!(result, CommandResult::Later { next }),
        }
        let turned_away = deliver(&mut bench, OTHER, round, &calls(1, "ping"), round, 0);
        let block = bench.machine.end_block(false);
        if let CommandResult::Later { next } = turned_away {
            assert!(block.waited > 0 && bench.machine.rank(&vat(OTHER)) < bench.machine.rank(&vat(PEER)));
            assert_eq!(
                deliver(&mut bench, OTHER, next, &calls(1, "ping"), next, 0),
                CommandResult::Delivered { next: next + 1 }
            );
            bench.machine.end_block(false);
        }
    }
    let (pings, burnt) = (count(&bench, "ping"), count(&bench, "burn"));
    assert_eq!(pings, 200);
    assert!(burnt >= 150 && burnt <= pings + 5 + 1, "{burnt} loops beside {pings} pings");
    // Once the other one has gone, it gets its turn, and goes on.
    for _ in 0..PATIENCE {
        deliver(&mut bench, PEER, next, &loops[next as usize - 1..], 1_000, 0);
        bench.machine.end_block(false);
    }
    for _ in 0..3 {
        let result = deliver(&mut bench, PEER, next, &loops[next as usize - 1..], 1_000, 0);
        bench.machine.end_block(false);
        assert!(matches!(result, CommandResult::Delivered { .. }), "{result:?}");
    }
}

#[test]
fn a_debt_is_in_checkpoints_and_goes_with_the_peer() {
    let mut bench = bench(2, 100);
    deliver(&mut bench, OTHER, 1, &calls(1, "ping"), 1, 0);
    deliver(&mut bench, PEER, 1, &calls(10, "burn"), 10, 0);
    bench.machine.end_block(false);
    assert_eq!(bench.machine.waiting(), [vat(PEER)]);
    let ahead = |machine: &Machine<Scripted>| {
        machine.summary().peers.into_iter().find(|peer| peer.vat == vat(PEER)).map(|peer| peer.fuel_ahead)
    };
    assert_eq!(ahead(&bench.machine), Some(3), "it stopped once it was two and one ahead");
    let checkpoint = bench.machine.checkpoint().unwrap();
    let make = |state: &Transcript| Ok(Scripted::resumed(state, script));
    let restored = Machine::restore_with(vat(ME), &checkpoint.manifest, make).unwrap();
    let mut restored = restored.with_fuel(FuelShares { per_turn: 2, per_block: 100, host_work: false });
    assert_eq!((restored.waiting(), ahead(&restored)), (vec![vat(PEER)], Some(3)));
    assert_eq!(restored.checkpoint().unwrap().root, checkpoint.root);
    restored.forget(&vat(PEER));
    assert_eq!(restored.waiting(), []);
}

/// The cranks of a block, with who they are for and on whose account.
fn accounts(bench: &mut Bench) -> Vec<(CrankKind, Option<quorate_engine::VatId>, Option<quorate_engine::VatId>)> {
    let cranks: Vec<CrankReport> = bench.machine.end_block(false).cranks;
    cranks.into_iter().map(|crank| (crank.what, crank.from, crank.account)).collect()
}

#[test]
fn what_follows_is_on_the_account_of_who_caused_it() {
    let (peer, other) = (Some(vat(PEER)), Some(vat(OTHER)));
    let mut bench = bench(1_000, 1_000);
    bench.say(PEER, &call(ROOT, "ask", vec![], None));
    bench.say(PEER, &call(ROOT, "wake", vec![], None));
    assert_eq!(accounts(&mut bench), [(CrankKind::Call, peer, peer), (CrankKind::Call, peer, peer)]);
    // The answer of the vat that was asked.
    bench.say(OTHER, &settle(WireRef::promise(YOURS, 1), vec![]));
    assert_eq!(accounts(&mut bench), [(CrankKind::Settle, other, peer)]);
    let ahead = |bench: &Bench| {
        let peers = bench.machine.summary().peers;
        peers.into_iter().find(|summary| summary.vat == vat(PEER)).map(|summary| summary.fuel_ahead)
    };
    assert_eq!(ahead(&bench), Some(1), "the answer: the other one began where this one was after its two calls");
    bench.apply(Command::Tick { now_ms: 10 });
    assert_eq!(accounts(&mut bench), [(CrankKind::Timer, None, peer)]);
    assert_eq!(ahead(&bench), Some(1), "the timer: what it was ahead has faded as time passed");
}

/// Guests that send what is refused, again and again.
fn refused(times: u64) -> Bench {
    let mut next = 0;
    Bench::installed(move |delivery| match delivery {
        Delivery::Call { .. } | Delivery::Settle(_) if next < times => {
            next += 1;
            let result = Some(1_000 + next);
            done(vec![send(Slot::HostObject(99), "nobody", array(vec![], vec![]), result)])
        }
        _ => done(vec![]),
    })
}

#[test]
fn refusals_that_are_left_come_with_the_time_and_not_with_the_next_message() {
    let mut bench = refused(500);
    bench.machine.end_block(false);
    bench.apply(Command::Tick { now_ms: 7 });
    bench.say(PEER, &call(ROOT, "go", vec![], None));
    let first = accounts(&mut bench);
    assert!(first.len() < 200 && first.iter().all(|(_, _, account)| *account == Some(vat(PEER))), "{first:?}");
    let mut ticks = 0;
    while bench.machine.next_deadline() == Some(7 + ticks) {
        ticks += 1;
        assert!(ticks < 20, "it comes to an end");
        bench.apply(Command::Tick { now_ms: 7 + ticks });
        assert!(accounts(&mut bench).iter().all(|(_, _, account)| *account == Some(vat(PEER))));
    }
    assert_eq!((bench.machine.summary().pending_refusals, bench.machine.next_deadline()), (0, None));
    assert_eq!(bench.deliveries().len(), 502, "the start, the call, and each refusal");
}

/// Messages of which none runs anything: they are refused, or name nothing. They count, too.
#[test]
fn messages_that_run_nothing_are_not_free() {
    let mut bench = bench(u64::MAX, u64::MAX);
    let shares = FuelShares { per_turn: 10 * MESSAGE_FUEL, per_block: u64::MAX, host_work: true };
    bench.machine = bench.machine.with_fuel(shares);
    deliver(&mut bench, OTHER, 1, &calls(1, "ping"), 1, 0);
    bench.machine.end_block(false);
    let undo: Vec<Op> = (0..100).map(|number| Op::Undo { home: vat(9), number }).collect();
    let CommandResult::Delivered { next } = deliver(&mut bench, PEER, 1, &undo, 100, 0) else {
        panic!("it is its turn")
    };
    assert!((5..20).contains(&next), "{next}");
    assert_eq!(deliver(&mut bench, PEER, next, &undo[next as usize - 1..], 100, 0), CommandResult::Later { next });
}

#[test]
fn refusals_end_with_the_fuel_of_the_block() {
    let mut bench = refused(500);
    bench.machine = bench.machine.with_fuel(FuelShares { per_turn: 1_000, per_block: 10, host_work: false });
    bench.machine.end_block(false);
    bench.say(PEER, &call(ROOT, "go", vec![], None));
    assert_eq!(accounts(&mut bench).len(), 10);
    // Another sender is served before what is left takes the rest of the block.
    assert!(matches!(bench.say(OTHER, &call(ROOT, "other", vec![], None)), CommandResult::Delivered { .. }));
    assert!(accounts(&mut bench).len() <= 11);
}

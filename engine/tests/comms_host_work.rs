//! What senders cause beside their cranks is on their accounts: messages that go out, commands that bring more than is taken in, cranks that
//! are undone, and cranks that hold up everybody else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{Delivery, Value};
use quorate_engine::machine::{Command, CommandResult, CrankOutcome, Deliver, FuelShares, MESSAGE_FUEL};
use quorate_engine::wire::Op;

/// What a call of this vat burns.
const CALL: u64 = 20_000;
/// What a call of `long` burns: three turns.
const LONG: u64 = 3 * FuelShares::DEFAULT.per_turn;

fn fuel(delivery: &Delivery) -> u64 {
    if called(delivery).is_some_and(|(name, ..)| name == "long") { LONG } else { CALL }
}

fn script(delivery: &Delivery) -> CrankOutcome {
    match called(delivery) {
        Some(("fail", ..)) => CrankOutcome::RolledBack { limit: quorate_engine::machine::LimitKind::Recursion },
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &Value::Null, vec![])]),
        _ => done(vec![]),
    }
}

fn bench() -> Bench {
    let mut bench = Bench::over(Scripted::new(script).with_fuel(fuel)).install();
    bench.machine = bench.machine.with_fuel(FuelShares::DEFAULT);
    bench.machine.end_block(false);
    bench
}

fn calls(method: &str, count: u64, answered: bool) -> Vec<Op> {
    (1..=count).map(|result| call(ROOT, method, vec![], answered.then_some(result))).collect()
}

fn deliver(bench: &mut Bench, from: u8, begin: u64, ops: &[Op], end: u64) -> CommandResult {
    let messages = ops.iter().map(Op::encode).collect();
    bench.apply(Command::Deliver(Deliver { from: vat(from), begin, messages, end, ack: 0 }))
}

fn count(bench: &Bench, method: &str) -> u64 {
    let deliveries = bench.deliveries();
    deliveries.iter().filter(|delivery| called(delivery).is_some_and(|(name, ..)| name == method)).count() as u64
}

/// How much more a peer has on its account than the other one, which has one call there.
fn ahead(bench: &Bench, peer: u8) -> u64 {
    let peers = bench.machine.summary().peers;
    peers.into_iter().find(|summary| summary.vat == vat(peer)).unwrap().fuel_ahead
}

/// A vat in which the honest one has called once, and the other one has these on its account.
fn after(ops: &[Op], end: u64) -> Bench {
    let mut bench = bench();
    deliver(&mut bench, OTHER, 1, &calls("ping", 1, true), 1);
    bench.machine.end_block(false);
    deliver(&mut bench, PEER, 1, ops, end);
    bench.machine.end_block(false);
    bench
}

/// The fuel of these on an account, taken in whole.
fn account(ops: &[Op]) -> u64 {
    let bench = after(ops, ops.len() as u64);
    assert_eq!(bench.machine.next_inbound(&vat(PEER)).0, ops.len() as u64 + 1, "all are in");
    // Who comes in begins where the other one is.
    ahead(&bench, PEER)
}

/// Four thousand small calls with answers, of which each burns next to nothing.
#[test]
fn a_crowd_of_small_calls_is_cut_into_turns_between_which_others_are_served() {
    let mut bench = bench();
    deliver(&mut bench, OTHER, 1, &calls("ping", 1, true), 1);
    bench.machine.end_block(false);
    let crowd = calls("crowd", 4_000, true);
    let mut next = 1;
    for round in 2..=20 {
        let before = count(&bench, "crowd");
        if let CommandResult::Delivered { next: reached } =
            deliver(&mut bench, PEER, next, &crowd[next as usize - 1..], 4_000)
        {
            next = reached;
        }
        let done = count(&bench, "crowd") - before;
        let most = FuelShares::DEFAULT.per_turn / (2 * MESSAGE_FUEL);
        assert!(done <= most, "{done} calls in one turn, which has room for {most}");
        assert!(bench.machine.end_block(false).host_fuel >= done * 2 * MESSAGE_FUEL, "a message and an answer each");
        let ping = call(ROOT, "ping", vec![], Some(round));
        assert_eq!(
            deliver(&mut bench, OTHER, round, &[ping], round),
            CommandResult::Delivered { next: round + 1 },
            "the other one is served between any two turns"
        );
        bench.machine.end_block(false);
    }
    assert!((100..500).contains(&count(&bench, "crowd")), "{} calls beside 20", count(&bench, "crowd"));
    // As time passes it gets on, a turn's part at a time.
    let before = count(&bench, "crowd");
    for round in 21..=60 {
        bench.apply(Command::Tick { now_ms: round * 50 });
        if let CommandResult::Delivered { next: reached } =
            deliver(&mut bench, PEER, next, &crowd[next as usize - 1..], 4_000)
        {
            next = reached;
        }
        deliver(&mut bench, OTHER, round, &[call(ROOT, "ping", vec![], Some(round))], round);
        bench.machine.end_block(false);
    }
    assert!(count(&bench, "crowd") > before + 1_000, "{before}, then {}", count(&bench, "crowd"));
}

#[test]
fn answers_are_on_the_account_of_who_asked() {
    let (with, without) = (account(&calls("note", 50, true)), account(&calls("note", 50, false)));
    assert!(with >= without + 50 * MESSAGE_FUEL, "{with} with answers, {without} without");
    assert!(without >= 50 * (MESSAGE_FUEL + CALL), "{without}");
}

#[test]
fn a_block_ends_by_the_host_s_work_too_also_of_one_that_is_alone() {
    let mut bench = bench();
    let crowd = calls("crowd", 4_000, true);
    let CommandResult::Delivered { next } = deliver(&mut bench, PEER, 1, &crowd, 4_000) else { panic!("it is alone") };
    let most = FuelShares::DEFAULT.per_block / (2 * MESSAGE_FUEL + CALL) + 1;
    assert!(next - 1 <= most && next > most / 2, "{next} in a block with room for {most}");
}

#[test]
fn what_a_command_brings_and_is_not_taken_in_costs_something_once_any_of_it_is() {
    let one = calls("long", 1, false);
    let (alone, with_more) = (ahead(&after(&one, 1), PEER), ahead(&after(&one, 4_001), PEER));
    assert!(with_more > alone + 4_000 * 1_000, "{alone}, with 4,000 digests {with_more}");
    let many = [one, calls("note", 4_000, false)].concat();
    let mut bench = after(&many, 4_001);
    assert_eq!(count(&bench, "note"), 0, "it has no turn any more");
    let carried = ahead(&bench, PEER);
    assert!(carried > with_more, "{with_more}, with 4,000 messages {carried}");
    // Any member can have it ordered again and again.
    for _ in 0..10 {
        assert_eq!(deliver(&mut bench, PEER, 2, &many[1..], 4_001), CommandResult::Later { next: 2 });
        assert_eq!(deliver(&mut bench, PEER, 1, &many, 4_001), CommandResult::Later { next: 2 });
    }
    assert_eq!(ahead(&bench, PEER), carried, "what is turned away costs nothing");
}

#[test]
fn a_crank_that_is_undone_costs_what_it_takes_to_undo_it() {
    let (fails, calls) = (account(&calls("fail", 1, false)), account(&calls("note", 1, false)));
    assert!(fails > calls + FuelShares::DEFAULT.per_turn / 2, "{fails} against {calls}");
}

/// Others meet a long crank once in a while, however long it is: none can be cut.
#[test]
fn a_crank_longer_than_a_turn_costs_more_than_it_burns() {
    let long = account(&calls("long", 1, false));
    assert!(long >= LONG + 20 * FuelShares::DEFAULT.per_turn, "{long} for {LONG}");
    let mut bench = after(&calls("long", 3, false), 3);
    let mut second = None;
    for round in 1..=200 {
        bench.apply(Command::Tick { now_ms: round * 50 });
        deliver(&mut bench, OTHER, round + 1, &[call(ROOT, "ping", vec![], Some(round + 1))], round + 1);
        let next = count(&bench, "long") + 1;
        deliver(&mut bench, PEER, next, &calls("long", 4 - next.min(3), false), 3);
        bench.machine.end_block(false);
        if count(&bench, "long") == 2 {
            second = second.or(Some(round));
        }
    }
    let second = second.expect("it waits for some seconds, and not for ever");
    assert!(second > 20 && count(&bench, "ping") == 201, "after {second} calls of the other one");
}

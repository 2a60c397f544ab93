//! What the machine has a guest do of its own accord: timers that are due, and collections of garbage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::{Bench, ME, PEER, ROOT};
use comms_support::{Scripted, array, called, done, install, out_of_fuel, send, text, vat};
use quorate_engine::abi::{Delivery, Output, Slot, Value};
use quorate_engine::machine::{Command, CommandResult, CrankKind, LimitKind, MAX_WAKES, Machine};
use quorate_engine::wire::{Op, Side, WireRef, WireSlot};
use std::collections::BTreeSet;

fn tick(bench: &mut Bench, now_ms: u64) {
    assert_eq!(bench.apply(Command::Tick { now_ms }), CommandResult::Ticked);
}

/// The numbers of the timers that fired, with what failed before, in order.
fn wakes(deliveries: &[Delivery]) -> Vec<(u64, Option<String>)> {
    let wakes = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Wake { timer, failure } => Some((*timer, failure.clone())),
        _ => None,
    });
    wakes.collect()
}

/// A guest that sets these timers when it starts, and more when one fires.
fn setter(timers: Vec<(u64, u64)>, mut wake: impl FnMut(u64) -> Vec<Output> + Send + 'static) -> Bench {
    Bench::installed(move |delivery| {
        done(match delivery {
            Delivery::Start { .. } => {
                timers.iter().map(|(timer, at_ms)| Output::SetTimer { timer: *timer, at_ms: *at_ms }).collect()
            }
            Delivery::Wake { timer, .. } => wake(*timer),
            _ => vec![],
        })
    })
}

#[test]
fn timers_fire_in_order_at_the_first_tick_that_is_late_enough() {
    let mut bench = setter(vec![(1, 300), (2, 100), (3, 200), (4, 200), (5, 150)], |timer| match timer {
        2 => vec![Output::CancelTimer { timer: 5 }, Output::SetTimer { timer: 6, at_ms: 400 }],
        _ => vec![],
    });
    tick(&mut bench, 99);
    assert_eq!(wakes(&bench.deliveries()), []);
    tick(&mut bench, 250);
    // Time does not go back.
    tick(&mut bench, 10);
    tick(&mut bench, 299);
    let fired: Vec<u64> = wakes(&bench.deliveries()).iter().map(|(timer, _)| *timer).collect();
    assert_eq!(fired, [2, 3, 4]);
    assert_eq!(bench.machine.summary().timers, 2);
    tick(&mut bench, 1_000);
    let fired: Vec<u64> = wakes(&bench.deliveries()).iter().map(|(timer, _)| *timer).collect();
    assert_eq!(fired, [2, 3, 4, 1, 6]);
    assert_eq!(bench.machine.summary().timers, 0);
}

#[test]
fn one_command_fires_a_bounded_number_of_timers_and_the_next_the_rest() {
    let count = MAX_WAKES as u64 + 10;
    let mut bench = setter((0..count).map(|timer| (timer, 5)).collect(), |_| vec![]);
    tick(&mut bench, 5);
    assert_eq!(wakes(&bench.deliveries()).len(), MAX_WAKES);
    bench.apply(Command::Grant { to: vat(9), expires_ms: None });
    assert_eq!(wakes(&bench.deliveries()).len(), MAX_WAKES + 10);
}

#[test]
fn a_timer_whose_work_is_rolled_back_is_told_so_and_not_tried_again() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { .. } => done((1..=3).map(|timer| Output::SetTimer { timer, at_ms: 10 }).collect()),
        Delivery::Wake { timer: 2, failure: None } | Delivery::Wake { timer: 3, .. } => out_of_fuel(),
        _ => done(vec![]),
    });
    tick(&mut bench, 10);
    tick(&mut bench, 20);
    let failure = Some("what the timer set off was rolled back: it exceeded the fuel limit".to_owned());
    let expected = [(1, None), (2, None), (2, failure.clone()), (3, None), (3, failure)];
    assert_eq!(wakes(&bench.deliveries()), expected);
    let cranks = bench.machine.end_block(false).cranks;
    let timers = cranks.iter().filter(|crank| crank.what == CrankKind::Timer);
    let rolled_back: Vec<_> = timers.map(|crank| crank.rolled_back).collect();
    assert_eq!(rolled_back, [None, Some(LimitKind::Fuel), None, Some(LimitKind::Fuel), Some(LimitKind::Fuel)]);
}

#[test]
fn timers_are_in_checkpoints_and_end_with_the_vat() {
    let mut bench = setter(vec![(1, 10), (2, 20)], |timer| match timer {
        1 => vec![Output::Exit { value: array(vec![], vec![]) }],
        _ => vec![],
    });
    bench.machine.end_block(false);
    let checkpoint = bench.machine.checkpoint().unwrap();
    let make = |state: &comms_support::Transcript| Ok(Scripted::resumed(state, |_| done(vec![])));
    let mut restored = Machine::restore_with(vat(ME), &checkpoint.manifest, make).unwrap();
    assert_eq!(restored.checkpoint().unwrap().root, checkpoint.root);
    assert_eq!(restored.summary().timers, 2);
    let cranks = |machine: &mut Machine<Scripted>, now_ms| {
        machine.apply(Command::Tick { now_ms }).unwrap();
        machine.end_block(false).cranks.len()
    };
    assert_eq!(cranks(&mut restored, 10), 1);
    assert_eq!(cranks(&mut bench.machine, 10), 1);
    assert_eq!(bench.machine.summary().timers, 0, "the vat has exited");
    assert_eq!((cranks(&mut restored, 20), cranks(&mut bench.machine, 20)), (1, 0));
    bench.machine.checkpoint().unwrap();
}

fn collections(bench: &Bench) -> usize {
    bench.deliveries().iter().filter(|delivery| matches!(delivery, Delivery::Collect)).count()
}

/// A call of the root that names `count` new objects of the peer.
fn give(next: &mut u64, count: u64) -> Op {
    let refs: Vec<WireSlot> = (*next..*next + count).map(|id| WireRef::object(Side::Sender, id).into()).collect();
    *next += count;
    let items = (0..count as u32).map(Value::Slot).collect();
    Op::Send {
        target: ROOT,
        method: quorate_engine::abi::Method::Call("take".to_owned()),
        args: quorate_engine::abi::CapData::new(&Value::Array(items), refs),
        result: None,
    }
}

#[test]
fn a_vat_collects_after_so_many_references_and_says_so_in_a_crank_of_its_own() {
    let mut bench = Bench::installed(|delivery| {
        done(match delivery {
            Delivery::Collect => vec![Output::Drop { slots: vec![Slot::HostObject(3)] }],
            _ => vec![],
        })
    });
    let mut next = 1;
    for _ in 0..25 {
        let op = give(&mut next, 10);
        bench.say(PEER, &op);
    }
    // Two roots came with the arguments of the start.
    assert_eq!(collections(&bench), 0, "252 references");
    let op = give(&mut next, 10);
    bench.say(PEER, &op);
    assert_eq!(collections(&bench), 1, "262 references");
    let cranks = bench.machine.end_block(false).cranks;
    let last = cranks.last().unwrap();
    assert_eq!((last.what, last.from), (CrankKind::Collect, None), "at the end of a command, on nobody's account");
    let op = give(&mut next, 1);
    bench.say(PEER, &op);
    assert_eq!(collections(&bench), 1);
}

#[test]
fn a_vat_collects_after_so_many_deliveries_if_it_holds_anything_of_others() {
    let mut bench = Bench::installed(|_| done(vec![]));
    // One was the start.
    for call in 0..999 {
        assert_eq!(collections(&bench), 0, "call {call}");
        bench.say(PEER, &give(&mut 1, 0));
    }
    assert_eq!(collections(&bench), 1);
}

#[test]
fn a_collection_that_had_more_to_say_is_followed_by_another_one() {
    let mut left: BTreeSet<u64> = (1..=40_000).collect();
    let mut bench = Bench::installed(move |delivery| {
        done(match delivery {
            Delivery::Collect => {
                let slots: Vec<u64> = left.iter().copied().take(quorate_engine::abi::MAX_DROPS).collect();
                slots.iter().for_each(|slot| assert!(left.remove(slot)));
                vec![Output::Drop { slots: slots.into_iter().map(Slot::HostObject).collect() }]
            }
            _ => vec![],
        })
    });
    let mut next = 1;
    let op = give(&mut next, 300);
    bench.say(PEER, &op);
    assert_eq!(collections(&bench), 1);
    for _ in 0..5 {
        bench.say(PEER, &give(&mut 1, 0));
    }
    assert_eq!(collections(&bench), 3, "16,384, 16,384 and the rest");
}

#[test]
fn a_collection_that_is_rolled_back_is_an_error_in_the_log_and_not_repeated_at_once() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Collect => out_of_fuel(),
        _ => done(vec![]),
    });
    let mut next = 1;
    let op = give(&mut next, 300);
    bench.say(PEER, &op);
    bench.say(PEER, &give(&mut 1, 0));
    assert_eq!(collections(&bench), 1);
    let logs = bench.machine.end_block(false).logs;
    assert!(logs.iter().any(|line| line.text == "a collection of garbage exceeded the fuel limit"), "{logs:?}");
}

#[test]
fn a_vat_without_code_or_that_has_exited_does_nothing_of_its_own_accord() {
    let mut bench = Bench::new(|delivery| match called(delivery) {
        Some(("take", ..)) => done(vec![Output::Exit { value: array(vec![], vec![]) }]),
        _ => done(vec![send(Slot::HostObject(1), "hello", array(vec![text("x")], vec![]), None)]),
    });
    tick(&mut bench, 5);
    assert_eq!(bench.deliveries().len(), 0);
    bench.apply(install(vec![("peer", comms_support::root_of(vat(PEER)))], vec![vat(PEER)]));
    let mut next = 1;
    let op = give(&mut next, 300);
    bench.say(PEER, &op);
    assert_eq!(collections(&bench), 0);
}

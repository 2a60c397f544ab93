//! Calls, answers, pipelining and refusals between two vats.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::*;
use quorate_engine::abi::{Delivery, Output, Resolution, Slot, Value};
use quorate_engine::machine::{Command, CommandResult};
use std::sync::{Arc, Mutex};

type Seen = Arc<Mutex<Vec<Delivery>>>;

const A: u8 = 1;
const B: u8 = 2;

/// A vat that runs `start` with the references in its argv, and then `script`.
fn vat_with(
    start: impl Fn(&[Slot]) -> Vec<Output> + Send + 'static,
    mut script: impl FnMut(&Delivery) -> Vec<Output> + Send + 'static,
) -> (Scripted, Seen) {
    let guest = Scripted::new(move |delivery| {
        done(match delivery {
            Delivery::Start { argv, .. } => start(&argv.slots),
            other => script(other),
        })
    });
    let seen = guest.seen();
    (guest, seen)
}

/// A vat that answers every call with its method's name.
fn echo() -> (Scripted, Seen) {
    vat_with(
        |_| vec![],
        |delivery| match called(delivery) {
            Some((name, _, _, Some(result))) => vec![fulfil(result, &text(name), vec![])],
            _ => vec![],
        },
    )
}

fn settlements(seen: &Seen) -> Vec<(Slot, Resolution)> {
    let seen = seen.lock().unwrap();
    let all = seen.iter().filter_map(|delivery| match delivery {
        Delivery::Settle(settlements) => Some(settlements.clone()),
        _ => None,
    });
    all.flatten().collect()
}

fn rejection(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Rejected(data) => match data.value().unwrap() {
            Value::Error { name, message } if name == "VatError" => message,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn value(resolution: &Resolution) -> Value {
    match resolution {
        Resolution::Fulfilled(data) => data.value().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_answered_and_both_sides_forget_it() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (a, seen) = vat_with(|refs| vec![send(refs[0], "hello", array(vec![], vec![]), Some(1))], |_| vec![]);
        let (b, _) = echo();
        world.add(vat(A), a);
        world.add(vat(B), b);
        assert_eq!(world.apply(vat(B), install(vec![], vec![vat(A)])), CommandResult::Installed);
        assert_eq!(world.apply(vat(A), install(vec![("b", root_of(vat(B)))], vec![])), CommandResult::Installed);
        world.settle();
        let settled = settlements(&seen);
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].0, Slot::VatPromise(1));
        assert_eq!(value(&settled[0].1), text("hello"));
        world.assert_quiet();
    }
}

#[test]
fn a_call_without_a_grant_is_rejected() {
    let mut world = World::new(1);
    let (a, seen) = vat_with(|refs| vec![send(refs[0], "hello", array(vec![], vec![]), Some(1))], |_| vec![]);
    let (b, b_seen) = echo();
    world.add(vat(A), a);
    world.add(vat(B), b);
    world.apply(vat(B), install(vec![], vec![]));
    world.apply(vat(A), install(vec![("b", root_of(vat(B)))], vec![]));
    world.settle();
    let said = rejection(&settlements(&seen)[0].1);
    assert!(said.starts_with("no such object, or it is not granted to the caller"), "{said}");
    assert_eq!(b_seen.lock().unwrap().len(), 1, "only the start");
    assert_eq!(world.apply(vat(B), Command::Grant { to: vat(A), expires_ms: None }), CommandResult::Granted);
    world.assert_quiet();
}

#[test]
fn a_chain_of_calls_on_results_needs_no_round_trip_between_them() {
    let mut world = World::new(2);
    let (a, seen) = vat_with(
        |refs| {
            vec![
                send(refs[0], "one", array(vec![], vec![]), Some(1)),
                send(Slot::VatPromise(1), "two", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), Some(2)),
                send(Slot::VatPromise(2), "three", array(vec![], vec![]), Some(3)),
            ]
        },
        |_| vec![],
    );
    let (b, b_seen) = echo();
    world.add(vat(A), a);
    world.add(vat(B), b);
    world.apply(vat(B), install(vec![], vec![vat(A)]));
    world.apply(vat(A), install(vec![("b", root_of(vat(B)))], vec![]));
    assert_eq!(world.machines[&vat(A)].outbox()[0].messages.len(), 3, "all left at once");
    world.settle();
    let calls: Vec<_> = b_seen.lock().unwrap().iter().filter_map(|delivery| Some(*called(delivery)?.1)).collect();
    assert_eq!(calls, [Slot::VatObject(0), Slot::HostPromise(1), Slot::HostPromise(2)]);
    let answers: Vec<_> = settlements(&seen).iter().map(|(_, resolution)| value(resolution)).collect();
    assert_eq!(answers, [text("one"), text("two"), text("three")]);
    world.assert_quiet();
}

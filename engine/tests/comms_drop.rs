//! Dropping a peer for good: nothing of it is left, whoever waited for it hears of that, and nothing makes it a peer again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{Slot, Value};
use quorate_engine::comms::DROPPED;
use quorate_engine::machine::{Command, CommandResult, Machine};
use quorate_engine::wire::{Op, WireSlot};

/// Gives its object 5 to whoever asks, and calls the other peer when it is told to.
fn bank() -> Bench {
    let mut other = None;
    let mut bench = Bench::installed(move |delivery| {
        if let quorate_engine::abi::Delivery::Start { argv, .. } = delivery {
            other = Some(argv.slots[1]);
        }
        match called(delivery) {
            Some(("give", _, _, Some(result))) => done(vec![fulfil(result, &Value::Slot(0), vec![Slot::VatObject(5)])]),
            Some(("call", ..)) => done(vec![send(other.unwrap(), "ask", array(vec![], vec![]), Some(9))]),
            _ => done(vec![]),
        }
    });
    for peer in [PEER, OTHER] {
        bench.say(peer, &call(ROOT, "give", vec![], Some(1)));
    }
    bench
}

fn drop_peer(bench: &mut Bench, peer: u8) -> CommandResult {
    bench.apply(Command::DropPeer { peer: vat(peer) })
}

#[track_caller]
fn refused(result: CommandResult, wanted: &str) {
    let CommandResult::Refused { message } = result else { panic!("{result:?}") };
    assert!(message.contains(wanted), "{message}");
}

#[test]
fn nothing_is_left_of_a_peer_that_is_dropped_and_it_never_comes_back() {
    let mut bench = bank();
    bench.say(PEER, &call(ROOT, "call", vec![], None));
    bench.say(PEER, &Op::Deposit { to: vat(OTHER), number: 1, object: 1 });
    let before = bench.machine.comms().kept_bytes();
    assert_eq!(drop_peer(&mut bench, OTHER), CommandResult::Dropped);
    assert!(bench.machine.comms().peer(&vat(OTHER)).is_none());
    assert!(bench.machine.comms().kept_bytes() < before);
    let heard: Vec<_> = bench.deliveries().last().map(told).unwrap();
    assert_eq!(heard.len(), 1, "whoever waits for its answer hears of it at once");
    assert_eq!(heard[0].0, Slot::VatPromise(9));

    // Neither its messages, whatever their numbers, nor a grant, nor others that speak of it make it a peer.
    refused(bench.say(OTHER, &call(ROOT, "give", vec![], Some(2))), DROPPED);
    refused(bench.apply(Command::Grant { to: vat(OTHER), expires_ms: None }), DROPPED);
    bench.say(PEER, &Op::Deposit { to: vat(OTHER), number: 2, object: 1 });
    assert_eq!(bench.outbox(PEER).last(), Some(&Op::Declined { home: vat(ME), number: 2 }));
    bench.say(PEER, &call_with(ROOT, "take", vec![WireSlot::Gift { home: vat(OTHER), number: 1 }], None));
    assert_eq!(bench.outbox(PEER).last(), Some(&Op::Declined { home: vat(OTHER), number: 1 }));
    assert!(bench.machine.comms().peer(&vat(OTHER)).is_none());
    // The guest still has its object: calls of it are rejected.
    bench.say(PEER, &call(ROOT, "call", vec![], None));
    assert!(bench.machine.comms().peer(&vat(OTHER)).is_none());

    refused(drop_peer(&mut bench, OTHER), "dropped before");
    refused(drop_peer(&mut bench, 4), "no peer");
}

#[test]
fn an_object_that_only_the_dropped_peer_held_is_freed() {
    let mut bench = bank();
    assert_eq!(drop_peer(&mut bench, OTHER), CommandResult::Dropped);
    assert!(bench.machine.comms().freed().is_empty(), "the other peer holds it, too");
    assert_eq!(drop_peer(&mut bench, PEER), CommandResult::Dropped);
    assert!(bench.machine.comms().held_objects().next().is_none());
}

/// What the dropped vat gave and perhaps never deposited, and what was told of it in other peers' tables, goes as well.
#[test]
fn gifts_of_and_by_a_dropped_peer_come_to_an_end() {
    let mut bench = bank();
    bench.say(OTHER, &call_with(ROOT, "take", vec![WireSlot::Gift { home: vat(4), number: 1 }], None));
    bench.say(PEER, &call_with(ROOT, "take", vec![WireSlot::Gift { home: vat(OTHER), number: 1 }], None));
    let open = |bench: &Bench| bench.machine.comms().open_promises().1;
    assert_eq!(open(&bench), 2, "both are being withdrawn");
    assert_eq!(drop_peer(&mut bench, OTHER), CommandResult::Dropped);
    assert_eq!(open(&bench), 0);
}

#[test]
fn a_checkpoint_knows_who_was_dropped_and_is_as_ever_where_nobody_was() {
    let mut bench = bank();
    bench.machine.end_block(false);
    let tables = |bench: &mut Bench| bench.machine.checkpoint().unwrap();
    let restore = |manifest: &[u8]| {
        Machine::<Scripted>::restore_with(vat(ME), manifest, |transcript| Ok(Scripted::resumed(transcript, quiet)))
    };
    let plain = tables(&mut bench);
    assert!(!restore(&plain.manifest).unwrap().comms().is_dropped(&vat(OTHER)));
    assert_eq!(drop_peer(&mut bench, OTHER), CommandResult::Dropped);
    bench.machine.end_block(false);
    let dropped = tables(&mut bench);
    let mut restored = restore(&dropped.manifest).unwrap();
    assert!(restored.comms().is_dropped(&vat(OTHER)));
    assert_eq!(restored.checkpoint().unwrap().root, dropped.root);
}

//! What a peer makes a vat keep is bounded by its share of the vat's memory, and leaves room for others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use quorate_engine::abi::{CapData, Delivery, Resolution, Slot, Value};
use quorate_engine::machine::{Command, CommandResult, CrankOutcome, Deliver, Machine};
use quorate_engine::wire::{MAX_SLOTS, Op, WireRef, WireResolution};

const MEMORY: u64 = 16 << 20;
/// What all peers may make the vat keep.
const POOL: u64 = MEMORY / 2;
const NO_ROOM: &str = "has no room for more";

fn script(delivery: &Delivery) -> CrankOutcome {
    match called(delivery) {
        Some(("answer", _, _, Some(result))) => done(vec![fulfil(result, &text("here"), vec![])]),
        Some(("page", _, _, Some(result))) => done(vec![fulfil(result, &text(&"x".repeat(2_000)), vec![])]),
        _ => done(vec![]),
    }
}

fn bench() -> Bench {
    Bench::over(Scripted::new(script).with_memory(MEMORY)).install()
}

fn kept(bench: &Bench, peer: u8) -> u64 {
    bench.machine.summary().peers.iter().find(|summary| summary.vat == vat(peer)).unwrap().kept_bytes
}

/// The refusals among what was said to a peer.
fn refusals(bench: &Bench, peer: u8) -> usize {
    let ops = bench.outbox(peer);
    let refused = |op: &&Op| matches!(op, Op::Settle { resolution: WireResolution::Rejected(_), .. });
    ops.iter().filter(refused).inspect(|op| assert!(rejected(op).1.contains(NO_ROOM), "{op:?}")).count()
}

/// Asks what is never answered until that is refused; gives how often it was not.
fn ask(bench: &mut Bench, peer: u8, first: u64) -> u64 {
    for id in first..first + 100_000 {
        assert!(matches!(bench.say(peer, &call(ROOT, "wait", vec![], Some(id))), CommandResult::Delivered { .. }));
        if bench.machine.end_block(false).queued.iter().any(|(to, ..)| *to == vat(peer)) {
            assert!(refusals(bench, peer) > 0);
            return id - first;
        }
    }
    panic!("nothing was refused");
}

/// Brings so many objects; whether the guest got them.
fn bring(bench: &mut Bench, peer: u8, first: u64, count: u64) -> bool {
    let before = bench.deliveries().len();
    let slots = (first..first + count).map(|id| WireRef::object(MINE, id)).collect();
    bench.say(peer, &call(ROOT, "take", slots, None));
    bench.deliveries().len() > before
}

#[test]
fn open_answers_take_half_of_what_there_is_and_leave_room_for_others() {
    let mut bench = bench();
    let first = ask(&mut bench, PEER, 1);
    let taken = kept(&bench, PEER);
    assert!((POOL * 9 / 20..=POOL * 11 / 20).contains(&taken), "{taken} of {POOL} bytes for {first} answers");
    // The next one gets half of the rest, and a third one some of that.
    let second = ask(&mut bench, OTHER, 1);
    assert!(second > first / 3, "{second} after {first}");
    bench.apply(Command::Grant { to: vat(4), expires_ms: None });
    assert!(ask(&mut bench, 4, 1) > first / 8);
    // Whoever is above its share is heard all the same, if it brings nothing.
    let before = bench.deliveries().len();
    bench.say(PEER, &call(ROOT, "go on", vec![], None));
    assert_eq!(bench.deliveries().len(), before + 1);
}

/// The results of calls as the guest names them, in their order.
fn results(bench: &Bench) -> Vec<Slot> {
    bench.deliveries().iter().filter_map(|delivery| called(delivery)?.3).collect()
}

#[test]
fn the_guest_may_forget_answers_of_a_peer_that_acknowledges_none_and_of_nobody_else() {
    let mut bench = bench();
    bench.say(OTHER, &call(ROOT, "page", vec![], Some(1)));
    for id in 1..=6_000 {
        bench.say(PEER, &call(ROOT, "page", vec![], Some(id)));
        bench.machine.end_block(false);
    }
    bench.say(OTHER, &call(ROOT, "go on", vec![], None));
    let (results, retired) = (results(&bench), bench.retired());
    assert!(retired.len() > 1_000, "{} of {}", retired.len(), results.len());
    assert!(!retired.contains(&results[0]), "another peer's");
    // The oldest first, each once.
    assert_eq!(retired, results[1..=retired.len()]);
    let kept = kept(&bench, PEER);
    assert!(kept <= POOL * 11 / 20, "{kept} of {POOL} bytes");
}

#[test]
fn small_answers_are_bounded_by_their_number() {
    let mut bench = Bench::over(Scripted::new(script).with_memory(1 << 30)).install();
    bench.say(OTHER, &call(ROOT, "answer", vec![], Some(1)));
    for id in 1..=66_000 {
        bench.say(PEER, &call(ROOT, "answer", vec![], Some(id)));
        bench.machine.end_block(false);
    }
    bench.say(OTHER, &call(ROOT, "go on", vec![], None));
    let (results, retired) = (results(&bench), bench.retired());
    assert_eq!(retired, results[1..=66_000 - 65_536]);
}

#[test]
fn what_is_acknowledged_at_once_is_forgotten_bit_by_bit() {
    let mut bench = bench();
    let ops: Vec<Op> = (1..=3_000).map(|id| call(ROOT, "answer", vec![], Some(id))).collect();
    for ops in ops.chunks(1_000) {
        bench.say_and_ack(PEER, ops, 0);
    }
    let end = bench.machine.comms().peer(&vat(PEER)).unwrap().outgoing().end();
    bench.say_and_ack(PEER, &[call(ROOT, "go on", vec![], None)], end);
    let mut retired = vec![bench.retired().len()];
    for _ in 0..4 {
        bench.say(OTHER, &call(ROOT, "go on", vec![], None));
        retired.push(bench.retired().len());
    }
    assert_eq!(retired, [0, 1_024, 2_048, 3_000, 3_000]);
}

#[test]
fn there_is_room_again_once_answers_are_acknowledged() {
    let mut open = Vec::new();
    let guest = Scripted::new(move |delivery| match called(delivery) {
        Some(("wait", _, _, Some(result))) => {
            open.push(result);
            done(vec![])
        }
        Some(("answer all", ..)) => done(open.drain(..).map(|result| fulfil(result, &text("here"), vec![])).collect()),
        _ => done(vec![]),
    });
    let mut bench = Bench::over(guest.with_memory(MEMORY)).install();
    let before = kept(&bench, PEER);
    let first = ask(&mut bench, PEER, 1);
    bench.say(PEER, &call(ROOT, "answer all", vec![], None));
    let settled = kept(&bench, PEER);
    assert!(settled > before, "until they are acknowledged");
    let said = bench.outbox(PEER).len() as u64;
    bench.say_and_ack(PEER, &[], said);
    assert_eq!(kept(&bench, PEER), before);
    assert_eq!(bench.machine.comms().kept_bytes(), before + kept(&bench, OTHER));
    bench.machine.end_block(false);
    assert_eq!(ask(&mut bench, PEER, first + 2), first);
}

#[test]
fn objects_are_refused_before_the_guest_has_them() {
    let mut bench = bench();
    let mut next = 1;
    while bring(&mut bench, PEER, next, 1_000) {
        next += 1_000;
        assert!(next < 1_000_000, "nothing was refused");
    }
    assert!(next > 1_000 && kept(&bench, PEER) < POOL * 3 / 5, "{next}, {} bytes", kept(&bench, PEER));
    assert!(bring(&mut bench, OTHER, 1, 1_000), "others have room");
    // What it has named already it may go on naming; what is dropped makes room.
    assert!(bring(&mut bench, PEER, 1, 1_000));
    bench.machine.forget(&vat(OTHER));
    assert_eq!(bench.machine.comms().kept_bytes(), kept(&bench, PEER));
}

#[test]
fn promises_and_answers_that_bring_too_much_are_refused() {
    let mut bench = Bench::over(
        Scripted::new(|delivery| match delivery {
            Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
            _ => done(vec![]),
        })
        .with_memory(MEMORY),
    )
    .install();
    let (mut id, mut delivered) = (0, bench.deliveries().len());
    loop {
        let slots = (0..1_000).map(|_| {
            id += 1;
            WireRef::promise(MINE, id)
        });
        bench.say(PEER, &call(ROOT, "take", slots.collect(), None));
        if bench.deliveries().len() == delivered {
            break;
        }
        delivered += 1;
        assert!(id < 100_000, "nothing was refused");
    }
    // An answer of that peer, which it was asked for, brings more.
    let answer = settle(WireRef::promise(YOURS, 1), vec![WireRef::object(MINE, 1)]);
    assert!(matches!(bench.say_and_ack(PEER, &[answer], 1), CommandResult::Delivered { .. }));
    assert!(told(bench.deliveries().last().unwrap())[0].1.contains(NO_ROOM));
}

#[test]
fn a_guest_hears_that_it_can_give_no_more() {
    let mut next = 1;
    let guest = Scripted::new(move |delivery| match called(delivery) {
        Some(("give", ..)) => {
            let objects = (0..1_000).map(|_| {
                next += 1;
                Slot::VatObject(next)
            });
            let args = array((0..1_000).map(Value::Slot).collect(), objects.collect());
            done(vec![send(Slot::HostObject(1), "take", args, Some(next))])
        }
        _ => done(vec![]),
    });
    let mut bench = Bench::over(guest.with_memory(MEMORY)).install();
    for round in 1.. {
        bench.say(OTHER, &call(ROOT, "give", vec![], None));
        if let Some(Delivery::Settle(settlements)) = bench.deliveries().last() {
            let Resolution::Rejected(reason) = &settlements[0].1 else { panic!("{settlements:?}") };
            assert!(format!("{:?}", reason.value()).contains("no room for more"), "{reason:?}");
            assert!(round > 10 && kept(&bench, PEER) < POOL * 3 / 5);
            return;
        }
        assert!(round < 1_000, "nothing was refused");
    }
}

#[test]
fn a_restored_vat_refuses_what_it_would_have_refused() {
    let mut bench = bench();
    let mut copies = Vec::new();
    for id in 1..=2_500 {
        bench.say(PEER, &call(ROOT, "wait", vec![], Some(id)));
    }
    bench.machine.end_block(false);
    let checkpoint = bench.machine.checkpoint().unwrap();
    for _ in 0..2 {
        let guest = |manifest: &Transcript| Ok(Scripted::resumed(manifest, script).with_memory(MEMORY));
        copies.push(Machine::restore_with(vat(ME), &checkpoint.manifest, guest).unwrap());
    }
    let mut refused = 0;
    for id in 2_501..=3_500 {
        let message = call(ROOT, "wait", vec![], Some(id)).encode();
        let deliver = Deliver { from: vat(PEER), begin: id, messages: vec![message], end: id, ack: 0 };
        bench.machine.apply(Command::Deliver(deliver.clone())).unwrap();
        copies[0].apply(Command::Deliver(deliver)).unwrap();
        refused += usize::from(!bench.machine.end_block(false).queued.is_empty());
        copies[0].end_block(false);
    }
    assert!((1..1_000).contains(&refused), "{refused}");
    let roots = [bench.machine.checkpoint().unwrap().root, copies[0].checkpoint().unwrap().root];
    assert_eq!(roots[0], roots[1]);
    assert_ne!(roots[0], copies[1].checkpoint().unwrap().root);
}

/// Little on the wire, much in the heap.
#[test]
fn a_message_that_would_build_too_much_is_refused_on_both_sides() {
    let bombs = [
        ("arrays", Value::Array(vec![Value::Array(vec![]); 100_000])),
        ("nested arrays", Value::Array(vec![Value::Array(vec![Value::Array(vec![])]); 50_000])),
        ("records", Value::Array(vec![Value::Record(vec![]); 60_000])),
        ("one record", Value::Record((0..60_000).map(|key| (format!("{key}"), Value::Null)).collect())),
        ("booleans", Value::Array(vec![Value::Bool(true); 200_000])),
        ("bytes", Value::Array(vec![Value::Bytes(vec![]); 40_000])),
        ("texts", Value::Array(vec![Value::String(String::new()); 100_000])),
        ("errors", Value::Array(vec![Value::error("", ""); 60_000])),
    ];
    for (name, bomb) in bombs {
        let args = CapData::data(&Value::Array(vec![bomb.clone()]));
        assert!(args.body.len() < 512 << 10, "{name}: {} bytes", args.body.len());
        // Of a peer that lies: it breaks its stream, and the guest hears of nothing.
        let mut bench = bench();
        let Op::Send { target, method, result, .. } = call(ROOT, "nothing", vec![], Some(1)) else { unreachable!() };
        let delivered = bench.deliveries().len();
        let result = bench.say(PEER, &Op::Send { target, method, args, result });
        assert!(
            matches!(&result, CommandResult::Refused { message } if message.contains("at most")),
            "{name}: {result:?}"
        );
        assert_eq!(bench.deliveries().len(), delivered, "{name}");
        // Of the own guest: its promise is rejected with what to do.
        let mut bench = Bench::installed(move |delivery| match delivery {
            Delivery::Start { argv, .. } => {
                done(vec![send(argv.slots[0], "m", array(vec![bomb.clone()], vec![]), Some(1))])
            }
            _ => done(vec![]),
        });
        assert!(bench.outbox(PEER).is_empty(), "{name}");
        let refusal = told(bench.deliveries().last().unwrap());
        assert!(refusal[0].1.contains("send it in parts"), "{name}: {refusal:?}");
        bench.machine.end_block(false);
    }
}

#[test]
fn what_messages_usually_hold_is_far_below_that() {
    let row = Value::Record(vec![
        ("name".into(), Value::String("some name or other".into())),
        ("balance".into(), Value::BigInt("1234567890".into())),
        ("open".into(), Value::Bool(true)),
    ]);
    let good = [
        Value::Array(vec![row; 4_000]),
        Value::Array((0..30_000).map(|number| Value::Number(f64::from(number))).collect()),
        Value::String("x".repeat(500_000)),
        Value::Bytes(vec![7; 500_000]),
        Value::Array((0..MAX_SLOTS as u32).map(Value::Slot).collect()),
    ];
    for value in good {
        let slots = if value.slot_bound() > 0 {
            (0..MAX_SLOTS as u64).map(|id| WireRef::object(MINE, id + 1)).collect()
        } else {
            vec![]
        };
        let slots: Vec<_> = slots.into_iter().map(quorate_engine::wire::WireSlot::from).collect();
        let args = CapData::new(&Value::Array(vec![value]), slots);
        let Op::Send { target, method, result, .. } = call(ROOT, "m", vec![], None) else { unreachable!() };
        let mut bench = bench();
        bench.say(PEER, &Op::Send { target, method, args, result });
        assert!(bench.deliveries().iter().any(|delivery| called(delivery).is_some()));
    }
}

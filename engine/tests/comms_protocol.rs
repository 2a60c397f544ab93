//! One machine against a peer made by hand: rules, refusals and what breaks a stream.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::bench::*;
use comms_support::*;
use ed25519_dalek::{Signer, SigningKey};
use quorate_engine::Hash;
use quorate_engine::abi::{CapData, Delivery, Output, Resolution, Slot, Value};
use quorate_engine::comms::stream::message_digest;
use quorate_engine::comms::{OutStream, Slice, SliceError, StreamHead};
use quorate_engine::machine::{ArgValue, Command, CommandResult, CrankOutcome, Deliver};
use quorate_engine::machine::{CrankKind, LimitKind, MAX_FOLLOW_UPS};
use quorate_engine::wire::{Op, Side, WireRef, WireResolution, WireSlot, redeem_payload};

#[test]
fn a_peer_that_breaks_the_protocol_loses_its_stream_and_no_other() {
    let promise = WireRef::promise;
    let one_open = || vec![call(ROOT, "hold", vec![promise(MINE, 1)], Some(2))];
    let cases: Vec<(&str, Vec<Op>, &str)> = vec![
        ("own object", vec![call(WireRef::object(MINE, 4), "m", vec![], None)], "an object of the caller"),
        ("unknown target", vec![call(promise(YOURS, 9), "m", vec![], None)], "unknown or retired"),
        ("fresh target", vec![call(promise(MINE, 9), "m", vec![], None)], "unknown or retired"),
        (
            "own promise",
            [one_open(), vec![call(promise(MINE, 1), "m", vec![], None)]].concat(),
            "that the caller decides",
        ),
        ("unknown argument", vec![call(ROOT, "m", vec![promise(YOURS, 9)], None)], "unknown or retired"),
        ("result used before", [one_open(), vec![call(ROOT, "m", vec![], Some(2))]].concat(), "used before"),
        ("result out of order", vec![call(ROOT, "m", vec![promise(MINE, 5)], Some(4))], "used before"),
        ("result zero", vec![call(ROOT, "m", vec![], Some(0))], "used before"),
        ("result too great", vec![call(ROOT, "m", vec![], Some(u64::MAX))], "used before"),
        ("settles nothing", vec![settle(promise(MINE, 1), vec![])], "unknown or settled"),
        ("settles ours", [one_open(), vec![settle(promise(MINE, 2), vec![])]].concat(), "does not decide"),
        ("settles twice", [one_open(), vec![settle(promise(MINE, 1), vec![]); 2]].concat(), "unknown or settled"),
        (
            "names a settled one",
            [one_open(), vec![settle(promise(MINE, 1), vec![]), call(ROOT, "m", vec![promise(MINE, 1)], None)]]
                .concat(),
            "used before",
        ),
        (
            "unknown in a settlement",
            [one_open(), vec![settle(promise(MINE, 1), vec![promise(YOURS, 1)])]].concat(),
            "unknown or retired",
        ),
    ];
    for (name, ops, reason) in cases {
        let mut bench = Bench::installed(quiet);
        let good = ops.len() as u64 - 1;
        let result = bench.say_and_ack(PEER, &ops, 0);
        let CommandResult::Refused { message } = &result else { panic!("{name}: {result:?}") };
        assert!(message.contains(reason), "{name}: {message}");
        assert!(bench.broken(PEER).unwrap().contains(reason), "{name}");
        assert_eq!(bench.machine.next_inbound(&vat(PEER)).0, good + 1, "{name}: what came before is in");
        let again = Deliver {
            from: vat(PEER),
            begin: good + 1,
            messages: vec![call(ROOT, "m", vec![], None).encode()],
            end: good + 1,
            ack: 0,
        };
        assert_eq!(bench.apply(Command::Deliver(again)), result, "{name}: it stays broken");
        assert_eq!(bench.say(OTHER, &call(ROOT, "m", vec![], Some(1))), CommandResult::Delivered { next: 2 }, "{name}");
    }
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_breaks_the_stream() {
    let mut bench = Bench::installed(quiet);
    assert!(matches!(bench.say_and_ack(PEER, &[call(ROOT, "m", vec![], None)], 1), CommandResult::Refused { .. }));
    assert!(bench.broken(PEER).unwrap().contains("acknowledgement of message 1, but only 0"));
}

#[test]
fn numbers_decide_what_is_new() {
    let mut bench = Bench::new(quiet);
    let message = |name: &str| call(ROOT, name, vec![], None).encode();
    let deliver = |begin, names: &[&str]| {
        let messages: Vec<_> = names.iter().map(|name| message(name)).collect();
        Command::Deliver(Deliver { from: vat(PEER), begin, end: 9, messages, ack: 0 })
    };
    assert_eq!(bench.apply(deliver(1, &["a"])), CommandResult::NotReady);
    assert_eq!(bench.machine.next_inbound(&vat(PEER)).0, 1);
    assert_eq!(bench.apply(install(vec![], vec![vat(PEER)])), CommandResult::Installed);
    assert_eq!(bench.apply(deliver(2, &["b"])), CommandResult::Gap { next: 1 });
    assert_eq!(bench.apply(deliver(u64::MAX, &["b"])), CommandResult::Gap { next: 1 });
    assert!(matches!(bench.apply(deliver(0, &["a"])), CommandResult::Refused { .. }));
    assert_eq!(bench.apply(deliver(1, &["a", "b"])), CommandResult::Delivered { next: 3 });
    bench.machine.end_block(false);
    assert_eq!(bench.apply(deliver(1, &["x"])), CommandResult::Delivered { next: 3 }, "a repetition is skipped unread");
    let heads = bench.machine.end_block(false).heads;
    assert_eq!((heads.len(), heads[0].ack), (1, 2), "whoever repeats what is here must be told that it is");
    bench.machine.say_again(&vat(PEER));
    bench.machine.say_again(&vat(OTHER));
    assert_eq!(bench.machine.end_block(false).heads, heads, "on demand, to whom there is a stream");
    assert_eq!(bench.apply(deliver(2, &["b", "c"])), CommandResult::Delivered { next: 4 });
    let names: Vec<String> =
        bench.deliveries().iter().filter_map(|delivery| Some(called(delivery)?.0.to_owned())).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn an_acknowledgement_makes_no_head() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &Value::Null, vec![])]),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "m", vec![], Some(1)));
    let block = bench.machine.end_block(false);
    assert_eq!((block.heads.len(), block.heads[0].end, block.heads[0].ack, block.queued.len()), (1, 1, 1, 1));
    assert_eq!(bench.machine.end_block(true).heads, block.heads, "said again on demand while it is unacknowledged");
    bench.say_and_ack(PEER, &[], 1);
    let block = bench.machine.end_block(false);
    assert_eq!((block.heads, block.pruned), (vec![], vec![(vat(PEER), 1)]));
    assert!(bench.machine.end_block(true).heads.is_empty());
    assert_eq!(bench.machine.summary().promises, 0);
}

#[test]
fn a_settled_promise_answers_until_the_settlement_is_acknowledged() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("make", _, _, Some(result))) => done(vec![fulfil(result, &text("made"), vec![])]),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "make", vec![], Some(1)));
    let result = WireRef::promise(MINE, 1);
    bench.say(PEER, &call(result, "use", vec![result], Some(2)));
    let last = bench.deliveries().pop().unwrap();
    let (name, target, args, _) = called(&last).unwrap();
    assert_eq!((name, *target, &args.slots[..]), ("use", Slot::HostPromise(1), &[Slot::HostPromise(1)][..]));
    // The head that acknowledges ends at message 3, which names the promise and comes later than the acknowledgement.
    let early = Deliver { from: vat(PEER), begin: 3, messages: vec![], end: 3, ack: 1 };
    assert_eq!(bench.apply(Command::Deliver(early)), CommandResult::Delivered { next: 3 });
    assert_eq!(
        bench.say_and_ack(PEER, &[call(result, "again", vec![], None)], 1),
        CommandResult::Delivered { next: 4 }
    );
    bench.say_and_ack(PEER, &[call(result, "late", vec![], None)], 1);
    assert!(bench.broken(PEER).unwrap().contains("unknown or retired"));
}

#[test]
fn a_rolled_back_call_is_rejected_and_changes_nothing() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("burn", ..)) => out_of_fuel(),
        _ => done(vec![]),
    });
    bench.say(PEER, &call(ROOT, "burn", vec![WireRef::promise(MINE, 1)], Some(2)));
    let (promise, message) = rejected(&bench.outbox(PEER)[0]);
    assert_eq!(promise, WireRef::promise(YOURS, 2));
    assert_eq!(message, "the call was rolled back: it exceeded the fuel limit");
    // The guest never heard of either promise: neither settlement is told; a message names the rejected one as if new.
    bench.say(PEER, &call(WireRef::promise(MINE, 2), "pipelined", vec![], Some(3)));
    assert_eq!(rejected(&bench.outbox(PEER)[1]).1, message);
    let before = bench.deliveries().len();
    bench.say(PEER, &settle(WireRef::promise(MINE, 1), vec![]));
    assert_eq!(bench.deliveries().len(), before);
    bench.say(PEER, &call(ROOT, "look", vec![WireRef::promise(MINE, 2)], None));
    let after = bench.deliveries();
    assert_eq!(called(&after[before]).unwrap().2.slots, [Slot::HostPromise(2)]);
    assert_eq!(told(&after[before + 1]), [(Slot::HostPromise(2), message)]);
    let reports = bench.machine.end_block(false).cranks;
    let rolled: Vec<_> = reports.iter().filter_map(|report| report.rolled_back).collect();
    assert_eq!(rolled, [LimitKind::Fuel]);
    assert_eq!(reports.last().unwrap().what, CrankKind::Refusals);
    bench.say_and_ack(PEER, &[], 2);
    assert_eq!((bench.machine.summary().promises, bench.machine.summary().rolled_back), (0, 1));
}

#[test]
fn references_that_the_sender_does_not_hold_are_rejected() {
    let mut bench = Bench::installed(quiet);
    let starts = bench.deliveries().len();
    let stolen = WireRef::object(YOURS, 5);
    bench.say(PEER, &call(stolen, "m", vec![], Some(1)));
    // The promise beside the bad reference counts as known: its settlement must not break the stream.
    bench.say(PEER, &call(ROOT, "m", vec![stolen, WireRef::promise(MINE, 2)], Some(3)));
    assert_eq!(bench.say(PEER, &settle(WireRef::promise(MINE, 2), vec![])), CommandResult::Delivered { next: 4 });
    let answers: Vec<String> = bench.outbox(PEER).iter().map(|op| rejected(op).1).collect();
    assert!(answers[0].starts_with("no such object, or it is not granted to the caller"), "{answers:?}");
    assert_eq!(answers[1], "a reference to an object that the sender does not hold");
    assert_eq!(bench.deliveries().len(), starts);
}

#[test]
fn refused_results_are_rejected_wherever_they_are_named() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => {
            let args = array(vec![Value::Slot(0)], vec![Slot::HostObject(99)]);
            let both = array(vec![Value::Slot(0)], vec![argv.slots[0]]);
            done(vec![
                send(argv.slots[0], "take", args, Some(1)),
                // A refused result can be used at once: as a target, and as an argument.
                send(Slot::VatPromise(1), "more", array(vec![], vec![]), Some(2)),
                send(argv.slots[0], "home", both, Some(3)),
                send(argv.slots[0], "pass", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
            ])
        }
        _ => done(vec![]),
    });
    let refusal = "a reference that this vat does not hold".to_owned();
    let expected = [(Slot::VatPromise(1), refusal.clone()), (Slot::VatPromise(2), refusal.clone())];
    assert_eq!(told(&bench.deliveries()[1]), expected);
    let ops = bench.outbox(PEER);
    assert_eq!(ops.len(), 3);
    let Op::Send { args, result, .. } = &ops[0] else { panic!("{ops:?}") };
    assert_eq!(
        (&args.slots[..], *result),
        (&[ROOT.into()][..], Some(1)),
        "sent home, it is the root again; refusals used no id"
    );
    let Op::Send { args, .. } = &ops[1] else { panic!("{ops:?}") };
    let (named, message) = rejected(&ops[2]);
    assert_eq!((WireSlot::Known(named), message), (args.slots[0], refusal));
    assert_eq!(
        bench.say_and_ack(PEER, &[settle(WireRef::promise(YOURS, 1), vec![])], 3),
        CommandResult::Delivered { next: 2 }
    );
    assert_eq!(bench.machine.summary().promises, 0);
}

#[test]
fn a_promise_passed_to_a_third_vat_is_settled_there_and_called_through_the_guest() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![
            send(argv.slots[0], "ask", array(vec![], vec![]), Some(1)),
            send(argv.slots[1], "take", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
        ]),
        Delivery::Call { target: target @ Slot::VatPromise(1), args, .. } => {
            done(vec![send(*target, "forwarded", args.clone(), Some(2))])
        }
        _ => done(vec![]),
    });
    let passed = WireRef::promise(YOURS, 1);
    bench.say(OTHER, &call(passed, "through", vec![], Some(1)));
    assert!(matches!(&bench.outbox(PEER)[1], Op::Send { target, .. } if *target == WireRef::promise(MINE, 1)));
    bench.say(PEER, &settle(passed, vec![]));
    let ops = bench.outbox(OTHER);
    assert!(
        matches!(&ops[1], Op::Settle { promise, resolution: WireResolution::Fulfilled(_) } if *promise == WireRef::promise(MINE, 1))
    );
    assert_eq!(bench.say(OTHER, &call(passed, "crossed", vec![], None)), CommandResult::Delivered { next: 3 });
    assert_eq!(bench.say_and_ack(OTHER, &[], 2), CommandResult::Delivered { next: 3 });
    bench.say(OTHER, &call(passed, "late", vec![], None));
    assert!(bench.broken(OTHER).is_some() && bench.broken(PEER).is_none());
}

#[test]
fn a_broken_stream_rejects_what_its_peer_should_have_settled() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![
            send(argv.slots[0], "ask", array(vec![], vec![]), Some(1)),
            send(argv.slots[1], "take", array(vec![Value::Slot(0)], vec![Slot::VatPromise(1)]), None),
        ]),
        Delivery::Call { .. } => done(vec![send(Slot::HostObject(1), "more", array(vec![], vec![]), Some(9))]),
        _ => done(vec![]),
    });
    let nonsense = Deliver { from: vat(PEER), begin: 1, messages: vec![vec![2, 99]], end: 1, ack: 0 };
    assert!(matches!(bench.apply(Command::Deliver(nonsense)), CommandResult::Refused { .. }));
    let message = "the stream with the vat that decides this promise is broken";
    assert_eq!(told(bench.deliveries().last().unwrap()), [(Slot::VatPromise(1), message.to_owned())]);
    assert_eq!(rejected(&bench.outbox(OTHER)[1]), (WireRef::promise(MINE, 1), message.to_owned()));
    bench.say(OTHER, &call(ROOT, "m", vec![], None));
    let refused = (Slot::VatPromise(9), "the stream with that vat is broken".to_owned());
    assert_eq!(told(bench.deliveries().last().unwrap()), [refused]);
}

#[test]
fn oversized_messages_are_refused() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => {
            let big = array(vec![Value::Bytes(vec![0; 512 << 10])], vec![]);
            done(vec![send(argv.slots[0], "m", big, Some(1))])
        }
        Delivery::Call { result: Some(result), .. } => {
            done(vec![fulfil(*result, &Value::Bytes(vec![0; 512 << 10]), vec![])])
        }
        _ => done(vec![]),
    });
    assert!(told(&bench.deliveries()[1])[0].1.contains("at most 524288 are allowed"));
    bench.say(PEER, &call(ROOT, "m", vec![], Some(1)));
    assert!(rejected(&bench.outbox(PEER)[0]).1.contains("at most 524288 are allowed"));
}

/// A guest that answers each refusal with another send that is refused.
#[test]
fn stubborn_guests_cannot_hold_a_command_up() {
    let mut next = 0;
    let mut bench = Bench::installed(move |_| {
        next += 1;
        done(vec![send(Slot::VatPromise(u64::MAX - next), "m", array(vec![], vec![]), Some(next))])
    });
    assert_eq!(bench.deliveries().len(), 1 + MAX_FOLLOW_UPS);
    assert_eq!(bench.machine.summary().pending_refusals, 1);
    assert_eq!(bench.apply(Command::Tick { now_ms: 5 }), CommandResult::Ticked);
    assert_eq!(bench.deliveries().len(), 1 + 2 * MAX_FOLLOW_UPS, "it goes on with the next command");
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let mut starts = 0;
    let mut bench = Bench::new(move |delivery| match delivery {
        Delivery::Start { .. } => {
            starts += 1;
            match starts {
                1 => CrankOutcome::StartFailed { message: "main.js:1: no".into() },
                2 => out_of_fuel(),
                _ => done(vec![]),
            }
        }
        _ => done(vec![]),
    });
    let key = SigningKey::from_bytes(&[7; 32]);
    let signature = key.sign(&redeem_payload(&vat(PEER), &vat(ME), 0)).to_bytes().to_vec();
    let redeem = Some((key.verifying_key().to_bytes(), signature.clone()));
    let argv = vec![("peer", ArgValue::Reference { vat: vat(PEER), object: 0, redeem })];
    let failed = |message: &str| CommandResult::InstallFailed { message: message.into() };
    assert_eq!(bench.apply(install(argv.clone(), vec![vat(OTHER)])), failed("main.js:1: no"));
    assert_eq!(bench.apply(install(argv.clone(), vec![vat(OTHER)])), failed("the start exceeded the fuel limit"));
    let block = bench.machine.end_block(false);
    assert!(block.heads.is_empty() && block.queued.is_empty() && bench.machine.summary().peers.is_empty());
    assert_eq!(block.cranks.len(), 2);
    assert_eq!(bench.apply(install(argv.clone(), vec![])), CommandResult::Installed);
    let bearer = key.verifying_key().to_bytes();
    assert_eq!(bench.outbox(PEER), [Op::Redeem { object: 0, bearer, signature, result: None }]);
    assert!(matches!(bench.apply(install(argv, vec![])), CommandResult::Refused { .. }), "once only");
}

/// Its home's number of it is no name of it in a stream: names are counted for each peer.
#[test]
fn an_argument_that_refers_to_an_object_is_a_promise_of_it() {
    let (sender, home, other) = (vat(ME), vat(PEER), vat(OTHER));
    let key = SigningKey::from_bytes(&[7; 32]);
    let bearer = key.verifying_key().to_bytes();
    let give = |result, object| done(vec![fulfil(result, &Value::Slot(0), vec![Slot::VatObject(object)])]);
    let nothing = || array(vec![], vec![]);
    let object_in = |resolution: &Resolution| match resolution {
        Resolution::Fulfilled(data) => data.slots.first().copied().filter(|slot| matches!(slot, Slot::HostObject(_))),
        Resolution::Rejected(_) => None,
    };
    let at_home = Scripted::new(move |delivery| match called(delivery) {
        Some(("give 5", .., Some(result))) => give(result, 5),
        Some(("give 8", .., Some(result))) => give(result, 8),
        _ => done(vec![]),
    });
    let heard = at_home.seen();
    let mut world = World::new(1);
    world.add(home, at_home);
    world.add(
        other,
        Scripted::new(move |delivery| match delivery {
            Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "give 5", nothing(), Some(1))]),
            _ => done(vec![]),
        }),
    );
    world.add(
        sender,
        Scripted::new(move |delivery| match delivery {
            Delivery::Start { argv, .. } => done(vec![
                send(argv.slots[0], "give 8", nothing(), Some(1)),
                send(argv.slots[1], "early", nothing(), Some(2)),
            ]),
            Delivery::Settle(settled) => {
                let objects =
                    settled.iter().filter_map(|(promise, resolution)| Some((promise, object_in(resolution)?)));
                done(
                    objects
                        .map(|(promise, object)| {
                            let name = if matches!(promise, Slot::HostPromise(_)) { "late" } else { "to the other" };
                            send(object, name, nothing(), None)
                        })
                        .collect(),
                )
            }
            _ => done(vec![]),
        }),
    );
    assert_eq!(world.apply(home, install(vec![], vec![sender, other])), CommandResult::Installed);
    assert_eq!(world.apply(other, install(vec![("root", root_of(home))], vec![])), CommandResult::Installed);
    world.settle();
    let add = Command::AddBearer { key: bearer, object: 5, expires_ms: None, note: String::new() };
    assert!(!matches!(world.apply(home, add), CommandResult::Refused { .. }));
    let signature = key.sign(&redeem_payload(&home, &sender, 5)).to_bytes().to_vec();
    let argument = ArgValue::Reference { vat: home, object: 5, redeem: Some((bearer, signature)) };
    let argv = vec![("root", root_of(home)), ("object", argument)];
    assert_eq!(world.apply(sender, install(argv, vec![])), CommandResult::Installed);
    world.settle();
    let heard = heard.lock().unwrap();
    let mut calls: Vec<String> =
        heard.iter().filter_map(called).map(|(name, target, ..)| format!("{name}: {target:?}")).collect();
    calls.sort();
    let expected = [
        "early: VatObject(5)",
        "give 5: VatObject(0)",
        "give 8: VatObject(0)",
        "late: VatObject(5)",
        "to the other: VatObject(8)",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn installs_that_make_no_sense_are_refused() {
    let data = |value| ArgValue::Data(value);
    let short = ArgValue::Reference { vat: vat(PEER), object: 0, redeem: Some(([0; 32], vec![0; 63])) };
    let cases = [
        (vec![("me", root_of(vat(ME)))], vec![], "no stream to itself"),
        (vec![], vec![vat(ME)], "no stream to itself"),
        (vec![("a", data(Value::Null)), ("a", data(Value::Null))], vec![], "twice"),
        (vec![("a", data(Value::Slot(0)))], vec![], "names a capability"),
        (vec![("a", short)], vec![], "signature of 63"),
        (vec![("a", ArgValue::Reference { vat: vat(PEER), object: 5, redeem: None })], vec![], "without a secret"),
    ];
    for (argv, grants, reason) in cases {
        let mut bench = Bench::new(quiet);
        let result = bench.apply(install(argv, grants));
        assert!(matches!(&result, CommandResult::Refused { message } if message.contains(reason)), "{result:?}");
        assert!(bench.machine.summary().peers.is_empty() && bench.deliveries().is_empty());
    }
    let Command::Install(mut twice) = install(vec![("exit", data(Value::Null))], vec![]) else { unreachable!() };
    twice.endowments = vec!["exit".to_owned()];
    let mut bench = Bench::new(quiet);
    let result = bench.apply(Command::Install(twice));
    assert!(
        matches!(&result, CommandResult::Refused { message } if message.contains("both an argument")),
        "{result:?}"
    );
    let mut bench = Bench::installed(quiet);
    assert!(matches!(bench.apply(Command::Grant { to: vat(ME), expires_ms: None }), CommandResult::Refused { .. }));
    assert!(matches!(bench.say(ME, &call(ROOT, "m", vec![], None)), CommandResult::Refused { .. }));
}

#[test]
fn a_bearer_key_opens_the_root_to_whom_it_signed_for() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let bearer = key.verifying_key().to_bytes();
    let redeem = |target: u8, sender: u8, object: u64| Op::Redeem {
        object: 0,
        bearer,
        signature: key.sign(&redeem_payload(&vat(target), &vat(sender), object)).to_bytes().to_vec(),
        result: None,
    };
    let mut bench = Bench::new(|delivery| match called(delivery) {
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &Value::Null, vec![])]),
        _ => done(vec![]),
    });
    let Command::Install(mut full) = install(vec![], vec![]) else { unreachable!() };
    full.bearers = vec![bearer];
    bench.apply(Command::Install(full));
    let good = redeem(ME, PEER, 0);
    let other_key = Op::Redeem { object: 0, bearer: [1; 32], signature: vec![0; 64], result: None };
    for (index, bad) in
        [redeem(ME, OTHER, 0), redeem(OTHER, PEER, 0), redeem(ME, PEER, 1), other_key].iter().enumerate()
    {
        assert!(matches!(bench.say(PEER, bad), CommandResult::Delivered { .. }));
        bench.say(PEER, &call(ROOT, "m", vec![], Some(1 + index as u64)));
        assert!(rejected(bench.outbox(PEER).last().unwrap()).1.contains("not granted"));
    }
    bench.say(PEER, &good);
    bench.say(PEER, &call(ROOT, "m", vec![], Some(9)));
    assert!(matches!(bench.outbox(PEER).last(), Some(Op::Settle { resolution: WireResolution::Fulfilled(_), .. })));
    bench.say(OTHER, &good);
    bench.say(OTHER, &call(ROOT, "m", vec![], Some(1)));
    assert!(rejected(bench.outbox(OTHER).last().unwrap()).1.contains("not granted"), "it was signed for another");
}

#[test]
fn after_an_exit_nothing_is_delivered_and_callers_are_told() {
    let mut bench = Bench::installed(|delivery| match delivery {
        Delivery::Start { argv, .. } => done(vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]),
        delivery => match called(delivery) {
            Some(("exit", _, _, Some(result))) => done(vec![
                fulfil(result, &text("bye"), vec![]),
                Output::Exit { value: CapData::data(&Value::Number(3.0)) },
            ]),
            _ => done(vec![]),
        },
    });
    bench.say(OTHER, &call(ROOT, "hold", vec![], Some(1)));
    bench.say(OTHER, &call(ROOT, "exit", vec![], Some(2)));
    let seen = bench.deliveries().len();
    bench.say(OTHER, &call(ROOT, "again", vec![], Some(3)));
    bench.say_and_ack(PEER, &[settle(WireRef::promise(YOURS, 1), vec![])], 1);
    assert_eq!(bench.deliveries().len(), seen);
    let ops = bench.outbox(OTHER);
    assert!(matches!(ops[0], Op::Settle { resolution: WireResolution::Fulfilled(_), .. }), "said before the exit");
    for (op, id) in [(&ops[1], 1), (&ops[2], 3)] {
        assert_eq!(rejected(op), (WireRef::promise(YOURS, id), "vat has exited".to_owned()));
    }
    assert_eq!(bench.machine.end_block(false).exit.unwrap().value.value().unwrap(), Value::Number(3.0));
    bench.say_and_ack(OTHER, &[], 3);
    assert_eq!(bench.machine.summary().promises, 0);
    assert!(bench.machine.summary().exit.is_some());
}

#[test]
fn objects_have_one_name_per_peer_and_go_home_as_themselves() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some(("give", _, _, Some(result))) => {
            let slots = vec![Slot::VatObject(5), Slot::VatObject(5), Slot::VatObject(0)];
            done(vec![fulfil(result, &Value::Array((0..3).map(Value::Slot).collect()), slots)])
        }
        _ => done(vec![]),
    });
    for id in 1..=2 {
        bench.say(PEER, &call(ROOT, "give", vec![], Some(id)));
        let Some(Op::Settle { resolution, .. }) = bench.outbox(PEER).pop() else { panic!() };
        let object = |id| WireSlot::Known(WireRef::object(Side::Sender, id));
        assert_eq!(resolution.data().slots, [object(1), object(1), object(0)]);
    }
    let theirs = WireRef::object(MINE, 77);
    bench.say(PEER, &call(WireRef::object(YOURS, 1), "take", vec![WireRef::object(YOURS, 1), theirs, theirs], None));
    let last = bench.deliveries().pop().unwrap();
    let (_, target, args, _) = called(&last).unwrap();
    assert_eq!(*target, Slot::VatObject(5));
    assert_eq!(args.slots[0], Slot::VatObject(5));
    assert!(args.slots[1] == args.slots[2] && matches!(args.slots[1], Slot::HostObject(_)));
    bench.say(OTHER, &call(WireRef::object(YOURS, 1), "take", vec![], Some(1)));
    assert!(rejected(&bench.outbox(OTHER)[0]).1.contains("no such object"), "it was given to another peer");
}

#[test]
fn a_block_says_the_marks_of_its_messages_and_a_checkpoint_those_of_all_that_wait() {
    let mut bench = Bench::installed(|delivery| match called(delivery) {
        Some((_, _, _, Some(result))) => done(vec![fulfil(result, &Value::Null, vec![])]),
        _ => done(vec![]),
    });
    let calls =
        |ids: std::ops::RangeInclusive<u64>| -> Vec<Op> { ids.map(|id| call(ROOT, "m", vec![], Some(id))).collect() };
    let said = |heads: &[StreamHead]| -> Vec<(bool, u64, u64)> {
        heads.iter().map(|head| (head.is_mark, head.end, head.ack)).collect()
    };
    bench.say_and_ack(PEER, &calls(1..=600), 0);
    let block = bench.machine.end_block(false);
    // Each settles a call, and acknowledges what was taken in when it was said.
    assert_eq!(said(&block.heads), [(true, 256, 256), (true, 512, 512), (false, 600, 600)]);
    let mut stream = OutStream::new(&vat(ME), &vat(PEER));
    for (_, number, message) in block.queued {
        stream.push(message);
        for head in block.heads.iter().filter(|head| head.end == number) {
            assert_eq!(head.hash, stream.hash(), "{head:?}");
        }
    }
    assert_eq!(bench.machine.end_block(true).heads, block.heads);
    bench.say_and_ack(PEER, &calls(601..=601), 300);
    assert_eq!(said(&bench.machine.end_block(false).heads), [(false, 601, 601)]);
    assert_eq!(said(&bench.machine.end_block(true).heads), [(true, 512, 512), (false, 601, 601)]);
}

#[test]
fn only_the_true_messages_pass_as_a_slice() {
    let messages: Vec<Vec<u8>> = (1..=4u8).map(|byte| vec![byte; 3]).collect();
    let mut stream = OutStream::new(&vat(ME), &vat(PEER));
    let mut hashes = vec![stream.hash()];
    for message in &messages {
        stream.push(message.clone().into());
        hashes.push(stream.hash());
    }
    let head =
        StreamHead { peer: vat(PEER), end: 4, hash: stream.hash(), ack: 0, ack_hash: Hash([0; 32]), is_mark: false };
    let digests: Vec<Hash> = messages.iter().map(|message| message_digest(message)).collect();
    let verify = |begin: u64, messages: &[Vec<u8>], tail: &[Hash], received: usize| {
        Slice { begin, messages, tail, head: &head }.verify(received as u64, &hashes[received])
    };
    assert_eq!(verify(1, &messages, &[], 0), Ok(()));
    assert_eq!(verify(1, &messages[..2], &digests[2..], 0), Ok(()));
    assert_eq!(verify(1, &messages, &[], 3), Ok(()), "what is known is skipped");
    assert_eq!(verify(5, &[], &[], 4), Ok(()), "an acknowledgement alone");
    assert_eq!(verify(3, &messages[2..], &[], 1), Err(SliceError::Gap { begin: 3, next: 2 }));
    assert_eq!(verify(1, &messages[..3], &[], 0), Err(SliceError::Length));
    assert_eq!(verify(0, &messages, &[digests[0]], 0), Err(SliceError::Length));
    assert_eq!(verify(2, &messages, &[], 2), Err(SliceError::Length));
    let swapped = [messages[1].clone(), messages[0].clone()];
    assert_eq!(verify(1, &swapped, &digests[2..], 0), Err(SliceError::Hash));
    assert_eq!(verify(1, &messages[..2], &[digests[3], digests[2]], 0), Err(SliceError::Hash));
    let stale = StreamHead { end: 2, hash: hashes[2], ..head };
    let slice = Slice { begin: 1, messages: &messages[..2], tail: &[], head: &stale };
    assert_eq!(slice.verify(3, &hashes[3]), Err(SliceError::Stale { end: 2, received: 3 }));
    let other_pair = OutStream::new(&vat(PEER), &vat(ME));
    assert_ne!(other_pair.hash(), hashes[0]);
}

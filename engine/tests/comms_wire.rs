//! Bytes on the wire and in the log: golden files, round trips, and decoders that no bytes can hurt.
//!
//! After a deliberate change of an encoding: `QUORATE_GOLDEN=write cargo test -p quorate-engine --test comms_wire`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::*;
use proptest::prelude::*;
use quorate_engine::abi::value::Part;
use quorate_engine::abi::{CapData, Delivery, Method, Slot, Value};
use quorate_engine::comms::StreamHead;
use quorate_engine::machine::{ArgValue, Command, CommandResult, Deliver, Machine, Upgrade};
use quorate_engine::wire::{
    MAX_MESSAGE_BYTES, MAX_METHOD_BYTES, MAX_SLOTS, MAX_VALUES, Op, RefKind, Side, WireError, WireRef, WireResolution,
    WireSlot,
};
use quorate_engine::{Hash, VatId};
use std::fmt::Debug;

fn refs() -> CapData<WireSlot> {
    let value =
        Value::Array(vec![Value::Slot(0), Value::Slot(1), text("and"), Value::Slot(2), Value::Slot(3), Value::Slot(4)]);
    let slots = vec![
        WireRef::object(Side::Sender, 7).into(),
        WireRef::promise(Side::Receiver, 300).into(),
        WireSlot::Gift { home: vat(6), number: 258 },
        WireRef::promise(Side::Sender, 70_000).into(),
        WireSlot::Lent { home: vat(6), lender: vat(7), number: 3 },
    ];
    CapData::new(&value, slots)
}

fn ops() -> Vec<(&'static str, Op)> {
    let target = WireRef::object(Side::Receiver, 0);
    let no_args = CapData::data(&Value::Array(vec![]));
    let pipelined = WireRef::promise(Side::Sender, 5);
    vec![
        ("op-redeem", Op::Redeem { object: 0, bearer: [3; 32], signature: vec![9; 64], result: None }),
        ("op-call", Op::Send { target, method: Method::Call("deposit".into()), args: refs(), result: Some(6) }),
        ("op-apply", Op::Send { target: pipelined, method: Method::Apply, args: no_args.clone(), result: None }),
        ("op-get", Op::Send { target, method: Method::Get("name".into()), args: no_args, result: Some(1) }),
        ("op-fulfil", Op::Settle { promise: pipelined, resolution: WireResolution::Fulfilled(refs()) }),
        ("op-reject", Op::Settle { promise: pipelined, resolution: WireResolution::vat_error("no") }),
        ("op-deposit", Op::Deposit { to: vat(7), number: 300, object: 5 }),
        ("op-withdraw", Op::Withdraw { from: vat(7), number: 300, result: 6 }),
        ("op-release", Op::Release { promise: pipelined }),
        ("op-declined", Op::Declined { home: vat(6), number: 300 }),
        ("op-undo", Op::Undo { home: vat(6), number: 300 }),
        ("op-cancel", Op::Cancel { to: vat(7), number: Some(300) }),
        ("op-cancel-all", Op::Cancel { to: vat(7), number: None }),
        ("op-drop", Op::Drop(vec![(1, 1), (70_000, 300)])),
        ("op-abandon", Op::Abandon { result: 300 }),
        ("op-redeem-asked", Op::Redeem { object: 300, bearer: [3; 32], signature: vec![9; 64], result: Some(6) }),
        ("op-keep", Op::Keep { object: 300, key: [4; 32], through: [3; 32], result: 6 }),
        ("op-discard", Op::Discard { bearer: [4; 32], result: 6 }),
    ]
}

fn head() -> StreamHead {
    StreamHead { peer: vat(4), end: 258, hash: Hash([5; 32]), ack: u64::MAX, ack_hash: Hash([6; 32]), is_mark: false }
}

fn commands() -> Vec<(&'static str, Command)> {
    let reference = ArgValue::Reference { vat: vat(2), object: 0, redeem: Some(([4; 32], vec![6; 64])) };
    let argv = vec![("data", ArgValue::Data(Value::Number(1.5))), ("other", reference)];
    let Command::Install(mut full) = install(argv, vec![vat(3)]) else { unreachable!() };
    full.bundle.modules.insert("main.js".into(), "export default () => 1".into());
    full.endowments = vec!["exit".into()];
    full.bearers = vec![[8; 32]];
    let deliver =
        Deliver { from: vat(1), begin: 1, messages: vec![vec![1, 2], vec![], vec![3; 300]], end: 9, ack: 1_000 };
    let upgrade = Command::Upgrade(Upgrade {
        bundle: full.bundle.clone(),
        argv: full.argv.clone(),
        endowments: vec!["timer".into()],
        image: Some(Hash([7; 32])),
    });
    vec![
        ("command-install", Command::Install(full)),
        ("command-deliver", Command::Deliver(deliver)),
        ("command-grant", Command::Grant { to: vat(1), expires_ms: None }),
        ("command-revoke", Command::Revoke { from: vat(1) }),
        ("command-grant-until", Command::Grant { to: vat(1), expires_ms: Some(1_700_000_000_000) }),
        (
            "command-bearer",
            Command::AddBearer {
                key: [4; 32],
                object: 300,
                expires_ms: Some(1_700_000_000_000),
                note: "for Alice".into(),
            },
        ),
        ("command-revoke-bearer", Command::RevokeBearer { key: [4; 32] }),
        ("command-upgrade", upgrade),
        ("command-drop-peer", Command::DropPeer { peer: vat(5) }),
        ("command-tick", Command::Tick { now_ms: 1_700_000_000_000 }),
    ]
}

fn results() -> Vec<(&'static str, CommandResult)> {
    vec![
        ("result-installed", CommandResult::Installed),
        ("result-install-failed", CommandResult::InstallFailed { message: "main.js:1: no".into() }),
        ("result-delivered", CommandResult::Delivered { next: 4 }),
        ("result-gap", CommandResult::Gap { next: 400 }),
        ("result-later", CommandResult::Later { next: 500 }),
        ("result-upgraded", CommandResult::Upgraded),
        ("result-upgrade-failed", CommandResult::UpgradeFailed { message: "no".into() }),
        ("result-not-ready", CommandResult::NotReady),
        ("result-granted", CommandResult::Granted),
        ("result-revoked", CommandResult::Revoked),
        ("result-dropped", CommandResult::Dropped),
        ("result-ticked", CommandResult::Ticked),
        ("result-refused", CommandResult::Refused { message: "no".into() }),
    ]
}

#[test]
fn encodings_are_those_of_the_golden_files() {
    for (name, op) in ops() {
        golden(name, &op.encode());
        assert_eq!(Op::decode(&op.encode()), Ok(op));
    }
    for (name, command) in commands() {
        golden(name, &command.encode());
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
    for (name, result) in results() {
        golden(name, &result.encode());
        assert_eq!(CommandResult::decode(&result.encode()), Ok(result));
    }
    golden("stream-head", &head().encode());
    let mark = StreamHead { is_mark: true, ..head() };
    golden("stream-mark", &mark.encode());
    for said in [head(), mark] {
        assert_eq!(StreamHead::decode(&said.encode()), Some(said));
        let said = StreamHead { ack: 7, ..said };
        let coded = quorate_engine::wire::codec::encode(1, &said);
        assert_eq!(quorate_engine::wire::codec::decode::<StreamHead, 1_000>(1, &coded), Ok(said));
    }
}

/// A machine with something in every table.
fn full_machine() -> Machine<Scripted> {
    let guest = Scripted::new(|delivery| {
        done(match delivery {
            Delivery::Start { argv, .. } => {
                let args = array(vec![Value::Slot(0), Value::Slot(1)], vec![Slot::VatObject(3), Slot::VatPromise(2)]);
                vec![
                    send(argv.slots[0], "hello", args, Some(1)),
                    send(Slot::VatPromise(9), "lost", array(vec![], vec![]), Some(5)),
                ]
            }
            Delivery::Call { result, .. } => vec![fulfil(result.unwrap(), &text("answer"), vec![])],
            _ => vec![],
        })
    });
    let mut machine = Machine::new(vat(1), guest);
    let Command::Install(mut full) = install(vec![("b", root_of(vat(2)))], vec![vat(3)]) else { unreachable!() };
    full.bearers = vec![[8; 32]];
    assert_eq!(machine.apply(Command::Install(full)).unwrap(), CommandResult::Installed);
    let args = CapData::new(
        &Value::Array(vec![Value::Slot(0), Value::Slot(1)]),
        vec![WireRef::object(Side::Sender, 4).into(), WireRef::promise(Side::Sender, 1).into()],
    );
    let target = WireRef::object(Side::Receiver, 0);
    let call = Op::Send { target, method: Method::Call("get".into()), args, result: Some(2) };
    let deliver = Deliver { from: vat(3), begin: 1, messages: vec![call.encode()], end: 1, ack: 0 };
    assert_eq!(machine.apply(Command::Deliver(deliver)).unwrap(), CommandResult::Delivered { next: 2 });
    let broken = Deliver { from: vat(2), begin: 1, messages: vec![vec![0]], end: 1, ack: 0 };
    assert!(matches!(machine.apply(Command::Deliver(broken)).unwrap(), CommandResult::Refused { .. }));
    machine.end_block(false);
    machine
}

#[test]
fn a_manifest_is_that_of_the_golden_file_and_restores() {
    let checkpoint = full_machine().checkpoint().unwrap();
    golden("manifest", &checkpoint.manifest);
    golden("manifest-root", &checkpoint.root.0);
    let info = Machine::<Scripted>::describe(&checkpoint.manifest).unwrap();
    assert_eq!((info.root, info.chunks.len()), (checkpoint.root, 1));
    let make = |manifest: &Transcript| Ok(Scripted::resumed(manifest, |_| done(vec![])));
    let mut restored = Machine::<Scripted>::restore_with(vat(1), &checkpoint.manifest, make).unwrap();
    assert_eq!(restored.checkpoint().unwrap().manifest, checkpoint.manifest);
    assert!(Machine::<Scripted>::restore_with(vat(2), &checkpoint.manifest, make).is_err(), "another vat's");
    for length in 0..checkpoint.manifest.len() {
        assert!(Machine::<Scripted>::describe(&checkpoint.manifest[..length]).is_err());
    }
}

#[test]
fn messages_beyond_the_limits_are_refused() {
    let target = WireRef::object(Side::Receiver, 0);
    let call = |method: &str, args| Op::Send { target, method: Method::Call(method.into()), args, result: None };
    let no_args = || CapData::data(&Value::Array(vec![]));
    let check = |op: Op| Op::decode(&op.encode());
    assert!(check(call(&"m".repeat(MAX_METHOD_BYTES), no_args())).is_ok());
    assert!(matches!(check(call(&"m".repeat(MAX_METHOD_BYTES + 1), no_args())), Err(WireError::LongMethod { .. })));
    let many = |count| CapData { slots: vec![target.into(); count], ..CapData::data(&Value::Array(vec![])) };
    let gifts = |count| {
        let gift = WireSlot::Gift { home: vat(9), number: u64::MAX };
        let body = Value::Array(vec![Value::Bytes(vec![0; 400 << 10])]);
        CapData { slots: vec![gift; count], ..CapData::data(&body) }
    };
    let op = call("m", gifts(MAX_SLOTS));
    assert!(op.encode().len() as u64 <= quorate_engine::wire::message_bound(&gifts(MAX_SLOTS), 1) as u64);
    assert!(check(op).is_ok());
    assert!(check(Op::Drop(vec![(1, 1); MAX_SLOTS])).is_ok());
    assert_eq!(check(Op::Drop(vec![(1, 1); MAX_SLOTS + 1])), Err(WireError::TooManyDrops { count: MAX_SLOTS + 1 }));
    assert_eq!(check(Op::Release { promise: target }), Err(WireError::NotAPromise));
    assert!(check(call("m", many(MAX_SLOTS))).is_ok());
    assert!(matches!(check(call("m", many(MAX_SLOTS + 1))), Err(WireError::TooManySlots { .. })));
    assert_eq!(check(call("m", CapData::data(&Value::Null))), Err(WireError::Arguments));
    assert_eq!(check(call("m", CapData::data(&Value::Array(vec![Value::Slot(0)])))), Err(WireError::Body));
    let values = |count| CapData::data(&Value::Array(vec![Value::Array(vec![]); count]));
    assert!(check(call("m", values(MAX_VALUES - 1))).is_ok());
    assert_eq!(check(call("m", values(MAX_VALUES))), Err(WireError::TooManyValues));
    let deep = (0..400).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert_eq!(check(call("m", CapData::data(&deep))), Err(WireError::Body));
    let long = CapData::data(&Value::Array(vec![Value::Bytes(vec![0; MAX_MESSAGE_BYTES])]));
    assert!(matches!(check(call("m", long)), Err(WireError::Codec(_))));
    let redeem = Op::Redeem { object: 0, bearer: [0; 32], signature: vec![0; 63], result: None };
    assert_eq!(check(redeem), Err(WireError::Signature { length: 63 }));
    let settle = Op::Settle { promise: target, resolution: WireResolution::vat_error("no") };
    assert_eq!(check(settle), Err(WireError::NotAPromise));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Undefined),
        any::<bool>().prop_map(Value::Bool),
        any::<u32>().prop_map(|number| Value::Number(f64::from(number) / 3.0)),
        ".{0,8}".prop_map(Value::String),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
        (0..3u32).prop_map(Value::Slot),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::Array))
}

/// Values of every kind.
fn all_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        values(),
        Just(Value::Null),
        "0|-?[1-9][0-9]{0,6}".prop_map(Value::BigInt),
        ".{0,4}".prop_map(Value::Symbol),
        (0..3u32, "[a-z]{1,4}").prop_map(|(index, name)| Value::Named(index, name)),
        (".{0,4}", ".{0,4}").prop_map(|(name, message)| Value::error(name, message)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((".{0,4}", inner.clone()), 0..4).prop_map(Value::Record),
            (".{0,4}", inner).prop_map(|(tag, payload)| Value::Tagged(tag, Box::new(payload))),
        ]
    })
}

/// What a scan of the value shows.
fn parts_of(value: &Value, found: &mut Vec<String>) {
    let mut push = |part: Part<'_>| found.push(format!("{part:?}"));
    match value {
        Value::Undefined | Value::Null | Value::Bool(_) | Value::Number(_) => push(Part::Scalar),
        Value::String(text) => push(Part::String(text)),
        Value::BigInt(digits) => push(Part::BigInt(digits)),
        Value::Symbol(key) => push(Part::Symbol(key)),
        Value::Slot(index) => push(Part::Slot(*index)),
        Value::Named(index, name) => push(Part::Named(*index, name)),
        Value::Bytes(bytes) => push(Part::Bytes(bytes)),
        Value::Error { name, message } => push(Part::Error { name, message }),
        Value::Array(items) => {
            push(Part::Array(items.len()));
            items.iter().for_each(|item| parts_of(item, found));
        }
        Value::Record(fields) => {
            push(Part::Record(fields.len()));
            for (key, value) in fields {
                found.push(format!("{:?}", Part::Key(key)));
                parts_of(value, found);
            }
        }
        Value::Tagged(tag, payload) => {
            push(Part::Tagged(tag));
            parts_of(payload, found);
        }
    }
}

fn wire_refs() -> impl Strategy<Value = WireRef> {
    (any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(object, sender, id)| WireRef {
        kind: if object { RefKind::Object } else { RefKind::Promise },
        allocator: if sender { Side::Sender } else { Side::Receiver },
        id,
    })
}

/// Few vats, so that some of them mean something: those of the tests, and one that nobody knows.
fn vats() -> impl Strategy<Value = VatId> {
    prop_oneof![Just(vat(1)), Just(vat(6)), Just(vat(7)), Just(vat(8))]
}

fn wire_slots() -> impl Strategy<Value = WireSlot> {
    prop_oneof![
        4 => wire_refs().prop_map(WireSlot::Known),
        1 => (vats(), any::<u64>()).prop_map(|(home, number)| WireSlot::Gift { home, number }),
        1 => (vats(), vats(), any::<u64>()).prop_map(|(home, lender, number)| WireSlot::Lent { home, lender, number }),
    ]
}

/// What is said of gifts, and of objects that are no longer held.
fn gift_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (vats(), any::<u64>(), any::<u64>()).prop_map(|(to, number, object)| Op::Deposit { to, number, object }),
        (vats(), any::<u64>(), any::<u64>()).prop_map(|(from, number, result)| Op::Withdraw { from, number, result }),
        any::<u64>().prop_map(|id| Op::Release { promise: WireRef::promise(Side::Sender, id) }),
        (vats(), any::<u64>()).prop_map(|(home, number)| Op::Declined { home, number }),
        (vats(), any::<u64>()).prop_map(|(home, number)| Op::Undo { home, number }),
        (vats(), any::<Option<u64>>()).prop_map(|(to, number)| Op::Cancel { to, number }),
        proptest::collection::vec((any::<u64>(), any::<u64>()), 0..3).prop_map(Op::Drop),
        any::<u64>().prop_map(|result| Op::Abandon { result }),
        (any::<u64>(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(object, key, result)| Op::Keep {
            object,
            key,
            through: [8; 32],
            result
        }),
        any::<u64>().prop_map(|result| Op::Discard { bearer: [8; 32], result }),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let slots = || proptest::collection::vec(wire_slots(), 3..6);
    let data = move || (values(), slots()).prop_map(|(value, slots)| CapData::new(&value, slots));
    let args = (proptest::collection::vec(values(), 0..4), slots())
        .prop_map(|(items, slots)| CapData::new(&Value::Array(items), slots));
    let method = prop_oneof![".{0,12}".prop_map(Method::Call), Just(Method::Apply), ".{0,12}".prop_map(Method::Get)];
    let send = (wire_refs(), method, args, any::<Option<u64>>()).prop_map(|(target, method, args, result)| Op::Send {
        target,
        method,
        args,
        result,
    });
    let settle = (any::<u64>(), data(), any::<bool>()).prop_map(|(id, data, fulfilled)| Op::Settle {
        promise: WireRef::promise(Side::Sender, id),
        resolution: if fulfilled { WireResolution::Fulfilled(data) } else { WireResolution::Rejected(data) },
    });
    prop_oneof![4 => send, 4 => settle, 4 => gift_op()]
}

fn check_decoders<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Some(value) = decode(bytes) {
        assert_eq!(decode(&encode(&value)), Some(value));
    }
}

proptest! {
    #[test]
    fn every_op_round_trips(op in any_op()) {
        prop_assert_eq!(Op::decode(&op.encode()), Ok(op));
    }

    #[test]
    fn what_is_scanned_is_what_is_decoded(value in all_values(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = value.encode();
        for damaged in [false, true] {
            if damaged {
                let at = at.index(bytes.len());
                if cut { bytes.truncate(at) } else { bytes[at] = byte }
            }
            let mut parts = Vec::new();
            let scanned = Value::scan(&bytes, &mut |part| parts.push(format!("{part:?}")));
            let decoded = Value::decode(&bytes);
            prop_assert_eq!(scanned.clone(), decoded.clone().map(drop));
            if let Ok(decoded) = decoded {
                let mut expected = Vec::new();
                parts_of(&decoded, &mut expected);
                prop_assert_eq!(parts, expected);
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic(op in any_op(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = op.encode();
        let index = at.index(bytes.len());
        if cut {
            bytes.truncate(index);
            prop_assert!(Op::decode(&bytes).is_err());
        } else {
            bytes[index] = byte;
            check_decoders(&bytes, |bytes| Op::decode(bytes).ok(), Op::encode);
        }
    }

    #[test]
    fn noise_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in any::<bool>()) {
        if version && !bytes.is_empty() {
            bytes[0] = quorate_engine::wire::WIRE_VERSION;
        }
        check_decoders(&bytes, |bytes| Op::decode(bytes).ok(), Op::encode);
        check_decoders(&bytes, |bytes| Command::decode(bytes).ok(), Command::encode);
        check_decoders(&bytes, |bytes| CommandResult::decode(bytes).ok(), CommandResult::encode);
        check_decoders(&bytes, StreamHead::decode, StreamHead::encode);
        let _ = Machine::<Scripted>::describe(&bytes);
    }

    /// Whatever one peer says, well formed or not, costs at most its own stream: another vat's call is answered.
    #[test]
    fn a_hostile_peer_harms_nobody_else(ops in proptest::collection::vec(any_op(), 0..12), ack in any::<u64>(), small in any::<bool>()) {
        let mut world = World::new(3);
        world.add(vat(1), Scripted::new(|delivery| done(match delivery {
            Delivery::Call { result: Some(result), .. } => vec![fulfil(*result, &text("here"), vec![])],
            _ => vec![],
        })));
        world.apply(vat(1), install(vec![], vec![vat(6), vat(7)]));
        let tamed = ops.into_iter().map(|op| if small { tame(op) } else { op });
        let messages: Vec<Vec<u8>> = tamed.map(|op| op.encode()).collect();
        let end = messages.len() as u64;
        let ack = if small { ack % 4 } else { ack };
        let machine = world.machines.get_mut(&vat(1)).unwrap();
        machine.apply(Command::Deliver(Deliver { from: vat(6), begin: 1, messages, end, ack })).unwrap();
        world.end_block(vat(1), false);
        let good = Op::Send {
            target: WireRef::object(Side::Receiver, 0),
            method: Method::Apply,
            args: CapData::data(&Value::Array(vec![])),
            result: Some(1),
        };
        let deliver = Deliver { from: vat(7), begin: 1, messages: vec![good.encode()], end: 1, ack: 0 };
        prop_assert_eq!(world.apply(vat(1), Command::Deliver(deliver)), CommandResult::Delivered { next: 2 });
        let outbox = world.machines[&vat(1)].outbox();
        let answered = outbox.iter().find(|stream| stream.head.peer == vat(7)).unwrap();
        let is_answer = |op: &Op| matches!(op, Op::Settle { .. });
        let answers = answered.messages.iter().filter(|(_, message)| is_answer(&Op::decode(message).unwrap()));
        prop_assert_eq!(answers.count(), 1);
        let _: VatId = world.machines[&vat(1)].vat();
    }
}

/// Small ids, so that some of them mean something.
fn tame(mut op: Op) -> Op {
    let small = |reference: &mut WireRef| reference.id %= 3;
    let small_slot = |slot: &mut WireSlot| match slot {
        WireSlot::Known(reference) => small(reference),
        WireSlot::Gift { number, .. } | WireSlot::Lent { number, .. } => *number %= 4,
    };
    match &mut op {
        Op::Redeem { object, result, .. } => {
            *object %= 3;
            *result = result.map(|id| id % 8);
        }
        Op::Keep { object, result, .. } => {
            *object %= 3;
            *result %= 8;
        }
        Op::Discard { result, .. } => *result %= 8,
        Op::Send { target, args, result, .. } => {
            small(target);
            target.allocator = Side::Receiver;
            args.slots.iter_mut().for_each(small_slot);
            *result = result.map(|id| id % 8);
        }
        Op::Settle { promise, resolution: WireResolution::Fulfilled(data) | WireResolution::Rejected(data) } => {
            small(promise);
            data.slots.iter_mut().for_each(small_slot);
        }
        Op::Release { promise } => small(promise),
        Op::Deposit { number, object, .. } => {
            *number %= 4;
            *object %= 2;
        }
        Op::Withdraw { number, result, .. } => {
            *number %= 4;
            *result %= 8;
        }
        Op::Declined { number, .. } | Op::Undo { number, .. } => *number %= 4,
        Op::Cancel { number, .. } => *number = number.map(|number| number % 4),
        Op::Abandon { result } => *result %= 8,
        Op::Drop(objects) => objects.iter_mut().for_each(|(id, count)| {
            *id %= 3;
            *count %= 3;
        }),
    }
    op
}

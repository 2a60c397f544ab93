//! Formats of bytes.

use crate::{Decoder, GUEST_MEMORY, MEMORY};
use bytes::BytesMut;
use quorate_consensus::testing::decoders::DECODERS;
use quorate_engine::Machine;
use quorate_engine::heap::Heap;
use quorate_net::Purpose;
use quorate_net::frame::FrameCodec;
use quorate_proof::{EvidenceRecord, Genesis, Introduction, MembershipCertificate};
use quorate_protocol::authority::{AccessMotion, SignedInstall};
use quorate_protocol::codec;
use quorate_protocol::command::{VatCommand, VatResult};
use quorate_protocol::evidence::Slice;
use quorate_protocol::proof::file::MAGIC;
use quorate_protocol::proof::{ProofFile, check};
use quorate_protocol::provision::{Contacts, Provision};
use quorate_protocol::published::Reading;
use quorate_protocol::relay::{FromClient, FromHost};
use quorate_protocol::upgrade::UpgradeMotion;
use quorate_protocol::wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame};
use quorate_streams::abi::{self, Durable, Outcome, Turn, Value};
use quorate_streams::command::{Command, CommandResult};
use quorate_streams::stream::StreamHead;
use quorate_streams::wire::{Op, bare_slot};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tokio_util::codec::{Decoder as _, Encoder};

/// All of them.
pub(crate) fn all() -> Vec<Decoder> {
    let one = |name, from, run| Decoder { name, from, run, memory: MEMORY, runs: 1_000 };
    let guests = |name, from, run| Decoder { memory: GUEST_MEMORY, ..one(name, from, run) };
    let mut all = vec![
        one("net-frame", "any peer", net_frame),
        one("vat-frame", "any host or client", |bytes| again(bytes, |frame: &VatFrame| shape(&frame.slice))),
        one("slice-reply", "any host", |bytes| again(bytes, |_: &SliceReply| ())),
        one("directory-request", "any host or client", |bytes| again(bytes, |_: &DirectoryRequest| ())),
        one("directory-reply", "any host", |bytes| again(bytes, |_: &DirectoryReply| ())),
        one("introduction", "any host", |bytes| again(bytes, introduction)),
        one("membership-certificate", "any host", |bytes| again(bytes, |_: &MembershipCertificate| ())),
        one("genesis", "files, any host", |bytes| again(bytes, |genesis: &Genesis| drop(genesis.validate()))),
        one("reading", "any host", |bytes| again(bytes, |reading: &Reading| drop(reading.check()))),
        one("relay-from-client", "a page", |bytes| FromClient::decode(bytes).is_ok_and(|said| same(&said))),
        one("relay-from-host", "a host, in a page", |bytes| FromHost::decode(bytes).is_ok_and(|said| same(&said))),
        one("vat-command", "a log", |bytes| again(bytes, |_: &VatCommand| ())),
        one("vat-result", "a leader", |bytes| again(bytes, |_: &VatResult| ())),
        one("signed-install", "a vat's creator", |bytes| again(bytes, |_: &SignedInstall| ())),
        one("access-motion", "any member", |bytes| again(bytes, |_: &AccessMotion| ())),
        one("upgrade-motion", "any member", |bytes| UpgradeMotion::decode(bytes).is_some_and(|motion| same(&motion))),
        one("provision", "files, the disk", |bytes| again(bytes, |_: &Provision| ())),
        one("contacts", "files", |bytes| again(bytes, |_: &Contacts| ())),
        one("evidence-record", "the disk", |bytes| again(bytes, |_: &EvidenceRecord| ())),
        one("proof-file", "files of anybody", proof_file),
        one("message", "another vat", message),
        one("command", "a log", command),
        one("command-result", "a leader", command_result),
        one("stream-head", "another vat", |bytes| {
            StreamHead::decode(bytes).is_some_and(|head| StreamHead::decode(&head.encode()) == Some(head))
        }),
        one("value", "another vat", value),
        guests("guest-outcome", "the guest", of_guest::<Outcome>),
        guests("guest-turn", "the host, in the guest", of_guest::<Turn>),
        guests("guest-durable", "the guest", of_guest::<Durable>),
        one("manifest", "any member, the disk", |bytes| Machine::<Heap>::describe(bytes).is_ok()),
    ];
    all.extend(consensus());
    all
}

/// Those that `consensus` keeps to itself.
fn consensus() -> Vec<Decoder> {
    macro_rules! numbered {
        ($($number:literal)*) => {
            [$(|bytes: &[u8]| of_consensus($number, bytes)),*]
        };
    }
    let runs: [fn(&[u8]) -> bool; DECODERS.len()] = numbered!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    let from = |name: &str| if name.contains("frame") || name.contains("reply") { "a member" } else { "the disk" };
    let all = DECODERS.iter().zip(runs);
    all.map(|(&(name, _), run)| Decoder { name, from: from(name), run, memory: MEMORY, runs: 1_000 }).collect()
}

fn of_consensus(number: usize, bytes: &[u8]) -> bool {
    let (name, decode) = DECODERS[number];
    let Some(first) = decode(bytes) else { return false };
    let second = decode(&first);
    assert!(second.as_ref() == Some(&first), "{name}: it is another value after one round");
    true
}

/// Decodes with the codec of `protocol`, has it checked, and decodes what it encodes to.
fn again<T: Serialize + DeserializeOwned>(bytes: &[u8], check: impl FnOnce(&T)) -> bool {
    let Ok(decoded) = codec::decode::<T>(bytes) else { return false };
    check(&decoded);
    same(&decoded)
}

fn same<T: Serialize + DeserializeOwned>(value: &T) -> bool {
    let first = codec::encode(value);
    let second = codec::decode::<T>(&first).expect("what was encoded here is decoded here");
    assert!(codec::encode(&second) == first, "it is another value after one round");
    true
}

fn shape(slice: &Slice) {
    let receiver = slice.certificate.statement.vat;
    let _ = slice.check_shape(&receiver);
    let _ = slice.verify(None, &receiver);
}

fn introduction(introduction: &Introduction) {
    let _ = introduction.verify();
    let _ = introduction.recoveries();
}

/// The first byte says which purpose the stream has, the second in how large pieces its bytes come.
fn net_frame(bytes: &[u8]) -> bool {
    let [purpose, piece, rest @ ..] = bytes else { return false };
    let purpose = Purpose::ALL[usize::from(*purpose) % Purpose::ALL.len()];
    let mut codec = FrameCodec::new(purpose);
    let (mut source, mut whole) = (BytesMut::new(), BytesMut::new());
    let mut is_well = true;
    'all: for part in rest.chunks(usize::from(*piece).max(1)) {
        source.extend_from_slice(part);
        loop {
            match codec.decode(&mut source) {
                Ok(Some(frame)) => codec.encode(frame, &mut whole).expect("what was decoded fits"),
                Ok(None) => break,
                Err(_) => {
                    is_well = false;
                    break 'all;
                }
            }
        }
    }
    assert!(rest.starts_with(&whole), "frames are encoded in one way only");
    is_well && codec.decode_eof(&mut source).is_ok()
}

/// The bytes as they are, and as the body of a file whose checksum is right.
fn proof_file(bytes: &[u8]) -> bool {
    let _ = ProofFile::decode(bytes);
    let body = bytes.strip_prefix(MAGIC).and_then(|rest| rest.get(32..)).unwrap_or(bytes);
    let right = [MAGIC, &Sha256::digest(body), body].concat();
    let Ok(file) = ProofFile::decode(&right) else { return false };
    let again = ProofFile::decode(&file.encode());
    assert!(again.is_ok_and(|again| again.encode() == file.encode()), "it is another file after one round");
    let _ = check(&file, None);
    true
}

fn message(bytes: &[u8]) -> bool {
    let Ok(op) = Op::decode(bytes) else { return false };
    assert_eq!(Op::decode(&op.encode()).as_ref(), Ok(&op), "it is another message after one round");
    if let Op::Send { args, .. } = &op {
        let _ = bare_slot(args);
        let value = args.value().expect("checked when it was decoded");
        assert!(matches!(value, Value::Array(_)), "arguments are an array");
    }
    true
}

fn command(bytes: &[u8]) -> bool {
    let Ok(command) = Command::decode(bytes) else { return false };
    let first = command.encode();
    let second = Command::decode(&first).expect("what was encoded here is decoded here");
    assert!(second.encode() == first, "it is another command after one round");
    true
}

fn command_result(bytes: &[u8]) -> bool {
    let Ok(result) = CommandResult::decode(bytes) else { return false };
    assert_eq!(CommandResult::decode(&result.encode()), Ok(result));
    true
}

fn value(bytes: &[u8]) -> bool {
    let decoded = Value::decode(bytes);
    let scanned = Value::scan(bytes, &mut |_| ());
    assert_eq!(decoded.as_ref().err(), scanned.as_ref().err(), "what is scanned is what is decoded");
    let Ok(value) = decoded else { return false };
    assert!(value.encode() == bytes, "a value is encoded in one way only");
    let shown = Value::from_json(&value.to_json());
    // Keys that are there twice are one in JSON.
    if let Ok(shown) = shown {
        assert_eq!(Value::decode(&shown.encode()), Ok(shown));
    }
    true
}

fn of_guest<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(decoded) = abi::decode::<T>(bytes) else { return false };
    let first = abi::encode(&decoded);
    let second = abi::decode::<T>(&first).expect("what was encoded here is decoded here");
    assert!(abi::encode(&second) == first, "it is another value after one round");
    true
}

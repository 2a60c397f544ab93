//! The bytes of frames: golden files, round trips, and arbitrary bytes that must do no harm.

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_net::frame::{ClosingReason, Frame, FrameCodec, FrameError, MAX_TEXT_BYTES, Outcome};
use tokio_util::codec::{Decoder as _, Encoder as _};

const LIMIT: usize = 10_000;

fn encode(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    FrameCodec::with_limit(LIMIT).encode(frame.clone(), &mut bytes).unwrap();
    bytes
}

/// Everything that a codec makes of these bytes.
fn decode(bytes: &[u8]) -> (Vec<Frame>, Option<FrameError>) {
    let (mut codec, mut source, mut frames) = (FrameCodec::with_limit(LIMIT), BytesMut::from(bytes), Vec::new());
    loop {
        match codec.decode_eof(&mut source) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn response(outcome: Outcome) -> Frame {
    Frame::Response { id: 0x0102_0304_0506_0708, outcome }
}

/// These files are the protocol: a change here is a new protocol version.
#[test]
fn golden() {
    let request = Frame::Request { id: 1, payload: Bytes::from_static(b"\x00payload\xff") };
    let cases = [
        ("request", request),
        ("request_empty", Frame::Request { id: u64::MAX, payload: Bytes::new() }),
        ("answer", response(Outcome::Answer(Bytes::from_static(b"answer")))),
        ("refused", response(Outcome::Refused("no: ünknown vat".into()))),
        ("unavailable", response(Outcome::Unavailable("busy".into()))),
        ("forbidden", response(Outcome::Forbidden)),
        ("ready", Frame::Ready),
        ("closing_forbidden", Frame::Closing { reason: ClosingReason::Forbidden }),
        ("closing_malformed", Frame::Closing { reason: ClosingReason::Malformed }),
        ("closing_oversized", Frame::Closing { reason: ClosingReason::Oversized }),
        ("closing_idle", Frame::Closing { reason: ClosingReason::Idle }),
        ("closing_shutdown", Frame::Closing { reason: ClosingReason::Shutdown }),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(name, frame)| {
            let hex: String = encode(frame).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name} {hex}\n")
        })
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/frames.txt");
    if std::env::var_os("QUORATE_BLESS").is_some() {
        std::fs::write(path, lines.concat()).unwrap();
    }
    assert_eq!(lines.concat(), std::fs::read_to_string(path).unwrap(), "QUORATE_BLESS=1 writes the file anew");
    for (name, frame) in &cases {
        assert_eq!(decode(&encode(frame)).0, std::slice::from_ref(frame), "{name}");
    }
}

#[test]
fn limits_hold_both_ways() {
    let large = |size| Frame::Request { id: 1, payload: Bytes::from(vec![1; size]) };
    assert_eq!(decode(&encode(&large(LIMIT))).0, [large(LIMIT)]);
    let mut target = BytesMut::new();
    let refused = FrameCodec::with_limit(LIMIT).encode(large(LIMIT + 1), &mut target);
    assert!(matches!(refused, Err(FrameError::Oversized { limit: LIMIT })) && target.is_empty());
    // The length alone is enough to refuse it.
    let mut bytes = BytesMut::new();
    FrameCodec::with_limit(2 * LIMIT).encode(large(LIMIT + 1), &mut bytes).unwrap();
    assert!(matches!(decode(&bytes[..4]).1, Some(FrameError::Oversized { limit: LIMIT })));
    // Texts are cut to their limit, between characters, and a longer one is malformed.
    let cut = decode(&encode(&response(Outcome::Refused("é".repeat(MAX_TEXT_BYTES))))).0;
    assert_eq!(cut, [response(Outcome::Refused("é".repeat(MAX_TEXT_BYTES / 2)))]);
    let mut long = encode(&large(MAX_TEXT_BYTES + 1));
    long[5] = 2;
    assert!(matches!(decode(&long).1, Some(FrameError::Malformed(_))));
}

#[test]
fn an_announced_length_reserves_no_memory() {
    let mut codec = FrameCodec::with_limit(1 << 30);
    let mut source = BytesMut::from(&(1u32 << 30).to_be_bytes()[..]);
    assert!(codec.decode(&mut source).unwrap().is_none());
    assert!(source.capacity() < 1 << 20);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let payload = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let reason = prop_oneof![
        Just(ClosingReason::Forbidden),
        Just(ClosingReason::Malformed),
        Just(ClosingReason::Oversized),
        Just(ClosingReason::Idle),
        Just(ClosingReason::Shutdown),
    ];
    let outcome = prop_oneof![
        payload().prop_map(Outcome::Answer),
        ".{0,80}".prop_map(Outcome::Refused),
        ".{0,80}".prop_map(Outcome::Unavailable),
        Just(Outcome::Forbidden),
    ];
    prop_oneof![
        (any::<u64>(), payload()).prop_map(|(id, payload)| Frame::Request { id, payload }),
        (any::<u64>(), outcome).prop_map(|(id, outcome)| Frame::Response { id, outcome }),
        Just(Frame::Ready),
        reason.prop_map(|reason| Frame::Closing { reason }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn frames_survive_any_fragmentation(
        frames in proptest::collection::vec(any_frame(), 1..6),
        cuts in proptest::collection::vec(1usize..40, 1..50),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
        prop_assert_eq!(bytes.len(), frames.iter().map(Frame::wire_bytes).sum::<usize>());
        let (mut codec, mut source, mut decoded) = (FrameCodec::with_limit(LIMIT), BytesMut::new(), Vec::new());
        let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            source.extend_from_slice(piece);
            rest = after;
            while let Some(frame) = codec.decode(&mut source).unwrap() {
                decoded.push(frame);
            }
        }
        prop_assert!(codec.decode_eof(&mut source).unwrap().is_none());
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = decode(&bytes);
        let _ = Frame::decode(Bytes::from(bytes));
    }

    /// What decodes encodes to the same bytes: there is one encoding of each frame.
    #[test]
    fn damaged_frames_are_errors_or_other_frames(frame in any_frame(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&frame);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (frames, error) = decode(&bytes);
        if error.is_none() {
            let again: Vec<u8> = frames.iter().flat_map(encode).collect();
            prop_assert_eq!(&again[..], &bytes[..]);
        }
    }

    #[test]
    fn truncated_frames_are_noticed(frame in any_frame(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&frame);
        let at = 1 + at.index(bytes.len() - 1);
        let (frames, error) = decode(&bytes[..at]);
        prop_assert!(frames.is_empty() && matches!(error, Some(FrameError::Truncated)));
    }
}

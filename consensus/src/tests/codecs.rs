use super::*;
use crate::codec::{self, Blob, CODEC_VERSION};
use crate::error::CodecError;
use crate::replica::wire::propose::{Payload, ProposeFrame};
use crate::replica::wire::share::{ShareFrame, in_parts};

#[test]
fn versions_and_trailing_bytes_are_refused() {
    let bytes = codec::encode(&7u64);
    assert_eq!(bytes[0], CODEC_VERSION);
    assert_eq!(codec::decode::<u64>(&bytes), Ok(7));
    assert_eq!(codec::decode::<u64>(&[]), Err(CodecError::Empty));
    let other = [&[CODEC_VERSION + 1], &bytes[1..]].concat();
    assert_eq!(
        codec::decode::<u64>(&other),
        Err(CodecError::Version { found: CODEC_VERSION + 1, expected: CODEC_VERSION })
    );
    assert_eq!(codec::decode::<u64>(&[&bytes[..], &[0]].concat()), Err(CodecError::Trailing(1)));
    assert!(matches!(codec::decode::<String>(&bytes[..1]), Err(CodecError::Malformed(_))));
}

#[test]
fn claimed_lengths_do_not_allocate() {
    // A vector that claims 2^60 elements.
    let claim = [&[CODEC_VERSION, 253][..], &(1u64 << 60).to_le_bytes()].concat();
    assert!(codec::decode::<Vec<Membership>>(&claim).is_err());
    assert!(codec::decode::<Blob>(&claim).is_err());
    assert!(codec::decode::<String>(&claim).is_err());
    let large = vec![CODEC_VERSION; codec::MAX_FRAME_BYTES + 2];
    assert!(matches!(codec::decode::<Blob>(&large), Err(CodecError::TooLarge { .. })));
}

#[test]
fn blobs_survive() {
    for size in [0, 1, 250, 251, 65_536, 1 << 20] {
        let blob = Blob::from(vec![7; size]);
        assert_eq!(codec::decode::<Blob>(&codec::encode(&blob)), Ok(blob));
    }
}

#[test]
fn mutilated_frames_are_errors() {
    let membership = genesis(3, 2).membership();
    let chain = vec![certify(next_membership(&membership, &[1, 2], 2), &[1, 2])];
    let bytes = codec::encode(&ShareFrame::Introduce(chain));
    for end in 0..bytes.len() {
        assert!(codec::decode::<ShareFrame>(&bytes[..end]).is_err());
    }
    // Whatever one byte does: no panic, and no more than the same value again.
    for place in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[place] ^= flip;
            if let Ok(value) = codec::decode::<ShareFrame>(&other) {
                let _ = codec::encode(&value);
            }
        }
    }
}

#[test]
fn identities_are_hexadecimal_for_people() {
    let vat = genesis(1, 1).vat_id();
    assert_eq!(vat.to_string().parse(), Ok(vat));
    assert_eq!(vat.to_string().len(), 64);
    for bad in ["", "00", "zz", &"0".repeat(63), &"g".repeat(64)] {
        assert!(bad.parse::<quorate_ids::VatId>().is_err());
    }
}

/// What a frame of the network has beside the frame of this crate: the VatId.
const VAT_ID_BYTES: usize = 32;

#[test]
fn the_largest_command_can_be_handed_on() {
    let command = Payload::Command(vec![7; codec::MAX_COMMAND_BYTES].into());
    let frame = codec::encode(&ProposeFrame(vec![command]));
    assert!(frame.len() + VAT_ID_BYTES <= codec::MAX_PROPOSE_FRAME_BYTES, "{} bytes", frame.len());
}

#[test]
fn a_long_chain_goes_in_several_frames() {
    let before = genesis(3, 2).membership();
    let mut large = next_membership(&before, &(1..=31).collect::<Vec<u8>>(), 16);
    for member in &mut large.members {
        member.addresses = vec!["x".repeat(256); 16];
    }
    let chain = vec![certify(large, &(1..=31).collect::<Vec<u8>>()); 20];
    let parts = in_parts(chain.clone());
    assert!(parts.len() > 1);
    for part in &parts {
        let frame = codec::encode(&ShareFrame::Introduce(part.clone()));
        assert!(frame.len() + VAT_ID_BYTES <= 1 << 20, "{} bytes", frame.len());
    }
    assert_eq!(parts.concat(), chain);
    assert!(in_parts(Vec::new()).is_empty());
}

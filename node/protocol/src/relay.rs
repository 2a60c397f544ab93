//! Messages between a client that can't dial (one in a browser) and the host that carries its frames: each message of their WebSocket is
//! one of these, in the one encoding.
//!
//! The host treats the client's frames as if they had come by the network. It sends the client what vats on this host send to its key. It can lose,
//! repeat and make up frames as any network can; the contents of frames prove themselves.

use crate::codec;
use ed25519_dalek::SigningKey;
use quorate_ids::Canonical;
use quorate_proof::{CertificateError, HostId, MemberSignature};
use serde::{Deserialize, Serialize};

/// Bytes of the largest message, one way or the other: the largest slice, and what surrounds it.
pub const MESSAGE_BYTES: usize = (4 << 20) + (64 << 10);
/// Requests of one client that are under way at most.
pub const MAX_UNDER_WAY: usize = 32;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carried {
    /// A [`VatFrame`](crate::wire::VatFrame), answered by a [`SliceReply`](crate::wire::SliceReply).
    Slice,
    /// A [`DirectoryRequest`](crate::wire::DirectoryRequest), answered by a [`DirectoryReply`](crate::wire::DirectoryReply). From clients only.
    Directory,
}

/// Bytes that are encoded as one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame(#[serde(with = "quorate_streams::wire::codec::bytes")] pub Vec<u8>);

/// What the client says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromClient {
    /// The first message: frames for this key are to come here. The signature is over [`attach_payload`] of the host's [`FromHost::Challenge`].
    Attach(MemberSignature),
    /// A frame for the host. Numbers are the client's own.
    Request { number: u64, purpose: Carried, frame: Frame },
    /// The answer to a request of the host.
    Answer { number: u64, answer: Result<Frame, String> },
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHost {
    /// The first message.
    Challenge([u8; 32]),
    /// A frame for the client. Numbers are the host's own.
    Request { number: u64, purpose: Carried, frame: Frame },
    /// The answer to a request of the client.
    Answer { number: u64, answer: Result<Frame, String> },
}

/// Returns what a client signs to have the frames for its key: a signature that was made for one connection is good for no other one.
fn attach_payload(challenge: &[u8; 32]) -> Vec<u8> {
    let mut writer = Canonical::new("quorate/attach/1");
    writer.fixed(challenge);
    writer.finish()
}

/// The client's answer to a challenge.
pub fn attach(key: &SigningKey, challenge: &[u8; 32]) -> FromClient {
    FromClient::Attach(MemberSignature::sign(key, &attach_payload(challenge)))
}

/// The key whose frames a client may have, by its answer to a challenge.
///
/// # Errors
/// The signature is not that of the key over the challenge.
pub fn attached(signature: &MemberSignature, challenge: &[u8; 32]) -> Result<HostId, CertificateError> {
    signature.verify(&attach_payload(challenge)).map(|()| signature.key)
}

impl FromClient {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no message, or too many.
    pub fn decode(bytes: &[u8]) -> Result<FromClient, codec::CodecError> {
        if bytes.len() > MESSAGE_BYTES { Err(codec::CodecError::Malformed) } else { codec::decode(bytes) }
    }
}

impl FromHost {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no message, or too many.
    pub fn decode(bytes: &[u8]) -> Result<FromHost, codec::CodecError> {
        if bytes.len() > MESSAGE_BYTES { Err(codec::CodecError::Malformed) } else { codec::decode(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_attaches_to_one_challenge_alone() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let FromClient::Attach(signature) = attach(&key, &[2; 32]) else { panic!("it attaches") };
        assert_eq!(attached(&signature, &[2; 32]), Ok(HostId(key.verifying_key().to_bytes())));
        assert!(attached(&signature, &[3; 32]).is_err());
        let other = MemberSignature { key: HostId([7; 32]), ..signature };
        assert!(attached(&other, &[2; 32]).is_err());
    }

    #[test]
    fn messages_come_back_as_they_were_and_long_ones_are_refused() {
        let request = FromHost::Request { number: 7, purpose: Carried::Slice, frame: Frame(vec![1, 2, 3]) };
        assert_eq!(FromHost::decode(&request.encode()), Ok(request));
        let answer = FromClient::Answer { number: 7, answer: Err("no".to_owned()) };
        assert_eq!(FromClient::decode(&answer.encode()), Ok(answer));
        let long = FromClient::Request { number: 1, purpose: Carried::Directory, frame: Frame(vec![0; MESSAGE_BYTES]) };
        assert!(FromClient::decode(&long.encode()).is_err());
    }
}

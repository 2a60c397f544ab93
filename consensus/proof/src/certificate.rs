//! Statements of blocks, and certificates with at least a threshold of signatures.
//!
//! Invariants: signatures are over canonical bytes with a domain, checked strictly (no small-order keys, no malleable
//! signatures). A certificate with one bad, foreign or duplicate signature is refused whole, so that members pass on only clean ones.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::error::CertificateError;
use crate::membership::Membership;
use crate::remembered;
use crate::signature_bytes;
use crate::signers::Signers;
use quorate_ids::{Canonical, Hash, HostId, VatId};

/// What the members of a vat sign of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The vat.
    pub vat: VatId,
    /// The epoch whose members sign it.
    pub epoch: u64,
    /// Number of the block: its place in the log.
    pub block: u64,
    /// Hash of the statement before this one; zero for the first.
    pub previous: Hash,
    /// Stands for all entries of the log up to that of the block: what was ordered. See `docs/protocol.md`, "The log's chain".
    /// Zero for a client, which has no log.
    pub chain: Hash,
    /// Merkle root of the stream heads that the block changed; zero if there are none.
    pub outbox_root: Hash,
    /// Root of all that the vat publishes after the block; zero if that is nothing: what the machine says of it.
    pub published_root: Hash,
    /// Root of the whole state after the block, if a checkpoint was made there.
    pub state_root: Option<Hash>,
}

impl Statement {
    /// The bytes that are signed.
    pub fn payload(&self) -> Vec<u8> {
        let mut writer = Canonical::new("quorate/statement/3");
        writer.fixed(&self.vat.0).number(self.epoch).number(self.block);
        writer.fixed(&self.previous.0).fixed(&self.chain.0).fixed(&self.outbox_root.0).fixed(&self.published_root.0);
        match &self.state_root {
            None => writer.number(0),
            Some(root) => writer.number(1).fixed(&root.0),
        };
        writer.finish()
    }

    /// Identifies the statement in the chain.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.payload())
    }
}

/// One member's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSignature {
    /// Whose.
    pub key: HostId,
    /// ed25519.
    #[serde(with = "signature_bytes")]
    pub signature: [u8; 64],
}

impl MemberSignature {
    /// Signs a payload.
    pub fn sign(key: &SigningKey, payload: &[u8]) -> Self {
        let signed = Self { key: HostId(key.verifying_key().to_bytes()), signature: key.sign(payload).to_bytes() };
        remembered::found_good(remembered::name(&signed.key.0, &signed.signature, payload));
        signed
    }

    /// Returns whether the signature is that of its key over the payload.
    pub fn verify(&self, payload: &[u8]) -> Result<(), CertificateError> {
        let name = remembered::name(&self.key.0, &self.signature, payload);
        if remembered::is_good(name) {
            return Ok(());
        }
        let bad = |_| CertificateError::BadSignature(self.key);
        let key = VerifyingKey::from_bytes(&self.key.0).map_err(bad)?;
        key.verify_strict(payload, &Signature::from_bytes(&self.signature)).map_err(bad)?;
        remembered::found_good(name);
        Ok(())
    }
}

/// A statement with at least a threshold of signatures: what others believe of a vat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What is certified.
    pub statement: Statement,
    /// The signers, in the order of their keys.
    pub signatures: Vec<MemberSignature>,
}

/// Checks a certificate against the membership of its epoch.
pub fn verify_certificate(certificate: &Certificate, membership: &Membership) -> Result<(), CertificateError> {
    Signers::from(membership).verify_certificate(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_good_is_good_for_nothing_else() {
        let (one, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let made_elsewhere = |payload: &[u8]| MemberSignature {
            key: HostId(one.verifying_key().to_bytes()),
            signature: one.sign(payload).to_bytes(),
        };
        for signature in [MemberSignature::sign(&one, b"payload"), made_elsewhere(b"payload")] {
            for _ in 0..2 {
                assert_eq!(signature.verify(b"payload"), Ok(()));
                assert!(signature.verify(b"payloae").is_err() && signature.verify(b"").is_err());
                let key = HostId(other.verifying_key().to_bytes());
                assert!(MemberSignature { key, ..signature }.verify(b"payload").is_err());
                for bit in 0..512 {
                    let mut changed = signature;
                    changed.signature[bit / 8] ^= 1 << (bit % 8);
                    assert!(changed.verify(b"payload").is_err(), "bit {bit}");
                }
            }
        }
    }
}

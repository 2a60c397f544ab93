//! Signatures, behind a trait: production has ed25519, the check by machine has symbolic ones.
//!
//! Invariant: what is signed are canonical bytes that begin with a domain and the vat.

use quorate_ids::{Canonical, HostId, VatId};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

/// The signature of a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(SIGNATURE_BYTES)?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Signature;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{SIGNATURE_BYTES} bytes of a signature")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Signature, A::Error> {
                let mut signature = [0; SIGNATURE_BYTES];
                for (at, byte) in signature.iter_mut().enumerate() {
                    *byte = bytes.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self))?;
                }
                Ok(Signature(signature))
            }
        }
        deserializer.deserialize_tuple(SIGNATURE_BYTES, Bytes)
    }
}

/// Checks signatures.
pub trait Checking {
    /// Returns whether the signature is the signer's over these bytes. Must refuse malleable signatures and small-order keys.
    fn verify(&self, signer: &HostId, payload: &[u8], signature: &Signature) -> bool;
}

/// Signs with this member's key, and checks signatures of others.
pub trait Signing: Checking {
    /// Signs bytes with this member's key.
    fn sign(&self, payload: &[u8]) -> Signature;
}

/// What members sign.
pub trait Signable {
    /// The domain, with a version.
    const DOMAIN: &'static str;
    /// Writes all fields in order.
    fn write(&self, writer: &mut Canonical);

    /// The bytes that are signed.
    fn payload(&self, vat: &VatId) -> Vec<u8> {
        let mut writer = Canonical::new(Self::DOMAIN);
        writer.fixed(&vat.0);
        self.write(&mut writer);
        writer.finish()
    }
}

/// Something with one member's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is signed.
    pub content: T,
    /// The signer.
    pub by: HostId,
    /// The signature.
    pub signature: Signature,
}

impl<T: Signable> Signed<T> {
    /// Signs a content as `by`, whose key `signing` has.
    pub fn new(content: T, by: HostId, vat: &VatId, signing: &dyn Signing) -> Self {
        let signature = signing.sign(&content.payload(vat));
        Self { content, by, signature }
    }

    /// Returns whether the signature is good. It does not check that the signer is a member.
    pub fn verifies(&self, vat: &VatId, checking: &dyn Checking) -> bool {
        checking.verify(&self.by, &self.content.payload(vat), &self.signature)
    }
}

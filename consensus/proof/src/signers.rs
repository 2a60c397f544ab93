//! The signers of a vat in one epoch: the part of a membership that checks its members' signatures, in about a kilobyte.
//!
//! A membership also has names and addresses, 130 KB at most; code that remembers many vats keeps this instead.
//!
//! Invariants: signatures count only if all are good, of different members, and at least the threshold. A next membership
//! counts only if it names the hash of this one. A membership that is marked as recovered counts only if so many signed it that one of them is
//! honest, and each of its members did.

use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, MemberSignature};
use crate::error::CertificateError;
use crate::membership::{Membership, MembershipCertificate, one_is_honest};
use crate::survival::recovered_threshold;
use crate::tally::Tally;
use quorate_ids::{Hash, HostId, VatId};

/// See the head of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signers {
    /// The vat.
    pub vat: VatId,
    /// The epoch.
    pub epoch: u64,
    /// Hash of the membership.
    pub hash: Hash,
    /// How many must sign.
    pub threshold: u16,
    /// Keys of the members.
    pub keys: Vec<HostId>,
    /// The receiver's last block at which it takes messages of this vat; 0: for ever. It is in no membership, but in the genesis.
    pub expires: u64,
}

impl From<&Membership> for Signers {
    fn from(membership: &Membership) -> Self {
        Self {
            vat: membership.vat,
            epoch: membership.epoch,
            hash: membership.hash(),
            threshold: membership.threshold,
            keys: membership.members.iter().map(|member| member.key).collect(),
            expires: 0,
        }
    }
}

impl Signers {
    /// Returns whether the key is a member's.
    pub fn contains(&self, key: &HostId) -> bool {
        self.keys.contains(key)
    }

    /// Checks a certificate of this epoch.
    pub fn verify_certificate(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        let statement = &certificate.statement;
        self.same_vat(statement.vat)?;
        if statement.epoch != self.epoch {
            return Err(CertificateError::OtherEpoch { found: statement.epoch, expected: self.epoch });
        }
        self.verify_signatures(&statement.payload(), &certificate.signatures)
    }

    /// Checks that a membership continues this one and is signed by at least its threshold.
    ///
    /// Where too few are left to certify anything, those who are go on alone, by a membership that says so. Fewer sign that: so many that
    /// one of them is honest (`max(2t − n, n − t + 1)`), and among them each of its members. Since as many as that are missing from
    /// the rest, the rest can certify nothing any more, if those who signed keep their word. Nobody new is in it, and its threshold
    /// makes up for liars as before.
    ///
    pub fn verify_membership(&self, certificate: &MembershipCertificate) -> Result<(), CertificateError> {
        let next = &certificate.membership;
        self.same_vat(next.vat)?;
        if self.epoch.checked_add(1) != Some(next.epoch) || next.previous != self.hash {
            return Err(CertificateError::BrokenChain(next.epoch));
        }
        next.validate()?;
        if next.recovered.is_none() {
            return self.verify_signatures(&next.payload(), &certificate.signatures);
        }
        let (members, threshold) = (self.keys.len(), usize::from(self.threshold));
        let least = recovered_threshold(members, threshold, next.members.len());
        if usize::from(next.threshold) < least {
            let why = format!("the recovered membership has threshold {}; it must be at least {least}", next.threshold);
            return Err(CertificateError::Invalid(why));
        }
        let signed = |key: &HostId| certificate.signatures.iter().any(|signature| signature.key == *key);
        if let Some(member) = next.members.iter().find(|member| !signed(&member.key)) {
            return Err(CertificateError::NotEntered(member.key));
        }
        self.verify_so_many(&next.payload(), &certificate.signatures, one_is_honest(members, threshold))
    }

    fn same_vat(&self, found: VatId) -> Result<(), CertificateError> {
        if found == self.vat { Ok(()) } else { Err(CertificateError::OtherVat { found, expected: self.vat }) }
    }

    /// Checks that all signatures are good, of different members, and at least the threshold.
    pub fn verify_signatures(&self, payload: &[u8], signatures: &[MemberSignature]) -> Result<(), CertificateError> {
        self.verify_so_many(payload, signatures, usize::from(self.threshold))
    }

    fn verify_so_many(
        &self,
        payload: &[u8],
        signatures: &[MemberSignature],
        needed: usize,
    ) -> Result<(), CertificateError> {
        if signatures.len() < needed {
            return Err(CertificateError::BelowThreshold { found: signatures.len(), needed });
        }
        let mut tally = Tally::default();
        for signature in signatures {
            if !self.contains(&signature.key) {
                return Err(CertificateError::NotAMember(signature.key));
            }
            if !tally.add(*signature) {
                return Err(CertificateError::Duplicate(signature.key));
            }
        }
        signatures.iter().try_for_each(|signature| signature.verify(payload))
    }
}

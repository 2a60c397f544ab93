//! Approvals: signatures of the owners of a vat's members under a change of its members, or a motion of the application, and their
//! check. Pure.
//!
//! An approval is over the vat, the present epoch, the hash of the present membership and the hash of what will follow. So an
//! approval for one vat, epoch or change is worth nothing for another one. A newcomer signs the same facts under a domain of
//! its own. That shows that it has the secret half of its key, and approves nothing.
//!
//! Invariant: approvals count only if all of them are good, of different members of the present epoch, and at least its threshold.

use ed25519_dalek::SigningKey;

use crate::certificate::MemberSignature;
use crate::error::CertificateError;
use crate::membership::Membership;
use crate::signers::Signers;
use quorate_ids::{Canonical, Hash, HostId, VatId};

const APPROVAL: &str = "quorate/change/1";
const ADMISSION: &str = "quorate/admission/1";

/// What is approved: the step from one membership to the next, or that a recorded step is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    vat: VatId,
    epoch: u64,
    /// Hash of the present membership.
    present: Hash,
    /// Hash of the membership that will follow, or [`canceled`] for the end of a recorded change.
    pub target: Hash,
}

impl Subject {
    /// The step from `present` to what has the hash `target`.
    pub fn new(present: &Membership, target: Hash) -> Self {
        Self { vat: present.vat, epoch: present.epoch, present: present.hash(), target }
    }

    /// The bytes that a member signs.
    pub fn approval_payload(&self) -> Vec<u8> {
        self.payload(APPROVAL)
    }

    /// The bytes that the newcomer signs.
    pub fn admission_payload(&self) -> Vec<u8> {
        self.payload(ADMISSION)
    }

    fn payload(&self, domain: &str) -> Vec<u8> {
        let mut writer = Canonical::new(domain);
        writer.fixed(&self.vat.0).number(self.epoch).fixed(&self.present.0).fixed(&self.target.0);
        writer.finish()
    }

    /// Signs as a member that approves.
    pub fn approve(&self, key: &SigningKey) -> MemberSignature {
        MemberSignature::sign(key, &self.approval_payload())
    }

    /// Signs as the newcomer.
    pub fn enter(&self, key: &SigningKey) -> MemberSignature {
        MemberSignature::sign(key, &self.admission_payload())
    }

    /// Checks the signature of one approval, of any member.
    pub fn verify_approval(&self, signature: &MemberSignature) -> Result<(), CertificateError> {
        signature.verify(&self.approval_payload())
    }

    /// Checks that at least a threshold of the members of `present` approve.
    pub fn verify_approvals(
        &self,
        present: &Membership,
        approvals: &[MemberSignature],
    ) -> Result<(), CertificateError> {
        Signers::from(present).verify_signatures(&self.approval_payload(), approvals)
    }

    /// Checks that the newcomer has signed its admission; that nobody did where nobody comes.
    pub fn verify_newcomer(
        &self,
        newcomer: Option<&HostId>,
        signature: Option<&MemberSignature>,
    ) -> Result<(), CertificateError> {
        match (newcomer, signature) {
            (None, None) => Ok(()),
            (Some(key), Some(signature)) if signature.key == *key => signature.verify(&self.admission_payload()),
            (Some(key), _) => Err(CertificateError::NotEntered(*key)),
            (None, Some(signature)) => Err(CertificateError::NotAMember(signature.key)),
        }
    }
}

/// The target of an approval of a motion, which the application means something by.
pub fn moved(motion: &[u8]) -> Hash {
    let mut writer = Canonical::new("quorate/motion/1");
    writer.bytes(motion);
    writer.hash()
}

/// Signs, as a member of `present`, that its owner approves of a motion.
pub fn approve_motion(present: &Membership, motion: &[u8], key: &SigningKey) -> MemberSignature {
    Subject::new(present, moved(motion)).approve(key)
}

/// Checks that at least a threshold of the members of `present` approve of a motion.
///
/// # Errors
/// Too few do, one of them twice, or one of the signatures is not good.
pub fn verify_motion(
    present: &Membership,
    motion: &[u8],
    approvals: &[MemberSignature],
) -> Result<(), CertificateError> {
    Subject::new(present, moved(motion)).verify_approvals(present, approvals)
}

/// The target of an approval that gives up the change that `block` recorded, whose membership has the hash `target`.
pub fn canceled(block: u64, target: &Hash) -> Hash {
    let mut writer = Canonical::new("quorate/cancel/1");
    writer.number(block).fixed(&target.0);
    writer.hash()
}

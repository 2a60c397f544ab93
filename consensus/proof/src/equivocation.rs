//! Evidence that a member signed two things of which it may sign one; and disagreements, which convict nobody.
//!
//! Invariants: an [`Equivocation`] or a [`Contradiction`] holds all of its signatures, so a reader that knows the VatId
//! can check it without trusting the replica that kept it. An honest member never makes the signatures of one: it signs one
//! statement for each block of an epoch, and one membership for each epoch, in all lives of its host. A [`Disagreement`] is a
//! diagnosis: its signer may have been shown another log, and is accused of nothing.
//!
//! Absent: two statements of different blocks or epochs are never evidence here.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::certificate::{Certificate, MemberSignature, Statement};
use super::membership::{Membership, MembershipCertificate};
use super::signers::Signers;
use crate::error::EvidenceError;
use crate::order_evidence::OrderEvidence;
use quorate_ids::{Hash, HostId, VatId};

/// Something with one member's signature over its canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What was signed.
    pub content: T,
    /// The member and its signature.
    pub signature: MemberSignature,
}

/// Where a member may sign one thing only: the epoch that is spoken of, and the block, if it matters.
pub type Place = (u64, Option<u64>);

/// Things of which an honest member signs at most one for each place.
pub trait Exclusive {
    /// The vat that is spoken of.
    fn vat(&self) -> VatId;
    /// The place.
    fn place(&self) -> Place;
    /// The epoch whose members sign it; none if nobody does.
    fn signing_epoch(&self) -> Option<u64>;
    /// The bytes that are signed.
    fn payload(&self) -> Vec<u8>;
}

impl Exclusive for Statement {
    fn vat(&self) -> VatId {
        self.vat
    }

    fn place(&self) -> Place {
        (self.epoch, Some(self.block))
    }

    fn signing_epoch(&self) -> Option<u64> {
        Some(self.epoch)
    }

    fn payload(&self) -> Vec<u8> {
        Statement::payload(self)
    }
}

impl Exclusive for Membership {
    fn vat(&self) -> VatId {
        self.vat
    }

    fn place(&self) -> Place {
        (self.epoch, None)
    }

    fn signing_epoch(&self) -> Option<u64> {
        self.epoch.checked_sub(1)
    }

    fn payload(&self) -> Vec<u8> {
        Membership::payload(self)
    }
}

impl<T: Exclusive> Signed<T> {
    /// The signer.
    pub fn signer(&self) -> HostId {
        self.signature.key
    }

    /// Checks that it was signed by one of these members.
    ///
    /// # Errors
    /// It is of another vat or epoch, the signer is not a member, or the signature is not good.
    pub fn verify(&self, signers: &Signers) -> Result<(), EvidenceError> {
        let (found, expected) = (self.content.vat(), signers.vat);
        if found != expected {
            return Err(crate::error::CertificateError::OtherVat { found, expected }.into());
        }
        if self.content.signing_epoch() != Some(signers.epoch) {
            let found = self.content.signing_epoch().unwrap_or(u64::MAX);
            return Err(crate::error::CertificateError::OtherEpoch { found, expected: signers.epoch }.into());
        }
        if !signers.contains(&self.signature.key) {
            return Err(crate::error::CertificateError::NotAMember(self.signature.key).into());
        }
        Ok(self.signature.verify(&self.content.payload())?)
    }
}

/// Two different things that one member signed for one place. It proves that the member broke the rules, to anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation<T = Statement> {
    /// The one whose bytes come first, so that one pair has one form.
    pub first: Signed<T>,
    /// The other one.
    pub second: Signed<T>,
}

impl<T: Exclusive> Equivocation<T> {
    /// Puts two things together, whichever was seen first.
    pub fn of(one: Signed<T>, other: Signed<T>) -> Self {
        if one.content.payload() <= other.content.payload() {
            Self { first: one, second: other }
        } else {
            Self { first: other, second: one }
        }
    }

    /// The member that is accused. Only [`Equivocation::verify`] tells whether it is guilty.
    pub fn member(&self) -> HostId {
        self.first.signature.key
    }

    /// Checks all of it against the members that sign for the place, and returns the guilty one.
    ///
    /// # Errors
    /// What does not hold: then it proves nothing.
    pub fn verify(&self, signers: &Signers) -> Result<HostId, EvidenceError> {
        let (first, second) = (&self.first, &self.second);
        if first.signature.key != second.signature.key {
            return Err(EvidenceError::TwoMembers(first.signature.key, second.signature.key));
        }
        if first.content.place() != second.content.place() {
            return Err(EvidenceError::TwoPlaces);
        }
        let (one, other) = (first.content.payload(), second.content.payload());
        if one == other {
            return Err(EvidenceError::Same);
        }
        if one > other {
            return Err(EvidenceError::Order);
        }
        first.verify(signers)?;
        second.verify(signers)?;
        Ok(first.signature.key)
    }
}

/// A member signed something else than what this replica computed. It accuses nobody: either may have been shown another log, or be
/// at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// What this replica computed.
    pub own: Statement,
    /// What the member signed.
    pub theirs: Signed<Statement>,
}

/// Two certificates of one vat for one block that say different things: more members lied than the threshold allows for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// The one whose bytes come first.
    pub first: Certificate,
    /// The other one.
    pub second: Certificate,
}

impl Contradiction {
    /// Puts two certificates together, if they are of one vat and block and say different things.
    pub fn of(one: &Certificate, other: &Certificate) -> Option<Self> {
        let contradicts = |a: &Statement, b: &Statement| a.vat == b.vat && a.block == b.block && a != b;
        if !contradicts(&one.statement, &other.statement) {
            return None;
        }
        let (mut first, mut second) = (one.clone(), other.clone());
        if first.statement.payload() > second.statement.payload() {
            std::mem::swap(&mut first, &mut second);
        }
        Some(Self { first, second })
    }

    /// Checks both certificates, each against the members of its epoch, and returns the members that signed both. There is at
    /// least one if the epochs are the same; where they differ it may be that nobody is convicted.
    ///
    /// # Errors
    /// A certificate is not good, or they do not contradict each other.
    pub fn verify(&self, first: &Signers, second: &Signers) -> Result<BTreeSet<HostId>, EvidenceError> {
        let (one, other) = (&self.first.statement, &self.second.statement);
        if one.vat != other.vat || one.block != other.block {
            return Err(EvidenceError::TwoPlaces);
        }
        match one.payload().cmp(&other.payload()) {
            std::cmp::Ordering::Equal => return Err(EvidenceError::Same),
            std::cmp::Ordering::Greater => return Err(EvidenceError::Order),
            std::cmp::Ordering::Less => {}
        }
        first.verify_certificate(&self.first)?;
        second.verify_certificate(&self.second)?;
        Ok(self.equivocations().iter().map(Equivocation::member).collect())
    }

    /// Returns what each member signed that signed both, if they are of one epoch.
    pub fn equivocations(&self) -> Vec<Equivocation> {
        if self.first.statement.epoch != self.second.statement.epoch {
            return Vec::new();
        }
        let signed = |certificate: &Certificate, signature: MemberSignature| Signed {
            content: certificate.statement.clone(),
            signature,
        };
        let both = self.first.signatures.iter().filter_map(|one| {
            let other = self.second.signatures.iter().find(|other| other.key == one.key)?;
            Some(Equivocation { first: signed(&self.first, *one), second: signed(&self.second, *other) })
        });
        both.collect()
    }
}

/// Why a replica stopped: a threshold of its vat's members signed something else than what it computed, or than it had signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // There is at most one for each replica.
pub enum Divergence {
    /// What a block says.
    Statement {
        /// What was certified.
        certificate: Certificate,
        /// What this replica computed.
        own: Statement,
    },
    /// The members.
    Membership {
        /// What was certified.
        certificate: MembershipCertificate,
        /// What this replica computed.
        own: Membership,
    },
    /// What a block says, which came with a checkpoint.
    Signed {
        /// What was certified.
        certificate: Certificate,
        /// Hash of the statement that this replica had signed for that block. Of what it signed it keeps no more.
        signed: Hash,
    },
}

impl Divergence {
    /// A certificate against what this replica had signed, if they are of one block and different.
    pub fn from_signed(certificate: &Certificate, block: u64, signed: Hash) -> Option<Self> {
        let statement = &certificate.statement;
        let contradicts = statement.block == block && statement.hash() != signed;
        contradicts.then(|| Self::Signed { certificate: certificate.clone(), signed })
    }
}

/// What a replica keeps when something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Few are kept, and they are on disk.
pub enum EvidenceRecord {
    /// A member signed two statements for one block.
    Equivocation(Equivocation<Statement>),
    /// A member signed two memberships for one epoch.
    MembershipEquivocation(Equivocation<Membership>),
    /// Two certificates contradict each other.
    Contradiction(Contradiction),
    /// A member signed something else than what this replica computed. It accuses nobody.
    Disagreement(Disagreement),
    /// A threshold signed something else than what this replica computed or had signed, and it stopped. It accuses nobody.
    Divergence(Divergence),
    /// A member broke the rules by which the members agree upon an order: as a leader it showed two logs, or it voted twice.
    Order(OrderEvidence),
}

impl EvidenceRecord {
    /// The vat that it speaks of.
    pub fn vat(&self) -> VatId {
        match self {
            Self::Equivocation(pair) => pair.first.content.vat,
            Self::MembershipEquivocation(pair) => pair.first.content.vat,
            Self::Contradiction(pair) => pair.first.statement.vat,
            Self::Disagreement(disagreement) => disagreement.own.vat,
            Self::Divergence(Divergence::Statement { own, .. }) => own.vat,
            Self::Divergence(Divergence::Membership { own, .. }) => own.vat,
            Self::Divergence(Divergence::Signed { certificate, .. }) => certificate.statement.vat,
            Self::Order(order) => order.vat,
        }
    }

    /// The members that it accuses, as it says itself: nobody has verified it here.
    pub fn accused(&self) -> BTreeSet<HostId> {
        match self {
            Self::Equivocation(pair) => BTreeSet::from([pair.member()]),
            Self::MembershipEquivocation(pair) => BTreeSet::from([pair.member()]),
            Self::Contradiction(pair) => pair.equivocations().iter().map(Equivocation::member).collect(),
            Self::Disagreement(_) | Self::Divergence(_) => BTreeSet::new(),
            Self::Order(order) => BTreeSet::from([order.evidence.accused()]),
        }
    }

    /// The epoch and the block that it is about.
    pub fn place(&self) -> Place {
        match self {
            Self::Equivocation(pair) => pair.first.content.place(),
            Self::MembershipEquivocation(pair) => pair.first.content.place(),
            Self::Contradiction(pair) => pair.first.statement.place(),
            Self::Disagreement(disagreement) => disagreement.own.place(),
            Self::Divergence(Divergence::Statement { own, .. }) => own.place(),
            Self::Divergence(Divergence::Membership { own, .. }) => own.place(),
            Self::Divergence(Divergence::Signed { certificate, .. }) => certificate.statement.place(),
            Self::Order(order) => order.place(),
        }
    }

    /// One word for what it is, as files and JSON have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Equivocation(_) => "equivocation",
            Self::MembershipEquivocation(_) => "membership-equivocation",
            Self::Contradiction(_) => "contradiction",
            Self::Disagreement(_) => "disagreement",
            Self::Divergence(_) => "divergence",
            Self::Order(_) => "order",
        }
    }
}

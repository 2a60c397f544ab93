//! Reasons why something proves nothing.

use quorate_ids::{HostId, VatId};

/// Why a certificate or a membership proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Made for another vat.
    #[error("certificate of vat {found}, expected {expected}")]
    OtherVat { found: VatId, expected: VatId },
    /// Signed in an epoch that is not that of the membership at hand.
    #[error("certificate of epoch {found}, the membership at hand is of epoch {expected}")]
    OtherEpoch { found: u64, expected: u64 },
    /// The membership does not continue the one before it.
    #[error("membership of epoch {0} does not continue the one before it")]
    BrokenChain(u64),
    /// Signed by a key that is no member's.
    #[error("signature of {0}, who is not a member")]
    NotAMember(HostId),
    /// The same member twice.
    #[error("two signatures of {0}")]
    Duplicate(HostId),
    /// A signature that does not verify.
    #[error("the signature of {0} does not verify")]
    BadSignature(HostId),
    /// Too few signatures.
    #[error("{found} good signatures, {needed} are needed")]
    BelowThreshold { found: usize, needed: usize },
    /// A newcomer's own signature is missing, or is another host's.
    #[error("{0} has not signed its own admission")]
    NotEntered(HostId),
    /// A membership or genesis that breaks the rules.
    #[error("invalid membership: {0}")]
    Invalid(String),
    /// A chain longer than is accepted.
    #[error("a chain of {0} memberships is too long")]
    ChainTooLong(usize),
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// What was signed twice is one thing.
    #[error("both signatures are for the same thing, which is no offence")]
    Same,
    /// Two things that one member may sign.
    #[error("the two are of different blocks or epochs, of which a member signs one each")]
    TwoPlaces,
    /// Each signed once.
    #[error("the signatures are of two members, {0} and {1}")]
    TwoMembers(HostId, HostId),
    /// The pair is the wrong way round.
    #[error("the pair is not in the order of its bytes")]
    Order,
    /// A signature or a signer that is not good.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

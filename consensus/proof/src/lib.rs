//! What a vat proves, and to whom: statements and certificates, who signs them, how memberships follow from the VatId, and what
//! is kept of members that contradict.
//!
//! Pure, and free of native code: no storage, clock, network or task, so that clients have it in browsers, too (wasm32). How members come to
//! sign is the affair of `quorate-consensus`, which has all of this under the same names.
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | why something proves nothing |
//! | [`address`] | which addresses a member can have |
//! | [`survival`] | how many members may be lost |
//! | [`certificate`] | statements, signatures, certificates |
//! | [`membership`] | geneses, memberships, and their chain |
//! | [`signers`] | who signs for a vat now: all that its certificates are checked by |
//! | [`tally`] | good signatures that were gathered |
//! | [`clock`] | members' clocks, signed |
//! | [`approval`] | what members approve of |
//! | [`state_root`] | the root that a checkpoint's statement carries |
//! | [`order_evidence`] | members that contradict one another, or themselves, on the order |
//! | [`equivocation`] | the same on results and memberships |

pub mod address;
pub mod approval;
pub mod certificate;
pub mod clock;
pub mod equivocation;
pub mod error;
pub mod membership;
pub mod order_evidence;
pub mod signers;
pub mod state_root;
pub mod survival;
pub mod tally;

mod signature_bytes;

/// What members sign to agree upon an order, as [`OrderEvidence`] holds it.
pub mod order_signed {
    pub use quorate_order::evidence::Evidence;
    pub use quorate_order::signed::{Grant, Lead, Position};
    pub use quorate_order::signing::{Signable, Signature, Signed};
}

pub use address::check_address;
pub use approval::{approve_motion, verify_motion};
pub use certificate::{Certificate, MemberSignature, Statement, verify_certificate};
pub use clock::MAX_TIME_MS;
pub use equivocation::{
    Contradiction, Disagreement, Divergence, Equivocation, EvidenceRecord, Exclusive, Place, Signed,
};
pub use error::{CertificateError, EvidenceError};
pub use membership::{
    Genesis, Introduction, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CHAIN, MAX_MEMBERS, Member, Membership,
    MembershipCertificate, Parameters, Recovered, verify_membership,
};
pub use order_evidence::OrderEvidence;
pub use quorate_ids::{Canonical, Hash, HostId, IdError, VatId};
pub use signers::Signers;
pub use state_root::state_root as checkpoint_root;
pub use survival::{Survival, default_threshold, survival};
pub use tally::Tally;

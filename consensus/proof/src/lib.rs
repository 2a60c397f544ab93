//! Proofs of a vat: statements and certificates, their signers, the chain of memberships from the VatId on, and evidence of
//! members that contradict themselves or one another.
//!
//! Pure, and free of native code: no storage, clock, network or task, so that clients use it in browsers, too (wasm32). `quorate-consensus` makes
//! the signatures, and re-exports all of this.
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | reasons why something proves nothing |
//! | [`address`] | addresses of members |
//! | [`survival`] | how many members may be down, or lie |
//! | [`certificate`] | statements, signatures, certificates |
//! | [`membership`] | geneses, memberships, and their chain |
//! | [`signers`] | the present signers of a vat: enough to check its certificates |
//! | [`tally`] | gathered good signatures |
//! | [`clock`] | members' clocks, signed |
//! | [`approval`] | approvals of owners |
//! | [`state_root`] | the root that a checkpoint's statement carries |
//! | [`order_evidence`] | evidence about the order |
//! | [`equivocation`] | evidence about results and memberships |

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

mod remembered;
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

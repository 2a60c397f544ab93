//! Statements, certificates and memberships from `quorate-proof`, and the tally that makes certificates of shares.
//!
//! Pure: no storage and no tasks; the caller passes the time.

pub(crate) mod shares;

pub(crate) use quorate_proof::{
    address, approval, certificate, clock, equivocation, membership, order_evidence, signers, survival, tally,
};

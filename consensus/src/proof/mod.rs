//! What members sign, as `quorate-proof` has it, and the shares that become certificates.
//!
//! Pure: no storage, no clock but the instants that it is given, no tasks.

pub(crate) mod shares;

pub(crate) use quorate_proof::{
    address, approval, certificate, clock, equivocation, membership, order_evidence, signers, survival, tally,
};

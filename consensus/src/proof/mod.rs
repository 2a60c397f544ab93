//! What a vat proves, and to whom: statements and certificates, who signs them, how memberships follow from the VatId, and what
//! is kept of members that contradict.
//!
//! Pure: no storage, no clock but the instants that it is given, no tasks.

pub(crate) mod address;
pub(crate) mod approval;
pub(crate) mod certificate;
pub(crate) mod clock;
pub(crate) mod equivocation;
pub(crate) mod membership;
pub(crate) mod order_evidence;
pub(crate) mod shares;
pub(crate) mod signers;
pub(crate) mod survival;
pub(crate) mod tally;

//! Executing the log: the machine that a vat is, what runs it, and where.

pub(crate) mod executor;
pub(crate) mod machine;
pub(crate) mod place;

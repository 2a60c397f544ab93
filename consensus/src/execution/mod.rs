//! Executing the log: the machine that a vat is, and the thread that runs it.

pub(crate) mod executor;
pub(crate) mod machine;

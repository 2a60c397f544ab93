//! The messages by which members agree on an order, and the rules that make one admissible. Pure: no openraft.

pub(crate) mod admissible;
pub(crate) mod chain;
pub(crate) mod frames;

//! What members say to each other to agree on an order, and which of it is admissible. Pure: nothing of openraft is here.

pub(crate) mod admissible;
pub(crate) mod chain;
pub(crate) mod frames;

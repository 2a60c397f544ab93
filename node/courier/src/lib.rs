//! Carries a vat's messages to the receiving vats: for a host's vats, and for a client.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`log_limiter`] | | one line a minute for events that peers can cause |
//! | [`addresses`] | | newest address records of hosts, and a network that dials by them |
//! | [`lookup`] | | asks hosts who a vat's members are |
//! | [`courier`] | `log_limiter`, `lookup` | ships slices until they are acknowledged |

pub mod addresses;
pub mod courier;
pub mod log_limiter;
pub mod lookup;

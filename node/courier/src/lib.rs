//! How what a vat said comes to the vats that it was said to, whoever carries the sender: a host for its vats, a client for itself.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`log_limiter`] | | one line a minute for what somebody else can cause |
//! | [`lookup`] | | asks hosts who a vat's members are |
//! | [`courier`] | `log_limiter`, `lookup` | ships slices, and sees that they arrive |

pub mod courier;
pub mod log_limiter;
pub mod lookup;

//! Cap'n Web, so that its clients, which know nothing of vats, call them.
//!
//! | module | what it does |
//! |---|---|
//! | [`session`] | tables and messages of one session; pure |
//! | `expression` | reads and writes what stands for values and references |
//! | `data` | values with what they refer to |

mod data;
mod expression;
pub(crate) mod session;
#[cfg(test)]
mod tests;

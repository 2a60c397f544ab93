//! Cap'n Web, so that its clients, which know nothing of vats, call them: at a host's gateway, and in a page that checks for itself.
//!
//! | module | what it does |
//! |---|---|
//! | [`session`] | tables and messages of one session; pure |
//! | `expression` | reads and writes what stands for values and references |
//! | `data` | values with what they refer to |

mod data;
mod expression;
pub mod session;
#[cfg(test)]
mod tests;

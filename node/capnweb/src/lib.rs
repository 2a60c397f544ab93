//! Cap'n Web, so that its clients, which know nothing of vats, call them: at a host's gateway, and in a page that checks for itself.
//!
//! | module | what it does |
//! |---|---|
//! | [`session`] | tables and messages of one session; pure |
//! | `expression` | reads and writes what stands for values and references |
//! | [`vats`] | what a session asks of its vats, and how they are found; pure |
//! | `data` | values with what they refer to |

mod data;
mod expression;
pub mod session;
pub mod vats;

pub use data::Remote;

#[cfg(test)]
mod tests;

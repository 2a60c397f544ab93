//! The order protocol: members of a vat agree upon one order of entries although some of them lie.
//!
//! It goes around Raft, which replicates and elects but proves nothing. Raft's two rounds become the two phases of PBFT: signed
//! acknowledgements make an *order certificate*, signed shares make a *certificate*, and only the latter is final.
//!
//! ```text
//!  leader                     follower                       all
//!  Append{Lead, entries} ───► append()  flushed() ── Ack ──► acked()  t of one term: order certificate
//!                                                              │ tentative: execute
//!  certificate (final)  ◄──── t shares of one term ◄── Share ──┘ order certificate and guard on disk first
//!  stand() ── Stand ──► vote() ── Grant (position) ──► granted()   t: TermProof with its base, in the first Append
//! ```
//!
//! The rules, by the names that modules and tests use: CHAIN `chain`; HEADER `member/lead`; ACK and ON APPEND `member/append`; OC
//! `proofs`; COMMIT, SHARE, CERT and GUARD `member/share`; GRANT `member/election`; REOPEN `member/append`; EPOCH `member/boundary`;
//! COMPLAIN `member/complaint`; catch-up `member/checkpoint`. Evidence is in `evidence`. `docs/adr/0020` has the argument why they
//! are safe and live, `docs/protocol.md` the bytes.
//!
//! Invariants: no clock, randomness, I/O, threads or hash maps. A method takes a message or an event, changes the member's state, and
//! says by [`Output`] what follows, in order: a message leaves only when all writes before it are on disk.
//!
//! Absent: retransmission, timers, transport and storage are the caller's. Which of it is in use: `docs/adr/0020`.

#[macro_use]
mod plants;
pub mod chain;
#[cfg(test)]
mod check;
pub mod epoch;
pub mod evidence;
pub mod member;
pub mod proofs;
pub mod refusal;
pub mod signed;
pub mod signing;
#[cfg(test)]
mod tests;

pub use member::{Durable, Member, Output, Step};

//! Proofs for somebody who runs nothing: what files hold, and what follows from them.
//!
//! `file` is the format; `check` draws the conclusions, from the VatId and the signatures alone; `words` says them.

pub mod check;
pub mod file;
mod words;

pub use check::{CheckError, Checked, Finding, check};
pub use file::{FileError, ProofFile};

//! Proofs for readers that run nothing: the content of files, and the conclusions from them.
//!
//! `file` is the format; `check` draws the conclusions, from the VatId and the signatures alone; `words` describes them.

pub mod check;
pub mod file;
mod words;

pub use check::{CheckError, Checked, Finding, check};
pub use file::{FileError, ProofFile};

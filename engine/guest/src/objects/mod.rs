//! Objects that mean something to the runtime: which are references, promises, or the language's own, and how they are made tamper-proof.

pub mod base;
pub mod far;
pub mod harden;
pub mod inspect;
pub mod lost;
pub mod marks;
pub mod presence;
pub mod promise;
pub mod sender;
pub mod vow;
pub mod weak;

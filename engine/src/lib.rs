//! What a vat is: its heap, its tables, and what the commands of its log do to them.
//!
//! Pure: no clock, no network, no randomness; the disk only for the cache of the compiled image. [`machine::Machine`] is the
//! way in. Evidence, agreement and transport are other crates' work, and nothing here knows of them.

pub mod abi;
pub mod comms;
pub mod error;
pub mod heap;
pub mod image;
pub mod machine;
pub mod wire;

pub use error::EngineError;
pub use machine::Machine;
pub use quorate_ids::{Hash, VatId};

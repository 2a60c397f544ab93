//! What a vat is: its heap, its tables, and what the commands of its log do to them.
//!
//! Pure: no clock, no network, no randomness; the disk only for the cache of the compiled image. [`machine::Machine`] is the
//! way in. What vats say to each other is in `quorate-streams`, which clients have, too; its modules [`abi`] and [`wire`] are here as
//! well, and [`comms`] has its streams. Evidence, agreement and transport are other crates' work, and nothing here knows of them.
//!
//! The modules, from the bottom upwards; each uses only those above it in this list (`testnet/tests/module_graph.rs`):
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | faults of the host |
//! | [`sandbox`] | WebAssembly instances: imports, memory, stack, whose fault it is when one stops |
//! | [`image`] | images, compiled, with their base heaps |
//! | [`heap`] | one vat's heap: deliveries, rollback, checkpoints |
//! | [`comms`] | the tables of one vat towards all others |
//! | [`machine`] | commands of the log, carried out on tables and heap |

pub mod comms;
pub mod error;
pub mod heap;
pub mod image;
pub mod machine;
pub mod sandbox;

pub use error::EngineError;
pub use machine::Machine;
pub use quorate_ids::{Hash, VatId};
pub use quorate_streams::{abi, wire};
pub use sandbox::fuel_prices_hash;

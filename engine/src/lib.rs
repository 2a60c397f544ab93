//! A vat: its heap, its tables, and the execution of its log's commands.
//!
//! Pure: no clock, no network, no randomness; the disk only for the cache of the compiled image. [`machine::Machine`] is the
//! entry point. Messages between vats are in `quorate-streams`, which clients use, too. Its modules [`abi`] and [`wire`] are re-exported
//! here, and [`comms`] uses its streams. Evidence, agreement and transport are in other crates.
//!
//! The modules, from the bottom upwards; each uses only those above it in this list (`testnet/tests/module_graph.rs`):
//!
//! | module | what it holds |
//! |---|---|
//! | [`error`] | faults of the host |
//! | [`sandbox`] | WebAssembly instances: imports, memory, stack, and who is at fault when one stops |
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
pub use sandbox::{fuel_prices_hash, wasmtime_version};

//! What vats say to each other, and one end of it: values, messages, streams, a client's session, and the commands of a vat's log.
//!
//! Pure, and free of native code: no clock, network, disk, thread or sandbox, so that clients have it in browsers, too (wasm32). Who signs a
//! stream's head, and why that is believed, is the affair of `quorate-proof` and of the crates of `node`; what a vat does with a message is
//! that of `quorate-engine`, which has all of these modules under the same names.
//!
//! The modules, from the bottom upwards; each uses only those above it in this list (`testnet/tests/module_graph.rs`):
//!
//! | module | what it holds |
//! |---|---|
//! | [`abi`] | what host and guest say to each other, and values |
//! | [`wire`] | what vats say to each other |
//! | [`limits`] | how much two vats keep of one another |
//! | [`pair`] | names of promises between two vats |
//! | [`publication`] | what can be published |
//! | [`stream`] | one direction of what two vats say, under a chained hash |
//! | [`client`] | one side of a pair of streams, without a vat |
//! | [`command`] | what a vat can be told by its log |

// The engine's guest is built from this file as well, by its path. If it lay elsewhere, the image would be another one.
#[path = "../../src/abi.rs"]
pub mod abi;
#[cfg(all(target_arch = "wasm32", not(target_os = "wasi")))]
mod abi_in_browsers;
pub mod client;
pub mod command;
pub mod limits;
pub mod pair;
pub mod publication;
pub mod stream;
pub mod wire;

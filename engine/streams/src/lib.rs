//! Messages between vats, and a client's end of a stream: values, messages, streams, a client's session, and the commands of a vat's log.
//!
//! Pure, and free of native code: no clock, network, disk, thread or sandbox, so that clients use it in browsers, too (wasm32). `quorate-proof` and the
//! crates of `node` sign and check a stream's head. `quorate-engine` executes messages, and re-exports all of these modules.
//!
//! The modules, from the bottom upwards; each uses only those above it in this list (`testnet/tests/module_graph.rs`):
//!
//! | module | what it holds |
//! |---|---|
//! | [`abi`] | the interface of host and guest, and values |
//! | [`wire`] | messages between vats |
//! | [`limits`] | limits of what two vats keep for one another |
//! | [`pair`] | names of promises between two vats |
//! | [`publication`] | data that can be published |
//! | [`stream`] | the messages of one direction, under a chained hash |
//! | [`client`] | one side of a pair of streams, without a vat |
//! | [`command`] | the commands of a vat's log |

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

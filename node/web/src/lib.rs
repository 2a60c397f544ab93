//! The client that checks in the page: Cap'n Web for the page on one side, frames for a host on the other, and all checks between them.
//!
//! Pure: texts, frames and the time go in, texts and frames come out. Compiled for `wasm32-unknown-unknown` it needs nothing from outside; the
//! JavaScript beside it (`js/`) has the WebSocket, the clock, randomness and the page's store of keys.
//!
//! | module | uses | what it does |
//! |---|---|---|
//! | `entropy` | | secrets, from what the page gave at the start |
//! | `link` | `entropy` | the vats of a session, by the one host that carries the frames |
//! | [`page`] | `entropy`, `link` | one session |
//! | `boundary` | `page` | the same for WebAssembly: numbers and bytes |
//!
//! Invariant: the host is believed nothing but where a vat's members are, and how many blocks a vat has: the one costs time at most if it is
//! wrong, the other decides how long the vat remembers this client.

#[cfg(target_arch = "wasm32")]
mod boundary;
mod entropy;
mod link;
pub mod page;

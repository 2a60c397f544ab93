//! One client's conversation with one vat, checked at the client. The client's key certifies its messages. The client believes an answer only if the
//! vat's members have signed it.
//!
//! Pure, for programs and browsers alike: `quorate-client` carries conversations by libp2p, `quorate-web` by a WebSocket to any host. Neither
//! is trusted, and neither is the host at the other end.
//!
//! | module | what it holds |
//! |---|---|
//! | [`conversation`] | both sides of the streams, and the vat's present signers |
//! | [`prover`] | what proves answers to others |

pub mod conversation;
pub mod prover;

pub use conversation::{Conversation, NotTaken, Said, Taken};
pub use prover::Prover;

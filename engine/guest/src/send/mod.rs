//! Sending: `E` and what becomes of a message, here and from elsewhere.

pub mod answers;
pub mod cancel;
pub mod dispatch;
pub mod e;
pub mod handled;
pub mod route;
pub mod unhandled;

//! What `E(x)` is. What it does is in `send::e`.

use boa_engine::builtins::proxy::Proxy;
use boa_engine::{Finalize, JsObject, JsValue, Trace};

/// How what is said to a sender is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Trace, Finalize)]
#[boa_gc(empty_trace)]
pub enum Kind {
    Send,
    SendOnly,
    Get,
}

/// `E(x)`: whose every name is a method that sends to `x`. It stays hidden: whoever can send to it need not be able to call it.
#[derive(Debug, Trace, Finalize)]
pub struct Sender {
    pub subject: JsValue,
    pub kind: Kind,
}

/// Whether `object` itself says what properties it has, as proxies and senders do.
pub fn answers_itself(object: &JsObject) -> bool {
    object.is::<Proxy>() || object.is::<Sender>()
}

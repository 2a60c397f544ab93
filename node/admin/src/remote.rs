//! Requests to a host's interface that come over the network between hosts, from operators that its config names.
//!
//! Both ends prove their keys in the handshake of the connection. So nothing of a request has to prove anything.

use crate::client::ApiClientError;
use serde::{Deserialize, Serialize};
use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// The largest body of a request or an answer: what is beside it in a frame is small.
pub const MAX_REMOTE_BODY_BYTES: usize = (16 << 20) - 4096;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRequest {
    /// The path, with the query.
    pub path: String,
    /// The body of a `POST`; nothing for a `GET`.
    pub body: Option<Vec<u8>>,
    /// Whether the body is JSON.
    pub json: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteReply {
    /// As in HTTP.
    pub status: u16,
    pub body: Vec<u8>,
}

/// An answer that comes later.
pub type Answered = Pin<Box<dyn Future<Output = Result<RemoteReply, ApiClientError>> + Send>>;

/// Carries requests to one host.
pub trait Carrier: Send + Sync {
    /// Sends a request.
    fn ask(&self, request: RemoteRequest) -> Answered;
}

/// A host on another machine.
#[derive(Clone)]
pub struct Remote(pub Arc<dyn Carrier>);

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Remote")
    }
}

impl PartialEq for Remote {
    fn eq(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Remote {}

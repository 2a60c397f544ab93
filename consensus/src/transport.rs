//! The network interface of consensus: requests to authenticated members, with an answer.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::proof::membership::Member;

pub use crate::error::TransportError;

/// Kinds of frames. Each deserves a stream of its own, so that large ones never delay urgent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Log entries to followers.
    Append,
    /// Votes and heartbeats.
    Vote,
    /// Checkpoints to members that are far behind.
    Snapshot,
    /// Shares of certificates, introductions.
    Share,
    /// Proposals to the leader.
    Propose,
}

impl Channel {
    /// All of them.
    pub const ALL: [Channel; 5] = [Channel::Append, Channel::Vote, Channel::Snapshot, Channel::Share, Channel::Propose];

    /// Name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Append => "append",
            Channel::Vote => "vote",
            Channel::Snapshot => "snapshot",
            Channel::Share => "share",
            Channel::Propose => "propose",
        }
    }
}

/// Carries frames of at most [`crate::MAX_FRAME_BYTES`] to members. Several requests to one member may be under way at once.
pub trait Transport: Send + Sync + 'static {
    /// Sends a frame and brings the answer.
    fn request(
        &self,
        to: &Member,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>>;

    /// Sends a heartbeat and brings the answer: a frame of [`Channel::Vote`] that may wait for a moment, to go with those of other vats.
    fn beat(&self, to: &Member, frame: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        self.request(to, Channel::Vote, frame, deadline)
    }
}

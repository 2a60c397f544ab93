//! For tests and simulations: a member that lies, a witness of an honest one, and the checks that every store must pass. No
//! production build has this.
//!
//! The liar wraps the frames of a member whose replica is the production code and knows nothing of it. It changes
//! the frames and answers of that replica, and makes up frames of its own. It has the member's key and no other.

pub mod decoders;
pub(crate) mod fabricated;
pub(crate) mod faces;
mod false_signer;
mod heard;
mod liar;
mod lying_leader;
pub(crate) mod stores;

pub use crate::raft::suite::log_conforms;
pub use crate::storage::records::{Records, apply, range};
pub use false_signer::{Alter, FalseSigner};
pub use liar::{Fabrication, Liar, Lie, Throw};
pub use lying_leader::{LeaderLie, LyingLeader, STARVED};
pub use stores::store_conforms;

use crate::codec;
use crate::proof::certificate::Statement;
use crate::proof::shares::Share;
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::transport::Channel;

/// Returns whether a frame tells a member of something that a leader has not ordered: it may be ordered twice then.
pub fn is_wanted(channel: Channel, frame: &[u8]) -> bool {
    channel == Channel::Share && matches!(codec::decode(frame), Ok(ShareFrame::Wanted { .. }))
}

/// The statements whose shares a frame carries to others, or an answer does.
pub fn signed_statements(channel: Channel, frame: &[u8], is_answer: bool) -> Vec<Statement> {
    if channel != Channel::Share {
        return Vec::new();
    }
    let shares = if is_answer {
        codec::decode::<ShareReply>(frame).map(|reply| reply.shares).unwrap_or_default()
    } else {
        match codec::decode(frame) {
            Ok(ShareFrame::Push(shares)) => shares,
            _ => Vec::new(),
        }
    };
    let statement = |share| match share {
        Share::Statement(statement, _) => Some(statement),
        Share::Membership(..) => None,
    };
    shares.into_iter().filter_map(statement).collect()
}

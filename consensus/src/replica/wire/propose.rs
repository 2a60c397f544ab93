//! The propose channel: proposals that a member forwards to the leader, and their answers.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::codec::Blob;
use crate::error::ProposeError;
use crate::replica::handle::Proposed;
use crate::replica::tasks::proposer::{MAX_BLOCK_COMMANDS, Proposal};
use crate::state::block::Control;

/// Bytes of the largest control, about: a newcomer with its addresses, and two signatures of each member.
const MAX_CONTROL_BYTES: usize = 16 << 10;

#[allow(clippy::large_enum_variant, reason = "few wait at a time, and a frame's size is bounded by bytes")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Payload {
    Command(Blob),
    /// Answered with the reason of a refusal, or nothing.
    Control(Control),
}

impl Payload {
    pub(crate) fn size(&self) -> usize {
        match self {
            Payload::Command(bytes) => bytes.0.len(),
            Payload::Control(_) => MAX_CONTROL_BYTES,
        }
    }
}

/// Proposals handed to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProposeFrame(pub(crate) Vec<Payload>);

/// Their answers, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProposeReply(pub(crate) Vec<ForwardedResult>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardedResult {
    Done {
        block: u64,
        result: Vec<u8>,
    },
    NotProposed,
    Unknown,
    /// The leader takes no new work, for this reason.
    Refused(String),
}

/// Serves proposals that another member hands on.
pub(crate) async fn serve(proposer: &mpsc::Sender<Proposal>, frame: ProposeFrame) -> ProposeReply {
    let mut answers = Vec::new();
    for payload in frame.0.into_iter().take(MAX_BLOCK_COMMANDS) {
        let (reply, answer) = oneshot::channel();
        let proposal = Proposal { payload, forwarded: true, reply };
        answers.push(proposer.try_send(proposal).is_ok().then_some(answer));
    }
    let mut results = Vec::new();
    for answer in answers {
        let Some(answer) = answer else {
            results.push(ForwardedResult::NotProposed);
            continue;
        };
        results.push(match answer.await {
            Ok(Ok(Proposed { block, result })) => ForwardedResult::Done { block, result },
            Ok(Err(ProposeError::Unknown)) | Err(_) => ForwardedResult::Unknown,
            Ok(Err(ProposeError::Refused(why))) => ForwardedResult::Refused(why),
            Ok(Err(_)) => ForwardedResult::NotProposed,
        });
    }
    ProposeReply(results)
}

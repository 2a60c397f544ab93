//! The messages by which members complain of a leader that does not order their commands.

use serde::{Deserialize, Serialize};

use quorate_order::proofs::TermProof;
use quorate_order::signed::Complaint;
use quorate_order::signing::Signed;

/// A complaint of the present leader, on the share channel. The answer has the receiver's order certificate, if it goes farther.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComplaintFrame {
    pub(crate) complaint: Signed<Complaint>,
    /// The proof of that leader's election, which the receiver may lack.
    pub(crate) proof: Option<Box<TermProof>>,
    /// Up to where the order is proven at the sender.
    pub(crate) ordered: u64,
    /// The complaints of a threshold, if the sender has left the leader: the receiver leaves it as well.
    pub(crate) ended_by: Vec<Signed<Complaint>>,
}

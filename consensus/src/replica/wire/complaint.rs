//! The messages by which members complain of a leader that does not order their commands.

use serde::{Deserialize, Serialize};

use quorate_order::proofs::{OrderCertificate, TermProof};
use quorate_order::signed::Complaint;
use quorate_order::signing::Signed;

/// A complaint of the present leader, on the share channel. The answer has the receiver's order certificate, if it goes farther.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComplaintFrame {
    pub(crate) complaint: Signed<Complaint>,
    /// The proof of that leader's election, which the receiver may lack.
    pub(crate) proof: Option<Box<TermProof>>,
    /// The sender's order certificate, if it has one. The receiver may lack it: its leader may keep it from this member alone, and a
    /// newcomer that has not executed the entry by which it becomes a member can't complain.
    pub(crate) order: Option<Box<OrderCertificate>>,
    /// The complaints of a threshold, if the sender has left the leader: the receiver leaves it as well.
    pub(crate) ended_by: Vec<Signed<Complaint>>,
}

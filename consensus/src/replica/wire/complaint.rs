//! What members say to each other of a leader that does not order what it is given.

use serde::{Deserialize, Serialize};

use quorate_order::proofs::TermProof;
use quorate_order::signed::Complaint;
use quorate_order::signing::Signed;

/// A complaint of the present leader, on the share channel. The answer has the receiver's order certificate, if it goes farther.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComplaintFrame {
    pub(crate) complaint: Signed<Complaint>,
    /// Who elected that leader: the receiver may not have heard of it.
    pub(crate) proof: Option<Box<TermProof>>,
    /// Up to where the order is proven at the sender.
    pub(crate) ordered: u64,
}

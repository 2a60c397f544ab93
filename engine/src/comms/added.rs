//! What a version added to the tables, apart from the rest.
//!
//! Members of the version before encode the rest as ever: they agree as long as there is nothing of this, and their homes can be opened.

use super::Comms;
use super::stream::Mark;
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// See the head of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Peers that were dropped for good.
    dropped: BTreeSet<VatId>,
    /// The marks of streams to peers, where there are any.
    marks: BTreeMap<VatId, VecDeque<Mark>>,
}

impl Added {
    /// Returns whether the version before has all that there is.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.marks.is_empty()
    }
}

impl Comms {
    /// What a checkpoint has apart.
    pub(crate) fn added(&self) -> Added {
        let marks = self.peers.iter().map(|(vat, peer)| (*vat, peer.out.kept_marks()));
        let marks = marks.filter(|(_, marks)| !marks.is_empty()).map(|(vat, marks)| (vat, marks.clone()));
        Added { dropped: self.dropped.clone(), marks: marks.collect() }
    }

    /// Sets what a checkpoint has apart.
    pub(crate) fn set_added(&mut self, added: Added) {
        self.dropped = added.dropped;
        for (vat, marks) in added.marks {
            if let Some(peer) = self.peers.get_mut(&vat) {
                peer.out.set_marks(marks);
            }
        }
    }
}

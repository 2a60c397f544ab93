//! Evidence that a member broke the rules of the order.
//!
//! Invariant: it holds all of its signatures. An honest member never makes both: it leads one log in each term, votes once in
//! a term, and acknowledges one log in it, in all lives of its host.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::certificate::MemberSignature;
use super::equivocation::Place;
use quorate_ids::{Hash, HostId, VatId};
use quorate_order::chain::Point;
use quorate_order::epoch::Epoch;
use quorate_order::evidence::{Evidence, NoEvidence};
use quorate_order::signing::{Checking, Signature};

/// Two signatures of one member of a vat that contradict each other, of those that the order is agreed upon with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvidence {
    /// The vat: it is in the signed bytes.
    pub vat: VatId,
    /// The two.
    pub evidence: Evidence,
}

impl OrderEvidence {
    /// Checks all of it against those who are, or were, members, and returns the guilty one. (Which epoch it is of, these signatures do
    /// not say yet.)
    ///
    /// # Errors
    /// What does not hold: then it proves nothing.
    pub fn verify(&self, members: &BTreeSet<HostId>) -> Result<HostId, NoEvidence> {
        let members: Vec<HostId> = members.iter().copied().collect();
        let root = Point { term: 0, index: 0, chain: Hash::ZERO };
        let threshold = members.len();
        let epoch = Epoch::fixed(self.vat, 0, members, threshold, root);
        self.evidence.verify(&epoch, &Checks)
    }

    /// The epoch, and the index in the log that it is about, if any.
    pub fn place(&self) -> Place {
        match &self.evidence {
            Evidence::Acks(one, _) => (one.content.epoch, Some(one.content.index)),
            Evidence::Headers { first, .. } => (first.content.epoch, Some(first.content.last)),
            Evidence::Shares(one, _) => (one.content.epoch, Some(one.content.block)),
            Evidence::Grants(one, _) => (one.content.epoch, None),
            Evidence::Amnesia(share, _) => (share.content.epoch, Some(share.content.block)),
        }
    }

    /// The term that it is about: that of the earlier signature.
    pub fn term(&self) -> u64 {
        match &self.evidence {
            Evidence::Acks(one, _) => one.content.term,
            Evidence::Headers { first, .. } => first.content.term,
            Evidence::Shares(one, _) => one.content.term,
            Evidence::Grants(one, _) => one.content.term,
            Evidence::Amnesia(share, _) => share.content.term,
        }
    }

    /// Returns what the member did, as the end of a sentence that begins with its name.
    pub fn deed(&self) -> String {
        let term = self.term();
        match &self.evidence {
            Evidence::Acks(one, _) => {
                format!("acknowledged two logs in term {term}, which differ at {}", one.content.index)
            }
            Evidence::Headers { first, .. } => {
                format!("led term {term} and showed two logs, which differ at {} or before", first.content.last)
            }
            Evidence::Shares(one, _) => format!("signed two results of block {} in term {term}", one.content.block),
            Evidence::Grants(..) => format!("voted twice in term {term}"),
            Evidence::Amnesia(share, vote) => format!(
                "signed a result of block {} in term {term}, and voted in term {} as if it had never seen that order",
                share.content.block, vote.content.term
            ),
        }
    }
}

/// Checks signatures of members.
pub struct Checks;

impl Checking for Checks {
    fn verify(&self, signer: &HostId, payload: &[u8], signature: &Signature) -> bool {
        MemberSignature { key: *signer, signature: signature.0 }.verify(payload).is_ok()
    }
}

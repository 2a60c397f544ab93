//! What convinces a third party that a member broke the rules (A.4): pairs of its signatures that no honest member ever makes.
//!
//! Everything is checked from the epoch alone. Not evidence: two shares of different terms, a share and a certificate that differ, a
//! refusal, silence, a log that lacks a base.

use crate::chain::{Head, next_chain};
use crate::epoch::Epoch;
use crate::signed::{Ack, Grant, Lead, Position, Share};
use crate::signing::{Checking, Signable, Signed};
use quorate_ids::{Hash, HostId};
use serde::{Deserialize, Serialize};

/// Most entries between two headers that contradict each other.
pub const MAX_LINKS: usize = 4096;

/// Two signatures of one member that convict it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// It acknowledged two chains at one (epoch, term, index).
    Acks(Signed<Ack>, Signed<Ack>),
    /// As the leader of one term it showed two logs: the second header is `heads` after `before` at the first one's last index, and the
    /// first has another chain there. No heads: both headers are of one index.
    Headers {
        /// The header that does not go as far.
        first: Signed<Lead>,
        /// The other one.
        second: Signed<Lead>,
        /// The chain at the first one's last index that leads to the second.
        before: Hash,
        /// The entries from there on.
        heads: Vec<Head>,
    },
    /// It shared two results of one block in one term.
    Shares(Signed<Share>, Signed<Share>),
    /// It voted twice in one term.
    Grants(Signed<Grant>, Signed<Grant>),
    /// It shared a block, and later voted as if it had never seen a proof of the block's order, and was not overruled between.
    Amnesia(Signed<Share>, Signed<Grant>),
}

/// Why a pair convicts nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// Two members signed.
    #[error("two members signed the two, {0} and {1}")]
    TwoMembers(HostId, HostId),
    /// The signer is not a member, or a signature is bad.
    #[error("a signature of {0} that does not count")]
    BadSignature(HostId),
    /// They do not contradict each other.
    #[error("an honest member may sign both")]
    Compatible,
    /// The entries do not lead from one header to the other.
    #[error("the entries do not lead to the second header")]
    BrokenLinks,
}

impl Evidence {
    /// Checks all of it against the members of the epoch, and returns the guilty one.
    ///
    /// # Errors
    /// What does not hold: then it proves nothing.
    pub fn verify(&self, epoch: &Epoch, checking: &dyn Checking) -> Result<HostId, NoEvidence> {
        let contradict = match self {
            Self::Acks(one, other) => {
                pair(one, other, epoch, checking)?;
                acks_contradict(&one.content, &other.content)
            }
            Self::Headers { first, second, before, heads } => {
                pair(first, second, epoch, checking)?;
                headers_contradict(&first.content, &second.content, before, heads)?
            }
            Self::Shares(one, other) => {
                pair(one, other, epoch, checking)?;
                shares_contradict(&one.content, &other.content)
            }
            Self::Grants(one, other) => {
                pair(one, other, epoch, checking)?;
                grants_contradict(&one.content, &other.content)
            }
            Self::Amnesia(share, grant) => {
                pair(share, grant, epoch, checking)?;
                amnesia(&share.content, &grant.content)
            }
        };
        if contradict && self.epoch() == epoch.number { Ok(self.accused()) } else { Err(NoEvidence::Compatible) }
    }

    /// The accused member. Only [`Evidence::verify`] tells whether it is guilty.
    pub fn accused(&self) -> HostId {
        match self {
            Self::Acks(one, _) => one.by,
            Self::Headers { first, .. } => first.by,
            Self::Shares(one, _) => one.by,
            Self::Grants(one, _) => one.by,
            Self::Amnesia(share, _) => share.by,
        }
    }

    fn epoch(&self) -> u64 {
        match self {
            Self::Acks(one, _) => one.content.epoch,
            Self::Headers { first, .. } => first.content.epoch,
            Self::Shares(one, _) => one.content.epoch,
            Self::Grants(one, _) => one.content.epoch,
            Self::Amnesia(share, _) => share.content.epoch,
        }
    }
}

fn pair<A: Signable, B: Signable>(
    one: &Signed<A>,
    other: &Signed<B>,
    epoch: &Epoch,
    checking: &dyn Checking,
) -> Result<(), NoEvidence> {
    if one.by != other.by {
        return Err(NoEvidence::TwoMembers(one.by, other.by));
    }
    let good = epoch.contains(&one.by) && one.verifies(&epoch.vat, checking) && other.verifies(&epoch.vat, checking);
    if good { Ok(()) } else { Err(NoEvidence::BadSignature(one.by)) }
}

/// Returns whether no honest member acknowledges both.
pub(crate) fn acks_contradict(one: &Ack, other: &Ack) -> bool {
    let epoch = |ack: &Ack| if planted!(EpochNotSigned) { 0 } else { ack.epoch };
    let place = |ack: &Ack| (epoch(ack), ack.term, ack.index);
    place(one) == place(other) && one.chain != other.chain
}

/// Returns whether no honest member shares both.
pub(crate) fn shares_contradict(one: &Share, other: &Share) -> bool {
    let term = |share: &Share| if planted!(StatementsWithoutTerm) { 0 } else { share.term };
    let place = |share: &Share| (share.epoch, term(share), share.block);
    place(one) == place(other) && (one.chain, one.statement) != (other.chain, other.statement)
}

/// Returns whether no honest member votes both ways.
pub(crate) fn grants_contradict(one: &Grant, other: &Grant) -> bool {
    (one.epoch, one.term) == (other.epoch, other.term) && one != other
}

/// Returns whether no honest member votes like that after it shared like that.
pub(crate) fn amnesia(share: &Share, grant: &Grant) -> bool {
    let shared = Position { epoch: share.epoch, term: share.term, index: share.block };
    let overruled = grant.since > share.term && !planted!(AmnesiaWithoutSince);
    grant.epoch == share.epoch && grant.term > share.term && grant.position < shared && !overruled
}

fn headers_contradict(first: &Lead, second: &Lead, before: &Hash, heads: &[Head]) -> Result<bool, NoEvidence> {
    if heads.len() > MAX_LINKS || first.last.checked_add(heads.len() as u64) != Some(second.last) {
        return Err(NoEvidence::BrokenLinks);
    }
    let (mut chain, mut index) = (*before, first.last);
    for head in heads {
        index += 1;
        chain = next_chain(&chain, index, head);
    }
    if chain != second.chain {
        return Err(NoEvidence::BrokenLinks);
    }
    Ok((first.epoch, first.term) == (second.epoch, second.term) && first.chain != *before)
}

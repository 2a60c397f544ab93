//! What `t` signatures prove: an order, the leader of a term, the result of a block.
//!
//! Invariants: signatures are of different members of the epoch, all good, and at least `t`; one that is bad, foreign or doubled
//! spoils the proof. All signatures of a proof are of one term.

use crate::epoch::Epoch;
use crate::signed::{Ack, Grant, Position, Share};
use crate::signing::{Signable, Signature, Signed, Signing};
use quorate_ids::{Hash, HostId};
use serde::{Deserialize, Serialize};

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It is of another epoch than the present one.
    #[error("a proof of epoch {found}, where the epoch is {expected}")]
    OtherEpoch { found: u64, expected: u64 },
    /// Too few signed.
    #[error("{found} signatures, where {needed} are needed")]
    TooFew { found: usize, needed: usize },
    /// A signature is bad, or of a host that is not a member.
    #[error("a signature of {0} that does not count")]
    BadSignature(HostId),
    /// One member signed twice.
    #[error("two signatures of {0}")]
    Twice(HostId),
    /// The root of an epoch that is not this one's.
    #[error("not the root of this epoch")]
    OtherRoot,
    /// A vote of another term, or for another leader.
    #[error("a vote of {0} for another leader or term")]
    OtherVote(HostId),
    /// A voter knew of a higher proof than the base.
    #[error("the base is below what {0} voted with")]
    BaseTooLow(HostId),
}

/// Signatures of several members under one content.
pub type Signatures = Vec<(HostId, Signature)>;

fn check_signers(
    signers: impl Iterator<Item = HostId>,
    needed: usize,
    epoch: &Epoch,
    suffices: fn(&Epoch, &[HostId]) -> bool,
) -> Result<(), BadProof> {
    let mut seen: Vec<HostId> = Vec::with_capacity(needed);
    for signer in signers {
        if !epoch.contains(&signer) {
            return Err(BadProof::BadSignature(signer));
        }
        if seen.contains(&signer) {
            return Err(BadProof::Twice(signer));
        }
        seen.push(signer);
    }
    let enough = if planted!(MajorityElects) { seen.len() >= needed } else { suffices(epoch, &seen) };
    if enough { Ok(()) } else { Err(BadProof::TooFew { found: seen.len(), needed }) }
}

fn check_signatures<T: Signable>(
    content: &T,
    signatures: &[(HostId, Signature)],
    epoch: &Epoch,
    suffices: fn(&Epoch, &[HostId]) -> bool,
    signing: &dyn Signing,
) -> Result<(), BadProof> {
    check_signers(signatures.iter().map(|(signer, _)| *signer), epoch.threshold, epoch, suffices)?;
    let payload = content.payload(&epoch.vat);
    match signatures.iter().find(|(signer, signature)| !signing.verify(signer, &payload, signature)) {
        Some((signer, _)) => Err(BadProof::BadSignature(*signer)),
        None => Ok(()),
    }
}

/// What makes an order certain enough to build on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Support {
    /// The root of the epoch: certified by the epoch before, or a consequence of the genesis.
    Root,
    /// `t` acknowledgements of one term.
    Acks(Signatures),
    /// `t` shares of one term for the result of the block at the index. Each honest signer has seen acknowledgements that go as far.
    Shares(Hash, Signatures),
}

/// OC, an order certificate: the log up to an index, proven in a term. It is not final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCertificate {
    /// Where it counts among others.
    pub position: Position,
    /// The chain up to its index.
    pub chain: Hash,
    /// What proves it.
    pub support: Support,
}

impl OrderCertificate {
    /// That of an epoch's root.
    pub fn root(epoch: &Epoch) -> Self {
        let position = Position { epoch: epoch.number, term: 0, index: epoch.root.index };
        Self { position, chain: epoch.root.chain, support: Support::Root }
    }

    /// Up to which index it proves the order to the members of an epoch: no farther than the membership of those who signed goes.
    pub fn reach(&self, epoch: &Epoch) -> u64 {
        let index = self.position.index;
        let Support::Acks(signatures) = &self.support else { return index };
        let signers: Vec<HostId> = signatures.iter().map(|(signer, _)| *signer).collect();
        epoch.reach(&signers, index)
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// What does not hold: then it proves nothing.
    pub fn verify(&self, epoch: &Epoch, signing: &dyn Signing) -> Result<(), BadProof> {
        let Position { epoch: found, term, index } = self.position;
        if found != epoch.number {
            return Err(BadProof::OtherEpoch { found, expected: epoch.number });
        }
        match &self.support {
            Support::Root if *self == Self::root(epoch) => Ok(()),
            Support::Root => Err(BadProof::OtherRoot),
            Support::Acks(acks) => {
                let ack = Ack { epoch: found, term, index, chain: self.chain };
                check_signatures(&ack, acks, epoch, Epoch::orders, signing)
            }
            Support::Shares(statement, shares) => {
                let share = Share { epoch: found, term, block: index, chain: self.chain, statement: *statement };
                check_signatures(&share, shares, epoch, Epoch::suffices, signing)
            }
        }
    }
}

/// PROOF: who leads a term, and the base that its log must contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermProof {
    /// The term.
    pub term: u64,
    /// Its leader.
    pub leader: HostId,
    /// `t` votes.
    pub grants: Vec<Signed<Grant>>,
    /// BASE: an order certificate at least as high as all positions in the votes.
    pub base: OrderCertificate,
}

impl TermProof {
    /// Checks all of it.
    ///
    /// # Errors
    /// What does not hold: then nobody was elected.
    pub fn verify(&self, epoch: &Epoch, signing: &dyn Signing) -> Result<(), BadProof> {
        let needed = if planted!(MajorityElects) { epoch.members.len() / 2 + 1 } else { epoch.threshold };
        check_signers(self.grants.iter().map(|grant| grant.by), needed, epoch, Epoch::suffices)?;
        for grant in &self.grants {
            let Grant { epoch: number, term, candidate, position, .. } = grant.content;
            if !planted!(EpochNotSigned) && number != epoch.number {
                return Err(BadProof::OtherEpoch { found: number, expected: epoch.number });
            }
            if term != self.term || candidate != self.leader {
                return Err(BadProof::OtherVote(grant.by));
            }
            if position > self.base.position {
                return Err(BadProof::BaseTooLow(grant.by));
            }
            if !grant.verifies(&epoch.vat, signing) {
                return Err(BadProof::BadSignature(grant.by));
            }
        }
        self.base.verify(epoch, signing)
    }
}

/// CERT: `t` shares of one statement and one term. Only this is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What all of them signed.
    pub share: Share,
    /// The signers.
    pub signatures: Signatures,
}

impl Certificate {
    /// As a proof of the order up to the block.
    pub fn order(&self) -> OrderCertificate {
        let Share { epoch, term, block, chain, statement } = self.share;
        let position = Position { epoch, term, index: block };
        OrderCertificate { position, chain, support: Support::Shares(statement, self.signatures.clone()) }
    }

    /// Checks all of it against the members of its epoch.
    ///
    /// # Errors
    /// What does not hold: then nothing is final.
    pub fn verify(&self, epoch: &Epoch, signing: &dyn Signing) -> Result<(), BadProof> {
        if self.share.epoch != epoch.number {
            return Err(BadProof::OtherEpoch { found: self.share.epoch, expected: epoch.number });
        }
        check_signatures(&self.share, &self.signatures, epoch, Epoch::suffices, signing)
    }
}

//! Shares of memberships: one for each epoch, signed by the members of the epoch before.

use std::collections::{BTreeMap, BTreeSet};

use super::{Share, Shares, Verdict};
use crate::proof::certificate::MemberSignature;
use crate::proof::equivocation::{Divergence, Equivocation, Signed};
use crate::proof::membership::{Membership, MembershipCertificate, verify_membership};
use crate::proof::tally::Tally;
use quorate_ids::HostId;

/// What was said of one epoch's membership.
#[derive(Default)]
pub(super) struct EpochRound {
    own: Option<Membership>,
    own_signature: Option<MemberSignature>,
    shares: BTreeMap<HostId, Signed<Membership>>,
    convicted: BTreeSet<HostId>,
    pub(super) certified: Option<MembershipCertificate>,
}

impl Shares {
    /// Enters the membership that this replica computed for the next epoch, with its signature if it is of the epoch before.
    pub(crate) fn own_membership(
        &mut self,
        membership: Membership,
        signature: Option<MemberSignature>,
    ) -> Vec<Verdict> {
        let epoch = membership.epoch;
        let certified = self.certified_membership(epoch).filter(|certified| certified.membership != membership);
        if let Some(certificate) = certified.cloned() {
            return vec![Verdict::Diverged(Divergence::Membership { certificate, own: membership })];
        }
        self.know(membership.clone());
        let round = self.epochs.entry(epoch).or_default();
        round.own = Some(membership);
        round.own_signature = signature;
        self.settle_membership(epoch)
    }

    /// This replica's share for the membership of an epoch.
    pub(crate) fn own_membership_share(&self, epoch: u64) -> Option<Share> {
        let round = self.epochs.get(&epoch)?;
        Some(Share::Membership(round.own.clone()?, round.own_signature?))
    }

    /// Epochs whose membership lacks a certificate.
    pub(crate) fn uncertified_epochs(&self) -> Vec<u64> {
        let waiting = self.epochs.iter().filter(|(_, round)| round.own.is_some() && round.certified.is_none());
        waiting.map(|(epoch, _)| *epoch).collect()
    }

    pub(super) fn membership_share(&mut self, membership: Membership, signature: MemberSignature) -> Vec<Verdict> {
        let epoch = membership.epoch;
        let Some(before) = epoch.checked_sub(1).and_then(|before| self.memberships.get(&before)) else {
            return vec![Verdict::Refused];
        };
        if membership.vat != self.vat || !before.contains(&signature.key) {
            return vec![Verdict::Refused];
        }
        if signature.verify(&membership.payload()).is_err() {
            return vec![Verdict::Refused];
        }
        let mut verdicts = self.enter_membership(Signed { content: membership, signature });
        verdicts.extend(self.settle_membership(epoch));
        verdicts
    }

    /// Notes what a member signed of an epoch, whose signature is good.
    fn enter_membership(&mut self, share: Signed<Membership>) -> Vec<Verdict> {
        let round = self.epochs.entry(share.content.epoch).or_default();
        let before = round.shares.insert(share.signer(), share.clone());
        match before.filter(|before| before.content != share.content) {
            Some(before) if round.convicted.insert(share.signer()) => {
                vec![Verdict::MembershipEquivocation(Equivocation::of(before, share))]
            }
            _ => Vec::new(),
        }
    }

    fn settle_membership(&mut self, epoch: u64) -> Vec<Verdict> {
        let Some(before) = epoch.checked_sub(1).and_then(|before| self.memberships.get(&before)) else {
            return Vec::new();
        };
        let Some(round) = self.epochs.get_mut(&epoch) else { return Vec::new() };
        let (Some(own), None) = (&round.own, &round.certified) else { return Vec::new() };
        let agreeing = round.shares.values().filter(|theirs| theirs.content == *own);
        let others = agreeing.map(|theirs| theirs.signature);
        let mut tally = Tally::default();
        tally.extend(round.own_signature.into_iter().chain(others));
        if !tally.is_complete(before.threshold) {
            return Vec::new();
        }
        let certificate = MembershipCertificate { membership: own.clone(), signatures: tally.signatures() };
        round.certified = Some(certificate.clone());
        vec![Verdict::Reconfigured(certificate)]
    }

    /// A complete membership certificate from anybody. It may be of an epoch that this replica has not reached.
    pub(crate) fn membership_certificate(&mut self, certificate: MembershipCertificate) -> Vec<Verdict> {
        let epoch = certificate.membership.epoch;
        let certified = self.certified_membership(epoch).map(|certified| &certified.membership);
        if certified == Some(&certificate.membership) {
            return Vec::new();
        }
        let was_certified = certified.is_some();
        let Some(before) = epoch.checked_sub(1).and_then(|before| self.memberships.get(&before)) else {
            return vec![Verdict::Refused];
        };
        if verify_membership(&certificate, before).is_err() {
            return vec![Verdict::Refused];
        }
        let content = &certificate.membership;
        let shares =
            certificate.signatures.iter().map(|signature| Signed { content: content.clone(), signature: *signature });
        let mut verdicts: Vec<Verdict> = shares.flat_map(|share| self.enter_membership(share)).collect();
        let round = self.epochs.entry(epoch).or_default();
        if let Some(own) = round.own.clone().filter(|own| *own != certificate.membership) {
            verdicts.push(Verdict::Diverged(Divergence::Membership { certificate, own }));
        } else if !was_certified {
            round.certified = Some(certificate.clone());
            self.memberships.insert(epoch, certificate.membership.clone());
            verdicts.push(Verdict::Reconfigured(certificate));
        }
        verdicts
    }

    /// Enters a membership that is certified already.
    pub(crate) fn know_certified(&mut self, certificate: MembershipCertificate) {
        let epoch = certificate.membership.epoch;
        let content = &certificate.membership;
        let shares =
            certificate.signatures.iter().map(|signature| Signed { content: content.clone(), signature: *signature });
        let shares = shares.map(|share| (share.signer(), share)).collect();
        self.memberships.insert(epoch, certificate.membership.clone());
        let round = self.epochs.entry(epoch).or_default();
        round.shares = shares;
        round.certified = Some(certificate);
    }
}

//! COMMIT, SHARE, CERT and GUARD: from an order certificate to a final result.
//!
//! Invariants: a member shares only in the term that it is in, under the leader whose election it was shown, with the order certificate
//! and the guard on disk; one result for each block and term. A certificate is of one statement and one term.

use super::{Fault, Guard, Member, Message, Output, Step, To, Write};
use crate::evidence::{Evidence, shares_contradict};
use crate::proofs::{Certificate, Signatures};
use crate::refusal::Refusal;
use crate::signed::Share;
use crate::signing::Signed;
use quorate_ids::{Hash, HostId};

/// Most shares of one member that wait for a threshold.
const MAX_SHARES: usize = 4096;

impl Member {
    /// Says that the block at an index of this chain was executed, and which statement it made, if any.
    ///
    /// # Errors
    /// The block is not in the log, or its order is not proven: the executor is ahead of the order, or belongs to a log given up.
    pub fn executed(
        &mut self,
        index: u64,
        chain: &Hash,
        statement: Option<Hash>,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        self.running()?;
        if !self.durable.log.holds(index, chain) || self.clamp(index) < index {
            return Err(Refusal::Unknown);
        }
        self.executed = self.executed.max(index);
        if let Some(statement) = statement.filter(|_| index > self.durable.certified) {
            self.statements.insert(index, statement);
        }
        self.share_all(step);
        if self.ending.as_ref().is_some_and(|ending| ending.last == index) {
            self.hand_over(step);
        }
        Ok(())
    }

    /// Shares what may be shared now: every uncertified statement that an order certificate of the present term covers, once a term.
    pub(super) fn share_all(&mut self, step: &mut Step<'_>) {
        let (position, vote) = (self.durable.order.position, &self.durable.vote);
        let term = if planted!(ShareAfterGrant) { position.term } else { vote.term };
        let led = vote.leader.is_some() || planted!(ShareAfterGrant);
        if self.fault.is_some() || !led || position.term != term || term == 0 {
            return;
        }
        let due: Vec<(u64, Hash)> = self
            .statements
            .range(self.durable.certified + 1..)
            .take_while(|(block, _)| **block <= position.index)
            .filter(|(block, _)| match self.shared.get(block) {
                Some(_) if planted!(ShareOncePerBlock) => false,
                Some(last) => *last < term,
                None => true,
            })
            .map(|(block, statement)| (*block, *statement))
            .collect();
        for (block, statement) in due {
            let Some(point) = self.durable.log.point(block) else { continue };
            let share = Share { epoch: self.epoch.number, term, block, chain: point.chain, statement };
            match self.guarded(&share) {
                Ok(true) => self.share_one(share, step),
                Ok(false) => {}
                Err(guard) => {
                    self.stop(Fault::OtherThanShared(guard), step);
                    return;
                }
            }
        }
    }

    /// GUARD: whether the share goes with the last one. One that this term's guard does not allow waits for a later term.
    fn guarded(&self, share: &Share) -> Result<bool, Guard> {
        let Some(guard) = self.durable.guard else { return Ok(true) };
        let last = guard.share;
        if last.epoch != share.epoch {
            return Ok(true);
        }
        if last.block == share.block && last.chain == share.chain && last.statement != share.statement {
            return Err(guard);
        }
        Ok(last.term < share.term || self.durable.log.holds(last.block, &last.chain))
    }

    fn share_one(&mut self, share: Share, step: &mut Step<'_>) {
        let guard = self.durable.guard.map(|guard| (guard.share.term, guard.share.block));
        if guard.is_none_or(|guard| guard < (share.term, share.block)) {
            self.write(Write::Guard(Guard { share }), step);
        }
        self.shared.insert(share.block, share.term);
        let signed = self.sign(share, step);
        step.send(To::All, Message::Share(signed), !planted!(LockUnsynced));
        let _ = self.shared_by(signed, step);
    }

    /// Takes in a share of another member, or the own one; `t` that are equal make a certificate.
    ///
    /// # Errors
    /// It does not count.
    pub fn shared_by(&mut self, share: Signed<Share>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.authentic(&share, share.content.epoch, step)?;
        let Share { block, term, .. } = share.content;
        if block <= self.durable.certified {
            return Ok(());
        }
        let same_signer = |found: &&Signed<Share>| found.by == share.by;
        let of_term = self.shares.get(&(block, term));
        if let Some(earlier) = of_term.and_then(|shares| shares.iter().find(same_signer)) {
            if shares_contradict(&earlier.content, &share.content) {
                step.outputs.push(Output::Convicted(Evidence::Shares(*earlier, share)));
            }
            return Ok(());
        }
        self.make_room(&share);
        let found = self.shares.entry((block, term)).or_default();
        found.push(share);
        let equal = found.iter().filter(|other| other.content == share.content);
        let signatures: Signatures = equal.map(|other| (other.by, other.signature)).collect();
        let signers: Vec<HostId> = signatures.iter().map(|(signer, _)| *signer).collect();
        if self.epoch.suffices(&signers) {
            return self.certify(Certificate { share: share.content, signatures }, step);
        }
        Ok(())
    }

    /// Forgets the share of the signer that is farthest ahead, if it has too many.
    fn make_room(&mut self, share: &Signed<Share>) {
        let of_signer = |shares: &Vec<Signed<Share>>| shares.iter().any(|other| other.by == share.by);
        if self.shares.values().filter(|shares| of_signer(shares)).count() < MAX_SHARES {
            return;
        }
        let last = self.shares.iter().rev().find(|(_, shares)| of_signer(shares)).map(|(place, _)| *place);
        if let Some(shares) = last.and_then(|place| self.shares.get_mut(&place)) {
            shares.retain(|other| other.by != share.by);
        }
    }

    /// Takes in a certificate.
    ///
    /// # Errors
    /// It proves nothing, or the member has stopped: then, or because, it contradicts what is certified here or was computed.
    pub fn certificate(&mut self, certificate: Certificate, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        certificate.verify(&self.epoch, step.signing)?;
        self.certify(certificate, step)
    }

    /// Takes in a certificate that was checked.
    pub(super) fn certify(&mut self, certificate: Certificate, step: &mut Step<'_>) -> Result<(), Refusal> {
        let Share { block, chain, statement, .. } = certificate.share;
        let own = self.durable.log.point(block);
        if block <= self.durable.certified {
            if own.is_some_and(|own| own.chain != chain) {
                let known = self.durable.certificate.clone();
                return Err(self.stop(Fault::MoreLiars { certificate: known, against: certificate.order() }, step));
            }
            return Ok(());
        }
        if own.is_none_or(|own| own.chain != chain) {
            step.outputs.push(Output::Behind(certificate));
            return Ok(());
        }
        if let Some(own) = self.statements.get(&block).filter(|own| **own != statement) {
            let own = *own;
            return Err(self.stop(Fault::Nondeterminism { certificate, own }, step));
        }
        self.write(Write::Certified(certificate.clone()), step);
        self.statements = self.statements.split_off(&(block + 1));
        self.shared = self.shared.split_off(&(block + 1));
        self.shares = self.shares.split_off(&(block + 1, 0));
        let order = certificate.order();
        step.outputs.push(Output::Final(certificate));
        self.adopt(order, step);
        self.hand_over(step);
        Ok(())
    }
}

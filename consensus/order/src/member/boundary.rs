//! EPOCH: how an epoch ends. Its last block names the next membership; nothing of the next epoch is signed before that block is final.
//!
//! Invariants: commit and shares never go beyond the last block; one next membership is signed in an epoch, ever, and only when its
//! block is certified; what a later leader of the epoch appended behind it is thrown away.

use super::{Durable, Member, Message, Output, Step, To, Write};
use crate::chain::Point;
use crate::epoch::Epoch;
use crate::proofs::Signatures;
use crate::refusal::Refusal;
use crate::signed::Handover;
use crate::signing::Signed;
use quorate_ids::{Hash, HostId};
use std::sync::Arc;

/// The last block of an epoch, as the log here has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Index of the block.
    pub last: u64,
    /// The chain up to it.
    pub chain: Hash,
    /// Hash of the next membership.
    pub membership: Hash,
}

impl Member {
    /// Says, before it is executed, that the block at an index begins another epoch: that of a membership with this hash.
    ///
    /// # Errors
    /// The block is not in the log.
    pub fn ends(&mut self, ending: Ending, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        if !self.durable.log.holds(ending.last, &ending.chain) {
            return Err(Refusal::Unknown);
        }
        if self.ending.is_none() {
            self.ending = Some(ending);
        }
        if planted!(SwitchUncertified) && self.durable.order.position.index >= self.durable.log.last().index {
            self.switch(step);
        }
        self.hand_over(step);
        Ok(())
    }

    /// Signs the next membership, if the last block is certified and no other was signed.
    pub(super) fn hand_over(&mut self, step: &mut Step<'_>) {
        let Some(Ending { last, chain, membership }) = self.ending.clone() else { return };
        let early = planted!(MembershipEarly) && self.durable.order.position.index >= last;
        if self.durable.certified < last && !early {
            return;
        }
        match self.durable.handover {
            Some(signed) if signed != membership => return,
            Some(_) if self.handovers.iter().any(|known| known.by == self.own) => return,
            Some(_) => {}
            None => self.write(Write::Handover(membership), step),
        }
        let handover = Handover { epoch: self.epoch.number, last, chain, membership };
        let signed = self.sign(handover, step);
        step.send(To::All, Message::Handover(signed), true);
        let _ = self.handed_over(signed, step);
    }

    /// Takes in a signature of the next membership; `t` of them, and the certified last block, end the epoch.
    ///
    /// # Errors
    /// It does not count.
    pub fn handed_over(&mut self, handover: Signed<Handover>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.authentic(&handover, handover.content.epoch, step)?;
        if self.handovers.iter().all(|known| known.by != handover.by) {
            self.handovers.push(handover);
            if self.ending.as_ref().is_some_and(|ending| ending.last <= self.durable.certified) {
                self.switch(step);
            }
        }
        Ok(())
    }

    fn switch(&mut self, step: &mut Step<'_>) {
        let Some(ending) = self.ending.clone() else { return };
        let Ending { last, chain, membership } = ending;
        let expected = Handover { epoch: self.epoch.number, last, chain, membership };
        let equal = self.handovers.iter().filter(|known| known.content == expected);
        let signatures: Signatures = equal.map(|known| (known.by, known.signature)).collect();
        if signatures.len() >= self.epoch.threshold || planted!(SwitchUncertified) {
            let certificate = self.durable.certificate.clone();
            step.outputs.push(Output::Switch { ending, certificate, signatures });
        }
    }

    /// The member in the next epoch, of which the caller has checked that `t` signed its membership. The log begins at the last block
    /// of this one; terms go on. It has to be written before anything of the next epoch is signed.
    pub fn next(&self, epoch: Arc<Epoch>) -> Member {
        let durable = Durable::new(&epoch, self.durable.vote.term);
        Member::new(self.own, epoch, durable)
    }

    /// A member that joins at the beginning of an epoch, with the checkpoint of the last block of the epoch before.
    pub fn joining(own: HostId, epoch: Arc<Epoch>) -> Member {
        let durable = Durable::new(&epoch, 0);
        Member::new(own, epoch, durable)
    }

    /// The point of an ending that this log has.
    pub fn point_of(&self, ending: &Ending) -> Option<Point> {
        self.durable.log.point(ending.last).filter(|point| point.chain == ending.chain)
    }
}

//! Catch-up by a checkpoint: a member whose log ends before what a leader still has, or which a threshold has left behind.
//!
//! Invariants: only a certified block is taken; its certificate is the order that the member states from then on, so it never states
//! less than it once shared; its term is at least the certificate's, so that it does not acknowledge two logs in one term.

use super::{Fault, Member, Output, Step, Vote, Write};
use crate::chain::Point;
use crate::proofs::Certificate;
use crate::refusal::Refusal;

impl Member {
    /// Begins the log at a certified block, whose checkpoint the caller has and has checked. Does nothing if the log holds the block.
    ///
    /// # Errors
    /// The certificate proves nothing or is not of the point, or is not newer than what is certified here.
    pub fn checkpoint(&mut self, point: Point, certificate: Certificate, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        certificate.verify(&self.epoch, step.signing)?;
        if (certificate.share.block, certificate.share.chain) != (point.index, point.chain) {
            return Err(Refusal::BadHeader);
        }
        if point.index <= self.durable.certified || self.durable.log.holds(point.index, &point.chain) {
            return self.certify(certificate, step);
        }
        let order = certificate.order();
        let own = self.durable.order.position;
        if own > order.position {
            // What is proven in a later term contains what was certified in an earlier one.
            let known = self.durable.certificate.clone();
            return Err(self.stop(Fault::MoreLiars { certificate: known, against: order }, step));
        }
        let mut vote = self.durable.vote.clone();
        let term = self.term_after(&point, &certificate);
        if term > vote.term {
            self.forget_term();
            vote = Vote { term, grant: None, leader: None };
        }
        let (mut order, mut since) = (order, self.durable.since.max(certificate.share.term));
        if planted!(CheckpointForgets) {
            (order, since) = (crate::proofs::OrderCertificate::root(&self.epoch), self.durable.since);
        }
        self.stage = None;
        self.ending = None;
        self.wanted.clear();
        self.statements.clear();
        self.shared.clear();
        self.shares = self.shares.split_off(&(point.index + 1, 0));
        self.executed = point.index;
        self.flushed = point.index;
        self.write(Write::Checkpoint { root: point, certificate: certificate.clone(), order, vote, since }, step);
        step.outputs.push(Output::Final(certificate));
        self.progress(step);
        Ok(())
    }

    /// The term after a checkpoint: at least that of its certificate, which `t` members followed. If entries of the present term go that
    /// may have been acknowledged there or behind, their leader has shown two logs: the term is left for good, since its entries
    /// would have to be acknowledged once more.
    fn term_after(&self, point: &Point, certificate: &Certificate) -> u64 {
        let (last, present) = (self.durable.log.last(), self.durable.vote.term);
        let given_up = last.index >= point.index && last.term == present && !planted!(CheckpointKeepsTerm);
        certificate.share.term.max(if given_up { present + 1 } else { present })
    }
}

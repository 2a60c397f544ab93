//! An honest member of a world: what it has signed, what is on its disk, and what must hold for it alone.

use super::keys::{register, sign_as};
use super::world::{Checked, activate, violation};
use crate::chain::Point;
use crate::evidence::{acks_contradict, amnesia, grants_contradict, shares_contradict};
use crate::member::{Durable, Ending, Member, Message, Output, Step};
use crate::signed::{Ack, Grant, Handover, Lead, Share};
use crate::signing::Signed;
use quorate_ids::Hash;

/// An honest member, and all that it has signed.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) member: Member,
    pub(super) disk: Durable,
    /// What waits for the disk.
    pub(super) queue: Vec<Output>,
    pub(super) acks: Vec<Signed<Ack>>,
    pub(super) shares: Vec<Signed<Share>>,
    pub(super) grants: Vec<Signed<Grant>>,
    pub(super) leads: Vec<Lead>,
    pub(super) handover: Option<Signed<Handover>>,
    pub(super) can_switch: bool,
    /// The highest certified point there ever was.
    pub(super) certified: Option<Point>,
}

/// Returns what executing a log gives.
fn statement(chain: &Hash) -> Hash {
    let mut statement = *chain;
    statement.0[31] ^= 0xff;
    statement
}

pub(super) fn insert<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(at) = list.binary_search(&item) {
        list.insert(at, item);
    }
}

impl Node {
    pub(super) fn sent(&mut self, message: &Message) -> Checked {
        match message {
            Message::Ack(ack) => insert(&mut self.acks, *ack),
            Message::Share(share) => insert(&mut self.shares, *share),
            Message::Grant(grant) => insert(&mut self.grants, *grant),
            Message::Handover(handover) => {
                if self.member.durable().certified < handover.content.last {
                    return violation(format!("a membership is signed before its block is final: {handover:?}"));
                }
                self.handover = Some(*handover);
            }
            Message::Stand(stand) => {
                // Its own vote goes with it, to all that it leads.
                if let Some(content) = self.member.durable().vote.grant.filter(|grant| grant.term == stand.term) {
                    let by = content.candidate;
                    insert(&mut self.grants, sign_as(by, &content));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A leader's own acknowledgements are in the order certificates that it makes.
    pub(super) fn own_acks(&mut self) {
        let (term, leader) = self.member.term();
        let Some(leader) = leader.filter(|_| self.member.leads()) else { return };
        let log = self.member.durable().log.clone();
        let own = (log.root().index + 1..=self.member.flushed).filter_map(|index| log.point(index));
        for point in own.filter(|point| point.term == term) {
            let ack = Ack { epoch: self.member.epoch().number, term, index: point.index, chain: point.chain };
            insert(&mut self.acks, sign_as(leader, &ack));
        }
    }

    pub(super) fn execute(&mut self, upto: u64, step: &mut Step<'_>) -> Checked {
        let proven = self.member.durable().order.position.index.max(self.member.durable().certified);
        if upto > proven {
            return violation(format!("block {upto} is executed, and the order is proven to {proven}"));
        }
        for index in self.member.executed + 1..=upto {
            let Some(point) = self.member.durable().log.point(index) else { continue };
            let head = self.member.durable().log.heads(index, 1);
            if head.first().is_some_and(|head| head.content == activate()) {
                let ending = Ending { last: index, chain: point.chain, membership: Hash([9; 32]) };
                let _ = self.member.ends(ending, step);
            }
            let _ = self.member.executed(index, &point.chain, Some(statement(&point.chain)), step);
        }
        Ok(())
    }

    /// Checks what must hold for one member: it has signed nothing that convicts it, and has cut nothing that was final.
    pub(super) fn check(&mut self) -> Checked {
        self.check_evidence()?;
        let durable = self.member.durable();
        if let Some(point) = self.certified
            && point.index >= durable.log.root().index
            && !durable.log.holds(point.index, &point.chain)
        {
            return violation(format!("a certified block was cut: {point:?}"));
        }
        self.certified = durable.log.point(durable.certified);
        register(&durable.log);
        let order = &durable.order;
        if order.position.index >= durable.log.root().index && !durable.log.holds(order.position.index, &order.chain) {
            return violation("the order certificate is not on the own log".into());
        }
        Ok(())
    }

    fn check_evidence(&self) -> Checked {
        for (at, one) in self.acks.iter().enumerate() {
            if let Some(other) = self.acks[..at].iter().find(|other| acks_contradict(&one.content, &other.content)) {
                return violation(format!("an honest member acknowledged two logs: {one:?}, {other:?}"));
            }
        }
        for (at, one) in self.shares.iter().enumerate() {
            if let Some(other) = self.shares[..at].iter().find(|other| shares_contradict(&one.content, &other.content))
            {
                return violation(format!("an honest member shared two results: {one:?}, {other:?}"));
            }
            if let Some(grant) = self.grants.iter().find(|grant| amnesia(&one.content, &grant.content)) {
                return violation(format!(
                    "an honest member seems to have forgotten what it shared: {one:?}, {grant:?}"
                ));
            }
        }
        for (at, one) in self.grants.iter().enumerate() {
            if let Some(other) = self.grants[..at].iter().find(|other| grants_contradict(&one.content, &other.content))
            {
                return violation(format!("an honest member voted twice: {one:?}, {other:?}"));
            }
        }
        for (at, one) in self.leads.iter().enumerate() {
            let place = |lead: &Lead| (lead.epoch, lead.term, lead.last);
            if self.leads[..at].iter().any(|other| place(other) == place(one) && other.chain != one.chain) {
                return violation(format!("an honest leader showed two logs: {one:?}"));
            }
        }
        Ok(())
    }
}

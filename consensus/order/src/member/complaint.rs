//! COMPLAIN: how a leader that starves a command, or is caught, is left.
//!
//! Invariants: `n − t + 1` complaints hold an honest one, so a member joins them; `t` leave the term. A member that has left shows them to
//! the others. A member in a later term has left it, too, and says so to those who have not. A leader that was left gets votes
//! later than others, never none; at most the last `n − t` are so delayed. Patience doubles with each change of leaders in which the
//! starved command was not ordered; it shrinks when such a command is, or while nobody here wants one.
//!
//! Absent: when to complain, and what a member wants ordered, are the caller's; so is sending a complaint again.

use super::{Member, Message, Output, Step, To};
use crate::refusal::Refusal;
use crate::signed::{Complaint, Reason};
use crate::signing::Signed;
use quorate_ids::{Hash, HostId};
use std::collections::{BTreeSet, VecDeque};

/// Most starved commands that a member keeps in mind.
const MAX_STARVED: usize = 64;
/// How often patience doubles: from a quarter of a second to 64 seconds.
pub const MAX_DOUBLINGS: u32 = 8;

/// What is known of the present leader's faults, and of earlier ones'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaints {
    /// Of the present term, one from each member.
    pub(crate) present: Vec<Signed<Complaint>>,
    /// The term that was left.
    pub(crate) left: Option<u64>,
    /// The complaints that ended it, one from each member.
    pub(crate) ended_by: Vec<Signed<Complaint>>,
    /// The last leaders that were left.
    pub(crate) leaders: VecDeque<HostId>,
    /// Commands that this member wants ordered.
    pub(crate) starved: BTreeSet<Hash>,
    /// How often patience has doubled.
    pub(crate) doublings: u32,
}

impl Complaints {
    pub(super) fn new_term(&mut self) {
        self.present.clear();
        self.left = None;
        self.ended_by.clear();
    }
}

impl Member {
    /// Complains of the present leader: when a command has waited for as long as [`Member::doublings`] says, or its logs are at fault.
    ///
    /// # Errors
    /// No leader is known.
    pub fn complain(&mut self, reason: Reason, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        if let Reason::Starved(command) = reason
            && self.complaints.starved.len() < MAX_STARVED
        {
            self.complaints.starved.insert(command);
        }
        let (term, Some(leader)) = self.term() else { return Err(Refusal::Unknown) };
        let complaint = Complaint { epoch: self.epoch.number, term, leader, reason };
        let signed = self.sign(complaint, step);
        step.send(To::All, Message::Complaint(signed), false);
        self.complaint(signed, step)
    }

    /// Signs a complaint of the leader of an earlier term, for those who follow it still. This member is in a later term, in which it
    /// knows no leader: it can't go back, so that leader has one member less that could acknowledge anything.
    ///
    /// # Errors
    /// The term is not over here, or a leader is followed.
    pub fn complain_of_earlier(
        &self,
        (term, leader): (u64, HostId),
        reason: Reason,
        step: &Step<'_>,
    ) -> Result<Signed<Complaint>, Refusal> {
        self.running()?;
        let (present, followed) = self.term();
        if term >= present || followed.is_some() || leader == self.own {
            return Err(Refusal::Unknown);
        }
        Ok(self.sign(Complaint { epoch: self.epoch.number, term, leader, reason }, step))
    }

    /// Takes in a complaint.
    ///
    /// # Errors
    /// It is not of the present leader.
    pub fn complaint(&mut self, complaint: Signed<Complaint>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.authentic(&complaint, complaint.content.epoch, step)?;
        let (term, leader) = self.term();
        let Complaint { term: found, leader: accused, reason, .. } = complaint.content;
        if found != term || leader != Some(accused) {
            return Err(Refusal::Unknown);
        }
        let known = &mut self.complaints.present;
        if self.complaints.left == Some(term) || known.iter().any(|known| known.by == complaint.by) {
            return Ok(());
        }
        known.push(complaint);
        let (count, own) = (known.len(), known.iter().any(|known| known.by == self.own));
        // Where nobody may be missing one is enough by the numbers. But such a vat stops by any member that wants it to, and an honest
        // one that is slow must not end a term alone. A host that is no member yet has no complaint that counts, and leaves with the others.
        if count >= self.epoch.joining().max(2) && !own && self.epoch.contains(&self.own) {
            return self.complain(reason, step);
        }
        if count >= self.epoch.threshold {
            let ended_by = self.complaints.present.clone();
            self.leave(term, accused, ended_by, step);
        }
        Ok(())
    }

    /// Takes in the complaints that ended the present term at another member: it ends here as well. Without this a liar could show its
    /// complaint to one member alone. That one would leave, and the others would go on without it, and complain no more.
    ///
    /// # Errors
    /// They are not of the present leader, or of fewer members than must complain.
    pub fn ended(&mut self, complaints: Vec<Signed<Complaint>>, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        let (term, Some(leader)) = self.term() else { return Err(Refusal::Unknown) };
        let signers: BTreeSet<HostId> = complaints.iter().map(|complaint| complaint.by).collect();
        let are_of_the_leader =
            complaints.iter().all(|complaint| (complaint.content.term, complaint.content.leader) == (term, leader));
        let are_enough = signers.len() == complaints.len() && signers.len() >= self.epoch.threshold;
        if !are_of_the_leader || !are_enough {
            return Err(Refusal::Unknown);
        }
        if self.complaints.left == Some(term) {
            return Ok(());
        }
        for complaint in &complaints {
            self.authentic(complaint, complaint.content.epoch, step)?;
        }
        self.leave(term, leader, complaints, step);
        Ok(())
    }

    /// Returns the complaints that ended the present term, for those who follow its leader still; none if it goes on.
    pub fn ended_by(&self) -> &[Signed<Complaint>] {
        if self.has_left() { &self.complaints.ended_by } else { &[] }
    }

    fn leave(&mut self, term: u64, leader: HostId, ended_by: Vec<Signed<Complaint>>, step: &mut Step<'_>) {
        let most = self.epoch.live_up_to();
        let complaints = &mut self.complaints;
        complaints.left = Some(term);
        complaints.ended_by = ended_by;
        complaints.doublings = (complaints.doublings + 1).min(MAX_DOUBLINGS);
        complaints.leaders.retain(|known| *known != leader);
        complaints.leaders.push_back(leader);
        while complaints.leaders.len() > most {
            complaints.leaders.pop_front();
        }
        step.outputs.push(Output::Left { term, leader });
    }

    /// Says that a command is ordered. Nobody complains for its sake any more.
    pub fn ordered(&mut self, command: &Hash) {
        let complaints = &mut self.complaints;
        complaints.present.retain(|known| known.content.reason != Reason::Starved(*command));
        if complaints.starved.remove(command) || planted!(AnyProgress) {
            complaints.doublings = complaints.doublings.saturating_sub(1);
        }
    }

    /// Notes that the order or the certificates have advanced, so complaints that they do not have lost their reason. A
    /// command that is still starved gets a complaint of its own.
    pub fn progressed(&mut self) {
        self.complaints.present.retain(|known| known.content.reason != Reason::NoOrder);
    }

    /// Notes that a change of members has advanced, so complaints that it does not have lost their reason.
    pub fn changed(&mut self) {
        self.complaints.present.retain(|known| known.content.reason != Reason::NoChange);
    }

    /// Says that nothing waits here that a leader should order, and that the vat goes on: patience becomes shorter again. What others
    /// wanted is forgotten.
    pub fn eased(&mut self) {
        self.complaints.starved.clear();
        self.complaints.doublings = self.complaints.doublings.saturating_sub(1);
    }

    /// Returns whether the present term was left.
    pub fn has_left(&self) -> bool {
        self.complaints.left == Some(self.durable.vote.term)
    }

    /// Returns why this member complains of the present leader, if it does.
    pub fn complains(&self) -> Option<Reason> {
        let own = self.complaints.present.iter().find(|known| known.by == self.own);
        own.map(|own| own.content.reason)
    }

    /// Returns how often the time has doubled that this member waits for a command before it complains.
    pub fn doublings(&self) -> u32 {
        self.complaints.doublings
    }

    /// By how many patiences a vote for a candidate is delayed.
    pub fn delay(&self, candidate: &HostId) -> u32 {
        u32::from(self.complaints.leaders.contains(candidate))
    }

    /// By how many patiences this member waits before it stands, after the present term was left: 0 for the next in turn.
    pub fn turn(&self) -> u32 {
        let leader = self.complaints.leaders.back().or(self.durable.vote.leader.as_ref());
        let turn = leader.and_then(|leader| self.epoch.turn(leader, &self.own));
        turn.and_then(|turn| u32::try_from(turn).ok()).unwrap_or(0)
    }
}

//! One member's part in agreeing on an order: its state, what of it is on disk, and what each step leads to.
//!
//! Invariants, by the rules of the crate's head:
//! - `order`, the highest known order certificate, is always on the own log (GRANT: a member stands with what it holds).
//! - Nothing at or below `certified` is cut; nothing at or below `order.index` is cut but by REOPEN.
//! - Within a term nothing is cut that came in that term (freeze), also over restarts and checkpoints.
//! - All that a signature depends on is written before it, in the order of [`Output`]s.
//!
//! Absent: contents of entries, timers, and retransmission. The caller sends a lost message again.

mod append;
mod boundary;
mod checkpoint;
mod complaint;
mod election;
mod lead;
mod mirror;
mod share;

pub use append::{Append, Taken};
pub use boundary::Ending;
pub use election::Stand;

use crate::chain::{Head, Log, Point};
use crate::epoch::Epoch;
use crate::evidence::Evidence;
use crate::proofs::{Certificate, OrderCertificate, Signatures, TermProof};
use crate::refusal::{Refusal, VoteRefused};
use crate::signed::{Ack, Complaint, Grant, Handover, Lead, Position, Share};
use crate::signing::{Signable, Signed, Signing};
use quorate_ids::{Hash, HostId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many terms a candidate may be ahead: more elections than a member sleeps through, and so few that lies don't use terms up.
pub const MAX_TERMS_AHEAD: u64 = 1 << 24;

/// The term that a member is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term: that of the latest vote given, or of the latest leader followed.
    pub term: u64,
    /// The vote that was given in it.
    pub grant: Option<Grant>,
    /// Its leader, once its election was shown.
    pub leader: Option<HostId>,
}

/// What a member shared last: the signed watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The share of the highest block in the latest term.
    pub share: Share,
}

/// What is on a member's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    /// The log.
    pub log: Log,
    /// See [`Vote`].
    pub vote: Vote,
    /// The highest order certificate whose log this one contains.
    pub order: OrderCertificate,
    /// See [`Guard`].
    pub guard: Option<Guard>,
    /// The last block of the log that is certified.
    pub certified: u64,
    /// Its certificate; none at the root of an epoch.
    pub certificate: Option<Certificate>,
    /// The latest term by whose proof a higher order was given up.
    pub since: u64,
    /// Hash of the next membership that was signed in this epoch.
    pub handover: Option<Hash>,
}

/// What has to be written. Each is one atomic write.
#[allow(clippy::large_enum_variant, reason = "few exist at a time, and not for long")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Replaces the log from an index on. Openraft's own log does that; the caller says by [`Member::flushed`] when it is on disk.
    Entries { from: u64, heads: Vec<Head> },
    /// The vote.
    Vote(Vote),
    /// The order certificate.
    Order(OrderCertificate),
    /// The signed watermark.
    Guard(Guard),
    /// A block of the log is final.
    Certified(Certificate),
    /// REOPEN: the log from an index on, with the order that it is bound to, and the term by whose proof the old one was given up.
    Reopen { from: u64, heads: Vec<Head>, order: OrderCertificate, since: u64 },
    /// The log begins at a checkpoint, and the term is at least that of its certificate.
    Checkpoint { root: Point, certificate: Certificate, order: OrderCertificate, vote: Vote, since: u64 },
    /// The next membership that was signed.
    Handover(Hash),
}

impl Durable {
    /// That of a member at the beginning of an epoch, in the term in which the last one ended.
    pub fn new(epoch: &Epoch, term: u64) -> Self {
        Self {
            log: Log::new(epoch.root),
            vote: Vote { term, grant: None, leader: None },
            order: OrderCertificate::root(epoch),
            guard: None,
            certified: epoch.root.index,
            certificate: None,
            since: 0,
            handover: None,
        }
    }

    /// Carries a write out.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Entries { from, heads } => self.log.replace(*from, heads),
            Write::Vote(vote) => self.vote = vote.clone(),
            Write::Order(order) => self.order = order.clone(),
            Write::Guard(guard) => self.guard = Some(*guard),
            Write::Certified(certificate) => {
                self.certified = certificate.share.block;
                self.certificate = Some(certificate.clone());
            }
            Write::Reopen { from, heads, order, since } => {
                self.log.replace(*from, heads);
                self.order = order.clone();
                self.since = *since;
            }
            Write::Checkpoint { root, certificate, order, vote, since } => {
                self.log.purge(*root);
                self.certified = root.index;
                self.certificate = Some(certificate.clone());
                self.order = order.clone();
                self.vote = vote.clone();
                self.since = *since;
            }
            Write::Handover(membership) => self.handover = Some(*membership),
        }
    }
}

/// The receivers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To all other members.
    All,
    /// To one.
    One(HostId),
}

/// What members send each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // They are on their way out.
pub enum Message {
    /// Entries of a leader.
    Append(Append),
    /// An acknowledgement, for the leader.
    Ack(Signed<Ack>),
    /// A new order certificate.
    Order(OrderCertificate),
    /// A vote for a result.
    Share(Signed<Share>),
    /// A final result.
    Certificate(Certificate),
    /// A candidate asks for votes.
    Stand(Stand),
    /// A vote.
    Grant(Signed<Grant>),
    /// A vote that was refused.
    Refused(VoteRefused),
    /// Another leader is wanted.
    Complaint(Signed<Complaint>),
    /// The next membership is signed.
    Handover(Signed<Handover>),
}

/// Why a member stops for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// What is certified is contradicted by a certificate or by a leader with a proven base: more members lie than the vat is built for.
    MoreLiars {
        /// What is certified here.
        certificate: Option<Certificate>,
        /// What contradicts it: the base of a leader, or another certificate as the order that it proves.
        against: OrderCertificate,
    },
    /// A threshold has another result of the same inputs.
    Nondeterminism {
        /// What was certified.
        certificate: Certificate,
        /// Hash of the statement here.
        own: Hash,
    },
    /// A block that was shared gives another result now.
    OtherThanShared(Guard),
}

/// What follows from a step, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Few at a time.
pub enum Output {
    /// Write this. Writes are carried out in order.
    Write(Write),
    /// Send this. If `synced`, only when all writes before it are on disk, except [`Write::Entries`], of which [`Member::flushed`] tells.
    Send { to: To, message: Message, synced: bool },
    /// Blocks up to here may be executed, tentatively: no reply, no membership signature, nothing shipped. Say so by [`Member::executed`].
    Execute { upto: u64 },
    /// Stop this vat's openraft, replace its log from this index on, go back to the last certified checkpoint, start again.
    Reopen { from: u64 },
    /// This is final: replies may go, statements may be shipped, the log may be cut up to a certified checkpoint.
    Final(Certificate),
    /// A threshold certified what the log here does not have. If no leader brings it, fetch a checkpoint.
    Behind(Certificate),
    /// This member leads the term: append a blank entry by [`Member::propose`].
    Elected(TermProof),
    /// A threshold wants another leader: the lease of this one is over. Stand when it is this member's turn.
    Left { term: u64, leader: HostId },
    /// A member is convicted. Keep it, and tell the others.
    Convicted(Evidence),
    /// The next epoch begins after this block: see [`Member::next`].
    Switch { ending: Ending, certificate: Option<Certificate>, signatures: Signatures },
    /// The member has stopped.
    Stop(Fault),
}

/// What a step works with.
pub struct Step<'a> {
    /// The member's key, and how to check others'.
    pub signing: &'a dyn Signing,
    /// What follows is added here.
    pub outputs: &'a mut Vec<Output>,
}

impl Step<'_> {
    fn send(&mut self, to: To, message: Message, synced: bool) {
        self.outputs.push(Output::Send { to, message, synced });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Follower,
    Candidate { base: OrderCertificate, grants: Vec<Signed<Grant>> },
    Leader { acks: BTreeMap<u64, Signatures> },
}

/// Entries that wait for the base of their leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) term: u64,
    pub(crate) prev: Point,
    pub(crate) heads: Vec<Head>,
}

/// See the head of the module.
#[derive(Clone, Debug)]
pub struct Member {
    pub(crate) own: HostId,
    pub(crate) epoch: Arc<Epoch>,
    pub(crate) durable: Durable,
    pub(crate) flushed: u64,
    pub(crate) proof: Option<TermProof>,
    pub(crate) role: Role,
    pub(crate) stage: Option<Stage>,
    /// The header of the present term that goes farthest.
    pub(crate) header: Option<Signed<Lead>>,
    /// Indexes that are acknowledged when they are on disk.
    pub(crate) wanted: Vec<u64>,
    /// What this member has acknowledged farthest to the leader of the present term, and what others have told it that they have.
    pub(crate) own_ack: Option<Signed<Ack>>,
    pub(crate) others_acks: BTreeMap<HostId, Signed<Ack>>,
    /// The highest order certificate whose log is not the own one.
    pub(crate) heard: Option<OrderCertificate>,
    pub(crate) executed: u64,
    pub(crate) statements: BTreeMap<u64, Hash>,
    pub(crate) shared: BTreeMap<u64, u64>,
    pub(crate) shares: BTreeMap<(u64, u64), Vec<Signed<Share>>>,
    pub(crate) term_seen: u64,
    pub(crate) complaints: complaint::Complaints,
    pub(crate) ending: Option<Ending>,
    pub(crate) handovers: Vec<Signed<Handover>>,
    pub(crate) fault: Option<Fault>,
}

impl Member {
    /// A member at the beginning of its life in an epoch, or after a restart: with what is on its disk.
    pub fn new(own: HostId, epoch: Arc<Epoch>, durable: Durable) -> Self {
        let leads = durable.vote.leader == Some(own);
        let role =
            if leads && planted!(LeaderRestore) { Role::Leader { acks: BTreeMap::new() } } else { Role::Follower };
        Self {
            own,
            epoch,
            flushed: durable.log.last().index,
            executed: durable.certified,
            durable,
            proof: None,
            role,
            stage: None,
            header: None,
            wanted: Vec::new(),
            own_ack: None,
            others_acks: BTreeMap::new(),
            heard: None,
            statements: BTreeMap::new(),
            shared: BTreeMap::new(),
            shares: BTreeMap::new(),
            term_seen: 0,
            complaints: complaint::Complaints::default(),
            ending: None,
            handovers: Vec::new(),
            fault: None,
        }
    }

    /// Returns what is, or is to be, on disk.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The epoch.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The present term, and its leader once the election was shown.
    pub fn term(&self) -> (u64, Option<HostId>) {
        (self.durable.vote.term, self.durable.vote.leader)
    }

    /// Returns whether this member leads the present term.
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Returns why it has stopped, if it has.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// COMMIT: what openraft may be told of a commit index that it, or its leader, has come to. An order certificate counts only for
    /// the log that it is of.
    pub fn clamp(&self, commit: u64) -> u64 {
        let order = &self.durable.order;
        let index = order.position.index;
        // It is on the log, unless the log that this one mirrors has not taken what it is of.
        let on_it = index <= self.durable.log.root().index || self.durable.log.holds(index, &order.chain);
        let mut proven = if on_it { self.proven().max(self.durable.certified) } else { self.durable.certified };
        if planted!(ClampWithoutChain) {
            proven = proven
                .max(self.heard.as_ref().map_or(0, |heard| heard.position.index))
                .min(self.durable.log.last().index);
        }
        let end = self.ending.as_ref().map_or(u64::MAX, |ending| ending.last);
        commit.min(proven).min(end)
    }

    /// Up to which index the order certificate here proves the order, if the log has what it is of.
    pub(crate) fn proven(&self) -> u64 {
        self.durable.order.reach(&self.epoch)
    }

    /// Returns whether an order certificate is of more worth than the one here: a higher one that proves no less, or one of the same place that
    /// proves more of it.
    pub(super) fn is_better(&self, order: &OrderCertificate) -> bool {
        let (own, proven, reach) = (&self.durable.order, self.proven(), order.reach(&self.epoch));
        let same = order.position == own.position && order.chain == own.chain;
        (order.position > own.position && reach > 0 && reach >= proven) || (same && reach > proven)
    }

    pub(crate) fn write(&mut self, write: Write, step: &mut Step<'_>) {
        self.durable.apply(&write);
        step.outputs.push(Output::Write(write));
    }

    pub(crate) fn sign<T: Signable>(&self, content: T, step: &Step<'_>) -> Signed<T> {
        Signed::new(content, self.own, &self.epoch.vat, step.signing)
    }

    pub(crate) fn stop(&mut self, fault: Fault, step: &mut Step<'_>) -> Refusal {
        self.fault = Some(fault.clone());
        step.outputs.push(Output::Stop(fault));
        Refusal::Stopped
    }

    pub(crate) fn running(&self) -> Result<(), Refusal> {
        if self.fault.is_some() { Err(Refusal::Stopped) } else { Ok(()) }
    }

    /// Checks that something signed is of this epoch and by a member.
    pub(crate) fn authentic<T: Signable>(
        &self,
        signed: &Signed<T>,
        epoch: u64,
        step: &Step<'_>,
    ) -> Result<(), Refusal> {
        self.running()?;
        if epoch != self.epoch.number {
            return Err(Refusal::OtherEpoch { found: epoch, expected: self.epoch.number });
        }
        if !self.epoch.contains(&signed.by) {
            return Err(Refusal::NotTheSender(signed.by));
        }
        if signed.verifies(&self.epoch.vat, step.signing) { Ok(()) } else { Err(Refusal::BadSignature(signed.by)) }
    }

    /// OC: takes an order certificate in, that came with entries, with a refusal, or alone. One whose log is not the own one is
    /// remembered, if it is the highest such.
    ///
    /// # Errors
    /// It proves nothing, or the member has stopped.
    pub fn learn(&mut self, order: OrderCertificate, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.running()?;
        if !self.is_better(&order) {
            return Ok(());
        }
        order.verify(&self.epoch, step.signing)?;
        self.adopt(order, step);
        Ok(())
    }

    /// Takes a checked order certificate in.
    pub(crate) fn adopt(&mut self, order: OrderCertificate, step: &mut Step<'_>) {
        let Position { index, .. } = order.position;
        if self.is_better(&order) && self.durable.log.holds(index, &order.chain) {
            self.write(Write::Order(order), step);
            self.progress(step);
        } else if self.heard.as_ref().is_none_or(|heard| heard.position < order.position) {
            self.heard = Some(order);
            if planted!(ClampWithoutChain) {
                self.progress(step);
            }
        }
    }

    /// After the log or the order has changed: adopts what was heard of before, and says what may be executed and is to be shared.
    pub(crate) fn progress(&mut self, step: &mut Step<'_>) {
        if let Some(heard) = self.heard.take() {
            let better = self.is_better(&heard);
            if better && self.durable.log.holds(heard.position.index, &heard.chain) {
                self.write(Write::Order(heard), step);
            } else if better {
                self.heard = Some(heard);
            }
        }
        let upto = self.clamp(u64::MAX);
        if upto > self.executed {
            step.outputs.push(Output::Execute { upto });
        }
        self.share_all(step);
    }

    /// Indexes of commands that were starved, which a leader puts first into its next block.
    pub fn starved(&self) -> &BTreeSet<Hash> {
        &self.complaints.starved
    }
}

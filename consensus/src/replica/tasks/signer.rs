//! The task that signs, exchanges shares, and completes certificates.
//!
//! Invariants:
//! - It signs a statement only when the own log is on disk through the statement's block, and what proves its order is on disk, too. That is
//!   written while the block is executed. The signed watermark is written before the signature leaves, and synced with what comes next.
//! - After a start it signs nothing until executing the log again has reached, and matched, the watermark of the last run. A power cut may
//!   have taken the watermarks of the last blocks: up to where the order was proven it signs only what is of the log that was proven.
//! - A repaired replica signs nothing for blocks that it may have signed before.
//! - It signs one membership for each epoch, in all lives of the host, and none that contradicts a certified one.
//! - Shares go to all members at once, in a large vat to two that gather them ([`relays`]). The signer asks for missing ones.

mod relays;
mod verdicts;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::codec;
use crate::error::StoreError;
use crate::proof::certificate::{Certificate, Statement};
use crate::proof::equivocation::{Divergence, Signed};
use crate::proof::membership::{Member, Membership, MembershipCertificate};
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::{Share, Shares, Verdict};
use crate::raft::log::LogStore;
use crate::replica::event::EventSink;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::status::StatusCell;
use crate::replica::tasks::checkpointer::CheckpointerInput;
use crate::replica::tasks::own_key::OwnKey;
use crate::replica::wire::share::{MAX_ASKED, MAX_CERTIFICATES, REPLY_BYTES, ShareClient, ShareFrame, ShareReply};
use crate::state::ReplicatedState;
use crate::stats::StatsCell;
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::{SignedWatermark, VatStore};
use quorate_ids::{Hash, HostId};
use relays::{Early, Outgoing};
pub(crate) use verdicts::divergence_text;

/// Shares and certificates that wait for one member at most; more are dropped and asked for later.
const OUTBOX_SHARES: usize = 4_096;
/// The record of what the other members have signed.
const LATEST: &str = "latest-of-others";

/// What the task is told.
#[allow(clippy::large_enum_variant)] // The large variant is by far the most frequent one.
pub(crate) enum SignerInput {
    /// A block was executed.
    Applied { statement: Option<Statement>, activated: Option<(Membership, Membership)> },
    /// The state is that of a checkpoint.
    Restored { record: Arc<CheckpointRecord>, state: Arc<ReplicatedState> },
    /// From others. Shares are of their senders.
    Received { shares: Vec<Share>, certificates: Vec<Certificate>, memberships: Vec<MembershipCertificate> },
    /// A member asks for a statement that it has signed, of a later block.
    Inquire { by: HostId, above: u64, reply: oneshot::Sender<Option<Share>> },
    /// A member asks.
    Ask { blocks: Vec<u64>, epoch: u64, reply: oneshot::Sender<ShareReply> },
    /// A member shows what another one signed, and asks what that one signed here.
    Compare { theirs: Signed<Statement>, reply: oneshot::Sender<Option<Signed<Statement>>> },
    /// A member shows another member's signature.
    Shown(Signed<Statement>),
    /// A member is convicted: this proves it.
    Convicted(OrderEvidence),
    /// Blocks before this one are covered by a certified checkpoint.
    Floor(u64),
    /// A caller watches.
    Look(oneshot::Sender<SignerFigures>),
}

/// What the task tells its watchers.
#[derive(Debug, Default)]
pub(crate) struct SignerFigures {
    /// The highest block that each other member has signed, as far as is known here.
    pub(crate) signed: BTreeMap<HostId, u64>,
    /// When the oldest statement that lacks its certificate was computed.
    pub(crate) uncertified_since: Option<Instant>,
}

enum Unsigned {
    Statement(Statement),
    Membership { block: u64, ended: Membership, begun: Membership },
}

impl Unsigned {
    fn block(&self) -> u64 {
        match self {
            Unsigned::Statement(statement) => statement.block,
            Unsigned::Membership { block, .. } => *block,
        }
    }
}

/// What the task uses.
pub(crate) struct SignerParts {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) stats: Arc<StatsCell>,
    pub(crate) members: Arc<Members>,
    pub(crate) store: VatStore,
    pub(crate) log: LogStore,
    pub(crate) own_key: Arc<OwnKey>,
    pub(crate) share: ShareClient,
    pub(crate) checkpointer: mpsc::Sender<CheckpointerInput>,
    pub(crate) events: Arc<dyn EventSink>,
}

/// See the head of the module.
pub(crate) struct Signer {
    parts: SignerParts,
    shares: Shares,
    unsigned: VecDeque<Unsigned>,
    /// What this host signed last in its last run, until executing the log again has reached it.
    unreached: Option<SignedWatermark>,
    /// Up to where the last run knew the order, and the log's chain there: it may have signed all blocks of that log.
    promised: Option<(u64, Hash)>,
    /// It signs no statement of this block or an earlier one: it may have signed another one in a former life.
    signs_after: u64,
    /// Follows up to where the order is proven.
    ordered: watch::Receiver<u64>,
    /// Up to where that is on disk.
    order_synced: u64,
    /// Tells that the order is on disk up to an index, or that it never will be.
    order_written: mpsc::UnboundedReceiver<(u64, Result<(), io::Error>)>,
    orders: mpsc::UnboundedSender<(u64, Result<(), io::Error>)>,
    /// The latest statements of others have changed since they were last written.
    noted: bool,
    flushed: watch::Receiver<u64>,
    outboxes: BTreeMap<HostId, mpsc::Sender<Outgoing>>,
    early: Early,
    /// Up to this block certificates may be in the store already: those that the last run completed.
    stored_through: u64,
    certified_block: u64,
}

impl Signer {
    /// `unreached`: what this host signed in its last run, if that is after the checkpoint that it starts from. `promised`: up to where it
    /// knew the order then, and the log's chain there. `signs_after`: the block through which a repaired replica signs nothing; 0 as a rule.
    pub(crate) fn new(
        parts: SignerParts,
        unreached: Option<SignedWatermark>,
        promised: Option<(u64, Hash)>,
        signs_after: u64,
    ) -> Self {
        let mut shares = Shares::new(parts.identity.vat);
        shares.know(parts.identity.genesis.membership());
        for certificate in &parts.members.view().chain {
            shares.know_certified(certificate.clone());
        }
        let flushed = parts.log.flushed();
        let (stored_through, _) = parts.log.ends();
        if let Some(latest) = parts.lifecycle.check(parts.store.named(LATEST)) {
            shares.remember(latest.unwrap_or_default());
        }
        let ordered = parts.share.gate.follow_order();
        // Bounded by the changes of the order.
        let (orders, order_written) = mpsc::unbounded_channel();
        Self {
            parts,
            shares,
            unsigned: VecDeque::new(),
            unreached,
            promised,
            signs_after,
            ordered,
            order_synced: 0,
            order_written,
            orders,
            noted: false,
            flushed,
            outboxes: BTreeMap::new(),
            early: Early::default(),
            stored_through,
            certified_block: 0,
        }
    }

    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<SignerInput>) {
        let lifecycle = Arc::clone(&self.parts.lifecycle);
        let mut stopping = lifecycle.stopping();
        let mut tick = tokio::time::interval(self.parts.identity.timing.share_retry / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.sync_order();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                input = inputs.recv() => match input {
                    Some(input) => self.input(input).await,
                    None => return,
                },
                changed = self.flushed.changed() => if changed.is_err() { return },
                changed = self.ordered.changed() => match changed {
                    Ok(()) => self.sync_order(),
                    Err(_) => return,
                },
                Some((upto, written)) = self.order_written.recv() => self.order_is_on_disk(upto, written),
                () = async { lifecycle.awake().await; tick.tick().await; } => {
                    self.ask_for_missing();
                    self.note();
                }
            }
            self.sign().await;
            let uncertified = self.shares.uncertified() as u64;
            let certified = self.certified_block;
            self.parts.status.set_if(|status| {
                let changed = status.uncertified != uncertified || status.certified_block < certified;
                status.uncertified = uncertified;
                status.certified_block = status.certified_block.max(certified);
                changed
            });
        }
    }

    async fn input(&mut self, input: SignerInput) {
        match input {
            SignerInput::Applied { statement, activated } => {
                if let Some((ended, begun)) = activated {
                    self.shares.know(ended.clone());
                    self.shares.know(begun.clone());
                    let block = statement.as_ref().map_or(0, |statement| statement.block);
                    self.unsigned.push_back(Unsigned::Membership { block, ended, begun });
                }
                self.unsigned.extend(statement.map(Unsigned::Statement));
            }
            SignerInput::Restored { record, state } => self.restored(&record, &state).await,
            SignerInput::Received { shares, certificates, memberships } => {
                for certificate in memberships {
                    let verdicts = self.shares.membership_certificate(certificate);
                    self.conclude(verdicts).await;
                }
                self.noted |= !shares.is_empty() || !certificates.is_empty();
                for share in shares {
                    let verdicts = self.shares.share(share);
                    self.conclude(verdicts).await;
                }
                for certificate in certificates {
                    if self.shares.since(certificate.statement.block).is_none() {
                        self.early.keep(certificate);
                        continue;
                    }
                    let verdicts = self.shares.certificate(certificate);
                    self.conclude(verdicts).await;
                }
            }
            SignerInput::Inquire { by, above, reply } => {
                let latest = self.shares.latest().get(&by).filter(|(statement, _)| statement.block > above);
                // The caller may have gone.
                let _ =
                    reply.send(latest.map(|(statement, signature)| Share::Statement(statement.clone(), *signature)));
            }
            SignerInput::Ask { blocks, epoch, reply } => {
                // The caller may have gone.
                let _ = reply.send(self.answer(&blocks, epoch));
            }
            SignerInput::Compare { theirs, reply } => {
                let (ours, verdicts) = self.shares.compare(&theirs);
                // The caller may have gone.
                let _ = reply.send(ours);
                self.conclude(verdicts).await;
            }
            SignerInput::Shown(theirs) => {
                let (_, verdicts) = self.shares.compare(&theirs);
                self.conclude(verdicts).await;
            }
            SignerInput::Convicted(evidence) => self.convicted(evidence).await,
            SignerInput::Floor(block) => self.shares.raise_floor(block),
            SignerInput::Look(reply) => {
                let latest = self.shares.latest().iter();
                let signed = latest.map(|(member, (statement, _))| (*member, statement.block)).collect();
                let uncertified_since = self.shares.uncertified_since();
                // The caller may have gone.
                let _ = reply.send(SignerFigures { signed, uncertified_since });
            }
        }
    }

    async fn restored(&mut self, record: &CheckpointRecord, state: &ReplicatedState) {
        let statement = record.statement.clone();
        self.unsigned.retain(|unsigned| unsigned.block() > statement.block);
        let block = statement.block;
        let certified = self.unreached.zip(record.certificate.as_ref());
        let divergence = certified.and_then(|(watermark, certificate)| {
            Divergence::from_signed(certificate, watermark.block, watermark.statement)
        });
        if let Some(divergence) = divergence {
            return self.conclude(vec![Verdict::Diverged(divergence)]).await;
        }
        if self.unreached.is_some_and(|watermark| watermark.block <= block) {
            self.unreached = None;
        }
        self.shares.raise_floor(block);
        self.shares.know(state.membership.clone());
        if let Some(ended) = &state.previous_membership {
            self.shares.know(ended.clone());
            let (ended, begun) = (ended.clone(), state.membership.clone());
            self.unsigned.push_back(Unsigned::Membership { block, ended, begun });
        }
        self.unsigned.push_back(Unsigned::Statement(statement));
        if let Some(certificate) = &record.certificate {
            self.unsigned.pop_back();
            let verdicts = self.shares.own(record.statement.clone(), None, Instant::now());
            self.conclude(verdicts).await;
            let verdicts = self.shares.certificate(certificate.clone());
            self.conclude(verdicts).await;
        }
    }

    /// Has what proves the order written and synced, while the blocks are executed.
    fn sync_order(&mut self) {
        self.ordered.mark_unchanged();
        let (upto, records) = self.parts.share.gate.promise();
        // The order of a log that was given up.
        self.order_synced = self.order_synced.min(upto);
        let orders = self.orders.clone();
        let flushed = Box::new(move |result| {
            // The signer is gone only if the replica is stopping.
            let _ = orders.send((upto, result));
        });
        self.parts.lifecycle.check(self.parts.store.write_then(records, flushed));
    }

    fn order_is_on_disk(&mut self, upto: u64, written: Result<(), io::Error>) {
        if self.parts.lifecycle.check(written.map_err(|error| StoreError::Io(error.to_string()))).is_some() {
            self.order_synced = self.order_synced.max(upto.min(*self.ordered.borrow()));
        }
    }

    /// Signs all that may be signed now. The watermark is written first, and not synced: what a power cut takes of it, the log and what proves its order
    /// give again (see [`Self::keeps_the_promise`]).
    async fn sign(&mut self) {
        let through = (*self.flushed.borrow_and_update()).min(self.order_synced);
        let ready = self.unsigned.iter().take_while(|unsigned| unsigned.block() <= through).count();
        if ready == 0 || !self.watermark_allows(ready) || !self.keeps_the_promise() {
            return;
        }
        let batch: Vec<Unsigned> = self.unsigned.drain(..ready).collect();
        let highest = batch.iter().rev().find_map(|unsigned| match unsigned {
            Unsigned::Statement(statement) => Some(statement).filter(|statement| statement.block > self.signs_after),
            Unsigned::Membership { .. } => None,
        });
        if let Some(statement) = highest {
            self.parts.own_key.signs(statement.block);
            let signed = SignedWatermark::of(statement);
            let marked = self.parts.store.set_mark(|mark| mark.signed = Some(signed), false);
            let written = marked.and_then(|()| self.parts.store.write(vec![self.parts.store.put_watermark(statement)]));
            if self.parts.lifecycle.check(written).is_none() {
                return;
            }
        }
        for unsigned in batch {
            match unsigned {
                Unsigned::Statement(statement) => self.sign_statement(statement).await,
                Unsigned::Membership { ended, begun, .. } => self.sign_membership(&ended, begun).await,
            }
        }
    }

    /// After a start: whether this is the log whose order the last run knew. It may have signed any block of that one. If other entries
    /// have taken their places since, this replica signs none of them.
    fn keeps_the_promise(&mut self) -> bool {
        let Some((index, chain)) = self.promised else { return true };
        let (end, begin) = self.parts.log.ends();
        if index > end {
            return false;
        }
        let Some(own) = self.parts.lifecycle.check(self.parts.log.chain(index.max(begin))) else { return false };
        if index >= begin && own != chain {
            self.signs_after = self.signs_after.max(index);
        }
        self.promised = None;
        true
    }

    /// Writes down what the others have signed, now and then: they may have to be told. Not synced; it goes with the next flush.
    fn note(&mut self) {
        if std::mem::take(&mut self.noted) {
            let latest = self.parts.store.put_named(LATEST, self.shares.latest());
            self.parts.lifecycle.check(self.parts.store.write(vec![latest]));
        }
    }

    /// After a start: whether the re-execution has reached what was signed last, and is the same.
    fn watermark_allows(&mut self, ready: usize) -> bool {
        let Some(watermark) = self.unreached else { return true };
        let reached = self.unsigned.iter().take(ready).find_map(|unsigned| match unsigned {
            Unsigned::Statement(statement) if statement.block >= watermark.block => Some(statement),
            _ => None,
        });
        let Some(statement) = reached else { return false };
        if statement.block != watermark.block || statement.hash() != watermark.statement {
            let (found, at) = (statement.hash(), statement.block);
            self.diverged(&format!(
                "Q-C041 this host signed statement {} at block {}, and executing the log again gives {found} at block {at}",
                watermark.statement, watermark.block
            ));
            return false;
        }
        self.unreached = None;
        true
    }

    async fn sign_statement(&mut self, statement: Statement) {
        let key = self.parts.identity.key;
        let Some(membership) = self.shares.membership(statement.epoch).cloned() else { return };
        let mut signature = None;
        if membership.contains(&key) && statement.block > self.signs_after {
            let own = self.parts.identity.sign(&statement.payload());
            signature = Some(own);
            self.parts.stats.update(|stats| stats.shares_signed += 1);
            self.broadcast(&membership, &Share::Statement(statement.clone(), own));
        }
        let block = statement.block;
        let verdicts = self.shares.own(statement, signature, Instant::now());
        self.conclude(verdicts).await;
        if let Some(certificate) = self.early.take(block) {
            let verdicts = self.shares.certificate(certificate);
            self.conclude(verdicts).await;
        }
        if block <= self.stored_through
            && let Some(Some(certificate)) = self.parts.lifecycle.check(self.parts.store.certificate(block))
        {
            let verdicts = self.shares.certificate(certificate);
            self.conclude(verdicts).await;
        }
    }

    async fn sign_membership(&mut self, ended: &Membership, begun: Membership) {
        let certified = self.shares.certified_membership(begun.epoch);
        if let Some(certificate) = certified.filter(|certified| certified.membership != begun).cloned() {
            let divergence = Divergence::Membership { certificate, own: begun };
            return self.conclude(vec![Verdict::Diverged(divergence)]).await;
        }
        let signs = ended.contains(&self.parts.identity.key);
        if signs && !self.may_sign_membership(&begun) {
            return;
        }
        let signature = signs.then(|| self.parts.identity.sign(&begun.payload()));
        if let Some(signature) = signature {
            let share = Share::Membership(begun.clone(), signature);
            self.broadcast(ended, &share);
            self.broadcast(&begun, &share);
        }
        let verdicts = self.shares.own_membership(begun, signature);
        self.conclude(verdicts).await;
    }

    /// Returns whether this host may sign a membership: once for each epoch, in all its lives. The statement of the block that begins an
    /// epoch does not say who its members are, so the watermark of the statements would not notice. On disk before it returns: it
    /// is written once an epoch, and the signature is for ever.
    fn may_sign_membership(&self, begun: &Membership) -> bool {
        let (epoch, hash) = (begun.epoch, begun.hash());
        let Some(signed) = self.parts.lifecycle.check(self.parts.store.signed_membership(epoch)) else { return false };
        match signed {
            Some(signed) if signed == hash => true,
            Some(signed) => {
                self.diverged(&format!(
                    "Q-C041 this host signed membership {signed} for epoch {epoch}, and executing the log again gives {hash}"
                ));
                false
            }
            None => self.parts.lifecycle.check(self.parts.store.set_signed_membership(epoch, hash)).is_some(),
        }
    }

    /// Stops this replica, whose own state can't be relied on any more.
    fn diverged(&self, why: &str) {
        self.parts.lifecycle.fault(format!(
            "{why}; keep a copy of its data directory as evidence and test this machine's memory and disk. `vat member repair` has it \
             fetch the state of the others, and sign only what comes after; or replace the member (`vat member replace`)"
        ));
    }

    /// Sends something to another member.
    fn send(&mut self, member: &Member, outgoing: Outgoing) {
        if member.key == self.parts.identity.key {
            return;
        }
        let parts = &self.parts;
        let outbox = self.outboxes.entry(member.key).or_insert_with(|| spawn_outbox(parts, member.clone()));
        // Full: the member is away, and will ask.
        let _ = outbox.try_send(outgoing);
    }

    /// Returns what is here of the requested items, as far as it fits one answer: the memberships first, which name the signers of the rest.
    fn answer(&self, blocks: &[u64], epoch: u64) -> ShareReply {
        let mut room = REPLY_BYTES;
        let mut reply = ShareReply::default();
        let newer = self.parts.members.chain().into_iter().filter(|certificate| certificate.membership.epoch > epoch);
        reply.memberships = newer.take_while(|certificate| fits(&mut room, certificate)).collect();
        let epochs = self.shares.uncertified_epochs().into_iter();
        let of_epochs = epochs.filter_map(|epoch| self.shares.own_membership_share(epoch));
        reply.shares.extend(of_epochs.take_while(|share| fits(&mut room, share)));
        for block in blocks {
            match self.parts.store.certificate(*block) {
                Ok(Some(certificate)) if fits(&mut room, &certificate) => reply.certificates.push(certificate),
                Ok(Some(_)) => break,
                _ => reply.shares.extend(self.shares.own_share(*block).filter(|share| fits(&mut room, share))),
            }
        }
        reply
    }

    /// Asks the other members for what has stayed away for too long.
    fn ask_for_missing(&mut self) {
        let patience = self.parts.identity.timing.share_retry;
        let blocks = self.shares.overdue(Instant::now(), patience, MAX_ASKED);
        let uncertified = self.shares.uncertified_epochs();
        if blocks.is_empty() && uncertified.is_empty() {
            return;
        }
        let (members, chained) = {
            let known = self.parts.members.view();
            let newest = known.newest().members.iter();
            let ended = known.applied.previous_membership.iter().flat_map(|membership| &membership.members);
            let members: BTreeMap<HostId, Member> =
                ended.chain(newest).map(|member| (member.key, member.clone())).collect();
            (members, known.chain.len() as u64)
        };
        // The chain may have a certificate that never came here: the input was full.
        let epoch = uncertified.first().map_or(chained, |first| chained.min(first.saturating_sub(1)));
        for member in members.into_values().filter(|member| member.key != self.parts.identity.key) {
            let share = self.parts.share.clone();
            let blocks = blocks.clone();
            tokio::spawn(async move { share.ask(&member, blocks, epoch).await });
        }
    }
}

/// Returns whether a part of an answer fits what room is left, which it then takes.
fn fits(room: &mut usize, part: &impl serde::Serialize) -> bool {
    let left = room.checked_sub(codec::encode(part).len());
    *room = left.unwrap_or(*room);
    left.is_some()
}

/// Sends shares and certificates to one member, all that wait in one frame of each kind.
fn spawn_outbox(parts: &SignerParts, member: Member) -> mpsc::Sender<Outgoing> {
    let (sender, mut receiver) = mpsc::channel(OUTBOX_SHARES);
    let (share, stats) = (parts.share.clone(), Arc::clone(&parts.stats));
    let mut stopping = parts.lifecycle.stopping();
    tokio::spawn(async move {
        let mut outgoing = Vec::new();
        loop {
            let received = tokio::select! {
                () = stopping.wait() => return,
                received = receiver.recv_many(&mut outgoing, MAX_CERTIFICATES) => received,
            };
            if received == 0 {
                return;
            }
            let (mut shares, mut certificates) = (Vec::new(), Vec::new());
            for one in outgoing.drain(..) {
                match one {
                    Outgoing::Share(share) => shares.push(share),
                    Outgoing::Certificate(certificate) => certificates.push(certificate),
                }
            }
            let sent = shares.len() as u64;
            // Whether they arrive or not: what is missing there will be asked for.
            if sent > 0 {
                let _ = share.exchange(&member, &ShareFrame::Push(shares)).await;
                stats.update(|stats| stats.shares_sent += sent);
            }
            if !certificates.is_empty() {
                let _ = share.exchange(&member, &ShareFrame::Certified(certificates)).await;
            }
        }
    });
    sender
}

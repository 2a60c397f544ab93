//! The task that signs, exchanges shares, and completes certificates.
//!
//! Invariants: a statement is signed only when the own log is on disk through its block and a guard record is on disk, too, so
//! that no crash makes this host forget what it has signed; nothing is signed before the re-execution after a start has reached, and matched, the guard of the last run; for
//! each epoch one membership is signed, in all lives of the host, and none that contradicts a certified one;
//! shares go to all members at once and are asked for when they stay away.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

use super::core::{Core, PlainEvent};
use super::exchange::{MAX_ASKED, MAX_SHARES, REPLY_BYTES, ShareFrame, ShareReply};
use super::keeper::KeeperInput;
use crate::certificate::{Certificate, MemberSignature, Statement};
use crate::checkpoint::CheckpointRecord;
use crate::codec;
use crate::error::StoreError;
use crate::ids::HostKey;
use crate::membership::{Member, Membership, MembershipCertificate};
use crate::scoreboard::{Scoreboard, Share, Verdict};
use crate::state::ReplicatedState;
use crate::store::Guard;

/// Shares that wait for one member at most; more are dropped and asked for later.
const OUTBOX_SHARES: usize = 4_096;
/// The record of what the other members have signed.
const LATEST: &str = "latest-of-others";

/// What the task is told.
#[allow(clippy::large_enum_variant)] // The large variant is by far the most frequent one.
pub(crate) enum BoardInput {
    /// A block was executed.
    Applied { statement: Option<Statement>, activated: Option<(Membership, Membership)> },
    /// The state is that of a checkpoint.
    Restored { record: Arc<CheckpointRecord>, state: Arc<ReplicatedState> },
    /// From others. Shares are of their senders.
    Received { shares: Vec<Share>, certificates: Vec<Certificate>, memberships: Vec<MembershipCertificate> },
    /// A member asks for a statement that it has signed, of a later block.
    Inquire { by: HostKey, above: u64, reply: oneshot::Sender<Option<Share>> },
    /// Somebody asks.
    Ask { blocks: Vec<u64>, epoch: u64, reply: oneshot::Sender<ShareReply> },
    /// Blocks before this one are covered by a certified checkpoint.
    Floor(u64),
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

/// See the head of the module.
pub(crate) struct Board {
    core: Arc<Core>,
    scoreboard: Scoreboard,
    unsigned: VecDeque<Unsigned>,
    hold: Option<Guard>,
    /// What is signed as soon as its guard is on disk, in order.
    guarding: VecDeque<Vec<Unsigned>>,
    /// Tells of each of them, in order, that its guard is on disk, or that it never will be.
    guarded: mpsc::UnboundedReceiver<Result<(), io::Error>>,
    guards: mpsc::UnboundedSender<Result<(), io::Error>>,
    /// The latest statements of others have changed since they were last written.
    noted: bool,
    flushed: watch::Receiver<u64>,
    outboxes: BTreeMap<HostKey, mpsc::Sender<Share>>,
    /// Up to this block certificates may be in the store already: those that the last run completed.
    stored_through: u64,
    certified_block: u64,
}

impl Board {
    pub(crate) fn new(core: Arc<Core>, hold: Option<Guard>) -> Self {
        let mut scoreboard = Scoreboard::new(core.vat);
        {
            let known = core.known();
            scoreboard.know(core.genesis.membership());
            for certificate in &known.chain {
                scoreboard.know_certified(certificate.membership.clone());
            }
        }
        let flushed = core.log.flushed();
        let (stored_through, _) = core.log.ends();
        let outboxes = BTreeMap::new();
        let unsigned = VecDeque::new();
        if let Some(latest) = core.check(core.store.named(LATEST)) {
            scoreboard.remember(latest.unwrap_or_default());
        }
        // Bounded by what waits for its guard.
        let (guards, guarded) = mpsc::unbounded_channel();
        Self {
            core,
            scoreboard,
            unsigned,
            hold,
            guarding: VecDeque::new(),
            guarded,
            guards,
            noted: false,
            flushed,
            outboxes,
            stored_through,
            certified_block: 0,
        }
    }

    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<BoardInput>) {
        let mut stopping = self.core.stopping();
        let mut tick = tokio::time::interval(self.core.timing.share_retry / 2);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                input = inputs.recv() => match input {
                    Some(input) => self.input(input).await,
                    None => return,
                },
                changed = self.flushed.changed() => if changed.is_err() { return },
                Some(written) = self.guarded.recv() => self.guarded(written).await,
                _ = tick.tick() => {
                    self.ask_for_missing();
                    self.note();
                }
            }
            self.sign();
            let uncertified = self.scoreboard.uncertified() as u64;
            let certified = self.certified_block;
            self.core.status.send_if_modified(|status| {
                let changed = status.uncertified != uncertified || status.certified_block < certified;
                status.uncertified = uncertified;
                status.certified_block = status.certified_block.max(certified);
                changed
            });
        }
    }

    async fn input(&mut self, input: BoardInput) {
        match input {
            BoardInput::Applied { statement, activated } => {
                if let Some((ended, begun)) = activated {
                    self.scoreboard.know(ended.clone());
                    self.scoreboard.know(begun.clone());
                    let block = statement.as_ref().map_or(0, |statement| statement.block);
                    self.unsigned.push_back(Unsigned::Membership { block, ended, begun });
                }
                self.unsigned.extend(statement.map(Unsigned::Statement));
            }
            BoardInput::Restored { record, state } => self.restored(&record, &state).await,
            BoardInput::Received { shares, certificates, memberships } => {
                for certificate in memberships {
                    let verdicts = self.scoreboard.membership_certificate(certificate);
                    self.conclude(verdicts).await;
                }
                self.noted |= !shares.is_empty() || !certificates.is_empty();
                for share in shares {
                    let verdicts = self.scoreboard.share(share);
                    self.conclude(verdicts).await;
                }
                for certificate in certificates {
                    let verdicts = self.scoreboard.certificate(certificate);
                    self.conclude(verdicts).await;
                }
            }
            BoardInput::Inquire { by, above, reply } => {
                let latest = self.scoreboard.latest().get(&by).filter(|(statement, _)| statement.block > above);
                // Whoever asked may have gone.
                let _ =
                    reply.send(latest.map(|(statement, signature)| Share::Statement(statement.clone(), *signature)));
            }
            BoardInput::Ask { blocks, epoch, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.answer(&blocks, epoch));
            }
            BoardInput::Floor(block) => self.scoreboard.raise_floor(block),
        }
    }

    async fn restored(&mut self, record: &CheckpointRecord, state: &ReplicatedState) {
        let statement = record.statement.clone();
        self.unsigned.retain(|unsigned| unsigned.block() > statement.block);
        let block = statement.block;
        match self.hold {
            Some(guard) if guard.block == block && guard.statement != statement.hash() => {
                return self.astray(&format!(
                    "Q-C041 this host signed statement {} at block {block}, and the members have certified {} there",
                    guard.statement,
                    statement.hash()
                ));
            }
            Some(guard) if guard.block <= block => self.hold = None,
            _ => {}
        }
        self.scoreboard.raise_floor(block);
        self.scoreboard.know(state.membership.clone());
        if let Some(ended) = &state.previous_membership {
            self.scoreboard.know(ended.clone());
            let (ended, begun) = (ended.clone(), state.membership.clone());
            self.unsigned.push_back(Unsigned::Membership { block, ended, begun });
        }
        self.unsigned.push_back(Unsigned::Statement(statement));
        if let Some(certificate) = &record.certificate {
            self.unsigned.pop_back();
            let verdicts = self.scoreboard.own(record.statement.clone(), None, Instant::now());
            self.conclude(verdicts).await;
            let verdicts = self.scoreboard.certificate(certificate.clone());
            self.conclude(verdicts).await;
        }
    }

    /// Writes the guard for all that may be signed now. It is signed when the guard is on disk, with whatever the disk's next
    /// flush takes along.
    fn sign(&mut self) {
        let flushed = *self.flushed.borrow_and_update();
        let ready = self.unsigned.iter().take_while(|unsigned| unsigned.block() <= flushed).count();
        if ready == 0 || !self.guard_allows(ready) {
            return;
        }
        let batch: Vec<Unsigned> = self.unsigned.drain(..ready).collect();
        let highest = batch.iter().rev().find_map(|unsigned| match unsigned {
            Unsigned::Statement(statement) => Some(statement),
            Unsigned::Membership { .. } => None,
        });
        let guard = highest.map(|statement| {
            self.core.signed_through.fetch_max(statement.block, Ordering::SeqCst);
            self.core.store.put_guard(statement)
        });
        self.guarding.push_back(batch);
        let guards = self.guards.clone();
        let flushed = Box::new(move |result| {
            // The board is gone only if the replica is stopping.
            let _ = guards.send(result);
        });
        self.core.check(self.core.store.write_then(guard.into_iter().collect(), flushed));
    }

    /// The guard of the oldest of what waits for one is on disk.
    async fn guarded(&mut self, written: Result<(), io::Error>) {
        if self.core.check(written.map_err(|error| StoreError::Io(error.to_string()))).is_none() {
            return;
        }
        for unsigned in self.guarding.pop_front().unwrap_or_default() {
            match unsigned {
                Unsigned::Statement(statement) => self.sign_statement(statement).await,
                Unsigned::Membership { ended, begun, .. } => self.sign_membership(&ended, begun).await,
            }
        }
    }

    /// Writes down what the others have signed, now and then: they may have to be told. Not synced; it goes with the next flush.
    fn note(&mut self) {
        if std::mem::take(&mut self.noted) {
            let latest = self.core.store.put_named(LATEST, self.scoreboard.latest());
            self.core.check(self.core.store.write(vec![latest]));
        }
    }

    /// After a start: whether the re-execution has reached what was signed last, and is the same.
    fn guard_allows(&mut self, ready: usize) -> bool {
        let Some(guard) = self.hold else { return true };
        let reached = self.unsigned.iter().take(ready).find_map(|unsigned| match unsigned {
            Unsigned::Statement(statement) if statement.block >= guard.block => Some(statement),
            _ => None,
        });
        let Some(statement) = reached else { return false };
        if statement.block != guard.block || statement.hash() != guard.statement {
            let (found, at) = (statement.hash(), statement.block);
            self.astray(&format!(
                "Q-C041 this host signed statement {} at block {}, and executing the log again gives {found} at block {at}",
                guard.statement, guard.block
            ));
            return false;
        }
        self.hold = None;
        true
    }

    async fn sign_statement(&mut self, statement: Statement) {
        let key = self.core.key;
        let Some(membership) = self.scoreboard.membership(statement.epoch).cloned() else { return };
        let mut signature = None;
        if membership.contains(&key) {
            let own = MemberSignature::sign(&self.core.signing, &statement.payload());
            signature = Some(own);
            let mut shown = (statement.clone(), own);
            if let Some(tamper) = &self.core.tamper {
                tamper(&mut shown.0);
                shown.1 = MemberSignature::sign(&self.core.signing, &shown.0.payload());
            }
            self.core.stats.update(|stats| stats.shares_signed += 1);
            self.broadcast(&membership, &Share::Statement(shown.0, shown.1));
            if self.core.tamper.is_some() {
                // A liar does not keep an honest share to answer with.
                signature = (membership.threshold == 1).then_some(own);
            }
        }
        let block = statement.block;
        let verdicts = self.scoreboard.own(statement, signature, Instant::now());
        self.conclude(verdicts).await;
        if block <= self.stored_through
            && let Some(Some(certificate)) = self.core.check(self.core.store.certificate(block))
        {
            let verdicts = self.scoreboard.certificate(certificate);
            self.conclude(verdicts).await;
        }
    }

    async fn sign_membership(&mut self, ended: &Membership, begun: Membership) {
        if let Some(certified) = self.scoreboard.certified_membership(begun.epoch).filter(|other| **other != begun) {
            let (certified, ours) = (certified.clone(), begun);
            return self.conclude(vec![Verdict::OtherMembership { certified, ours }]).await;
        }
        let signs = ended.contains(&self.core.key);
        if signs && !self.membership_guard_allows(&begun) {
            return;
        }
        let signature = signs.then(|| MemberSignature::sign(&self.core.signing, &begun.payload()));
        if let Some(signature) = signature {
            let share = Share::Membership(begun.clone(), signature);
            self.broadcast(ended, &share);
            self.broadcast(&begun, &share);
        }
        let verdicts = self.scoreboard.own_membership(begun, signature);
        self.conclude(verdicts).await;
    }

    /// Whether this host may sign a membership: once for each epoch, in all its lives. The statement of the block that begins an
    /// epoch does not say who its members are, so the guard of the statements would not notice. On disk before it returns: it
    /// is written once an epoch, and the signature is for ever.
    fn membership_guard_allows(&self, begun: &Membership) -> bool {
        let (epoch, hash) = (begun.epoch, begun.hash());
        let Some(signed) = self.core.check(self.core.store.membership_guard(epoch)) else { return false };
        match signed {
            Some(signed) if signed == hash => true,
            Some(signed) => {
                self.astray(&format!(
                    "Q-C041 this host signed membership {signed} for epoch {epoch}, and executing the log again gives {hash}"
                ));
                false
            }
            None => self.core.check(self.core.store.set_membership_guard(epoch, hash)).is_some(),
        }
    }

    /// Stops this replica, whose own state can't be relied on any more.
    fn astray(&self, why: &str) {
        self.core.fault(format!("{why}; take this replica out and keep its data directory as evidence"));
    }

    fn broadcast(&mut self, membership: &Membership, share: &Share) {
        for member in membership.members.iter().filter(|member| member.key != self.core.key) {
            let core = &self.core;
            let outbox = self.outboxes.entry(member.key).or_insert_with(|| spawn_outbox(core, member.clone()));
            // Full: the member is away, and will ask.
            let _ = outbox.try_send(share.clone());
        }
    }

    async fn conclude(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            match verdict {
                Verdict::Certified(certificate) => self.certified(certificate).await,
                Verdict::Reconfigured(certificate) => {
                    self.core.learn(vec![certificate.clone()]);
                    self.core.events.send(PlainEvent::Reconfigured(certificate)).await;
                }
                Verdict::Conflict(report) => {
                    let added = self.core.store.add_conflict(&report.member, &report);
                    let Some(count) = self.core.check(added) else { return };
                    self.core.stats.update(|stats| *stats.conflicts.entry(report.member).or_default() += 1);
                    self.core.set_status(|status| status.conflicts = count);
                    self.core.events.send(PlainEvent::Conflict(report)).await;
                }
                Verdict::Diverged { certificate, ours } => {
                    self.astray(&format!(
                        "Q-C042 a threshold of members certified {} at block {}, this replica computed {}",
                        certificate.statement.hash(),
                        ours.block,
                        ours.hash()
                    ));
                }
                Verdict::OtherMembership { certified, ours } => {
                    self.astray(&format!(
                        "Q-C042 a threshold of members certified membership {} for epoch {}, this replica computed {}",
                        certified.hash(),
                        ours.epoch,
                        ours.hash()
                    ));
                }
                Verdict::Refused => self.core.stats.update(|stats| stats.shares_refused += 1),
            }
        }
    }

    async fn certified(&mut self, certificate: Certificate) {
        let block = certificate.statement.block;
        if self.core.check(self.core.store.write(vec![self.core.store.put_certificate(&certificate)])).is_none() {
            return;
        }
        self.certified_block = self.certified_block.max(block);
        for signature in certificate.signatures.iter().filter(|signature| signature.key != self.core.key) {
            self.noted |= self.scoreboard.note(&certificate.statement, *signature);
        }
        let since = self.scoreboard.since(block);
        self.core.stats.update(|stats| {
            stats.certificates += 1;
            if let Some(since) = since {
                stats.certify.record(since.elapsed());
            }
        });
        if certificate.statement.state_root.is_some() {
            // The receiver is gone only if the replica is stopping.
            let _ = self.core.keeper.send(KeeperInput::Certified(certificate.clone())).await;
        }
        self.core.events.send(PlainEvent::Certified(certificate)).await;
    }

    /// What is here of what somebody asks for, as far as it fits one answer: the memberships first, which tell who signs the rest.
    fn answer(&self, blocks: &[u64], epoch: u64) -> ShareReply {
        let mut room = REPLY_BYTES;
        let mut reply = ShareReply::default();
        let newer = self.core.chain().into_iter().filter(|certificate| certificate.membership.epoch > epoch);
        reply.memberships = newer.take_while(|certificate| fits(&mut room, certificate)).collect();
        let epochs = self.scoreboard.uncertified_epochs().into_iter();
        let of_epochs = epochs.filter_map(|epoch| self.scoreboard.own_membership_share(epoch));
        reply.shares.extend(of_epochs.take_while(|share| fits(&mut room, share)));
        for block in blocks {
            match self.core.store.certificate(*block) {
                Ok(Some(certificate)) if fits(&mut room, &certificate) => reply.certificates.push(certificate),
                Ok(Some(_)) => break,
                _ if self.core.tamper.is_some() => {}
                _ => reply.shares.extend(self.scoreboard.own_share(*block).filter(|share| fits(&mut room, share))),
            }
        }
        reply
    }

    /// Asks the other members for what has stayed away for too long.
    fn ask_for_missing(&mut self) {
        let patience = self.core.timing.share_retry;
        let blocks = self.scoreboard.overdue(Instant::now(), patience, MAX_ASKED);
        let uncertified = self.scoreboard.uncertified_epochs();
        if blocks.is_empty() && uncertified.is_empty() {
            return;
        }
        let (members, chained) = {
            let known = self.core.known();
            let newest = known.newest().members.iter();
            let ended = known.applied.previous_membership.iter().flat_map(|membership| &membership.members);
            let members: BTreeMap<HostKey, Member> =
                ended.chain(newest).map(|member| (member.key, member.clone())).collect();
            (members, known.chain.len() as u64)
        };
        // The chain may have a certificate that never came here: the input was full.
        let epoch = uncertified.first().map_or(chained, |first| chained.min(first.saturating_sub(1)));
        for member in members.into_values().filter(|member| member.key != self.core.key) {
            let core = Arc::clone(&self.core);
            let blocks = blocks.clone();
            tokio::spawn(async move { core.ask(&member, blocks, epoch).await });
        }
    }
}

/// Whether a part of an answer fits what room is left, which it then takes.
fn fits(room: &mut usize, part: &impl serde::Serialize) -> bool {
    let left = room.checked_sub(codec::encode(part).len());
    *room = left.unwrap_or(*room);
    left.is_some()
}

/// Sends shares to one member, all that wait in one frame.
fn spawn_outbox(core: &Arc<Core>, member: Member) -> mpsc::Sender<Share> {
    let (sender, mut receiver) = mpsc::channel(OUTBOX_SHARES);
    let core = Arc::clone(core);
    tokio::spawn(async move {
        let mut stopping = core.stopping();
        let mut shares = Vec::new();
        loop {
            let received = tokio::select! {
                () = stopping.wait() => return,
                received = receiver.recv_many(&mut shares, MAX_SHARES) => received,
            };
            if received == 0 {
                return;
            }
            let frame = ShareFrame::Push(std::mem::take(&mut shares));
            // Whether it arrives or not: what is missing there will be asked for.
            let _ = core.exchange(&member, &frame).await;
            core.stats.update(|stats| stats.shares_sent += received as u64);
        }
    });
    sender
}

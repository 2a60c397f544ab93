//! Turns a replica's events into shipments, console lines, metrics, log lines, and knowledge of other vats.
//!
//! Invariants: everything here may be lost with the process, and is done again when blocks are executed again. Events that peers can
//! cause at will are logged sparingly.

use super::{
    codes::Codes,
    console::Console,
    machine::BlockEffects,
    places,
    progress::SharedProgress,
    readings::Readings,
    recent::Recent,
    unacknowledged::Unacknowledged,
    view::{RestoredState, SharedView},
};
use crate::vat::console;
use crate::{
    co_members::CoMembers,
    directory::Directory,
    telemetry::Telemetry,
    traces::{
        Moment,
        vat::{BlockTrace, VatTraces},
    },
};
use quorate_consensus::{Event, EvidenceRecord, HostId, ReplicaHandle, ReplicaStatus, Role};
use quorate_courier::courier::Notice;
use quorate_courier::log_limiter::LogLimiter;
use quorate_engine::{
    VatId,
    abi::Bundle,
    heap::{LogLevel, LogLine},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{mpsc, watch};

/// Turns a replica's events into what the rest of the node does with them.
pub struct EventLoop {
    pub vat: VatId,
    pub name: String,
    pub replica: ReplicaHandle,
    pub view: SharedView,
    pub directory: Directory,
    pub co_members: Arc<CoMembers>,
    pub telemetry: Arc<Telemetry>,
    pub console: Option<Console>,
    /// The vat's code, as this host has it, for the lines that errors point at.
    pub codes: Arc<Codes>,
    pub removed: Arc<AtomicBool>,
    pub progress: SharedProgress,
    pub recent: Recent,
    /// For how long messages have waited for acknowledgements.
    pub unacknowledged: Unacknowledged,
    /// Where the vat's messages are traced, if they are.
    pub traces: Option<VatTraces>,
    /// What anybody may read.
    pub readings: Readings,
    pub notices: mpsc::UnboundedSender<Notice>,
    /// The block up to which the console's file has all lines.
    pub printed: watch::Sender<u64>,
    pub memory: Memory,
}

/// What the loop remembers from one event to the next.
#[derive(Default)]
pub struct Memory {
    /// Equivocations of each member since the process started, and disagreements of all.
    equivocations: BTreeMap<HostId, u64>,
    disagreements: u64,
    /// The epoch whose members are this host's co-members.
    epoch: Option<u64>,
    /// Who led last.
    leader: Option<HostId>,
    /// The newest checkpoint on disk, and the newest certified one.
    checkpoints: [u64; 2],
    /// Whether a change of members is under way.
    changing: bool,
    refused: LogLimiter,
    rolled_back: LogLimiter,
}

impl EventLoop {
    /// Runs until the replica ends.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event<BlockEffects>>) {
        let mut status = self.replica.status_watch();
        self.follow(&status.borrow_and_update());
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.follow(&status.borrow_and_update());
                }
            }
        }
    }

    fn follow(&mut self, status: &ReplicaStatus) {
        self.notify(Notice::Rank(rank(status)));
        self.progress.note(status, Instant::now());
        self.observe(status);
        if self.memory.epoch != Some(status.epoch) && !self.removed.load(Ordering::Relaxed) {
            self.memory.epoch = Some(status.epoch);
            self.co_members.set(self.vat, &status.membership.members, Instant::now());
        }
    }

    /// Notes when what the status shows has changed.
    fn observe(&mut self, status: &ReplicaStatus) {
        let label = [self.name.as_str()];
        let now = i64::try_from(now_ms() / 1_000).unwrap_or(i64::MAX);
        let (telemetry, memory) = (&self.telemetry, &mut self.memory);
        if status.leader.is_some() && status.leader != memory.leader {
            // The first one that it hears of is no change.
            if memory.leader.is_some() {
                telemetry.leader_changes.with_label_values(&label).inc();
            }
            memory.leader = status.leader;
        }
        let newest = [status.local_checkpoint_block, status.checkpoint_block];
        for (place, times) in [&telemetry.checkpointed, &telemetry.certified_checkpoint].into_iter().enumerate() {
            if newest[place] > memory.checkpoints[place] {
                times.with_label_values(&label).set(now);
            }
        }
        memory.checkpoints = newest;
        let is_out = self.removed.load(Ordering::Relaxed);
        let changing = !is_out && super::describe_pending(status).is_some();
        if changing != memory.changing {
            telemetry.change_began.with_label_values(&label).set(if changing { now } else { 0 });
            memory.changing = changing;
        }
    }

    fn notify(&self, notice: Notice) {
        // The courier ends only with this loop.
        let _ = self.notices.send(notice);
    }

    fn handle(&mut self, event: Event<BlockEffects>) {
        match event {
            Event::Applied { block, statement, effects } => {
                if statement.is_some() {
                    self.readings.stated(block, effects.published.clone());
                }
                self.applied(block, effects);
            }
            Event::Certified(certificate) => {
                if let Some(traces) = &mut self.traces {
                    traces.certified(certificate.statement.block, Moment::now());
                }
                self.readings.certified(&certificate);
                self.notify(Notice::Certified(certificate));
            }
            Event::Restored { block } => {
                // Lines of blocks before a checkpoint that came from others never come here.
                self.printed.send_replace(block);
                let RestoredState { outbox, published } = self.view.lock().restored.pop_front().unwrap_or_default();
                self.readings.stated(block, published);
                let waiting = outbox.messages.iter().map(|(peer, number, _)| (*peer, *number));
                self.unacknowledged.restore(waiting, Instant::now());
                self.traces.iter_mut().for_each(VatTraces::restored);
                self.view.lock().published_block.get_or_insert(block);
                self.notify(Notice::Restored { block, outbox });
            }
            Event::Reconfigured(certificate) => {
                let membership = certificate.membership;
                tracing::info!(vat = %self.name, epoch = membership.epoch, members = membership.members.len(), "new membership");
                let introduction = self.replica.introduction();
                self.directory.learn(None, &introduction);
                self.directory.note_membership(&membership);
                self.notify(Notice::Introduction(Box::new(introduction)));
            }
            Event::Evidence(record) => self.evidence(&record),
            Event::Removed => {
                self.removed.store(true, Ordering::Relaxed);
                self.co_members.set(self.vat, &[], Instant::now());
                tracing::info!(vat = %self.name, "this host is no longer a member of the vat");
            }
            Event::Fault(fault) => {
                tracing::error!(vat = %self.name, code = "Q-REPLICA-FAULT", %fault, "the replica has stopped");
            }
        }
    }

    /// Says what was kept as evidence. A liar makes a piece a block: the metrics count them all, the log says it in time and then ever
    /// more rarely.
    fn evidence(&mut self, record: &EvidenceRecord) {
        let (epoch, block) = record.place();
        let block = block.unwrap_or_default();
        match record {
            // The fault that follows says it.
            EvidenceRecord::Divergence(_) => {}
            EvidenceRecord::Disagreement(disagreement) => {
                self.memory.disagreements += 1;
                let count = self.memory.disagreements;
                if count.is_power_of_two() {
                    tracing::warn!(
                        vat = %self.name, code = "Q-DISAGREEMENT", signer = %disagreement.theirs.signer(), block, count,
                        "a member signed something else than this replica computed; that accuses nobody: either may have been \
                         shown another log, or be at fault"
                    );
                }
            }
            record => {
                for member in record.accused() {
                    let count = self.memory.equivocations.entry(member).or_default();
                    *count += 1;
                    if count.is_power_of_two() {
                        tracing::error!(
                            vat = %self.name, code = "Q-EQUIVOCATION", %member, epoch, block, count = *count,
                            "a member signed two things of which it may sign one: the proof is kept (`vat evidence`)"
                        );
                    }
                }
            }
        }
    }

    /// Gives the spans of what a block did with messages.
    fn trace(&mut self, block: u64, effects: &BlockEffects) {
        let Some(traces) = &mut self.traces else { return };
        let leads = {
            let status = self.replica.status_watch();
            let status = status.borrow();
            status.role == Role::Leader && status.leader == Some(status.key)
        };
        let end = Moment::now();
        let begin = end.before(Duration::try_from_secs_f64(effects.seconds).unwrap_or_default());
        let (said, acknowledged) = (&effects.output.queued, &effects.output.pruned);
        let trace = BlockTrace { block, begin, end, said, acknowledged, taken: &effects.taken, leads };
        let view = &self.view;
        traces.applied(&trace, |peer| view.known(peer).is_some_and(|signers| signers.expires != 0));
        effects.forgotten.iter().for_each(|peer| traces.forget(peer, end, leads));
    }

    fn applied(&mut self, block: u64, effects: BlockEffects) {
        self.trace(block, &effects);
        let output = effects.output;
        let label = [self.name.as_str()];
        let cranks = output.cranks.len();
        self.telemetry.block_seconds.with_label_values(&label).observe(effects.seconds);
        self.telemetry.deliveries.with_label_values(&label).inc_by(cranks as u64);
        if cranks > 0 {
            self.telemetry.block_deliveries.with_label_values(&label).observe(cranks as f64);
        }
        let now = now_ms();
        self.telemetry.last_applied.with_label_values(&label).set(i64::try_from(now / 1_000).unwrap_or(i64::MAX));
        self.recent.note(block, now, effects.outbox.heads(), &output.cranks, &effects.crank_times);
        for time in &effects.crank_times {
            self.telemetry.crank_seconds.with_label_values(&label).observe(time.as_secs_f64());
        }
        for crank in &output.cranks {
            self.telemetry.crank_fuel.with_label_values(&label).observe(crank.fuel as f64);
            if let Some(limit) = crank.rolled_back {
                self.telemetry.rolled_back.with_label_values(&[self.name.as_str(), limit.as_str()]).inc();
                if let Some(left_out) = self.memory.rolled_back.admit(Instant::now()) {
                    tracing::warn!(
                        vat = %self.name, block, limit = limit.as_str(), left_out,
                        "a delivery reached a limit and was rolled back"
                    );
                }
            }
        }
        self.telemetry.waited_commands.with_label_values(&label).inc_by(output.waited);
        for why in &effects.refused {
            self.telemetry.refused_commands.with_label_values(&label).inc();
            if let Some(left_out) = self.memory.refused.admit(Instant::now()) {
                tracing::warn!(vat = %self.name, block, %why, left_out, "a command in the log was refused");
            }
        }
        if let Some(upgrade) = &effects.upgraded {
            tracing::info!(vat = %self.name, block, entry = upgrade.bundle.entry, "the vat was upgraded");
            self.codes.note(upgrade);
        }
        self.print(block, &output.logs);
        self.printed.send_replace(block);
        for evidence in effects.introductions {
            self.directory.note_evidence(evidence.genesis, evidence.chain);
        }
        let (queued, pruned) = (output.queued, output.pruned);
        let said = queued.iter().map(|(peer, number, _)| (*peer, *number));
        self.unacknowledged.note(said, pruned.iter().copied(), Instant::now());
        self.notify(Notice::Applied { block, outbox: effects.outbox, queued, pruned });
        if !effects.forgotten.is_empty() {
            effects.forgotten.iter().for_each(|peer| self.unacknowledged.forget(peer));
            let forgotten = effects.forgotten.len() as u64;
            self.telemetry.forgotten_peers.with_label_values(&[self.name.as_str()]).inc_by(forgotten);
            self.notify(Notice::Forgotten(effects.forgotten));
        }
    }

    /// Console lines go to the vat's own file, which is bounded, and to no other.
    fn print(&mut self, block: u64, lines: &[LogLine]) {
        for line in lines {
            let level = console::level_name(line.level);
            self.telemetry.console_lines.with_label_values(&[self.name.as_str(), level]).inc();
        }
        let Some(console) = &mut self.console else { return };
        let failed = lines.iter().any(|line| matches!(line.level, LogLevel::Warn | LogLevel::Error));
        let bundle = self.codes.present().filter(|_| failed).map(|present| present.bundle);
        let lines: Vec<LogLine> = lines.iter().map(|line| with_code(line, bundle.as_ref())).collect();
        if let Err(error) = console.write(block, &lines) {
            tracing::warn!(vat = %self.name, %error, "the console file could not be written");
        }
    }
}

/// A warning or an error with the author's line below each place in the code that it names.
fn with_code(line: &LogLine, bundle: Option<&Bundle>) -> LogLine {
    match (line.level, bundle) {
        (LogLevel::Warn | LogLevel::Error, Some(bundle)) => {
            LogLine { level: line.level, text: places::with_lines(&line.text, bundle) }
        }
        _ => line.clone(),
    }
}

/// Milliseconds since 1970, by this host's clock.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// This member's place behind the leader: 0 leads; a member that is no voter never ships.
fn rank(status: &ReplicaStatus) -> usize {
    let members = &status.membership.members;
    let Some(own) = members.iter().position(|member| member.key == status.key) else { return usize::MAX };
    if status.role == Role::Leader {
        return 0;
    }
    match status.leader.and_then(|key| members.iter().position(|member| member.key == key)) {
        Some(leader) => ((own + members.len() - leader) % members.len()).max(1),
        None => 1 + own,
    }
}

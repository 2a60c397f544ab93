//! Executes log entries on the machine, one after the other, wherever the [`Execution`] says.
//!
//! Invariants: the outcome of an entry is a function of the state and the entry. The executor writes nothing. It reports every block
//! before the entry's outcome. After a fault it does nothing more.

use futures::future::BoxFuture;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::MachineFault;
use crate::execution::machine::{BlockContext, LogTime, Machine};
use crate::execution::place::Execution;
use crate::execution::pool::turn_over;
use crate::proof::certificate::Statement;
use crate::proof::membership::{Membership, Parameters};
use crate::state::block::{Block, BlockReply, Control, LogContent, LogItem};
use crate::state::{LogPosition, ReplicatedState, state_root};
use crate::stats::StatsCell;
use crate::storage::checkpoints::{CheckpointDraft, Fetcher};
use quorate_ids::{Hash, VatId};

/// What one log entry brought about.
pub(crate) struct Outcome {
    pub(crate) index: u64,
    pub(crate) reply: BlockReply,
    pub(crate) statement: Option<Statement>,
    pub(crate) checkpoint: Option<CheckpointDraft>,
    /// The membership that ended with this block and the one that began.
    pub(crate) activated: Option<(Membership, Membership)>,
    /// The state after the entry, if anything in it that others watch has changed.
    pub(crate) view: Option<Arc<ReplicatedState>>,
}

/// What became of an entry, and what its block brought about, if it was one.
pub(crate) type Applied<M> = (Outcome, Option<Executed<<M as Machine>::Effects>>);

/// What the executor reports, in order.
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub(crate) enum Executed<E> {
    /// A block was executed.
    Applied { block: u64, statement: Option<Statement>, effects: E },
    /// The state is that of the checkpoint at this block.
    Restored { block: u64 },
}

/// Takes what the executor reports, which waits until it is taken.
pub(crate) type Report<E> = Box<dyn FnMut(Executed<E>) -> BoxFuture<'static, ()> + Send>;

type Reply<T> = oneshot::Sender<Result<T, MachineFault>>;
/// Looks at the machine.
pub(crate) type Inspection = Box<dyn FnOnce(&mut dyn Any) + Send>;

/// A request to the executor.
pub(crate) enum Job {
    Apply {
        items: Vec<LogItem>,
        reply: Reply<Vec<Outcome>>,
    },
    Restore {
        manifest: Arc<[u8]>,
        state: Box<ReplicatedState>,
        fetch: Fetcher,
        reply: Reply<Arc<ReplicatedState>>,
    },
    /// Which of these chunks must be stored, because not every host has them by itself?
    Needed {
        chunks: Vec<Hash>,
        reply: Reply<Vec<Hash>>,
    },
    Inspect(Inspection),
    /// Nothing will be executed for a while.
    Rest,
}

/// Sends requests to the executor. Unbounded, since each caller waits for its answer before it sends the next request.
#[derive(Clone)]
pub(crate) struct ExecutorHandle(mpsc::UnboundedSender<Job>);

impl ExecutorHandle {
    pub(crate) async fn apply(&self, items: Vec<LogItem>) -> Result<Vec<Outcome>, MachineFault> {
        let (reply, answer) = oneshot::channel();
        self.call(Job::Apply { items, reply }, answer).await
    }

    pub(crate) async fn restore(
        &self,
        manifest: Arc<[u8]>,
        state: ReplicatedState,
        fetch: Fetcher,
    ) -> Result<Arc<ReplicatedState>, MachineFault> {
        let (reply, answer) = oneshot::channel();
        self.call(Job::Restore { manifest, state: Box::new(state), fetch, reply }, answer).await
    }

    pub(crate) async fn needed(&self, chunks: Vec<Hash>) -> Result<Vec<Hash>, MachineFault> {
        let (reply, answer) = oneshot::channel();
        self.call(Job::Needed { chunks, reply }, answer).await
    }

    pub(crate) fn inspect(&self, look: Inspection) {
        // If the executor is gone the closure is dropped, and with it the sender that its caller waits for.
        let _ = self.0.send(Job::Inspect(look));
    }

    /// Nothing will be executed for a while: the machine may give back what it can make again.
    pub(crate) fn rest(&self) {
        // If the executor is gone nothing is held.
        let _ = self.0.send(Job::Rest);
    }

    async fn call<T>(&self, job: Job, answer: oneshot::Receiver<Result<T, MachineFault>>) -> Result<T, MachineFault> {
        let gone = || MachineFault("the executor is gone".into());
        self.0.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What the executor owns.
pub(crate) struct Executor<M: Machine> {
    pub(crate) vat: VatId,
    pub(crate) parameters: Parameters,
    pub(crate) machine: M,
    pub(crate) state: ReplicatedState,
    pub(crate) report: Report<M::Effects>,
    pub(crate) stats: Arc<StatsCell>,
    /// Told when the log's time, or what the machine wants of it, has changed.
    pub(crate) time: watch::Sender<LogTime>,
}

/// What a block's control has brought about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    /// A change of the members was recorded, or given up.
    Recorded,
    Activated,
    Ticked,
}

impl<M: Machine> Executor<M> {
    /// Starts the executor. It ends when the last handle is gone.
    pub(crate) fn start(self, execution: &dyn Execution) -> std::io::Result<ExecutorHandle> {
        self.tell_time();
        let (sender, receiver) = mpsc::unbounded_channel();
        execution.execute(Box::pin(self.run(receiver)))?;
        Ok(ExecutorHandle(sender))
    }

    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut fault: Option<MachineFault> = None;
        let mut rests = false;
        while let Some(job) = jobs.recv().await {
            rests &= matches!(job, Job::Needed { .. } | Job::Inspect(_));
            match job {
                Job::Apply { items, reply } => {
                    let result = self.apply(&mut fault, items).await;
                    // Nobody waits if the replica was shut down meanwhile.
                    let _ = reply.send(result);
                }
                Job::Restore { manifest, state, mut fetch, reply } => {
                    let result = guarded(&mut fault, || self.restore(&manifest, *state, &mut fetch));
                    if let Ok(state) = &result {
                        let block = state.last_log.map_or(0, |position| position.index);
                        (self.report)(Executed::Restored { block }).await;
                    }
                    let _ = reply.send(result);
                }
                Job::Needed { chunks, reply } => {
                    let _ = reply.send(guarded(&mut fault, || Ok(self.needed(chunks))));
                }
                Job::Rest => {
                    rests = true;
                    let _ = guarded(&mut fault, || self.machine.rest());
                }
                Job::Inspect(look) => {
                    let _ = guarded(&mut fault, || {
                        look(&mut self.machine);
                        // It may have filled again what was given back.
                        if rests { self.machine.rest() } else { Ok(()) }
                    });
                }
            }
        }
    }

    fn restore(
        &mut self,
        manifest: &[u8],
        state: ReplicatedState,
        fetch: &mut Fetcher,
    ) -> Result<Arc<ReplicatedState>, MachineFault> {
        self.machine.restore(manifest, &mut |hash| fetch(hash))?;
        self.state = state;
        self.tell_time();
        Ok(Arc::new(self.state.clone()))
    }

    fn tell_time(&self) {
        let time = LogTime { now_ms: self.state.now_ms, wanted: self.machine.time_wanted() };
        self.time.send_if_modified(|told| std::mem::replace(told, time) != time);
    }

    async fn apply(
        &mut self,
        fault: &mut Option<MachineFault>,
        items: Vec<LogItem>,
    ) -> Result<Vec<Outcome>, MachineFault> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let (outcome, executed) = guarded(fault, || self.apply_one(item))?;
            if let Some(executed) = executed {
                (self.report)(executed).await;
                // Other vats have work, too.
                turn_over().await;
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Executes one entry.
    ///
    /// # Errors
    /// The machine stops.
    pub(crate) fn apply_one(&mut self, item: LogItem) -> Result<Applied<M>, MachineFault> {
        let position = LogPosition { term: item.term, index: item.index };
        let mut outcome = Outcome {
            index: item.index,
            reply: BlockReply::default(),
            statement: None,
            checkpoint: None,
            activated: None,
            view: None,
        };
        self.state.last_log = Some(position);
        let mut executed = None;
        match item.content {
            LogContent::Blank => {}
            LogContent::Raft(membership) if !self.state.allows(&membership) => {
                // Members refuse it before it is in their logs, so it got here by a majority that does not.
                tracing::error!(vat = %self.vat, block = item.index, ?membership, "raft has a membership that this vat does not");
            }
            LogContent::Raft(membership) => {
                self.state.raft_membership = membership;
                self.state.raft_membership_log = Some(position);
                outcome.view = Some(Arc::new(self.state.clone()));
            }
            LogContent::Block(bytes) => {
                let block = (Block::decode(&bytes), bytes.0.len());
                executed = self.apply_block(block, item.chain, &mut outcome)?;
            }
        }
        Ok((outcome, executed))
    }

    fn apply_block(
        &mut self,
        (block, bytes): (Block, usize),
        chain: Hash,
        outcome: &mut Outcome,
    ) -> Result<Option<Executed<M::Effects>>, MachineFault> {
        let started = Instant::now();
        let number = outcome.index;
        let done = block.control.map_or(Done::Nothing, |control| self.apply_control(control, number, outcome));
        // A change was recorded: the block is signed, so that its certificate shows a threshold of the members at work.
        let recorded = done == Done::Recorded;
        // At the beginning of an epoch, too: then no newcomer needs a checkpoint that those signed who left long ago.
        let due = done == Done::Activated || self.state.since_checkpoint.is_due(&self.parameters);
        if block.commands.is_empty() && !recorded && !due && done != Done::Ticked {
            self.state.since_checkpoint.count(bytes, 0, 0);
            return Ok(None);
        }
        let commands: Vec<Vec<u8>> = block.commands.iter().map(|command| command.0.to_vec()).collect();
        let membership = &self.state.membership;
        let now_ms = self.state.now_ms;
        let context = BlockContext { block: number, epoch: membership.epoch, membership, now_ms };
        let applied = self.machine.apply(&context, &commands, due)?;
        if applied.results.len() != commands.len() {
            let found = applied.results.len();
            return Err(MachineFault(format!("{found} results for {} commands of block {number}", commands.len())));
        }
        self.state.since_checkpoint.count(bytes, commands.len(), applied.work);
        outcome.reply.results = applied.results;
        self.stats.update(|stats| {
            stats.blocks += 1;
            stats.commands += commands.len() as u64;
            stats.work = stats.work.saturating_add(applied.work);
        });
        if applied.outbox_root.is_some() || applied.publishes || recorded || due {
            let roots = (applied.outbox_root, applied.published_root);
            self.state_statement(roots, chain, due, outcome)?;
        }
        if recorded {
            // With the hash of the block's own statement.
            outcome.view = Some(Arc::new(self.state.clone()));
        }
        self.tell_time();
        self.stats.update(|stats| stats.apply.record(started.elapsed()));
        let (statement, effects) = (outcome.statement.clone(), applied.effects);
        Ok(Some(Executed::Applied { block: number, statement, effects }))
    }

    fn needed(&self, mut chunks: Vec<Hash>) -> Vec<Hash> {
        chunks.retain(|hash| !self.machine.has_chunk(hash));
        chunks
    }

    fn apply_control(&mut self, control: Control, block: u64, outcome: &mut Outcome) -> Done {
        let result = match control {
            Control::Admit(admission) => self.state.admit(&admission, block).map(|()| Done::Recorded),
            Control::Activate(activation) => self.state.activate(&activation).map(|ended| {
                outcome.activated = Some((ended, self.state.membership.clone()));
                Done::Activated
            }),
            Control::Recover(certificate) => self.state.recover(&certificate, block).map(|ended| {
                outcome.activated = Some((ended, self.state.membership.clone()));
                Done::Activated
            }),
            Control::Tick(tick) => self.state.tick(&tick).map(|()| Done::Ticked),
        };
        match result {
            Ok(done) => {
                if done != Done::Ticked {
                    outcome.view = Some(Arc::new(self.state.clone()));
                }
                done
            }
            Err(refused) => {
                outcome.reply.refused = Some(refused);
                Done::Nothing
            }
        }
    }

    /// Makes the block's statement and, if one is due, its checkpoint.
    fn state_statement(
        &mut self,
        (outbox_root, published_root): (Option<Hash>, Hash),
        chain: Hash,
        due: bool,
        outcome: &mut Outcome,
    ) -> Result<(), MachineFault> {
        let mut statement = Statement {
            vat: self.vat,
            epoch: self.state.membership.epoch,
            block: outcome.index,
            previous: self.state.last_statement,
            chain,
            outbox_root: outbox_root.unwrap_or(Hash::ZERO),
            published_root,
            state_root: None,
        };
        if due {
            let began = Instant::now();
            self.state.since_checkpoint = Default::default();
            let parts = self.machine.checkpoint()?;
            let state = self.state.encode();
            statement.state_root = Some(state_root(&state, &parts.root));
            let chunks = self.needed(M::describe(&parts.manifest)?.chunks);
            outcome.checkpoint = Some(CheckpointDraft {
                state: state.into(),
                machine_root: parts.root,
                manifest: parts.manifest.into(),
                chunks,
                new_chunks: parts.new_chunks,
                statement: statement.clone(),
                took: began.elapsed(),
            });
        }
        self.state.last_statement = statement.hash();
        self.state.note_statement(outcome.index, self.state.last_statement);
        outcome.statement = Some(statement);
        Ok(())
    }
}

/// Runs something of the machine: after a fault nothing more is run, and a panic is a fault.
fn guarded<T>(
    fault: &mut Option<MachineFault>,
    run: impl FnOnce() -> Result<T, MachineFault>,
) -> Result<T, MachineFault> {
    if let Some(fault) = fault {
        return Err(fault.clone());
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        Err(MachineFault(format!("the machine panicked: {text}")))
    });
    if let Err(error) = &result {
        *fault = Some(error.clone());
    }
    result
}

/// Longest that a stop waits for the executor to finish what it does.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(10);

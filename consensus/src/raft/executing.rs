//! Holds entries that openraft has committed until their order is proven, then executes them.
//!
//! Openraft commits on a majority; an order takes a threshold of acknowledgements. Openraft's worker must not wait for those, because it also
//! hands out the checkpoint that a member may need before it can acknowledge anything.
//!
//! Invariants: entries are executed in order, and only with a proven order. Nothing of an instance of openraft is executed after
//! another instance has replaced it. Only a leader has entries that wait, and it stops taking commands after a few blocks.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, MutexGuard};

use super::gate::OrderGate;
use super::ports::{Answer, Apply};
use crate::state::block::{LogContent, LogItem};
use crate::state::{LogPosition, RaftMembership, ReplicatedState};
use crate::storage::checkpoints::CheckpointRecord;

/// Entries that are handed to the executor at once.
const BATCH: usize = 64;

/// What was executed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached {
    pub(super) last: Option<LogPosition>,
    pub(super) membership_log: Option<LogPosition>,
    pub(super) membership: RaftMembership,
}

impl Reached {
    fn of(state: &ReplicatedState) -> Self {
        let (last, membership_log) = (state.last_log, state.raft_membership_log);
        Self { last, membership_log, membership: state.raft_membership.clone() }
    }

    fn note(&mut self, item: &LogItem) {
        self.last = Some(LogPosition { term: item.term, index: item.index });
        if let LogContent::Raft(membership) = &item.content {
            self.membership_log = self.last;
            self.membership = membership.clone();
        }
    }
}

struct Queue {
    /// Which instance of openraft it is of.
    life: u64,
    reached: Reached,
    waiting: VecDeque<(LogItem, Option<Answer>)>,
}

/// See the head of the module.
pub(super) struct Executing {
    apply: Arc<dyn Apply>,
    gate: Arc<OrderGate>,
    queue: Mutex<Queue>,
    executed: Arc<AtomicU64>,
}

impl Executing {
    /// `restored`: the state that the executor has.
    pub(super) fn new(apply: Arc<dyn Apply>, gate: Arc<OrderGate>, restored: &ReplicatedState) -> Arc<Self> {
        let reached = Reached::of(restored);
        let index = reached.last.map_or(0, |last| last.index);
        gate.executed(index);
        let executed = Arc::new(AtomicU64::new(index));
        let queue = Mutex::new(Queue { life: 0, reached, waiting: VecDeque::new() });
        Arc::new(Self { apply, gate, queue, executed })
    }

    /// Executes what waits whenever more is proven, until the replica is gone.
    pub(super) fn follow_order(this: &Arc<Self>) {
        let (mut ordered, weak) = (this.gate.follow_order(), Arc::downgrade(this));
        tokio::spawn(async move {
            while ordered.changed().await.is_ok() {
                let Some(this) = weak.upgrade() else { return };
                let mut queue = this.queue.lock().await;
                // It has been reported as a fault.
                if this.run(&mut queue).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The last index that was executed.
    pub(super) fn executed(&self) -> u64 {
        self.executed.load(Ordering::SeqCst)
    }

    /// To follow it without holding this.
    pub(super) fn executed_index(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.executed)
    }

    /// Returns what was executed last.
    pub(super) async fn reached(&self) -> Reached {
        self.queue.lock().await.reached.clone()
    }

    async fn queue_of(&self, life: u64) -> Result<MutexGuard<'_, Queue>, io::Error> {
        let queue = self.queue.lock().await;
        if queue.life == life { Ok(queue) } else { Err(io::Error::other("another instance of openraft runs")) }
    }

    /// Takes in what an instance of openraft has committed, and executes what is proven of it.
    ///
    /// # Errors
    /// As for [`Apply::apply`]; or another instance has taken its place.
    pub(super) async fn take(&self, life: u64, committed: Vec<(LogItem, Option<Answer>)>) -> Result<(), io::Error> {
        let mut queue = self.queue_of(life).await?;
        queue.waiting.extend(committed);
        self.run(&mut queue).await
    }

    async fn run(&self, queue: &mut Queue) -> Result<(), io::Error> {
        loop {
            let upto = self.gate.ordered();
            let proven = queue.waiting.iter().take(BATCH).take_while(|(item, _)| item.index <= upto).count();
            let batch: Vec<_> = queue.waiting.drain(..proven).collect();
            let Some(index) = batch.last().map(|(last, _)| last.index) else { return Ok(()) };
            batch.iter().for_each(|(item, _)| queue.reached.note(item));
            self.apply.apply(batch).await?;
            self.executed.store(index, Ordering::SeqCst);
            self.gate.executed(index);
        }
    }

    /// Takes the state of a checkpoint, in the place of all that it covers.
    ///
    /// # Errors
    /// As for [`Executing::take`].
    pub(super) async fn install(
        &self,
        life: u64,
        record: Arc<CheckpointRecord>,
        state: ReplicatedState,
    ) -> Result<(), io::Error> {
        let mut queue = self.queue_of(life).await?;
        queue.waiting.retain(|(item, _)| item.index > record.block());
        queue.reached = Reached::of(&state);
        let block = record.block();
        self.apply.install(record, state).await?;
        self.executed.store(block, Ordering::SeqCst);
        self.gate.executed(block);
        self.run(&mut queue).await
    }

    /// Another instance of openraft takes the place of the present one: what waits is given up. Returns the instance's number.
    pub(super) async fn next_life(&self) -> u64 {
        let mut queue = self.queue.lock().await;
        queue.waiting.clear();
        queue.life += 1;
        queue.life
    }
}

//! What was seen of a world, for the oracles to judge. It judges nothing itself, except where a violation must be noticed at once.

use quorate_consensus::{Certificate, Change, Hash, HostId, MembershipCertificate, Statement};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::machine::{Command, Registers};
use crate::trace::Trace;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The oracle that noticed it.
    pub oracle: &'static str,
    pub at_ms: u64,
    pub text: String,
}

/// A block as one honest host executed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub host: usize,
    /// The log's time.
    pub now_ms: u64,
    pub commands: Vec<Vec<u8>>,
    pub answers: Vec<Vec<u8>>,
    pub state: Hash,
}

/// A command of a client, from its first attempt to its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub command: Command,
    pub invoked_ms: u64,
    /// When the answer came; none while it is under way.
    pub answered_ms: Option<u64>,
    /// The block that the answer named, and what was in the register before.
    pub found: Option<(u64, u64)>,
}

/// What was seen.
#[derive(Default)]
pub struct Seen {
    pub violations: Vec<Violation>,
    /// The first execution of each block by an honest host.
    pub blocks: BTreeMap<u64, Executed>,
    pub operations: Vec<Operation>,
    /// The first certificate of each block that an honest host reported, and which host that was.
    pub certificates: BTreeMap<u64, (usize, Certificate)>,
    /// By epoch, likewise.
    pub memberships: BTreeMap<u64, (usize, MembershipCertificate)>,
    /// What each honest host has signed and sent, by block, in all its lives.
    pub signed: BTreeMap<(HostId, u64), Statement>,
    /// The changes of members that owners asked for.
    pub asked: Vec<Change>,
    /// Keys of the hosts that lie.
    pub liars: BTreeSet<HostId>,
    /// Figures of the run.
    pub figures: BTreeMap<&'static str, u64>,
}

/// Cheap to clone; clones are the same record.
#[derive(Clone)]
pub struct Record {
    seen: Arc<Mutex<Seen>>,
    trace: Trace,
}

impl Record {
    /// An empty one.
    pub fn new(trace: Trace) -> Record {
        Record { seen: Arc::default(), trace }
    }

    /// To read and to add to.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trace of the world.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Adds a violation.
    pub fn violation(&self, oracle: &'static str, text: String) {
        self.trace.line(format_args!("VIOLATION {oracle}: {text}"));
        let at_ms = self.trace.now_ms();
        self.seen().violations.push(Violation { oracle, at_ms, text });
    }

    /// Returns whether there is one.
    pub fn is_violated(&self) -> bool {
        !self.seen().violations.is_empty()
    }

    /// Adds to a figure.
    pub fn count(&self, figure: &'static str, more: u64) {
        *self.seen().figures.entry(figure).or_default() += more;
    }

    /// The last block that an honest host has executed; 0 if there is none.
    pub fn last_block(&self) -> u64 {
        self.seen().blocks.last_key_value().map_or(0, |(block, _)| *block)
    }

    /// The state after all blocks that were seen up to `last`.
    pub fn replayed(&self, last: u64) -> Registers {
        let mut state = Registers::default();
        let seen = self.seen();
        for (block, executed) in seen.blocks.range(..=last) {
            state.tell(*block, executed.now_ms);
            for command in &executed.commands {
                state.execute(command);
                state.block = *block;
            }
        }
        state
    }
}

//! The outputs of the vat's latest blocks, and their work by account: for clients that ask for the cost of a call, and for the console, which
//! follows messages from vat to vat.
//!
//! Of this process only, bounded, and never an input to replicated state.

use quorate_engine::{VatId, comms::stream::StreamHead, machine::CrankReport};
use quorate_protocol::status::{BlockStatus, HeadStatus, WorkStatus};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Entries that are remembered: one for each account in each block.
const MAX_ENTRIES: usize = 1_024;
/// Heads of streams that are remembered, of all blocks together.
const MAX_HEADS: usize = 1_024;

/// What one block did on one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecentWork {
    pub block: u64,
    pub deliveries: u64,
    pub fuel: u64,
    /// Wall time of these deliveries on this host, in milliseconds.
    pub execution_ms: f64,
    /// The limits that deliveries ran into, which were undone then.
    pub rolled_back: Vec<String>,
}

/// The streams that one block changed.
#[derive(Debug)]
struct Heads {
    block: u64,
    at_ms: u64,
    heads: Vec<StreamHead>,
}

#[derive(Debug, Default)]
struct Memory {
    work: VecDeque<(VatId, RecentWork)>,
    /// Blocks that changed streams, or did work.
    blocks: VecDeque<Heads>,
    /// How many heads are in these.
    heads: usize,
}

/// See the head of the module. A clone is the same memory.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<Memory>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a block that was executed at `at_ms` (milliseconds since 1970): the streams that it changed, and what it did; `times`
    /// are those of its cranks.
    pub fn note(&self, block: u64, at_ms: u64, heads: &[StreamHead], cranks: &[CrankReport], times: &[Duration]) {
        let mut accounts: BTreeMap<VatId, RecentWork> = BTreeMap::new();
        for (place, crank) in cranks.iter().enumerate() {
            let Some(account) = crank.account.or(crank.from) else { continue };
            let work = accounts.entry(account).or_insert_with(|| RecentWork {
                block,
                deliveries: 0,
                fuel: 0,
                execution_ms: 0.0,
                rolled_back: Vec::new(),
            });
            work.deliveries += 1;
            work.fuel = work.fuel.saturating_add(crank.fuel);
            work.execution_ms += times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3);
            work.rolled_back.extend(crank.rolled_back.map(|limit| limit.as_str().to_owned()));
        }
        let mut memory = self.lock();
        if !heads.is_empty() || !accounts.is_empty() {
            let heads: Vec<StreamHead> = heads.iter().filter(|head| !head.is_mark).copied().collect();
            memory.heads += heads.len();
            memory.blocks.push_back(Heads { block, at_ms, heads });
        }
        while (memory.heads > MAX_HEADS && memory.blocks.len() > 1) || memory.blocks.len() > MAX_ENTRIES {
            let gone = memory.blocks.pop_front().map_or(0, |gone| gone.heads.len());
            memory.heads -= gone;
        }
        memory.work.extend(accounts);
        while memory.work.len() > MAX_ENTRIES {
            memory.work.pop_front();
        }
    }

    /// The latest blocks that said or did something, the oldest first.
    pub fn blocks(&self) -> Vec<BlockStatus> {
        let memory = self.lock();
        let mut blocks: BTreeMap<u64, BlockStatus> = BTreeMap::new();
        for Heads { block, at_ms, heads } in &memory.blocks {
            let heads =
                heads.iter().map(|head| HeadStatus { peer: head.peer.to_string(), end: head.end, ack: head.ack });
            // A block that is executed again, from a checkpoint, is the same block.
            let status = BlockStatus { block: *block, at_ms: *at_ms, heads: heads.collect(), work: Vec::new() };
            blocks.insert(*block, status);
        }
        for (account, work) in &memory.work {
            let Some(status) = blocks.get_mut(&work.block) else { continue };
            status.work.retain(|other| other.account != account.to_string());
            status.work.push(WorkStatus {
                account: account.to_string(),
                deliveries: work.deliveries,
                fuel: work.fuel,
                execution_ms: work.execution_ms,
                rolled_back: work.rolled_back.clone(),
            });
        }
        blocks.into_values().collect()
    }

    /// Returns what was done on an account, as far as it is remembered.
    pub fn of(&self, account: &VatId) -> Vec<RecentWork> {
        self.lock().work.iter().filter(|(other, _)| other == account).map(|(_, work)| work.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_engine::machine::{CrankKind, LimitKind};

    fn crank(account: u8, fuel: u64, rolled_back: Option<LimitKind>) -> CrankReport {
        let account = Some(VatId([account; 32]));
        CrankReport { what: CrankKind::Call, from: account, account, fuel, rolled_back }
    }

    #[test]
    fn work_is_remembered_by_account_and_block_and_bounded() {
        let recent = Recent::default();
        let times = [1, 2, 4].map(Duration::from_millis);
        recent.note(7, 0, &[], &[crank(1, 10, None), crank(2, 5, Some(LimitKind::Fuel)), crank(1, 1, None)], &times);
        let one = recent.of(&VatId([1; 32]));
        assert_eq!((one.len(), one[0].block, one[0].deliveries, one[0].fuel), (1, 7, 2, 11));
        assert!((one[0].execution_ms - 5.0).abs() < 1e-9, "{one:?}");
        assert_eq!(recent.of(&VatId([2; 32]))[0].rolled_back, ["fuel"]);
        for block in 0..2_000 {
            recent.note(block, 0, &[], &[crank(3, 1, None)], &[]);
        }
        assert!(recent.of(&VatId([1; 32])).is_empty());
        assert_eq!(recent.of(&VatId([3; 32])).len(), MAX_ENTRIES);
    }

    #[test]
    fn blocks_say_which_streams_they_changed_and_are_bounded() {
        let head = |peer, end, ack| {
            let hash = quorate_engine::Hash([0; 32]);
            StreamHead { peer: VatId([peer; 32]), end, hash, ack, ack_hash: hash, is_mark: false }
        };
        let recent = Recent::default();
        recent.note(1, 5, &[], &[], &[]);
        recent.note(2, 6, &[head(1, 3, 0), head(2, 0, 1)], &[crank(2, 9, None)], &[]);
        let [only] = recent.blocks().try_into().expect("a block that did nothing is not remembered");
        assert_eq!((only.block, only.at_ms, only.heads.len(), only.work.len()), (2, 6, 2, 1));
        assert_eq!((only.heads[0].end, only.heads[1].ack, only.work[0].fuel), (3, 1, 9));
        // Again, from a checkpoint.
        recent.note(2, 7, &[head(1, 3, 0), head(2, 0, 1)], &[crank(2, 9, None)], &[]);
        assert_eq!((recent.blocks().len(), recent.blocks()[0].work.len()), (1, 1));
        for block in 3..2_000 {
            recent.note(block, 8, &[head(1, block, 0), head(2, block, 0)], &[], &[]);
        }
        let blocks = recent.blocks();
        assert_eq!((blocks.len(), blocks.last().map(|last| last.block)), (MAX_HEADS / 2, Some(1_999)));
        // One block may change more streams than are kept in all.
        recent.note(2_000, 9, &vec![head(1, 1, 1); 2 * MAX_HEADS], &[], &[]);
        recent.note(2_001, 9, &[head(1, 1, 1)], &[], &[]);
        assert_eq!(recent.blocks().len(), 1);
    }
}

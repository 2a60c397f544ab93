//! What the vat's latest blocks did on whose account: for whoever asks what a call of theirs has cost.
//!
//! Of this process only, bounded, and never an input to anything that is replicated.

use quorate_engine::{VatId, machine::CrankReport};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Entries that are remembered: one for each account in each block.
const MAX_ENTRIES: usize = 1_024;

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

/// See the head of the module. A clone is the same memory.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<VecDeque<(VatId, RecentWork)>>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(VatId, RecentWork)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a block did; `times` are those of its cranks.
    pub fn note(&self, block: u64, cranks: &[CrankReport], times: &[Duration]) {
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
        let mut entries = self.lock();
        entries.extend(accounts);
        while entries.len() > MAX_ENTRIES {
            entries.pop_front();
        }
    }

    /// What was done on an account, as far as it is remembered.
    pub fn of(&self, account: &VatId) -> Vec<RecentWork> {
        self.lock().iter().filter(|(other, _)| other == account).map(|(_, work)| work.clone()).collect()
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
        recent.note(7, &[crank(1, 10, None), crank(2, 5, Some(LimitKind::Fuel)), crank(1, 1, None)], &times);
        let one = recent.of(&VatId([1; 32]));
        assert_eq!((one.len(), one[0].block, one[0].deliveries, one[0].fuel), (1, 7, 2, 11));
        assert!((one[0].execution_ms - 5.0).abs() < 1e-9, "{one:?}");
        assert_eq!(recent.of(&VatId([2; 32]))[0].rolled_back, ["fuel"]);
        for block in 0..2_000 {
            recent.note(block, &[crank(3, 1, None)], &[]);
        }
        assert!(recent.of(&VatId([1; 32])).is_empty());
        assert_eq!(recent.of(&VatId([3; 32])).len(), MAX_ENTRIES);
    }
}

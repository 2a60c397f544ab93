//! What this replica has seen of leaders.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// See the head of the module.
#[derive(Default)]
pub(crate) struct LeaderSeen {
    at: Mutex<Option<Instant>>,
    committed: AtomicU64,
}

impl LeaderSeen {
    /// A leader of the present term was heard, and said that the log is committed through this index.
    pub(crate) fn note(&self, committed: u64) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.committed.fetch_max(committed, Ordering::SeqCst);
    }

    /// When a leader of the present term was last heard, in this life.
    pub(crate) fn at(&self) -> Option<Instant> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest index that a leader has said to be committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }
}

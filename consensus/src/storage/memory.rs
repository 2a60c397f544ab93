//! A store in memory that behaves as a disk does: a crash loses unsynced writes.
//!
//! For tests, simulation, and vats that need not survive. Syncs happen at once and callbacks run in the calling thread, unless
//! a test delays them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::records::{Records, apply, range};
use super::store::{Family, Flushed, Record, Store, Write};
use crate::error::StoreError;

#[derive(Default)]
struct Inner {
    current: Records,
    synced: Records,
    unsynced: VecDeque<Vec<Write>>,
    held: Option<Vec<Flushed>>,
    failed: Option<String>,
    /// How many writes and syncs go well before one fails.
    fails_after: Option<u64>,
    syncs: u64,
}

impl Inner {
    /// Fails if the store has failed, or if its time has come.
    fn work(&mut self) -> Result<(), StoreError> {
        match &mut self.fails_after {
            Some(0) => self.failed = Some("the disk failed".into()),
            Some(left) => *left -= 1,
            None => {}
        }
        match &self.failed {
            Some(why) => Err(StoreError::Io(why.clone())),
            None => Ok(()),
        }
    }
}

/// See the head of the module.
#[derive(Default)]
pub struct MemoryStore(Mutex<Inner>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A crash: forgets all that was not synced, except the oldest `keep` unsynced batches, which reached the disk by
    /// themselves. Callbacks that were held back are dropped: nobody is there to be called.
    pub fn crash_keeping(&self, keep: usize) {
        let mut inner = self.lock();
        for _ in 0..keep {
            if let Some(batch) = inner.unsynced.pop_front() {
                apply(&mut inner.synced, &batch);
            }
        }
        inner.unsynced.clear();
        inner.current = inner.synced.clone();
        if let Some(held) = &mut inner.held {
            held.clear();
        }
    }

    /// Returns what a copy of the disk would have, taken while all is running: all that was written so far.
    pub fn copy(&self) -> Self {
        let current = self.lock().current.clone();
        Self(Mutex::new(Inner { synced: current.clone(), current, ..Inner::default() }))
    }

    /// Returns what the disk would have if the power were cut now: only what was synced.
    pub fn synced(&self) -> Self {
        let synced = self.lock().synced.clone();
        Self(Mutex::new(Inner { current: synced.clone(), synced, ..Inner::default() }))
    }

    /// A crash that loses everything that was not synced.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// From now on nothing is synced and no callback runs until [`MemoryStore::release`].
    pub fn hold(&self) {
        self.lock().held.get_or_insert_with(Vec::new);
    }

    /// Syncs, runs the callbacks that were held back, and goes on as usual.
    pub fn release(&self) {
        let callbacks = {
            let mut inner = self.lock();
            let callbacks = inner.held.take().unwrap_or_default();
            flush(&mut inner);
            callbacks
        };
        for callback in callbacks {
            callback(Ok(()));
        }
    }

    /// From now on every write and sync fails.
    pub fn fail(&self, why: &str) {
        self.lock().failed = Some(why.to_owned());
    }

    /// So many writes and syncs go well from now on; then one fails, and all after it.
    pub fn fail_after(&self, count: u64) {
        self.lock().fails_after = Some(count);
    }

    /// Returns how many batches a crash would lose now.
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Returns how many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush(inner: &mut Inner) {
    inner.syncs += 1;
    while let Some(batch) = inner.unsynced.pop_front() {
        apply(&mut inner.synced, &batch);
    }
}

impl Store for MemoryStore {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.work()?;
        apply(&mut inner.current, &batch);
        inner.unsynced.push_back(batch);
        Ok(())
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.write(batch)?;
        {
            let mut inner = self.lock();
            if let Some(held) = &mut inner.held {
                held.push(flushed);
                return Ok(());
            }
            flush(&mut inner);
        }
        flushed(Ok(()));
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.work()?;
        flush(&mut inner);
        Ok(())
    }

    fn failure(&self) -> Option<StoreError> {
        self.lock().failed.clone().map(StoreError::Io)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().current.get(&(family, key.to_vec())).cloned())
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        let inner = self.lock();
        let records = range(&inner.current, family, from, to).take(limit);
        Ok(records.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let inner = self.lock();
        Ok(range(&inner.current, family, from, to).take(limit).map(|((_, key), _)| key.clone()).collect())
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        let inner = self.lock();
        Ok(range(&inner.current, family, from, to).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }
}

//! A disk whose power can be cut, whose syncs take time and fail.
//!
//! Invariants: those of a [`Store`]. What a process finds when it opens the disk is synced (RocksDB writes what it recovers from its
//! log to a table first). What was written and not synced survives the death of the process; a power cut keeps a prefix
//! of it that ends at a random byte, and the batch that this byte falls into is gone as a whole. After a failed sync nothing more
//! is written, and what was written before it may be lost like after a power cut. A process that has ended writes nothing more.

use quorate_consensus::testing::{Records, apply, range};
use quorate_consensus::{Family, Flushed, Record, Store, StoreError, Write};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

use crate::dice::Dice;
use crate::trace::Trace;

struct Inner {
    current: Records,
    synced: Records,
    unsynced: VecDeque<Vec<Write>>,
    /// Batches written so far, and how many of them are synced.
    written: u64,
    flushed: u64,
    waiting: VecDeque<(u64, Flushed)>,
    /// The process that has the disk open.
    life: u64,
    failed: bool,
    fail_next_sync: bool,
    /// The power is cut at a write or sync to come.
    cut: Option<Cut>,
    /// How long a sync takes, in milliseconds.
    sync_ms: (u64, u64),
    dice: Dice,
}

/// After how many more writes and syncs the power is cut, and whose life that ends.
struct Cut {
    left: u64,
    alive: Arc<AtomicBool>,
}

/// What outlives the processes of a host.
pub struct Disk {
    name: String,
    trace: Trace,
    inner: Mutex<Inner>,
    work: Notify,
}

/// How a process ends, as the disk sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The system goes on: it has all that was written.
    Killed,
    /// Power is cut.
    PowerCut,
}

impl Disk {
    /// An empty disk.
    pub fn new(name: &str, dice: Dice, trace: Trace) -> Arc<Disk> {
        let inner = Inner {
            current: Records::new(),
            synced: Records::new(),
            unsynced: VecDeque::new(),
            written: 0,
            flushed: 0,
            waiting: VecDeque::new(),
            life: 0,
            failed: false,
            fail_next_sync: false,
            cut: None,
            sync_ms: (0, 2),
            dice,
        };
        Arc::new(Disk { name: name.to_owned(), trace, inner: Mutex::new(inner), work: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process opens the disk. Needs a runtime: the syncs are a task.
    pub fn open(self: &Arc<Disk>) -> Arc<OpenDisk> {
        let life = {
            let mut inner = self.lock();
            inner.life += 1;
            while !inner.unsynced.is_empty() {
                flush_one(&mut inner);
            }
            inner.life
        };
        tokio::spawn(flush(Arc::clone(self), life));
        Arc::new(OpenDisk { disk: Arc::clone(self), life })
    }

    /// The process that has the disk open ends: it writes nothing more, and nobody calls it back.
    pub fn end(&self, how: End) {
        let mut inner = self.lock();
        let how = if std::mem::take(&mut inner.failed) { End::PowerCut } else { how };
        inner.life += 1;
        inner.waiting.clear();
        inner.fail_next_sync = false;
        inner.cut = None;
        if how == End::PowerCut {
            let sizes: Vec<u64> = inner.unsynced.iter().map(|batch| bytes(batch)).collect();
            let total: u64 = sizes.iter().sum();
            let torn_at = inner.dice.between(0, total);
            let mut end = 0;
            let whole = |size: &u64| {
                end += size;
                end <= torn_at
            };
            let kept = sizes.iter().map(whole).take_while(|whole| *whole).count();
            let lost = sizes.len() - kept;
            for _ in 0..kept {
                flush_one(&mut inner);
            }
            inner.unsynced.clear();
            inner.current = inner.synced.clone();
            self.trace.line(format_args!("{} power cut: {lost} batches lost, {kept} kept", self.name));
        }
        inner.flushed = inner.written - inner.unsynced.len() as u64;
        drop(inner);
        self.work.notify_waiters();
        self.work.notify_one();
    }

    /// From now on a sync takes so many milliseconds, from least to most.
    pub fn set_sync_ms(&self, least: u64, most: u64) {
        self.lock().sync_ms = (least, most);
    }

    /// The next sync fails.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    /// So many writes and syncs are done from now on; at the next one the power is cut, and the process is not `alive` any more.
    pub fn cut_after(&self, writes: u64, alive: &Arc<AtomicBool>) {
        self.lock().cut = Some(Cut { left: writes, alive: Arc::clone(alive) });
    }

    /// Cuts the power, if it is time.
    fn work(&self, life: u64) {
        let alive = {
            let mut inner = self.lock();
            match &mut inner.cut {
                Some(cut) if cut.left > 0 => {
                    cut.left -= 1;
                    None
                }
                Some(_) => inner.cut.take().map(|cut| cut.alive).filter(|_| inner.life == life),
                None => None,
            }
        };
        if let Some(alive) = alive {
            self.trace.line(format_args!("{} loses power at a write", self.name));
            alive.store(false, Ordering::SeqCst);
            self.end(End::PowerCut);
        }
    }

    /// Returns whether a sync has failed since the disk was opened.
    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }
}

fn bytes(batch: &[Write]) -> u64 {
    let size = |write: &Write| match write {
        Write::Put(_, key, value) => key.len() + value.len() + 8,
        Write::Delete(_, key) => key.len() + 8,
        Write::DeleteRange(_, from, to) => from.len() + to.len() + 8,
    };
    batch.iter().map(size).sum::<usize>() as u64 + 8
}

fn flush_one(inner: &mut Inner) {
    if let Some(batch) = inner.unsynced.pop_front() {
        apply(&mut inner.synced, &batch);
        inner.flushed += 1;
    }
}

/// Syncs whatever waits, one sync after the other, until the process ends.
async fn flush(disk: Arc<Disk>, life: u64) {
    loop {
        let begun = {
            let mut inner = disk.lock();
            if inner.life != life {
                return;
            }
            let (least, most) = inner.sync_ms;
            let (idle, through) = (inner.waiting.is_empty(), inner.written);
            (!idle).then(|| (through, inner.dice.between(least, most)))
        };
        let Some((through, sync_ms)) = begun else {
            disk.work.notified().await;
            continue;
        };
        tokio::time::sleep(Duration::from_millis(sync_ms)).await;
        let (callbacks, failed) = {
            let mut inner = disk.lock();
            if inner.life != life {
                return;
            }
            disk.sync(&mut inner, through)
        };
        for callback in callbacks {
            callback(if failed { Err(io::Error::other("the sync failed")) } else { Ok(()) });
        }
    }
}

impl Disk {
    /// Syncs all batches up to one. Returns the callbacks to call, and whether it failed.
    fn sync(&self, inner: &mut Inner, through: u64) -> (Vec<Flushed>, bool) {
        if std::mem::take(&mut inner.fail_next_sync) {
            inner.failed = true;
            self.trace.line(format_args!("{} sync failed", self.name));
        }
        if inner.failed {
            return (inner.waiting.drain(..).map(|(_, callback)| callback).collect(), true);
        }
        while inner.flushed < through {
            flush_one(inner);
        }
        let done = inner.waiting.iter().take_while(|(batch, _)| *batch <= through).count();
        (inner.waiting.drain(..done).map(|(_, callback)| callback).collect(), false)
    }
}

/// The disk as one process sees it.
pub struct OpenDisk {
    disk: Arc<Disk>,
    life: u64,
}

impl OpenDisk {
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.disk.lock();
        if inner.life != self.life {
            return Err(StoreError::Io("the process has ended".into()));
        }
        if inner.failed { Err(StoreError::Io("a sync failed".into())) } else { Ok(inner) }
    }
}

impl Store for OpenDisk {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.disk.work(self.life);
        let mut inner = self.inner()?;
        apply(&mut inner.current, &batch);
        inner.unsynced.push_back(batch);
        inner.written += 1;
        Ok(())
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.write(batch)?;
        let mut inner = self.inner()?;
        let batch = inner.written;
        inner.waiting.push_back((batch, flushed));
        drop(inner);
        self.disk.work.notify_one();
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.disk.work(self.life);
        let mut inner = self.inner()?;
        let through = inner.written;
        let (callbacks, failed) = self.disk.sync(&mut inner, through);
        drop(inner);
        for callback in callbacks {
            callback(if failed { Err(io::Error::other("the sync failed")) } else { Ok(()) });
        }
        if failed { Err(StoreError::Io("the sync failed".into())) } else { Ok(()) }
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner()?.current.get(&(family, key.to_vec())).cloned())
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        let inner = self.inner()?;
        let records = range(&inner.current, family, from, to).take(limit);
        Ok(records.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let inner = self.inner()?;
        Ok(range(&inner.current, family, from, to).take(limit).map(|((_, key), _)| key.clone()).collect())
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        let inner = self.inner()?;
        Ok(range(&inner.current, family, from, to).next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn failure(&self) -> Option<StoreError> {
        self.inner().err()
    }
}

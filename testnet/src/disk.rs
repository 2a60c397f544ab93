//! The disk of a host in a world: what it has not synced is gone when the power is cut.

use quorate_consensus::{Family, Flushed, MemoryStore, Record, Store, StoreError, Write};
use std::{
    io,
    sync::{Arc, PoisonError, RwLock, mpsc},
    time::Duration,
};

/// How long a disk takes to sync, so that a crash finds something that is not synced.
const SYNC_TIME: Duration = Duration::from_millis(1);

/// A disk as one run of a host sees it. When the power is cut it takes nothing more from that run, whatever still moves in it.
pub(crate) struct Disk {
    store: Arc<MemoryStore>,
    power: Arc<RwLock<bool>>,
    flusher: mpsc::Sender<Flushed>,
}

impl Disk {
    pub(crate) fn new(store: Arc<MemoryStore>) -> Arc<Disk> {
        let power = Arc::new(RwLock::new(true));
        let (flusher, waiting) = mpsc::channel::<Flushed>();
        let (synced, on) = (store.clone(), power.clone());
        // It ends with the disk: when the sender is gone.
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                std::thread::sleep(SYNC_TIME);
                let callbacks: Vec<Flushed> = std::iter::once(first).chain(waiting.try_iter()).collect();
                let result = {
                    let on = on.read().unwrap_or_else(PoisonError::into_inner);
                    if *on { synced.sync() } else { return }
                };
                for callback in callbacks {
                    callback(result.as_ref().copied().map_err(|error| io::Error::other(error.to_string())));
                }
            }
        });
        Arc::new(Disk { store, power, flusher })
    }

    /// Returns when the last write that was under way is through.
    pub(crate) fn cut(&self) {
        *self.power.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn powered<T>(&self, work: impl FnOnce(&MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let on = self.power.read().unwrap_or_else(PoisonError::into_inner);
        if *on { work(&self.store) } else { Err(StoreError::Io("the power is off".into())) }
    }
}

impl Store for Disk {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.powered(|store| store.write(batch))
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.powered(|store| store.write(batch))?;
        self.flusher.send(flushed).map_err(|_| StoreError::Io("the power is off".into()))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.powered(MemoryStore::sync)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.powered(|store| store.get(family, key))
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.powered(|store| store.scan(family, from, to, limit))
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.powered(|store| store.keys(family, from, to, limit))
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        self.powered(|store| store.last(family, from, to))
    }
}

//! Hosts that this host does not listen to, by its owner's decision: members that flood or lie, until they are replaced.
//!
//! It is nobody else's matter: nothing of it is replicated or told. Frames of the agreement from a muted host are refused, whatever
//! vat they are of; what it says to others, and they to this host, counts as before. Survives restarts.

use quorate_consensus::{HostId, Store, StoreError};
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// Keys under which the store notes them; the host's key follows.
const RECORDS: &str = "muted/";

pub(super) struct Muted {
    store: Arc<dyn Store>,
    hosts: RwLock<BTreeSet<HostId>>,
}

impl Muted {
    /// Reads who is muted.
    pub(super) fn load(store: Arc<dyn Store>) -> Result<Muted, StoreError> {
        let records = store.list_meta(RECORDS)?;
        let hosts = records.iter().filter_map(|(key, _)| key.strip_prefix(RECORDS)?.parse().ok()).collect();
        Ok(Muted { store, hosts: RwLock::new(hosts) })
    }

    pub(super) fn has(&self, host: &HostId) -> bool {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    pub(super) fn all(&self) -> Vec<HostId> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Mutes a host, or listens to it again; on disk when it returns. Returns whether that is a change.
    pub(super) fn set(&self, host: HostId, muted: bool) -> Result<bool, StoreError> {
        if self.has(&host) == muted {
            return Ok(false);
        }
        let key = format!("{RECORDS}{host}");
        if muted {
            self.store.put_meta(&key, b"")?
        } else {
            self.store.delete_meta(&key)?
        };
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        Ok(if muted { hosts.insert(host) } else { hosts.remove(&host) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::MemoryStore;

    #[test]
    fn who_is_muted_stays_so_until_its_owner_says_otherwise() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (loud, other) = (HostId([1; 32]), HostId([2; 32]));
        let muted = Muted::load(store.clone()).expect("readable");
        assert!(muted.set(loud, true).expect("writable") && !muted.set(loud, true).expect("writable"));
        let again = Muted::load(store.clone()).expect("readable");
        assert_eq!((again.all(), again.has(&other)), (vec![loud], false));
        assert!(again.set(loud, false).expect("writable"));
        assert!(Muted::load(store).expect("readable").all().is_empty());
    }
}

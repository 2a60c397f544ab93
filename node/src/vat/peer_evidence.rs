//! Evidence of other vats that contradict themselves: on disk, bounded, for `vat evidence`.
//!
//! Invariant: nothing is kept twice, and no peer takes the room of another: each has a fixed share, for a fixed number of peers.

use quorate_consensus::{HostId, Store, StoreError};
use quorate_engine::VatId;
use quorate_protocol::{codec, proof::file::Item};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const KEY_PREFIX: &str = "peer-evidence/";
/// Pieces that are kept about one vat.
const PIECES: usize = 64;
/// Vats about which pieces are kept.
const VATS: usize = 1_024;

/// See the head of the module; cheap to clone.
#[derive(Clone)]
pub struct PeerEvidence {
    store: Arc<dyn Store>,
    kept: Arc<AtomicU64>,
    /// One writer at a time, so that the bounds hold.
    writing: Arc<Mutex<()>>,
}

impl PeerEvidence {
    /// Returns what `store` holds.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn load(store: Arc<dyn Store>) -> Result<PeerEvidence, StoreError> {
        let kept = store.list_meta(KEY_PREFIX)?.len() as u64;
        Ok(PeerEvidence { store, kept: Arc::new(AtomicU64::new(kept)), writing: Arc::default() })
    }

    /// Returns how many pieces are kept.
    pub fn count(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Keeps what was found of a vat, in the background: it waits for the disk.
    pub fn keep(&self, vat: VatId, items: Vec<Item>) {
        for item in &items {
            tracing::error!(
                peer = %vat, code = "Q-PEER-EVIDENCE", kind = item.kind(),
                "members of another vat contradict themselves; the proof is kept (`vat evidence`)"
            );
        }
        let kept = self.clone();
        let write = move || {
            if let Err(error) = kept.write(&vat, &items) {
                tracing::warn!(peer = %vat, %error, "evidence could not be written");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    fn write(&self, vat: &VatId, items: &[Item]) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (key, _) in self.store.list_meta(KEY_PREFIX)? {
            *counts.entry(key[..KEY_PREFIX.len() + 64].to_owned()).or_default() += 1;
        }
        let prefix = format!("{KEY_PREFIX}{vat}");
        for item in items {
            let key = format!("{prefix}/{}", place(item));
            let count = counts.get(&prefix).copied().unwrap_or_default();
            let is_full = count >= PIECES || count == 0 && counts.len() >= VATS;
            if is_full || self.store.get_meta(&key)?.is_some() {
                continue;
            }
            self.store.put_meta(&key, &codec::encode(item))?;
            *counts.entry(prefix.clone()).or_default() += 1;
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// All pieces, by vat.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn all(&self) -> Result<BTreeMap<VatId, Vec<Item>>, StoreError> {
        let mut all: BTreeMap<VatId, Vec<Item>> = BTreeMap::new();
        for (key, value) in self.store.list_meta(KEY_PREFIX)? {
            let vat = key[KEY_PREFIX.len()..].split('/').next().and_then(|vat| vat.parse().ok());
            let (Some(vat), Ok(item)) = (vat, codec::decode(&value)) else { continue };
            all.entry(vat).or_default().push(item);
        }
        Ok(all)
    }
}

/// The identity of a piece of evidence: its kind, the accused, and the place.
fn place(item: &Item) -> String {
    let of = |members: Vec<HostId>, epoch: u64, block: u64| {
        let first = members.first().map(ToString::to_string).unwrap_or_default();
        format!("{}/{first}/{epoch}/{block}", item.kind())
    };
    match item {
        Item::Evidence(record) => {
            let (epoch, block) = record.place();
            of(record.accused().into_iter().collect(), epoch, block.unwrap_or_default())
        }
        Item::StreamContradiction(pair) => {
            let [first, second] = [&pair.first, &pair.second].map(|head| head.certificate.statement.block);
            of(Vec::new(), first, second)
        }
        _ => of(Vec::new(), 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::{Disagreement, EvidenceRecord, Hash, MemberSignature, MemoryStore, Signed, Statement};

    fn item(block: u64) -> Item {
        let zero = Hash::ZERO;
        let statement = Statement {
            vat: quorate_consensus::VatId([1; 32]),
            epoch: 0,
            block,
            previous: zero,
            chain: zero,
            outbox_root: zero,
            published_root: zero,
            state_root: None,
        };
        let signature = MemberSignature { key: HostId([1; 32]), signature: [0; 64] };
        let theirs = Signed { content: statement.clone(), signature };
        Item::Evidence(Box::new(EvidenceRecord::Disagreement(Disagreement { own: statement, theirs })))
    }

    #[test]
    fn each_peer_has_its_room_and_what_is_kept_outlives_the_process() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let kept = PeerEvidence::load(store.clone()).expect("it loads");
        let (loud, quiet) = (VatId([1; 32]), VatId([2; 32]));
        for block in 0..2 * PIECES as u64 {
            kept.keep(loud, vec![item(block), item(block)]);
        }
        kept.keep(quiet, vec![item(7)]);
        let again = PeerEvidence::load(store).expect("it loads");
        assert_eq!(again.count(), PIECES as u64 + 1);
        let all = again.all().expect("it is read");
        assert_eq!((all[&loud].len(), &all[&quiet]), (PIECES, &vec![item(7)]));
    }
}

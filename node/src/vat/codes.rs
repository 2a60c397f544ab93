//! The code of a vat as far as this host has it: the vat's present code, and the code that this host proposes. A convenience: a host with neither names the
//! source.

use quorate_consensus::{Hash, Store, StoreError};
use quorate_engine::{
    VatId,
    machine::{Install, Upgrade},
};
use quorate_protocol::{authority::bundle_hash, codec};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys in the store; the vat's id follows.
const PRESENT: &str = "code/";
const PROPOSED: &str = "upgrade/";

/// What the vat runs, and the hash of its bundle.
type Present = (Upgrade, Hash);

fn hashed(upgrade: Upgrade) -> Present {
    let hash = bundle_hash(&upgrade.bundle);
    (upgrade, hash)
}

/// See the head of the module.
pub struct Codes {
    vat: VatId,
    store: Arc<dyn Store>,
    present: Mutex<Option<Present>>,
}

impl Codes {
    /// Returns what the store has, or else what the host was given when it began to carry the vat.
    pub fn load(vat: VatId, store: Arc<dyn Store>, given: Option<&Install>) -> Result<Codes, StoreError> {
        let noted = store.get_meta(&format!("{PRESENT}{vat}"))?;
        let noted = noted.and_then(|bytes| codec::decode::<Upgrade>(&bytes).ok());
        let given = given.map(|install| Upgrade {
            bundle: install.bundle.clone(),
            argv: install.argv.clone(),
            endowments: install.endowments.clone(),
            image: None,
        });
        Ok(Codes { vat, store, present: Mutex::new(noted.or(given).map(hashed)) })
    }

    /// Returns what the vat runs, or ran when this host last knew.
    pub fn present(&self) -> Option<Upgrade> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(upgrade, _)| upgrade.clone())
    }

    /// The hash of its bundle.
    pub fn bundle(&self) -> Option<Hash> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, hash)| *hash)
    }

    /// The vat runs this from now on.
    pub fn note(&self, upgrade: &Upgrade) {
        let noted = self.store.put_meta(&format!("{PRESENT}{}", self.vat), &codec::encode(upgrade));
        if let Err(error) = noted {
            tracing::warn!(vat = %self.vat, %error, "the vat's new code could not be noted; `vat upgrade` needs its source then");
        }
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashed(upgrade.clone()));
    }

    /// Notes what this host proposes, until it proposes something else: approvals may take days.
    pub fn propose(&self, content: &Hash, upgrade: &Upgrade) -> Result<(), StoreError> {
        self.store.put_meta(&format!("{PROPOSED}{}", self.vat), &codec::encode(&(content, upgrade)))?;
        self.store.sync()
    }

    /// Returns what this host proposes, if it is this.
    pub fn proposed(&self, content: &Hash) -> Option<Upgrade> {
        let bytes = self.store.get_meta(&format!("{PROPOSED}{}", self.vat)).ok().flatten()?;
        let (found, upgrade) = codec::decode::<(Hash, Upgrade)>(&bytes).ok()?;
        (found == *content).then_some(upgrade)
    }
}

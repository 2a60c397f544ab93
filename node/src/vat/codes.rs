//! The code of a vat as far as this host has it: what the vat runs, and what this host proposes. A convenience: whoever has neither names the
//! source.

use quorate_consensus::{Hash, Store, StoreError};
use quorate_engine::{
    VatId,
    machine::{Install, Upgrade},
};
use quorate_protocol::codec;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys in the store; the vat's id follows.
const PRESENT: &str = "code/";
const PROPOSED: &str = "upgrade/";

/// See the head of the module.
pub struct Codes {
    vat: VatId,
    store: Arc<dyn Store>,
    present: Mutex<Option<Upgrade>>,
}

impl Codes {
    /// What the store has, or else what the host was given when it began to carry the vat.
    pub fn load(vat: VatId, store: Arc<dyn Store>, given: Option<&Install>) -> Result<Codes, StoreError> {
        let noted = store.get_meta(&format!("{PRESENT}{vat}"))?;
        let noted = noted.and_then(|bytes| codec::decode::<Upgrade>(&bytes).ok());
        let given = given.map(|install| Upgrade {
            bundle: install.bundle.clone(),
            argv: install.argv.clone(),
            endowments: install.endowments.clone(),
            image: None,
        });
        Ok(Codes { vat, store, present: Mutex::new(noted.or(given)) })
    }

    /// What the vat runs, or ran when this host last knew.
    pub fn present(&self) -> Option<Upgrade> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The vat runs this from now on.
    pub fn note(&self, upgrade: &Upgrade) {
        let noted = self.store.put_meta(&format!("{PRESENT}{}", self.vat), &codec::encode(upgrade));
        if let Err(error) = noted {
            tracing::warn!(vat = %self.vat, %error, "the vat's new code could not be noted; `vat upgrade` needs its source then");
        }
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade.clone());
    }

    /// Notes what this host proposes, until it proposes something else: approvals may take days.
    pub fn propose(&self, content: &Hash, upgrade: &Upgrade) -> Result<(), StoreError> {
        self.store.put_meta(&format!("{PROPOSED}{}", self.vat), &codec::encode(&(content, upgrade)))?;
        self.store.sync()
    }

    /// What this host proposes, if it is this.
    pub fn proposed(&self, content: &Hash) -> Option<Upgrade> {
        let bytes = self.store.get_meta(&format!("{PROPOSED}{}", self.vat)).ok().flatten()?;
        let (found, upgrade) = codec::decode::<(Hash, Upgrade)>(&bytes).ok()?;
        (found == *content).then_some(upgrade)
    }
}

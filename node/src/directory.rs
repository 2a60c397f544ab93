//! The directory: which vats this host has heard of, their names here, and who their members are.
//!
//! Names are this host's own (from a testnet config or an operator) and prove nothing. Introductions prove themselves. It is a
//! convenience for finding hosts: what a vat believes of a peer is in the vat's replicated state, never here.

use crate::codec;
use quorate_consensus::{Introduction, Member, Membership, Store};
use quorate_engine::VatId;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

/// Vats that a directory holds at most; beyond them new ones are only remembered while they are in use.
const ENTRIES: usize = 65_536;
/// Vats that are looked for in one round.
const WANTED: usize = 64;
const KEY_PREFIX: &str = "directory/";

/// What is known of a vat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name here, if it has one.
    pub name: Option<String>,
    /// Its genesis and the memberships since.
    pub introduction: Introduction,
}

/// A host's directory; cheap to clone.
#[derive(Clone)]
pub struct Directory {
    entries: Arc<Mutex<BTreeMap<VatId, Entry>>>,
    /// Newer memberships than the introductions prove, from slices that were verified; lost at a restart.
    newer: Arc<Mutex<BTreeMap<VatId, Membership>>>,
    /// Vats that somebody here looks for in vain.
    wanted: Arc<Mutex<BTreeSet<VatId>>>,
    store: Arc<dyn Store>,
}

impl Directory {
    /// Reads the directory that `store` holds.
    pub fn load(store: Arc<dyn Store>) -> Result<Directory, quorate_consensus::StoreError> {
        let mut entries = BTreeMap::new();
        for (_, value) in store.list_meta(KEY_PREFIX)? {
            if let Ok(entry) = codec::decode::<Entry>(&value) {
                entries.insert(VatId(entry.introduction.genesis.vat_id().0), entry);
            }
        }
        Ok(Directory { entries: Arc::new(Mutex::new(entries)), newer: Arc::default(), wanted: Arc::default(), store })
    }

    /// Learns of a vat. An introduction that doesn't verify, or says less than what is known, changes nothing but the name.
    pub fn learn(&self, name: Option<&str>, introduction: &Introduction) {
        let Ok(membership) = introduction.verify() else { return };
        let vat = VatId(introduction.genesis.vat_id().0);
        let mut entries = self.entries();
        if entries.len() >= ENTRIES && !entries.contains_key(&vat) {
            return;
        }
        let new = !entries.contains_key(&vat);
        let entry = entries.entry(vat).or_insert_with(|| Entry { name: None, introduction: introduction.clone() });
        let known = newest_membership(&entry.introduction).epoch;
        let renamed = name.is_some_and(|name| entry.name.as_deref() != Some(name));
        if !new && !renamed && membership.epoch <= known {
            return;
        }
        if membership.epoch > known {
            entry.introduction = introduction.clone();
        }
        if let Some(name) = name {
            entry.name = Some(name.to_owned());
        }
        let key = format!("{KEY_PREFIX}{vat}");
        if let Err(error) = self.store.put_meta(&key, &codec::encode(entry)) {
            tracing::warn!(%vat, %error, "the directory could not be written");
        }
    }

    /// Notes a membership that a vat's own state has proven.
    pub fn note_membership(&self, membership: &Membership) {
        let vat = VatId(membership.vat.0);
        let mut newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if newer.len() < ENTRIES && newer.get(&vat).is_none_or(|known| known.epoch < membership.epoch) {
            newer.insert(vat, membership.clone());
        }
    }

    /// The newest members known, or none.
    pub fn members(&self, vat: &VatId) -> Vec<Member> {
        let newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(vat).cloned();
        let introduced = self.introduction(vat).map(|introduction| newest_membership(&introduction));
        match (newer, introduced) {
            (Some(newer), Some(introduced)) if introduced.epoch > newer.epoch => introduced.members,
            (Some(newer), _) => newer.members,
            (None, Some(introduced)) => introduced.members,
            (None, None) => Vec::new(),
        }
    }

    /// Notes that somebody looks for a vat whose members are unknown or don't answer.
    pub fn want(&self, vat: VatId) {
        let mut wanted = self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if wanted.len() < WANTED {
            wanted.insert(vat);
        }
    }

    /// The vats that were looked for since the last call.
    pub fn take_wanted(&self) -> BTreeSet<VatId> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A vat's introduction.
    pub fn introduction(&self, vat: &VatId) -> Option<Introduction> {
        self.entries().get(vat).map(|entry| entry.introduction.clone())
    }

    /// A vat's name here.
    pub fn name(&self, vat: &VatId) -> Option<String> {
        self.entries().get(vat).and_then(|entry| entry.name.clone())
    }

    /// The vat of that name.
    pub fn by_name(&self, name: &str) -> Option<VatId> {
        self.entries().iter().find(|(_, entry)| entry.name.as_deref() == Some(name)).map(|(vat, _)| *vat)
    }

    /// Every host that is a member of some vat known here: whom to ask about others.
    pub fn all_members(&self) -> Vec<Member> {
        let mut members = BTreeMap::new();
        for entry in self.entries().values() {
            for member in newest_membership(&entry.introduction).members {
                members.insert(member.key.0, member);
            }
        }
        members.into_values().collect()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<VatId, Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The last membership of an introduction that was verified when it was learnt.
pub fn newest_membership(introduction: &Introduction) -> Membership {
    introduction.chain.last().map_or_else(|| introduction.genesis.membership(), |last| last.membership.clone())
}

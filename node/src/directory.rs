//! The directory: the vats that this host knows, their names here, and their members.
//!
//! Names are this host's own (from a testnet config or an operator) and prove nothing. Introductions prove themselves. The directory is a
//! convenience for finding hosts: a vat's knowledge of a peer is in the vat's replicated state, never here.

pub mod lookup;

use quorate_consensus::{Genesis, Introduction, Member, Membership, MembershipCertificate, Store, VatId};
use quorate_protocol::{codec, recovered::recovery_words};
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
    /// Vats that callers here look for in vain.
    wanted: Arc<Mutex<BTreeSet<VatId>>>,
    store: Arc<dyn Store>,
}

impl Directory {
    /// Reads the directory that `store` holds.
    pub fn load(store: Arc<dyn Store>) -> Result<Directory, quorate_consensus::StoreError> {
        let mut entries = BTreeMap::new();
        for (_, value) in store.list_meta(KEY_PREFIX)? {
            if let Ok(entry) = codec::decode::<Entry>(&value) {
                entries.insert(entry.introduction.genesis.vat_id(), entry);
            }
        }
        Ok(Directory { entries: Arc::new(Mutex::new(entries)), newer: Arc::default(), wanted: Arc::default(), store })
    }

    /// Learns of a vat. An introduction that doesn't verify, or says less than what is known, changes nothing but the name.
    pub fn learn(&self, name: Option<&str>, introduction: &Introduction) {
        let Ok(membership) = introduction.verify() else { return };
        let vat = introduction.genesis.vat_id();
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
            let words = recovery_words(introduction);
            words.iter().skip(recovery_words(&entry.introduction).len()).for_each(|words| {
                tracing::warn!(%vat, name = entry.name, "this vat was recovered by hand: {words}");
            });
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

    /// Notes what a vat has proven of its members to another one that is carried here: its genesis, if that was needed, and the
    /// memberships since then or since those that the other one knew. It is kept as an introduction, if it makes one.
    pub fn note_evidence(&self, genesis: Option<Genesis>, chain: Vec<MembershipCertificate>) {
        let Some(newest) = chain.last().map(|last| last.membership.clone()) else {
            if let Some(genesis) = genesis {
                self.learn(None, &Introduction { genesis, chain });
            }
            return;
        };
        let introduction = match (genesis, self.introduction(&newest.vat)) {
            (Some(genesis), _) => Some(Introduction { genesis, chain }),
            (None, Some(mut known)) => {
                let epoch = newest_membership(&known).epoch;
                known.chain.extend(chain.into_iter().filter(|next| next.membership.epoch > epoch));
                Some(known)
            }
            (None, None) => None,
        };
        if let Some(introduction) = introduction {
            self.learn(None, &introduction);
        }
        self.note_membership(&newest);
    }

    /// Notes a membership that was proven, but perhaps not by anything that others could check.
    pub fn note_membership(&self, membership: &Membership) {
        let vat = membership.vat;
        let introduced = self.introduction(&vat).map(|introduction| newest_membership(&introduction).epoch);
        let mut newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if introduced.is_some_and(|epoch| epoch >= membership.epoch) {
            newer.remove(&vat);
            return;
        }
        let room = newer.len() < ENTRIES || newer.contains_key(&vat);
        if room && newer.get(&vat).is_none_or(|known| known.epoch < membership.epoch) {
            newer.insert(vat, membership.clone());
        }
    }

    /// The newest membership known, if any is.
    pub fn membership(&self, vat: &VatId) -> Option<Membership> {
        let newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(vat).cloned();
        let introduced = self.introduction(vat).map(|introduction| newest_membership(&introduction));
        newer.into_iter().chain(introduced).max_by_key(|membership| membership.epoch)
    }

    /// The newest members known, or none.
    pub fn members(&self, vat: &VatId) -> Vec<Member> {
        self.membership(vat).map(|membership| membership.members).unwrap_or_default()
    }

    /// Notes that a caller looks for a vat whose members are unknown or don't answer.
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

    /// Every vat that is known here.
    pub fn vats(&self) -> Vec<VatId> {
        self.entries().keys().copied().collect()
    }

    /// A vat's name here.
    pub fn name(&self, vat: &VatId) -> Option<String> {
        self.entries().get(vat).and_then(|entry| entry.name.clone())
    }

    /// The vat of that name.
    pub fn by_name(&self, name: &str) -> Option<VatId> {
        self.entries().iter().find(|(_, entry)| entry.name.as_deref() == Some(name)).map(|(vat, _)| *vat)
    }

    /// Every host that is a member of some vat known here: the hosts to ask about other vats.
    pub fn all_members(&self) -> Vec<Member> {
        let mut members = BTreeMap::new();
        for entry in self.entries().values() {
            for member in newest_membership(&entry.introduction).members {
                members.insert(member.key, member);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use quorate_consensus::{Hash, HostId, MemberSignature, MemoryStore, Parameters};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn member(seed: u8, address: &str) -> Member {
        let key = HostId(key(seed).verifying_key().to_bytes());
        Member { key, name: format!("m{seed}"), addresses: vec![address.to_owned()] }
    }

    fn genesis(nonce: u8) -> Genesis {
        Genesis {
            members: vec![member(1, "/memory/1")],
            threshold: 1,
            image: Hash([0; 32]),
            creator: [0; 32],
            bundle: None,
            nonce: [nonce; 32],
            expires: 0,
            parameters: Parameters::default(),
        }
    }

    /// The only member moves to another address, again and again.
    fn chain(genesis: &Genesis, length: u64) -> Vec<MembershipCertificate> {
        let mut before = genesis.membership();
        let mut next = |epoch| {
            let address = format!("/memory/{epoch}");
            let members = vec![member(1, &address)];
            let membership = Membership { epoch, previous: before.hash(), members, ..before.clone() };
            before = membership.clone();
            let signatures = vec![MemberSignature::sign(&key(1), &membership.payload())];
            MembershipCertificate { membership, signatures }
        };
        (1..=length).map(&mut next).collect()
    }

    #[test]
    fn what_a_vat_proves_of_itself_step_by_step_is_still_known_after_a_restart() {
        let store = Arc::new(MemoryStore::new());
        let (genesis, restarted) = (genesis(0), || Directory::load(store.clone()).expect("a good store"));
        let (vat, chain) = (genesis.vat_id(), chain(&genesis, 3));
        let directory = restarted();
        directory.note_evidence(Some(genesis.clone()), vec![]);
        directory.note_evidence(None, chain[..1].to_vec());
        directory.note_evidence(None, chain[1..].to_vec());
        for directory in [directory, restarted()] {
            assert_eq!(directory.membership(&vat), Some(chain[2].membership.clone()));
            assert_eq!(directory.introduction(&vat).map(|known| known.chain.len()), Some(3));
        }
        // What was known before changes nothing.
        let directory = restarted();
        directory.note_evidence(Some(genesis), vec![]);
        directory.note_evidence(None, chain[..2].to_vec());
        assert_eq!(directory.membership(&vat).map(|membership| membership.epoch), Some(3));
    }

    #[test]
    fn a_membership_without_its_history_is_known_until_the_history_is() {
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        let genesis = genesis(0);
        let (vat, chain) = (genesis.vat_id(), chain(&genesis, 2));
        directory.note_evidence(None, chain[1..].to_vec());
        assert_eq!(directory.membership(&vat).map(|membership| membership.epoch), Some(2));
        assert!(directory.introduction(&vat).is_none());
        directory.learn(None, &Introduction { genesis, chain });
        assert_eq!(directory.membership(&vat).map(|membership| membership.epoch), Some(2));
    }

    #[test]
    fn when_there_is_no_more_room_those_that_are_known_are_still_brought_up_to_date() {
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        let genesis = genesis(0);
        let (vat, chain) = (genesis.vat_id(), chain(&genesis, 2));
        directory.note_membership(&genesis.membership());
        {
            let mut newer = directory.newer.lock().expect("no panic holds it");
            let other = genesis.membership();
            let ids = (newer.len()..ENTRIES).map(|number| VatId(Hash::of(&number.to_be_bytes()).0));
            newer.extend(ids.map(|id| (id, other.clone())));
        }
        directory.note_membership(&chain[0].membership);
        assert_eq!(directory.membership(&vat).map(|membership| membership.epoch), Some(1));
        let stranger = Membership { vat: VatId([9; 32]), ..genesis.membership() };
        directory.note_membership(&stranger);
        assert_eq!(directory.membership(&VatId([9; 32])), None);
    }
}

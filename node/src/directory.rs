//! The directory: the vats that this host knows, their names here, and their members.
//!
//! Names are this host's own (from a testnet config or an operator) and prove nothing. Introductions prove themselves. The directory is a
//! convenience for finding hosts: a vat's knowledge of a peer is in the vat's replicated state, never here.

mod kept;
pub mod lookup;

use kept::{Budget, Kept};
use quorate_consensus::{Genesis, HostId, Introduction, Member, Membership, MembershipCertificate, Store, VatId};
use quorate_protocol::{codec, recovered::recovery_words};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

/// What a directory holds of vats without a name here, and of memberships without their history. A holder of one bearer reference can
/// bring any number of vats, whose members have long addresses.
const BUDGET: Budget = Budget { entries: 65_536, bytes: 64 << 20 };
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
    entries: Arc<Mutex<Kept<Entry>>>,
    /// Newer memberships than the introductions prove, from slices that were verified; lost at a restart.
    newer: Arc<Mutex<Kept<Membership>>>,
    /// Every host that is or was a member of a vat in `entries`.
    hosts: Arc<Mutex<BTreeSet<HostId>>>,
    /// Vats that callers here look for in vain.
    wanted: Arc<Mutex<BTreeSet<VatId>>>,
    store: Arc<dyn Store>,
}

impl Directory {
    /// Reads the directory that `store` holds.
    pub fn load(store: Arc<dyn Store>) -> Result<Directory, quorate_consensus::StoreError> {
        let mut entries = Kept::new(BUDGET);
        for (_, value) in store.list_meta(KEY_PREFIX)? {
            if let Ok(entry) = codec::decode::<Entry>(&value) {
                entries.put(entry.introduction.genesis.vat_id(), entry, value.len(), has_name);
            }
        }
        let hosts = hosts_of(&entries);
        Ok(Directory {
            entries: Arc::new(Mutex::new(entries)),
            newer: Arc::new(Mutex::new(Kept::new(BUDGET))),
            hosts: Arc::new(Mutex::new(hosts)),
            wanted: Arc::default(),
            store,
        })
    }

    /// Learns of a vat. An introduction that doesn't verify, or says less than what is known, changes nothing but the name.
    pub fn learn(&self, name: Option<&str>, introduction: &Introduction) {
        let Ok(membership) = introduction.verify() else { return };
        let vat = introduction.genesis.vat_id();
        let mut entries = self.entries();
        let before = entries.get(&vat).cloned();
        let new = before.is_none();
        let mut entry = before.unwrap_or_else(|| Entry { name: None, introduction: introduction.clone() });
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
        if new || membership.epoch > known {
            let hosts = membership.members.iter().map(|member| member.key);
            self.hosts().extend(hosts);
        }
        if let Some(name) = name {
            entry.name = Some(name.to_owned());
        }
        let key = |vat: &VatId| format!("{KEY_PREFIX}{vat}");
        let encoded = codec::encode(&entry);
        let Some(gone) = entries.put(vat, entry, encoded.len(), has_name) else {
            tracing::warn!(%vat, "the directory has no room for it");
            if !new && let Err(error) = self.store.delete_meta(&key(&vat)) {
                tracing::warn!(%vat, %error, "the directory could not be written");
            }
            return;
        };
        if !gone.is_empty() {
            *self.hosts() = hosts_of(&entries);
        }
        let dropped = gone.iter().map(|vat| self.store.delete_meta(&key(vat)));
        if let Err(error) = dropped.chain([self.store.put_meta(&key(&vat), &encoded)]).collect::<Result<(), _>>() {
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
        let introduced = self.entries().get(&vat).map(|entry| newest_membership(&entry.introduction).epoch);
        let mut newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if introduced.is_some_and(|epoch| epoch >= membership.epoch) {
            newer.remove(&vat);
            return;
        }
        if newer.get(&vat).is_none_or(|known| known.epoch < membership.epoch) {
            newer.put(vat, membership.clone(), codec::encode(membership).len(), |_| false);
        }
    }

    /// The newest membership known, if any is.
    pub fn membership(&self, vat: &VatId) -> Option<Membership> {
        let newer = self.newer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(vat).cloned();
        let introduced = self.entries().get(vat).map(|entry| newest_membership(&entry.introduction));
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
        self.entries().iter().map(|(vat, _)| *vat).collect()
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
        for (_, entry) in self.entries().iter() {
            for member in newest_membership(&entry.introduction).members {
                members.insert(member.key, member);
            }
        }
        members.into_values().collect()
    }

    /// Returns whether a vat that is known here has or had this host as a member.
    pub fn names_host(&self, host: &HostId) -> bool {
        self.hosts().contains(host)
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeSet<HostId>> {
        self.hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, Kept<Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn hosts_of(entries: &Kept<Entry>) -> BTreeSet<HostId> {
    let newest = entries.iter().map(|(_, entry)| newest_membership(&entry.introduction));
    newest.flat_map(|membership| membership.members).map(|member| member.key).collect()
}

/// What this host's owner has named stays.
fn has_name(entry: &Entry) -> bool {
    entry.name.is_some()
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
    fn vats_without_a_name_make_room_for_others_also_on_disk_and_named_ones_stay() {
        let store = Arc::new(MemoryStore::new());
        let directory = Directory::load(store.clone()).expect("an empty store");
        *directory.entries() = Kept::new(Budget { entries: 8, bytes: 1 << 20 });
        let learn = |name: Option<&str>, nonce| {
            let genesis = genesis(nonce);
            directory.learn(name, &Introduction { genesis: genesis.clone(), chain: vec![] });
            genesis.vat_id()
        };
        let named = learn(Some("own"), 0);
        let others: Vec<VatId> = (1..40).map(|nonce| learn(None, nonce)).collect();
        let restarted = Directory::load(store).expect("a good store");
        for directory in [&directory, &restarted] {
            assert!(directory.vats().len() <= 8, "{}", directory.vats().len());
            assert_eq!(directory.by_name("own"), Some(named));
            assert!(directory.introduction(others.last().expect("some")).is_some());
            assert!(directory.introduction(&others[0]).is_none());
        }
    }
}

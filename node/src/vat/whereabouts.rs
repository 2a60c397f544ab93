//! The addresses of other vats' members, for a vat's courier. The vat's state has proven who the members are; the host's directory has their
//! addresses.

use super::view::SharedView;
use crate::directory::Directory;
use quorate_consensus::{HostId, Member, Signers};
use quorate_courier::courier::Whereabouts;
use quorate_engine::VatId;

/// Finds the members of a vat's peers.
pub struct PeerFinder {
    pub view: SharedView,
    pub directory: Directory,
}

impl Whereabouts for PeerFinder {
    fn members(&self, vat: &VatId) -> Vec<Member> {
        let listed = self.directory.membership(vat);
        let listed_epoch = listed.as_ref().map(|listed| listed.epoch);
        let listed = listed.map(|listed| listed.members).unwrap_or_default();
        let Some(known) = self.view.known(vat) else {
            if listed.is_empty() {
                self.directory.want(*vat);
            }
            return listed;
        };
        if listed_epoch.is_none_or(|epoch| epoch < known.epoch) {
            if known.epoch > 0 || listed_epoch.is_some() {
                // It has changed since: others may know where the new ones are.
                self.directory.want(*vat);
            }
            return by_key(&known, listed);
        }
        listed
    }

    fn unreachable(&self, vat: &VatId) {
        // They may have moved; a client, whose members have no addresses, can't be asked for.
        if self.directory.members(vat).iter().any(|member| !member.addresses.is_empty()) {
            self.directory.want(*vat);
        }
    }
}

/// The members with these keys, with the addresses that are listed for them. The others may be connected, as clients are.
fn by_key(known: &Signers, listed: Vec<Member>) -> Vec<Member> {
    let member = |key: &HostId| {
        let listed = listed.iter().find(|member| member.key == *key).cloned();
        listed.unwrap_or_else(|| Member { key: *key, ..Member::default() })
    };
    known.keys.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vat::view::PeerView;
    use quorate_consensus::{Genesis, Hash, Introduction, Membership, MemoryStore, Parameters};
    use std::sync::Arc;

    fn member(seed: u8, address: Option<&str>) -> Member {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
        Member {
            key: HostId(key),
            name: format!("m{seed}"),
            addresses: address.into_iter().map(str::to_owned).collect(),
        }
    }

    fn genesis(members: Vec<Member>) -> Genesis {
        Genesis {
            threshold: members.len() as u16,
            members,
            image: Hash([0; 32]),
            creator: [0; 32],
            bundle: None,
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        }
    }

    fn finder() -> PeerFinder {
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        PeerFinder { view: SharedView::default(), directory }
    }

    fn prove(finder: &PeerFinder, membership: &Membership) {
        let known = Some(Arc::new(Signers::from(membership)));
        let peer = PeerView { known, next_inbound: 1, acknowledged: 0, broken: false, said: None };
        finder.view.lock().peers.insert(membership.vat, peer);
    }

    #[test]
    fn the_newer_of_what_is_proven_and_what_is_listed_counts() {
        let finder = finder();
        let genesis = genesis(vec![member(1, Some("/memory/1")), member(2, Some("/memory/2"))]);
        let vat = genesis.vat_id();
        assert_eq!(finder.members(&vat), []);
        assert!(finder.directory.take_wanted().contains(&vat), "somebody may know it");

        let first = genesis.membership();
        finder.directory.learn(None, &Introduction { genesis, chain: vec![] });
        assert_eq!(finder.members(&vat), first.members, "what is listed is all there is");
        prove(&finder, &first);
        assert_eq!(finder.members(&vat), first.members);
        assert!(finder.directory.take_wanted().is_empty());

        // The vat has proven in a slice that one member was exchanged. Nobody has said yet where the new one is.
        let (stays, comes) = (first.members[0].clone(), member(3, None));
        let second = Membership {
            epoch: 1,
            previous: first.hash(),
            members: vec![stays.clone(), comes.clone()],
            ..first.clone()
        };
        prove(&finder, &second);
        let expected = vec![stays, Member { key: comes.key, ..Member::default() }];
        assert_eq!(finder.members(&vat), expected, "who is out gets nothing more");
        assert!(finder.directory.take_wanted().contains(&vat), "others may know where the new one is");
    }

    #[test]
    fn a_client_is_looked_for_nowhere() {
        let finder = finder();
        let client = genesis(vec![member(9, None)]).membership();
        prove(&finder, &client);
        let vat = client.vat;
        let keys: Vec<HostId> = finder.members(&vat).iter().map(|member| member.key).collect();
        assert_eq!(keys, [client.members[0].key]);
        finder.unreachable(&vat);
        assert!(finder.directory.take_wanted().is_empty());
    }
}

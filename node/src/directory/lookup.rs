//! Chooses the hosts to ask for the members of a vat: some of the last known members, and others, so that a wrong one is no dead end.

use super::Directory;
use quorate_consensus::{HostId, Introduction, Member, VatId};
use quorate_courier::lookup::newest_known;
use quorate_net::Network;
use std::{collections::BTreeSet, sync::Arc};

/// How many hosts are asked about a vat in one round, of those that were its members and of others.
const HOSTS_OF_EACH: usize = 4;

/// Asks a few hosts who the members of a vat are, its last known members among them, and learns the newest answer.
pub async fn look_up(network: &Arc<dyn Network>, directory: &Directory, vat: &VatId) -> Option<Introduction> {
    // By chance, since vats that are looked for in step would each ask always the same hosts.
    let round = usize::from(rand::random::<u16>());
    let hosts = to_ask(directory.members(vat), directory.all_members(), network.local(), round);
    let found = newest_known(network, &hosts, vat).await?;
    directory.learn(None, &found);
    Some(found)
}

/// The hosts to ask in a round: some last known members, and some others, in turn.
fn to_ask(members: Vec<Member>, others: Vec<Member>, local: HostId, round: usize) -> Vec<Member> {
    let were_members: BTreeSet<HostId> = members.iter().map(|member| member.key).collect();
    let members: Vec<Member> = members.into_iter().filter(|member| member.key != local).collect();
    let is_other = |member: &Member| member.key != local && !were_members.contains(&member.key);
    let others: Vec<Member> = others.into_iter().filter(is_other).collect();
    let mut hosts = in_turn(&members, round);
    hosts.extend(in_turn(&others, round));
    hosts
}

fn in_turn(hosts: &[Member], round: usize) -> Vec<Member> {
    let start = (round % hosts.len().max(1)) * HOSTS_OF_EACH % hosts.len().max(1);
    hosts.iter().cycle().skip(start).take(HOSTS_OF_EACH.min(hosts.len())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ed25519_dalek::SigningKey;
    use futures::future::BoxFuture;
    use quorate_consensus::{
        Genesis, Hash, MemberSignature, Membership, MembershipCertificate, MemoryStore, Parameters,
    };
    use quorate_net::{Handler, MemoryNetwork, Purpose};
    use quorate_protocol::{codec, wire::DirectoryReply};
    use std::sync::Mutex;

    fn member(number: u8) -> Member {
        let key = HostId(SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes());
        Member { key, name: format!("m{number}"), addresses: vec![format!("/memory/{number}")] }
    }

    fn id(number: u8) -> HostId {
        member(number).key
    }

    fn genesis(members: Vec<Member>, threshold: u16) -> Genesis {
        Genesis {
            members,
            threshold,
            image: Hash([0; 32]),
            creator: [0; 32],
            bundle: None,
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        }
    }

    #[test]
    fn each_round_asks_others_until_all_were_asked() {
        let members: Vec<Member> = (1..=6).map(member).collect();
        let others: Vec<Member> = (1..=20).map(member).collect();
        let mut asked = BTreeSet::new();
        for round in 0..6 {
            let hosts = to_ask(members.clone(), others.clone(), id(1), round);
            assert_eq!(hosts.len(), 2 * HOSTS_OF_EACH);
            let keys: BTreeSet<HostId> = hosts.iter().map(|host| host.key).collect();
            assert_eq!(keys.len(), hosts.len(), "nobody twice");
            assert_eq!(hosts.iter().filter(|host| members.contains(host)).count(), HOSTS_OF_EACH);
            asked.extend(keys);
        }
        assert_eq!(asked.len(), 19, "all but the asking host itself");
        assert_eq!(to_ask(vec![], vec![], id(1), 5), []);
    }

    /// Which host was asked for what.
    type Questions = Arc<Mutex<BTreeSet<(u8, Vec<u8>)>>>;

    /// Knows nothing, and notes which host was asked for what.
    struct Asked(u8, Questions);

    impl Handler for Asked {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            self.1.lock().expect("no panic holds it").insert((self.0, frame.to_vec()));
            Box::pin(async { Ok(codec::encode(&DirectoryReply::Unknown).into()) })
        }
    }

    /// Knows who the members of a vat are.
    struct Knows(Introduction);

    impl Handler for Knows {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            let reply = DirectoryReply::Known { introduction: Box::new(self.0.clone()), block: None };
            Box::pin(async move { Ok(codec::encode(&reply).into()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn vats_that_are_looked_for_in_step_are_each_asked_for_everywhere() {
        let genesis = genesis((1..=8).map(member).collect(), 5);
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        directory.learn(None, &Introduction { genesis, chain: vec![] });
        let world = MemoryNetwork::new(5);
        let network = world.join(id(99), Arc::new(Asked(99, Arc::default())));
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let hosts = (1..=8).map(|number| world.join(id(number), Arc::new(Asked(number, asked.clone()))));
        let _joined: Vec<_> = hosts.collect();
        let wanted = [VatId([1; 32]), VatId([2; 32])];
        for _ in 0..40 {
            for vat in &wanted {
                assert_eq!(look_up(&network, &directory, vat).await, None);
            }
        }
        assert_eq!(asked.lock().expect("no panic holds it").len(), 8 * wanted.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_knows_where_a_vat_was_asks_those_first_and_learns() {
        let genesis = genesis(vec![member(1)], 1);
        let vat = genesis.vat_id();
        let first = genesis.membership();
        let second = Membership { epoch: 1, previous: first.hash(), members: vec![member(2)], ..first.clone() };
        let signatures = vec![MemberSignature::sign(&SigningKey::from_bytes(&[1; 32]), &second.payload())];
        let next = MembershipCertificate { membership: second, signatures };
        let old = Introduction { genesis: genesis.clone(), chain: vec![] };
        let new = Introduction { genesis: genesis.clone(), chain: vec![next.clone()] };
        let world = MemoryNetwork::new(5);
        let asked: Questions = Arc::default();
        let network = world.join(id(99), Arc::new(Asked(99, asked)));
        let hosts: Vec<Member> = (11..13).map(member).collect();
        let known = [old.clone(), new.clone()];
        let _joined: Vec<_> =
            hosts.iter().zip(known).map(|(host, known)| world.join(host.key, Arc::new(Knows(known)))).collect();
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        let moved = Genesis { members: hosts.clone(), threshold: 2, ..genesis };
        directory.learn(None, &Introduction { genesis: moved, chain: vec![] });
        directory.learn(None, &old);
        assert_eq!(look_up(&network, &directory, &vat).await, Some(new));
        assert_eq!(directory.membership(&vat), Some(next.membership));
    }
}

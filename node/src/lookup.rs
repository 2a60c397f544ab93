//! Asking hosts who the members of a vat are. Answers prove themselves; the newest of them counts, since whoever answers may be behind
//! or say less than it knows.

use crate::{
    codec,
    directory::Directory,
    vat::wire::{DirectoryReply, DirectoryRequest},
};
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use quorate_consensus::{Introduction, Member};
use quorate_engine::VatId;
use quorate_net::{HostId, NetError, Network, Purpose};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How many hosts are asked about a vat in one round, of those that were its members and of others.
const HOSTS_OF_EACH: usize = 4;
/// How long a host may take to answer another one.
const DEADLINE: Duration = Duration::from_secs(2);

/// What hosts know of a vat.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The newest that any has.
    pub introduction: Introduction,
    /// The vat's newest block, in the middle of what those say who carry it: one that lies is seldom there.
    pub block: Option<u64>,
}

/// Which answer is good enough that others are not waited for much longer.
#[derive(Clone, Copy, PartialEq)]
pub enum Enough {
    /// Anybody's who knows the vat.
    Introduction,
    /// One of a host that carries it.
    Block,
}

/// Who the members of a vat are, and at which block it is. A host that only heard of the vat knows no block, nor does one that has left it, which may
/// know the members of that time only: so those are asked that were found, as long as that leads on.
pub async fn members_and_block(
    network: &Arc<dyn Network>,
    hosts: &[Member],
    vat: &VatId,
    deadline: Duration,
    patience: Duration,
) -> Option<(Introduction, u64)> {
    let mut found = newest_introduction(network, hosts, vat, deadline, (patience, Enough::Introduction)).await?;
    loop {
        if let Some(block) = found.block {
            return Some((found.introduction, block));
        }
        let members = found.introduction.verify().ok()?.members;
        let next = newest_introduction(network, &members, vat, deadline, (patience, Enough::Block)).await?;
        if next.block.is_none() && next.introduction.chain.len() <= found.introduction.chain.len() {
            return None;
        }
        found = next;
    }
}

/// What `hosts` know of a vat: the newest introduction that any of them has. The first answer that is good enough is waited for as long as `deadline`,
/// the others no longer than the patience after it.
async fn newest_introduction(
    network: &Arc<dyn Network>,
    hosts: &[Member],
    vat: &VatId,
    deadline: Duration,
    (patience, enough): (Duration, Enough),
) -> Option<Found> {
    let request = Bytes::from(codec::encode(&DirectoryRequest::WhoIs(*vat)));
    let mut answers: FuturesUnordered<_> = hosts
        .iter()
        .map(|member| {
            let host = HostId(member.key.0);
            network.hint_addresses(host, member.addresses.clone());
            network.request(host, Purpose::Directory, request.clone(), deadline)
        })
        .collect();
    let mut newest: Option<(u64, Introduction)> = None;
    let mut blocks: Vec<u64> = Vec::new();
    let mut until = None;
    loop {
        let next = answers.next();
        let answer = match until {
            Some(until) => tokio::time::timeout_at(until, next).await.ok().flatten(),
            None => next.await,
        };
        let Some(answer) = answer else { break };
        let Some((epoch, introduction, block)) = introduction_in(answer, vat) else { continue };
        blocks.extend(block);
        if newest.as_ref().is_none_or(|(known, _)| *known < epoch) {
            newest = Some((epoch, introduction));
        }
        if block.is_some() || enough == Enough::Introduction {
            until.get_or_insert_with(|| tokio::time::Instant::now() + patience);
        }
    }
    blocks.sort_unstable();
    let block = blocks.get(blocks.len() / 2).copied();
    newest.map(|(_, introduction)| Found { introduction, block })
}

/// An introduction of the vat that proves itself, with the epoch that it leads to, and the block that came with it.
fn introduction_in(answer: Result<Bytes, NetError>, vat: &VatId) -> Option<(u64, Introduction, Option<u64>)> {
    let DirectoryReply::Known { introduction, block } = codec::decode(&answer.ok()?).ok()? else { return None };
    if introduction.genesis.vat_id().0 != vat.0 {
        return None;
    }
    let membership = introduction.verify().ok()?;
    Some((membership.epoch, *introduction, block))
}

/// Asks a few hosts who the members of a vat are, its last known members among them, and learns the newest answer.
pub async fn look_up(network: &Arc<dyn Network>, directory: &Directory, vat: &VatId) -> Option<Introduction> {
    // By chance, since vats that are looked for in step would each ask always the same hosts.
    let round = usize::from(rand::random::<u16>());
    let hosts = to_ask(directory.members(vat), directory.all_members(), network.local(), round);
    let found = newest_introduction(network, &hosts, vat, DEADLINE, (DEADLINE, Enough::Introduction)).await?;
    directory.learn(None, &found.introduction);
    Some(found.introduction)
}

/// Whom to ask in a round: some who were members when the vat was last heard of, and some others, in turn.
fn to_ask(members: Vec<Member>, others: Vec<Member>, local: HostId, round: usize) -> Vec<Member> {
    let were_members: BTreeSet<[u8; 32]> = members.iter().map(|member| member.key.0).collect();
    let members: Vec<Member> = members.into_iter().filter(|member| member.key.0 != local.0).collect();
    let is_other = |member: &Member| member.key.0 != local.0 && !were_members.contains(&member.key.0);
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
    use ed25519_dalek::SigningKey;
    use futures::future::BoxFuture;
    use quorate_consensus::{
        Genesis, Hash, HostKey, MemberSignature, Membership, MembershipCertificate, MemoryStore, Parameters,
    };
    use quorate_net::{Handler, MemoryNetwork};
    use std::sync::Mutex;

    fn member(number: u8) -> Member {
        let key = HostKey(SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes());
        Member { key, name: format!("m{number}"), addresses: vec![format!("/memory/{number}")] }
    }

    fn id(number: u8) -> HostId {
        HostId(member(number).key.0)
    }

    #[test]
    fn each_round_asks_others_until_all_were_asked() {
        let members: Vec<Member> = (1..=6).map(member).collect();
        let others: Vec<Member> = (1..=20).map(member).collect();
        let mut asked = BTreeSet::new();
        for round in 0..6 {
            let hosts = to_ask(members.clone(), others.clone(), id(1), round);
            assert_eq!(hosts.len(), 2 * HOSTS_OF_EACH);
            let keys: BTreeSet<HostKey> = hosts.iter().map(|host| host.key).collect();
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

    /// Answers with what it has, or never.
    struct Knows(Option<Introduction>);

    /// Answers after so many milliseconds, with the block that it knows.
    struct Says(u64, Introduction, Option<u64>);

    impl Handler for Says {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            let Says(millis, introduction, block) = self;
            let reply = DirectoryReply::Known { introduction: Box::new(introduction.clone()), block: *block };
            let wait = Duration::from_millis(*millis);
            Box::pin(async move {
                tokio::time::sleep(wait).await;
                Ok(codec::encode(&reply).into())
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_left_lead_to_those_that_carry_the_vat_however_fast_they_answer() {
        let parameters = Parameters::default();
        let (image, creator, nonce) = (Hash([0; 32]), [0; 32], [0; 32]);
        let genesis = Genesis { members: vec![member(1)], threshold: 1, image, creator, nonce, expires: 0, parameters };
        let vat = VatId(genesis.vat_id().0);
        // One leaves after the other: 1, then 2, and 3 with 4 carry it now.
        let mut chain: Vec<MembershipCertificate> = Vec::new();
        let mut last = genesis.membership();
        let memberships = [(vec![1], vec![member(2), member(1)]), (vec![1, 2], vec![member(2), member(3), member(4)])];
        for (signers, members) in memberships {
            let epoch = last.epoch + 1;
            let membership = Membership { epoch, previous: last.hash(), members, threshold: 2, ..last.clone() };
            let sign = |signer| MemberSignature::sign(&SigningKey::from_bytes(&[signer; 32]), &membership.payload());
            let signatures = signers.into_iter().map(sign).collect();
            chain.push(MembershipCertificate { membership: membership.clone(), signatures });
            last = membership;
        }
        let known = |length: usize| Introduction { genesis: genesis.clone(), chain: chain[..length].to_vec() };
        let says = [
            (1, Says(0, known(1), None)),
            (2, Says(0, known(2), None)),
            (3, Says(300, known(2), Some(9))),
            (4, Says(100_000, known(2), Some(9))),
        ];
        let world = MemoryNetwork::new(5);
        let network = world.join(id(99), Arc::new(Knows(None)));
        let _joined: Vec<_> = says.map(|(number, says)| world.join(id(number), Arc::new(says))).into_iter().collect();
        let (deadline, patience) = (Duration::from_secs(3), Duration::from_millis(20));
        let began = tokio::time::Instant::now();
        let found = members_and_block(&network, &[member(1)], &vat, deadline, patience).await;
        assert_eq!(found, Some((known(2), 9)));
        assert!(began.elapsed() < Duration::from_secs(1), "the silent one was waited for");
        // Nobody who carries it answers: that is said, not asked for ever.
        let found = members_and_block(&network, &[member(4)], &vat, Duration::from_millis(50), patience).await;
        assert_eq!(found, None);
    }

    impl Handler for Knows {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            match self.0.clone() {
                Some(known) => {
                    let block = Some(known.chain.len() as u64);
                    let reply = DirectoryReply::Known { introduction: Box::new(known), block };
                    Box::pin(async move { Ok(codec::encode(&reply).into()) })
                }
                None => Box::pin(std::future::pending()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn vats_that_are_looked_for_in_step_are_each_asked_for_everywhere() {
        let genesis = Genesis {
            members: (1..=8).map(member).collect(),
            threshold: 5,
            image: Hash([0; 32]),
            creator: [0; 32],
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        directory.learn(None, &Introduction { genesis, chain: vec![] });
        let world = MemoryNetwork::new(5);
        let network = world.join(id(99), Arc::new(Knows(None)));
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
    async fn the_newest_answer_counts_and_silent_hosts_delay_nobody() {
        let genesis = Genesis {
            members: vec![member(1)],
            threshold: 1,
            image: Hash([0; 32]),
            creator: [0; 32],
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let vat = VatId(genesis.vat_id().0);
        let first = genesis.membership();
        let second = Membership { epoch: 1, previous: first.hash(), members: vec![member(2)], ..first.clone() };
        let signatures = vec![MemberSignature::sign(&SigningKey::from_bytes(&[1; 32]), &second.payload())];
        let next = MembershipCertificate { membership: second, signatures };
        let old = Introduction { genesis: genesis.clone(), chain: vec![] };
        let new = Introduction { genesis: genesis.clone(), chain: vec![next.clone()] };
        let mut forged = new.clone();
        forged.chain[0].signatures = vec![MemberSignature::sign(&SigningKey::from_bytes(&[3; 32]), b"else")];

        let world = MemoryNetwork::new(5);
        let network = world.join(id(99), Arc::new(Knows(None)));
        let answers = [Some(old.clone()), None, Some(forged), Some(new.clone())];
        let hosts: Vec<Member> = (11..).take(answers.len()).map(member).collect();
        let _joined: Vec<_> = hosts
            .iter()
            .zip(answers)
            .map(|(host, known)| world.join(HostId(host.key.0), Arc::new(Knows(known))))
            .collect();
        let patience = (Duration::from_millis(20), Enough::Introduction);
        let began = tokio::time::Instant::now();
        let found = newest_introduction(&network, &hosts, &vat, DEADLINE, patience).await;
        assert_eq!(found, Some(Found { introduction: new.clone(), block: Some(1) }));
        assert!(began.elapsed() < Duration::from_millis(100), "the silent one was waited for");
        assert_eq!(newest_introduction(&network, &hosts, &VatId([7; 32]), DEADLINE, patience).await, None);

        // A host that knows where the vat was asks those first, and learns.
        let directory = Directory::load(Arc::new(MemoryStore::new())).expect("an empty store");
        let moved = Genesis { members: hosts.clone(), threshold: 3, ..genesis };
        directory.learn(None, &Introduction { genesis: moved, chain: vec![] });
        directory.learn(None, &old);
        assert_eq!(look_up(&network, &directory, &vat).await, Some(new));
        assert_eq!(directory.membership(&vat), Some(next.membership));
    }
}

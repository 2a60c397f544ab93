//! Asks hosts for the members of a vat. Answers prove themselves. The newest counts, since a host may be behind
//! or withhold what it knows.

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use quorate_ids::VatId;
use quorate_net::{HostId, NetError, Network, Purpose};
use quorate_proof::{Introduction, Member};
use quorate_protocol::{
    codec,
    wire::{DirectoryReply, DirectoryRequest, MAX_ASKED_HOSTS},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a host may take to answer another one.
const DEADLINE: Duration = Duration::from_secs(2);
/// How a host asks others.
const ALL_AT_ONCE: Manner = Manner {
    deadline: DEADLINE,
    patience: DEADLINE,
    stagger: Duration::ZERO,
    sufficient: SufficientAnswer::Introduction,
};

/// What hosts know of a vat.
#[derive(Clone, Debug, PartialEq)]
pub struct LocatedVat {
    /// The newest that any has.
    pub introduction: Introduction,
    /// The vat's newest block, in the middle of what those say who carry it: one that lies is seldom there.
    pub block: Option<u64>,
    /// The host that gave the first good answer.
    pub by: HostId,
    /// Hosts that were asked and had not answered by then.
    pub silent: Vec<HostId>,
}

/// Why nothing is known of a vat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// All hosts answered, and none knows it.
    Unknown,
    /// No host listens where it should, and none of those that do knows it.
    Down(String),
    /// Some host did not answer, for this reason; it may yet.
    Silent(String),
}

/// Which answer is good enough that others are not waited for much longer.
#[derive(Clone, Copy, PartialEq)]
pub enum SufficientAnswer {
    /// Anybody's who knows the vat.
    Introduction,
    /// One of a host that carries it.
    Block,
}

/// How hosts are asked.
#[derive(Clone, Copy)]
struct Manner {
    /// How long each may take.
    deadline: Duration,
    /// How long others may take after the first good answer.
    patience: Duration,
    /// The next host is asked so long after the one before, if that has not answered (RFC 8305); zero: all at once.
    stagger: Duration,
    sufficient: SufficientAnswer,
}

/// A client asks the next host so long after the one before: longer than a good host takes, short for a person.
pub const STAGGER: Duration = Duration::from_millis(200);
/// How long others that were asked may take after the first good answer to a client.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long one host may take to answer a client before it is asked again.
const CLIENT_DEADLINE: Duration = Duration::from_secs(3);
/// A client asks again after such a pause, and after twice as long each time, up to the last.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_LAST: Duration = Duration::from_secs(1);

/// Who the members of a vat are, and at which block it is, for a client: the hosts are asked side by side, the first one first, and
/// again until `until`, as long as one of them may be only slow.
///
/// # Errors
/// No host knows the vat, or none can be reached. Nothing was said to the vat.
pub async fn members_and_block(
    network: &Arc<dyn Network>,
    hosts: &[Member],
    vat: &VatId,
    until: Instant,
) -> Result<(LocatedVat, u64), NotFound> {
    let mut pause = AGAIN_FIRST;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let round = carriers(network, hosts, vat, left.min(CLIENT_DEADLINE));
        let found = match tokio::time::timeout_at(until, round).await {
            Ok(found) => found,
            Err(_) => Err(NotFound::Silent("no answer in time".to_owned())),
        };
        match found {
            Err(NotFound::Silent(_)) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
            found => return found,
        }
        pause = (pause * 2).min(AGAIN_LAST);
    }
}

/// One round of [`members_and_block`]. A host that only heard of the vat knows no block, nor does one that has left it, which may know
/// the members of that time only: so those are asked that were found, as long as that leads on.
async fn carriers(
    network: &Arc<dyn Network>,
    hosts: &[Member],
    vat: &VatId,
    deadline: Duration,
) -> Result<(LocatedVat, u64), NotFound> {
    let manner = Manner { deadline, patience: PATIENCE, stagger: STAGGER, sufficient: SufficientAnswer::Introduction };
    let mut found = newest_introduction(network, hosts, vat, manner).await?;
    loop {
        if let Some(block) = found.block {
            return Ok((found, block));
        }
        let mut members = found.introduction.verify().map_err(|_| NotFound::Unknown)?.members;
        // They may have moved since they became members.
        add_recorded(network, found.by, &mut members, deadline).await;
        let next =
            newest_introduction(network, &members, vat, Manner { sufficient: SufficientAnswer::Block, ..manner })
                .await?;
        if next.block.is_none() && next.introduction.chain.len() <= found.introduction.chain.len() {
            return Err(NotFound::Unknown);
        }
        found = next;
    }
}

/// Adds the addresses in the members' own records, as far as this host keeps any. A record that is wrong changes nothing.
async fn add_recorded(network: &Arc<dyn Network>, by: HostId, members: &mut [Member], deadline: Duration) {
    let keys = members.iter().map(|member| member.key).take(MAX_ASKED_HOSTS).collect();
    let question = Bytes::from(codec::encode(&DirectoryRequest::Addresses(keys)));
    let Ok(answer) = network.request(by, Purpose::Directory, question, deadline).await else { return };
    let Ok(DirectoryReply::Addresses(records)) = codec::decode(&answer) else { return };
    for record in records.into_iter().take(MAX_ASKED_HOSTS) {
        let member = members.iter_mut().find(|member| member.key == record.host);
        if let Some(member) = member.filter(|_| record.verify().is_ok()) {
            let old = std::mem::replace(&mut member.addresses, record.addresses);
            member.addresses.extend(old);
        }
    }
}

/// Returns what `hosts` know of a vat: the newest introduction that any of them has, of those that answered within the patience after the first
/// answer that is good enough.
async fn newest_introduction(
    network: &Arc<dyn Network>,
    hosts: &[Member],
    vat: &VatId,
    manner: Manner,
) -> Result<LocatedVat, NotFound> {
    let request = Bytes::from(codec::encode(&DirectoryRequest::WhoIs(*vat)));
    let mut asked = FuturesUnordered::new();
    let mut silent: BTreeSet<HostId> = BTreeSet::new();
    let (mut waiting, mut next_at) = (hosts.iter(), Instant::now());
    let mut newest: Option<(u64, Introduction)> = None;
    let (mut blocks, mut first, mut until): (Vec<u64>, Option<HostId>, Option<Instant>) = Default::default();
    let mut failure = NotFound::Unknown;
    loop {
        while until.is_none() && next_at <= Instant::now() {
            let Some(member) = waiting.next() else { break };
            let host = member.key;
            network.hint_addresses(host, member.addresses.clone());
            let answer = network.request(host, Purpose::Directory, request.clone(), manner.deadline);
            silent.insert(host);
            asked.push(async move { (host, answer.await) });
            next_at += manner.stagger;
        }
        if asked.is_empty() && (until.is_some() || waiting.len() == 0) {
            break;
        }
        let more = until.is_none() && waiting.len() > 0;
        tokio::select! {
            biased;
            Some((host, answer)) = asked.next() => match introduction_in(answer, vat) {
                Ok((epoch, introduction, block)) => {
                    silent.remove(&host);
                    blocks.extend(block);
                    if newest.as_ref().is_none_or(|(known, _)| *known < epoch) {
                        newest = Some((epoch, introduction));
                    }
                    if block.is_some() || manner.sufficient == SufficientAnswer::Introduction {
                        first.get_or_insert(host);
                        until.get_or_insert_with(|| Instant::now() + manner.patience);
                    }
                }
                Err(why) => {
                    if why == NotFound::Unknown {
                        silent.remove(&host);
                    }
                    failure = worse(failure, why);
                    // There is nothing to wait for.
                    next_at = Instant::now();
                }
            },
            () = tokio::time::sleep_until(next_at), if more => {}
            () = tokio::time::sleep_until(until.unwrap_or(next_at)), if until.is_some() => break,
        }
    }
    blocks.sort_unstable();
    let block = blocks.get(blocks.len() / 2).copied();
    let (_, introduction) = newest.ok_or(failure)?;
    let by = first.or_else(|| hosts.first().map(|member| member.key)).unwrap_or(network.local());
    Ok(LocatedVat { introduction, block, by, silent: silent.into_iter().collect() })
}

/// Of two reasons the one that gives more hope.
fn worse(one: NotFound, other: NotFound) -> NotFound {
    match (&one, &other) {
        (_, NotFound::Silent(_)) | (NotFound::Unknown, _) => other,
        _ => one,
    }
}

/// Returns whether an error says that nothing listens at the host's addresses, so that asking again soon is of no use.
fn is_down(error: &NetError) -> bool {
    const NOBODY: [&str; 3] = ["Connection refused", "No route to host", "Network is unreachable"];
    let NetError::Unreachable { reason, .. } = error else { return false };
    NOBODY.iter().any(|text| reason.contains(text)) && !reason.to_lowercase().contains("timeout")
}

/// An introduction of the vat that proves itself, with the epoch that it leads to, and the block that came with it.
fn introduction_in(answer: Result<Bytes, NetError>, vat: &VatId) -> Result<(u64, Introduction, Option<u64>), NotFound> {
    let answer = answer.map_err(|error| {
        if is_down(&error) { NotFound::Down(error.to_string()) } else { NotFound::Silent(error.to_string()) }
    })?;
    let reply = codec::decode(&answer).map_err(|_| NotFound::Unknown)?;
    let DirectoryReply::Known { introduction, block } = reply else { return Err(NotFound::Unknown) };
    if introduction.genesis.vat_id() != *vat {
        return Err(NotFound::Unknown);
    }
    let membership = introduction.verify().map_err(|_| NotFound::Unknown)?;
    Ok((membership.epoch, *introduction, block))
}

/// The newest that any of these hosts knows of a vat; all of them are asked at once.
pub async fn newest_known(network: &Arc<dyn Network>, hosts: &[Member], vat: &VatId) -> Option<Introduction> {
    newest_introduction(network, hosts, vat, ALL_AT_ONCE).await.ok().map(|found| found.introduction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use futures::future::BoxFuture;
    use quorate_net::{Handler, MemoryNetwork};
    use quorate_proof::{Genesis, Hash, HostId, MemberSignature, Membership, MembershipCertificate, Parameters};
    use std::sync::Mutex;

    fn member(number: u8) -> Member {
        let key = HostId(SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes());
        Member { key, name: format!("m{number}"), addresses: vec![format!("/memory/{number}")] }
    }

    fn id(number: u8) -> HostId {
        member(number).key
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
        let genesis = Genesis {
            members: vec![member(1)],
            threshold: 1,
            image,
            creator,
            bundle: None,
            nonce,
            expires: 0,
            parameters,
        };
        let vat = genesis.vat_id();
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
        let began = Instant::now();
        let found = members_and_block(&network, &[member(1)], &vat, began + Duration::from_secs(3)).await;
        assert_eq!(found.map(|(found, block)| (found.introduction, found.by, block)), Ok((known(2), id(3), 9)));
        assert!(began.elapsed() < Duration::from_secs(1), "the silent one was waited for");
        // Nobody who carries it answers: that is said, not asked for ever.
        let until = Instant::now() + Duration::from_millis(50);
        let found = members_and_block(&network, &[member(4)], &vat, until).await;
        assert!(matches!(found, Err(NotFound::Silent(_))), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_asked_one_after_the_other_and_silent_ones_cost_a_moment() {
        let (image, creator, nonce, parameters) = (Hash([0; 32]), [0; 32], [0; 32], Parameters::default());
        let members: Vec<Member> = (1..=3).map(member).collect();
        let genesis = Genesis {
            members: members.clone(),
            threshold: 2,
            image,
            creator,
            bundle: None,
            nonce,
            expires: 0,
            parameters,
        };
        let vat = genesis.vat_id();
        let known = Introduction { genesis, chain: vec![] };
        let world = MemoryNetwork::new(5);
        let network = world.join(id(99), Arc::new(Knows(None)));
        let asked: Questions = Arc::default();
        // The first hangs; the second would do; the third is not needed.
        let _hung = world.join(id(1), Arc::new(Knows(None)));
        let _good = world.join(id(2), Arc::new(Says(0, known.clone(), Some(7))));
        let _spare = world.join(id(3), Arc::new(Asked(3, asked.clone())));
        let began = Instant::now();
        let (found, block) =
            members_and_block(&network, &members, &vat, began + Duration::from_secs(2)).await.expect("found");
        assert_eq!((found.introduction, found.by, found.silent, block), (known, id(2), vec![id(1)], 7));
        assert!(began.elapsed() < 2 * STAGGER, "{:?} of virtual time", began.elapsed());
        assert!(asked.lock().expect("no panic holds it").is_empty(), "a host was asked without need");
        // One that does not know it is no reason to wait.
        let began = Instant::now();
        let order = [members[2].clone(), members[1].clone()];
        let found = members_and_block(&network, &order, &vat, began + Duration::from_secs(2)).await.expect("found");
        assert_eq!(found.0.by, id(2));
        assert!(began.elapsed() < STAGGER, "{:?} of virtual time", began.elapsed());
    }

    #[test]
    fn a_host_that_is_only_slow_may_be_asked_again() {
        let down = NetError::Unreachable {
            host: id(1),
            next_attempt_in: None,
            reason: "[(/ip4/127.0.0.1/tcp/1: : Connection refused (os error 111))]".into(),
        };
        let slow = NetError::Timeout { host: id(1), purpose: Purpose::Directory, deadline: DEADLINE };
        let reset =
            NetError::Unreachable { host: id(1), next_attempt_in: None, reason: "Connection reset by peer".into() };
        assert!(is_down(&down) && !is_down(&slow) && !is_down(&reset));
        let silent = NotFound::Silent("slow".into());
        assert_eq!(worse(NotFound::Down("refused".into()), silent.clone()), silent);
        assert_eq!(worse(silent.clone(), NotFound::Unknown), silent);
        assert_eq!(worse(NotFound::Unknown, NotFound::Down(String::new())), NotFound::Down(String::new()));
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
    async fn the_newest_answer_counts_and_silent_hosts_delay_nobody() {
        let genesis = Genesis {
            members: vec![member(1)],
            threshold: 1,
            image: Hash([0; 32]),
            creator: [0; 32],
            bundle: None,
            nonce: [0; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let vat = genesis.vat_id();
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
        let _joined: Vec<_> =
            hosts.iter().zip(answers).map(|(host, known)| world.join(host.key, Arc::new(Knows(known)))).collect();
        let manner = Manner { patience: Duration::from_millis(20), ..ALL_AT_ONCE };
        let began = Instant::now();
        let found = newest_introduction(&network, &hosts, &vat, manner).await;
        assert_eq!(found.map(|found| (found.introduction, found.block)), Ok((new.clone(), Some(1))));
        assert!(began.elapsed() < Duration::from_millis(100), "the silent one was waited for");
        let found = newest_introduction(&network, &hosts, &VatId([7; 32]), manner).await;
        assert!(matches!(found, Err(NotFound::Silent(_))), "{found:?}");
    }
}

//! Readers among members that are well, behind, in a later epoch, or that lie.

use super::*;
use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use quorate_net::{Handler, MemoryNetwork};
use quorate_proof::{Certificate, Genesis, Hash, MemberSignature, MembershipCertificate, Parameters, Statement};
use quorate_protocol::published::PublishedTree;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn member(seed: u8) -> Member {
    let key = HostId(key(seed).verifying_key().to_bytes());
    Member { key, name: format!("m{seed}"), addresses: vec![format!("/memory/{seed}")] }
}

/// Four members of which three must sign; in epoch 1 members 3 to 6.
fn introduction(epochs: usize) -> Introduction {
    let genesis = Genesis {
        members: (1..=4).map(member).collect(),
        threshold: 3,
        image: Hash([0; 32]),
        creator: [0; 32],
        bundle: None,
        nonce: [0; 32],
        expires: 0,
        parameters: Parameters::default(),
    };
    let first = genesis.membership();
    let members = (3..=6).map(member).collect();
    let membership = Membership { epoch: 1, previous: first.hash(), members, ..first };
    let signatures = [1, 2, 3].map(|seed| MemberSignature::sign(&key(seed), &membership.payload())).to_vec();
    let chain = vec![MembershipCertificate { membership, signatures }; epochs];
    Introduction { genesis, chain }
}

fn vat() -> VatId {
    introduction(0).vat_id()
}

/// What is published after a block: the block's number. Signed by three members of that epoch.
fn reading(epoch: u64, block: u64) -> Reading {
    let value: Arc<[u8]> = Value::Number(block as f64).encode().into();
    let tree = PublishedTree::new(Arc::new(BTreeMap::from([(Arc::from("n"), value)])));
    let statement = Statement {
        vat: vat(),
        epoch,
        block,
        previous: Hash::ZERO,
        chain: Hash::ZERO,
        outbox_root: Hash::ZERO,
        published_root: tree.root(),
        state_root: None,
    };
    let seeds = if epoch == 0 { [1, 2, 3] } else { [3, 4, 5] };
    let signatures = seeds.map(|seed| MemberSignature::sign(&key(seed), &statement.payload())).to_vec();
    tree.read("n", Certificate { statement, signatures })
}

/// What a member answers, and whom it knows as members.
#[derive(Clone)]
struct Says {
    reply: DirectoryReply,
    epochs: usize,
}

impl Says {
    fn reads(epoch: u64, block: u64) -> Says {
        let reply = ReadReply::Reading { reading: Box::new(reading(epoch, block)), epoch };
        Says { reply: DirectoryReply::Read(reply), epochs: 0 }
    }

    /// It claims to be in this epoch.
    fn claims(mut self, claimed: u64) -> Says {
        if let DirectoryReply::Read(ReadReply::Reading { epoch, .. }) = &mut self.reply {
            *epoch = claimed;
        }
        self
    }

    fn forged(mut self) -> Says {
        if let DirectoryReply::Read(ReadReply::Reading { reading, .. }) = &mut self.reply {
            reading.certificate.statement.block += 1_000;
        }
        self
    }

    fn knows(self, epochs: usize) -> Says {
        Says { epochs, ..self }
    }
}

impl Handler for Says {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Directory
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let reply = match codec::decode(&frame).expect("a question") {
            DirectoryRequest::Read(_) => self.reply.clone(),
            _ => DirectoryReply::Known { introduction: Box::new(introduction(self.epochs)), block: Some(1) },
        };
        Box::pin(async move { Ok(codec::encode(&reply).into()) })
    }
}

/// Reads where the members from 1 on say that; those for which nothing is said are down.
async fn read(says: &[(u8, Says)], wanted: Freshness) -> Result<(u64, u64), ReadError> {
    let world = MemoryNetwork::new(7);
    let network = world.join(member(99).key, Arc::new(Says::reads(0, 0)));
    let joined: Vec<_> =
        says.iter().map(|(seed, says)| world.join(member(*seed).key, Arc::new(says.clone()))).collect();
    let mut reader = Reader::over(network, introduction(0), None).expect("it proves itself");
    let until = Instant::now() + Duration::from_secs(10);
    let answer = reader.read("n", wanted, until).await;
    drop(joined);
    answer.map(|answer| {
        let block = answer.reading.block();
        assert_eq!(answer.value, Some(Value::Number(block as f64)));
        (answer.membership.epoch, block)
    })
}

const ANY: Freshness = Freshness { at_least: 0, current: false };
const CURRENT: Freshness = Freshness { at_least: 0, current: true };

#[tokio::test(start_paused = true)]
async fn any_member_that_can_prove_it_will_do() {
    let well = Says::reads(0, 5);
    assert_eq!(read(&[(3, well.clone())], ANY).await.ok(), Some((0, 5)));
    let forged = Says::reads(0, 5).forged();
    let all = [(1, forged.clone()), (2, forged.clone()), (3, forged.clone()), (4, well)];
    assert_eq!(read(&all, ANY).await.ok(), Some((0, 5)));
    let error = read(&[(1, forged)], ANY).await.expect_err("nothing is proven");
    assert!(matches!(&error, ReadError::NotProven { host, .. } if host == "m1"), "{error}");
    let error = read(&[], ANY).await.expect_err("nobody is there");
    assert!(matches!(error, ReadError::Silent(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_older_than_was_asked_for_is_none() {
    let wanted = Freshness { at_least: 6, current: false };
    let old = Says::reads(0, 5);
    assert_eq!(read(&[(1, old.clone()), (2, Says::reads(0, 6))], wanted).await.ok(), Some((0, 6)));
    let error = read(&[(1, old)], wanted).await.expect_err("it is too old");
    assert!(error.to_string().contains("older than was asked for"), "{error}");
    let reply = ReadReply::NotYet { block: Some(5), why: "not yet".into() };
    let waits = Says { reply: DirectoryReply::Read(reply), epochs: 0 };
    let error = read(&[(1, waits)], wanted).await.expect_err("it is not there");
    assert!(matches!(error, ReadError::NotYet { newest: Some(5), .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn of_what_is_current_the_newest_of_a_threshold_of_answers_counts() {
    let [old, new] = [Says::reads(0, 5), Says::reads(0, 9)];
    for newest in 1..=3 {
        let says = |seed| (seed, if seed == newest { new.clone() } else { old.clone() });
        assert_eq!(read(&[says(1), says(2), says(3)], CURRENT).await.ok(), Some((0, 9)));
    }
    let error = read(&[(1, old.clone()), (4, new.clone())], CURRENT).await.expect_err("two of three");
    assert!(matches!(error, ReadError::TooFew { answered: 2, needed: 3, .. }), "{error}");
    // What is forged does not count, nor does who is no member.
    let all = [(1, old.clone()), (2, new.clone().forged()), (4, old), (5, new)];
    let error = read(&all, CURRENT).await.expect_err("two of three");
    assert!(matches!(error, ReadError::TooFew { answered: 2, needed: 3, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_knows_a_later_epoch_does_not_count_until_the_reader_knows_it_too() {
    // Members 1 and 2 are out and have heard of nothing since; 3 has executed the end of its epoch.
    let behind = Says::reads(0, 5);
    let moved = Says::reads(1, 9).knows(1);
    let all = [(1, behind.clone()), (2, behind.clone()), (3, moved.clone()), (5, moved.clone()), (6, moved.clone())];
    assert_eq!(read(&all, CURRENT).await.ok(), Some((1, 9)));
    // One that has executed it, and whose certificate is of before.
    let late = Says::reads(0, 5).claims(1).knows(1);
    let all = [(1, behind.clone()), (2, behind.clone()), (3, late), (4, moved.clone()), (5, moved.clone())];
    assert_eq!(read(&all, CURRENT).await.ok(), Some((1, 9)));
    // One that says so and cannot prove it is passed over, and is none of those that are needed.
    let liar = Says::reads(0, 5).claims(7);
    let all = [(1, behind.clone()), (2, behind.clone()), (3, liar.clone()), (4, Says::reads(0, 6))];
    assert_eq!(read(&all, CURRENT).await.ok(), Some((0, 6)));
    let error = read(&[(1, behind.clone()), (2, behind), (3, liar)], CURRENT).await.expect_err("two of three");
    assert!(matches!(error, ReadError::TooFew { answered: 2, needed: 3, .. }), "{error}");
    // Of any answer the certificate alone counts.
    assert_eq!(read(&[(3, moved)], ANY).await.ok(), Some((1, 9)));
}

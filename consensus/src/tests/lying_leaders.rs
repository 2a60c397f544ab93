//! What a member that leads, or says that it does, can't bring about with a single frame.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, parameters, wait};
use super::leading::{chain_at, election, header};
use crate::codec;
use crate::error::ProposeError;
use crate::order::frames::{Header, RaftFrame, RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::proof::certificate::Statement;
use crate::proof::membership::{Genesis, Parameters};
use crate::proof::shares::Share;
use crate::replica::wire::propose::{ForwardedResult, ProposeFrame, ProposeReply};
use crate::replica::wire::share::ShareFrame;
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotReply, SnapshotStep};
use crate::state::change::Change;
use crate::state::{LogPosition, ReplicatedState, state_root};
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::{Family, Store, VatStore, read};
use crate::testing::fabricated::root_of;
use crate::timing::Timing;
use crate::transport::{Channel, TransportError};
use quorate_ids::{Hash, HostId};
use quorate_order::proofs::TermProof;

fn certified_record(cluster: &Cluster, place: usize) -> CheckpointRecord {
    let store = VatStore::new(Arc::clone(&cluster.nodes[place].store) as Arc<dyn Store>, cluster.genesis.vat_id());
    let (from, to) = store.bounds();
    let records = store.scan(Family::Checkpoint, &from, &to, usize::MAX).unwrap().into_iter();
    let mut records = records.map(|(_, value)| read::<CheckpointRecord>(Family::Checkpoint, &value).unwrap());
    records.find(|record| record.certificate.is_some()).unwrap()
}

async fn tell(cluster: &Cluster, place: usize, from: HostId, step: &SnapshotStep) -> SnapshotReply {
    let replica = cluster.nodes[place].up();
    let frame = codec::encode(&SnapshotFrame { target: replica.status().raft_id, step: step.clone() });
    codec::decode(&replica.handle(from, Channel::Snapshot, &frame).await.unwrap()).unwrap()
}

/// The vote by which a member leads.
fn lead_of(cluster: &Cluster, place: usize) -> WireVote {
    let status = cluster.nodes[place].up().status();
    WireVote { term: status.term, node: status.raft_id, committed: true }
}

/// A cluster in which one member was away so long that it needs a checkpoint, and hears of nobody yet; who leads, who was away, and
/// the last block.
async fn one_that_lags() -> (Cluster, usize, usize, u64) {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    let leader = cluster.wait_for_leader().await;
    let (away, other) = ((leader + 1) % 3, (leader + 2) % 3);
    // Else it would have no log to start with while nobody reaches it.
    wait("a first entry", || (cluster.nodes[away].up().status().last_log > 0).then_some(())).await;
    cluster.stop(away).await;
    let mut last = 0;
    for _ in 0..60 {
        last = cluster.propose(other, b"while one is away").await.block;
    }
    wait("a purge", || (cluster.nodes[leader].up().status().purged > 30).then_some(())).await;
    for place in [leader, other] {
        cluster.hub.cut(cluster.nodes[away].id(), cluster.nodes[place].id());
    }
    cluster.start(away).await;
    wait("raft", || (cluster.nodes[away].up().status().last_log > 0).then_some(())).await;
    (cluster, leader, away, last)
}

/// The certificate covers a checkpoint's manifest, not the list of chunks that is sent along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_names_no_chunks_is_not_installed_without_them() {
    let (cluster, leader, away, last) = one_that_lags().await;
    let liar = cluster.nodes[leader].id();
    let record = CheckpointRecord { chunks: Vec::new(), ..certified_record(&cluster, leader) };
    let block = record.block();
    let reply = tell(&cluster, away, liar, &SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record) }).await;
    assert!(matches!(&reply, SnapshotReply::Missing(missing) if !missing.is_empty()), "{reply:?}");
    let reply =
        tell(&cluster, away, liar, &SnapshotStep::Install { block, vote: lead_of(&cluster, leader), proof: None })
            .await;
    assert!(matches!(&reply, SnapshotReply::Refused(_)), "{reply:?}");
    cluster.hub.heal();
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// What a liar can make of a certified checkpoint, by what is false in it. It has the key of one of three members, of which two sign.
fn false_records(good: &CheckpointRecord, liar: u8) -> Vec<(&'static str, CheckpointRecord)> {
    let state = |change: fn(&mut ReplicatedState)| {
        let mut state = ReplicatedState::decode(&good.state.0).unwrap();
        change(&mut state);
        state.encode()
    };
    let richer = state(|state| state.next_raft_id += 1);
    let of = |state: &[u8], machine_root: Hash, seeds: &[u8]| {
        let state_root = Some(state_root(state, &machine_root));
        let statement = Statement { state_root, ..good.statement.clone() };
        let certificate = Some(super::certificate(statement.clone(), seeds));
        CheckpointRecord { state: state.to_vec().into(), machine_root, statement, certificate, ..good.clone() }
    };
    let mut in_anothers_name = of(&richer, good.machine_root, &[liar, liar]);
    let other = (1..=3).find(|seed| *seed != liar).unwrap();
    in_anothers_name.certificate.as_mut().unwrap().signatures[1].key = super::host(other);
    let mut manifest = good.manifest.0.to_vec();
    manifest[0] ^= 1;
    let mut not_certified = good.clone();
    not_certified.statement.previous = Hash([9; 32]);
    vec![
        ("no certificate", CheckpointRecord { certificate: None, ..good.clone() }),
        ("the liar's signature alone", of(&richer, good.machine_root, &[liar])),
        ("the liar's signature twice", of(&richer, good.machine_root, &[liar, liar])),
        ("the liar's signature in another's name", in_anothers_name),
        ("a stranger's signature", of(&richer, good.machine_root, &[liar, 77])),
        ("another state under the true certificate", CheckpointRecord { state: richer.into(), ..good.clone() }),
        ("another machine", CheckpointRecord { machine_root: Hash([9; 32]), ..good.clone() }),
        ("another manifest", CheckpointRecord { manifest: manifest.into(), ..good.clone() }),
        ("a statement that is not the certified one", not_certified),
    ]
}

/// A member that lacks the log believes nothing of what one that is to help it sends, unless it is certified.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_of_checkpoints_that_lies_is_not_believed() {
    let (cluster, leader, away, last) = one_that_lags().await;
    let (liar, vote) = (cluster.nodes[leader].id(), lead_of(&cluster, leader));
    let good = certified_record(&cluster, leader);
    let before = cluster.state(away).await;
    let begin = |record: &CheckpointRecord| SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record.clone()) };
    for (what, record) in false_records(&good, u8::try_from(leader).unwrap() + 1) {
        let reply = tell(&cluster, away, liar, &begin(&record)).await;
        assert!(matches!(&reply, SnapshotReply::Refused(_)), "{what}: {reply:?}");
        let reply =
            tell(&cluster, away, liar, &SnapshotStep::Install { block: record.block(), vote, proof: None }).await;
        assert!(matches!(&reply, SnapshotReply::Refused(_)), "{what}: {reply:?}");
    }
    // The true one, with other chunks than it names.
    let (block, chunks) = (good.block(), vec![vec![9; 512].into()]);
    let reply = tell(&cluster, away, liar, &begin(&good)).await;
    assert!(matches!(&reply, SnapshotReply::Missing(missing) if !missing.is_empty()), "{reply:?}");
    for step in [SnapshotStep::Chunks { block, chunks }, SnapshotStep::Install { block, vote, proof: None }] {
        let reply = tell(&cluster, away, liar, &step).await;
        assert!(matches!(&reply, SnapshotReply::Refused(_)), "{reply:?}");
    }
    assert_eq!(cluster.state(away).await, before);
    cluster.hub.heal();
    cluster.wait_applied(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

/// Those who could sign alone, or for few, in an early epoch can make any checkpoint of that time for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_long_ago_is_refused() {
    let cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    for _ in 0..15 {
        cluster.propose(0, b"some").await;
    }
    let certified_in = async |epoch: u64| {
        for place in 0..3 {
            wait("the epoch's first checkpoint", || {
                let status = cluster.nodes[place].up().status();
                (status.certified_epoch == epoch && status.checkpoint_block > 0).then_some(())
            })
            .await;
        }
        wait("its record", || Some(certified_record(&cluster, 0)).filter(|it| it.statement.epoch == epoch)).await
    };
    // A checkpoint is made at the beginning of each epoch, however little has happened since the last one.
    let mut records = vec![certified_in(0).await];
    for (epoch, threshold) in [(1, 3), (2, 2)] {
        let change = Change::Threshold(threshold);
        for _ in 0..20 {
            match cluster.nodes[0].up().reconfigure(change.clone(), None, std::time::Duration::from_secs(20)).await {
                Ok(_) => break,
                Err(error) => eprintln!("again: {error}"),
            }
        }
        records.push(certified_in(epoch).await);
    }
    let leader = cluster.wait_for_leader().await;
    let (place, liar) = ((leader + 1) % 3, cluster.nodes[leader].id());
    for (record, refused) in records.into_iter().zip([true, false, false]) {
        let epoch = record.statement.epoch;
        let step = SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record) };
        let reply = tell(&cluster, place, liar, &step).await;
        let too_old = matches!(&reply, SnapshotReply::Refused(text) if text.contains("too old"));
        assert_eq!(too_old, refused, "of epoch {epoch}: {reply:?}");
    }
    cluster.assert_no_trouble();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_no_leader_sends_are_refused_and_change_nothing() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (place, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let vote = lead_of(&cluster, leader);
    let target = cluster.nodes[place].up().status().raft_id;
    let beat = |vote| RaftMessage::Append { vote, prev: None, entries: Vec::new(), commit: None, header: None };
    let elect = |term, node| RaftMessage::Vote {
        vote: WireVote { term, node, committed: false },
        last: Some(LogPosition { term: vote.term, index: 1_000 }),
        transfer: true,
        pre: false,
        stand: None,
    };
    let frames = [
        ("a term without a successor", leader, elect(u64::MAX, vote.node)),
        ("an election in another's name", third, elect(vote.term + 1, vote.node)),
        ("the leader's name", third, beat(vote)),
        ("the receiver's name", leader, beat(WireVote { term: vote.term + 1, node: target, ..vote })),
        ("no election", leader, beat(WireVote { term: vote.term + 1, committed: false, ..vote })),
    ];
    for (what, from, message) in frames {
        let frame = codec::encode(&RaftFrame { target, message });
        let from = cluster.nodes[from].id();
        let answer = cluster.nodes[place].up().handle(from, Channel::Vote, &frame).await;
        assert!(matches!(answer, Err(TransportError::Refused(_))), "{what}: {answer:?}");
    }
    let last = cluster.propose(place, b"two").await.block;
    cluster.wait_certified(last).await;
    assert_eq!(lead_of(&cluster, leader), vote, "the leader was not disturbed");
    cluster.assert_no_trouble();
}

/// One of five is voted out, and a liar stays.
struct SentAway {
    cluster: Cluster,
    leader: usize,
    out: usize,
    /// Whether the new epoch may be certified: until then, whoever is out is needed.
    open: Arc<AtomicBool>,
    /// How often the liar was asked whether the other is needed.
    asked: Arc<AtomicU64>,
}

impl SentAway {
    /// From now on the liar alone says that the other is no longer needed, and the other does not read so in the log.
    async fn new() -> SentAway {
        let cluster = Cluster::started(5, 3, parameters()).await;
        let leader = cluster.wait_for_leader().await;
        let (out, liar) = ((leader + 1) % 5, (leader + 2) % 5);
        let (open, asked): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let raft_id = |place: usize| cluster.nodes[place].up().status().raft_id;
        let (out_id, liar_id) = (raft_id(out), raft_id(liar));
        let (out_key, liar_key) = (cluster.nodes[out].id(), cluster.nodes[liar].id());
        let (is_open, count) = (Arc::clone(&open), Arc::clone(&asked));
        let share = move |from: HostId, to: HostId, frame: ShareFrame| match frame {
            ShareFrame::Retired { .. } if from == out_key => {
                count.fetch_add(u64::from(to == liar_key), Ordering::SeqCst);
                // No replica has the id 0, so it is retired for everybody. The liar takes part, so it is not.
                Some(ShareFrame::Retired { raft_id: if to == liar_key { 0 } else { liar_id } })
            }
            ShareFrame::Ask { .. } if !is_open.load(Ordering::SeqCst) => None,
            ShareFrame::Push(mut shares) if !is_open.load(Ordering::SeqCst) => {
                shares.retain(|share| matches!(share, Share::Statement(..)));
                Some(ShareFrame::Push(shares))
            }
            other => Some(other),
        };
        let tells = move |entry: &WireEntry| matches!(&entry.content, WireContent::Membership(raft) if !raft.nodes.contains_key(&out_id));
        cluster.hub.lie(Box::new(move |from, to, channel, frame| match channel {
            Channel::Share => match codec::decode(&frame) {
                // An empty frame is none.
                Ok(decoded) => share(from, to, decoded).map_or(Vec::new(), |frame| codec::encode(&frame)),
                Err(_) => frame,
            },
            Channel::Append => match codec::decode(&frame) {
                Ok(RaftFrame { message: RaftMessage::Append { entries, .. }, .. })
                    if to == out_key && entries.iter().any(tells) =>
                {
                    Vec::new()
                }
                _ => frame,
            },
            _ => frame,
        }));
        SentAway { cluster, leader, out, open, asked }
    }
}

/// Raft may still need its vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_alone_sends_nobody_away() {
    let SentAway { cluster, leader, out, open, asked } = SentAway::new().await;
    let removed = || cluster.nodes[out].log.lock().unwrap().removed;
    let remove = Change::Remove(cluster.nodes[out].id());
    cluster.nodes[leader].up().reconfigure(remove, None, std::time::Duration::from_secs(20)).await.unwrap();
    wait("the epoch", || (cluster.nodes[out].up().status().epoch == 1).then_some(())).await;
    open.store(true, Ordering::SeqCst);
    wait("questions", || (asked.load(Ordering::SeqCst) >= 3 || removed()).then_some(())).await;
    assert!(!removed(), "by one member's word");
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    wait("its end", || removed().then_some(())).await;
}

/// Whoever says that it leads has to show who elected it: else the true leader would be left, and its term be over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leads_whom_nobody_elected() {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (liar, vote) = ((leader + 1) % 4, lead_of(&cluster, leader));
    let seed = |place: usize| u8::try_from(place % 4).unwrap() + 1;
    let (own, key) = (seed(liar), cluster.nodes[liar].id());
    let (genesis, term) = (&cluster.genesis, vote.term + 1);
    let other_vat = Genesis { nonce: [99; 32], ..genesis.clone() };
    let elected = |seeds: &[u8]| election(genesis, term, seeds, key);
    let mut in_others_names = elected(&[own, own, own]);
    in_others_names.grants[1].by = cluster.nodes[(liar + 1) % 4].id();
    in_others_names.grants[2].by = cluster.nodes[(liar + 2) % 4].id();
    let all = [1, 2, 3];
    let proofs = [
        ("nothing", None),
        ("its own vote", Some(elected(&[own]))),
        ("its own vote three times", Some(elected(&[own, own, own]))),
        ("one vote too few", Some(elected(&[own, seed(liar + 1)]))),
        ("votes that others did not sign", Some(in_others_names)),
        ("a stranger's vote", Some(elected(&[own, seed(liar + 1), 77]))),
        ("votes of another term", Some(TermProof { term, ..election(genesis, term + 1, &all, key) })),
        (
            "votes for another",
            Some(TermProof { leader: key, ..election(genesis, term, &all, cluster.nodes[leader].id()) }),
        ),
        ("votes of another vat", Some(TermProof { base: root_of(genesis), ..election(&other_vat, term, &all, key) })),
    ];
    for (what, proof) in proofs {
        for place in (0..4).filter(|place| *place != liar) {
            let status = cluster.nodes[place].up().status();
            let prev = Some(LogPosition { term: status.term, index: last });
            let before = chain_at(&cluster, place, last);
            let header =
                Header { proof: proof.clone().map(Box::new), ..header(genesis, (own, term), prev, before, &[]) };
            let vote = WireVote { term, node: cluster.nodes[liar].up().status().raft_id, committed: true };
            for header in [None, Some(Box::new(header))] {
                let message = RaftMessage::Append { vote, prev, entries: Vec::new(), commit: None, header };
                let frame = codec::encode(&RaftFrame { target: status.raft_id, message });
                let answer = cluster.nodes[place].up().handle(key, Channel::Vote, &frame).await;
                let refused = answer.map(|answer| codec::decode::<RaftReply>(&answer).unwrap());
                assert_eq!(refused, Ok(RaftReply::WhoElectedYou), "{what}");
            }
        }
    }
    let last = cluster.propose((leader + 2) % 4, b"two").await.block;
    cluster.wait_certified(last).await;
    assert_eq!(lead_of(&cluster, leader), vote, "the leader was not disturbed");
    cluster.assert_no_trouble();
}

/// What a leader has sent in its term stays: not even with a good signature is something else taken for it, or what it did not sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_contradicts_itself_is_refused() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (place, seed) = ((leader + 1) % 3, u8::try_from(leader).unwrap() + 1);
    let vote = lead_of(&cluster, leader);
    let block = cluster.propose(leader, b"two").await.block;
    cluster.wait_applied(block).await;
    let (status, from) = (cluster.nodes[place].up().status(), cluster.nodes[leader].id());
    // Entries at and behind the block, and what is before them.
    let entry = |index, bytes: &[u8]| WireEntry {
        log: LogPosition { term: vote.term, index },
        content: WireContent::Block(bytes.to_vec().into()),
    };
    let at = |index| Some(LogPosition { term: vote.term, index });
    let send = |prev: u64, header: Header, entries: Vec<WireEntry>| {
        let message =
            RaftMessage::Append { vote, prev: at(prev), entries, commit: None, header: Some(Box::new(header)) };
        codec::encode(&RaftFrame { target: status.raft_id, message })
    };
    let before = chain_at(&cluster, place, block - 1);
    let signed = |prev: u64, before, entries: &[WireEntry]| {
        header(&cluster.genesis, (seed, vote.term), at(prev), before, entries)
    };
    let [other, more] = [entry(block, b"another"), entry(block + 1, b"more")];
    let here = chain_at(&cluster, place, block);
    let frames = [
        ("another block", send(block - 1, signed(block - 1, before, slice::from_ref(&other)), vec![other.clone()])),
        ("entries of another header", send(block, signed(block, here, &[other]), vec![more.clone()])),
        (
            "entries after another log",
            send(block, signed(block, Hash([7; 32]), slice::from_ref(&more)), vec![more.clone()]),
        ),
        ("a header of another member", {
            let seed = u8::try_from((leader + 2) % 3).unwrap() + 1;
            let header = header(&cluster.genesis, (seed, vote.term), at(block), here, slice::from_ref(&more));
            send(block, header, vec![more.clone()])
        }),
    ];
    for (what, frame) in frames {
        let answer = cluster.nodes[place].up().handle(from, Channel::Append, &frame).await;
        let taken = answer.map(|answer| codec::decode::<RaftReply>(&answer).unwrap());
        assert!(matches!(taken, Err(_) | Ok(RaftReply::AppendConflict)), "{what}: {taken:?}");
        assert_eq!(chain_at(&cluster, place, block), here, "{what}");
    }
    let last = cluster.propose(place, b"three").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    // What was refused may convict it, as far as the others are shown it.
    for node in &cluster.nodes {
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
}

/// One member answers all that a leader sends by naming a later term.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_names_later_terms_does_not_keep_a_vat_from_its_work() {
    goes_on_while_one_names_later_terms(Duration::ZERO).await;
}

/// Likewise, and all others are slower than it is: their votes wait for slow disks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_names_later_terms_at_once_ends_no_election_of_slow_members() {
    goes_on_while_one_names_later_terms(Timing::quick().heartbeat * 3).await;
}

/// `votes`: how long those of the others take.
async fn goes_on_while_one_names_later_terms(votes: Duration) {
    let cluster = Cluster::started(4, 3, parameters()).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let began = lead_of(&cluster, cluster.wait_for_leader().await).term;
    let (liar, named) = (cluster.nodes[3].id(), Arc::new(AtomicU64::new(0)));
    let (node, count) = (cluster.nodes[3].up().status().raft_id, Arc::clone(&named));
    cluster.hub.lie_in_answers(Box::new(move |from, _, channel, asked, answer| {
        let is_raft = from == liar && matches!(channel, Channel::Vote | Channel::Append);
        let decoded = if is_raft { codec::decode::<RaftFrame>(asked).ok() } else { None };
        let later = |vote: WireVote| WireVote { term: vote.term + 1, node, committed: false };
        let reply = match decoded.map(|frame| frame.message) {
            Some(RaftMessage::Append { vote, .. }) => RaftReply::HigherVote(later(vote), None),
            Some(RaftMessage::Vote { vote, .. }) => {
                RaftReply::Vote { vote: later(vote), granted: false, last: None, grant: None, better: None }
            }
            _ => return answer,
        };
        count.fetch_add(1, Ordering::SeqCst);
        codec::encode(&reply)
    }));
    cluster.hub.answer_late(Box::new(move |by, _, asked| match codec::decode(asked) {
        Ok(RaftFrame { message: RaftMessage::Vote { pre: false, .. }, .. }) if by != liar => votes,
        _ => Duration::ZERO,
    }));
    let mut last = 0;
    while named.load(Ordering::SeqCst) < 400 {
        last = cluster.propose(0, b"all the same").await.block;
    }
    for place in 0..3 {
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= last).then_some(())).await;
    }
    let ended = lead_of(&cluster, cluster.wait_for_leader().await).term;
    assert!(ended - began < 100, "{} terms for {} lies", ended - began, named.load(Ordering::SeqCst));
    for node in &cluster.nodes {
        assert_eq!(node.log.lock().unwrap().fault, None);
    }
}

/// A leader that lies can answer what it likes: it may have executed a log that it shows to nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_says_of_a_proposal_it_has_executed_itself() {
    let cluster = Cluster::started(3, 2, parameters()).await;
    let leader = cluster.wait_for_leader().await;
    let member = (leader + 1) % 3;
    let honest = cluster.propose(member, b"one").await;
    cluster.hub.lie_in_answers(Box::new(|_, _, channel, _, answer| match codec::decode::<ProposeReply>(&answer) {
        Ok(ProposeReply(results)) if channel == Channel::Propose => {
            let lie = |_| ForwardedResult::Done { block: 7_000, result: b"a lie".to_vec() };
            codec::encode(&ProposeReply(results.into_iter().map(lie).collect()))
        }
        _ => answer,
    }));
    let deceived = cluster.propose(member, b"two").await;
    let executed = cluster.nodes[member].up().status().applied;
    assert!(deceived.block > honest.block && deceived.block <= executed, "{deceived:?}");
    assert_ne!(deceived.result, b"a lie");
    assert_eq!(cluster.propose(leader, b"three").await.result.len(), deceived.result.len());
    // What it does not order at all is not done, whatever it says.
    let frames = [leader, (leader + 2) % 3].map(|place| cluster.nodes[place].id());
    cluster.hub.lie(Box::new(move |_, to, channel, frame| match channel {
        Channel::Propose if frames.contains(&to) => codec::encode(&ProposeFrame(vec![])),
        // Nor do the others hear of it.
        Channel::Share if matches!(codec::decode(&frame), Ok(ShareFrame::Wanted { .. })) => Vec::new(),
        _ => frame,
    }));
    cluster.hub.lie_in_answers(Box::new(|_, _, channel, _, answer| match channel {
        Channel::Propose => {
            codec::encode(&ProposeReply(vec![ForwardedResult::Done { block: 3, result: b"a lie".to_vec() }]))
        }
        _ => answer,
    }));
    let result = cluster.nodes[member].up().propose(b"four".to_vec(), cluster.timing.election_max * 2).await;
    assert_eq!(result, Err(ProposeError::Unknown));
}

//! What a member that leads, or says that it does, can't bring about with a single frame.

use std::sync::Arc;

use super::cluster::{Cluster, parameters, wait};
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, WireVote};
use crate::proof::membership::Parameters;
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotReply, SnapshotStep};
use crate::state::LogPosition;
use crate::state::change::Change;
use crate::storage::checkpoints::CheckpointRecord;
use crate::storage::{Family, Store, VatStore, read};
use crate::transport::{Channel, TransportError};
use quorate_ids::HostId;

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

/// The certificate covers a checkpoint's manifest, not the list of chunks that is sent along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_names_no_chunks_is_not_installed_without_them() {
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
    let liar = cluster.nodes[leader].id();
    let record = CheckpointRecord { chunks: Vec::new(), ..certified_record(&cluster, leader) };
    let block = record.block();
    let reply = tell(&cluster, away, liar, &SnapshotStep::Begin { chain: Vec::new(), record: Box::new(record) }).await;
    assert!(matches!(&reply, SnapshotReply::Missing(missing) if !missing.is_empty()), "{reply:?}");
    let reply = tell(&cluster, away, liar, &SnapshotStep::Install { block, vote: lead_of(&cluster, leader) }).await;
    assert!(matches!(&reply, SnapshotReply::Refused(_)), "{reply:?}");
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
    let beat = |vote| RaftMessage::Append { vote, prev: None, entries: Vec::new(), commit: None };
    let elect = |term, node| RaftMessage::Vote {
        vote: WireVote { term, node, committed: false },
        last: Some(LogPosition { term: vote.term, index: 1_000 }),
        transfer: true,
        pre: false,
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

//! What a member has signed and sent binds it, whatever its disk loses afterwards.

use std::sync::{Arc, Mutex};

use super::cluster::{Cluster, parameters, wait};
use super::*;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftReply, WireContent, WireEntry, WireVote};
use crate::state::LogPosition;
use crate::state::block::Block;
use crate::testing::signed_statements;
use crate::transport::Channel;

/// One member alone with a leader that lies. Of the other members it hears nothing, and they nothing of it.
struct Alone {
    cluster: Cluster,
    leader: usize,
    place: usize,
    /// The last entry that all members have.
    last: LogPosition,
    /// What the member has signed and sent.
    left: Arc<Mutex<Vec<Statement>>>,
}

impl Alone {
    async fn new() -> Alone {
        let cluster = Cluster::started(3, 2, parameters()).await;
        let block = cluster.propose(0, b"one").await.block;
        cluster.wait_certified(block).await;
        let leader = cluster.wait_for_leader().await;
        let place = (leader + 1) % 3;
        let last = wait("equal logs", || {
            let [one, other] = [leader, place].map(|place| cluster.nodes[place].up().status());
            (one.last_log == other.last_log).then_some(LogPosition { term: one.term, index: one.last_log })
        })
        .await;
        let (key, left) = (cluster.nodes[place].id(), Arc::<Mutex<Vec<Statement>>>::default());
        let sent = Arc::clone(&left);
        cluster.hub.lie(Box::new(move |from, to, channel, frame| {
            if from == key {
                sent.lock().unwrap().extend(signed_statements(channel, &frame, false));
            }
            // An empty frame is none.
            if from == key || to == key { Vec::new() } else { frame }
        }));
        Alone { cluster, leader, place, last, left }
    }

    /// The leader sends it commands in this term, each a block, and says that they are committed. Returns whether they were taken.
    async fn send(&self, term: u64, commands: &[&[u8]]) -> bool {
        let at = |place: usize| LogPosition { term, index: self.last.index + 1 + place as u64 };
        let block = |command: &&[u8]| Block { commands: vec![command.to_vec().into()], control: None };
        let entries = commands
            .iter()
            .enumerate()
            .map(|(place, command)| WireEntry { log: at(place), content: WireContent::Block(block(command).encode()) });
        let commit = commands.len().checked_sub(1).map(at);
        let vote = WireVote { term, node: self.cluster.nodes[self.leader].up().status().raft_id, committed: true };
        let (cluster, leader) = (&self.cluster, (vote, self.leader));
        let message = leading(cluster, leader, self.place, Some(self.last), entries.collect(), commit);
        let member = &self.cluster.nodes[self.place];
        wait("raft", || (member.up().status().last_log >= self.last.index).then_some(())).await;
        let frame = codec::encode(&RaftFrame { target: member.up().status().raft_id, message });
        let from = self.cluster.nodes[self.leader].id();
        match member.up().handle(from, Channel::Append, &frame).await {
            Ok(answer) => {
                assert!(matches!(codec::decode::<RaftReply>(&answer), Ok(RaftReply::AppendSuccess(_))));
                true
            }
            Err(error) => {
                assert!(error.to_string().contains("contradict what a threshold has acknowledged"), "{error}");
                false
            }
        }
    }

    /// The statement of the first of these blocks that has left.
    async fn share(&self, blocks: std::ops::Range<u64>) -> Option<Statement> {
        let member = &self.cluster.nodes[self.place];
        wait("a share, or a fault", || {
            let left = self.left.lock().unwrap();
            let found = left.iter().find(|statement| blocks.contains(&statement.block)).cloned();
            (found.is_some() || member.log.lock().unwrap().fault.is_some()).then_some(found)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_has_left_is_never_contradicted_after_a_power_cut() {
    let mut alone = Alone::new().await;
    let block = alone.last.index + 1;
    assert!(alone.send(alone.last.term, &[b"one story"]).await);
    let first = alone.share(block..block + 1).await.expect("it signs what it was told is committed");
    // The power is cut at once. Then it hears another story, of a later term, and what comes after it.
    alone.cluster.crash(alone.place).await;
    alone.cluster.start(alone.place).await;
    let refused = !alone.send(alone.last.term + 1, &[b"another story", b"and more"]).await;
    // It stops, or it goes on from the story that it knows.
    let later = if refused { None } else { alone.share(block + 1..block + 2).await };
    let left = alone.left.lock().unwrap();
    let of_block: Vec<&Statement> = left.iter().filter(|statement| statement.block == block).collect();
    assert!(of_block.iter().all(|statement| **statement == first), "it signed {of_block:?}, and then {later:?}");
}

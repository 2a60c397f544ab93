//! Raft's memberships are judged by the log before them, whether it is executed already or not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::authority::{OLD, forged_activations, forged_admissions, raft};
use super::cluster::{Cluster, parameters, wait};
use super::*;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, RaftReply, WireContent, WireEntry, WireVote};
use crate::raft::role::Role;
use crate::state::LogPosition;
use crate::state::block::{Block, Control, LogContent};
use crate::storage::{Family, Store, VatStore, Write};
use crate::transport::Channel;

fn block(control: Control) -> LogContent {
    LogContent::Block(Block::of_control(control).encode())
}

fn replacement() -> Change {
    Change::Replace { out: host(2), in_: member(9) }
}

/// Raft's memberships in the course of that replacement.
fn steps() -> [RaftMembership; 4] {
    let with = [&OLD[..], &[(4, 9)]].concat();
    [
        raft(&[&[1, 2, 3]], &with),
        raft(&[&[1, 2, 3], &[1, 3, 4]], &with),
        raft(&[&[1, 3, 4]], &with),
        raft(&[&[1, 3, 4]], &[(1, 1), (3, 3), (4, 9)]),
    ]
}

fn beginning() -> ReplicatedState {
    let mut state = ReplicatedState::of_genesis(&genesis(3, 2));
    state.raft_membership = raft(&[&[1, 2, 3]], &OLD);
    state
}

#[test]
fn a_change_is_foreseen_as_it_will_be_executed() {
    let (mut executed, mut foreseen) = (beginning(), beginning());
    let admitted = admission(&executed, replacement(), None, &[1, 3]);
    executed.admit(&admitted, 9).unwrap();
    let good = activation(&mut executed, &[1, 3]);
    executed.raft_membership = steps()[0].clone();
    executed.activate(&good).unwrap();
    let [called, joint, voters, gone] = steps();
    assert!(!foreseen.allows(&called));
    foreseen.foresee(9, &block(Control::Admit(admitted)));
    assert!(foreseen.allows(&called) && !foreseen.allows(&joint));
    foreseen.foresee(10, &LogContent::Raft(called));
    foreseen.foresee(11, &LogContent::Blank);
    foreseen.foresee(12, &block(Control::Activate(good)));
    let members = |state: &ReplicatedState| {
        let ReplicatedState { membership, previous_membership, raft_ids, next_raft_id, pending, .. } = state.clone();
        (membership, previous_membership, raft_ids, next_raft_id, pending)
    };
    assert_eq!(members(&foreseen), members(&executed));
    for step in [joint, voters, gone] {
        assert!(foreseen.allows(&step));
        foreseen.foresee(13, &LogContent::Raft(step.clone()));
        assert_eq!(foreseen.raft_membership, step);
    }
}

#[test]
fn nothing_is_foreseen_without_its_evidence() {
    let [_, joint, ..] = steps();
    let called = raft(&[&[1, 2, 3, 4]], &[&OLD[..], &[(4, 4), (5, 9)]].concat());
    for (what, forged) in forged_admissions(&beginning_of_four(), &replacement()) {
        let mut state = beginning_of_four();
        let before = state.encode();
        state.foresee(9, &block(Control::Admit(forged)));
        assert_eq!(state.encode(), before, "{what}");
        assert!(!state.allows(&called), "{what}");
    }
    let mut state = beginning();
    state.admit(&admission(&state, replacement(), None, &[1, 3]), 9).unwrap();
    let good = activation(&mut state, &[1, 3]);
    let before = state.encode();
    for (what, forged) in forged_activations(&state, &good, &[1, 3]) {
        state.foresee(12, &block(Control::Activate(forged.clone())));
        assert_eq!(state.encode(), before, "{what}");
        assert!(!state.allows(&joint), "{what}");
        // Where the record is not executed either, it is not known which history was certified; all the rest is.
        let mut unexecuted = ReplicatedState { admitted_statement: Hash::ZERO, ..state.clone() };
        unexecuted.foresee(12, &block(Control::Activate(forged)));
        assert_eq!(unexecuted.allows(&joint), what == "of another history", "{what}");
    }
    state.foresee(12, &LogContent::Raft(joint.clone()));
    assert_eq!(state.encode(), before, "a membership whose turn has not come");
    state.foresee(12, &block(Control::Activate(good)));
    assert!(state.allows(&joint));
}

fn beginning_of_four() -> ReplicatedState {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    state.raft_membership = raft(&[&[1, 2, 3, 4]], &[&OLD[..], &[(4, 4)]].concat());
    state
}

/// Where the change is activated, as soon as that was sent, and the place before it.
type Activated = Arc<Mutex<Option<(LogPosition, Option<LogPosition>)>>>;

/// What a leader's frames become: nothing that follows the activation of a change arrives, nor that the activation is committed.
fn cut_off(leader: HostId, activated: Activated) -> super::cluster::Lies {
    Box::new(move |sender, _, _, frame| {
        let decoded = if sender == leader { codec::decode(&frame).ok() } else { None };
        let Some(RaftFrame { target, message: RaftMessage::Append { vote, prev, entries, commit, header } }) = decoded
        else {
            return frame;
        };
        let mut activated = activated.lock().unwrap();
        let mut before = prev;
        for entry in &entries {
            if let WireContent::Block(bytes) = &entry.content
                && matches!(Block::decode(bytes).control, Some(Control::Activate(_)))
            {
                activated.get_or_insert((entry.log, before));
            }
            before = Some(entry.log);
        }
        let Some((at, before)) = *activated else { return frame };
        if entries.last().is_some_and(|last| last.log > at) || prev > Some(at) {
            // No frame: the receiver refuses it.
            return Vec::new();
        }
        let commit = if commit >= Some(at) { before } else { commit };
        codec::encode(&RaftFrame { target, message: RaftMessage::Append { vote, prev, entries, commit, header } })
    })
}

/// A cluster of three and a newcomer, whose leader has committed the activation of a change with one other member, who does not know
/// that; then it ordered that the newcomer votes, which nobody has; and then its power was cut. The third member was away all the
/// time. Returns the leader and the third; `None`: another one led meanwhile.
async fn powerless() -> Option<(Cluster, usize, usize)> {
    let mut cluster = Cluster::started(3, 2, parameters()).await;
    let newcomer = cluster.learner().await;
    let last = cluster.propose(0, b"one").await.block;
    for place in 0..3 {
        wait("certified", || (cluster.nodes[place].up().status().certified_block >= last).then_some(())).await;
    }
    let leader = cluster.wait_for_leader().await;
    let (away, activated) = ((leader + 2) % 3, Activated::default());
    cluster.hub.isolate(&cluster.nodes[away].member());
    cluster.hub.lie(cut_off(cluster.nodes[leader].id(), Arc::clone(&activated)));
    let change = Change::Add(cluster.nodes[newcomer].member());
    let handle = cluster.nodes[leader].up().clone();
    tokio::spawn(async move { handle.reconfigure(change, None, Duration::from_secs(30)).await });
    let ordered = wait("the newcomer's vote in the leader's log", || {
        let status = cluster.nodes[leader].up().status();
        let at = activated.lock().unwrap().map_or(u64::MAX, |(at, _)| at.index);
        (status.role != Role::Leader || status.last_log > at).then_some(status.role == Role::Leader)
    })
    .await;
    cluster.stop(leader).await;
    // The power was cut before the checkpoint of the new epoch was on disk, and what was noted of commitment.
    let store = VatStore::new(Arc::clone(&cluster.nodes[leader].store) as Arc<dyn Store>, cluster.genesis.vat_id());
    let (from, to) = store.bounds();
    let lost =
        vec![Write::Delete(Family::State, store.key(b"committed")), Write::DeleteRange(Family::Checkpoint, from, to)];
    store.write_synced(lost).unwrap();
    cluster.hub.lie(Box::new(|_, _, _, frame| frame));
    ordered.then_some((cluster, leader, away))
}

/// It has the longest log, so it leads again. It can commit nothing before the others have taken Raft's membership, and they cannot
/// execute what that follows from, since nobody knows that it is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_has_forgotten_what_is_committed_gets_on() {
    for _ in 0..10 {
        let Some((mut cluster, leader, away)) = powerless().await else { continue };
        cluster.start(leader).await;
        wait("its lead", || (cluster.nodes[leader].up().status().role == Role::Leader).then_some(())).await;
        cluster.hub.heal();
        let last = cluster.propose(away, b"two").await.block;
        cluster.wait_applied(last).await;
        for node in &cluster.nodes {
            wait("the epoch", || {
                let status = node.up().status();
                (status.epoch == 1 && status.certified_epoch == 1 && !status.voters_change).then_some(())
            })
            .await;
        }
        cluster.assert_equal_states().await;
        cluster.assert_no_trouble();
        return;
    }
    panic!("each time another member led");
}

/// Sends one member entries that nobody else gets, as a leader does whose power is cut at that moment: a replacement of the third
/// member up to the joint phase. Returns the last place.
async fn send_replacement(cluster: &Cluster, leader: usize, to: usize, newcomer: Member) -> LogPosition {
    let status = cluster.nodes[leader].up().status();
    let (first, term) = (status.last_log + 1, status.term);
    let seed = |place: usize| u8::try_from(place).unwrap() + 1;
    let seeds = [seed(leader), seed(to)];
    let third = cluster.nodes[(0..3).find(|place| ![leader, to].contains(place)).unwrap()].id();
    let mut state = ReplicatedState::of_genesis(&cluster.genesis);
    let change = Change::Replace { out: third, in_: newcomer.clone() };
    let admitted = admission(&state, change, None, &seeds);
    state.admit(&admitted, first).unwrap();
    let good = activation(&mut state, &seeds);
    let called = state.raft_membership.clone();
    state.activate(&good).unwrap();
    let joint =
        RaftMembership { configs: vec![called.configs[0].clone(), state.voters()], nodes: called.nodes.clone() };
    let blocks = |control| WireContent::Block(Block::of_control(control).encode());
    let contents = [
        blocks(Control::Admit(admitted)),
        WireContent::Membership(called),
        blocks(Control::Activate(good)),
        WireContent::Membership(joint),
    ];
    let at = |index| LogPosition { term, index };
    let entries: Vec<WireEntry> =
        contents.into_iter().zip(first..).map(|(content, index)| WireEntry { log: at(index), content }).collect();
    let (vote, last) = (WireVote { term, node: status.raft_id, committed: true }, at(first + 3));
    let message = leading(cluster, (vote, leader), to, Some(at(first - 1)), entries, Some(at(first - 1)));
    let frame = codec::encode(&RaftFrame { target: cluster.nodes[to].up().status().raft_id, message });
    let from = cluster.nodes[leader].id();
    let answer = cluster.nodes[to].up().handle(from, Channel::Append, &frame).await.unwrap();
    assert!(matches!(codec::decode::<RaftReply>(&answer), Ok(RaftReply::AppendSuccess(_))));
    last
}

/// Openraft once kept such a membership in force though a checkpoint had replaced the entry that it came from (its issue 1808): the
/// member counted votes of a quorum that never was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_that_a_checkpoint_supersedes_is_forgotten() {
    let mut cluster = Cluster::started(3, 2, Parameters { checkpoint_commands: 10, ..parameters() }).await;
    let last = cluster.propose(0, b"one").await.block;
    cluster.wait_certified(last).await;
    let leader = cluster.wait_for_leader().await;
    let (lagging, third) = ((leader + 1) % 3, (leader + 2) % 3);
    wait("all entries", || {
        let last = |place: usize| cluster.nodes[place].up().status().last_log;
        (last(leader) == last(lagging)).then_some(())
    })
    .await;
    cluster.hub.isolate(&cluster.nodes[lagging].member());
    let newcomer = Member { addresses: vec![], ..member(60) };
    let phantom = send_replacement(&cluster, leader, lagging, newcomer.clone()).await;
    wait("the phantom in force", || {
        let replica = cluster.nodes[lagging].up();
        (replica.permits(newcomer.key, Channel::Append) && replica.status().last_log == phantom.index).then_some(())
    })
    .await;
    // The power comes back, and the others go on in a later term.
    cluster.stop(leader).await;
    cluster.start(leader).await;
    wait("a later term", || {
        let leads = |place: &usize| {
            let status = cluster.nodes[*place].up().status();
            status.role == Role::Leader && status.term > phantom.term
        };
        [leader, third].iter().any(leads).then_some(())
    })
    .await;
    let mut last = 0;
    for _ in 0..60 {
        last = cluster.propose(third, b"while one is away").await.block;
    }
    for place in [leader, third] {
        wait("a purge", || (cluster.nodes[place].up().status().purged > phantom.index).then_some(())).await;
    }
    cluster.hub.heal();
    cluster.wait_applied(last).await;
    assert!(!cluster.nodes[lagging].log.lock().unwrap().restored.is_empty(), "by a checkpoint");
    wait("what raft says now", || {
        let replica = cluster.nodes[lagging].up();
        (!replica.permits(newcomer.key, Channel::Append) && !replica.status().voters_change).then_some(())
    })
    .await;
    // Its votes, and those for it, count among the members.
    cluster.stop(leader).await;
    let last = cluster.propose(lagging, b"without the leader").await.block;
    cluster.wait_certified(last).await;
    cluster.assert_equal_states().await;
    cluster.assert_no_trouble();
}

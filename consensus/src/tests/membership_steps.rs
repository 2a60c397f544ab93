use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::raft::RaftView;
use crate::replica::tasks::membership::{Certified, Step, members_vote, next_step};
use crate::state::ReplicatedState;
use crate::state::change::Change;

fn view(voters: &[u64], learners: &[(u64, u8)], matched: &[(u64, u64)]) -> RaftView {
    let mut nodes: BTreeMap<u64, Member> = voters.iter().map(|id| (*id, member(u8::try_from(*id).unwrap()))).collect();
    nodes.extend(learners.iter().map(|(id, seed)| (*id, member(*seed))));
    RaftView {
        configs: vec![voters.iter().copied().collect()],
        nodes,
        matched: matched.iter().copied().collect(),
        last_log: 1_000,
        ..RaftView::default()
    }
}

fn at(epoch: u64, block: u64) -> Certified {
    Certified { epoch, block }
}

/// Every step of a replacement, from whatever point a leader begins at.
#[test]
fn each_step_follows_from_where_things_stand() {
    let mut state = ReplicatedState::of_genesis(&genesis(3, 2));
    let voters = [1, 2, 3];
    let ids = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    assert_eq!(next_step(&state, at(0, 0), &view(&voters, &[], &[])), Step::Nothing);
    let change = Change::Replace { out: host(2), in_: member(9) };
    state.admit(&admission(&state, change, None, &[1, 3]), 50).unwrap();
    assert_eq!(next_step(&state, at(0, 0), &view(&voters, &[], &[])), Step::AddLearner(4, member(9)));
    assert_eq!(next_step(&state, at(0, 0), &view(&voters, &[(4, 9)], &[])), Step::Nothing);
    assert_eq!(next_step(&state, at(0, 0), &view(&voters, &[(4, 9)], &[(4, 500)])), Step::Nothing);
    // The newcomer has caught up, but who is to sign for its coming has not shown itself.
    assert_eq!(next_step(&state, at(0, 49), &view(&voters, &[(4, 9)], &[(4, 990)])), Step::Nothing);
    let activate = Step::Activate { epoch: 1, admitted: 50 };
    assert_eq!(next_step(&state, at(0, 50), &view(&voters, &[(4, 9)], &[(4, 990)])), activate);
    let good = crate::tests::activation(&mut state, &[1, 3]);
    state.activate(&good).unwrap();
    assert_eq!(next_step(&state, at(0, 0), &view(&voters, &[(4, 9)], &[])), Step::ChangeVoters(ids(&[1, 3, 4])));
    let mut joint = view(&voters, &[(4, 9)], &[]);
    joint.configs.push(ids(&[1, 3, 4]));
    assert!(!members_vote(&state, &joint) && !members_vote(&state, &view(&voters, &[(4, 9)], &[])));
    assert!(members_vote(&state, &view(&[1, 3, 4], &[(2, 2)], &[])), "whoever is out and learns decides nothing");
    assert_eq!(next_step(&state, at(0, 0), &joint), Step::ChangeVoters(ids(&[1, 3, 4])));
    // The old member is kept as a learner until the new epoch is certified: its signature may be needed.
    assert_eq!(next_step(&state, at(0, 55), &view(&[1, 3, 4], &[(2, 2)], &[])), Step::Nothing);
    assert_eq!(next_step(&state, at(1, 55), &view(&[1, 3, 4], &[(2, 2)], &[])), Step::RemoveNodes(ids(&[2])));
    assert_eq!(next_step(&state, at(1, 55), &view(&[1, 3, 4], &[], &[])), Step::Nothing);
    // The next change waits for the certificate of this epoch.
    state.admit(&admission(&state, Change::Threshold(3), None, &[1, 3, 9]), 60).unwrap();
    assert_eq!(next_step(&state, at(0, 0), &view(&[1, 3, 4], &[], &[])), Step::Nothing);
    assert_eq!(next_step(&state, at(1, 60), &view(&[1, 3, 4], &[], &[])), Step::Activate { epoch: 2, admitted: 60 });
}

#[test]
fn learners_that_nobody_wants_any_more_are_dropped() {
    let mut state = ReplicatedState::of_genesis(&genesis(3, 2));
    state.admit(&admission(&state, Change::Add(member(9)), None, &[1, 2]), 50).unwrap();
    state.admit(&admission(&state, Change::Cancel, None, &[1, 2]), 51).unwrap();
    let step = next_step(&state, at(0, 0), &view(&[1, 2, 3], &[(4, 9)], &[]));
    assert_eq!(step, Step::RemoveNodes([4].into_iter().collect()));
}

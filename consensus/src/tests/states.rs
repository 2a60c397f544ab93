use super::*;
use crate::proof::membership::MAX_CHAIN;
use crate::state::{BYTE_WORK, FREE_BYTES, SinceCheckpoint, state_root};

fn state(members: u8, threshold: u16) -> ReplicatedState {
    ReplicatedState::of_genesis(&genesis(members, threshold))
}

/// Has a change recorded that everybody needed approves of.
fn admit(state: &mut ReplicatedState, change: Change, block: u64) -> Result<(), String> {
    let admission = admission(state, change, None, &[1, 2, 3]);
    state.admit(&admission, block)
}

fn thresholds(members: u8, threshold: u16, change: Change, wanted: Option<u16>) -> Result<u16, String> {
    let mut state = state(members, threshold);
    let seeds: Vec<u8> = (1..=members).collect();
    state.admit(&admission(&state, change, wanted, &seeds), 9)?;
    Ok(state.pending.unwrap().target.threshold)
}

#[test]
fn thresholds_follow_the_members() {
    let remove = |seed| Change::Remove(host(seed));
    assert_eq!(thresholds(1, 1, Change::Add(member(9)), None), Ok(2));
    assert_eq!(thresholds(2, 2, Change::Add(member(9)), None), Ok(2));
    assert_eq!(thresholds(3, 2, Change::Add(member(9)), None), Ok(3));
    assert_eq!(thresholds(4, 3, Change::Add(member(9)), None), Ok(4), "one liar is borne as before");
    assert_eq!(thresholds(7, 5, Change::Add(member(9)), None), Ok(6));
    assert_eq!(thresholds(3, 3, remove(1), None), Ok(2));
    assert_eq!(thresholds(4, 3, remove(1), None), Ok(3));
    assert_eq!(thresholds(4, 3, remove(1), Some(2)), Ok(2));
    assert_eq!(thresholds(2, 2, remove(1), None), Ok(1));
    assert_eq!(thresholds(3, 2, Change::Threshold(3), None), Ok(3));
    assert!(thresholds(3, 2, Change::Threshold(1), None).is_err());
    assert!(thresholds(1, 1, remove(1), None).is_err());
    assert!(thresholds(31, 16, Change::Add(member(99)), None).is_err());
}

#[test]
fn one_change_at_a_time_and_raft_ids_only_once() {
    let mut state = state(3, 2);
    admit(&mut state, Change::Add(member(4)), 9).unwrap();
    assert_eq!(state.pending.as_ref().unwrap().raft_id, Some(4));
    assert!(admit(&mut state, Change::Add(member(5)), 10).is_err());
    let other_epoch = Activation { epoch: 2, ..activation(&mut state, &[1, 2]) };
    assert!(state.activate(&other_epoch).is_err());
    let stale = activation(&mut state, &[1, 2]);
    admit(&mut state, Change::Cancel, 11).unwrap();
    assert!(!state.raft_ids.contains_key(&host(4)));
    assert!(state.activate(&stale).is_err());
    admit(&mut state, Change::Replace { out: host(2), in_: member(4) }, 12).unwrap();
    assert_eq!(state.pending.as_ref().unwrap().raft_id, Some(5), "4 was given away already");
    assert!(state.activate(&stale).is_err(), "that was meant for the change that was given up");
    let good = activation(&mut state, &[1, 2]);
    let ended = state.activate(&good).unwrap();
    assert_eq!((ended.epoch, state.membership.epoch), (0, 1));
    assert_eq!(state.membership.members[1], member(4), "the newcomer has the place of whom it replaces");
    assert_eq!(state.raft_ids.into_iter().collect::<std::collections::BTreeSet<_>>(), {
        [(host(1), 1), (host(3), 3), (host(4), 5)].into_iter().collect()
    });
    assert_eq!(state.previous_membership, Some(ended));
}

#[test]
fn members_are_members_once() {
    let mut state = state(3, 2);
    assert!(admit(&mut state, Change::Add(member(2)), 9).is_err());
    assert!(admit(&mut state, Change::Replace { out: host(9), in_: member(4) }, 9).is_err());
    assert!(admit(&mut state, Change::Replace { out: host(1), in_: member(2) }, 9).is_err());
    assert!(admit(&mut state, Change::Remove(host(9)), 9).is_err());
    assert!(admit(&mut state, Change::Cancel, 9).is_err());
    assert_eq!(state.pending, None);
    assert_eq!(state.next_raft_id, 4);
}

#[test]
fn the_checkpoint_rule_counts_blocks_commands_and_work() {
    let parameters = genesis(1, 1).parameters;
    let since = |blocks, commands, work| SinceCheckpoint { blocks, commands, work };
    for (counts, due) in [((2, 3, 4), false), ((3, 0, 0), true), ((0, 4, 0), true), ((0, 0, 5), true)] {
        assert_eq!(since(counts.0, counts.1, counts.2).is_due(&parameters), due, "{counts:?}");
    }
}

/// A leader that lies could fill disks with what nobody takes in.
#[test]
fn large_blocks_bring_a_checkpoint_whatever_they_do() {
    let parameters = Parameters::default();
    let intervals = |bytes: usize, work: u64| {
        let (mut since, mut blocks) = (SinceCheckpoint::default(), 0);
        while !since.is_due(&parameters) {
            since.count(bytes, 1, work);
            blocks += 1;
        }
        blocks
    };
    let most = parameters.checkpoint_blocks as usize;
    assert_eq!(intervals(FREE_BYTES as usize, 0), most, "small blocks count as blocks");
    let large = 1 << 20;
    let blocks = intervals(large, 0);
    assert!(blocks * large < 128 << 20, "{blocks} blocks of 1 MiB");
    let work = (large as u64) * 2 * BYTE_WORK;
    assert_eq!(intervals(large, work), parameters.checkpoint_work.div_ceil(work) as usize, "work counts as ever");
}

#[test]
fn the_state_survives_its_encoding_and_all_of_it_is_in_the_root() {
    let mut state = state(3, 2);
    admit(&mut state, Change::Add(member(4)), 9).unwrap();
    let bytes = state.encode();
    assert_eq!(ReplicatedState::decode(&bytes).unwrap(), state);
    let root = state_root(&bytes, &Hash([1; 32]));
    assert_ne!(root, state_root(&bytes, &Hash([2; 32])));
    state.next_raft_id += 1;
    assert_ne!(root, state_root(&state.encode(), &Hash([1; 32])));
}

/// A longer chain than that is refused by whoever is shown it: the replica itself could not start again.
#[test]
fn members_are_changed_only_as_often_as_can_be_proven() {
    let mut state = state(3, 2);
    state.membership.epoch = MAX_CHAIN as u64 - 1;
    admit(&mut state, Change::Threshold(3), 9).unwrap();
    let good = activation(&mut state, &[1, 2]);
    state.activate(&good).unwrap();
    assert!(admit(&mut state, Change::Threshold(2), 10).is_err());
}

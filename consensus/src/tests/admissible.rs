use crate::order::admissible::FrameCheck;
use crate::order::frames::{RaftMessage, RaftReply, WireEntry, WireVote};
use crate::state::{LogPosition, RaftMembership};

fn at(term: u64, index: u64) -> Option<LogPosition> {
    Some(LogPosition { term, index })
}

fn leader(term: u64) -> WireVote {
    WireVote { term, node: 2, committed: true }
}

fn candidate(term: u64) -> WireVote {
    WireVote { committed: false, ..leader(term) }
}

/// Replica 1, in term 7, which knows of the log up to 40.
fn stand() -> FrameCheck {
    FrameCheck { id: 1, term: 7, committed: at(7, 40) }
}

/// An append of entries at these places: a membership at the first there is, and nothing at the others.
fn append(vote: WireVote, prev: Option<LogPosition>, places: &[(u64, u64)]) -> RaftMessage {
    let [blank, _, membership] = WireEntry::examples(RaftMembership::default());
    let entry = |(term, index): &(u64, u64)| {
        let kind = if *index == 0 { &membership } else { &blank };
        kind.at(LogPosition { term: *term, index: *index })
    };
    let entries = places.iter().map(entry).collect();
    RaftMessage::Append { vote, prev, entries, commit: at(7, 40), header: None }
}

#[test]
fn what_a_leader_and_a_candidate_say_passes() {
    let vote = |vote, pre| RaftMessage::Vote { vote, last: at(7, 44), transfer: false, pre, stand: None };
    let good = [
        append(leader(7), at(6, 40), &[(6, 41), (7, 42)]),
        append(leader(9), at(7, 44), &[]),
        append(leader(7), None, &[(0, 0), (1, 1)]),
        vote(candidate(8), false),
        vote(candidate(8), true),
        RaftMessage::Transfer { from: leader(7), to: 1, last: at(7, 44) },
    ];
    for message in good {
        assert_eq!(stand().message(&message), Ok(()), "{message:?}");
    }
    assert_eq!(stand().install(&leader(7), at(7, 50)), Ok(()));
    assert_eq!(stand().install(&leader(7), at(6, 30)), Ok(()), "one that comes late");
}

#[test]
fn what_no_rule_allows_does_not_pass() {
    let in_our_name = |vote: WireVote| WireVote { node: 1, ..vote };
    let vote = |vote, last| RaftMessage::Vote { vote, last, transfer: true, pre: false, stand: None };
    let bad = [
        ("a gap", append(leader(7), at(7, 40), &[(7, 42)])),
        ("a gap inside", append(leader(7), at(7, 40), &[(7, 41), (7, 43)])),
        ("a gap at the beginning", append(leader(7), None, &[(7, 5)])),
        ("an earlier term after a later one", append(leader(7), at(7, 40), &[(6, 41)])),
        ("an entry of a later term", append(leader(7), at(7, 40), &[(8, 41)])),
        ("the last index there is", append(leader(7), at(7, u64::MAX), &[(7, 0)])),
        ("no election", append(candidate(8), at(7, 40), &[])),
        ("an election by one", vote(leader(8), at(7, 40))),
        ("our name, as leader", append(in_our_name(leader(8)), at(7, 40), &[])),
        ("our name, as candidate", vote(in_our_name(candidate(8)), at(7, 40))),
        ("the last term there is", vote(candidate(u64::MAX), at(7, 40))),
        ("the same, of a leader", append(leader(u64::MAX), at(7, 40), &[])),
        ("a log of the future", vote(candidate(8), at(9, 40))),
        ("another first entry", append(leader(7), None, &[(7, 0), (7, 1)])),
        ("what comes after another first entry", append(leader(7), at(1, 0), &[(7, 1)])),
        ("a log of another first entry", vote(candidate(8), at(1, 0))),
    ];
    for (what, message) in bad {
        assert!(stand().message(&message).is_err(), "{what}");
    }
    let [blank, ..] = WireEntry::examples(RaftMembership::default());
    let entries = vec![blank.at(LogPosition { term: 0, index: 0 })];
    let without_voters = RaftMessage::Append { vote: leader(7), prev: None, entries, commit: None, header: None };
    assert!(stand().message(&without_voters).is_err(), "a log without voters");
    assert!(stand().install(&leader(7), at(8, 50)).is_err());
    assert!(stand().install(&candidate(8), at(7, 50)).is_err());
    assert!(stand().install(&leader(9), at(8, 40)).is_err(), "another history than the one that was executed");
}

#[test]
fn answers_are_judged_by_what_was_asked() {
    let asked = append(leader(7), at(7, 40), &[(7, 41), (7, 42)]);
    let answer = |reply| stand().reply(&asked, &reply);
    assert_eq!(answer(RaftReply::AppendSuccess(Vec::new())), Ok(()));
    assert_eq!(answer(RaftReply::AppendPartial(at(7, 41))), Ok(()));
    assert_eq!(answer(RaftReply::AppendConflict), Ok(()));
    assert_eq!(answer(RaftReply::HigherVote(candidate(9), None)), Ok(()));
    assert!(answer(RaftReply::AppendPartial(at(7, 43))).is_err());
    assert!(answer(RaftReply::HigherVote(candidate(u64::MAX), None)).is_err());
    assert!(answer(RaftReply::HigherVote(WireVote { node: 1, ..leader(9) }, None)).is_err());
    assert!(stand().reply(&append(leader(7), None, &[]), &RaftReply::AppendConflict).is_err());
}

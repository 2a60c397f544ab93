//! The log's time: what bounds it, whoever proposes it.

use super::*;
use crate::error::CertificateError;
use crate::proof::clock::{ClockStatement, MAX_TIME_MS, time_of};
use crate::proof::survival::survival;
use crate::state::block::Tick;

fn clock(present: &Membership, seed: u8, ms: u64) -> ClockStatement {
    ClockStatement::sign(&key(seed), present, ms)
}

fn tick(present: &Membership, clocks: &[(u8, u64)]) -> Tick {
    Tick { clocks: clocks.iter().map(|(seed, ms)| clock(present, *seed, *ms)).collect() }
}

/// Ticks that lack what authorises them, of a vat of four members of which three sign, and so two state the time. Each names a time far
/// ahead of what honest members (2, 3 and 4) have stated, which is `honest_ms` or earlier.
pub(super) fn forged_ticks(state: &ReplicatedState, honest_ms: u64) -> Vec<(&'static str, Tick)> {
    let present = &state.membership;
    let far = honest_ms + 3_600_000;
    let own = clock(present, 1, far);
    let named = |seed: u8| ClockStatement { signature: MemberSignature { key: host(seed), ..own.signature }, ..own };
    let with = |other: ClockStatement| Tick { clocks: vec![own, other] };
    let elsewhere = Membership { vat: quorate_ids::VatId([9; 32]), ..present.clone() };
    let later = Membership { epoch: present.epoch + 1, ..present.clone() };
    vec![
        ("no clock", Tick { clocks: vec![] }),
        ("its own clock alone", Tick { clocks: vec![own] }),
        ("its own clock twice", with(own)),
        ("its own clock at two times", with(clock(present, 1, far + 1))),
        ("its own in another's name", with(named(2))),
        ("a stranger's", with(clock(present, 77, far))),
        ("another's of another vat", with(clock(&elsewhere, 2, far))),
        ("another's of another epoch", with(clock(&later, 2, far))),
        ("another's with a later time", with(ClockStatement { ms: far, ..clock(present, 2, honest_ms) })),
        ("another's with a signature of something else", with(ClockStatement { ms: far, signature: sign(2, b"x") })),
        ("times that are none", tick(present, &[(1, MAX_TIME_MS + 1), (2, u64::MAX)])),
    ]
}

#[test]
fn as_many_state_the_time_as_makes_one_of_them_honest_and_as_are_there() {
    let cases =
        [((1, 1), 1), ((2, 2), 2), ((3, 2), 2), ((3, 3), 3), ((4, 3), 2), ((5, 3), 3), ((7, 5), 3), ((31, 16), 16)];
    for ((members, threshold), wanted) in cases {
        assert_eq!(genesis(members, threshold).membership().one_is_honest(), wanted, "{threshold} of {members}");
    }
    for members in 1..=31_u8 {
        for threshold in members / 2 + 1..=members {
            let figures = survival(members.into(), threshold.into());
            let needed = genesis(members, threshold.into()).membership().one_is_honest();
            assert!(needed > figures.liars, "{threshold} of {members}: those who may lie could hasten time");
            assert!(needed > figures.crashes, "{threshold} of {members}: those who may be away could hasten time");
            assert!(needed + figures.crashes <= members.into(), "{threshold} of {members}: too few would be left");
        }
    }
}

#[test]
fn the_time_is_the_earliest_of_enough_statements_and_never_goes_back() {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    let present = state.membership.clone();
    for (clocks, after) in [
        (&[(1, 1_000), (2, 900)][..], 900),
        (&[(2, 950), (1, 9_000)], 950),
        (&[(1, 9_000), (2, 940)], 950),
        (&[(1, 9_000), (3, 950)], 950),
        (&[(1, 2_000), (3, 2_000), (4, 1_500)], 1_500),
    ] {
        let before = state.now_ms;
        let told = state.tick(&tick(&present, clocks));
        assert_eq!((told.is_ok(), state.now_ms), (after > before, after), "{clocks:?}");
    }
    // One that is behind, in order or not, holds the time back and does nothing else.
    assert_eq!(time_of(&present, &tick(&present, &[(1, 5), (2, 7)]).clocks), Ok(5));
    let few = CertificateError::BelowThreshold { found: 1, needed: 2 };
    assert_eq!(time_of(&present, &tick(&present, &[(1, 5)]).clocks), Err(few));
    state.tick(&tick(&present, &[(1, MAX_TIME_MS), (2, MAX_TIME_MS)])).expect("the last time there is");
    state.tick(&tick(&present, &[(1, MAX_TIME_MS), (2, MAX_TIME_MS)])).expect_err("and nothing after it");
}

#[test]
fn one_member_cannot_hasten_time() {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    let present = state.membership.clone();
    state.tick(&tick(&present, &[(2, 1_000), (3, 1_000)])).unwrap();
    let before = state.encode();
    for (what, forged) in forged_ticks(&state, 1_000) {
        state.tick(&forged).expect_err(what);
        assert_eq!(state.encode(), before, "{what}");
    }
    // With what an honest member has stated, its own time counts for nothing: neither now nor later.
    state.tick(&tick(&present, &[(1, u64::MAX / 2), (2, 1_000)])).expect_err("no time at all");
    state.tick(&tick(&present, &[(1, 1_000_000), (2, 1_001)])).unwrap();
    assert_eq!(state.now_ms, 1_001);
}

#[test]
fn statements_of_one_epoch_say_nothing_in_the_next() {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    let old = tick(&state.membership, &[(1, 5_000), (2, 5_000)]);
    state.admit(&admission(&state, Change::Threshold(4), None, &[1, 2, 3]), 5).unwrap();
    let begin = activation(&mut state, &[1, 2, 3]);
    state.activate(&begin).unwrap();
    state.tick(&old).expect_err("of the epoch before");
    let present = state.membership.clone();
    state.tick(&tick(&present, &[(1, 5_000), (2, 5_000), (3, 5_000)])).expect_err("now four state it");
    state.tick(&tick(&present, &[(1, 5_000), (2, 5_000), (3, 5_000), (4, 4_000)])).unwrap();
    assert_eq!(state.now_ms, 4_000);
}

//! The counterexamples C1 to C14 of the design, each as a test: with the rule planted away it comes about, with the rule it does not.
//!
//! Some are scripts, of which steps that the rules do not allow are left out; the others are walks with the seed that finds them.

use super::walk::{Properties, SAFETY, replay, walk};
use super::world::{Action, Scope, Violation, World, liars_entry};
use super::{EPOCHS, FINALS, FOUR, POWER, SEVEN, live};
use crate::chain::Head;
use crate::plants::{Plant, plant};

/// A line of a script. Certificates are named by what they are of.
#[derive(Clone)]
enum Line {
    Do(Action),
    /// A member learns the order certificate of (term, index).
    Learn(usize, u64, u64),
    /// A member learns the certificate of a block.
    Certify(usize, u64),
    /// The liar stands, and shows the order certificate of (term, index).
    Show(u64, u64),
}

use Action::{HandOver, Join, LiarStands, Stand, Switch};
use Line::{Certify, Do, Learn, Show};

fn hear(term: u64, voter: usize) -> Line {
    Do(Action::Hear { term, voter })
}

/// Entries of the leader of a term, as letters with their terms: `1h2x`.
fn entries(term: u64, to: usize, text: &str) -> Line {
    entries_after(term, to, 0, text)
}

/// The same, of which the first are not sent.
fn entries_after(term: u64, to: usize, prev: usize, text: &str) -> Line {
    let bytes = text.as_bytes();
    let head = |pair: &[u8]| Head { term: u64::from(pair[0] - b'0'), content: quorate_ids::Hash([pair[1]; 32]) };
    Do(Action::Entries { term, to, prev, heads: bytes.chunks(2).map(head).collect() })
}

/// The action that a line stands for now, if there is one.
fn action(world: &World, line: &Line) -> Option<Action> {
    let order = |term: u64, index: u64| world.order_keys().into_iter().find(|key| (key.1, key.2) == (term, index));
    match *line {
        Do(ref action) => Some(action.clone()),
        Learn(to, term, index) => order(term, index).map(|order| Action::Learn { to, order }),
        Show(term, index) => order(term, index).map(|order| LiarStands(Some(order))),
        Certify(to, block) => {
            let share = world.certified().into_iter().find(|share| share.block == block);
            share.map(|share| Action::Certify { to, share })
        }
    }
}

/// Goes through a script, as far as each step is possible.
fn run(scope: Scope, script: &[Line]) -> Result<(), Violation> {
    let (mut world, mut trace) = (World::new(scope), Vec::new());
    for line in script {
        let Some(action) = action(&world, line) else { continue };
        if let Some(checked) = world.perform(&action) {
            trace.push(action);
            checked?;
        }
        live::check_followed(&world)?;
    }
    replay(scope, &trace, SAFETY).map_or(Ok(()), |(_, violation)| Err(violation))
}

#[track_caller]
fn only_with(broken: Plant, scope: Scope, script: &[Line]) {
    if let Err(violation) = run(scope, script) {
        panic!("without a planted error: {}", violation.0);
    }
    let _planted = plant(broken);
    let found = run(scope, script).expect_err("the planted error is not found");
    println!("{broken:?}: script of {} lines: {}", script.len(), found.0);
}

/// How many seeds are tried: changes of the rules may move what one seed does.
const SEEDS: u64 = 3000;

#[track_caller]
fn found_from(broken: Plant, scope: Scope, seed: u64, properties: Properties) {
    let _planted = plant(broken);
    let found = (seed..seed + SEEDS).find(|seed| walk(scope, *seed, 80, properties).is_err());
    assert!(found.is_some(), "{broken:?} is not found by seeds from {seed} on");
    println!("{broken:?}: seed {}", found.unwrap_or_default());
}

#[test]
fn c01_an_acknowledgement_is_of_the_leaders_term_and_of_its_own_entries() {
    found_from(Plant::AckEntryTerm, FOUR, 0, SAFETY);
    found_from(Plant::AckOlderEntries, FOUR, 0, SAFETY);
}

#[test]
fn c02_within_a_term_nothing_is_cut() {
    found_from(Plant::NoFreeze, FOUR, 0, SAFETY);
    only_with(
        Plant::NoFreeze,
        FOUR,
        // The cut is at an older entry, and those of this term are behind it.
        &[
            Do(LiarStands(None)),
            Do(LiarStands(None)),
            hear(2, 0),
            hear(2, 1),
            entries(2, 0, "1x2x"),
            entries(2, 0, "2x2x"),
        ],
    );
}

#[test]
fn c02_nothing_that_was_staged_cuts_what_came_later_in_the_term() {
    only_with(
        Plant::StageOutlives,
        FINALS,
        &[
            Do(Stand(2)),
            hear(1, 0),
            entries(1, 1, "1h"),
            Learn(1, 1, 1),
            Do(LiarStands(None)),
            hear(2, 0),
            hear(2, 2),
            entries(2, 1, "1y"),
            entries(2, 1, "2y2x"),
            entries_after(2, 1, 1, "1y2x"),
        ],
    );
}

#[test]
fn c03_a_certificate_is_of_one_term() {
    let script = [
        Do(Stand(1)),
        hear(1, 0),
        entries(1, 0, "1h"),
        Learn(0, 1, 1),
        Do(LiarStands(None)),
        hear(2, 2),
        hear(2, 1),
        entries(2, 2, "2y"),
        entries(2, 0, "2y"),
        Learn(1, 1, 1),
        Do(Stand(1)),
        hear(3, 2),
        entries(3, 2, "1h3h"),
        Learn(2, 3, 2),
        // The liar shows its order certificate of term 2 only now.
        Show(2, 1),
        hear(4, 0),
        hear(4, 1),
        entries(4, 0, "2y4x"),
        entries(4, 1, "2y4x"),
        Learn(0, 4, 2),
        Learn(1, 4, 2),
    ];
    only_with(Plant::MixedTerms, FOUR, &script);
}

/// Carries out one line, whatever comes of it.
fn step_of(world: &mut World, line: &Line) {
    if let Some(action) = action(world, line) {
        let _ = world.perform(&action);
    }
}

#[test]
fn c04_nothing_is_shared_after_a_vote_for_a_later_term() {
    found_from(Plant::ShareAfterGrant, FOUR, 0, SAFETY);
}

#[test]
fn c05_a_leader_builds_on_the_base_of_its_election() {
    found_from(Plant::RaftOrder, FOUR, 0, SAFETY);
    found_from(Plant::NoBase, FOUR, 500, SAFETY);
}

#[test]
fn c06_a_refusal_carries_the_better_order() {
    // 1 has led, and has a longer log than 0, which alone holds an order certificate.
    let told = || {
        let mut world = World::new(Scope { finals: true, ..FOUR });
        let content = liars_entry(0);
        for line in
            [Do(Stand(1)), hear(1, 0), entries(1, 0, "1h"), Learn(0, 1, 1), Do(Action::Propose { leader: 1, content })]
        {
            step_of(&mut world, &line);
        }
        let before = world.node(1).map(|node| node.member.durable().order.position.term);
        assert_eq!(before, Some(0));
        world.scope.liars = 0;
        assert!(!live::elect(&mut world, 1), "0 holds a higher order");
        world.node(1).map(|node| node.member.durable().order.position.term)
    };
    assert_eq!(told(), Some(1));
    let _planted = plant(Plant::RefusalWithoutOrder);
    assert_eq!(told(), Some(0));
}

#[test]
fn c07_entries_without_proof_cut_nothing_that_is_proven() {
    found_from(Plant::UnprovenCutsLock, FOUR, 0, SAFETY);
    // Nor do they make a member stop: one liar could stop all others.
    only_with(
        Plant::UnprovenFault,
        FINALS,
        &[
            Do(LiarStands(None)),
            hear(1, 0),
            hear(1, 1),
            entries(1, 0, "1x"),
            entries(1, 1, "1x"),
            Learn(0, 1, 1),
            Learn(1, 1, 1),
            Certify(0, 1),
            Show(1, 1),
            hear(2, 2),
            hear(2, 0),
            entries(2, 0, "1y"),
        ],
    );
}

#[test]
fn c08_statements_of_different_terms_convict_nobody() {
    found_from(Plant::StatementsWithoutTerm, FOUR, 0, SAFETY);
    found_from(Plant::AmnesiaWithoutSince, FOUR, 0, SAFETY);
}

#[test]
fn c09_the_next_epoch_begins_with_a_certificate() {
    only_with(
        Plant::SwitchUncertified,
        EPOCHS,
        &[
            Do(LiarStands(None)),
            hear(1, 1),
            hear(1, 2),
            entries(1, 1, "1a"),
            entries(1, 2, "1a"),
            Do(LiarStands(None)),
            hear(2, 2),
            hear(2, 0),
            entries(2, 2, "2y"),
            entries(2, 0, "2y"),
            Learn(2, 2, 1),
            Learn(0, 2, 1),
            Learn(1, 1, 1),
            Do(Switch(1)),
            Do(Join { shown_by: 1 }),
            Do(LiarStands(None)),
            hear(3, 1),
            hear(3, 3),
            entries(3, 1, "3x"),
            entries(3, 3, "3x"),
            Learn(1, 3, 2),
            Learn(3, 3, 2),
        ],
    );
}

/// An epoch that ends in term 1 under the liar, after 1 has acknowledged what comes behind its last block.
fn an_epoch_that_ends() -> Vec<Line> {
    vec![
        Do(LiarStands(None)),
        hear(1, 1),
        hear(1, 2),
        entries(1, 1, "1a"),
        entries(1, 2, "1a"),
        Learn(1, 1, 1),
        Learn(2, 1, 1),
        Certify(1, 1),
        Certify(2, 1),
        Do(HandOver { from: 1, to: 2 }),
        Do(HandOver { from: 2, to: 1 }),
        Do(HandOver { from: 4, to: 1 }),
        Do(HandOver { from: 4, to: 2 }),
        entries(1, 1, "1a1x"),
        Do(Switch(1)),
        Do(Switch(2)),
        Do(Join { shown_by: 1 }),
    ]
}

#[test]
fn c09_signatures_are_of_one_epoch() {
    let mut script = an_epoch_that_ends();
    script.push(entries(1, 1, "1y"));
    only_with(Plant::EpochNotSigned, EPOCHS, &script);
}

#[test]
fn the_next_epoch_goes_on_with_its_own_members() {
    let mut world = World::new(EPOCHS);
    for line in an_epoch_that_ends() {
        step_of(&mut world, &line);
    }
    let next: Vec<_> = world.live_nodes().map(|(_, node)| node.member.epoch().number).collect();
    assert_eq!(next, [0, 1, 1, 1]);
    for line in
        [Do(Stand(2)), hear(2, 3), hear(2, 1), entries(2, 3, "2h"), Learn(2, 2, 2), Learn(3, 2, 2), Certify(3, 2)]
    {
        step_of(&mut world, &line);
    }
    let certified = world.node(3).map(|node| node.member.durable().certified);
    assert_eq!(certified, Some(2), "the newcomer and the others certify");
}

#[test]
fn c10_the_next_membership_is_signed_after_its_certificate() {
    found_from(Plant::MembershipEarly, EPOCHS, 0, SAFETY);
}

#[test]
fn c11_the_commit_index_is_cut_to_the_own_log() {
    found_from(Plant::ClampWithoutChain, FOUR, 0, SAFETY);
}

#[test]
fn c13_what_is_signed_is_on_disk_before() {
    found_from(Plant::LockUnsynced, POWER, 0, SAFETY);
    found_from(Plant::AckBeforeFlush, POWER, 0, SAFETY);
    found_from(Plant::GrantUnsynced, POWER, 0, SAFETY);
    found_from(
        Plant::LeaderRestore,
        Scope { finals: true, ..POWER },
        0,
        Properties { progress: false, followed: false },
    );
}

#[test]
fn leaders_show_votes_of_a_threshold() {
    found_from(Plant::GrantsNotDemanded, FOUR, 0, SAFETY);
    found_from(Plant::MajorityElects, SEVEN, 0, SAFETY);
}

#[test]
fn an_honest_leader_is_followed_by_those_who_hold_another_order() {
    only_with(
        Plant::LockRefusal,
        FOUR,
        &[
            Do(Stand(1)),
            hear(1, 0),
            entries(1, 0, "1h"),
            Learn(0, 1, 1),
            Do(LiarStands(None)),
            hear(2, 2),
            hear(2, 1),
            entries(2, 1, "2y"),
            entries(2, 2, "2y"),
            Do(Stand(2)),
            hear(3, 1),
        ],
    );
}

#[test]
fn a_block_is_shared_again_in_each_term() {
    found_from(Plant::ShareOncePerBlock, FOUR, 0, SAFETY);
}

#[test]
fn a_checkpoint_is_the_order_that_its_certificate_proves() {
    found_from(Plant::CheckpointForgets, FINALS, 2600, SAFETY);
    found_from(Plant::CheckpointKeepsTerm, FINALS, 0, SAFETY);
}

//! The order protocol, checked by machine: random walks first, then small worlds in all their states, and the same with errors planted,
//! each of which must be found.

mod acting;
mod complaints;
mod explore;
mod keys;
mod live;
mod node;
mod scenarios;
mod walk;
mod world;

use crate::plants::{Plant, plant};
use explore::explore;
use walk::{ALL, Properties, SAFETY, show, shrink, walk};
use world::Scope;

const FOUR: Scope = Scope::small(4, 3);
const POWER: Scope = Scope { crash: true, ..Scope::small(4, 3) };
const FINALS: Scope = Scope { finals: true, ..Scope::small(5, 5) };
const SEVEN: Scope = Scope { members: 7, threshold: 5, liars: 2, ..Scope::small(4, 3) };
const HONEST: Scope = Scope { members: 3, threshold: 2, liars: 0, crash: true, finals: true, ..Scope::small(5, 4) };
const EPOCHS: Scope = Scope { epochs: true, finals: true, ..Scope::small(5, 4) };

/// Returns how many walks of each kind: `make order-check WALKS=n` makes more.
fn walks(few: u64) -> u64 {
    std::env::var("QUORATE_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(few)
}

fn walk_all(name: &str, scope: Scope, steps: usize, few: u64, properties: Properties) {
    let began = std::time::Instant::now();
    for seed in 0..walks(few) {
        if let Err((trace, violation)) = walk(scope, seed, steps, properties) {
            let (trace, _) = shrink(scope, trace, properties);
            panic!("{name}, seed {seed}: {}\n{}", violation.0, show(&trace));
        }
    }
    println!("{name}: {} walks of {steps} steps, {:.1} s", walks(few), began.elapsed().as_secs_f32());
}

#[test]
fn walks_with_one_liar_of_four() {
    walk_all("4@3", FOUR, 60, 300, ALL);
    walk_all("4@3, forged entries", Scope { forge: true, ..FOUR }, 60, 300, SAFETY);
}

#[test]
fn walks_with_power_cuts() {
    walk_all("4@3, power cuts", POWER, 80, 300, SAFETY);
}

#[test]
fn walks_with_certificates_and_checkpoints() {
    walk_all("4@3, checkpoints", FINALS, 80, 300, SAFETY);
    walk_all("4@3, checkpoints, power cuts", Scope { crash: true, ..FINALS }, 100, 300, SAFETY);
}

#[test]
fn walks_with_two_liars_of_seven() {
    walk_all("7@5", SEVEN, 90, 200, SAFETY);
}

#[test]
fn walks_without_liars_undo_nothing() {
    walk_all("3@2, no liar", HONEST, 80, 300, SAFETY);
}

#[test]
fn walks_over_the_end_of_an_epoch() {
    walk_all("4@3, two epochs", EPOCHS, 100, 300, SAFETY);
}

/// Returns where each planted error is looked for; those that are missing need a script of their own.
fn hunting_ground(broken: Plant) -> Option<(Scope, Properties)> {
    match broken {
        Plant::LockUnsynced | Plant::AckBeforeFlush | Plant::GrantUnsynced | Plant::LeaderRestore => {
            Some((POWER, SAFETY))
        }
        Plant::ShareOncePerBlock => Some((FOUR, ALL)),
        Plant::CheckpointForgets | Plant::CheckpointKeepsTerm => Some((FINALS, SAFETY)),
        Plant::MajorityElects => Some((SEVEN, SAFETY)),
        Plant::MembershipEarly => Some((EPOCHS, SAFETY)),
        Plant::MixedTerms | Plant::RefusalWithoutOrder | Plant::EpochNotSigned | Plant::SwitchUncertified => None,
        Plant::BanAsRefusal | Plant::AnyProgress | Plant::StageOutlives | Plant::LockRefusal | Plant::UnprovenFault => {
            None
        }
        _ => Some((FOUR, SAFETY)),
    }
}

/// Hunts each planted error and prints its shortest trace: for `make order-check`. The tests of [`scenarios`] find each again.
fn hunt(broken: Plant, seeds: u64) {
    let Some((scope, properties)) = hunting_ground(broken) else { return };
    let _planted = plant(broken);
    let began = std::time::Instant::now();
    match (0..seeds).find_map(|seed| walk(scope, seed, 80, properties).err().map(|found| (seed, found))) {
        Some((seed, (trace, _))) => {
            let (trace, violation) = shrink(scope, trace, properties);
            let seconds = began.elapsed().as_secs_f32();
            println!(
                "{broken:?}: seed {seed}, {} actions, {seconds:.1} s: {}\n{}",
                trace.len(),
                violation.0,
                show(&trace)
            );
        }
        None => panic!("{broken:?} is not found by {seeds} walks"),
    }
}

/// Returns whether the larger scopes are wanted: `make order-check`.
fn thorough() -> bool {
    std::env::var_os("QUORATE_ORDER_CHECK").is_some()
}

#[test]
fn planted_errors_are_hunted() {
    // Each is found again by its own test in `scenarios`; here the shortest trace of each is made.
    let plants =
        if thorough() { &Plant::ALL[..] } else { &[Plant::NoFreeze, Plant::ShareAfterGrant, Plant::RaftOrder][..] };
    for broken in plants {
        hunt(*broken, walks(20_000).max(20_000));
    }
}

/// Most states of a larger scope that are looked at.
const MOST: usize = 5_000_000;

fn explore_all(name: &str, scope: Scope, breadth: bool, properties: Properties) {
    let began = std::time::Instant::now();
    let explored = explore(scope, MOST, breadth, true, properties);
    if let Some((trace, violation)) = explored.violation {
        panic!("{name}: {}\n{}", violation.0, show(&trace));
    }
    // Only the larger scopes may be cut short, and those are run depth first.
    assert!(explored.complete || !breadth, "{name}: more than {MOST} states");
    let how = if explored.complete { "all" } else { "the first" };
    println!("{name}: {how} {} states, {:.1} s", explored.states, began.elapsed().as_secs_f32());
}

#[test]
fn all_states_of_small_worlds() {
    explore_all("2 terms, 1 entry", Scope::small(2, 1), true, ALL);
    if thorough() {
        explore_all("3 terms, 1 entry", Scope::small(3, 1), false, ALL);
        explore_all("2 terms, 2 entries", Scope::small(2, 2), false, ALL);
        explore_all("2 terms, 1 entry, power cuts", Scope { crash: true, ..Scope::small(2, 1) }, false, SAFETY);
    }
}

/// What is found where states are one that differ only in what is over, and where they are not.
#[test]
fn what_is_over_hides_no_planted_error() {
    let plants =
        if thorough() { &Plant::ALL[..] } else { &[Plant::NoFreeze, Plant::ShareAfterGrant, Plant::NoBase][..] };
    for broken in plants {
        let _planted = plant(*broken);
        let found = |merges| explore(Scope::small(2, 1), 200_000, true, merges, SAFETY).violation.is_some();
        let (merged, whole) = (found(true), found(false));
        println!("{broken:?}: found {whole}, and {merged} where what is over counts no more");
        assert!(merged || !whole, "{broken:?}");
    }
}

/// Breadth first: the shortest trace that there is.
#[test]
fn a_planted_error_is_found_by_its_shortest_trace() {
    for (broken, scope) in [(Plant::NoFreeze, Scope::small(1, 1)), (Plant::ShareAfterGrant, Scope::small(2, 1))] {
        let _planted = plant(broken);
        let found = explore(scope, 200_000, true, false, SAFETY);
        let (trace, violation) = found.violation.unwrap_or_else(|| panic!("{broken:?} is not found: {}", found.states));
        println!("{broken:?}: {} states, {} actions: {}\n{}", found.states, trace.len(), violation.0, show(&trace));
    }
}

//! The order protocol, checked by machine: random walks first, then small worlds in all their states, and the same with errors planted,
//! each of which must be found.

mod keys;
mod live;
mod walk;
mod world;

use crate::plants::{self, Plant};
use walk::{ALL, Properties, SAFETY, show, shrink, walk};
use world::Scope;

const FOUR: Scope = Scope::small(4, 3);
const POWER: Scope = Scope { crash: true, ..Scope::small(4, 3) };
const FINALS: Scope = Scope { finals: true, ..Scope::small(5, 5) };
const SEVEN: Scope = Scope { members: 7, threshold: 5, liars: 2, ..Scope::small(4, 3) };
const HONEST: Scope = Scope { members: 3, threshold: 2, liars: 0, crash: true, finals: true, ..Scope::small(5, 4) };
const EPOCHS: Scope = Scope { epochs: true, finals: true, ..Scope::small(5, 4) };

/// How many walks of each kind: `make order-check WALKS=n` makes more.
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

/// Where each planted error is looked for.
fn hunting_ground(plant: Plant) -> (Scope, Properties) {
    match plant {
        Plant::MixedTerms => (Scope::small(4, 2), SAFETY),
        Plant::LockRefusal => (Scope::small(4, 1), SAFETY),
        Plant::LockUnsynced | Plant::AckBeforeFlush | Plant::GrantUnsynced => (POWER, SAFETY),
        Plant::LeaderRestore => (Scope { finals: true, ..POWER }, SAFETY),
        Plant::RefusalWithoutOrder | Plant::ShareOncePerBlock => (FOUR, ALL),
        Plant::UnprovenFault => (Scope { finals: true, ..Scope::small(2, 2) }, SAFETY),
        Plant::CheckpointForgets | Plant::CheckpointKeepsTerm => (FINALS, SAFETY),
        Plant::MajorityElects => (SEVEN, SAFETY),
        Plant::EpochNotSigned | Plant::SwitchUncertified | Plant::MembershipEarly => (EPOCHS, SAFETY),
        _ => (FOUR, SAFETY),
    }
}

#[test]
fn every_planted_error_is_found() {
    let mut missed = Vec::new();
    for plant in Plant::ALL {
        let _planted = plants::plant(plant);
        let (scope, properties) = hunting_ground(plant);
        let began = std::time::Instant::now();
        let found =
            (0..walks(2000)).find_map(|seed| walk(scope, seed, 80, properties).err().map(|found| (seed, found)));
        match found {
            Some((seed, (trace, _))) => {
                let (trace, violation) = shrink(scope, trace, properties);
                let seconds = began.elapsed().as_secs_f32();
                println!(
                    "{plant:?}: seed {seed}, {} actions, {seconds:.1} s: {}\n{}",
                    trace.len(),
                    violation.0,
                    show(&trace)
                );
            }
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

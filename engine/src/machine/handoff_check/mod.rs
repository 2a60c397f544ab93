//! Model-checks that the handoff keeps the order of messages: small programs in all interleavings of streams and
//! acknowledgements, and the same with planted errors, each of which the check must find.
//!
//! The programs and the oracle are those of Mark Miller's thesis on E, and of the cases that break simpler protocols. The oracle: messages to one
//! reference, to the reference that it was forked from, and those of a promise's decider before it resolved the promise, are executed first.

mod player;
mod programs;
mod scenarios;
mod world;

use crate::comms::plants::{self, Plant};
use scenarios::Scenario;
use std::collections::HashSet;
use world::{Action, Violation, World};

/// Most states of one program that are looked at. Beyond, random walks go on.
const MAX_STATES: usize = 60_000;

struct Explored {
    states: usize,
    complete: bool,
    violation: Option<(Vec<Action>, Violation)>,
}

/// Looks at every state that a program can come to.
fn explore(scenario: &Scenario, eager: bool, most: usize) -> Explored {
    let start = World::new(scenario, eager);
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut stack = vec![(start, Vec::new())];
    let mut states = 0;
    while let Some((world, trace)) = stack.pop() {
        states += 1;
        if states > most {
            return Explored { states, complete: false, violation: None };
        }
        let actions = world.actions(scenario);
        if actions.is_empty()
            && let Err(violation) = world.check_end(scenario)
        {
            return Explored { states, complete: false, violation: Some((trace, violation)) };
        }
        for action in actions {
            let mut next = world.clone();
            let mut trace = trace.clone();
            trace.push(action);
            if let Err(violation) = next.perform(scenario, action) {
                return Explored { states, complete: false, violation: Some((trace, violation)) };
            }
            if seen.insert(next.fingerprint()) {
                stack.push((next, trace));
            }
        }
    }
    Explored { states, complete: true, violation: None }
}

/// Goes through a program by chance, once.
fn walk(scenario: &Scenario, eager: bool, seed: u64) -> Result<(), (Vec<Action>, Violation)> {
    let mut world = World::new(scenario, eager);
    let mut dice = Dice(seed);
    let mut trace = Vec::new();
    loop {
        let actions = world.actions(scenario);
        if actions.is_empty() {
            return world.check_end(scenario).map_err(|violation| (trace, violation));
        }
        let mut action = actions[dice.roll(actions.len() as u64) as usize];
        if let Action::Ack(from, to) = action
            && dice.roll(4) == 0
        {
            action = Action::Lose(from, to);
        }
        trace.push(action);
        if let Err(violation) = world.perform(scenario, action) {
            return Err((trace, violation));
        }
    }
}

/// A generator whose whole state is the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[test]
fn every_interleaving_keeps_the_order() {
    for scenario in scenarios::all() {
        for eager in [false, true] {
            let explored = explore(&scenario, eager, MAX_STATES);
            let how = if explored.complete { "all" } else { "bounded" };
            println!("{:20} eager {eager:5} {:7} states, {how}", scenario.name, explored.states);
            if let Some((trace, violation)) = explored.violation {
                panic!("{} (eager {eager}): {violation}\n{trace:#?}", scenario.name);
            }
            if !explored.complete {
                for seed in 0..200 {
                    if let Err((trace, violation)) = walk(&scenario, eager, seed) {
                        panic!("{} (eager {eager}), seed {seed}: {violation}\n{trace:#?}", scenario.name);
                    }
                }
            }
        }
    }
}

/// How many: `make handoff PROGRAMS=n` runs more.
fn programs_by_chance() -> u64 {
    std::env::var("QUORATE_PROGRAMS").ok().and_then(|programs| programs.parse().ok()).unwrap_or(300)
}

#[test]
fn programs_by_chance_keep_the_order() {
    for seed in 0..programs_by_chance() {
        let scenario = programs::program(seed);
        for walks in 0..4 {
            if let Err((trace, violation)) = walk(&scenario, seed % 2 == 0, seed << 8 | walks) {
                panic!("seed {seed}, walk {walks}: {violation}\n{scenario}\n{trace:?}");
            }
        }
    }
}

/// Where vats end, messages are lost and promises are rejected; none is done out of order, and nobody waits for what nobody owes.
#[test]
fn programs_by_chance_keep_the_order_while_vats_end() {
    for seed in 0..programs_by_chance() {
        let scenario = programs::program_with_ends(seed);
        for walks in 0..4 {
            if let Err((trace, violation)) = walk(&scenario, seed % 2 == 0, seed << 8 | walks) {
                panic!("seed {seed}, walk {walks}: {violation}\n{scenario}\n{trace:?}");
            }
        }
    }
}

/// Each with the programs that find it.
#[test]
fn every_planted_error_is_found() {
    for plant in Plant::ALL {
        let _planted = plants::plant(plant);
        let found = scenarios::all().iter().find_map(|scenario| {
            let explored = [false, true].map(|eager| explore(scenario, eager, 20_000));
            let (trace, violation) = explored.into_iter().find_map(|explored| explored.violation)?;
            Some((scenario.name, trace.len(), violation))
        });
        match found {
            Some((name, steps, violation)) => println!("{plant:?}: {name}, after {steps} steps: {violation}"),
            None => panic!("{plant:?} was not found"),
        }
    }
}

/// Why promises are never given: not only that the home may have forgotten their names.
#[test]
fn messages_overtake_one_another_where_promises_are_given() {
    let _planted = plants::plant(Plant::PromiseGiven);
    let scenarios = scenarios::all();
    let tribble = scenarios.iter().find(|scenario| scenario.name == "tribble").expect("it is there");
    let found = (0..20_000).find_map(|seed| match walk(tribble, false, seed) {
        Err((trace, violation @ Violation::Order { .. })) => Some((seed, trace.len(), violation)),
        _ => None,
    });
    let (seed, steps, violation) = found.expect("one of the walks finds it");
    println!("walk {seed}, after {steps} steps: {violation}");
}

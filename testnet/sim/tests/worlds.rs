//! Worlds of many seeds, and that two runs of a seed are the same. Each seed is a process: see the head of `src/entropy.rs`.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate-sim")).args(arguments).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn two_runs_of_a_seed_have_the_same_trace() {
    let mut traces = std::collections::BTreeSet::new();
    for world in ["3@2", "4@3", "4@3!"] {
        for seed in 1..=8_u64 {
            let runs = [(); 2].map(|()| text(&sim(&["one", &seed.to_string(), world])));
            assert_eq!(runs[0], runs[1]);
            let trace = runs[0].split("trace ").nth(1).unwrap_or_else(|| panic!("no trace in {}", runs[0]));
            traces.insert(trace.to_owned());
        }
    }
    assert_eq!(traces.len(), 24, "other seeds have other traces");
}

fn keeps_all_promises(world: &str, seeds: &str) {
    let output = sim(&["many", "1", seeds, world]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn three_members_keep_all_promises() {
    keeps_all_promises("3@2", "150");
}

#[test]
fn four_members_of_which_one_may_lie_keep_all_promises() {
    keeps_all_promises("4@3", "120");
}

#[test]
fn liars_that_lead_keep_no_promise_from_being_kept() {
    keeps_all_promises("4@3!", "12");
    keeps_all_promises("7@5!", "8");
}

/// Without a liar, too, members whose votes take nearly all the time of an election could take each other's away for ever.
#[test]
fn members_with_slow_disks_keep_all_promises() {
    keeps_all_promises("4@3~", "24");
}

#[test]
fn bad_arguments_are_refused_with_what_to_type() {
    for arguments in [&["one"][..], &["one", "x", "3@2"], &["one", "1", "three"], &["many", "1", "1", "3"]] {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains("@") || text(&output).contains("number"), "{}", text(&output));
    }
}

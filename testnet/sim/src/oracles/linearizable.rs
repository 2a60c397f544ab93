//! The history that the clients saw is linearizable: each command took effect at one instant between its call and its answer. The
//! order of the log is the witness: it must explain all answers, and agree with the times of the calls.

use std::collections::BTreeMap;

use crate::machine::{Answer, Command, Registers};
use crate::record::{Record, Seen};

/// Name of the oracle.
pub const NAME: &str = "linearizable";

/// Judges the history.
pub fn check(record: &Record) {
    let found = first_fault(&record.seen());
    if let Some(text) = found {
        record.violation(NAME, text);
    }
}

fn first_fault(seen: &Seen) -> Option<String> {
    let mut model = Registers::default();
    // Where in the order each command took effect, and what it found.
    let mut effects: BTreeMap<(u8, u64), (usize, u64)> = BTreeMap::new();
    let mut place = 0;
    for executed in seen.blocks.values() {
        for bytes in &executed.commands {
            let Some(command) = Command::decode(bytes) else { continue };
            if let Answer::Done(before) = model.execute(bytes) {
                effects.entry((command.client, command.number)).or_insert((place, before));
            }
            place += 1;
        }
    }
    let mut answered = Vec::new();
    for operation in &seen.operations {
        let command = operation.command;
        let (Some(at), Some((_, before))) = (operation.answered_ms, operation.found) else { continue };
        let Some((place, found)) = effects.get(&(command.client, command.number)) else {
            return Some(format!("{command:?} was answered and never took effect"));
        };
        if *found != before {
            return Some(format!("{command:?} was answered with {before}; in the order of the log it finds {found}"));
        }
        answered.push((operation.invoked_ms, at, *place, command));
    }
    // Whatever was answered before another command was called comes before it in the order.
    answered.sort_by_key(|(_, at, ..)| *at);
    let mut calls = answered.clone();
    calls.sort_by_key(|(invoked, ..)| *invoked);
    let mut ended = answered.iter().peekable();
    let mut latest: Option<&(u64, u64, usize, Command)> = None;
    for call in &calls {
        while let Some(before) = ended.next_if(|(_, at, ..)| *at < call.0) {
            latest = latest.filter(|latest| latest.2 > before.2).or(Some(before));
        }
        if let Some(before) = latest.filter(|before| before.2 > call.2) {
            return Some(format!("{:?} was called after {:?} was answered, and comes before it", call.3, before.3));
        }
    }
    None
}

//! The commands of each client take effect once and in their order, though each is proposed again and again; and no proposal is
//! ordered twice, unless the network doubled it, or members told each other of what a leader had not ordered, or a leader found that it had not.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::{Answer, Command};
use crate::record::{Record, Seen};

/// Name of the oracle.
pub const NAME: &str = "exactly once";

/// Name of the figure: commands that leaders put first, since they had waited for so long.
pub const PUT_FIRST: &str = "put first";

/// Judges the blocks that were executed. `may_double`: a proposal may be ordered twice.
pub fn check(record: &Record, may_double: bool) {
    let found = first_fault(&record.seen(), may_double);
    if let Some(text) = found {
        record.violation(NAME, text);
    }
}

fn first_fault(seen: &Seen, may_double: bool) -> Option<String> {
    let mut last: BTreeMap<u8, u64> = BTreeMap::new();
    let mut proposed = BTreeSet::new();
    for (block, executed) in &seen.blocks {
        for (bytes, answer) in executed.commands.iter().zip(&executed.answers) {
            let Some(command) = Command::decode(bytes) else { continue };
            let known = seen.operations.iter().find(|operation| {
                let own = &operation.command;
                (own.client, own.number, own.op) == (command.client, command.number, command.op)
            });
            if known.is_none() {
                return Some(format!("block {block} has {command:?}, which no client proposed"));
            }
            if !may_double && !proposed.insert((command.client, command.number, command.attempt)) {
                return Some(format!("{command:?} was ordered twice, the second time in block {block}"));
            }
            let done = last.entry(command.client).or_default();
            match Answer::decode(answer) {
                Some(Answer::Done(_)) if command.number == *done + 1 => *done += 1,
                Some(Answer::Done(_)) if command.number == *done => {}
                Some(Answer::Late) if command.number < *done => {}
                other => return Some(format!("{command:?} got {other:?} in block {block}, after command {done}")),
            }
        }
    }
    None
}

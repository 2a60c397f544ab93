//! Honest hosts that have executed a block have executed the same commands in it, with the same answers, and are in the same
//! state after it: in all their lives. With that they have one order.

use crate::machine::Registers;
use crate::record::{Executed, Record};

/// Name of the oracle.
pub const NAME: &str = "equal state";

/// Judges one execution of a block.
pub fn executed(
    record: &Record,
    host: usize,
    block: u64,
    commands: &[Vec<u8>],
    answers: &[Vec<u8>],
    state: &Registers,
) {
    let (commands, answers) = (commands.to_vec(), answers.to_vec());
    let executed = Executed { host, now_ms: state.now_ms, commands, answers, state: state.hash() };
    let mut seen = record.seen();
    let Some(first) = seen.blocks.get(&block).cloned() else {
        seen.blocks.insert(block, executed);
        return;
    };
    drop(seen);
    if first.commands != executed.commands {
        let text = format!(
            "hosts {} and {host} executed other commands in block {block}: {:?} and {:?}",
            first.host, first.commands, executed.commands
        );
        record.violation("one order", text);
    } else if (first.answers, first.state) != (executed.answers, executed.state) {
        let text = format!("hosts {} and {host} executed block {block} alike and are in other states", first.host);
        record.violation(NAME, text);
    }
}

/// Judges a state that was taken over from a checkpoint.
pub fn restored(record: &Record, host: usize, state: &Registers) {
    let executed = record.seen().blocks.get(&state.block).cloned();
    let hash = state.hash();
    if state.block == 0 || executed.as_ref().is_some_and(|executed| executed.state == hash) {
        return;
    }
    let text = match executed {
        Some(first) => {
            format!("host {host} took over a state of block {} that host {} has not", state.block, first.host)
        }
        None => format!("host {host} took over a state of block {}, which no honest host has executed", state.block),
    };
    record.violation(NAME, text);
}

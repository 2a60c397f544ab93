//! What a client was told is done is in the block that was named to it, with the same answer, and in the state of every honest member
//! at the end.

use crate::machine::{Answer, Command, Registers};
use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "acknowledged is durable";

/// Judges the answers that clients had. `finals`: the states of the honest members at the end, with their places.
pub fn check(record: &Record, finals: &[(usize, Registers)]) {
    let mut broken = Vec::new();
    {
        let seen = record.seen();
        for operation in &seen.operations {
            let (Some((block, before)), command) = (operation.found, operation.command) else { continue };
            let holds = seen.blocks.get(&block).is_some_and(|executed| {
                let answers = executed.commands.iter().zip(&executed.answers);
                answers.into_iter().any(|(bytes, answer)| {
                    let same = Command::decode(bytes).is_some_and(|other| {
                        (other.client, other.number, other.op) == (command.client, command.number, command.op)
                    });
                    same && Answer::decode(answer) == Some(Answer::Done(before))
                })
            });
            if !holds {
                broken.push(format!("{command:?} was answered from block {block}, which has not got it"));
            }
            for (host, state) in finals {
                let last = state.sessions.get(&command.client).map_or(0, |(number, _)| *number);
                if last < command.number {
                    broken.push(format!("{command:?} was acknowledged, and host {host} has none after {last}"));
                }
            }
        }
    }
    for text in broken.into_iter().take(1) {
        record.violation(NAME, text);
    }
}

//! Leaders that order nothing are left, and no more of them than may lie, and one, for each command of a client.

use crate::plan::Setup;
use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "few leaders are left";

/// Commands of each client that are answered after the faults: the one under way, and two more.
const COMMANDS: usize = 3;

/// Judges how many leaders each honest host has left since the faults ended. A host that was started again since counts from then.
pub fn check(record: &Record, setup: &Setup, clients: usize, before: &[u64], after: &[u64]) {
    let may_be_missing = setup.members.saturating_sub(usize::from(setup.threshold));
    let most = ((may_be_missing + 1) * clients * COMMANDS) as u64;
    let left = before.iter().zip(after).map(|(before, after)| after.checked_sub(*before).unwrap_or(*after));
    let left = left.max().unwrap_or(0);
    record.count("leaders left", after.iter().copied().max().unwrap_or(0));
    if left > most {
        record.violation(NAME, format!("{left} leaders were left for {clients} clients; {most} are the bound"));
    }
}

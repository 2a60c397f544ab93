//! The log's time never goes back, never is ahead of every honest clock, and a bell that is due rings. When it was to ring, and when it
//! did, is in the state, of which another oracle judges that it is equal.

use quorate_consensus::ReplicaStatus;

use crate::host::{EPOCH_MS, MOST_AHEAD_MS};
use crate::machine::Registers;
use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "time";
/// How long a bell may be due when all is at rest.
const PATIENCE_MS: u64 = 5_000;

/// Judges the time at an execution by an honest host.
pub fn executed(record: &Record, host: usize, state: &Registers) {
    let latest = EPOCH_MS + record.trace().now_ms() + MOST_AHEAD_MS;
    if state.now_ms > latest {
        let text =
            format!("host {host} executes a block at {}, and no honest clock shows more than {latest}", state.now_ms);
        record.violation(NAME, text);
    }
    if let Some((due, rung)) = state.last_bell.filter(|(due, rung)| due > rung) {
        record.violation(NAME, format!("host {host} rings a bell at {rung} that is due at {due}"));
    }
}

/// Returns what is missing of a member at rest; none: nothing.
pub fn missing(status: &ReplicaStatus) -> Option<String> {
    let overdue_ms = status.time_overdue_ms;
    (overdue_ms > PATIENCE_MS).then(|| format!("a bell is due since {overdue_ms} ms"))
}

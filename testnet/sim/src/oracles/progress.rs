//! When the faults have ended, the vat goes on: every client's next command is answered, and the members come to the same applied
//! block with all that they say certified. And no honest replica stops by a fault, unless its disk failed.

use quorate_consensus::{HostId, ReplicaStatus};

use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "progress after faults";

/// Judges a fault of an honest replica whose disk is well.
pub fn fault(record: &Record, host: usize, text: &str) {
    // An operator starts such a host again: the change that brought it was given up, and it was admitted anew.
    if !text.contains("Q-C044") {
        record.violation("no fault without cause", format!("host {host} stopped: {text}"));
    }
}

/// Returns what is missing until the members are at rest together; none: nothing.
///
/// `members` are the running members of the newest epoch; a member that does not run has no status. `executed` is the last block that
/// an honest host has executed: a leader that was removed may have been the first.
pub fn missing(members: &[(HostId, Option<ReplicaStatus>)], executed: u64) -> Option<String> {
    let mut statuses = Vec::new();
    for (key, status) in members {
        match status {
            Some(status) => statuses.push(status),
            None => return Some(format!("member {key} does not run")),
        }
    }
    let first = statuses.first()?;
    for status in &statuses {
        let at = &status.key.to_string()[..8];
        if status.applied != first.applied || status.epoch != first.epoch {
            return Some(format!("{at} has applied {}, another member {}", status.applied, first.applied));
        }
        if status.applied < executed {
            return Some(format!("{at} has applied {}, and {executed} was executed elsewhere", status.applied));
        }
        if status.uncertified > 0 {
            return Some(format!("{at} has {} statements without a certificate", status.uncertified));
        }
        if status.certified_epoch != status.epoch {
            return Some(format!("{at} has no certificate of epoch {}", status.epoch));
        }
        if let Some(pending) = &status.pending {
            return Some(format!("{at}: {:?} is under way since block {}", pending.change, pending.block));
        }
        if let Some(missing) = super::time::missing(status) {
            return Some(format!("{at}: {missing}"));
        }
        if status.recovering.is_some() {
            return Some(format!("{at} recovers"));
        }
    }
    None
}

//! No honest host is accused by an honest one.

use quorate_consensus::HostId;

use crate::record::Record;

/// Name of the oracle.
pub const NAME: &str = "no honest member accused";

/// Judges an accusation of an honest host.
pub fn conflict(record: &Record, by: usize, member: &HostId, text: &str) {
    record.count("accusations", 1);
    let honest = !record.seen().liars.contains(member);
    if honest {
        record.violation(NAME, format!("host {by} accuses {member}, which is honest: {text}"));
    }
}

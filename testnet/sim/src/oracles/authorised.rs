//! The members change as owners asked and in no other way: each certified membership follows from the one before it by a change that
//! was asked for.

use quorate_consensus::{Change, Membership, default_threshold};

use crate::record::{Record, Seen};

/// Name of the oracle.
pub const NAME: &str = "nothing without authority";

/// Judges the memberships that were certified.
pub fn check(record: &Record, genesis: &Membership) {
    let found = first_fault(&record.seen(), genesis);
    if let Some(text) = found {
        record.violation(NAME, text);
    }
}

fn first_fault(seen: &Seen, genesis: &Membership) -> Option<String> {
    for (epoch, (host, certificate)) in &seen.memberships {
        let before = match epoch.checked_sub(1) {
            None | Some(0) => Some(genesis),
            Some(before) => seen.memberships.get(&before).map(|(_, before)| &before.membership),
        };
        let after = &certificate.membership;
        // Nobody reported the epoch before.
        let Some(before) = before else { continue };
        if !seen.asked.iter().any(|change| follows(before, after, change)) {
            return Some(format!("host {host} has a membership of epoch {epoch} that nobody asked for: {after:?}"));
        }
    }
    None
}

/// Returns whether a membership is the one that follows from another by a change, with the threshold that goes with it.
fn follows(before: &Membership, after: &Membership, change: &Change) -> bool {
    let mut members = before.members.clone();
    match change {
        Change::Add(member) => members.push(member.clone()),
        Change::Remove(key) => members.retain(|member| member.key != *key),
        Change::Replace { out, in_ } => {
            members.iter_mut().filter(|member| member.key == *out).for_each(|member| *member = in_.clone());
        }
        Change::Threshold(_) | Change::Cancel => return false,
    }
    let threshold = default_threshold(before.members.len(), usize::from(before.threshold), members.len());
    members == after.members && threshold == usize::from(after.threshold)
}

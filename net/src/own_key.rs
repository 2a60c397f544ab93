//! Notices, in handshakes, another process that runs with this host's key. Pure: the caller reports the events.
//!
//! A handshake with the own key is not enough: a host may reach itself, if an address given for another host
//! has become its own. So a meeting counts only if it cannot have been with itself:
//!
//! - For a dialled connection: while it was dialled, this host accepted none. It would have accepted one to itself.
//! - For an accepted connection: when it was accepted, this host was dialling nobody.
//!
//! An ambiguous meeting does not count. The peer is dialled again and again, and a later attempt will tell.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Connections `C` that are being made.
#[derive(Debug)]
pub(crate) struct Meetings<C> {
    /// Accepted so far.
    accepted: u64,
    /// Being dialled, with what was accepted before.
    dialled: HashMap<C, u64>,
    /// Accepted while nobody was dialled, and not made yet.
    unprovoked: HashSet<C>,
}

impl<C> Default for Meetings<C> {
    fn default() -> Self {
        Meetings { accepted: 0, dialled: HashMap::new(), unprovoked: HashSet::new() }
    }
}

impl<C: Eq + Hash> Meetings<C> {
    /// A connection is dialled.
    pub(crate) fn dial(&mut self, connection: C) {
        self.dialled.insert(connection, self.accepted);
    }

    /// A connection comes in.
    pub(crate) fn accept(&mut self, connection: C) {
        self.accepted += 1;
        if self.dialled.is_empty() {
            self.unprovoked.insert(connection);
        }
    }

    /// A connection is made, or has failed for another reason than the own key.
    pub(crate) fn end(&mut self, connection: &C) {
        self.dialled.remove(connection);
        self.unprovoked.remove(connection);
    }

    /// A connection has failed as the other end has this host's key. Returns whether that was certainly another process.
    pub(crate) fn own_key(&mut self, connection: &C) -> bool {
        let dialled = self.dialled.remove(connection).is_some_and(|before| before == self.accepted);
        let accepted = self.unprovoked.remove(connection);
        dialled || accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_that_is_dialled_is_noticed() {
        let mut meetings = Meetings::default();
        meetings.accept(1);
        meetings.end(&1);
        meetings.dial(2);
        assert!(meetings.own_key(&2));
        assert!(!meetings.own_key(&2), "told once");
    }

    #[test]
    fn another_process_that_dials_is_noticed() {
        let mut meetings = Meetings::default();
        meetings.dial(1);
        meetings.end(&1);
        meetings.accept(2);
        // Whatever comes afterwards.
        meetings.dial(3);
        assert!(meetings.own_key(&2));
    }

    #[test]
    fn a_host_that_reaches_itself_is_left_alone() {
        let mut meetings = Meetings::default();
        meetings.dial(1);
        meetings.accept(2);
        assert!(!meetings.own_key(&1));
        assert!(!meetings.own_key(&2));
        // In the other order as well.
        meetings.dial(3);
        meetings.accept(4);
        assert!(!meetings.own_key(&4));
        assert!(!meetings.own_key(&3));
        assert!(meetings.dialled.is_empty() && meetings.unprovoked.is_empty());
    }
}

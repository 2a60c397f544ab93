//! Decides whether this replica takes new commands when it leads.
//!
//! A member whose disk is nearly full goes on as a follower: it stores the leader's entries, so that its vote and its signature
//! still count. As a leader it refuses new commands. The other members leave a leader that does not order their commands, so one
//! with room takes over. If no member has room, the vat takes no commands.

use std::sync::{Mutex, PoisonError};

/// See the head of the module.
#[derive(Default)]
pub(crate) struct Intake(Mutex<Option<String>>);

impl Intake {
    /// Takes no new commands from now on, for this reason, or takes them again.
    pub(crate) fn limit(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Returns why it takes none.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! Whether this replica takes new commands in when it leads.
//!
//! A member whose disk is nearly full goes on as a follower: it stores what the leader sends, so that its vote and its signature
//! still count. As a leader it refuses new commands. The other members give a leader up that does not order what it is given, so one of
//! them takes over that has room. If none has, the vat takes no commands.

use std::sync::{Mutex, PoisonError};

/// See the head of the module.
#[derive(Default)]
pub(crate) struct Intake(Mutex<Option<String>>);

impl Intake {
    /// Takes no new commands from now on, for this reason, or takes them again.
    pub(crate) fn limit(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why it takes none.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

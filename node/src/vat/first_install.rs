//! A vat's first code: members propose it until the vat has it.

use super::{PROPOSE_DEADLINE, places, view::SharedView};
use quorate_consensus::{ProposeError, ReplicaHandle, Role};
use quorate_protocol::command::{VatCommand, VatResult};
use quorate_protocol::{
    authority::{Authority, SignedInstall},
    codec,
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long the leader has for giving a vat its first code before the other members propose it.
const INSTALL_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it is this member's turn.
const INSTALL_POLL: Duration = Duration::from_millis(100);

/// A vat's first code, as this host was given it.
pub(super) struct FirstInstall {
    pub(super) name: String,
    pub(super) replica: ReplicaHandle,
    pub(super) view: SharedView,
    pub(super) install: SignedInstall,
    pub(super) authority: Authority,
    pub(super) error: Arc<Mutex<Option<String>>>,
}

impl FirstInstall {
    /// Proposes it while the vat has no code: at once if this member leads, else when the leader has not done so for a while, since it
    /// may have been given something else.
    pub(super) async fn propose(self) {
        if let Err(error) = self.authority.check_install(&self.install) {
            // The members that were given the vat's own code propose that.
            return self.give_up(error.to_string());
        }
        let (began, status) = (Instant::now(), self.replica.status_watch());
        loop {
            if self.view.lock().installed {
                return;
            }
            let turn = {
                // Hundreds of vats may wait: a look must cost little.
                let status = status.borrow();
                status.role == Role::Leader || (began.elapsed() > INSTALL_PATIENCE && status.leader.is_some())
            };
            if turn && self.try_once().await {
                return;
            }
            tokio::time::sleep(INSTALL_POLL).await;
        }
    }

    /// Proposes it once. Returns whether that was the last time.
    async fn try_once(&self) -> bool {
        let command = codec::encode(&VatCommand::Install(Box::new(self.install.clone())));
        match self.replica.propose(command, PROPOSE_DEADLINE).await.map(|done| codec::decode(&done.result)) {
            // Another member was faster.
            Ok(Ok(VatResult::Refused { .. })) if self.view.lock().installed => {}
            Ok(Ok(VatResult::InstallFailed { message } | VatResult::Refused { message })) => {
                self.give_up(places::with_lines(&message, &self.install.install.bundle));
            }
            Ok(Ok(VatResult::NotYet { .. })) => {
                tracing::debug!(vat = %self.name, "the code waits until enough members say what time it is");
                return false;
            }
            Ok(Ok(result)) => tracing::info!(vat = %self.name, ?result, "the vat has its code"),
            // Neither does it get smaller.
            Err(error @ ProposeError::TooLarge { .. }) => self.give_up(error.to_string()),
            Ok(Err(error)) => {
                tracing::warn!(vat = %self.name, %error, "an unreadable result");
                return false;
            }
            Err(error) => {
                tracing::debug!(vat = %self.name, %error, "the code was not ordered yet");
                return false;
            }
        }
        true
    }

    fn give_up(&self, why: String) {
        tracing::error!(vat = %self.name, %why, "the vat's code did not start");
        *self.error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
    }
}

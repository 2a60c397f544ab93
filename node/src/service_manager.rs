//! Tells the program that runs the host as a service how it stands, where that wants to know: systemd, by `sd_notify(3)`.
//!
//! Invariants: `READY=1` is sent once, after the host serves its interfaces; the watchdog is fed by the runtime that does the host's
//! work, so a runtime that hangs starves it. Without `NOTIFY_SOCKET` nothing is sent, and a message that can't be sent never stops a host.

use sd_notify::{NotifyState, notify, watchdog_enabled};
use std::time::Duration;

/// Sends what systemd shows in `systemctl status`.
pub(crate) fn says(what: &str) {
    send(&[NotifyState::Status(what)]);
}

/// Says that the host serves.
pub(crate) fn ready(what: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// Says that the host stops.
pub(crate) fn stopping(why: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(why)]);
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "the service manager could not be told how this host stands");
    }
}

/// Feeds the watchdog for ever, if there is one.
pub(crate) async fn feed_watchdog() {
    let Some(limit) = watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    // As systemd advises: at half the time that it waits.
    let mut tick = tokio::time::interval(limit.div_f64(2.0).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

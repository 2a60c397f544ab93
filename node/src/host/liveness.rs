//! One heartbeat for each pair of hosts, however many vats they share, and also while all of them sleep: it keeps the connection open, shows who is there, and
//! notices a host that is gone. Vats that fell asleep under a leader on that host wake, and elect another one, before anybody wants anything of them.
//!
//! Vats that slept when their host ended begin its next life asleep, and those that it led have no leader then. They look for one, one after the other, before anybody
//! wants anything.
//!
//! Absent: evidence. A host that is silent for its own reasons costs an election, and nothing else.

use super::Inner;
use futures::future::join_all;
use quorate_consensus::{HostId, Role};
use quorate_net::Purpose;
use quorate_protocol::{codec, wire::DirectoryRequest};
use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

/// How long a host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Vats that wake at once when a host is gone, and the pause before the next ones: elections cost the disk something.
const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(250);
/// The pause between two vats that look for a leader after a start.
const LEAD_PAUSE: Duration = Duration::from_millis(500);

/// Asks the hosts that share a vat with this one, as long as the host lives.
pub(super) async fn watch(host: Weak<Inner>) {
    let mut gone: BTreeSet<HostId> = BTreeSet::new();
    loop {
        let Some(pause) = host.upgrade().map(|inner| inner.timing.rest_after) else { return };
        tokio::time::sleep(pause).await;
        let Some(inner) = host.upgrade() else { return };
        let hosts = inner.co_members().hosts();
        let silent = silent(&inner, &hosts).await;
        for host in silent.difference(&gone) {
            tracing::info!(%host, "a host is gone; vats that sleep under it wake");
            wake_led_by(&inner, host).await;
        }
        gone = silent;
    }
}

/// Has vats that this host led when they fell asleep, and which slept when it ended, find a leader again.
pub(super) async fn lead_again(host: Weak<Inner>) {
    let Some(vats) = host.upgrade().map(|inner| inner.services()) else { return };
    let vats: Vec<_> = vats.iter().map(Arc::downgrade).collect();
    for vat in vats {
        let Some(vat) = vat.upgrade() else { continue };
        let is_led_by_nobody = {
            let status = vat.replica.status_watch();
            let status = status.borrow();
            status.asleep && status.leader == Some(status.key) && status.role != Role::Leader
        };
        if is_led_by_nobody {
            vat.replica.rouse();
            drop(vat);
            tokio::time::sleep(LEAD_PAUSE).await;
        }
    }
}

/// Returns those that don't answer.
async fn silent(inner: &Arc<Inner>, hosts: &[HostId]) -> BTreeSet<HostId> {
    let asked = hosts.iter().map(|host| async move {
        let question = codec::encode(&DirectoryRequest::Alive);
        let answer = inner.network().request(*host, Purpose::Directory, question.into(), ANSWER_WITHIN).await;
        if answer.is_ok() {
            inner.co_members().note_seen(host);
        }
        answer.err().map(|_| *host)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn wake_led_by(inner: &Arc<Inner>, host: &HostId) {
    let vats = inner.services();
    let sleeps_under = |vat: &&Arc<crate::vat::VatService>| {
        let status = vat.replica.status_watch();
        let status = status.borrow();
        status.asleep && status.leader == Some(*host)
    };
    let concerned: Vec<_> = vats.iter().filter(sleeps_under).collect();
    for (place, vat) in concerned.into_iter().enumerate() {
        if place > 0 && place % AT_ONCE == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        vat.replica.wake();
    }
}

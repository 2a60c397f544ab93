//! One heartbeat for each pair of hosts, however many vats they share, and also while all of them sleep: it keeps the connection open, shows who is there, and
//! notices a host that is gone. Vats that fell asleep under a leader on that host wake, and elect another one, before anybody wants anything of them.
//!
//! Vats that have fallen asleep have freed most of what they had, in pieces between those of others: it goes back to the system.
//!
//! Absent: evidence. A host that is silent for its own reasons costs an election, and nothing else.

use super::Inner;
use crate::system::give_memory_back;
use futures::future::join_all;
use quorate_consensus::HostId;
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

/// Asks the hosts that share a vat with this one, as long as the host lives.
pub(super) async fn watch(host: Weak<Inner>) {
    let mut gone: BTreeSet<HostId> = BTreeSet::new();
    let mut asleep = 0;
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
        let before = std::mem::replace(&mut asleep, asleep_of(&inner));
        if asleep > before {
            tokio::task::spawn_blocking(give_memory_back);
        }
    }
}

/// How many vats sleep here.
fn asleep_of(inner: &Arc<Inner>) -> usize {
    inner.services().iter().filter(|vat| vat.replica.status_watch().borrow().asleep).count()
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

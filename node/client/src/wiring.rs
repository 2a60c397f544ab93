//! What connects a client's session with its network and its courier.

use super::{Denial, Inner};
use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_courier::courier::{CourierMetrics, Whereabouts};
use quorate_ids::VatId;
use quorate_net::{Handler, Purpose};
use quorate_proof::{HostId, Member};
use quorate_protocol::{codec, wire::VatFrame};
use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

/// The longest that a member of a remembered vat is waited for before the next one is tried beside it.
const PACE_LAST: Duration = Duration::from_millis(500);

/// Hands the frames of the network to a client, once there is one.
#[derive(Default)]
pub(super) struct ClientFrames(OnceLock<Weak<Inner>>);

impl ClientFrames {
    pub(super) fn serve(&self, client: &Arc<Inner>) {
        // A network has one client.
        let _ = self.0.set(Arc::downgrade(client));
    }
}

impl Handler for ClientFrames {
    fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
        purpose == Purpose::Slice
    }

    fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let inner = self.0.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let inner = inner.ok_or("this client is not ready")?;
            let frame: VatFrame = codec::decode(&frame).map_err(|error| error.to_string())?;
            if frame.to != inner.vat {
                return Err("no such vat here".into());
            }
            Ok(codec::encode(&inner.take(*frame.slice)).into())
        })
    }
}

/// The members of the called vat.
pub(super) struct TargetMembers(pub(super) Weak<Inner>);

impl Whereabouts for TargetMembers {
    fn members(&self, _vat: &VatId) -> Vec<Member> {
        self.0.upgrade().map(|inner| inner.lock().members.clone()).unwrap_or_default()
    }

    fn pace(&self, _vat: &VatId) -> Option<Duration> {
        let took = self.0.upgrade()?.lock().known.took_ms?;
        Some(Duration::from_millis(took).min(PACE_LAST))
    }

    fn unreachable(&self, _vat: &VatId) {}
}

/// Tells the session what became of its shipments.
pub(super) struct Shipments(pub(super) Weak<Inner>);

impl CourierMetrics for Shipments {
    fn shipped(&self, _peer: &VatId, outcome: &'static str, _messages: usize) {
        if outcome == "taken"
            && let Some(inner) = self.0.upgrade()
        {
            {
                let mut session = inner.lock();
                session.denials.clear();
                session.denied = None;
            }
            inner.shipped.notify_waiters();
        }
    }

    fn refused(&self, _peer: &VatId, by: HostId, why: &str) {
        if let Some(inner) = self.0.upgrade() {
            inner.denied(by, Denial::Refused(why.to_owned()));
        }
    }

    fn without_code(&self, _peer: &VatId, by: HostId, failure: Option<&str>) {
        if let Some(inner) = self.0.upgrade() {
            inner.denied(by, Denial::NoCode(failure.map(str::to_owned)));
        }
    }

    fn answered(&self, by: HostId, silent: &[HostId], leader: Option<HostId>, took: Duration) {
        if let Some(inner) = self.0.upgrade() {
            inner.lock().known.note_answer(by, silent, leader, took);
        }
    }

    fn may_have_arrived(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.lock().perhaps_sent = true;
        }
    }
}

//! What becomes of what the courier ships: metrics, traces, and the farewells of clients.

use super::{inbox::Inbox, view::SharedView};
use crate::{
    telemetry::Telemetry,
    traces::{Message, Moment, Span, Step, Traces},
};
use quorate_consensus::HostId;
use quorate_courier::courier::CourierMetrics;
use quorate_engine::VatId;
use quorate_protocol::evidence::Slice;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Farewells of clients that wait to be taken, and how many are taken at once.
pub const FAREWELLS: usize = 1_024;
const FAREWELLS_AT_ONCE: usize = 64;

/// What becomes of the courier's shipments: metrics, and the farewells that clients give along with their answers.
pub struct Shipping {
    pub vat: VatId,
    pub name: String,
    pub telemetry: Arc<Telemetry>,
    pub traces: Option<Traces>,
    pub view: SharedView,
    pub farewells: mpsc::Sender<Slice>,
}

impl CourierMetrics for Shipping {
    fn shipped(&self, _peer: &VatId, outcome: &'static str, _messages: usize) {
        self.telemetry.slices_shipped.with_label_values(&[self.name.as_str(), outcome]).inc();
    }

    fn taken(&self, peer: &VatId, by: HostId, through: u64, messages: usize, took: Duration) {
        let Some(traces) = &self.traces else { return };
        let end = Moment::now();
        let step = Step::Ship { from: traces.host(), to: by };
        for number in (through + 1).saturating_sub(messages as u64)..=through {
            let message = Message { sender: self.vat, receiver: *peer, number };
            traces.give(Span { message, step, begin: end.before(took), end, block: None, link: None });
        }
    }

    fn never_certified(&self, peers: &[VatId]) {
        self.view.unsay(peers);
    }

    fn farewell(&self, slice: Slice) {
        // A client whose farewell is lost is forgotten when there are too many.
        let _ = self.farewells.try_send(slice);
    }
}

/// Takes the farewells of clients like any slices, many at a time: they wait for nothing, and nobody waits for them.
pub async fn take_farewells(inbox: Arc<Inbox>, mut farewells: mpsc::Receiver<Slice>) {
    let mut under_way = tokio::task::JoinSet::new();
    while let Some(slice) = farewells.recv().await {
        while under_way.len() >= FAREWELLS_AT_ONCE {
            under_way.join_next().await;
        }
        while under_way.try_join_next().is_some() {}
        let inbox = inbox.clone();
        under_way.spawn(async move { inbox.take(slice).await });
    }
}

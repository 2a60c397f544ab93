//! What `vat call --trace` says: how long the parts of a call took, which block certified the answer and who signed it, and what it cost.
//!
//! What a call cost, only the vat's hosts know. Those of the testnet are asked; each has executed it, and all say the same fuel.

use crate::{output, test::grouped};
use futures::future::join_all;
use quorate_admin::client::Endpoint;
use quorate_client::CallTrace;
use quorate_config::{
    home::admin_socket,
    layout::{Layout, TestnetDir},
};
use quorate_engine::VatId;
use quorate_node::vat::recent::RecentWork;
use serde_json::{Value, json};
use std::time::Duration;

/// How long hosts may take to say what a call cost.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// A call, as far as it could be followed.
pub struct Traced {
    call: CallTrace,
    /// What it cost, by the word of a host.
    work: Option<(String, Vec<RecentWork>)>,
}

impl Traced {
    /// Asks the hosts of the testnet, if there is one, what the call cost.
    pub async fn of(call: CallTrace, vat: &VatId, dir: &TestnetDir, layout: Option<&Layout>) -> Traced {
        let path = format!("/api/v1/vats/{vat}/work/{}", call.client);
        let hosts = layout.map(|layout| &layout.hosts[..]).unwrap_or_default();
        let asked = hosts.iter().map(|place| {
            let (endpoint, path) = (Endpoint::socket(&admin_socket(&dir.home(&place.name))), path.as_str());
            async move {
                let answer = tokio::time::timeout(ASK_DEADLINE, endpoint.get::<Vec<RecentWork>>(path)).await;
                let work = answer.ok()?.ok().filter(|work| !work.is_empty())?;
                Some((place.name.clone(), work))
            }
        });
        let work = join_all(asked).await.into_iter().flatten().next();
        Traced { call, work }
    }

    fn fuel(&self) -> Option<u64> {
        self.work.as_ref().map(|(_, work)| work.iter().map(|work| work.fuel).sum())
    }

    /// For scripts.
    pub fn as_json(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let certified = self.call.certified.as_ref();
        json!({
            "client": self.call.client.to_string(),
            "total_ms": ms(self.call.total), "network_ms": ms(self.call.network), "members_ms": ms(self.call.members),
            "answer_ms": ms(self.call.answer),
            "block": certified.map(|certified| certified.block), "epoch": certified.map(|certified| certified.epoch),
            "signers": certified.map(|certified| &certified.signers),
            "threshold": certified.map(|certified| certified.threshold),
            "members": certified.map(|certified| certified.members),
            "fuel": self.fuel(),
            "work": self.work.as_ref().map(|(_, work)| work), "executed_by": self.work.as_ref().map(|(host, _)| host),
        })
    }

    /// For people, beside the result.
    pub fn show(&self) {
        let shown = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let part = |what: &str, time: Option<Duration>| {
            if let Some(time) = time {
                output::note(format!("  {what:<28}{}", shown(time)));
            }
        };
        output::note(match self.call.total {
            Some(total) => format!("trace: answered after {}", shown(total)),
            None => "trace: there is no answer".to_owned(),
        });
        part("to start the client", self.call.network);
        if self.call.members.is_none() && self.call.total.is_some() {
            output::note("  the vat's members were remembered from an earlier call");
        }
        part("to find the vat's members", self.call.members);
        part("from the call to the answer", self.call.answer);
        if let Some(certified) = &self.call.certified {
            output::note(format!(
                "  certified in block {}, epoch {}, by {} ({} of {} must sign)",
                certified.block,
                certified.epoch,
                certified.signers.join(" and "),
                certified.threshold,
                certified.members
            ));
        }
        match &self.work {
            None => output::note("  what it cost, only hosts of the vat know: none of this testnet says it"),
            Some((host, work)) => {
                for work in work {
                    let undone = match work.rolled_back.as_slice() {
                        [] => String::new(),
                        limits => format!("; undone, since it exceeded a limit: {}", limits.join(", ")),
                    };
                    output::note(format!(
                        "  executed in block {}: {} deliveries, {} fuel, {:.1} ms on {host}{undone}",
                        work.block,
                        work.deliveries,
                        grouped(work.fuel),
                        work.execution_ms
                    ));
                }
            }
        }
    }
}

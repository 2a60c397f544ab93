//! What a host tells of itself and of what it sees: status, metrics, evidence, and why it is not ready.

use super::{Host, HostError};
use crate::{
    addresses::Addresses,
    system::room_of,
    telemetry::{
        host::{self, Build},
        libp2p,
        members::Sight,
        mirror,
        page::Page,
    },
};
use futures::future::join_all;
use quorate_consensus::{HostId, evidence_of};
use quorate_engine::{VatId, image::image_hash};
use quorate_protocol::{
    proof::file::{Item, ProofFile, VatProof},
    status::{ClockDifference, HostStatus, PeerStatus},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often the replicas are asked whether they have heard of another process with this host's key.
const OWN_KEY_POLL: Duration = Duration::from_secs(1);

impl Host {
    /// Everything a person or a script wants to know.
    pub async fn status(&self, http: &str) -> HostStatus {
        let network = self.network();
        let services = self.vats();
        let vats = join_all(services.iter().map(|vat| vat.status())).await;
        HostStatus {
            host: self.0.name.clone(),
            key: HostId(self.0.key.verifying_key().to_bytes()).to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            image: image_hash().to_string(),
            process: std::process::id(),
            uptime_s: self.0.started.elapsed().as_secs(),
            listen: network.listen_addresses(),
            announced: self.0.addresses().and_then(Addresses::own).map(|own| own.addresses).unwrap_or_default(),
            http: http.to_owned(),
            peers: network
                .peers()
                .into_iter()
                .map(|peer| PeerStatus {
                    key: peer.host.to_string(),
                    connected: peer.connected,
                    addresses: peer.addresses,
                    last_error: peer.last_error,
                    version: peer.version,
                })
                .collect(),
            vats,
            failed_vats: self.failed(),
            disk: room_of(self.0.store.as_ref()),
            damage: self.damage(),
            peer_evidence: self.0.peer_evidence.count(),
            muted: self.0.muted.all().iter().map(ToString::to_string).collect(),
        }
    }

    /// How the clocks of the other members of the vats here differ from this host's, each member once.
    pub async fn clocks(&self) -> Vec<ClockDifference> {
        let services: Vec<_> = self.vats().into_iter().filter(|vat| !vat.is_removed()).collect();
        let asked = services.iter().map(|vat| async move {
            let found = vat.replica.compare_clocks().await;
            found.into_iter().map(|(member, ahead_ms)| ClockDifference {
                vat: vat.name.clone(),
                member: member.name,
                key: member.key.to_string(),
                ahead_ms,
            })
        });
        let mut once = BTreeMap::new();
        for difference in join_all(asked).await.into_iter().flatten() {
            let entry = once.entry(difference.key.clone()).or_insert_with(|| difference.clone());
            if entry.ahead_ms.is_none() {
                *entry = difference;
            }
        }
        once.into_values().collect()
    }

    /// All evidence that this host keeps: of members of the vats that it carries or carried, and of other vats that contradict
    /// themselves.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn evidence(&self) -> Result<ProofFile, HostError> {
        let mut file = ProofFile { vats: Vec::new() };
        for service in self.vats() {
            let records = service.replica.evidence()?;
            let items = records.into_iter().map(|record| Item::Evidence(Box::new(record))).collect();
            file.vats.push(VatProof { introduction: service.replica.introduction(), items });
        }
        // Of vats that were carried here, too: evidence outlives them.
        let carried: BTreeSet<VatId> = self.vats().iter().map(|service| service.vat).collect();
        for vat in self.0.directory.vats().into_iter().filter(|vat| !carried.contains(vat)) {
            let records = evidence_of(&self.0.store, vat)?;
            let Some(introduction) = self.0.directory.introduction(&vat) else { continue };
            let items = records.into_iter().map(|record| Item::Evidence(Box::new(record))).collect();
            file.vats.push(VatProof { introduction, items });
        }
        for (vat, items) in self.0.peer_evidence.all()? {
            // Without an introduction nobody could check it.
            let Some(introduction) = self.0.directory.introduction(&vat) else { continue };
            file.vats.push(VatProof { introduction, items });
        }
        file.vats.retain(|vat| !vat.items.is_empty());
        Ok(file)
    }

    /// The page for Prometheus.
    pub async fn metrics(&self) -> String {
        let mut page = Page::default();
        let vats = self.vats();
        let image = image_hash().to_string();
        let build =
            Build { version: env!("CARGO_PKG_VERSION"), image: &image, commit: self.0.commit.unwrap_or("unknown") };
        host::process(&mut page, &build, vats.len());
        host::network(&mut page, &self.network().stats());
        self.0.addresses().iter().for_each(|known| host::addresses(&mut page, known.records(), known.received()));
        host::store(&mut page, self.0.store.as_ref());
        room_of(self.0.store.as_ref()).iter().for_each(|room| host::disk(&mut page, room, &self.0.disk));
        host::scrub(&mut page, &self.scrub_status(), self.damage().len());
        for vat in &vats {
            mirror::vat_bytes(&mut page, &vat.name, &self.0.store.bytes_of(&quorate_consensus::VatId(vat.vat.0)));
        }
        host::traces(&mut page, self.0.traces.as_ref().map(|traces| traces.stats().get()).unwrap_or_default());
        mirror::peer_evidence(&mut page, self.0.peer_evidence.count());
        mirror::gateway(&mut page, &self.0.gateway);
        let sights = self.sights();
        // Together: one that is busy takes a while to answer.
        let looks = vats.iter().map(async |vat| (vat, vat.status().await, vat.replica.figures().await));
        for (vat, status, figures) in join_all(looks).await {
            vat.observe(&status, &figures, &sights, &mut page);
        }
        let runs = |name: &String| vats.iter().any(|vat| vat.name == *name);
        for name in self.failed().into_keys().filter(|name| !runs(name)) {
            mirror::fault(&mut page, &name, true);
        }
        page.extend(self.0.telemetry.gather());
        libp2p::add(&mut page, &self.network().metrics_text());
        page.render()
    }

    /// What this host sees of those that share a vat with it.
    fn sights(&self) -> BTreeMap<HostId, Sight> {
        let mut sights: BTreeMap<HostId, Sight> = BTreeMap::new();
        for (host, at) in self.0.co_members().seen() {
            sights.entry(host).or_default().last_seen = Some(at);
        }
        for peer in self.network().peers() {
            let sight = sights.entry(peer.host).or_default();
            (sight.connected, sight.round_trip) = (peer.connected, peer.round_trip);
        }
        sights
    }

    /// Returns why this host is not ready to serve, or nothing.
    pub fn not_ready(&self) -> Vec<String> {
        let vats = self.vats();
        let failed = self.failed().into_iter().map(|(name, error)| format!("{name}: {error}"));
        vats.iter()
            .filter(|vat| !vat.is_removed())
            .map(|vat| (vat, vat.replica.status()))
            .filter_map(|(vat, status)| match &status.fault {
                Some(fault) => Some(format!("{}: {fault}", vat.name)),
                None if vat.is_leaderless(&status) => Some(format!("{}: no leader", vat.name)),
                None => vat.standstill(&status).map(|why| format!("{}: {why}", vat.name)),
            })
            .chain(failed)
            .collect()
    }

    pub(super) fn failed(&self) -> BTreeMap<String, String> {
        self.0.failures().clone()
    }

    /// Returns when another process runs with this host's key, and how that was noticed: in a handshake, or by what members of a
    /// vat have of it (`Q-C046`).
    pub async fn own_key_met(&self) -> String {
        let mut met = self.0.own_key.subscribe();
        let mut tick = tokio::time::interval(OWN_KEY_POLL);
        loop {
            if let Some(how) = met.borrow_and_update().clone() {
                return how;
            }
            let faults = self.vats().into_iter().filter_map(|vat| {
                let fault = vat.replica.status_watch().borrow().fault.clone()?;
                fault.starts_with("Q-C046").then(|| format!("{}: {fault}", vat.name))
            });
            if let Some(how) = faults.into_iter().next() {
                return how;
            }
            tokio::select! {
                // The sender is this host's own.
                _ = met.changed() => {}
                _ = tick.tick() => {}
            }
        }
    }
}

//! A host: its vats, the network between hosts, the directory, and its reports.
//!
//! Clock, store and network are parameters, so that a simulation runs this very code. Invariants: a vat's replica gets frames of the agreement
//! only from its members (the replica decides which hosts those are). Strangers may send slices and directory
//! questions, which prove themselves or ask for public facts.

mod delete;
mod error;
mod frames;
mod image;
mod liveness;
mod muted;
mod recover;
mod repair;
mod room;
mod scrub;
mod served;

use crate::{
    addresses::{self, Addresses},
    carried::{CarriedClients, WithCarried},
    co_members::CoMembers,
    deletion,
    directory::{Directory, lookup::look_up, newest_membership},
    images::{HostImages, wait::ImageWait},
    local::WithSelf,
    system::room_of,
    telemetry::{
        Telemetry,
        host::{self, Build},
        libp2p,
        members::Sight,
        mirror,
        page::Page,
    },
    traces::Traces,
    vat::{VatOptions, VatService, peer_evidence::PeerEvidence},
};
pub use delete::Deleted;
pub use error::HostError;
use frames::Frames;
use futures::{StreamExt, future::join_all, stream};
use image::{MemberImages, fetch_and_run};
use muted::Muted;
use quorate_config::testnet::{ReachConfig, TracesConfig};
use quorate_consensus::{
    Approve, ArchiveOptions, Channel, HostId, Introduction, Member, Pace, Store, Timing, evidence_of,
};
use quorate_courier::addresses::Located;
use quorate_engine::{
    VatId, fuel_prices_hash,
    image::{Image, Images, image_hash},
};
use quorate_net::{Handler, NetError, Network};
use quorate_protocol::disk::DiskLimits;
use quorate_protocol::{
    codec,
    proof::file::{Item, ProofFile, VatProof},
    provision::{Contacts, Provision},
    status::{ClockDifference, HostStatus, PeerStatus},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Keys under which the store notes the vats that it carries; the vat's id follows.
pub const VAT_RECORDS: &str = "vat/";
/// Vats of a host that are started at once: some wait for the disk or for members, while others restore their heaps.
const STARTED_AT_ONCE: usize = 8;
/// Vats of a host that hold an election at once, as candidates here.
const ELECTIONS_AT_ONCE: usize = 4;
/// How often vats that nobody here knows are asked about.
const LOOKUP_EVERY: Duration = Duration::from_millis(500);
/// How often the replicas are asked whether they have heard of another process with this host's key.
const OWN_KEY_POLL: Duration = Duration::from_secs(1);
/// What members hear whose frames come before their vat has started here.
const STARTING: &str = "this host is starting";

/// Where the console file of a vat lies, by the vat's name.
pub type ConsolePath = dyn Fn(&str) -> PathBuf + Send + Sync;

/// What a host consists of.
pub struct HostOptions {
    pub name: String,
    pub key: ed25519_dalek::SigningKey,
    /// The engine images that are here; those that vats need beside them are fetched from members and kept there.
    pub images: Arc<Images>,
    pub store: Arc<dyn Store>,
    pub timing: Timing,
    /// How the host answers to changes of members that others propose.
    pub approve: Approve,
    /// What the host may take of its disk.
    pub disk: DiskLimits,
    /// Where what is cut from the vats' logs is kept, if anywhere.
    pub archive: Option<ArchiveOptions>,
    /// The commit that the program was built from, if its build knew it.
    pub commit: Option<&'static str>,
    /// Where other hosts reach this one.
    pub reach: ReachConfig,
    /// Where traces of messages go, if anywhere.
    pub traces: Option<TracesConfig>,
    /// Where the console file of a vat lies, by its name; `None` keeps no console files.
    pub console: Option<Arc<ConsolePath>>,
}

/// A running host; cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    key: ed25519_dalek::SigningKey,
    images: HostImages,
    store: Arc<dyn Store>,
    timing: Timing,
    pace: Arc<Pace>,
    approve: Approve,
    disk: DiskLimits,
    archive: Option<ArchiveOptions>,
    commit: Option<&'static str>,
    traces: Option<Traces>,
    scrub: Arc<scrub::Scrub>,
    console: Option<Arc<ConsolePath>>,
    directory: Directory,
    peer_evidence: PeerEvidence,
    muted: Muted,
    telemetry: Arc<Telemetry>,
    addresses: OnceLock<Addresses>,
    co_members: OnceLock<Arc<CoMembers>>,
    /// How many vats, or lists of them, are being started.
    starting: AtomicUsize,
    /// Clients whose frames come by the gateway.
    carried: CarriedClients,
    /// What the gateway counts; nothing where there is none.
    gateway: Arc<quorate_gateway::stats::Stats>,
    vats: RwLock<BTreeMap<VatId, Arc<VatService>>>,
    /// Vats that could not be started with the host, and why.
    failed: Mutex<BTreeMap<String, String>>,
    /// Where another process with this host's key was met.
    own_key: watch::Sender<Option<String>>,
    /// Keys whose holders may use the administrative interface from other machines.
    operators: BTreeSet<HostId>,
    /// That interface, once it is there.
    admin: OnceLock<axum::Router>,
    /// One vat is taken on at a time, so that a name or a vat is never taken twice. Those that the host has noted already are started together.
    carrying: tokio::sync::RwLock<()>,
    /// Noted vats that are being started.
    begun: Mutex<BTreeSet<VatId>>,
    /// Which hosts may use which channels, as it was found a moment ago.
    served: Mutex<served::Served>,
    started: Instant,
}

impl Host {
    /// Starts a host: connects it with `connect`, then starts the vats that its store remembers.
    pub async fn start(
        options: HostOptions,
        connect: impl AsyncFnOnce(Arc<dyn Handler>) -> Result<Arc<dyn Network>, NetError>,
    ) -> Result<Host, HostError> {
        let directory = Directory::load(options.store.clone())?;
        let peer_evidence = PeerEvidence::load(options.store.clone())?;
        let muted = Muted::load(options.store.clone())?;
        let own = HostId(options.key.verifying_key().to_bytes());
        let traces = options.traces.map(|config| Traces::start(&config, own, &options.name));
        let inner = Arc::new(Inner {
            name: options.name,
            key: options.key,
            images: HostImages::new(options.images),
            store: options.store,
            timing: options.timing,
            pace: Arc::new(Pace::new(ELECTIONS_AT_ONCE)),
            approve: options.approve,
            disk: options.disk,
            archive: options.archive,
            commit: options.commit,
            traces,
            scrub: Arc::default(),
            console: options.console,
            directory,
            peer_evidence,
            muted,
            telemetry: Arc::new(Telemetry::new()),
            addresses: OnceLock::new(),
            co_members: OnceLock::new(),
            starting: AtomicUsize::new(0),
            carried: CarriedClients::default(),
            gateway: Arc::default(),
            vats: RwLock::default(),
            failed: Mutex::default(),
            own_key: watch::Sender::new(None),
            operators: options.reach.operators.clone(),
            admin: OnceLock::new(),
            carrying: tokio::sync::RwLock::default(),
            begun: Mutex::default(),
            served: Mutex::default(),
            started: Instant::now(),
        });
        let host = Host(inner);
        let records = host.0.store.list_meta(VAT_RECORDS)?;
        let mut provisions = Vec::new();
        for (key, value) in records {
            let provision: Provision = codec::decode(&value)
                .map_err(|error| HostError::Vat(format!("the record {key} does not decode: {error}")))?;
            provisions.push(provision);
        }
        let _starting = Starting::begin(&host.0);
        let frames = Arc::new(Frames(Arc::downgrade(&host.0)));
        let located = Located::new(connect(frames.clone()).await?);
        let (store, key) = (host.0.store.clone(), host.0.key.clone());
        let known = Addresses::load(located.clone(), store, key, options.reach)?;
        host.0.addresses.set(known).map_err(|_| ()).expect("set here only");
        let network: Arc<dyn Network> = Arc::new(WithSelf::new(Arc::new(located), frames));
        let network: Arc<dyn Network> = Arc::new(WithCarried::new(network, host.0.carried.clone()));
        host.0.co_members.set(CoMembers::new(network)).map_err(|_| ()).expect("set here only");
        let mut to_start = Vec::new();
        for provision in provisions {
            if !host.0.images.images().has(&provision.genesis.image) {
                // Its members may take long to answer, or not be there yet: the others need not wait for that.
                let waits = format!("its engine image {} is being fetched from its members", provision.genesis.image);
                host.0.fail(provision.name.clone(), waits);
                let wanted = provision.genesis.image;
                tokio::spawn(fetch_and_run(Arc::downgrade(&host.0), provision, wanted));
                continue;
            }
            to_start.push(provision);
        }
        let started = to_start.into_iter().map(|provision| {
            let host = host.clone();
            async move {
                // One vat that can't start is no reason to keep the others down; status, readiness and the log show it.
                if let Err(error) = host.start_vat(provision.clone()).await {
                    host.not_started(provision, &error);
                }
            }
        });
        stream::iter(started).buffer_unordered(STARTED_AT_ONCE).collect::<()>().await;
        tokio::spawn(look_up_wanted(Arc::downgrade(&host.0)));
        tokio::spawn(keep_addresses(Arc::downgrade(&host.0)));
        tokio::spawn(liveness::watch(Arc::downgrade(&host.0)));
        tokio::spawn(liveness::lead_again(Arc::downgrade(&host.0)));
        tokio::spawn(room::watch(Arc::downgrade(&host.0)));
        tokio::spawn(scrub::run(Arc::downgrade(&host.0)));
        Ok(host)
    }

    /// Returns whether this host carries the vat.
    pub fn carries(&self, vat: &VatId) -> bool {
        self.0.vat(vat).is_some()
    }

    /// Carries a vat from now on; the same provision again changes nothing.
    pub async fn carry(&self, provision: Provision) -> Result<VatId, HostError> {
        let vat = provision.genesis.vat_id();
        provision
            .genesis
            .validate()
            .map_err(|error| HostError::Genesis { name: provision.name.clone(), why: error.to_string() })?;
        check_prices(&provision)?;
        let _starting = Starting::begin(&self.0);
        // Before anything is noted, and while other vats can be carried.
        let image = self.image_of(&provision).await?;
        let _one_at_a_time = self.0.carrying.write().await;
        if let Ok(service) = self.find(&vat.to_string()) {
            if provision.joining && service.is_removed() {
                return Err(HostError::WasMember(provision.name));
            }
            return Ok(vat);
        }
        if self.vats().iter().any(|other| other.name == provision.name) {
            return Err(HostError::NameTaken(provision.name));
        }
        let name = provision.name.clone();
        let record = format!("{VAT_RECORDS}{vat}");
        if !deletion::may_carry(&self.0.store, vat)? {
            return Err(HostError::WasMember(name));
        }
        self.0.store.put_meta(&record, &codec::encode(&provision))?;
        self.0.store.sync()?;
        self.run_vat(provision, image).await?;
        self.0.recover(&name);
        Ok(vat)
    }

    /// Starts a vat that this host has noted before.
    async fn start_vat(&self, provision: Provision) -> Result<(), HostError> {
        check_prices(&provision)?;
        let image = self.image_of(&provision).await?;
        let _nothing_is_taken_on = self.0.carrying.read().await;
        let Some(_begun) = Begun::begin(&self.0, provision.genesis.vat_id()) else { return Ok(()) };
        if self.carries(&provision.genesis.vat_id()) {
            // Its owner had the host carry it again meanwhile.
            return Ok(());
        }
        if !deletion::is_carried(&self.0.store, provision.genesis.vat_id())? {
            // Its owner had the host delete it meanwhile.
            return Ok(());
        }
        self.run_vat(provision, image).await
    }

    /// Notes why a vat was not started. One that waits for an image which it has moved to is started when that is here.
    fn not_started(&self, provision: Provision, error: &HostError) {
        tracing::error!(vat = %provision.name, %error, "a vat could not be started");
        self.0.fail(provision.name.clone(), error.to_string());
        if let HostError::NoImage { wanted, .. } = error {
            tokio::spawn(fetch_and_run(Arc::downgrade(&self.0), provision, *wanted));
        }
    }

    async fn run_vat(&self, provision: Provision, image: Arc<Image>) -> Result<(), HostError> {
        let vat = provision.genesis.vat_id();
        let co_members = self.0.co_members().clone();
        let introduction = Introduction { genesis: provision.genesis.clone(), chain: Vec::new() };
        self.0.directory.learn(Some(&provision.name), &introduction);
        let introduction = self.0.directory.introduction(&vat).unwrap_or(introduction);
        co_members.set(vat, &newest_membership(&introduction).members, Instant::now());
        let wait = Arc::new(ImageWait::default());
        let service = VatService::start(VatOptions {
            name: provision.name.clone(),
            genesis: provision.genesis,
            chain: introduction.chain,
            joining: provision.joining,
            install: provision.install,
            approve: self.0.approve,
            key: self.0.key.clone(),
            image,
            images: Arc::new(MemberImages::new(&self.0, vat, wait.clone())),
            image_wait: wait.clone(),
            store: self.0.store.clone(),
            archive: self.0.archive.clone(),
            transport: co_members.transport(vat),
            co_members,
            directory: self.0.directory.clone(),
            peer_evidence: self.0.peer_evidence.clone(),
            telemetry: self.0.telemetry.clone(),
            traces: self.0.traces.clone(),
            console: self.0.console.as_ref().map(|console| console(&provision.name)),
            timing: self.0.timing,
            pace: self.0.pace.clone(),
        })
        .await
        .map_err(|why| match wait.missing() {
            Some(wanted) => HostError::NoImage {
                name: provision.name.clone(),
                wanted,
                why: "the vat has moved to it, and the host asks the vat's members".to_owned(),
            },
            None => HostError::Vat(why),
        })?;
        tracing::info!(vat = %provision.name, vat_id = %vat, "carrying");
        self.0.vats.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(vat, Arc::new(service));
        // Members of this vat were strangers.
        self.0.served().forget();
        Ok(())
    }

    /// Learns of vats elsewhere.
    pub fn learn(&self, contacts: &Contacts) {
        for (name, introduction) in &contacts.vats {
            self.0.directory.learn(Some(name), introduction);
        }
    }

    /// Asks hosts for the newest introduction of a vat.
    pub async fn look_up(&self, vat: &VatId) -> Option<Introduction> {
        look_up(self.network(), &self.0.directory, vat).await
    }

    /// A vat of this host by its name or id.
    pub fn find(&self, name: &str) -> Result<Arc<VatService>, HostError> {
        let id = name.parse::<VatId>().ok();
        self.vats()
            .into_iter()
            .find(|vat| vat.name == name || Some(vat.vat) == id)
            .ok_or_else(|| HostError::NoSuchVat(name.to_owned()))
    }

    /// The vats that this host carries.
    pub fn vats(&self) -> Vec<Arc<VatService>> {
        self.0.services()
    }

    /// This host as a member of vats.
    pub fn as_member(&self) -> Member {
        Member {
            key: HostId(self.0.key.verifying_key().to_bytes()),
            name: self.0.name.clone(),
            addresses: self.network().listen_addresses(),
        }
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes requests of operators for these routes from now on.
    pub fn take_operators(&self, routes: axum::Router) {
        // It is said once.
        let _ = self.0.admin.set(routes);
    }

    /// The host's directory.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Clients whose frames come by the gateway.
    pub fn carried(&self) -> &CarriedClients {
        &self.0.carried
    }

    /// Returns what the gateway counts.
    pub fn gateway_stats(&self) -> &Arc<quorate_gateway::stats::Stats> {
        &self.0.gateway
    }

    /// Returns what the network hands its frames to.
    pub fn frames(&self) -> Arc<dyn Handler> {
        Arc::new(Frames(Arc::downgrade(&self.0)))
    }

    /// The store of everything that this host keeps.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    fn network(&self) -> &Arc<dyn Network> {
        self.0.network()
    }

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

    /// Does not listen to a host any more, or does again. Returns whether that is a change.
    ///
    /// # Errors
    /// It can't be noted.
    pub fn mute(&self, host: HostId, muted: bool) -> Result<bool, HostError> {
        tracing::warn!(%host, muted, "the owner has muted or unmuted a host");
        Ok(self.0.muted.set(host, muted)?)
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

    fn failed(&self) -> BTreeMap<String, String> {
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

    /// Stops all vats, then the network.
    pub async fn shutdown(&self) {
        let vats = self.vats();
        // Together: one that is busy takes a while to stop.
        join_all(vats.iter().map(|vat| vat.shutdown())).await;
        self.network().shutdown().await;
        if let Err(error) = self.0.store.sync() {
            tracing::error!(%error, "the last sync failed");
        }
    }
}

impl Inner {
    /// The vats that run here.
    fn services(&self) -> Vec<Arc<VatService>> {
        self.vats.read().unwrap_or_else(std::sync::PoisonError::into_inner).values().cloned().collect()
    }

    fn vat(&self, vat: &VatId) -> Option<Arc<VatService>> {
        self.vats.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(vat).cloned()
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes why a vat does not run.
    fn fail(&self, vat: String, why: String) {
        self.failures().insert(vat, why);
    }

    /// A vat runs that did not.
    fn recover(&self, vat: &str) {
        self.failures().remove(vat);
    }

    fn co_members(&self) -> &Arc<CoMembers> {
        self.co_members.get().expect("set before anything can ask")
    }

    fn network(&self) -> &Arc<dyn Network> {
        self.co_members().network()
    }

    /// Nothing until the host has joined the network.
    fn addresses(&self) -> Option<&Addresses> {
        self.addresses.get()
    }

    /// Returns whether records of this host are kept here.
    fn keeps_address_of(&self, host: &HostId, addresses: &Addresses) -> bool {
        let co_members = self.co_members.get();
        co_members.is_some_and(|co_members| addresses::is_known(host, addresses, co_members, &self.directory))
    }

    fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed) > 0
    }

    fn served(&self) -> MutexGuard<'_, served::Served> {
        self.served.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns whether a member of some vat here may use this channel. Asked for each frame, so it does not look at each vat: the replica
    /// that a frame is for looks again.
    fn serves(&self, from: HostId, channel: Channel) -> bool {
        if self.co_members.get().is_some_and(|co_members| co_members.contains(&from)) {
            return true;
        }
        let known = self.served().get(&from, channel, Instant::now());
        known.unwrap_or_else(|| {
            let vats = self.vats.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let serves = vats.values().any(|vat| vat.replica.permits(from, channel));
            drop(vats);
            self.served().put(from, channel, serves, Instant::now());
            serves
        })
    }
}

/// Vats are being started as long as this lives.
struct Starting(Arc<Inner>);

impl Starting {
    fn begin(host: &Arc<Inner>) -> Starting {
        host.starting.fetch_add(1, Ordering::Relaxed);
        Starting(host.clone())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A noted vat is being started as long as this lives.
struct Begun(Arc<Inner>, VatId);

impl Begun {
    /// `None`: it is being started already.
    fn begin(host: &Arc<Inner>, vat: VatId) -> Option<Begun> {
        let is_first = host.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(vat);
        is_first.then(|| Begun(host.clone(), vat))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.1);
    }
}

/// Refuses a vat that counts fuel otherwise than this program.
fn check_prices(provision: &Provision) -> Result<(), HostError> {
    let (wanted, own) = (provision.genesis.parameters.fuel_prices, fuel_prices_hash());
    if wanted == own { Ok(()) } else { Err(HostError::FuelPrices { name: provision.name.clone(), wanted, own }) }
}

/// Looks up vats whose couriers did not know where to go, as long as the host lives.
async fn look_up_wanted(host: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOKUP_EVERY).await;
        let Some(host) = host.upgrade() else { return };
        host.co_members().sweep(Instant::now());
        let wanted = host.directory.take_wanted();
        join_all(wanted.iter().map(|vat| look_up(host.network(), &host.directory, vat))).await;
    }
}

/// Keeps this host's address record, and those of others, as long as the host lives.
async fn keep_addresses(host: Weak<Inner>) {
    let mut rounds = addresses::Rounds::default();
    loop {
        {
            let Some(host) = host.upgrade() else { return };
            if let Some(addresses) = host.addresses() {
                rounds.run(addresses, host.co_members(), &host.directory).await;
            }
        }
        tokio::time::sleep(addresses::ROUND).await;
    }
}

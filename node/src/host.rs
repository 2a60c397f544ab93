//! A host: its vats, the network between hosts, the directory, and its reports.
//!
//! Clock, store and network are parameters, so that a simulation runs this very code. Invariants: a vat's replica gets frames of the agreement
//! only from its members (the replica decides which hosts those are). Strangers may send slices and directory
//! questions, which prove themselves or ask for public facts.

mod carrying;
mod delete;
mod error;
mod frames;
mod image;
mod liveness;
mod muted;
mod recover;
mod repair;
mod report;
mod room;
mod scrub;
mod served;

use crate::{
    addresses::{self, Addresses},
    carried::{CarriedClients, WithCarried},
    co_members::CoMembers,
    directory::{Directory, lookup::look_up},
    images::HostImages,
    local::WithSelf,
    telemetry::Telemetry,
    traces::Traces,
    vat::{VatService, peer_evidence::PeerEvidence},
};
use carrying::Starting;
pub use delete::Deleted;
pub use error::HostError;
use frames::Frames;
use futures::{StreamExt, future::join_all, stream};
use image::fetch_and_run;
use muted::Muted;
use quorate_config::testnet::{ReachConfig, TracesConfig};
use quorate_consensus::{Approve, ArchiveOptions, Channel, HostId, Introduction, Member, Pace, Store, Timing};
use quorate_courier::addresses::Located;
use quorate_engine::{VatId, image::Images};
use quorate_net::{Handler, NetError, Network};
use quorate_protocol::disk::DiskLimits;
use quorate_protocol::{
    codec,
    provision::{Contacts, Provision},
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
        tokio::spawn(room::watch(Arc::downgrade(&host.0)));
        tokio::spawn(scrub::run(Arc::downgrade(&host.0)));
        Ok(host)
    }

    /// Returns whether this host carries the vat.
    pub fn carries(&self, vat: &VatId) -> bool {
        self.0.vat(vat).is_some()
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

    /// Does not listen to a host any more, or does again. Returns whether that is a change.
    ///
    /// # Errors
    /// It can't be noted.
    pub fn mute(&self, host: HostId, muted: bool) -> Result<bool, HostError> {
        tracing::warn!(%host, muted, "the owner has muted or unmuted a host");
        Ok(self.0.muted.set(host, muted)?)
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

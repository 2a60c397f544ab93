//! Runs a node on a home: `vat node run` as a function, so that tests can exchange parts.

use crate::{
    api::server::{Api, admin_routes, listen_on_socket, public_routes},
    deletion, gateway,
    host::{Host, HostError, HostOptions, VAT_RECORDS},
    service_manager, system,
};
use quorate_config::{
    cache,
    home::{Home, HomeError, private},
    provision,
    testnet::TracesConfig,
};
use quorate_consensus::{ArchiveOptions, Marks, RocksStore, Store, StoreError, Timing, threads_begin_with};
use quorate_engine::{
    EngineError,
    image::{Images, image_hash},
};
use quorate_gateway::listener;
use quorate_net::{Handler, Libp2pNetwork, NetLimits, NetOptions, NetReach, Network};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What an archive leaves free beyond the soft limit of the disk: files that are written meanwhile.
const ARCHIVE_ROOM: u64 = 64 << 20;
/// Names a collector of traces to all programs that know OpenTelemetry.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How often is looked whether the store still works.
const STORE_LOOK: Duration = Duration::from_millis(250);
/// How long a host whose store has failed may take to stop what else it does.
const FAILED_STOP: Duration = Duration::from_secs(5);

/// What can be exchanged in a run.
#[derive(Default)]
pub struct RunOptions {
    /// Stands between the host and the network; `None` but in tests.
    pub between: Option<Arc<dyn Between>>,
    /// The commit that the program was built from, if its build knew it.
    pub commit: Option<&'static str>,
}

/// What stands between a host and the network: for tests of hosts that lie, never set by the `vat` command.
pub trait Between: Send + Sync + 'static {
    /// Returns what the network hands its frames to, instead of the host's handler.
    fn inbound(&self, handler: Arc<dyn Handler>) -> Arc<dyn Handler>;

    /// Returns what the host sends by, instead of the network.
    fn outbound(&self, network: Arc<dyn Network>) -> Arc<dyn Network>;
}

/// Why a node doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("Q-R001 {0}")]
    Home(#[from] HomeError),
    #[error("Q-R002 the engine could not be loaded: {0}")]
    Engine(#[from] EngineError),
    #[error(
        "Q-R005 there is no place for compiled code: none of the variables QUORATE_CACHE, XDG_CACHE_HOME and HOME is set; set QUORATE_CACHE to a folder that only this user may write to, such as the CacheDirectory of a service"
    )]
    NoCache,
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("Q-R003 {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{source}; `listen` in {file} says where: is it an address of this machine, and its port free?")]
    Listen { source: HostError, file: String },
    #[error(
        "Q-R007 another process runs with this host's key ({how}); a key belongs to one host: find out which of the two is the right one, and never start the other again"
    )]
    SecondProcess { how: String },
    #[error(
        "Q-R009 {OTLP_VARIABLE}={endpoint} is no address of a collector of traces: {why}; set it to http://MACHINE:4318, or unset it"
    )]
    Traces { endpoint: String, why: String },
    #[error(
        "Q-R004 this host carried vat {vat} before, but its data is gone from {data}; it must not start as if it were new, or it could sign twice: `vat member repair` on this home, which its marks allow, or else replace it (`vat member replace`) by a host with a new home"
    )]
    DataLost { vat: String, data: String },
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    |source| RunError::Io { what, source }
}

/// Returns where compiled images are kept: `$QUORATE_CACHE`, else `quorate/engine` in the user's cache directory.
///
/// # Errors
/// No variable names a place. A folder that all users share is none: what lies there is run as native code.
pub fn engine_cache() -> Result<PathBuf, RunError> {
    cache_of(|variable| std::env::var_os(variable))
}

fn cache_of(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, RunError> {
    cache::of_engine(variable).ok_or(RunError::NoCache)
}

impl RunError {
    /// Returns what helps, for those who decide whether to start the host again.
    pub fn remedy(&self) -> Remedy {
        let of_io = |source: &io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Remedy::Room,
            io::ErrorKind::InvalidData => Remedy::Mend,
            _ => Remedy::Unknown,
        };
        let of_store = |error: &StoreError| match error {
            StoreError::Full(_) | StoreError::OpenFiles(_) | StoreError::Io(_) => Remedy::Room,
            StoreError::Corrupt { .. } => Remedy::NewHome,
            StoreError::Format { .. } => Remedy::Mend,
            StoreError::Locked { .. } => Remedy::Unknown,
        };
        match self {
            RunError::Home(HomeError::Io { source, .. }) if of_io(source) == Remedy::Room => Remedy::Room,
            RunError::Home(_) | RunError::NoCache | RunError::Traces { .. } | RunError::SecondProcess { .. } => {
                Remedy::Mend
            }
            RunError::Engine(EngineError::Cache { source, .. }) => of_io(source),
            RunError::Engine(EngineError::Untrusted { .. }) => Remedy::Mend,
            RunError::Io { source, .. } => of_io(source),
            RunError::Store(error) | RunError::Host(HostError::Store(error)) => of_store(error),
            RunError::DataLost { .. } => Remedy::NewHome,
            RunError::Host(HostError::NoImage { .. } | HostError::FuelPrices { .. } | HostError::Genesis { .. }) => {
                Remedy::Mend
            }
            RunError::Engine(EngineError::ImageFile { source, .. })
            | RunError::Host(HostError::Image { source: EngineError::ImageFile { source, .. }, .. }) => of_io(source),
            RunError::Host(HostError::Image { .. }) => Remedy::Mend,
            RunError::Engine(_) | RunError::Host(_) | RunError::Listen { .. } => Remedy::Unknown,
        }
    }
}

/// What helps a host that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Starting it again, once its disk works and has room.
    Room,
    /// A person must change the command, the home or the environment.
    Mend,
    /// It must not run as it is: it is repaired, or a host with a new home takes its place.
    NewHome,
    /// Starting it again may help.
    Unknown,
}

/// A node that runs.
pub struct Running {
    pub host: Host,
    servers: Vec<tokio::task::JoinHandle<()>>,
    socket: PathBuf,
}

impl Running {
    /// Starts a node on a home, which is this process' until its end.
    pub async fn start(home: &Home, options: RunOptions) -> Result<Running, RunError> {
        // Not only until the node has stopped: a process that finds the home free must find its database free and this process gone.
        std::mem::forget(home.lock()?);
        system::keep_files_private();
        threads_begin_with(system::yield_to_others);
        let narrowed = private::narrow_home(home.path())?;
        if narrowed > 0 {
            tracing::warn!(host = %home.config.name, files = narrowed, "other users could use files of this home; they can't any more");
        }
        let cache = engine_cache()?;
        tracing::info!(host = %home.config.name, cache = %cache.display(), "loading the engine image");
        let images = Arc::new(Images::open(cache, home.images()));
        let own = images.clone();
        tokio::task::spawn_blocking(move || own.get(&image_hash()))
            .await
            .map_err(|error| RunError::Io { what: "loading the engine".into(), source: io::Error::other(error) })??;
        // Before a new database is made there: a repair that died may still have the good one to put in its place.
        if let Some(vat) = carried(home)?.into_iter().next().filter(|_| !home.data().exists()) {
            return Err(RunError::DataLost { vat, data: home.data().display().to_string() });
        }
        let store: Arc<dyn Store> = Arc::new(RocksStore::open_with_marks(home.data(), home.marks())?);
        deletion::finish_all(home, &store).map_err(HostError::from)?;
        check_marks(home, store.as_ref())?;
        mark_remembered(home, store.as_ref())?;
        let logs = home.path().join("logs");
        let (secret, listen) = (home.key.to_bytes(), home.config.listen.clone());
        let reach = NetReach {
            relays: home.config.reach.relay_addresses().into_iter().collect(),
            relay_for: home.config.reach.relay_for.iter().copied().collect(),
        };
        let between = options.between;
        let host = Host::start(
            HostOptions {
                name: home.config.name.clone(),
                key: home.key.clone(),
                images,
                store: store.clone(),
                timing: Timing::default(),
                approve: home.config.approve,
                disk: home.config.disk,
                archive: archive_of(home),
                reach: home.config.reach.clone(),
                commit: options.commit,
                traces: traces_of(home, |variable| std::env::var(variable).ok())?,
                console: Some(Arc::new(move |name| logs.join(format!("{name}.console")))),
            },
            async move |handler| {
                let handler = match &between {
                    Some(between) => between.inbound(handler),
                    None => handler,
                };
                let options = NetOptions { secret, listen, reach, handler, limits: NetLimits::default() };
                let network = Libp2pNetwork::start(options).await? as Arc<dyn Network>;
                Ok(match between {
                    Some(between) => between.outbound(network),
                    None => network,
                })
            },
        )
        .await
        .map_err(|error| match error {
            HostError::Network(_) => RunError::Listen { source: error, file: home.config_file().display().to_string() },
            other => other.into(),
        })?;
        carry_provisions(home, &host, store.as_ref()).await?;
        let (mut servers, socket) = serve(home, &host).await?;
        servers.extend(gateway::serve(home, &host).await?);
        tracing::info!(host = %home.config.name, http = %home.config.http, vats = host.vats().len(), "running");
        Ok(Running { host, servers, socket })
    }

    /// Stops everything in order; the state is on disk when it returns.
    pub async fn stop(self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
        self.host.shutdown().await;
        if let Some(Err(error)) = self.host.store().marks().map(Marks::close) {
            // A repair then knows less exactly what was promised.
            tracing::error!(%error, "the host's marks could not be closed");
        }
        // Clients that look for the host find at once that it isn't there.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Where what is cut from logs is kept. The archive leaves as much room on its disk as vats need to take new messages.
fn archive_of(home: &Home) -> Option<ArchiveOptions> {
    let (config, folder) = (home.config.archive.as_ref()?, home.archive()?);
    let (limits, place, own) = (home.config.disk, folder.clone(), home.path().to_owned());
    let room = move || {
        // Before its first file the folder may not be there.
        let place = if place.exists() { &place } else { &own };
        let disk = system::disk_space(place).map_err(|error| format!("{}: {error}", place.display()))?;
        let (free, least) = (disk.free_bytes, limits.soft_on(&disk));
        // Some more, so that it is not the archive that makes the disk short.
        if free > least.saturating_add(ARCHIVE_ROOM) {
            return Ok(());
        }
        Err(format!(
            "the disk of {} has {} MiB left, and an archive leaves {} MiB",
            place.display(),
            free >> 20,
            (least + ARCHIVE_ROOM) >> 20
        ))
    };
    Some(ArchiveOptions { folder, bytes: config.bytes, blocks: config.blocks, room: Arc::new(room) })
}

/// Where traces go: what `host.toml` says, or else the variable that other programs go by as well.
fn traces_of(home: &Home, variable: impl Fn(&str) -> Option<String>) -> Result<Option<TracesConfig>, RunError> {
    if home.config.traces.is_some() {
        return Ok(home.config.traces.clone());
    }
    let Some(endpoint) = variable(OTLP_VARIABLE).filter(|endpoint| !endpoint.is_empty()) else { return Ok(None) };
    TracesConfig::parse(&endpoint, 1).map(Some).map_err(|why| RunError::Traces { endpoint, why })
}

/// A vat whose mark is here must be in the store.
fn check_marks(home: &Home, store: &dyn Store) -> Result<(), RunError> {
    for vat in carried(home)? {
        if !remembers(store, &vat)? {
            return Err(RunError::DataLost { vat, data: home.data().display().to_string() });
        }
    }
    Ok(())
}

/// The ids of the vats whose marks are in a home.
///
/// # Errors
/// The folder can't be read.
pub(crate) fn carried(home: &Home) -> Result<Vec<String>, RunError> {
    let folder = home.carried();
    let failed = || io_error(folder.display().to_string());
    let mut vats = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        // One that a crash left half written is no mark.
        if Path::new(&name).extension().is_none_or(|suffix| suffix != provision::STAGED_SUFFIX) {
            vats.push(name.to_string_lossy().into_owned());
        }
    }
    vats.sort();
    Ok(vats)
}

/// Returns whether the store knows that it carries this vat.
fn remembers(store: &dyn Store, vat: &str) -> Result<bool, StoreError> {
    Ok(store.get_meta(&format!("{VAT_RECORDS}{vat}"))?.is_some())
}

/// Carries the vats that were laid down for this host since its last start. Those before have started with it already, or are
/// damaged: no reason to keep the others down, and the host's status says so.
async fn carry_provisions(home: &Home, host: &Host, store: &dyn Store) -> Result<(), RunError> {
    let folder = home.provision();
    let (provisions, contacts) = provision::read(&folder, |vat| remembers(store, vat).is_ok_and(|known| known))
        .map_err(io_error("reading what this host shall carry"))?;
    host.learn(&contacts);
    for provision in provisions {
        let id = provision.genesis.vat_id().to_string();
        if !remembers(store, &id)? {
            match host.carry(provision).await {
                // The others need not wait for it.
                Err(error @ HostError::WasMember(_)) => {
                    tracing::error!(vat_id = %id, %error, file = %folder.display(), "what lies there is passed over");
                    continue;
                }
                carried => carried?,
            };
            mark(home, store, &id).map_err(io_error("marking a vat as carried"))?;
        }
    }
    Ok(())
}

/// Makes the marks of vats that the store has, which a crash may have left out, or an earlier version left empty.
fn mark_remembered(home: &Home, store: &dyn Store) -> Result<(), RunError> {
    for (key, _) in store.list_meta(VAT_RECORDS)? {
        let vat = key.strip_prefix(VAT_RECORDS).unwrap_or(&key);
        if std::fs::metadata(home.carried_mark(vat)).map_or(0, |mark| mark.len()) == 0 {
            mark(home, store, vat).map_err(io_error("marking a vat as carried"))?;
        }
    }
    Ok(())
}

/// Notes on disk that a vat is carried here, with what the store has of how to carry it: the store may be lost. It has it already, so
/// a crash in between only leaves out the mark, until the next start.
fn mark(home: &Home, store: &dyn Store, vat: &str) -> io::Result<()> {
    let record = store.get_meta(&format!("{VAT_RECORDS}{vat}")).map_err(io::Error::other)?;
    provision::write_encoded(&home.carried_mark(vat), &record.unwrap_or_default())
}

async fn serve(home: &Home, host: &Host) -> Result<(Vec<tokio::task::JoinHandle<()>>, PathBuf), RunError> {
    let file = home.config_file();
    let listener = tokio::net::TcpListener::bind(home.config.http).await.map_err(io_error(format!(
        "serving HTTP at {} (`http` in {} says where)",
        home.config.http,
        file.display()
    )))?;
    let http = listener.local_addr().map_err(io_error("the HTTP address"))?.to_string();
    let (marked, store) = (home.clone(), host.store().clone());
    let (deleting, kept) = (home.clone(), host.store().clone());
    let api = Api {
        host: host.clone(),
        http,
        mark: Arc::new(move |vat| mark(&marked, store.as_ref(), vat)),
        delete: Arc::new(move |vat, name| deletion::finish(&deleting, &kept, vat, name)),
    };
    let routes = public_routes(api.clone());
    let public = tokio::spawn(listener::serve(listener, routes, listener::Limits::default()));
    let socket = home.admin_socket();
    let listener = listen_on_socket(&socket).map_err(io_error(format!("listening on {}", socket.display())))?;
    let admin = admin_routes(api);
    host.take_operators(admin.clone());
    let admin = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, admin).await {
            tracing::error!(%error, "the admin socket has stopped");
        }
    });
    Ok((vec![public, admin], socket))
}

/// Runs a node until it is told to stop (SIGINT, SIGTERM).
pub async fn run_until_signalled(home: &Home, options: RunOptions) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(io_error("waiting for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io_error("waiting for signals"))?;
    service_manager::says("loading the engine image and the vats");
    let running = tokio::select! {
        running = Running::start(home, options) => running?,
        // Loading may take longer than a watchdog waits.
        () = service_manager::feed_watchdog() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    service_manager::ready(&format!("{} serves; `vat status --home {}`", home.config.name, home.path().display()));
    let ended: Option<RunError> = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = service_manager::feed_watchdog() => None,
        error = store_failure(running.host.store()) => Some(error.into()),
        how = running.host.own_key_met() => Some(RunError::SecondProcess { how }),
    };
    service_manager::stopping(
        ended.as_ref().map_or("stopping".to_owned(), ToString::to_string).lines().next().unwrap_or_default(),
    );
    let Some(error) = ended else {
        tracing::info!("stopping");
        running.stop().await;
        return Ok(());
    };
    // Nothing on this host can go on. Where the store has failed, only opening it anew can help: the supervisor does that when it
    // starts the host again.
    let text = error.to_string();
    tracing::error!(code = text.split(' ').next().unwrap_or_default(), %error, "this host can't go on, so it ends");
    let _ = tokio::time::timeout(FAILED_STOP, running.stop()).await;
    Err(error)
}

/// Waits until the store refuses everything.
async fn store_failure(store: &Arc<dyn Store>) -> StoreError {
    loop {
        if let Some(error) = store.failure() {
            return error;
        }
        tokio::time::sleep(STORE_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_config::home::HostConfig;
    use quorate_consensus::MemoryStore;

    #[test]
    fn compiled_code_is_kept_where_a_variable_says_and_nowhere_else() {
        let cache = |set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).into());
            cache_of(value).map(|path| path.display().to_string()).map_err(|error| error.to_string())
        };
        let all = [("QUORATE_CACHE", "/q"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(cache(&all).as_deref(), Ok("/q"));
        assert_eq!(cache(&all[1..]).as_deref(), Ok("/x/quorate/engine"));
        assert_eq!(cache(&all[2..]).as_deref(), Ok("/h/.cache/quorate/engine"));
        for none in [&[][..], &[("HOME", ""), ("QUORATE_CACHE", "")]] {
            let error = cache(none).expect_err("no place");
            assert!(error.starts_with("Q-R005 ") && error.contains("QUORATE_CACHE"), "{error}");
        }
    }

    #[test]
    fn who_starts_hosts_again_learns_whether_that_helps() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let cache = |source| EngineError::Cache { action: "write", path: "c".into(), source };
        let damaged = || StoreError::Corrupt { what: "database", error: "bad".into() };
        for (error, remedy) in [
            (RunError::Store(StoreError::Full("no room".into())), Remedy::Room),
            (RunError::Store(StoreError::Io("EIO".into())), Remedy::Room),
            (RunError::Host(HostError::Store(StoreError::OpenFiles("256".into()))), Remedy::Room),
            (RunError::Home(HomeError::Io { path: "LOCK".into(), source: full() }), Remedy::Room),
            (RunError::Io { what: "a mark".into(), source: full() }, Remedy::Room),
            (RunError::Engine(cache(full())), Remedy::Room),
            (RunError::Home(HomeError::Missing { path: "h".into() }), Remedy::Mend),
            (RunError::Home(HomeError::Io { path: "h".into(), source: denied() }), Remedy::Mend),
            (RunError::NoCache, Remedy::Mend),
            (RunError::Host(HostError::Genesis { name: "v".into(), why: "no members".into() }), Remedy::Mend),
            (RunError::Store(damaged()), Remedy::NewHome),
            (RunError::Host(HostError::Store(damaged())), Remedy::NewHome),
            (RunError::DataLost { vat: "07".into(), data: "d".into() }, Remedy::NewHome),
            (RunError::Io { what: "HTTP".into(), source: io::ErrorKind::AddrInUse.into() }, Remedy::Unknown),
        ] {
            assert_eq!(error.remedy(), remedy, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_noticed_and_one_that_works_is_waited_for() {
        let memory = Arc::new(MemoryStore::new());
        let store: Arc<dyn Store> = memory.clone();
        let waiting = tokio::time::timeout(Duration::from_secs(600), store_failure(&store)).await;
        assert!(waiting.is_err(), "nothing has failed");
        memory.fail("no disk");
        let error = tokio::time::timeout(Duration::from_secs(600), store_failure(&store)).await.expect("noticed");
        assert!(error.to_string().starts_with("Q-C001 "), "{error}");
    }

    #[test]
    fn a_vat_whose_mark_a_crash_left_out_is_marked_at_the_next_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let address = "127.0.0.1:9001".parse().expect("an address");
        let config = HostConfig {
            name: "alpha".into(),
            listen: vec![],
            http: address,
            approve: quorate_consensus::Approve::Auto,
            disk: Default::default(),
            archive: None,
            gateway: None,
            reach: Default::default(),
            traces: None,
        };
        let home = Home::init(&dir.path().join("home"), config).expect("a new home");
        let (store, vat) = (MemoryStore::new(), "ab".repeat(32));
        store.put_meta(&format!("{VAT_RECORDS}{vat}"), b"a provision").expect("room");
        assert!(
            check_marks(&home, &MemoryStore::new()).is_ok(),
            "without a mark nobody would notice that the data is gone"
        );
        for _start in 0..2 {
            check_marks(&home, &store).expect("all is there");
            mark_remembered(&home, &store).expect("writable");
            assert!(home.carried_mark(&vat).exists());
        }
        let lost = check_marks(&home, &MemoryStore::new());
        assert!(matches!(&lost, Err(RunError::DataLost { vat: lost, .. }) if *lost == vat), "{lost:?}");
    }
}

//! Finding the running hosts that a command is about: those of a testnet's directory, or single homes.
//!
//! A host of a testnet whose home is missing or can't be read is a host that is down: it is no obstacle to the others. Nothing here
//! needs a host's secret key: its admin socket is enough, which may be forwarded from another machine.

use super::{Exit, Failure, directory, join::read_card, open_cluster, operator};
use quorate_admin::{
    IntroductionReply,
    client::{Endpoint, LOOK_DEADLINE},
};
use quorate_config::{
    cluster::Cluster,
    home::{Home, admin_socket, export::Exported},
    layout::{HostPlace, TestnetDir},
};
use quorate_consensus::{HostId, Introduction, Member};
use quorate_engine::VatId;
use quorate_protocol::{
    card::dialable,
    codec,
    status::{HostStatus, VatStatus},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a host may take to answer that did not answer before: a command looks at hosts again and again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Which hosts a command is about. What the command line says goes before what the environment does, `--home` before `--dir`, and
/// `QUORATE_HOME` before `QUORATE_DIR`.
#[derive(clap::Args, Clone)]
pub struct HostsOption {
    /// The testnet's directory [default: QUORATE_DIR, or quorate-testnet]
    #[arg(long, value_name = "DIR", value_parser = directory())]
    dir: Option<PathBuf>,
    /// A host's home, instead of a testnet's directory (may be repeated) [default: QUORATE_HOME]
    #[arg(long = "home", value_name = "HOME")]
    homes: Vec<PathBuf>,
    /// The homes of those that did not answer when this command looked last.
    #[arg(skip)]
    hung: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// Where the hosts of a command are.
enum Places {
    Homes(Vec<PathBuf>),
    Testnet(PathBuf),
}

/// A host that can be asked from this machine, running or not.
pub struct LocalHost {
    pub name: String,
    pub endpoint: Endpoint,
    /// `None`: not running.
    pub status: Option<HostStatus>,
    /// Why it can't run, where its home is gone or damaged, or that it hangs.
    pub problem: Option<String>,
    /// Whether it runs and does not answer.
    pub hangs: bool,
    /// Whether its home was moved to another place: where nobody answers here, it may well run there.
    pub exported: bool,
    path: PathBuf,
    /// Its identity. `None` only where nothing is here but a socket at which nobody answers.
    pub key: Option<HostId>,
    /// What others dial while the host does not say it: what a testnet says, else what its home does.
    addresses: Vec<String>,
    /// Whether a testnet says it, whatever the host does.
    announced: bool,
}

impl HostsOption {
    /// All hosts meant, with their status.
    pub async fn all(&self) -> Result<Vec<LocalHost>, Failure> {
        let hung = std::mem::take(&mut *self.hung());
        let found: Result<Vec<LocalHost>, Failure> = match self.places() {
            Places::Homes(homes) => {
                let hosts = homes.iter().map(|path| LocalHost::open_again(path, hung.contains(path)));
                futures::future::join_all(hosts).await.into_iter().collect()
            }
            Places::Testnet(dir) => {
                let cluster = open_cluster(&dir)?;
                let hosts = cluster.layout.hosts.iter().map(|place| {
                    let home = cluster.dir.home(&place.name);
                    LocalHost::of_testnet(&cluster, place, hung.contains(&home))
                });
                futures::future::join_all(hosts).await.into_iter().collect()
            }
        };
        let found = found?;
        self.hung().extend(found.iter().filter(|host| host.hangs).map(|host| host.path.clone()));
        Ok(found)
    }

    fn hung(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The testnet's directory, if the hosts are those of one.
    pub fn testnet(&self) -> Option<TestnetDir> {
        let Places::Testnet(dir) = self.places() else { return None };
        let dir = TestnetDir::new(dir);
        matches!(dir.read(), Ok(Some(_))).then_some(dir)
    }

    fn places(&self) -> Places {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own_home = || self.dir.is_none().then(|| named("QUORATE_HOME")).flatten();
        match own_home().filter(|_| self.homes.is_empty()) {
            Some(home) => Places::Homes(vec![home]),
            None if !self.homes.is_empty() => Places::Homes(self.homes.clone()),
            None => {
                let dir = self.dir.clone().or_else(|| named("QUORATE_DIR"));
                Places::Testnet(dir.unwrap_or_else(|| PathBuf::from("quorate-testnet")))
            }
        }
    }

    /// Returns the homes of all hosts meant.
    pub fn home_paths(&self) -> Result<Vec<PathBuf>, Failure> {
        match self.places() {
            Places::Homes(homes) => Ok(homes),
            Places::Testnet(dir) => {
                let cluster = open_cluster(&dir)?;
                Ok(cluster.layout.hosts.iter().map(|place| cluster.dir.home(&place.name)).collect())
            }
        }
    }

    /// Returns what the command finds logs by: the testnet, or else the homes.
    pub fn cluster_or_homes(&self) -> Result<Result<Cluster, Vec<Home>>, Failure> {
        match self.places() {
            Places::Testnet(dir) => Ok(Ok(open_cluster(&dir)?)),
            Places::Homes(paths) => {
                let open = |path: &PathBuf| Home::open(path);
                let homes = paths.iter().map(open).collect::<Result<Vec<_>, _>>();
                Ok(Err(homes.map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?))
            }
        }
    }

    /// A host that shall be a member: by its name among the hosts meant, else by the path of its home or card. A file that happens to
    /// lie here hides no host. With a card come the addresses that it states, and the host itself if it is one of those meant; without
    /// one, the host must be here and run.
    pub async fn candidate(&self, name: &str) -> Result<(Member, Option<LocalHost>), Failure> {
        // Partners need no testnet here.
        let (mut hosts, unknown) = match self.all().await {
            Ok(hosts) => (hosts, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let path = Path::new(name);
        let (member, host) = if let Some(place) = hosts.iter().position(|host| host.name == name) {
            let host = hosts.swap_remove(place);
            (host.member()?, Some(host))
        } else if path.is_dir() || name.contains('/') && !path.exists() {
            let host = LocalHost::open(path).await?;
            (host.member()?, Some(host))
        } else if let Some(card) = read_card(path)? {
            let own = hosts.into_iter().find(|host| host.key == Some(card.key));
            (card, own)
        } else {
            return Err(no_such_host(name, &hosts, unknown));
        };
        if let Some(host) = &host {
            host.require_running()?;
        }
        for address in &member.addresses {
            // A membership is for ever, and so is an address in it.
            dialable(address).map_err(|why| {
                let message = format!(
                    "host {} says that others dial it at {address}: {why}; make its card with `vat card --home HOME --announce IP:PORT`, and name that",
                    member.name
                );
                Failure::new(Exit::Usage, message)
            })?;
        }
        Ok((member, host))
    }

    /// The running members of a vat: the leader first, those that can't speak for it last.
    pub async fn carrying(&self, vat: &str) -> Result<Vec<(LocalHost, VatStatus)>, Failure> {
        let mut found = Vec::new();
        let hosts = self.all().await?;
        let running = hosts.iter().filter(|host| host.status.is_some()).count();
        let unknown = self.unknown(&hosts, vat);
        for host in hosts {
            if let Some(status) = host.replica(vat).cloned()
                && status.role != "removed"
                && host.is_member(&status)
            {
                found.push((host, status));
            }
        }
        found.sort_by_key(|(_, status)| (status.fault.is_some(), status.role != "leader", status.role != "follower"));
        if found.is_empty() {
            if let Some(failure) = unknown {
                return Err(failure);
            }
            let message = if running == 0 {
                "none of the hosts is running; `vat testnet restart HOST` or `vat node run --home HOME` starts one"
                    .to_owned()
            } else {
                format!("no running host here is a member of {vat}; `vat status` lists the vats")
            };
            return Err(Failure::new(Exit::Unreachable, message));
        }
        Ok(found)
    }

    /// The failure that no host here knows a vat of this name or id: a wrong argument, so waiting does not help.
    fn unknown(&self, hosts: &[LocalHost], vat: &str) -> Option<Failure> {
        let layout = self.testnet().and_then(|dir| dir.read().ok().flatten());
        let places = layout.map(|layout| layout.vats).unwrap_or_default();
        let failed = |host: &LocalHost| host.status.as_ref().is_some_and(|status| status.failed_vats.contains_key(vat));
        let is_known = places.iter().any(|place| place.name == vat || place.vat == vat)
            || hosts.iter().any(|host| host.replica(vat).is_some() || failed(host) || host.has_carried(vat));
        let mut names: BTreeSet<String> = places.into_iter().map(|place| place.name).collect();
        for status in hosts.iter().filter_map(|host| host.status.as_ref()) {
            names.extend(status.vats.iter().map(|vat| vat.name.clone()).chain(status.failed_vats.keys().cloned()));
        }
        (!is_known).then(|| no_such_vat(vat, &names))
    }
}

/// The failure that a vat is not here.
pub fn no_such_vat(vat: &str, names: &BTreeSet<String>) -> Failure {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let there_are =
        if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) };
    Failure::new(Exit::Usage, format!("there is no vat {vat} here; {there_are}"))
}

/// The failure that a host is not here, and neither a home nor a card. `unknown` is why the hosts here are not known.
fn no_such_host(name: &str, hosts: &[LocalHost], unknown: Option<Failure>) -> Failure {
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let here = match unknown {
        Some(failure) => failure.error.to_string(),
        None => format!("the hosts here are {}", names.join(", ")),
    };
    let message =
        format!("there is no host {name} here, and no home and no card at that path ({here}); `vat card` makes a card");
    Failure::new(Exit::Usage, message)
}

impl LocalHost {
    /// The host of the home at `path`, or of what there is of it here: the stub of an exported home, or only a socket.
    pub async fn open(path: &Path) -> Result<LocalHost, Failure> {
        Self::open_again(path, false).await
    }

    /// The same, which is given less time if it `hung` when it was last looked at.
    async fn open_again(path: &Path, hung: bool) -> Result<LocalHost, Failure> {
        let mut host = match Home::open(path) {
            Ok(home) => LocalHost {
                key: Some(HostId(home.key.verifying_key().to_bytes())),
                addresses: home.config.listen.clone(),
                ..LocalHost::at(path, home.config.name)
            },
            Err(error) => match Exported::read(path) {
                Ok(Some(exported)) => LocalHost { key: exported.host_key(), ..LocalHost::at(path, exported.name) },
                _ if let Some(host) = operator::host_of(path) => {
                    let host = host?;
                    let (key, addresses, announced) = (Some(host.key), host.addresses, true);
                    LocalHost { key, addresses, announced, ..LocalHost::at(path, host.name) }
                }
                _ if admin_socket(path).exists() => {
                    let name = path.file_name().unwrap_or(path.as_os_str());
                    LocalHost::at(path, name.to_string_lossy().into_owned())
                }
                _ => return Err(Failure { exit: Exit::Usage, error: error.into() }),
            },
        };
        host.hangs = hung;
        host.look().await;
        if let Some(status) = &host.status {
            host.name.clone_from(&status.host);
            host.key = Some(status.key.parse()?);
        }
        if host.exported {
            host.find_problem(|| Home::open(path).err().map(Into::into));
        }
        Ok(host)
    }

    /// A host of which nothing is known but where its socket is, and how to call it.
    pub fn at(path: &Path, name: String) -> LocalHost {
        LocalHost {
            name,
            endpoint: operator::endpoint(path),
            status: None,
            problem: None,
            hangs: false,
            exported: matches!(Exported::read(path), Ok(Some(_))),
            path: path.to_owned(),
            key: None,
            addresses: Vec::new(),
            announced: false,
        }
    }

    /// Finds why a host that does not answer can't run here.
    fn find_problem(&mut self, problem: impl FnOnce() -> Option<anyhow::Error>) {
        if self.status.is_none() && self.problem.is_none() {
            self.problem = problem().map(|error| error.to_string());
        }
    }

    /// Asks the host how it stands now.
    pub async fn look(&mut self) {
        let answer = self.endpoint.get::<HostStatus>("/api/v1/status");
        let patience = if self.hangs { LOOK_AGAIN } else { LOOK_DEADLINE };
        let answer = tokio::time::timeout(patience, answer).await;
        self.hangs = answer.is_err();
        self.problem = self.hangs.then(|| {
            let seconds = LOOK_DEADLINE.as_secs();
            format!(
                "it runs, and has not answered for {seconds} s; its log may say why, else stop it and start it again"
            )
        });
        self.status = answer.ok().and_then(Result::ok);
    }

    /// A host of a testnet. One whose home is gone, damaged or exported is there as well: it does not run, unless its socket answers.
    async fn of_testnet(cluster: &Cluster, place: &HostPlace, hung: bool) -> Result<LocalHost, Failure> {
        let mut host = LocalHost {
            key: Some(place.key.parse()?),
            addresses: vec![place.address.clone()],
            announced: true,
            hangs: hung,
            ..LocalHost::at(&cluster.dir.home(&place.name), place.name.clone())
        };
        host.look().await;
        host.find_problem(|| cluster.home(&place.name).err());
        Ok(host)
    }

    /// The replica of a vat on this host, by the vat's name or id; none while the host does not run.
    pub fn replica(&self, vat: &str) -> Option<&VatStatus> {
        let mut vats = self.status.iter().flat_map(|status| &status.vats);
        vats.find(|status| status.name == vat || status.vat == vat)
    }

    /// Returns whether this host is a member of a vat, by what a status says.
    pub fn is_member(&self, vat: &VatStatus) -> bool {
        let key = self.key.map(|key| key.to_string());
        vat.members.iter().any(|member| Some(&member.key) == key.as_ref())
    }

    /// This host as a vat's member.
    ///
    /// # Errors
    /// Only the host itself could say who it is, and it does not answer.
    pub fn member(&self) -> Result<Member, Failure> {
        let Some(key) = self.key else {
            self.require_running()?;
            return Err(Failure::new(Exit::Failed, format!("host {} does not say its key", self.name)));
        };
        let addresses = match &self.status {
            Some(status) if !self.announced && !status.listen.is_empty() => status.listen.clone(),
            _ => self.addresses.clone(),
        };
        Ok(Member { key, name: self.name.clone(), addresses })
    }

    /// Returns where the key of a vat's creator lies, while the vat has no code.
    pub fn creator_key(&self, vat: &VatId) -> PathBuf {
        Home::creator_key(&self.path, &vat.to_string())
    }

    /// Returns where its home is.
    pub fn home(&self) -> &Path {
        &self.path
    }

    /// Returns whether this host ever carried a vat of this name or id, by what lies in its home.
    pub fn has_carried(&self, vat: &str) -> bool {
        let path = match vat.parse::<VatId>() {
            Ok(id) => self.path.join("carried").join(id.to_string()),
            Err(_) => self.path.join("logs").join(format!("{vat}.console")),
        };
        !vat.contains('/') && path.exists()
    }

    /// A vat's introduction, as this host has it.
    pub async fn introduction(&self, vat: &str) -> Result<Introduction, Failure> {
        let reply: IntroductionReply = self.endpoint.get(&format!("/api/v1/vats/{vat}/introduction")).await?;
        let bytes = hex::decode(reply.introduction)?;
        Ok(codec::decode(&bytes)?)
    }

    /// Fails unless the host runs.
    pub fn require_running(&self) -> Result<(), Failure> {
        let message = match (&self.status, &self.problem) {
            (Some(_), _) => return Ok(()),
            (None, Some(problem)) if self.hangs => format!("host {}: {problem}", self.name),
            (None, Some(problem)) => problem.clone(),
            (None, None) => {
                let (name, home) = (&self.name, self.path.display());
                format!("host {name} is not running; `vat node run --home {home}` starts it")
            }
        };
        Err(Failure::new(Exit::Unreachable, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_hangs_is_soon_said_to_hang() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let silent = tokio::net::UnixListener::bind(&path).expect("a socket");
        let mut host = LocalHost::at(folder.path(), "h1".into());
        let began = tokio::time::Instant::now();
        host.look().await;
        assert!(began.elapsed() < 2 * LOOK_DEADLINE, "{:?}", began.elapsed());
        // What is known to hang is not waited for as long again.
        for _ in 0..4 {
            host.look().await;
        }
        assert!(began.elapsed() < 2 * LOOK_DEADLINE, "{:?}", began.elapsed());
        let failure = host.require_running().expect_err("it hangs");
        assert!(failure.error.to_string().contains("has not answered"), "{}", failure.error);
        // Once nothing listens there, it is just not running.
        drop(silent);
        host.look().await;
        let failure = host.require_running().expect_err("it does not run");
        assert!(failure.error.to_string().contains("is not running"), "{}", failure.error);
    }
}

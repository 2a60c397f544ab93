//! Finding the running hosts that a command is about: those of a testnet's directory, or single homes.
//!
//! A host of a testnet whose home is missing or can't be read is a host that is down: it is no obstacle to the others. Nothing here
//! needs a host's secret key: its admin socket is enough, which may be forwarded from another machine.

use super::{Exit, Failure, directory, join::read_card, open_cluster};
use crate::{
    api::{
        IntroductionReply,
        client::{Endpoint, LOOK_DEADLINE},
    },
    codec,
    home::{Home, admin_socket, export::Exported},
    status::{HostStatus, VatStatus},
    testnet::{
        cluster::Cluster,
        layout::{HostPlace, TestnetDir},
    },
};
use quorate_consensus::{HostKey, Introduction, Member};
use quorate_engine::VatId;
use std::path::{Path, PathBuf};

/// Which hosts a command is about.
#[derive(clap::Args, Clone)]
pub struct HostsOption {
    /// The testnet's directory
    #[arg(long, env = "QUORATE_DIR", default_value = "quorate-testnet", value_name = "DIR", value_parser = directory())]
    dir: PathBuf,
    /// A host's home, instead of a testnet's directory (may be repeated)
    #[arg(long = "home", value_name = "HOME")]
    homes: Vec<PathBuf>,
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
    pub key: Option<HostKey>,
    /// What others dial while the host does not say it: what a testnet says, else what its home does.
    addresses: Vec<String>,
    /// Whether a testnet says it, whatever the host does.
    announced: bool,
}

impl HostsOption {
    /// All hosts meant, with their status.
    pub async fn all(&self) -> Result<Vec<LocalHost>, Failure> {
        if !self.homes.is_empty() {
            let hosts = self.homes.iter().map(|path| LocalHost::open(path));
            return futures::future::join_all(hosts).await.into_iter().collect();
        }
        let cluster = open_cluster(&self.dir)?;
        let hosts = cluster.layout.hosts.iter().map(|place| LocalHost::of_testnet(&cluster, place));
        futures::future::join_all(hosts).await.into_iter().collect()
    }

    /// The testnet's directory, if the hosts are those of one.
    pub fn testnet(&self) -> Option<TestnetDir> {
        let dir = TestnetDir::new(&self.dir);
        (self.homes.is_empty() && matches!(dir.read(), Ok(Some(_)))).then_some(dir)
    }

    /// A host by name, or by the path of its home.
    pub async fn host(&self, name: &str) -> Result<LocalHost, Failure> {
        if name.contains('/') {
            return LocalHost::open(Path::new(name)).await;
        }
        let hosts = self.all().await?;
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        hosts.into_iter().find(|host| host.name == name).ok_or_else(|| {
            let message =
                format!("there is no host {name} here (there are {}); a home's path works too", names.join(", "));
            Failure::new(Exit::Usage, message)
        })
    }

    /// A host that shall be a member, by name, path or card. With a card come the addresses that it states, and the host itself if
    /// it is one of those meant; without one, the host must be here and run.
    pub async fn candidate(&self, name: &str) -> Result<(Member, Option<LocalHost>), Failure> {
        let (member, host) = match read_card(Path::new(name))? {
            Some(card) => {
                // Partners need no testnet here.
                let hosts = self.all().await.unwrap_or_default();
                let own = hosts.into_iter().find(|host| host.key == Some(card.key));
                (card, own)
            }
            None => {
                let host = self.host(name).await?;
                (host.member()?, Some(host))
            }
        };
        if let Some(host) = &host {
            host.require_running()?;
        }
        Ok((member, host))
    }

    /// The running members of a vat: the leader first, those that can't speak for it last.
    pub async fn carrying(&self, vat: &str) -> Result<Vec<(LocalHost, VatStatus)>, Failure> {
        let mut found = Vec::new();
        let hosts = self.all().await?;
        let running = hosts.iter().filter(|host| host.status.is_some()).count();
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
}

impl LocalHost {
    /// The host of the home at `path`, or of what there is of it here: the stub of an exported home, or only a socket.
    pub async fn open(path: &Path) -> Result<LocalHost, Failure> {
        let mut host = match Home::open(path) {
            Ok(home) => LocalHost {
                key: Some(HostKey(home.key.verifying_key().to_bytes())),
                addresses: home.config.listen.clone(),
                ..LocalHost::at(path, home.config.name)
            },
            Err(error) => match Exported::read(path) {
                Ok(Some(exported)) => LocalHost { key: exported.host_key(), ..LocalHost::at(path, exported.name) },
                _ if admin_socket(path).exists() => {
                    let name = path.file_name().unwrap_or(path.as_os_str());
                    LocalHost::at(path, name.to_string_lossy().into_owned())
                }
                _ => return Err(Failure { exit: Exit::Usage, error: error.into() }),
            },
        };
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
            endpoint: Endpoint::socket(&admin_socket(path)),
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
        let answer = tokio::time::timeout(LOOK_DEADLINE, answer).await;
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
    async fn of_testnet(cluster: &Cluster, place: &HostPlace) -> Result<LocalHost, Failure> {
        let mut host = LocalHost {
            key: Some(place.key.parse()?),
            addresses: vec![place.address.clone()],
            announced: true,
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

    /// Whether this host is a member of a vat, by what a status says.
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

    /// Whether this host ever carried a vat of this name or id, by what lies in its home.
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
        let failure = host.require_running().expect_err("it hangs");
        assert!(failure.error.to_string().contains("has not answered"), "{}", failure.error);
        // Once nothing listens there, it is just not running.
        drop(silent);
        host.look().await;
        let failure = host.require_running().expect_err("it does not run");
        assert!(failure.error.to_string().contains("is not running"), "{}", failure.error);
    }
}

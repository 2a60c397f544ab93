//! Finding the running hosts that a command is about: those of a testnet's directory, or single homes.
//!
//! A host of a testnet whose home is missing or can't be read is a host that is down: it is no obstacle to the others.

use super::{Exit, Failure, directory, join::read_card, open_cluster};
use crate::{
    api::{IntroductionReply, client::Endpoint},
    codec,
    home::Home,
    status::{HostStatus, VatStatus},
    testnet::{
        cluster::Cluster,
        layout::{HostPlace, TestnetDir},
    },
};
use quorate_consensus::{HostKey, Introduction, Member};
use quorate_engine::VatId;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a host may take to say how it stands: one that hangs must not hide the others.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

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

/// A host of this machine, running or not.
pub struct LocalHost {
    pub name: String,
    pub endpoint: Endpoint,
    /// `None`: not running.
    pub status: Option<HostStatus>,
    /// Why it can't run, where its home is gone or damaged, or that it hangs.
    pub problem: Option<String>,
    /// Whether it runs and does not answer.
    pub hangs: bool,
    path: PathBuf,
    /// Its identity.
    pub key: HostKey,
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
                let own = hosts.into_iter().find(|host| host.key == card.key);
                (card, own)
            }
            None => {
                let host = self.host(name).await?;
                (host.member(), Some(host))
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
    /// The host of the home at `path`.
    pub async fn open(path: &Path) -> Result<LocalHost, Failure> {
        let home = Home::open(path).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
        Ok(LocalHost::of_home(&home).await)
    }

    async fn of_home(home: &Home) -> LocalHost {
        let mut host = LocalHost {
            name: home.config.name.clone(),
            endpoint: Endpoint::socket(&home.admin_socket()),
            status: None,
            problem: None,
            hangs: false,
            path: home.path().to_owned(),
            key: HostKey(home.key.verifying_key().to_bytes()),
            addresses: home.config.listen.clone(),
            announced: false,
        };
        host.look().await;
        host
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

    /// A host of a testnet. One whose home is gone or damaged is there as well: it does not run.
    async fn of_testnet(cluster: &Cluster, place: &HostPlace) -> Result<LocalHost, Failure> {
        let path = cluster.dir.home(&place.name);
        let mut host = match cluster.home(&place.name) {
            Ok(home) => LocalHost::of_home(&home).await,
            Err(error) => LocalHost {
                name: place.name.clone(),
                endpoint: Endpoint::socket(&path),
                status: None,
                problem: Some(error.to_string()),
                hangs: false,
                path,
                key: place.key.parse()?,
                addresses: Vec::new(),
                announced: true,
            },
        };
        (host.addresses, host.announced) = (vec![place.address.clone()], true);
        Ok(host)
    }

    /// The replica of a vat on this host, by the vat's name or id; none while the host does not run.
    pub fn replica(&self, vat: &str) -> Option<&VatStatus> {
        let mut vats = self.status.iter().flat_map(|status| &status.vats);
        vats.find(|status| status.name == vat || status.vat == vat)
    }

    /// Whether this host is a member of a vat, by what a status says.
    pub fn is_member(&self, vat: &VatStatus) -> bool {
        let key = self.key.to_string();
        vat.members.iter().any(|member| member.key == key)
    }

    /// This host as a vat's member.
    pub fn member(&self) -> Member {
        let addresses = match &self.status {
            Some(status) if !self.announced && !status.listen.is_empty() => status.listen.clone(),
            _ => self.addresses.clone(),
        };
        Member { key: self.key, name: self.name.clone(), addresses }
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
        let mut host = LocalHost {
            name: "h1".into(),
            endpoint: Endpoint::socket(&path),
            status: None,
            problem: None,
            hangs: false,
            path: folder.path().to_owned(),
            key: HostKey([0; 32]),
            addresses: Vec::new(),
            announced: false,
        };
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

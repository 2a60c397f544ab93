//! Finding the running hosts that a command is about: those of a testnet's directory, or single homes.

use super::{Exit, Failure, open_cluster};
use crate::{
    api::{IntroductionReply, client::Endpoint},
    codec,
    home::Home,
    status::{HostStatus, VatStatus},
    testnet::layout::TestnetDir,
};
use quorate_consensus::{HostKey, Introduction, Member};
use std::path::{Path, PathBuf};

/// Which hosts a command is about.
#[derive(clap::Args, Clone)]
pub struct HostsOption {
    /// The testnet's directory
    #[arg(long, env = "QUORATE_DIR", default_value = "quorate-testnet", value_name = "DIR")]
    dir: PathBuf,
    /// A host's home, instead of a testnet's directory (may be repeated)
    #[arg(long = "home", value_name = "HOME")]
    homes: Vec<PathBuf>,
}

/// A host of this machine, running or not.
pub struct LocalHost {
    pub name: String,
    pub home: Home,
    pub endpoint: Endpoint,
    /// `None`: not running.
    pub status: Option<HostStatus>,
    /// What others dial, where a testnet says it.
    pub address: Option<String>,
}

impl HostsOption {
    /// All hosts meant, with their status.
    pub async fn all(&self) -> Result<Vec<LocalHost>, Failure> {
        let mut hosts = Vec::new();
        if !self.homes.is_empty() {
            for path in &self.homes {
                hosts.push(LocalHost::open(path, None).await?);
            }
            return Ok(hosts);
        }
        let cluster = open_cluster(&self.dir)?;
        for place in &cluster.layout.hosts {
            hosts.push(LocalHost::open(&cluster.dir.home(&place.name), Some(place.address.clone())).await?);
        }
        Ok(hosts)
    }

    /// The testnet's directory, if the hosts are those of one.
    pub fn testnet(&self) -> Option<TestnetDir> {
        let dir = TestnetDir::new(&self.dir);
        (self.homes.is_empty() && matches!(dir.read(), Ok(Some(_)))).then_some(dir)
    }

    /// A host by name, or by the path of its home.
    pub async fn host(&self, name: &str) -> Result<LocalHost, Failure> {
        if name.contains('/') {
            return LocalHost::open(Path::new(name), None).await;
        }
        let hosts = self.all().await?;
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        hosts.into_iter().find(|host| host.name == name).ok_or_else(|| {
            let message =
                format!("there is no host {name} here (there are {}); a home's path works too", names.join(", "));
            Failure::new(Exit::Usage, message)
        })
    }

    /// The running members of a vat, the leader first.
    pub async fn carrying(&self, vat: &str) -> Result<Vec<(LocalHost, VatStatus)>, Failure> {
        let mut found = Vec::new();
        let hosts = self.all().await?;
        let running = hosts.iter().filter(|host| host.status.is_some()).count();
        for host in hosts {
            let named = |status: &VatStatus| status.name == vat || status.vat == vat;
            let status = host.status.iter().flat_map(|status| &status.vats).find(|status| named(status)).cloned();
            if let Some(status) = status {
                let member =
                    status.members.iter().any(|member| host.status.as_ref().is_some_and(|host| host.key == member.key));
                if member {
                    found.push((host, status));
                }
            }
        }
        found.sort_by_key(|(_, status)| status.role != "leader");
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
    pub async fn open(path: &Path, address: Option<String>) -> Result<LocalHost, Failure> {
        let home = Home::open(path).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
        let endpoint = Endpoint::socket(&home.admin_socket());
        let status = endpoint.get::<HostStatus>("/api/v1/status").await.ok();
        Ok(LocalHost { name: home.config.name.clone(), home, endpoint, status, address })
    }

    /// This host as a vat's member.
    pub fn member(&self) -> Member {
        let addresses = match (&self.address, &self.status) {
            (Some(address), _) => vec![address.clone()],
            (None, Some(status)) if !status.listen.is_empty() => status.listen.clone(),
            _ => self.home.config.listen.clone(),
        };
        let key = HostKey(self.home.key.verifying_key().to_bytes());
        Member { key, name: self.name.clone(), addresses }
    }

    /// A vat's introduction, as this host has it.
    pub async fn introduction(&self, vat: &str) -> Result<Introduction, Failure> {
        let reply: IntroductionReply = self.endpoint.get(&format!("/api/v1/vats/{vat}/introduction")).await?;
        let bytes = hex::decode(reply.introduction)?;
        Ok(codec::decode(&bytes)?)
    }

    /// Fails unless the host runs.
    pub fn require_running(&self) -> Result<(), Failure> {
        if self.status.is_some() {
            return Ok(());
        }
        let home = self.home.path().display();
        Err(Failure::new(
            Exit::Unreachable,
            format!("host {} is not running; `vat node run --home {home}` starts it", self.name),
        ))
    }
}

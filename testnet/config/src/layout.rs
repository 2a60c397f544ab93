//! Where the parts of a testnet lie in its directory.
//!
//! ```text
//! testnet.json      what was made, from which config
//! hosts/NAME/       each host's home, or what stays of it when it was exported to a machine of its own
//! refs/NAME.ref     a bearer sturdyref of each vat's root
//! prometheus.yml    a configuration for Prometheus, with
//! prometheus-hosts.json   the hosts that it scrapes, and
//! quorate.rules.yml       the alerts
//! known/            what `vat call` remembers of the vats that it called
//! ```

use quorate_consensus::{IdError, Member};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What `prometheus.yml` names.
const PROMETHEUS_HOSTS: &str = "prometheus-hosts.json";
const PROMETHEUS_RULES: &str = "quorate.rules.yml";
/// The layout while it is written.
const STAGED: &str = "testnet.json.staged";

/// A testnet that was laid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The config file, as it was named.
    pub config: PathBuf,
    /// SHA-256 of everything that the testnet was made from, in hex.
    pub digest: String,
    pub hosts: Vec<HostPlace>,
    pub vats: Vec<VatPlace>,
}

impl Layout {
    /// The hosts, as a client asks them and as vats have them for members.
    pub fn members(&self) -> Result<Vec<Member>, IdError> {
        self.hosts.iter().map(HostPlace::member).collect()
    }
}

/// A host of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlace {
    pub name: String,
    /// Its key, in hex.
    pub key: String,
    /// What others dial.
    pub address: String,
    pub http: SocketAddr,
}

impl HostPlace {
    /// The host as a vat's member.
    pub fn member(&self) -> Result<Member, IdError> {
        Ok(Member { key: self.key.parse()?, name: self.name.clone(), addresses: vec![self.address.clone()] })
    }
}

/// A vat of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VatPlace {
    pub name: String,
    pub vat: String,
    /// Its first members, by name.
    pub hosts: Vec<String>,
}

/// A testnet's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestnetDir(PathBuf);

impl TestnetDir {
    /// The directory at `path`, whatever is in it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        TestnetDir(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A host's home.
    pub fn home(&self, host: &str) -> PathBuf {
        self.0.join("hosts").join(host)
    }

    /// Returns what a host's process wrote.
    pub fn host_log(&self, host: &str) -> PathBuf {
        self.home(host).join("logs").join("host.log")
    }

    /// The file with a vat's bearer sturdyref.
    pub fn sturdyref(&self, vat: &str) -> PathBuf {
        self.0.join("refs").join(format!("{vat}.ref"))
    }

    /// The configuration for Prometheus.
    pub fn prometheus(&self) -> PathBuf {
        self.0.join("prometheus.yml")
    }

    /// The hosts that it scrapes.
    pub fn prometheus_hosts(&self) -> PathBuf {
        self.0.join(PROMETHEUS_HOSTS)
    }

    /// The alerts that it evaluates.
    pub fn prometheus_rules(&self) -> PathBuf {
        self.0.join(PROMETHEUS_RULES)
    }

    fn layout_file(&self) -> PathBuf {
        self.0.join("testnet.json")
    }

    /// The layout, or `None` where no testnet was made yet.
    pub fn read(&self) -> io::Result<Option<Layout>> {
        let file = self.layout_file();
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the directory holds a part of a testnet, and nothing else: making it was interrupted.
    pub fn is_unfinished(&self) -> bool {
        const PARTS: [&str; 6] = ["hosts", "refs", "prometheus.yml", PROMETHEUS_HOSTS, PROMETHEUS_RULES, STAGED];
        let Ok(mut entries) = fs::read_dir(&self.0) else { return false };
        entries.all(|entry| entry.is_ok_and(|entry| PARTS.iter().any(|part| entry.file_name() == *part)))
    }

    /// Writes the layout; the last step of making a testnet.
    pub fn write(&self, layout: &Layout) -> io::Result<()> {
        let text = serde_json::to_string_pretty(layout).map_err(io::Error::other)?;
        let staged = self.0.join(STAGED);
        fs::write(&staged, text + "\n")?;
        fs::rename(staged, self.layout_file())
    }
}

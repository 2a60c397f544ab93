//! The testnet config: which hosts there are, which vats they carry, and what each vat is given at its start.
//!
//! A file is read once, here, into plain data that is valid as a whole: every name resolves, every file exists, every
//! threshold is possible. Every mistake in it becomes one [`Mistake`] with its line and its remedy, and all of them are
//! found in one pass, before anything is started: a mistake never hides another one, nor is it reported twice.
//!
//! What this does not do: it reads no vat's code (that is [`crate::bundle`]), opens no port, and makes no key.

mod archive;
mod argv;
mod check;
mod disk;
mod gateway;
pub(crate) mod host_file;
mod hosts;
mod reach;
#[cfg(test)]
mod reference;
mod schema;
mod syntax;
#[cfg(test)]
mod tests;
mod traces;
mod vats;

pub use archive::ArchiveConfig;
pub use argv::check_argument_name;
pub use gateway::GatewayConfig;
pub use host_file::check_host_file;
pub use host_file::host_file;
pub use hosts::listen_address;
pub use quorate_bundler::mistake::Mistake;
pub(crate) use quorate_bundler::mistake::after;
pub use quorate_bundler::suggest::nearest;
pub use reach::{ReachConfig, Relay, relay};
pub use traces::TracesConfig;

use quorate_protocol::disk::DiskLimits;
use quorate_protocol::sturdyref::Sturdyref;
pub use schema::{host_schema, testnet_schema};

use quorate_consensus::Approve;
use quorate_engine::abi;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A vat has at most this many members (the bound of a genesis).
pub const MAX_MEMBERS: usize = 31;
/// Bytes of a config file: far beyond any testnet, small enough that no nesting in it can hurt.
pub const MAX_CONFIG_BYTES: u64 = 256 << 10;
/// Bytes of a file that an argument stands for; arguments travel in the log of every member.
pub const MAX_ARGUMENT_FILE_BYTES: u64 = 1 << 20;
/// Megabytes of memory that a vat may be given: below, its base heap does not fit; above, the hashes of its pages (64 bytes each in a
/// checkpoint's record) do not fit a frame of a snapshot.
pub const MEMORY_MB: std::ops::RangeInclusive<u64> = 32..=240;

/// A whole testnet, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct TestnetConfig {
    /// The config file, absolute.
    pub file: PathBuf,
    /// In the order of the file; names are unique, also against the vats' names.
    pub hosts: Vec<HostConfig>,
    /// In the order of the file; names are unique.
    pub vats: Vec<VatConfig>,
}

/// One `[[host]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    pub name: String,
    /// Where the host listens, as a multiaddr such as `/ip4/127.0.0.1/tcp/7001`. Without it, a free loopback port is chosen.
    pub listen: Option<String>,
    /// What the other hosts dial, as a multiaddr, where that differs from `listen`.
    pub announce: Option<String>,
    /// Where metrics, health and the API are served. Without it, a free loopback port is chosen.
    pub http: Option<SocketAddr>,
    /// Whether the host approves of changes of members by itself; without it, it does.
    pub approve: Approve,
    /// What the host may take of its disk.
    pub disk: DiskLimits,
    /// Where it keeps what is cut from its vats' logs, if anywhere: a folder in its home.
    pub archive: Option<ArchiveConfig>,
    /// Where programs may connect that know nothing of vats, if anywhere.
    pub gateway: Option<GatewayConfig>,
    /// Line of its `[[host]]`, from 1.
    pub line: usize,
}

/// One `[[vat]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct VatConfig {
    pub name: String,
    /// Names of its members, each a known host, none twice.
    pub hosts: Vec<String>,
    /// Signatures that others need to believe this vat: over half of the hosts, at most all.
    pub threshold: u16,
    /// Entry file, absolute; it existed when the config was read.
    pub source: PathBuf,
    /// Arguments in the order of the file.
    pub argv: Vec<(String, Argument)>,
    /// Host functions granted to the vat as further properties of `argv`. Only `exit` as yet, and only to solo vats.
    pub endowments: Vec<String>,
    pub limits: VatLimits,
    /// Line of its `[[vat]]`, from 1.
    pub line: usize,
}

/// One value of a vat's `argv`.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// Strings, numbers, booleans, arrays and records of those; a `{ file = … }` is its text.
    Data(abi::Value),
    /// The root of the vat of this name in the same config.
    Vat(String),
    /// The object that a sturdyref (`vat://…`) names.
    Sturdyref(Sturdyref),
}

/// Limits of a vat, `[vat.limits]` over `[limits]`; `None` is the engine's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VatLimits {
    /// Fuel that one delivery may burn.
    pub fuel_per_delivery: Option<u64>,
    /// Fuel that a sender's messages may burn more than others' before they wait.
    pub fuel_per_turn: Option<u64>,
    /// Fuel after which a block takes in no more messages.
    pub fuel_per_block: Option<u64>,
    /// Linear memory that the vat may have, in bytes.
    pub memory_bytes: Option<u64>,
    /// Deliveries between two checkpoints.
    pub checkpoint_deliveries: Option<u64>,
}

/// Everything that is wrong with a config, in the order of its lines; shown one to a line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(mistakes))]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

/// Where something is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1; 0: the file as a whole.
    line: usize,
    /// From 1, in letters; 0: not known.
    column: usize,
}

impl Place {
    const WHOLE_FILE: Place = Place { line: 0, column: 0 };
}

/// Messages name lines.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(formatter)
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}

impl TestnetConfig {
    /// Reads and checks a config file. Relative paths in it are relative to its folder.
    pub fn load(file: &Path) -> Result<TestnetConfig, ConfigError> {
        let whole_file = |problem: String, fix: &str| ConfigError {
            mistakes: vec![Mistake {
                file: file.to_path_buf(),
                line: 0,
                column: 0,
                problem,
                fix: fix.to_string(),
                excerpt: None,
            }],
        };
        let metadata = std::fs::metadata(file).map_err(|error| {
            whole_file(format!("cannot read the config ({error})"), "name an existing testnet config (TOML)")
        })?;
        if !metadata.is_file() {
            return Err(whole_file("this is not a file".into(), "name the config file itself, such as testnet.toml"));
        }
        if metadata.len() > MAX_CONFIG_BYTES {
            let problem = format!("the config has {} bytes, over the limit of {MAX_CONFIG_BYTES}", metadata.len());
            return Err(whole_file(problem, "move long values into files and refer to them by { file = \"…\" }"));
        }
        let bytes = std::fs::read(file).map_err(|error| {
            whole_file(format!("cannot read the config ({error})"), "make it readable for this user")
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, file),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let (line, column) = after(good);
                let (problem, fix) = ("a byte here is not UTF-8".to_string(), "save the file as UTF-8".to_string());
                Err(ConfigError {
                    mistakes: vec![Mistake { file: file.to_path_buf(), line, column, problem, fix, excerpt: None }],
                })
            }
        }
    }

    /// Checks the text of a config; `file` is where it was read from, for messages and for relative paths.
    pub fn parse(text: &str, file: &Path) -> Result<TestnetConfig, ConfigError> {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut checker = check::Checker::new(file, folder);
        if let Some(format) = syntax::other_format(text) {
            let fix = "write it in TOML: `vat testnet init --help` and docs/reference/config.md have examples";
            checker.mistake(Place::WHOLE_FILE, format!("this looks like {format}; the config is TOML"), fix);
            return checker.finish(TestnetConfig { file: absolute, hosts: Vec::new(), vats: Vec::new() });
        }
        let document = syntax::read(text, &mut checker);
        let (hosts, vats) = document.map(|document| vats::testnet(&document, &mut checker)).unwrap_or_default();
        checker.finish(TestnetConfig { file: absolute, hosts, vats })
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&HostConfig> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The vat of this name.
    pub fn vat(&self, name: &str) -> Option<&VatConfig> {
        self.vats.iter().find(|vat| vat.name == name)
    }
}

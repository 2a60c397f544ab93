//! `host.toml`, the file in a host's home that an operator edits: read with the same care as a testnet's config.

use super::archive::{self, ArchiveConfig};
use super::check::{Checker, Key};
use super::disk::{self, disk_limits};
use super::gateway::{self, GatewayConfig};
use super::hosts::{APPROVE, approve, listen_address};
use super::reach::{self, ReachConfig};
use super::syntax::{self, Entry, Table, Value};
use super::traces::{self, TracesConfig};
use super::{ConfigError, MAX_CONFIG_BYTES, Mistake};
use quorate_consensus::Approve;
use quorate_protocol::disk::DiskLimits;
use quorate_protocol::names::check_name;
use serde::Serialize;
use std::path::{Path, PathBuf};

const NAME: Key = Key::new("name", "name = \"alpha\"", &["id", "host"]);
const LISTEN: Key =
    Key::new("listen", "listen = [\"/ip4/0.0.0.0/tcp/4001\"]", &["address", "addr", "port", "multiaddr", "bind"]);
const HTTP: Key = Key::new("http", "http = \"127.0.0.1:9464\"", &["metrics", "api", "http_address", "metrics_address"]);
pub(super) const KEYS: [Key; 19] = [
    NAME,
    LISTEN,
    HTTP,
    APPROVE,
    disk::SOFT,
    disk::HARD,
    disk::VAT_QUOTA,
    archive::FOLDER,
    archive::BYTES,
    archive::BLOCKS,
    gateway::LISTEN,
    gateway::ORIGINS,
    gateway::PROXIES,
    reach::ANNOUNCE,
    reach::RELAYS,
    reach::RELAY_FOR,
    reach::OPERATORS,
    traces::OTLP,
    traces::SAMPLE,
];

/// `host.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostConfig {
    /// The host's name, for people.
    pub name: String,
    /// Where to listen for other hosts, as multiaddrs.
    pub listen: Vec<String>,
    /// Where to serve metrics and status.
    pub http: std::net::SocketAddr,
    /// Whether the host approves of changes of members by itself, or asks its owner.
    #[serde(serialize_with = "approve_word")]
    pub approve: Approve,
    /// What the host may take of its disk.
    #[serde(flatten)]
    pub disk: DiskLimits,
    /// Where it keeps what is cut from its vats' logs, if anywhere.
    #[serde(flatten)]
    pub archive: Option<ArchiveConfig>,
    /// Where programs may connect that know nothing of vats, if anywhere.
    #[serde(flatten)]
    pub gateway: Option<GatewayConfig>,
    /// How other machines reach the host.
    #[serde(flatten)]
    pub reach: ReachConfig,
    /// Where traces of messages go, if anywhere.
    #[serde(flatten)]
    pub traces: Option<TracesConfig>,
}

fn approve_word<S: serde::Serializer>(approve: &Approve, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(approve.as_str())
}

/// Reads and checks a `host.toml`.
///
/// # Errors
/// It can't be read, or has mistakes.
pub fn check_host_file(file: &Path) -> Result<HostConfig, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
        mistakes: vec![Mistake {
            file: file.to_path_buf(),
            line: 0,
            column: 0,
            problem: format!("cannot read it ({error})"),
            fix: "name the host.toml of a home".into(),
            excerpt: None,
        }],
    })?;
    host_file(&text, file)
}

/// Checks the text of a `host.toml`; `file` is where it was read from, for messages.
///
/// # Errors
/// It has mistakes.
pub fn host_file(text: &str, file: &Path) -> Result<HostConfig, ConfigError> {
    let mut checker = Checker::new(file, PathBuf::new());
    if text.len() as u64 > MAX_CONFIG_BYTES {
        let mistake = Mistake {
            file: file.to_path_buf(),
            line: 0,
            column: 0,
            problem: format!("the file has {} bytes, over the limit of {MAX_CONFIG_BYTES}", text.len()),
            fix: "it holds addresses, `approve` and limits of the disk: nothing long".into(),
            excerpt: None,
        };
        return Err(ConfigError { mistakes: vec![mistake] });
    }
    let config = syntax::read(text, &mut checker).and_then(|table| read(&table, &mut checker));
    // Where nothing was wrong, everything was read.
    checker.finish(config).map(|config| config.expect("a config without mistakes is whole"))
}

fn read(table: &Table, checker: &mut Checker) -> Option<HostConfig> {
    checker.unknown_keys("host.toml", table, &KEYS);
    let name = checker.required("host.toml", table, &KEYS, &NAME).and_then(|entry| name(entry, checker));
    let listen = checker.required("host.toml", table, &KEYS, &LISTEN).and_then(|entry| listen(entry, checker));
    let http = checker.required("host.toml", table, &KEYS, &HTTP).and_then(|entry| checker.address(entry, &HTTP));
    let approve = match table.get(APPROVE.name) {
        Some(entry) => approve(entry, checker),
        None => Some(Approve::Ask),
    };
    let disk = disk_limits(table, checker);
    let archive = archive::archive(table, checker);
    let gateway = gateway::gateway(table, checker);
    let reach = reach::reach(table, checker);
    let traces = traces::traces(table, checker);
    let (name, listen, http, approve) = (name?, listen?, http?, approve?);
    let (disk, archive, gateway, reach, traces) = (disk?, archive?, gateway?, reach?, traces?);
    Some(HostConfig { name, listen, http, approve, disk, archive, gateway, reach, traces })
}

fn name(entry: &Entry, checker: &mut Checker) -> Option<String> {
    let text = checker.string(entry, &NAME)?;
    if let Err((problem, fix)) = check_name(text) {
        checker.mistake(entry.node.place, problem, fix);
        return None;
    }
    Some(text.to_owned())
}

/// Port 0 is fine here: the system chooses one.
fn listen(entry: &Entry, checker: &mut Checker) -> Option<Vec<String>> {
    let items = checker.array(entry, &LISTEN)?;
    let mut good = Some(Vec::new());
    for item in items {
        let address = match &item.value {
            Value::String(text) => listen_address(text).map_err(|why| (text, why)),
            other => {
                let _: Option<()> = checker.wrong_type(item.place, other, "an array of strings", &LISTEN);
                good = None;
                continue;
            }
        };
        match address {
            Ok(address) => good.iter_mut().for_each(|good| good.push(address.clone())),
            Err((text, why)) => {
                let problem = format!("`{}` is no address to listen at: {why}", text.escape_debug());
                checker.mistake(item.place, problem, format!("write {}", LISTEN.example));
                good = None;
            }
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "name = \"alpha\"\nlisten = [\"/ip4/0.0.0.0/tcp/4001\", \"127.0.0.1:0\"]\nhttp = \"localhost:0\"\n";

    fn mistakes(text: &str) -> Vec<String> {
        let read = host_file(text, Path::new("host.toml"));
        read.err().map(|error| error.mistakes.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    #[test]
    fn a_good_file_is_read_whole() {
        let config = host_file(GOOD, Path::new("host.toml")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.name, "alpha");
        assert_eq!(config.listen, ["/ip4/0.0.0.0/tcp/4001", "/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(config.http, ([127, 0, 0, 1], 0).into());
        assert_eq!(config.approve, Approve::Ask, "where it is not said, the owner is asked");
        let auto = host_file(&format!("{GOOD}approve = \"auto\"\n"), Path::new("host.toml"));
        assert_eq!(auto.map(|config| config.approve), Ok(Approve::Auto));
        assert!(mistakes(&format!("{GOOD}approve = \"yes\"\n"))[0].contains("`yes` is no way to approve"));
    }

    #[test]
    fn limits_of_the_disk_are_sizes_in_order() {
        let read = |text: &str| host_file(&format!("{GOOD}{text}"), Path::new("host.toml")).map(|config| config.disk);
        assert_eq!(read(""), Ok(DiskLimits::default()));
        let text = "disk_soft_limit = \"2 GiB\"\ndisk_hard_limit = \"512MiB\"\ndisk_vat_quota = \"10 GiB\"\n";
        let limits = DiskLimits { soft: Some(2 << 30), hard: Some(512 << 20), vat_quota: Some(10 << 30) };
        assert_eq!(read(text), Ok(limits));
        // As it is written into a new home.
        let config =
            host_file(&format!("{GOOD}{text}"), Path::new("host.toml")).unwrap_or_else(|error| panic!("{error}"));
        let written = toml::to_string(&config).expect("plain data is TOML");
        assert_eq!(host_file(&written, Path::new("host.toml")), Ok(config), "{written}");
        for (text, wanted) in [
            ("disk_soft_limit = \"many\"", "`many` is no size"),
            ("disk_soft_limit = 5", "must be a string"),
            ("disk_vat_quota = \"64 KiB\"", "at least 1 MiB"),
            ("disk_soft_limit = \"1 GiB\"\ndisk_hard_limit = \"1 GiB\"", "is not below `disk_soft_limit`"),
            ("quota = \"1 GiB\"", "did you mean `disk_vat_quota`"),
        ] {
            let found = mistakes(&format!("{GOOD}{text}\n"));
            assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_cut_is_archived_where_it_is_written() {
        let read = |text: &str| host_file(&format!("{GOOD}{text}"), Path::new("host.toml"));
        assert_eq!(read("").map(|config| config.archive), Ok(None));
        let archive = |folder: &str, bytes, blocks| Some(ArchiveConfig { folder: folder.into(), bytes, blocks });
        assert_eq!(read("archive = \"a\"\n").map(|config| config.archive), Ok(archive("a", 10 << 30, None)));
        let text = "archive = \"/mnt/archive\"\narchive_bytes = \"3 MiB\"\narchive_blocks = 5000\n";
        let config = read(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.archive, archive("/mnt/archive", 3 << 20, Some(5_000)));
        let written = toml::to_string(&config).expect("plain data is TOML");
        assert_eq!(host_file(&written, Path::new("host.toml")), Ok(config), "{written}");
        for (text, wanted) in [
            ("archive = true", "must be a string"),
            ("archive = \"\"", "no folder"),
            ("archive_bytes = \"1 GiB\"", "nothing is archived"),
            ("archive_blocks = 5", "nothing is archived"),
            ("archive = \"a\"\narchive_bytes = \"1 KiB\"", "at least 1 MiB"),
            ("archive = \"a\"\narchive_blocks = 0", "out of range"),
            ("transcripts = \"a\"", "did you mean `archive`"),
        ] {
            let found = mistakes(&format!("{GOOD}{text}\n"));
            assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_gateway_is_there_where_it_is_written() {
        let read = |text: &str| host_file(&format!("{GOOD}{text}"), Path::new("host.toml"));
        assert_eq!(read("").map(|config| config.gateway), Ok(None));
        let text = "gateway = \"127.0.0.1:8080\"\ngateway_origins = [\"https://example.org\"]\ngateway_proxies = [\"10.0.0.5\"]\n";
        let config = read(text).unwrap_or_else(|error| panic!("{error}"));
        let listen = ([127, 0, 0, 1], 8080).into();
        let (origins, proxies) = (vec!["https://example.org".into()], vec![[10, 0, 0, 5].into()]);
        assert_eq!(config.gateway, Some(GatewayConfig { listen, origins, proxies }));
        let written = toml::to_string(&config).expect("plain data is TOML");
        assert_eq!(host_file(&written, Path::new("host.toml")), Ok(config), "{written}");
        for (text, wanted) in [
            ("gateway = \"8080\"", "not an IP address with a port"),
            ("gateway_origins = []", "nothing listens"),
            ("gateway = \"127.0.0.1:1\"\ngateway_origins = [\"*\"]", "`*` is no origin"),
            ("gateway = \"127.0.0.1:1\"\ngateway_origins = [7]", "must be an array of strings"),
            ("gateway = \"127.0.0.1:1\"\ngateway_proxies = [\"10.0.0.5:80\"]", "`10.0.0.5:80` is no IP address"),
            ("gateway_proxies = [\"10.0.0.5\"]", "nothing listens"),
            ("capnweb = \"127.0.0.1:1\"", "did you mean `gateway`"),
        ] {
            let found = mistakes(&format!("{GOOD}{text}\n"));
            assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
        }
    }

    #[test]
    fn traces_go_where_it_is_written() {
        let read = |text: &str| host_file(&format!("{GOOD}{text}"), Path::new("host.toml"));
        assert_eq!(read("").map(|config| config.traces), Ok(None));
        let config = read("otlp = \"http://127.0.0.1:4318\"\notlp_sample = 100\n");
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.traces, TracesConfig::parse("http://127.0.0.1:4318", 100).ok());
        let written = toml::to_string(&config).expect("plain data is TOML");
        assert_eq!(host_file(&written, Path::new("host.toml")), Ok(config), "{written}");
        for (text, wanted) in [
            ("otlp = \"127.0.0.1:4318\"", "does not begin with `http://`"),
            ("otlp = \"https://collector\"", "speaks plain HTTP"),
            ("otlp = 4318", "must be a string"),
            ("otlp_sample = 10", "nothing is exported"),
            ("otlp = \"http://a\"\notlp_sample = 0", "out of range"),
            ("opentelemetry = \"http://a\"", "did you mean `otlp`"),
        ] {
            let found = mistakes(&format!("{GOOD}{text}\n"));
            assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
        }
    }

    #[test]
    fn every_mistake_has_its_line_and_its_remedy() {
        let text =
            "name = \"Bad Name!\"\nlisten = [\"garbage\",\n  \"/ip4/1.2.3/tcp/1\", 7]\nhttp = \"9464\"\ncolour = 1\n";
        let found = mistakes(text);
        let wanted = [
            ("host.toml:1: ", "not a good name"),
            ("host.toml:2: ", "`garbage` is no address"),
            ("host.toml:3: ", "not an IPv4 address"),
            ("host.toml:3: ", "must be an array of strings"),
            ("host.toml:4: ", "not an IP address with a port"),
            ("host.toml:5: ", "no key `colour`"),
        ];
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for (found, (place, what)) in found.iter().zip(wanted) {
            assert!(found.starts_with(place) && found.contains(what), "{found}: no {place}{what}");
        }
        assert!(mistakes("nmae = \"a\"\nlisten = []\nhttp = \"127.0.0.1:1\"\n")[0].contains("did you mean `name`"));
        assert_eq!(mistakes("name = \"a\"\n").len(), 2);
        assert_eq!(mistakes(&" ".repeat(300_000)).len(), 1);
    }
}

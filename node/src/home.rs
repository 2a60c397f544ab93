//! A host's home: the directory with everything that one `vat node run` owns.
//!
//! ```text
//! FORMAT         which version of this layout it is
//! LOCK           held while a node runs on it
//! host.toml      name and addresses (for people to edit)
//! host.key       the host's Ed25519 seed, mode 0600
//! provision/     vats that this host shall carry, read at every start
//! carried/       a mark for each vat whose replica was created here
//! data/          RocksDB
//! logs/          console lines of vats, one file each
//! ```
//!
//! Invariants: one node at a time; another format version is refused by name and left alone; a key never outlives the data it
//! signed for (a host that lost its data must come back under a new identity, or it could sign twice: hence the marks).

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The version of the layout that this build reads and writes.
pub const HOME_FORMAT: &str = "quorate-home 1";

/// A Unix socket's path must fit 108 bytes with its terminator (`unix(7)`); longer homes get theirs under the temporary directory.
const SOCKET_PATH_BYTES: usize = 100;

/// How often the lock is tried, and the pause before each further attempt.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{path}: there is no host home here; make one with `vat node init --home {path}`")]
    Missing { path: String },
    #[error("{path}: this directory is not empty and is not a host home; choose another one")]
    NotAHome { path: String },
    #[error("{path}: a host home is here already; `vat node run --home {path}` starts it")]
    Exists { path: String },
    #[error(
        "{path}: this home has format {found:?}, this build reads {HOME_FORMAT:?}; run it with the version that made it"
    )]
    Format { path: String, found: String },
    #[error("{path}: another `vat node run` is using this home (process {pid}); stop that one first")]
    Locked { path: String, pid: String },
    #[error("{path}: {why}")]
    Config { path: String, why: String },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

/// `host.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// The host's name, for people.
    pub name: String,
    /// Where to listen for other hosts, as multiaddrs.
    pub listen: Vec<String>,
    /// Where to serve metrics and status.
    pub http: std::net::SocketAddr,
}

/// An existing home.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// What `host.toml` says.
    pub config: HostConfig,
    /// The host's identity.
    pub key: SigningKey,
}

/// Keeps the home locked as long as it lives.
#[derive(Debug)]
pub struct HomeLock(#[expect(dead_code, reason = "the open file holds the lock")] fs::File);

impl Home {
    /// Makes a new home with a new key at `path`, which must be absent or empty.
    pub fn init(path: &Path, config: HostConfig) -> Result<Home, HomeError> {
        if path.join("FORMAT").exists() {
            return Err(HomeError::Exists { path: path.display().to_string() });
        }
        fs::create_dir_all(path).map_err(at(path))?;
        if fs::read_dir(path).map_err(at(path))?.next().is_some() {
            return Err(HomeError::NotAHome { path: path.display().to_string() });
        }
        for part in ["provision", "carried", "logs"] {
            fs::create_dir(path.join(part)).map_err(at(path))?;
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| HomeError::Io {
            path: path.display().to_string(),
            source: io::Error::other(error.to_string()),
        })?;
        write_secret(&path.join("host.key"), &format!("{}\n", hex::encode(seed)))?;
        let text = toml::to_string(&config).expect("plain data is TOML");
        fs::write(path.join("host.toml"), text).map_err(at(path))?;
        // Last: a home without it is not a home yet.
        fs::write(path.join("FORMAT"), format!("{HOME_FORMAT}\n")).map_err(at(path))?;
        Home::open(path)
    }

    /// Reads a home.
    pub fn open(path: &Path) -> Result<Home, HomeError> {
        let shown = || path.display().to_string();
        let format = match fs::read_to_string(path.join("FORMAT")) {
            Ok(format) => format,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HomeError::Missing { path: shown() }),
            Err(source) => return Err(HomeError::Io { path: shown(), source }),
        };
        if format.trim() != HOME_FORMAT {
            return Err(HomeError::Format { path: shown(), found: format.trim().chars().take(60).collect() });
        }
        let file = path.join("host.toml");
        let bad = |file: &Path, why: String| HomeError::Config { path: file.display().to_string(), why };
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let config = toml::from_str(&text).map_err(|error| bad(&file, error.to_string()))?;
        let file = path.join("host.key");
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed)
            .map_err(|_| bad(&file, "not a host key (64 hex digits); restore it, or make a new home".into()))?;
        Ok(Home { path: path.to_owned(), config, key: SigningKey::from_bytes(&seed) })
    }

    /// Locks the home for one node.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.path.join("LOCK");
        let mut file =
            fs::File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(at(&path))?;
        // Whoever looks whether a node runs here holds the lock for an instant, so one failure says nothing.
        let taken = (0..LOCK_ATTEMPTS).all(|attempt| {
            let pause = if attempt == 0 { Duration::ZERO } else { LOCK_PAUSE };
            std::thread::sleep(pause);
            file.try_lock().is_err()
        });
        if taken {
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(HomeError::Locked { path: self.path.display().to_string(), pid });
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(at(&path))?;
        Ok(HomeLock(file))
    }

    /// The process that holds the lock, if one does.
    pub fn running_process(&self) -> Option<u32> {
        let path = self.path.join("LOCK");
        let file = fs::File::open(&path).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => fs::read_to_string(&path).ok()?.trim().parse().ok(),
        }
    }

    /// The home's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where RocksDB lives.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Where vats to carry are laid down.
    pub fn provision(&self) -> PathBuf {
        self.path.join("provision")
    }

    /// The mark that a replica of this vat was created here.
    pub fn carried_mark(&self, vat: &str) -> PathBuf {
        self.path.join("carried").join(vat)
    }

    /// The console file of a vat.
    pub fn console(&self, vat_name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{vat_name}.console"))
    }

    /// The admin socket's path, the same whoever asks.
    pub fn admin_socket(&self) -> PathBuf {
        let inside = self.path.join("admin.sock");
        if inside.as_os_str().len() <= SOCKET_PATH_BYTES {
            return inside;
        }
        let id = hex::encode(&self.key.verifying_key().to_bytes()[..12]);
        std::env::temp_dir().join(format!("quorate-{id}.sock"))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.display().to_string();
    |source| HomeError::Io { path, source }
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, text: &str) -> Result<(), HomeError> {
    let mut file =
        fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(at(path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> HostConfig {
        HostConfig {
            name: "alpha".into(),
            listen: vec!["/ip4/127.0.0.1/tcp/4001".into()],
            http: "127.0.0.1:9001".parse().expect("an address"),
        }
    }

    #[test]
    fn a_home_is_made_once_and_locked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("home");
        assert!(matches!(Home::open(&path), Err(HomeError::Missing { .. })));
        let home = Home::init(&path, config()).expect("a new home");
        assert!(matches!(Home::init(&path, config()), Err(HomeError::Exists { .. })));
        let again = Home::open(&path).expect("the same home");
        assert_eq!(home.key.to_bytes(), again.key.to_bytes());
        assert_eq!(again.config, config());
        assert_eq!(again.running_process(), None);
        let lock = home.lock().expect("free");
        let refused = again.lock().expect_err("taken").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert_eq!(again.running_process(), Some(std::process::id()));
        drop(lock);
        again.lock().expect("free again");
        // Those who only look are no obstacle.
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                (0..2_000).for_each(|_| {
                    home.running_process();
                })
            });
            while !looking.is_finished() {
                drop(again.lock().expect("nobody runs it"));
            }
        });
    }

    #[test]
    fn other_formats_and_foreign_directories_are_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        Home::init(&home, config()).expect("a new home");
        fs::write(home.join("FORMAT"), "quorate-home 7\n").expect("writable");
        let error = Home::open(&home).expect_err("another format").to_string();
        assert!(error.contains("quorate-home 7") && error.contains(HOME_FORMAT), "{error}");
        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).expect("a directory");
        fs::write(foreign.join("thesis.txt"), "years of work").expect("writable");
        assert!(matches!(Home::init(&foreign, config()), Err(HomeError::NotAHome { .. })));
    }

    #[test]
    fn the_socket_of_a_long_path_is_short() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x".repeat(120));
        let home = Home::init(&path, config()).expect("a new home");
        assert!(home.admin_socket().as_os_str().len() < SOCKET_PATH_BYTES);
    }
}

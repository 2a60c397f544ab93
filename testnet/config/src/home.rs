//! A host's home: the directory with everything that one `vat node run` owns.
//!
//! ```text
//! FORMAT         which version of this layout it is
//! LOCK           held while a node runs on it
//! host.toml      name, addresses, how changes of members are approved, and limits of the disk (for people to edit)
//! host.key       the host's Ed25519 seed
//! provision/     vats that this host shall carry, read at every start
//! carried/       of each vat whose replica was created here: what was provided for it
//! MARKS          what this host has signed, voted and acknowledged, outside of the database (see `repair` of the host)
//! data/          RocksDB
//! gateway/       calls with keys that programs have made over HTTP
//! creators/      keys of creators of vats that have no code yet
//! archive/       what was cut from vats' logs, where `host.toml` says so (the folder may be elsewhere)
//! images/        engine images that vats here run in, by their hash
//! logs/          console lines of vats, one file each
//! EXPORTED       instead of all the others: the home was moved, and runs elsewhere ([`export`])
//! ```
//!
//! Invariants: folders have mode 0700 and files 0600, whatever the umask ([`private`]); one node at a time; another format version is refused by name and left alone; a key never outlives the data it
//! signed for (a host that lost its data must come back under a new identity, or it could sign twice: hence the marks); a process is
//! named as the home's node only while it is (a file may name one that is long gone, and whose number another one has by now).

pub mod export;
pub mod private;

use crate::testnet::host_file;
pub use crate::testnet::host_file::HostConfig;
use ed25519_dalek::SigningKey;
use export::Exported;
pub use private::write_secret;
use std::{
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// The version of the layout that this build reads and writes.
pub const HOME_FORMAT: &str = "quorate-home 1";

/// How often the lock is tried or looked at, and the pause before each further attempt.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The name of the admin interface's socket.
const ADMIN_SOCKET: &str = "admin.sock";

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{path}: there is no host home here; make one with `vat node init --home {path} --name NAME`")]
    Missing { path: String },
    #[error("{path}: this directory is not empty and is not a host home; choose another one")]
    NotAHome { path: String },
    #[error("{path}: a host home is here already; `vat node run --home {path}` starts it")]
    Exists { path: String },
    #[error(
        "{path}: this home has format {found:?}, this build reads {HOME_FORMAT:?}; run it with the version that made it"
    )]
    Format { path: String, found: String },
    #[error("{path}: another `vat node run` is using this home{}; stop that one first", shown_process(.process))]
    Locked { path: String, process: Option<u32> },
    #[error(
        "{path}: the home of {name} was exported to {to} and must run in one place only; run it there (`vat node run --home HOME`), also if it was moved on from there"
    )]
    Exported { path: String, name: String, to: String },
    #[error("{path}: something is there already; name a folder that is not there yet, or an empty one")]
    Occupied { path: String },
    #[error(
        "{path}: other users may use it (mode {mode:04o}), and this one may not change that ({source}); a home is its owner's alone: `chown -R` it to the user that runs the host, or `chmod -R go= HOME`"
    )]
    Open { path: String, mode: u32, source: io::Error },
    #[error("{path}: {why}")]
    Damaged { path: String, why: String },
    #[error("{0}")]
    Config(#[from] crate::testnet::ConfigError),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

/// An existing home.
#[derive(Clone, Debug)]
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
        refuse_exported(path)?;
        // Before it is narrowed: another user's files there are not ours to change.
        if path.exists() && fs::read_dir(path).map_err(at(path))?.next().is_some() {
            return Err(HomeError::NotAHome { path: path.display().to_string() });
        }
        private::make_folder(path)?;
        for part in ["provision", "carried", "logs"] {
            private::make_folder(&path.join(part))?;
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| HomeError::Io {
            path: path.display().to_string(),
            source: io::Error::other(error.to_string()),
        })?;
        write_secret(&path.join("host.key"), &format!("{}\n", hex::encode(seed)))?;
        let text = toml::to_string(&config).expect("plain data is TOML");
        write_secret(&config_file(path), &text)?;
        // Last: a home without it is not a home yet.
        write_secret(&path.join("FORMAT"), &format!("{HOME_FORMAT}\n"))?;
        Home::open(path)
    }

    /// Reads a home.
    pub fn open(path: &Path) -> Result<Home, HomeError> {
        refuse_exported(path)?;
        let shown = || path.display().to_string();
        let format = match fs::read_to_string(path.join("FORMAT")) {
            Ok(format) => format,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HomeError::Missing { path: shown() }),
            Err(source) => return Err(HomeError::Io { path: shown(), source }),
        };
        if format.trim() != HOME_FORMAT {
            return Err(HomeError::Format { path: shown(), found: format.trim().chars().take(60).collect() });
        }
        let file = config_file(path);
        let bad = |file: &Path, why: String| HomeError::Damaged { path: file.display().to_string(), why };
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let config = host_file(&text, &file)?;
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
        let mut options = fs::File::options();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(&path).map_err(at(&path))?;
        // A process that checks whether a node runs here holds the lock for an instant, so one failure means nothing.
        let taken = attempts().all(|()| file.try_lock().is_err());
        if taken {
            return Err(HomeError::Locked { path: self.path.display().to_string(), process: self.running_process() });
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(at(&path))?;
        Ok(HomeLock(file))
    }

    /// The process that runs a node on this home, if one does.
    pub fn running_process(&self) -> Option<u32> {
        running_process(&self.path)
    }

    /// The home's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with name and addresses.
    pub fn config_file(&self) -> PathBuf {
        config_file(&self.path)
    }

    /// Returns where RocksDB lives.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The file with what this host has promised.
    pub fn marks(&self) -> PathBuf {
        self.path.join("MARKS")
    }

    /// Returns where the marks of vats that were carried here lie.
    pub fn carried(&self) -> PathBuf {
        self.path.join("carried")
    }

    /// Returns where vats to carry are laid down.
    pub fn provision(&self) -> PathBuf {
        self.path.join("provision")
    }

    /// Returns where what is cut from vats' logs is archived, if it is.
    pub fn archive(&self) -> Option<PathBuf> {
        self.config.archive.as_ref().map(|archive| self.path.join(&archive.folder))
    }

    /// Returns where engine images lie.
    pub fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    /// Returns where calls with keys lie that programs have made at the gateway.
    pub fn gateway(&self) -> PathBuf {
        self.path.join("gateway")
    }

    /// The mark that a replica of this vat was created here: a provision, or nothing where an earlier version made it.
    pub fn carried_mark(&self, vat: &str) -> PathBuf {
        self.carried().join(vat)
    }

    /// Returns where the key of a vat's creator lies, while the vat has no code.
    pub fn creator_key(home: &Path, vat: &str) -> PathBuf {
        home.join("creators").join(format!("{vat}.key"))
    }

    /// The console file of a vat.
    pub fn console(&self, vat_name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{vat_name}.console"))
    }

    /// The admin socket's path. It may be too long for the system: see [`SocketAddress`](quorate_admin::SocketAddress).
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.path)
    }
}

/// The path of the admin socket of the home at `path`.
pub fn admin_socket(path: &Path) -> PathBuf {
    path.join(ADMIN_SOCKET)
}

/// Fails where a home was exported from.
fn refuse_exported(path: &Path) -> Result<(), HomeError> {
    match Exported::read(path)? {
        None => Ok(()),
        Some(Exported { name, to, .. }) => {
            Err(HomeError::Exported { path: path.display().to_string(), name, to: to.display().to_string() })
        }
    }
}

fn config_file(home: &Path) -> PathBuf {
    home.join("host.toml")
}

/// The process that runs a node on the home at `path`, whatever else is left of that home.
pub fn running_process(path: &Path) -> Option<u32> {
    let lock = path.join("LOCK");
    let Ok(file) = fs::File::open(&lock) else { return process_on_removed(path) };
    // Between taking the lock and writing its own number, a node leaves there what an earlier one wrote.
    let look = |()| match file.try_lock_shared() {
        Ok(()) => Some(None),
        Err(_) => holder(&lock).map(Some),
    };
    attempts().find_map(look).flatten()
}

/// Attempts with a pause before each but the first.
fn attempts() -> impl Iterator<Item = ()> {
    (0..LOCK_ATTEMPTS).map(|attempt| std::thread::sleep(if attempt == 0 { Duration::ZERO } else { LOCK_PAUSE }))
}

/// The process that a lock file names, if that one has the file open.
fn holder(lock: &Path) -> Option<u32> {
    let process = fs::read_to_string(lock).ok()?.trim().parse().ok()?;
    let wanted = fs::metadata(lock).ok()?;
    let is_it = |found: fs::Metadata| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino());
    // There is such a process, but it does not show us its files: another user's, or one in a user namespace (systemd's PrivateUsers).
    let hidden = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let has_it = match fs::read_dir(format!("/proc/{process}/fd")) {
        Ok(open) => open.flatten().any(|open| fs::metadata(open.path()).map_or_else(hidden, is_it)),
        Err(error) => hidden(error),
    };
    has_it.then_some(process)
}

/// A node whose home was removed under it: it has a lock file open that is in no directory any more.
fn process_on_removed(path: &Path) -> Option<u32> {
    if path.join("FORMAT").exists() {
        return None;
    }
    let mut lock = resolved(path).join("LOCK").into_os_string();
    lock.push(" (deleted)");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|process: &u32| {
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        open.filter_map(|open| fs::read_link(open.path()).ok()).any(|target| target.as_os_str() == lock)
    })
}

/// A path without links, also where its end is gone.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|there| {
        let gone = absolute.strip_prefix(there).ok()?;
        Some(fs::canonicalize(there).ok()?.join(gone))
    });
    found.unwrap_or(absolute)
}

fn shown_process(process: &Option<u32>) -> String {
    process.map(|process| format!(" (process {process})")).unwrap_or_default()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.display().to_string();
    |source| HomeError::Io { path, source }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quorate_consensus::Approve;

    pub fn config() -> HostConfig {
        HostConfig {
            name: "alpha".into(),
            listen: vec!["/ip4/127.0.0.1/tcp/4001".into()],
            http: "127.0.0.1:9001".parse().expect("an address"),
            approve: Approve::Auto,
            disk: Default::default(),
            archive: None,
            gateway: None,
            reach: Default::default(),
            traces: None,
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

    /// A process that runs until it is killed.
    fn bystander() -> std::process::Child {
        std::process::Command::new("sleep").arg("600").spawn().expect("it starts")
    }

    #[test]
    fn only_the_process_that_holds_the_lock_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::init(&dir.path().join("home"), config()).expect("a new home");
        let lock = home.path().join("LOCK");
        // The instant after a start: the lock is taken, the file still names an earlier node, and its number is another process's.
        let mut bystander = bystander();
        fs::write(&lock, bystander.id().to_string()).expect("writable");
        let taken = fs::File::open(&lock).expect("it is there");
        taken.lock().expect("free");
        let refused = home.lock().expect_err("taken").to_string();
        assert_eq!(
            home.running_process(),
            None,
            "a process that is no node of this home may not be named, or it would be killed"
        );
        assert!(!refused.contains("process"), "{refused}");
        fs::write(&lock, std::process::id().to_string()).expect("writable");
        assert_eq!(home.running_process(), Some(std::process::id()));
        drop(taken);
        assert_eq!(home.running_process(), None);
        bystander.kill().and_then(|()| bystander.wait()).expect("it is ours");
    }

    #[test]
    fn a_node_is_found_though_its_home_was_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::init(&dir.path().join("home"), config()).expect("a new home");
        assert_eq!(home.running_process(), None);
        let lock = home.lock().expect("free");
        fs::remove_dir_all(home.path()).expect("it is ours");
        assert_eq!(running_process(home.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(running_process(home.path()), None);
    }

    #[test]
    fn a_socket_is_found_however_long_its_path() {
        use quorate_admin::SocketAddress;
        use std::os::unix::net::{UnixListener, UnixStream};
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::init(&dir.path().join("x".repeat(120)), config()).expect("a new home");
        let socket = home.admin_socket();
        assert!(UnixListener::bind(&socket).is_err(), "the system takes it now?");
        let _listener = UnixListener::bind(SocketAddress::of(&socket).expect("an address")).expect("it listens");
        assert!(socket.exists(), "it lies in the home");
        UnixStream::connect(SocketAddress::of(&socket).expect("an address")).expect("somebody listens");
        // By another name of the same home.
        let link = dir.path().join("short");
        std::os::unix::fs::symlink(home.path(), &link).expect("a link");
        let socket = Home::open(&link).expect("the same home").admin_socket();
        UnixStream::connect(SocketAddress::of(&socket).expect("an address")).expect("somebody listens");
    }
}
